"""Two dead upstreams among five, by the order of events; `./scripts/soak start` has the seconds."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.kit.waiting import DEADLINE
from tests.soak.clients import Client, http_client
from tests.soak.documents import LIGHT
from tests.soak.program import Program, serving

pytestmark = pytest.mark.anyio

GOOD = ("first", "second", "third")


def light(folder: Path, name: str) -> dict[str, Any]:
    """One that starts when there is a file of its name."""
    wait = f'while [ ! -e {folder / name} ]; do sleep 0.02; done; exec "$0" "$@"'
    return {"command": "/bin/sh", "args": ["-c", wait, sys.executable, "-IS", LIGHT, "--label", name]}


def config(folder: Path, **server: Any) -> Path:
    upstreams = {name: light(folder, name) for name in GOOD} | {
        "hangs": {
            "command": sys.executable,
            "args": ["-IS", LIGHT, "--silent"],
            "timeouts": {"connect": "20s"},
        },
        "dies": {"command": sys.executable, "args": ["-IS", LIGHT, "--dies", "no licence found"]},
    }
    file = folder / "mesh.yaml"
    file.write_text(json.dumps({"server": server, "upstreams": upstreams}))
    return file


async def names(client: Client) -> set[str]:
    async with asyncio.timeout(DEADLINE):
        return {name for name, _ in await client.listed("tools")}


async def states(program: Program, client: Client) -> dict[str, str]:
    _, body = await program.ready(client.http)
    return {name: one["state"] for name, one in body["upstreams"].items()}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_without_a_grace_what_is_up_is_listed_at_once_and_the_rest_as_it_comes(tmp_path: Path, era: str) -> None:
    file = config(tmp_path, list_grace="0s")
    async with http_client() as http, serving(file, tmp_path) as program:
        client = Client(program.url, era, http)
        await client.open()
        # The port is open, and nothing is up.
        assert await names(client) == set()
        came = set()
        for name in GOOD:
            (tmp_path / name).touch()
            came.add(f"{name}_echo")
            async with asyncio.timeout(DEADLINE):
                while await names(client) != came:
                    await asyncio.sleep(0.01)
        # All of that while one had not answered yet.
        assert (await states(program, client))["hangs"] == "starting"
        await client.close()
        assert (await program.end(DEADLINE))[0] == 0


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_first_listing_waits_for_what_comes_within_the_grace_and_for_nothing_longer(
    tmp_path: Path, era: str
) -> None:
    file = config(tmp_path, list_grace="5s")
    async with http_client() as http, serving(file, tmp_path) as program:
        client = Client(program.url, era, http)
        await client.open()
        asked = asyncio.create_task(names(client))
        for name in GOOD:
            (tmp_path / name).touch()
        assert await asked == {f"{name}_echo" for name in GOOD}
        # One has not answered yet, and nobody waits for it any more.
        assert (await states(program, client))["hangs"] == "starting"
        assert await names(client) == {f"{name}_echo" for name in GOOD}
        assert (await states(program, client))["hangs"] == "starting"
        await client.close()
        assert (await program.end(DEADLINE))[0] == 0


async def test_the_dead_are_named_with_the_reason(tmp_path: Path) -> None:
    file = config(tmp_path, list_grace="0s")
    file.write_text(file.read_text().replace('"20s"', '"1s"'))
    for name in GOOD:
        (tmp_path / name).touch()
    async with http_client() as http, serving(file, tmp_path) as program:
        words = {"hangs": "it did not answer initialize within 1 s", "dies": "its last words: no licence found"}
        down = await program.until(
            lambda: (
                {event["upstream"]: event["reason"] for event in program.of("upstream.down")}.keys() >= words.keys()
            ),
            DEADLINE,
        )
        assert down
        # They are not required, so the mesh is ready without them.
        status, body = await program.ready(http)
        assert status == 200
        for name, said in words.items():
            logged = next(event["reason"] for event in program.of("upstream.down") if event["upstream"] == name)
            assert said in logged
            assert body["upstreams"][name]["state"] == "down"
            assert said in body["upstreams"][name]["reason"]
        assert (await program.end(DEADLINE))[0] == 0
