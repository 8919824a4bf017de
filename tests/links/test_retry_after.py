"""What an upstream says of when to come again, and what trying does not cure, comes with the error, over every way that it may be refused on."""

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from meshproxy.errors import UpstreamUnavailable
from meshproxy.http.response import Response
from meshproxy.links.process import Process
from meshproxy.links.refusals import retry_after
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.links.streamable import HttpEndpoint
from tests.kit.links import connect
from tests.kit.web import Behaviour, Web, encode

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web(server) -> AsyncIterator[Web]:
    made = Web(server)
    yield made
    await made.stop()


class Head(Response):
    def __init__(self, **headers: str) -> None:
        self.headers = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}


NOON = "Fri, 27 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": ""}, None),
        ({"retry_after": "120"}, 120.0),
        ({"retry_after": " 7 "}, 7.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "9" * 400}, 999_999_999.0),
        ({"retry_after": "-5"}, None),
        ({"retry_after": "1.5"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "²"}, None),
        ({"retry_after": "Fri, 27 Nov 2026 12:01:30 GMT", "date": NOON}, 90.0),
        ({"retry_after": "Fri, 27 Nov 2026 12:01:30", "date": NOON}, 90.0),
        ({"retry_after": "Fri, 27 Nov 2026 11:00:00 GMT", "date": NOON}, 0.0),
        ({"retry_after": "Fri, 27 Nov 1990 11:00:00 GMT"}, 0.0),
        ({"retry_after": "Fri, 27 Nov 99999 11:00:00 GMT"}, None),
    ],
)
def test_it_is_given_in_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(Head(**headers)) == seconds


def busy(status: int, body: bytes = b"") -> Behaviour:
    async def behave(request) -> None:
        said = encode(id=request.id, error={"code": -32000, "message": "busy"}) if body == b"message" else body
        request.peer.answer(said, b"retry-after: 33\r\ncontent-type: application/json\r\n", b"%d Busy" % status)

    return behave


@pytest.mark.parametrize("body", [b"", b"slow down", b"message"])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_one_that_is_busy_says_when_to_come_again(web, status, body):
    web.on["initialize"] = busy(status, body)
    with pytest.raises(UpstreamUnavailable) as refused:
        await connect(HttpEndpoint("w", web.url))
    assert (refused.value.retry_after, refused.value.is_lasting) == (33.0, False)
    assert refused.value.reworded("x").retry_after == 33.0


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410])
async def test_who_we_are_and_where_we_look_is_for_the_user_to_cure(web, status):
    web.on["initialize"] = web.on["server/discover"] = busy(status)
    with pytest.raises(UpstreamUnavailable) as refused:
        await connect(HttpEndpoint("w", web.url))
    assert refused.value.is_lasting


@pytest.mark.parametrize(("status", "is_lasting"), [(401, True), (404, True), (503, False)])
async def test_the_older_transport_says_the_same(web, status, is_lasting):
    async def behave(request) -> None:
        request.peer.answer(b"", b"retry-after: 33\r\n", b"%d Whatever" % status)

    web.on["GET"] = behave
    endpoint = SseEndpoint("w", web.url)
    with pytest.raises(UpstreamUnavailable) as refused:
        await connect(endpoint)
    assert refused.value.is_lasting is is_lasting
    assert refused.value.retry_after == (None if status == 404 else 33.0)
    await endpoint.aclose()


async def test_a_url_that_cannot_be_used_is_for_the_user_to_cure():
    with pytest.raises(UpstreamUnavailable) as refused:
        await connect(HttpEndpoint("w", "http://example.com:port/mcp"))
    assert refused.value.is_lasting


@pytest.mark.parametrize("kind", ["missing", "not on PATH", "a directory", "not executable", "no program", "no cwd"])
async def test_a_command_that_does_not_exist_or_may_not_be_run_is_for_the_user_to_cure(tmp_path: Path, kind: str):
    file = tmp_path / "program"
    if kind in ("not executable", "no program"):
        file.write_bytes(b"\x00\x01\x02")
        file.chmod(0o755 if kind == "no program" else 0o644)
    elif kind == "a directory":
        file.mkdir()
    command = "surely-no-such-command" if kind == "not on PATH" else "cat" if kind == "no cwd" else str(file)
    endpoint = StdioEndpoint("w", command, cwd=str(tmp_path / "nowhere") if kind == "no cwd" else None)
    with pytest.raises(UpstreamUnavailable) as refused:
        await connect(endpoint)
    assert refused.value.is_lasting
    await endpoint.aclose()


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM, errno.ETXTBSY])
async def test_what_the_system_lacks_for_the_moment_it_may_have_later(monkeypatch, number):
    async def start(self, *_) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Process, "start", start)
    endpoint = StdioEndpoint("w", "cat")
    with pytest.raises(UpstreamUnavailable, match="cannot be run") as refused:
        await connect(endpoint)
    assert not refused.value.is_lasting
    await endpoint.aclose()
