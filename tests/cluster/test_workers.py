"""`server.workers`: several processes that are one mesh, whichever of them a connection reaches."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp.shared.exceptions import MCPError
from tests.interop.conftest import SAW
from tests.interop.test_python_sdk import Heard, elicited, rooted, sampled, use
from tests.kit.balancer import balanced
from tests.kit.light import light, received
from tests.kit.messages import call, heads, modern, request
from tests.kit.processes import descendants, is_alive
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving, serve
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, eventually, wait_for, within

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port between processes evenly"),
    # What the legacy era alone has, the SDK warns of.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


def config(folder: Path, workers: int = 2, name: str = "interop", **upstreams: Any) -> Path:
    file = folder / "mesh.yaml"
    file.write_text(yaml.safe_dump({"name": name, "server": {"workers": workers}, "upstreams": upstreams}))
    return file


def workers(mesh: Serving) -> dict[int, int]:
    """The processes of the workers that were started last, by their numbers."""
    return {event["worker"]: event["pid"] for event in mesh.events("worker.started")}


def await_all_up(mesh: Serving, count: int = 2) -> None:
    mesh.await_event("upstream.up", count)


async def once(url: str, body: Any, **headers: str) -> httpx2.Response:
    """A request over a connection of its own."""
    async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
        return await http.post(url, json=body, headers=heads(**headers))


async def opened(url: str, http: httpx2.AsyncClient | None = None) -> dict[str, str]:
    """The headers of a new session."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    body = request("initialize", params)
    answer = await (once(url, body) if http is None else http.post(url, json=body, headers=heads()))
    return {"mcp_session_id": answer.headers["mcp-session-id"], "mcp_protocol_version": "2025-11-25"}


def pid_of(answer: httpx2.Response) -> int:
    found: int = answer.json()["result"]["structuredContent"]["pid"]
    return found


