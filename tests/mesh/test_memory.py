"""What a mesh remembers of its upstreams over a restart: two meshes of one config, one after the other, with one state directory."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.kit.clients import Legacy
from tests.kit.light import LIGHT, document, light
from tests.kit.waiting import eventually
from tests.mesh.conftest import RunMesh, Running

pytestmark = pytest.mark.anyio


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def held(folder: Path, *arguments: str, **keys: Any) -> dict[str, Any]:
    """A light server that does not start as long as there is a file `held`, and whose command line does not say so."""
    script = f'while [ -e {folder}/held ]; do sleep 0.02; done; exec "$@" $(cat {folder}/more 2>/dev/null)'
    return {"command": "sh", "args": ["-c", script, "sh", sys.executable, "-IS", LIGHT, *arguments], **keys}


async def tools(mesh: Running) -> list[str]:
    return await Legacy(mesh.server).names()


def entries(state: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_bytes()) for file in (state / "catalogs").glob("*.json")]


async def test_a_restarted_mesh_lists_at_once_what_is_still_starting(run_mesh: RunMesh, tmp_path, state) -> None:
    text = document(
        {"a": held(tmp_path, "--tools", "one,two", "--instructions", "Be kind."), "b": light("--tools", "x")}
    )
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_one", "a_two", "b_x"]
    (tmp_path / "held").touch()
    async with run_mesh(text, state=state, settle=False) as mesh:
        assert await tools(mesh) == ["a_one", "a_two", "b_x"]
        assert "Be kind." in (mesh.server.composite.snapshot.instructions(None) or "")
        shown = mesh.mesh.status()["a"]
        assert (shown["state"], shown["tools"], shown["remembered"]) == ("starting", 2, True)


async def test_what_is_remembered_is_replaced_silently_and_clients_hear_of_changes_alone(
    run_mesh: RunMesh, tmp_path, state
) -> None:
    text = document({"a": held(tmp_path, "--prompts", "p", "--resources", "r://1", "--define", DEFINED)})
    async with run_mesh(text, state=state) as mesh:
        before = await tools(mesh)
    for changes, heard in (("", []), ("--tools echo,new", ["notifications/tools/list_changed"])):
        (tmp_path / "more").write_text(changes)
        (tmp_path / "held").touch()
        async with run_mesh(text, state=state, settle=False) as mesh:
            client = Legacy(mesh.server)
            assert await client.names() == before
            (tmp_path / "held").unlink()
            await mesh.mesh.settled()
            assert "remembered" not in mesh.mesh.status()["a"]
            assert client.heard.methods() == heard
            assert ("a_new" in await client.names()) == bool(changes)


async def test_a_lazy_upstream_that_is_remembered_is_not_started_to_be_listed(run_mesh: RunMesh, state) -> None:
    text = document({"a": light(start="lazy")})
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_echo"]
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_echo"]
        assert (mesh.mesh.status()["a"]["state"], mesh.pids("a")) == ("idle", [])
        assert await Legacy(mesh.server).says("a_echo")
        await eventually(lambda: "remembered" not in mesh.mesh.status()["a"])


async def test_another_spec_has_no_memory_and_what_only_changes_how_it_is_shown_has(
    run_mesh: RunMesh, tmp_path, state
) -> None:
    async with run_mesh(document({"a": held(tmp_path)}), state=state) as mesh:
        assert await tools(mesh) == ["a_echo"]
    (tmp_path / "held").touch()
    server = {"list_grace": "0s"}
    shown = held(tmp_path, namespace="other", timeouts={"call": "1m"}, start="lazy")
    async with run_mesh(document({"a": shown}, server=server), state=state, settle=False) as mesh:
        assert await tools(mesh) == ["other_echo"]
    for other in (held(tmp_path, "--label", "x"), held(tmp_path, env={"TOKEN": "another"})):
        async with run_mesh(document({"a": other}, server=server), state=state, settle=False) as mesh:
            assert await tools(mesh) == []


async def test_a_listing_that_failed_half_way_is_never_remembered_as_the_whole(
    run_mesh: RunMesh, tmp_path, state
) -> None:
    text = document({"a": held(tmp_path, "--prompts", "p")})
    (tmp_path / "more").write_text("--fail prompts/list")
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_echo"]
    assert entries(state) == []
    (tmp_path / "more").write_text("")
    async with run_mesh(text, state=state):
        pass
    (whole,) = entries(state)
    (tmp_path / "more").write_text("--fail prompts/list --tools other")
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_other"]
        # What is known of what cannot be listed stays.
        assert mesh.mesh.status()["a"]["prompts"] == 1
    assert entries(state) == [whole]


async def test_what_hides_when_it_is_down_is_hidden_until_it_is_up(run_mesh: RunMesh, tmp_path, state) -> None:
    text = document({"a": held(tmp_path, when_down="hide")}, server={"list_grace": "0s"})
    async with run_mesh(text, state=state) as mesh:
        assert await tools(mesh) == ["a_echo"]
    (tmp_path / "held").touch()
    async with run_mesh(text, state=state, settle=False) as mesh:
        assert await tools(mesh) == []
        (tmp_path / "held").unlink()
        await mesh.mesh.settled()
        assert await tools(mesh) == ["a_echo"]


async def test_an_upstream_that_talked_is_known_to_talk(run_mesh: RunMesh, state) -> None:
    text = document({"a": light()})
    async with run_mesh(text, state=state) as mesh:
        assert entries(state) == [] or not entries(state)[0]["talks"]
        await Legacy(mesh.server).says("a_echo", notify=[["notifications/message", {"level": "info", "data": 1}]])
        # At once, since a mesh that is killed has no end to write it at.
        await eventually(lambda: [entry for entry in entries(state) if entry["talks"]])
    async with run_mesh(text, state=state) as mesh:
        assert mesh.mesh._providers["a"].recollection.known.talks


async def test_no_secret_is_in_the_directory_and_an_upstream_that_is_gone_is_forgotten(
    run_mesh: RunMesh, state
) -> None:
    secret = "tok-8f2a61c09d3e47b5"
    both = {"a": light("--token", "x", env={"API_TOKEN": secret}) | {"args": light()["args"]}, "b/ä": light()}
    async with run_mesh(document(both), state=state):
        pass
    files = [file.read_bytes() for file in state.rglob("*") if file.is_file()]
    assert len(entries(state)) == 2
    assert not [data for data in files if secret.encode() in data]
    both["b/ä"] |= {"enabled": False}
    async with run_mesh(document(both), state=state) as mesh:
        assert len(entries(state)) == 2
        await mesh.edit(document({"a": both["a"]}))
        await eventually(lambda: len(entries(state)) == 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda text: text[:-9],
        lambda _: "[]",
        lambda text: text.replace('"version":1', '"version":2'),
    ],
)
async def test_an_entry_that_cannot_be_used_is_as_good_as_none(run_mesh: RunMesh, tmp_path, state, spoil) -> None:
    text = document({"a": held(tmp_path)}, server={"list_grace": "0s"})
    async with run_mesh(text, state=state):
        pass
    (file,) = (state / "catalogs").glob("*.json")
    file.write_text(spoil(file.read_text()))
    (tmp_path / "held").touch()
    async with run_mesh(text, state=state, settle=False) as mesh:
        assert await tools(mesh) == []
        (tmp_path / "held").unlink()
        await mesh.mesh.settled()
    assert len(entries(state)) == 1


async def test_without_a_state_directory_nothing_is_listed_before_it_is_there(run_mesh: RunMesh, tmp_path) -> None:
    text = document({"a": held(tmp_path)}, server={"list_grace": "0s"})
    async with run_mesh(text) as mesh:
        assert await tools(mesh) == ["a_echo"]
    (tmp_path / "held").touch()
    async with run_mesh(text, settle=False) as mesh:
        assert await tools(mesh) == []


DEFINED = json.dumps(
    {"name": "odd", "inputSchema": {"type": "object"}, "x": [1.5, 1e300, 2**70, None, "\ud800\u0000ä"]}
)
