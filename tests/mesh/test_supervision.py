"""What becomes of upstreams that end, refuse, forget, are silent or many: real programs and servers, seen as `/readyz` and clients see them."""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from meshproxy.errors import RpcError
from meshproxy.mesh import mesh as meshes
from meshproxy.serving.health import health_of
from meshproxy.supervision import agenda, backoff, health, starts
from meshproxy.supervision.starts import Starts
from tests.kit.clients import Legacy, Modern
from tests.kit.light import document, light
from tests.kit.raw_server import server
from tests.kit.waiting import eventually
from tests.kit.web import Request, Web, answer, error, never, refuse
from tests.mesh.conftest import RunMesh, Running

__all__ = ["server"]

pytestmark = pytest.mark.anyio

ECHO = {"name": "echo", "inputSchema": {"type": "object"}}
SESSION_LOST = {
    "400 without a word": refuse(400),
    "404 of this very request": error(404, -32000, "Session not found", ...),
    "409 with a text": refuse(409, b"the session was moved"),
    "500 with a text": refuse(500, b"unknown session"),
    "500 of this very request": error(500, -32000, "Session not found", ...),
}


class Server(Web):
    """Has sessions, which it forgets when it is told to: it refuses whatever is asked in one as `forgets` says."""

    def __init__(self, raw: Any) -> None:
        super().__init__(raw)
        self.known: set[str] = set()
        self.forgets = refuse(400)
        self.on |= {"tools/list": self._tools, "echo": self._echo, "ping": self._empty}
        self.on |= {
            key: self._within(behave) for key, behave in self.on.items() if key in ("tools/list", "echo", "ping")
        }

    async def _initialize(self, request: Request) -> None:
        session = f"s-{len(self.told('initialize'))}"
        self.known.add(session)
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}}}
        answer(request, result, b"mcp-session-id: " + session.encode() + b"\r\n")

    async def _tools(self, request: Request) -> None:
        answer(request, {"tools": [ECHO]})

    async def _echo(self, request: Request) -> None:
        answer(request, {"content": [{"type": "text", "text": json.dumps(request.headers.get("mcp-session-id"))}]})

    async def _empty(self, request: Request) -> None:
        answer(request, {})

    def _within(self, behave: Any) -> Any:
        async def within(request: Request) -> None:
            await (behave if request.headers.get("mcp-session-id") in self.known else self.forgets)(request)

        return within


@pytest.fixture
async def web(server: Any) -> AsyncIterator[Server]:
    made = Server(server)
    yield made
    await made.stop()


@contextlib.asynccontextmanager
async def over(run_mesh: RunMesh, web: Server, **keys: Any) -> AsyncIterator[Running]:
    """A mesh with that server as `up`, which ends first: what is left of the mesh is looked for in the process of both."""
    async with run_mesh(document({"up": {"url": web.url, **keys}})) as mesh:
        try:
            yield mesh
        finally:
            await web.stop()
            await web.raw.stop()


def ready(mesh: Running) -> tuple[int, dict[str, Any]]:
    status, body = health_of(mesh.mesh)["/readyz"]()
    return status, json.loads(body)


def upstream(mesh: Running, name: str = "up") -> dict[str, Any]:
    found: dict[str, Any] = ready(mesh)[1]["upstreams"][name]
    return found


