"""What a host in the config stands for: where it is listened, what that is called, and whose names reach it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from meshproxy.http.server import Http1Server
from meshproxy.serving.http import HttpApp, HttpSettings
from meshproxy.serving.server import listen, url_of
from tests.kit.echo import EchoHandler
from tests.kit.waiting import DEADLINE, within

pytestmark = pytest.mark.anyio

HERE = [
    *("127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "localhost.", "mesh.localhost", "::1", "[::1]"),
    *("[0:0:0:0:0:0:0:1]", "::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = has_ipv6()


@contextlib.asynccontextmanager
async def bound(host: str) -> AsyncIterator[list[socket.socket]]:
    """An endpoint on a free port of `host`; what it listens on."""
    if not IPV6 and ":" in host and "127" not in host:
        pytest.skip("this machine has no IPv6")
    sockets = listen(host, 0)
    app = HttpApp(EchoHandler(), HttpSettings(host=host))
    server = Http1Server(app)
    await server.start(sockets)
    try:
        yield sockets
    finally:
        await app.aclose()
        await server.aclose(DEADLINE)


async def status(listening: socket.socket, host: str) -> int:
    """What a ping whose `Host` is this one is answered."""
    reader, writer = await asyncio.open_connection(*listening.getsockname()[:2])
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    head = f"POST /mcp HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
    answer = await within(reader.read())
    writer.close()
    return int(answer.split()[1])


@pytest.mark.parametrize("bind", HERE)
async def test_a_foreign_host_is_refused_however_this_machine_is_spelled(bind: str) -> None:
    async with bound(bind) as sockets:
        for listening in sockets:
            for host in ("evil.example.com", "localhost.evil.com:80", "10.0.0.1", "[::2]"):
                assert await status(listening, host) == 421
            for host in (
                bind if ":" not in bind or "[" in bind else f"[{bind}]",
                "localhost:1",
                "127.0.0.1",
                "[::1]:80",
            ):
                # No session was opened: the request got past the names, and no further.
                assert await status(listening, host) == 400


@pytest.mark.parametrize("bind", HERE)
async def test_only_this_machine_is_listened_on(bind: str) -> None:
    async with bound(bind) as sockets:
        assert {listening.getsockname()[0] for listening in sockets} <= {"127.0.0.1", "127.0.0.2", "::1"}


@pytest.mark.parametrize(
    ("bind", "named"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]"), ("::", "[::1]"), ("[::1]", "[::1]")],
)
async def test_an_endpoint_is_called_what_this_machine_reaches_it_by(bind: str, named: str) -> None:
    async with bound(bind) as sockets:
        assert url_of(sockets, bind, "/mcp") == f"http://{named}:{sockets[0].getsockname()[1]}/mcp"


async def test_an_endpoint_that_others_reach_goes_by_any_name() -> None:
    async with bound("0.0.0.0") as (listening,):
        assert await status(listening, "mesh.example.com") == 400
