"""`server.tls.client_ca` while the mesh runs: whoever an authority let in is out when the authority is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from meshproxy.http.server_tls import ServerTls
from tests.access.certificates import CA, LOCALHOST, OTHER, ask, client, config
from tests.access.conftest import ADA, key
from tests.kit.light import document, light
from tests.kit.messages import CLIENT, heads, request
from tests.kit.program import Serving, serve
from tests.kit.waiting import wait_for

KEYS = {"keys": [key("ada", ADA)]}
PLAIN = {"certificate": "server.pem"}
ASKING = {**PLAIN, "client_ca": "ca.pem"}


def is_over(response: httpx2.Response) -> bool:
    """Whether an event stream that was opened has come to its end, read to there."""
    try:
        for _ in response.iter_raw():
            pass
    except httpx2.TimeoutException:
        return False
    except httpx2.TransportError:
        return True
    return True


def edit(file: Path, mesh: Serving, server: dict[str, Any]) -> dict[str, Any]:
    """Write another `server` section and wait until it is in force."""
    before = len(mesh.events("config.reloaded"))
    file.write_text(document({"a": light("--tools", "echo,drop")}, server=server))
    return mesh.await_event("config.reloaded", before + 1)


def open_stream(http: httpx2.Client, url: str) -> tuple[dict[str, str], httpx2.Response]:
    """A session of the legacy era, and its event stream."""
    url = url.replace("127.0.0.1", "localhost")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
    answer = http.post(url, json=request("initialize", hello), headers=heads())
    session = {"mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
    http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers={**heads(), **session})
    stream = http.send(http.build_request("GET", url, headers={"accept": "text/event-stream", **session}), stream=True)
    assert stream.status_code == 200
    return session, stream


def is_refused(http: httpx2.Client, url: str) -> bool:
    """Whether a client does not come in, be it that its connection ends, or that it is told so."""
    try:
        return ask(http, url).status_code == 401
    except httpx2.TransportError:
        return True


@pytest.mark.parametrize("how", ["edited", "replaced"])
def test_who_was_let_in_by_an_authority_that_is_replaced_is_out(tmp_path: Path, how: str) -> None:
    file = config(tmp_path, {"tls": ASKING, "auth": KEYS})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path, CA.issue("ours")) as http, client(tmp_path) as keyed:
        assert ask(http, mesh.url).status_code == 200
        assert ask(keyed, mesh.url, secret=ADA).status_code == 200
        session, stream = open_stream(http, mesh.url)
        if how == "edited":
            (tmp_path / "other.pem").write_bytes(OTHER.pem)
            server = {"tls": {**ASKING, "client_ca": "other.pem"}, "auth": KEYS}
            assert edit(file, mesh, server)["restart_required"] == []
        else:
            (tmp_path / "ca.pem").write_bytes(OTHER.pem)
            mesh.await_event("tls.certificate_replaced")
        # What is open ends, and what is new is refused, with its session or without.
        assert is_over(stream)
        assert is_refused(http, mesh.url)
        with client(tmp_path, CA.issue("ours")) as again, pytest.raises(httpx2.TransportError):
            ask(again, mesh.url)
        with pytest.raises(httpx2.TransportError):
            http.post(mesh.url.replace("127.0.0.1", "localhost"), json={}, headers={**heads(), **session})
        # Whom the new one vouches for comes in, and who goes by a key noticed nothing.
        with client(tmp_path, OTHER.issue("theirs")) as other:
            assert ask(other, mesh.url).status_code == 200
        assert ask(keyed, mesh.url, secret=ADA).status_code == 200
        assert mesh.end() == 0


def test_where_certificates_count_for_nothing_any_more_who_showed_one_is_out(tmp_path: Path) -> None:
    file = config(tmp_path, {"tls": ASKING, "auth": KEYS})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path, CA.issue("ours")) as http:
        _, stream = open_stream(http, mesh.url)
        assert edit(file, mesh, {"tls": PLAIN, "auth": KEYS})["restart_required"] == []
        assert is_over(stream)
        assert is_refused(http, mesh.url)
        with client(tmp_path, CA.issue("ours")) as again:
            assert ask(again, mesh.url).status_code == 401
            assert ask(again, mesh.url, secret=ADA).status_code == 200


def test_an_authority_that_an_edit_adds_is_asked_for_at_once(tmp_path: Path) -> None:
    file = config(tmp_path, {"tls": PLAIN})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path, CA.issue("ours")) as http, client(tmp_path) as bare:
        assert ask(http, mesh.url).status_code == 200
        assert ask(bare, mesh.url).status_code == 200
        assert edit(file, mesh, {"tls": ASKING})["restart_required"] == []
        assert ask(bare, mesh.url).status_code == 401
        # Its connection was from before anybody asked for certificates, and is replaced by one on which it shows its own.
        assert wait_for(lambda: comes_in(http, mesh.url))
        with client(tmp_path, OTHER.issue("theirs")) as other, pytest.raises(httpx2.TransportError):
            ask(other, mesh.url)


def comes_in(http: httpx2.Client, url: str) -> bool:
    try:
        return ask(http, url).status_code == 200
    except httpx2.TransportError:
        return False


def test_one_authority_beside_another_costs_nobody_a_connection_and_the_one_that_leaves_costs_its_own(
    tmp_path: Path,
) -> None:
    file = config(tmp_path, {"tls": ASKING})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path, CA.issue("ours")) as ours:
        _, stream = open_stream(ours, mesh.url)
        (tmp_path / "ca.pem").write_bytes(CA.pem + OTHER.pem)
        mesh.await_event("tls.certificate_replaced")
        with client(tmp_path, OTHER.issue("theirs")) as theirs:
            _, kept = open_stream(theirs, mesh.url)
            (tmp_path / "ca.pem").write_bytes(OTHER.pem)
            mesh.await_event("tls.certificate_replaced", 2)
            assert is_over(stream)
            # Something to hear is heard on the one that stayed.
            edited = document({"a": light("--tools", "echo")}, server={"tls": ASKING})
            file.write_text(edited)
            assert any("list_changed" in line for line in kept.iter_lines())
            kept.close()


def test_authorities_that_cannot_be_used_are_no_edit(tmp_path: Path) -> None:
    file = config(tmp_path, {"tls": ASKING})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path, CA.issue("ours")) as http:
        assert ask(http, mesh.url).status_code == 200
        file.write_text(
            document({"a": light("--tools", "echo")}, server={"tls": {**ASKING, "client_ca": "nowhere.pem"}})
        )
        (problem,) = mesh.await_event("config.rejected")["problems"]
        assert "server.tls" in problem
        assert "nowhere.pem" in problem
        assert len(ask(http, mesh.url).json()["result"]["tools"]) == 2


def test_a_connection_whose_handshake_began_under_other_authorities_is_not_served(tmp_path: Path) -> None:
    """The context that a connection began with tells which authorities looked at its certificate."""
    (tmp_path / "server.pem").write_bytes(CA.issue("first", LOCALHOST))
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    tls = ServerTls(tmp_path / "server.pem", None, tmp_path / "ca.pem")
    told: list[frozenset[bytes]] = []
    listener: Callable[[], None] = lambda: told.append(tls.authorities)  # noqa: E731
    tls.on_authorities(listener)
    before = tls.authorities
    assert len(before) == 1
    tls.take(tmp_path / "server.pem", None, None)
    assert told == [frozenset()]
    tls.take(tmp_path / "server.pem", None, tmp_path / "ca.pem")
    assert told == [frozenset(), before]
    tls.take(tmp_path / "server.pem", None, tmp_path / "ca.pem")
    assert len(told) == 2