@pytest.mark.parametrize("era", ["dual", "legacy", "modern"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_does_everything_with_each_request_at_whichever_worker(own_server, tmp_path, mode, era) -> None:
    web = {"url": own_server("basic", era=era).url}
    with serve(config(tmp_path, web=web), tmp_path / "log") as mesh:
        await_all_up(mesh)
        heard = Heard()
        able = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
        told = {"logging_callback": heard.log, "message_handler": heard.message}
        async with balanced(mesh.url) as url, connected(url, mode=mode, **able, **told) as client:
            assert await use(client, mode, heard, str(tmp_path / "held")) == SAW


async def test_a_session_stays_with_its_home(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        homes = set()
        for _ in range(12):
            headers = await opened(mesh.url)
            found = {pid_of(await once(mesh.url, call("a_echo", 1), **headers)) for _ in range(6)}
            assert len(found) == 1
            homes |= found
        # Each worker runs the program for itself.
        assert len(homes) == 2


async def test_a_parked_call_of_the_modern_era_is_taken_up_by_its_home(tmp_path) -> None:
    asked: dict[str, int] = {}

    async def answer(_context: Any, params: Any) -> Any:
        asked[params.message] = asked.get(params.message, 0) + 1
        return await elicited(_context, params)

    # A program of the legacy era: it asks in the middle of its call, which goes on in one process alone.
    with serve(config(tmp_path, a=light("--era", "legacy")), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with (
            balanced(mesh.url) as url,
            connected(url, elicitation_callback=answer) as client,
        ):
            for number in range(8):
                form = {
                    "mode": "form",
                    "message": f"m{number}",
                    "requestedSchema": {"type": "object", "properties": {}},
                }
                result = await client.call_tool("a_echo", {"ask": [[["elicitation/create", form]]]})
                assert result.structured_content["answers"][0]["action"] == "accept"
    assert asked == {f"m{number}": 1 for number in range(8)}


async def test_a_state_of_a_worker_that_is_gone_is_refused(tmp_path) -> None:
    with serve(config(tmp_path, a=light("--era", "legacy")), tmp_path / "log") as mesh:
        await_all_up(mesh)
        body, headers = modern(call("a_echo", 1))
        body["params"] |= {"requestState": "000deadbeef~AAAA", "inputResponses": {}}
        answer = await once(mesh.url, body, **headers)
        assert answer.json()["error"]["code"] == -32602


async def at_each(mesh: Serving, stack: contextlib.AsyncExitStack) -> list[tuple[httpx2.AsyncClient, dict[str, str]]]:
    """For each worker a client with a connection to it, and the headers of a session that it has there."""
    found: dict[str, tuple[httpx2.AsyncClient, dict[str, str]]] = {}
    while len(found) < 2:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=DEADLINE, trust_env=False))
        headers = await opened(mesh.url, http)
        found.setdefault(headers["mcp_session_id"][:3], (http, headers))
    return [found[number] for number in sorted(found)]


def programs(pid: int) -> list[int]:
    """The light servers that a worker runs."""
    return [child for child, line in descendants(pid).items() if "light.py" in line]


async def test_a_worker_that_is_killed_costs_the_others_nothing(tmp_path) -> None:
    journal = tmp_path / "journal"
    with serve(config(tmp_path, a=light("--journal", str(journal))), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with contextlib.AsyncExitStack() as stack:
            clients = await at_each(mesh, stack)
            before = workers(mesh)
            [survivor] = programs(before[1])
            calls = [
                asyncio.ensure_future(http.post(mesh.url, json=call("a_echo", 1, hold=True), headers=heads(**headers)))
                for http, headers in clients
            ]
            await eventually(lambda: sum(line["method"] == "tools/call" for line in received(journal)) == 2)
            os.kill(before[0], signal.SIGKILL)
            mesh.await_event("worker.started", 3)
            os.kill(survivor, signal.SIGUSR1)
            lost, kept = await within(asyncio.gather(*calls, return_exceptions=True))
            assert isinstance(lost, httpx2.HTTPError)
            assert pid_of(kept) == survivor
            (_, dead), (_, living) = clients
            for _ in range(6):
                assert (await once(mesh.url, request("ping"), **dead)).status_code == 404
                assert (await once(mesh.url, request("ping"), **living)).status_code == 200


def test_a_supervisor_that_was_held_up_sees_everything_at_once(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        for count in range(1, 4):
            mesh.process.send_signal(signal.SIGSTOP)
            for pid in workers(mesh).values():
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: not is_alive(pid))
            mesh.process.send_signal(signal.SIGCONT)
            mesh.await_event("worker.started", 2 + 2 * count)
        mesh.await_settled()
        assert mesh.end() == 0


async def test_a_client_whose_worker_was_killed_begins_anew(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with balanced(mesh.url) as url:
            for _ in range(2):
                async with connected(url, mode="legacy") as client:
                    assert not (await client.call_tool("a_echo", {})).is_error
                    started = len(mesh.events("worker.started"))
                    for pid in workers(mesh).values():
                        os.kill(pid, signal.SIGKILL)
                    mesh.await_event("worker.started", started + 2)
                    with pytest.raises(MCPError):
                        await client.call_tool("a_echo", {})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_running_calls_end_before_the_workers_do(tmp_path, number) -> None:
    journal = tmp_path / "journal"
    with serve(config(tmp_path, a=light("--journal", str(journal))), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with contextlib.AsyncExitStack() as stack:
            clients = await at_each(mesh, stack)
            calls = [
                asyncio.ensure_future(http.post(mesh.url, json=call("a_echo", 1, hold=True), headers=heads(**headers)))
                for http, headers in clients
            ]
            await eventually(lambda: sum(line["method"] == "tools/call" for line in received(journal)) == 2)
            running = descendants(mesh.process.pid)
            mesh.process.send_signal(number)
            for pid in workers(mesh).values():
                for program in programs(pid):
                    os.kill(program, signal.SIGUSR1)
            assert [answer.status_code for answer in await within(asyncio.gather(*calls))] == [200, 200]
        assert mesh.process.wait(DEADLINE) == 0
        assert not [pid for pid in running if is_alive(pid)]


async def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        running = descendants(mesh.process.pid)
        assert len(running) >= 4
        [folder] = [Path(path).parent for pid in workers(mesh).values() for path in sockets_of(pid)][:1]
        assert folder.stat().st_mode & 0o777 == 0o700
        assert mesh.end(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: not [pid for pid in running if is_alive(pid)])
        assert not folder.exists()


def sockets_of(pid: int) -> list[str]:
    """Where a process listens in the file system."""
    inodes = {
        path.readlink().name[8:-1]
        for path in Path(f"/proc/{pid}/fd").iterdir()
        if path.readlink().name.startswith("socket:")
    }
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [
        line[7].replace("/.", "/") for line in lines if len(line) > 7 and line[6] in inodes and "meshproxy-" in line[7]
    ]


def test_a_mesh_whose_workers_cannot_start_ends_with_their_status(tmp_path) -> None:
    file = config(tmp_path, a=light("--dies", "no", required=True))
    with (tmp_path / "log").open("wb") as sink:
        process = subprocess.Popen(
            [*PROGRAM, "serve", str(file), "--port", "0"],
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
    assert wait_for(process.poll) == 1
    assert "required, and not up" in (tmp_path / "log").read_text()


def test_stdio_has_one_process(tmp_path) -> None:
    line = [*PROGRAM, "serve", str(config(tmp_path, a=light())), "--transport", "stdio"]
    ended = subprocess.run(
        line, capture_output=True, text=True, timeout=DEADLINE, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False
    )
    assert ended.returncode == 2
    assert "server.workers: one client over stdio has one process" in ended.stderr


async def pids_of(mesh: Serving) -> set[int]:
    """The program of each worker, by way of twelve connections."""
    return {pid_of(await called(mesh.url)) for _ in range(12)}


async def test_what_is_done_by_the_api_is_done_by_every_worker(tmp_path) -> None:
    with serve(config(tmp_path, a=light("--label", "old")), tmp_path / "log") as mesh:
        await_all_up(mesh)
        base, own = mesh.url.removesuffix("/mcp"), {"x_meshproxy": "1"}
        before = await pids_of(mesh)
        assert len(before) == 2
        answer = await once(f"{base}/api/upstreams/a/restart", {}, **own)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "restarted")
        mesh.await_event("config.reloaded", 2)
        assert len(await pids_of(mesh) - before) == 2
        answer = await once(f"{base}/api/reload", {}, **own)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "unchanged")
        # Whoever is asked, it is the first that tells.
        told = [mesh.get("/api/status")[1] for _ in range(8)]
        assert len({upstream["pids"][0] for one in told for upstream in one["upstreams"]}) == 1
        assert {mesh.ready()[1]["worker"] for _ in range(20)} == {0, 1}


@pytest.mark.parametrize("own_address", [False, True])
async def test_metrics_are_of_all_workers_whoever_is_asked(tmp_path, own_address) -> None:
    file = config(tmp_path, a=light())
    if own_address:
        document = yaml.safe_load(file.read_text())
        document["server"]["metrics"] = {"listen": "127.0.0.1:0"}
        file.write_text(yaml.safe_dump(document))
    with serve(file, tmp_path / "log") as mesh:
        await_all_up(mesh)
        await pids_of(mesh)
        url = mesh.await_event("metrics.listening")["url"] if own_address else mesh.url.removesuffix("mcp") + "metrics"
        async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
            texts = [(await http.get(url)).text for _ in range(2)]
            refused = (await http.get(mesh.url.removesuffix("mcp") + "metrics")).status_code
        for text in texts:
            heads_of = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
            assert len(heads_of) == len({*heads_of})
            name = "mcp_server_operation_duration_seconds_count"
            counts = [line for line in text.splitlines() if line.startswith(name)]
            assert {line.partition('worker="')[2][0] for line in counts} == {"0", "1"}
            assert sum(int(line.rpartition(" ")[2]) for line in counts) == 12
        assert refused == (404 if own_address else 200)


async def called(url: str) -> httpx2.Response:
    body, headers = modern(call("a_echo", 1))
    return await once(url, body, **headers)


async def labels(mesh: Serving) -> set[str]:
    """What the program of each worker is called, by way of twelve connections."""
    answers = [await called(mesh.url) for _ in range(12)]
    return {answer.json()["result"]["structuredContent"]["label"] for answer in answers}


async def test_an_edit_is_in_force_at_every_worker(tmp_path) -> None:
    file = config(tmp_path, a=light("--label", "old"))
    with serve(file, tmp_path / "log") as mesh:
        await_all_up(mesh)
        assert await labels(mesh) == {"old"}
        config(tmp_path, a=light("--label", "new"))
        mesh.await_event("config.reloaded", 2)
        assert await labels(mesh) == {"new"}
        # So it is at one that is started later, and after a signal.
        os.kill(workers(mesh)[0], signal.SIGKILL)
        mesh.await_event("worker.started", 3)
        mesh.await_event("upstream.up", 5)
        assert await labels(mesh) == {"new"}
        mesh.process.send_signal(signal.SIGHUP)
        config(tmp_path, a=light("--label", "newer"))
        mesh.await_event("config.reloaded", 4)
        assert await labels(mesh) == {"newer"}


async def test_an_edit_that_one_worker_cannot_have_none_has(tmp_path) -> None:
    file = config(tmp_path, a=light("--label", "old"))
    with serve(file, tmp_path / "log") as mesh:
        await_all_up(mesh)
        # Whoever comes second finds the directory there.
        line = ["sh", "-c", f'mkdir {tmp_path}/first && exec "$@"', "-"]
        new = light("--label", "new")
        new |= {"command": line[0], "args": [*line[1:], new["command"], *new["args"]], "required": True}
        config(tmp_path, a=new)
        mesh.await_event("config.rejected", 2)
        assert await labels(mesh) == {"old"}
        assert not mesh.events("config.reloaded")
        # A worker that is started meanwhile has what the others have, and not what the file says.
        os.kill(workers(mesh)[0], signal.SIGKILL)
        mesh.await_event("worker.started", 3)
        mesh.await_event("upstream.up", 3, upstream="a")
        await eventually(lambda: len(mesh.events("config.rejected")) >= 3)
        assert await labels(mesh) == {"old"}
        (tmp_path / "first").rmdir()
        config(tmp_path, a=light("--label", "good"))
        mesh.await_event("config.reloaded", 2)
        assert await labels(mesh) == {"good"}
