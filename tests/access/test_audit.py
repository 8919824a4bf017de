"""`observe.audit`: a line for each call and each decision, in the file that the config names."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
from tests.kit.light import light
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
SECRET = "hunter22-hunter22"


def lines(file: Path) -> list[Json]:
    """What is in the log, each line of which is whole."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def calls(file: Path) -> list[Json]:
    return [line for line in lines(file) if line["event"] == "call"]


async def until(file: Path, event: str, count: int = 1) -> list[Json]:
    def found() -> list[Json]:
        return [line for line in lines(file) if line["event"] == event]

    await eventually(lambda: len(found()) >= count)
    return found()


def config(audit: Json | None = None, **top: Any) -> str:
    upstreams = {"a": light("--tools", "echo,write", env={"API_KEY": SECRET})}
    observe = {"audit": {"file": "audit.jsonl", **(audit or {})}}
    return mesh_of(key("ada", ADA), key("bob", BOB), upstreams=upstreams, observe=observe, **top)


RULES = [{"who": {"keys": ["ada"]}, "allow": ["*"]}, {"who": "any", "allow": ["a_echo"]}]


async def test_each_call_is_a_line_with_who_what_when_and_how_it_ended(guarded: Guard, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with guarded(config(access=RULES)) as mesh:
        session = await mesh.open(ADA)
        await mesh.legacy(ADA, session, "tools/call", name="a_echo", arguments={"tag": "x"})
        await mesh.modern(BOB, "tools/call", name="a_write", arguments={})
        await mesh.modern(BOB, "tools/call", name="a_nothing", arguments={})
        failing = {"raw": json.dumps({"content": [], "isError": True})}
        await mesh.modern(BOB, "tools/call", name="a_echo", arguments=failing)
        await mesh.modern(BOB, "resources/read", uri="a:thing")
        await mesh.legacy(ADA, session, "tools/list")
        await until(file, "call", 5)
        assert file.stat().st_mode & 0o777 == 0o600
        first, denied, unknown, failed, read = calls(file)
        assert first.pop("duration") > 0
        assert first.pop("time").endswith("Z")
        assert len(first.pop("session")) == 12
        assert len(first.pop("revision")) == 12
        assert first == {
            "event": "call",
            "outcome": "success",
            "principal": "key:ada",
            "mcp.method.name": "tools/call",
            "gen_ai.tool.name": "a_echo",
            "upstream": "a",
            "origin": "echo",
            "client": "test",
            "era": "legacy",
            "jsonrpc.request.id": "10",
        } | {"client": first["client"]}
        assert (denied["outcome"], denied["principal"], denied["gen_ai.tool.name"]) == ("denied", "key:bob", "a_write")
        assert (unknown["outcome"], unknown["rpc.response.status_code"], unknown["era"]) == (
            "error",
            "-32602",
            "modern",
        )
        assert (failed["outcome"], failed["error.type"]) == ("failure", "tool_error")
        assert (read["mcp.resource.uri"], read["outcome"]) == ("a:thing", "error")


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("none", None),
        ("keys", ["tag", "password", "deep"]),
        ("all", {"tag": "x", "password": "***", "deep": [{"note": "it is ***", "n": 1}]}),
    ],
)
async def test_of_arguments_there_is_what_the_config_says_and_no_secret(
    guarded: Guard, tmp_path: Path, keep: str, kept: Any
) -> None:
    file = tmp_path / "audit.jsonl"
    async with guarded(config({"arguments": keep})) as mesh:
        given = {"tag": "x", "password": "correct horse", "deep": [{"note": f"it is {SECRET}", "n": 1}]}
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments=given)
        large = {"tag": "y" * 70_000}
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments=large)
        await mesh.modern(ADA, "tools/call", name=f"a_{SECRET}", arguments={})
        await until(file, "call", 3)
        first, second, third = calls(file)
        assert first.get("gen_ai.tool.call.arguments") == kept
        assert second.get("arguments_left_out") == (None if keep == "none" else True)
        assert third["gen_ai.tool.name"] == "a_***"
        assert SECRET not in file.read_text()


