"""A mesh that is started again knows at once what it has known, however the one before it ended."""

import json
import signal
import stat
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.kit.light import LIGHT, light
from tests.kit.program import Serving, serve
from tests.kit.waiting import DEADLINE, wait_for

LIST = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}


def tools(mesh: Serving) -> list[str]:
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/list",
    }
    request = urllib.request.Request(mesh.url, json.dumps(LIST).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        return [tool["name"] for tool in json.load(answer)["result"]["tools"]]


def held(folder: Path) -> dict[str, Any]:
    script = f'while [ -e {folder}/held ]; do sleep 0.02; done; exec "$@"'
    return {"command": "sh", "args": ["-c", script, "sh", sys.executable, "-IS", LIGHT]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_mesh_that_is_started_again_lists_before_its_upstreams_are_up(config, tmp_path, number) -> None:
    file = config(a=held(tmp_path), b=light(start="lazy"))
    with serve(file, tmp_path / "log") as mesh:
        mesh.await_settled()
        assert tools(mesh) == ["a_echo", "b_echo"]
        wait_for(lambda: len(list((tmp_path / ".state").rglob("catalogs/*.json"))) == 2)
        mesh.end(number)
    (tmp_path / "held").touch()
    with serve(file, tmp_path / "log") as mesh:
        assert tools(mesh) == ["a_echo", "b_echo"]
        upstreams = mesh.ready()[1]["upstreams"]
        assert [(upstreams[name]["state"], len(upstreams[name]["pids"])) for name in "ab"] == [
            ("starting", 1),
            ("idle", 0),
        ]
        (tmp_path / "held").unlink()
        assert mesh.await_settled()["a"]["state"] == "up"


def test_the_place_and_that_there_is_none_are_in_the_file(config, tmp_path) -> None:
    with serve(config(a=light(), state="./kept"), tmp_path / "log") as mesh:
        mesh.await_settled()
        assert mesh.end() == 0
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert len(list((tmp_path / "kept" / "catalogs").iterdir())) == 1
    with serve(config(a=light(), state="none"), tmp_path / "log") as mesh:
        mesh.await_settled()
        assert mesh.end() == 0
    assert not (tmp_path / ".state").exists()


def test_a_place_that_cannot_be_written_to_is_said_once_and_costs_nothing_else(config, tmp_path) -> None:
    (tmp_path / "file").touch()
    file = config(a=light(), b=light(), state="./file/state")
    with serve(file, tmp_path / "log") as mesh:
        assert {one["state"] for one in mesh.await_settled().values()} == {"up"}
        mesh.await_event("state.unusable", reason="Not a directory")
        assert tools(mesh) == ["a_echo", "b_echo"]
        assert mesh.end() == 0
        assert len(mesh.events("state.unusable")) == 1


def test_a_new_place_takes_effect_at_the_next_start_and_is_said_to(config, serving) -> None:
    mesh = serving(config(a=light()))
    mesh.await_settled()
    config(a=light(), state="none")
    assert mesh.await_event("config.reloaded")["restart_required"] == ["state"]
