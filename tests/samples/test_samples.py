"""The servers that ship do what they say, over stdio and over HTTP."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock_url() -> Iterator[str]:
    line = [sys.executable, "-m", "meshproxy.samples", "clock", "--http", "0", "--until-eof"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


async def test_the_clock_tells_and_converts_times_over_http(clock_url: str) -> None:
    async with connected(clock_url) as client:
        now = await client.call_tool("now", {"timezone": "Asia/Tokyo"})
        assert now.structured_content["time"].endswith("+09:00")
        there = await client.call_tool(
            "convert", {"time": "2026-01-31T14:00", "source": "Europe/Paris", "target": "Asia/Tokyo"}
        )
        assert there.structured_content == {
            "timezone": "Asia/Tokyo",
            "time": "2026-01-31T22:00:00+09:00",
            "weekday": "Saturday",
        }
        assert (await client.call_tool("convert", {"time": "noon", "target": "UTC"})).is_error
        assert "Europe/Paris" in (await client.read_resource("clock://zones")).contents[0].text
        assert (await client.read_resource("clock://now/Asia/Tokyo")).contents[0].text.endswith("+09:00")
        plan = await client.get_prompt("plan_meeting", {"zones": "UTC, Asia/Tokyo"})
        assert "- Asia/Tokyo: 2" in plan.messages[0].content.text
        with pytest.raises(MCPError, match="did you mean Europe/Paris"):
            await client.call_tool("now", {"timezone": "paris"})


async def test_the_notes_are_written_found_read_and_deleted_over_stdio() -> None:
    async with connected([sys.executable, "-m", "meshproxy.samples", "notes"]) as client:
        await client.call_tool("write", {"title": "Tea & cake", "text": "two lumps"})
        await client.call_tool("write", {"title": "Coffee", "text": "black"})
        found = await client.call_tool("search", {"words": "TEA lumps"})
        assert found.structured_content == {"result": [{"title": "Tea & cake", "text": "two lumps"}]}
        assert (await client.read_resource("note://Coffee")).contents[0].text == "black"
        assert "# Coffee\nblack" in (await client.read_resource("notes://all")).contents[0].text
        assert "two lumps" in (await client.get_prompt("summarise", {})).messages[0].content.text
        await client.call_tool("delete", {"title": "Coffee"})
        assert (await client.call_tool("delete", {"title": "Coffee"})).is_error
        with pytest.raises(MCPError, match="no note 'Coffee'"):
            await client.read_resource("note://Coffee")


async def test_notes_in_a_folder_outlive_the_server(tmp_path: Path) -> None:
    line = ["env", f"NOTES_DIR={tmp_path}", sys.executable, "-m", "meshproxy.samples", "notes"]
    async with connected(line) as client:
        await client.call_tool("write", {"title": "a/b: ü?", "text": "kept"})
    async with connected(line) as client:
        assert "kept" in (await client.read_resource("notes://all")).contents[0].text


def test_a_taken_port_is_told_in_one_line(clock_url: str) -> None:
    port = clock_url.split(":")[2].split("/", maxsplit=1)[0]
    line = [sys.executable, "-m", "meshproxy.samples", "clock", "--http", port]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"The sample can't listen on port {port}: Address already in use\n"
