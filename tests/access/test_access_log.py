"""`observe.access_log`: a line for each request, in a file of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from meshproxy.relay.traces import Traces
from opentelemetry.sdk.trace import TracerProvider
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
from tests.kit.light import light
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
SECRET = "hunter22-hunter22"


def config(**observe: Any) -> str:
    upstreams = {"a": light("--tools", "echo", env={"API_KEY": SECRET})}
    return mesh_of(key("ada", ADA), key("bob", BOB), upstreams=upstreams, observe=observe)


async def until(file: Path, count: int) -> list[Json]:
    def lines() -> list[Json]:
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    await eventually(lambda: len(lines()) >= count)
    return lines()


async def test_each_request_is_a_line_whatever_it_asks(guarded: Guard, tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"
    async with guarded(config(access_log={"file": "access.jsonl"})) as mesh:
        session = await mesh.open(ADA)
        await mesh.legacy(ADA, session, "tools/list")
        await mesh.legacy(ADA, session, "tools/call", name="a_echo", arguments={"tag": SECRET})
        await mesh.modern(BOB, "tools/call", name="a_nothing", arguments={})
        await until(file, 4)
        assert file.stat().st_mode & 0o777 == 0o600
        by_method = {(line["mcp.method.name"], line["outcome"]): line for line in await until(file, 4)}
    listing, call, unknown = (
        by_method[key_] for key_ in (("tools/list", "success"), ("tools/call", "success"), ("tools/call", "error"))
    )
    assert (listing["principal"], "upstream" in listing) == ("key:ada", False)
    assert (call["gen_ai.tool.name"], call["upstream"], call["origin"]) == ("a_echo", "a", "echo")
    assert call["duration"] > 0
    assert call["arguments.bytes"] == len(json.dumps({"tag": SECRET}))
    assert call["result.bytes"] > 0
    assert len(call["session"]) == 12
    assert (unknown["principal"], unknown["rpc.response.status_code"]) == ("key:bob", "-32602")
    text = file.read_text()
    assert SECRET not in text
    assert session["mcp_session_id"] not in text
    assert "trace_id" not in text


async def test_an_edit_begins_and_ends_it_beside_the_audit_log(guarded: Guard, tmp_path: Path) -> None:
    access, audit = tmp_path / "access.jsonl", tmp_path / "audit.jsonl"
    async with guarded(config()) as mesh:
        await mesh.edit(config(access_log={"file": "access.jsonl"}, audit={"file": "audit.jsonl"}))
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        [line] = await until(access, 1)
        assert line["mcp.method.name"] == "tools/call"
        assert {one["event"] for one in await until(audit, 2)} == {"config.reloaded", "call"}
        await mesh.edit(config())
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        assert len(await until(access, 1)) == 1


async def test_the_trace_of_a_call_is_in_its_line(guarded: Guard, tmp_path: Path) -> None:
    async with guarded(config(access_log={"file": "access.jsonl"})) as mesh:
        mesh.server.recorder.tracer = Traces(TracerProvider())
        trace = "0af7651916cd43dd8448eb211c80319c"
        meta = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        await mesh.modern(ADA, "tools/call", name="a_echo", arguments={}, _meta=meta)
        [line] = await until(tmp_path / "access.jsonl", 1)
    assert line["trace_id"] == trace


async def test_a_full_disk_costs_no_request_and_what_is_missing_is_counted(
    guarded: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.observe.line_writer.AGAIN", 0.05)
    monkeypatch.setattr("meshproxy.observe.line_writer.BREATH", 0.0)
    monkeypatch.setattr("meshproxy.observe.line_writer.ROOM", 20)
    file = tmp_path / "access.jsonl"
    file.symlink_to("/dev/full")
    async with guarded(config(access_log={"file": "access.jsonl"})) as mesh:
        for _ in range(50):
            assert "result" in await mesh.modern(ADA, "tools/call", name="a_echo", arguments={})
        await eventually(lambda: bool(mesh.journal.of("access_log.unwritable")))
        file.unlink()
        await mesh.journal.until("access_log.writable")
        lines = await until(file, 2)
        assert sum(line.get("count", 1) for line in lines) == 50
        assert [line["event"] for line in lines].count("access_log.lost") == 1
