"""SIGUSR2: another version of the program takes the place of this one, and nobody is refused meanwhile."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.cluster.test_workers import await_all_up, config, once, opened, workers
from tests.kit.callers import callers
from tests.kit.light import light
from tests.kit.messages import call, request
from tests.kit.processes import descendants, is_alive
from tests.kit.program import Serving, serve
from tests.kit.waiting import eventually, within

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares a port between processes evenly"),
]


async def upgraded(mesh: Serving, count: int = 1) -> None:
    mesh.process.send_signal(signal.SIGUSR2)
    await asyncio.to_thread(mesh.await_event, "upgrade.done", count)


async def test_no_connection_is_refused_and_no_call_fails(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with callers(mesh.url) as calling:
            for count in (1, 2):
                old = set(workers(mesh).values())
                await upgraded(mesh, count)
                assert not [pid for pid in old if is_alive(pid)]
                assert not old & set(workers(mesh).values())
                await calling.some_more()
        # The process is the same for whoever manages it, and so is the port.
        assert mesh.process.poll() is None
        assert len(mesh.events("mesh.listening")) == 3
        assert {event["url"] for event in mesh.events("mesh.listening")} == {mesh.url}
        running = descendants(mesh.process.pid)
        assert mesh.end() == 0
        assert not [pid for pid in running if is_alive(pid)]


async def test_sessions_of_the_version_before_go_on_while_it_is_there_and_are_unknown_then(tmp_path) -> None:
    journal = tmp_path / "journal"
    with serve(config(tmp_path, a=light("--journal", str(journal))), tmp_path / "log") as mesh:
        await_all_up(mesh)
        headers = await opened(mesh.url)
        running = asyncio.ensure_future(once(mesh.url, call("a_echo", 7, hold=True), **headers))
        await eventually(lambda: "tools/call" in journal.read_text())
        old = descendants(mesh.process.pid)
        mesh.process.send_signal(signal.SIGUSR2)
        await asyncio.to_thread(mesh.await_event, "upgrade.taken_over")
        # Whoever gets it, it finds its home.
        assert (await once(mesh.url, request("ping"), **headers)).status_code == 200
        for pid, line in old.items():
            if "light.py" in line and is_alive(pid):
                os.kill(pid, signal.SIGUSR1)
        assert "result" in (await within(running)).json()
        await asyncio.to_thread(mesh.await_event, "upgrade.done")
        for _ in range(4):
            assert (await once(mesh.url, request("ping"), **headers)).status_code == 404


async def test_a_version_that_cannot_serve_is_not_taken(tmp_path) -> None:
    file = config(tmp_path, a=light())
    with serve(file, tmp_path / "log") as mesh:
        await_all_up(mesh)
        before, good = workers(mesh), file.read_text()
        file.write_text("upstreams: {a: {command: x, typo: 1}}")
        mesh.await_event("config.rejected", 2)
        mesh.process.send_signal(signal.SIGUSR2)
        refused = await asyncio.to_thread(mesh.await_event, "upgrade.refused")
        assert "typo" in refused["reason"]
        assert "Traceback" not in refused["reason"]
        file.write_text(good)
        assert workers(mesh) == before
        headers = await opened(mesh.url)
        assert (await once(mesh.url, request("ping"), **headers)).status_code == 200
        await upgraded(mesh)
        assert not set(before.values()) & set(workers(mesh).values())


async def test_more_workers_may_take_the_place_of_fewer_and_fewer_that_of_more(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        async with callers(mesh.url) as calling:
            for round_, count in ((1, 3), (2, 1)):
                started = len(mesh.events("worker.started"))
                config(tmp_path, workers=count, a=light())
                await upgraded(mesh, round_)
                assert len(mesh.events("worker.started")) == started + count
                await calling.some_more()
        assert mesh.end() == 0


async def test_one_process_alone_goes_on_and_says_why(tmp_path) -> None:
    with serve(config(tmp_path, workers=1, a=light()), tmp_path / "log") as mesh:
        mesh.await_event("upstream.up")
        mesh.process.send_signal(signal.SIGUSR2)
        assert "server.workers" in mesh.await_event("upgrade.refused")["reason"]
        assert mesh.ready()[0] == 200


def secrets_of(process: Path) -> str:
    return (process / "environ").read_bytes().decode() + (process / "cmdline").read_bytes().decode()


async def test_what_is_left_is_in_no_variable(tmp_path) -> None:
    with serve(config(tmp_path, a=light()), tmp_path / "log") as mesh:
        await_all_up(mesh)
        await upgraded(mesh)
        for pid in (mesh.process.pid, *workers(mesh).values()):
            shown = secrets_of(Path(f"/proc/{pid}"))
            variables = [one for one in shown.split("\0") if one.startswith("MESHPROXY_SUCCESSION=")]
            assert all(len(one) < 30 for one in variables)
        # It may be done any number of times: nothing piles up.
        assert all(
            "MESHPROXY_SUCCESSION" not in secrets_of(Path(f"/proc/{pid}"))
            for pid in descendants(mesh.process.pid)
            if pid not in workers(mesh).values()
        )