async def test_each_decision_is_a_line(guarded: Guard, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with guarded(config()) as mesh:
        assert await mesh.status("mesh_nobody") == 401
        assert await mesh.status("mesh_nobody") == 401
        assert await mesh.status(None) == 401
        session = await mesh.open(ADA)
        assert await mesh.status(BOB, session) == 404
        await mesh.edit(config(access=RULES))
        await mesh.edit(config(access=RULES).replace('"who"', '"whom"'))
        pinned = json.loads(config(access=RULES))
        pinned["upstreams"]["a"]["pin"] = "block"
        await mesh.edit(json.dumps(pinned))
        pinned["upstreams"]["a"]["args"] += ["--label", "other"]
        await mesh.edit(json.dumps(pinned))
        await until(file, "pin.changed", 2)
        told = lines(file)
        events = [line["event"] for line in told]
        assert events[0] == "mesh.started"
        refused = [line for line in told if line["event"] == "access.refused"]
        assert [(line["status"], line["outcome"]) for line in refused] == [(401, "denied"), (401, "denied")]
        assert all(line["address"] == "127.0.0.1" for line in refused)
        (stolen,) = [line for line in told if line["event"] == "access.not_its_own"]
        assert (stolen["principal"], stolen["owner"], stolen["what"]) == ("key:bob", "key:ada", "session")
        reloaded = [line for line in told if line["event"] == "config.reloaded"]
        assert any(changed.startswith("access") for changed in reloaded[0]["changed"])
        (rejected,) = [line for line in told if line["event"] == "config.rejected"]
        assert "whom" in rejected["problems"][0]
        (added,) = [line for line in told if line["event"] == "pin.added"]
        assert (added["upstream"], added["names"]) == ("a", ["echo", "write"])
        changed = [line for line in told if line["event"] == "pin.changed"]
        assert [(line["name"], line["diff"][0]) for line in changed] == [
            ("echo", "description:"),
            ("write", "description:"),
        ]
        assert len({line["revision"] for line in told}) > 1
    assert lines(file)[-1]["event"] == "mesh.ended"


async def test_a_call_has_the_revision_that_it_began_under(guarded: Guard, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    async with guarded(config()) as mesh:
        for text in (config(access=RULES), config(access=[*RULES, RULES[0]])):
            await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
            await mesh.edit(text)
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        await until(file, "call", 3)
        revisions = [line["revision"] for line in calls(file)]
        assert len(set(revisions)) == 3
        told = [line["file_revision"] for line in lines(file) if line["event"] == "config.reloaded"]
        assert told == revisions[1:]


async def test_the_log_is_moved_and_ended_by_an_edit_and_is_put_aside_when_it_is_large(
    guarded: Guard, tmp_path: Path
) -> None:
    one, two = tmp_path / "audit.jsonl", tmp_path / "two.jsonl"
    async with guarded(config({"size": 2000, "keep": 2})) as mesh:
        for number in range(30):
            await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
            # So that each is a batch of its own.
            await eventually(
                lambda number=number: sum(map(len, map(calls, tmp_path.glob("audit.jsonl*")))) > min(number, 8)
            )
        names = ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]
        await eventually(lambda: sorted(path.name for path in tmp_path.glob("audit.jsonl*")) == names)
        assert all(path.stat().st_size <= 2000 for path in tmp_path.glob("audit.jsonl*"))
        await mesh.edit(config({"file": "two.jsonl"}))
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        await until(two, "call")
        # Somebody else puts it aside.
        two.rename(tmp_path / "aside")
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        await until(two, "call")
        await mesh.edit(mesh_of(key("ada", ADA)))
        before = len(lines(two))
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        assert not mesh.server.recorder.listeners or before == len(lines(two))
    assert one.exists()


async def test_a_full_disk_costs_no_call_and_is_said_once(
    guarded: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.observe.line_writer.AGAIN", 0.05)
    monkeypatch.setattr("meshproxy.observe.line_writer.BREATH", 0.0)
    monkeypatch.setattr("meshproxy.observe.line_writer.ROOM", 20)
    file = tmp_path / "audit.jsonl"
    file.symlink_to("/dev/full")
    async with guarded(config()) as mesh:
        for _ in range(50):
            answer = await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
            assert "result" in answer
        (told,) = await unwritable(mesh)
        assert "No space left" in told["reason"]
        file.unlink()
        (lost,) = await until(file, "audit.lost")
        assert (
            lost["count"] + len(calls(file)) + len([line for line in lines(file) if line["event"] == "mesh.started"])
            == 51
        )
        await mesh.journal.until("audit.writable")
        assert len(await unwritable(mesh)) == 1


async def unwritable(mesh: Any) -> list[Json]:
    await eventually(lambda: bool(mesh.journal.of("audit.unwritable")))
    found: list[Json] = mesh.journal.of("audit.unwritable")
    return found