def seconds_until(moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()


# Refused


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_one_that_refuses_us_is_said_once_and_tried_seldom(
    run_mesh: RunMesh, web: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.on["server/discover"] = web.on["initialize"] = refuse(status)
    async with over(run_mesh, web, headers={"Authorization": "Bearer of-old"}) as mesh:
        seen = upstream(mesh)
        assert (seen["state"], seen["phase"], seen["failures"]) == ("down", "backing off", 1)
        assert f"HTTP {status}" in seen["reason"]
        assert seconds_until(seen["next_attempt"]) > backoff.RELUCTANCE / 2
        asked = len(web.requests)
        for _ in range(5):
            with pytest.raises(RpcError):
                await Legacy(mesh.server).call("up_echo")
        assert len(web.requests) == asked
        # And as soon as somebody may need it again, it is tried, and said no more.
        monkeypatch.setattr(backoff, "RELUCTANCE", -1.0)
        mesh.mesh._providers["up"].want()
        await eventually(lambda: upstream(mesh).get("failures") == 2)
        (line,) = mesh.journal.of("upstream.down")
        assert line["again_in"] >= 30


async def test_a_call_that_is_refused_for_want_of_credentials_says_which_key_to_write(
    run_mesh: RunMesh, web: Server
) -> None:
    async with over(run_mesh, web) as mesh:
        web.on["tools/call"] = web.on["server/discover"] = web.on["initialize"] = refuse(401)
        with pytest.raises(
            RpcError, match=r"'up'.*HTTP 401.*set `headers` of this upstream.* or its `auth`"
        ) as refused:
            await Legacy(mesh.server).call("up_echo")
        assert refused.value.data["upstream"] == "up"
        assert "set `headers`" in refused.value.data["reason"]


async def test_a_command_that_does_not_exist_is_said_once_and_tried_seldom(run_mesh: RunMesh, tmp_path: Path) -> None:
    async with run_mesh(document({"up": {"command": str(tmp_path / "program")}})) as mesh:
        seen = upstream(mesh)
        assert "does not exist" in seen["reason"]
        assert seconds_until(seen["next_attempt"]) > backoff.RELUCTANCE / 2
        assert len(mesh.journal.of("upstream.down")) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_one_that_says_when_to_come_again_is_not_asked_before(
    run_mesh: RunMesh, web: Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (0.001, 0.001))
    monkeypatch.setattr(backoff, "IMPATIENCE", -1.0)

    async def busy(request: Request) -> None:
        request.peer.answer(b"", b"retry-after: 120\r\n", b"%d Busy" % status)

    web.on["server/discover"] = web.on["tools/list"] = busy
    async with over(run_mesh, web) as mesh:
        seen = upstream(mesh)
        assert seen["phase"] == "backing off"
        assert 60 < seconds_until(seen["next_attempt"]) <= 120
        asked = len(web.requests)
        with pytest.raises(RpcError):
            await Legacy(mesh.server).call("up_echo")
        assert len(web.requests) == asked


# Forgotten sessions


@pytest.mark.parametrize("how", SESSION_LOST.values(), ids=SESSION_LOST.keys())
@pytest.mark.parametrize("make", [Legacy, Modern])
async def test_a_session_that_is_refused_is_opened_anew_whatever_the_status(
    run_mesh: RunMesh, web: Server, how: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.supervision.supervisor.RENEWABLE", -1.0)
    web.forgets = how
    async with over(run_mesh, web) as mesh:
        client = make(mesh.server)
        await client.call("up_echo")
        web.known.clear()
        failed = 0
        while True:
            try:
                await client.call("up_echo")
                break
            except RpcError:
                failed += 1
        # What may have been carried out is not sent again, so that one call may fail, and no more.
        assert failed <= 1
        # The other links have sessions that were forgotten, too, and find that out by themselves.
        await client.call("up_echo")


# Silent


async def test_one_that_answers_pings_and_no_lists_is_noticed(
    run_mesh: RunMesh, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "CHECK", 0.01)
    monkeypatch.setattr(agenda, "RELIST", (0.01, 0.01))
    monkeypatch.setattr(health, "PATIENCE", 0.1)
    async with over(run_mesh, web, timeouts={"list": "100ms"}) as mesh:
        listed = web.on["tools/list"]
        web.on["tools/list"] = never
        await eventually(lambda: upstream(mesh)["phase"] == "degraded")
        seen = upstream(mesh)
        assert seen["state"] == "up"
        assert "it answers, and lists nothing" in seen["reason"]
        # Calls go through meanwhile.
        assert await Legacy(mesh.server).call("up_echo")
        web.on["tools/list"] = listed
        await eventually(lambda: upstream(mesh)["phase"] == "up")
        assert "reason" not in upstream(mesh)


async def test_a_program_that_is_stopped_is_started_anew(run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agenda, "CHECK", 0.05)
    monkeypatch.setattr(health, "PATIENCE", 0.1)
    monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.05))
    up = light("--tools", "echo", timeouts={"list": "500ms", "shutdown": "200ms"})
    async with run_mesh(document({"up": up})) as mesh:
        pid = mesh.pid("up")
        os.kill(pid, signal.SIGSTOP)
        await eventually(lambda: mesh.journal.of("upstream.down"))
        assert "it answers neither lists nor pings" in mesh.journal.of("upstream.down")[0]["reason"]
        await eventually(lambda: upstream(mesh)["state"] == "up" and mesh.pids("up") not in ([], [pid]))


# Again and again


async def test_a_program_that_ends_soon_after_each_start_is_said_to(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (0.01, 0.05))
    async with run_mesh(document({"up": light()})) as mesh:
        for count in range(1, backoff.LOOP + 1):
            await eventually(lambda: upstream(mesh)["state"] == "up" and mesh.pids("up"))
            os.kill(mesh.pid("up"), signal.SIGKILL)
            await mesh.journal.until("upstream.down", count=count)
        reasons = [line["reason"] for line in mesh.journal.of("upstream.down")]
        assert reasons[-1].startswith("it ends again and again soon after it has come up: the process was ended by")
        assert not reasons[0].startswith("it ends again")
        await eventually(lambda: upstream(mesh)["state"] == "up")
        assert upstream(mesh)["failures"] == backoff.LOOP


# Many


async def test_many_start_in_turns_and_those_that_are_required_first(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meshes, "Starts", lambda: Starts(programs=2))
    monkeypatch.setattr(starts, "HOLD", 60.0)
    many: dict[str, Any] = {f"u{number:02}": light() for number in range(20)} | {"last": light(required=True)}
    running: Counter[str] = Counter()
    async with run_mesh(document(many), settle=False) as mesh:

        def look() -> bool:
            started = [name for name, one in mesh.mesh.status().items() if one["phase"] == "starting" and one["pids"]]
            running["most"] = max(running["most"], len(started))
            return all(one["state"] == "up" for one in mesh.mesh.status().values())

        await eventually(look)
        assert running["most"] <= 2
        order = [line["upstream"] for line in mesh.journal.of("upstream.up")]
        # The first two have their turns before there is a choice, and others may overtake it; in its turn it would be the last.
        assert order.index("last") < 10
        assert len(order) == 21


async def test_those_that_hang_starve_nobody_and_who_is_called_comes_first(
    run_mesh: RunMesh, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meshes, "Starts", lambda: Starts(programs=2))
    monkeypatch.setattr(starts, "HOLD", 0.05)
    hanging: dict[str, Any] = {f"h{number}": {"command": "sleep", "args": ["1000"]} for number in range(8)}
    async with run_mesh(document(hanging | {"good": light()}), settle=False) as mesh:
        assert await Legacy(mesh.server).call("good_echo")
        assert {upstream(mesh, name)["state"] for name in hanging} == {"starting"}


async def test_an_edit_does_not_wait_for_an_earlier_start(run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshes, "Starts", lambda: Starts(programs=1))
    monkeypatch.setattr(starts, "HOLD", 0.5)
    hanging: dict[str, Any] = {f"h{number}": {"command": "sleep", "args": ["1000"]} for number in range(60)}
    async with run_mesh(document(hanging), settle=False) as mesh:
        report = await mesh.edit(document(hanging | {"good": light()}))
        assert report["started"] == ["good"]
        assert any(not one["pids"] for one in mesh.mesh.status().values())


# The end


async def test_one_that_was_taken_out_is_seen_to_drain(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"up": light(), "other": light()})) as mesh:
        client = Legacy(mesh.server)
        calling = asyncio.create_task(client.call("up_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        pid = mesh.pid("up")
        await mesh.edit(document({"other": light()}))
        (draining,) = ready(mesh)[1]["draining"]
        assert (draining["name"], draining["state"], draining["calls"]) == ("up", "draining", 1)
        os.kill(pid, signal.SIGUSR1)
        await calling
        await eventually(lambda: "draining" not in ready(mesh)[1])
