"""A mesh that lists itself, directly or through another, notices, and lists everything else as ever."""

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.kit.light import light
from tests.kit.messages import call, heads, modern
from tests.kit.program import PROGRAM, Serving, serve
from tests.kit.running import listening
from tests.kit.waiting import DEADLINE, wait_for

CLOCK = light()
LEADS_BACK = "it lists this mesh itself"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/mcp"


def written(folder: Path, name: str, port: int, **upstreams: Any) -> Path:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"server": {"port": port, "list_grace": "0s"}, "upstreams": upstreams}))
    return file


def state_of(mesh: Serving, upstream: str) -> dict[str, Any]:
    return dict(mesh.await_settled()[upstream])


@pytest.mark.parametrize("session", ["auto", "shared"])
def test_a_mesh_that_lists_itself_refuses_that_upstream_and_serves_the_others(tmp_path: Path, session: str) -> None:
    port = free_port()
    file = written(tmp_path, "mesh", port, clock=CLOCK, me={"url": url(port), "session": session})
    with serve(file, tmp_path / "log", "--port", str(port)) as mesh:
        me = state_of(mesh, "me")
        assert me["state"] == "down"
        assert LEADS_BACK in me["reason"]
        assert state_of(mesh, "clock")["tools"] > 0


def test_two_meshes_that_list_each_other_end_with_one_that_lists_the_other(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    one = written(tmp_path, "one", ports[0], clock=CLOCK, other={"url": url(ports[1])})
    two = written(tmp_path, "two", ports[1], watch=CLOCK, other={"url": url(ports[0])})
    with serve(one, tmp_path / "log1", "--port", str(ports[0])) as first:
        assert state_of(first, "other")["state"] == "down"  # nobody is there yet
        with serve(two, tmp_path / "log2", "--port", str(ports[1])) as second:
            # Which of them closes the circle is decided by who comes first: the first tries again meanwhile.
            reached = state_of(second, "other")
            assert reached["state"] == "up" or LEADS_BACK in reached["reason"]

            def refused() -> bool:
                states = [mesh.ready()[1]["upstreams"]["other"] for mesh in (first, second)]
                return any(LEADS_BACK in state.get("reason", "") for state in states)

            wait_for(refused, first.process, first.log)
            tools = [mesh.ready()[1]["upstreams"]["other"].get("tools", 0) for mesh in (first, second)]
            assert max(tools) <= 4


def test_a_mesh_that_lists_itself_through_a_third_is_found_by_whoever_closes_the_circle(tmp_path: Path) -> None:
    ports = free_port(), free_port(), free_port()
    files = [
        written(tmp_path, str(number), ports[number], clock=CLOCK, next={"url": url(ports[(number + 1) % 3])})
        for number in range(3)
    ]
    with (
        serve(files[2], tmp_path / "log2", "--port", str(ports[2])) as third,
        serve(files[1], tmp_path / "log1", "--port", str(ports[1])) as second,
        serve(files[0], tmp_path / "log0", "--port", str(ports[0])) as first,
    ):
        assert state_of(second, "next")["state"] == "up"
        assert state_of(first, "next")["state"] == "up"

        def refused() -> bool:
            states = [mesh.ready()[1]["upstreams"]["next"] for mesh in (first, second, third)]
            return any(LEADS_BACK in state.get("reason", "") for state in states)

        wait_for(refused, third.process, third.log)


@pytest.mark.parametrize("era", ["legacy", "dual"])
def test_a_mesh_that_lists_itself_through_another_programs_proxy_refuses_that_upstream(
    tmp_path: Path, era: str
) -> None:
    port = free_port()
    with listening("rebuilds", "--of", "fastmcp", url(port), era=era) as proxy:
        file = written(tmp_path, "mesh", port, clock=CLOCK, loop={"url": proxy.url})
        with serve(file, tmp_path / "log", "--port", str(port)) as mesh:
            refused = mesh.await_event("upstream.down", upstream="loop")
            assert LEADS_BACK in refused["reason"]
            assert state_of(mesh, "clock")["state"] == "up"


@pytest.mark.parametrize("era", ["legacy", "dual"])
def test_a_proxy_that_rebuilds_answers_cannot_hide_what_grows(tmp_path: Path, era: str) -> None:
    port, proxys = free_port(), free_port()
    message, headers = modern(call("loop_clock_echo"))
    line = ("rebuilds", "--of", "sdk", "--port", str(proxys), url(port))
    file = written(tmp_path, "mesh", port, clock=CLOCK, loop={"url": url(proxys)})
    with serve(file, tmp_path / "log", "--port", str(port)) as mesh:
        count = state_of(mesh, "clock")["tools"]
        with listening(*line, era=era):
            assert mesh.await_event("upstream.up", upstream="loop")["tools"] == count
        lost = len(mesh.events("upstream.down"))

        def refusals() -> list[dict[str, Any]]:
            # Whoever calls finds that it is gone, and has it tried again.
            with contextlib.suppress(httpx2.HTTPError):
                httpx2.post(mesh.url, json=message, headers=heads(**headers), timeout=DEADLINE)
            return [line for line in mesh.events("upstream.down")[lost:] if LEADS_BACK in line["reason"]]

        wait_for(lambda: refusals() or mesh.events("upstream.down")[lost:], mesh.process, mesh.log)
        # It is found out as soon as it is listed again, for whichever reason.
        with listening(*line, era=era):
            refused = wait_for(refusals, mesh.process, mesh.log)[0]
        assert f"{LEADS_BACK}, through a proxy" in refused["reason"]
        assert "loop_clock_echo is what this mesh calls its clock_echo" in refused["reason"]
        assert "take one of the two out of the other's config" in refused["reason"]
        # What it had has not grown.
        assert mesh.ready()[1]["upstreams"]["loop"]["tools"] == count
        assert state_of(mesh, "clock")["state"] == "up"


def test_two_meshes_of_one_file_are_two(tmp_path: Path) -> None:
    file = written(tmp_path, "mesh", 0, clock=CLOCK)
    with serve(file, tmp_path / "log1") as one, serve(file, tmp_path / "log2") as two:
        above = written(tmp_path, "above", 0, one={"url": one.url}, two={"url": two.url})
        with serve(above, tmp_path / "log3") as mesh:
            assert {state_of(mesh, name)["state"] for name in ("one", "two")} == {"up"}


def test_a_file_that_is_its_own_command_ends_at_the_first_of_them(tmp_path: Path) -> None:
    file = tmp_path / "mesh.json"
    me = {"command": PROGRAM[0], "args": [*PROGRAM[1:], "serve", str(file), "--transport", "stdio"]}
    wrapped = {"command": "sh", "args": ["-c", f"exec {' '.join([me['command'], *me['args']])}"]}
    file.write_text(
        json.dumps({"server": {"list_grace": "0s"}, "upstreams": {"clock": CLOCK, "me": me, "again": wrapped}})
    )
    with serve(file, tmp_path / "log") as mesh:
        for name in ("me", "again"):
            state = state_of(mesh, name)
            assert state["state"] == "down"
            assert "it lists itself" in state["reason"]
        assert state_of(mesh, "clock")["state"] == "up"


def test_a_mesh_of_another_file_may_be_a_command(tmp_path: Path) -> None:
    inner = written(tmp_path, "inner", 0, clock=CLOCK)
    command = {"command": PROGRAM[0], "args": [*PROGRAM[1:], "serve", str(inner), "--transport", "stdio"]}
    outer = written(tmp_path, "outer", 0, one=command, two=command)
    with serve(outer, tmp_path / "log") as mesh:
        assert {state_of(mesh, name)["state"] for name in ("one", "two")} == {"up"}
