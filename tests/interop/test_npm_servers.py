"""Three public servers behind one mesh over stdio, used by SDK clients of each era and from the shell."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.kit.node import needs_node, node_command
from tests.kit.program import ENVIRONMENT, PROGRAM, serve
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE

pytestmark = [pytest.mark.anyio, needs_node]

TOOLS = {"everything_echo", "everything_get-sum", "files_write_file", "files_read_text_file"} | {
    "memory_create_entities",
    "memory_search_nodes",
}
DOCUMENT = "demo://everything/resource/static/document/features.md"
TEMPLATE = "demo://everything/resource/dynamic/text/{resourceId}"
GRAPH = "memory://memory/knowledge-graph"
PROMPTS = {"everything_simple-prompt", "everything_args-prompt"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A mesh of the three servers; what they keep is in the test's folder."""
    (tmp_path / "files").mkdir()
    programs: dict[str, list[str]] = {
        "everything": node_command("mcp-server-everything", "stdio"),
        "files": node_command("mcp-server-filesystem", str(tmp_path / "files")),
        "memory": node_command("mcp-server-memory"),
    }
    upstreams: dict[str, dict[str, Any]] = {
        name: {"command": command, "args": arguments} for name, (command, *arguments) in programs.items()
    }
    upstreams["memory"]["env"] = {"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")}
    file = tmp_path / "mesh.yaml"
    # Node takes its time to start, three times at once.
    file.write_text(json.dumps({"server": {"list_grace": "20s"}, "upstreams": upstreams}))
    return file


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_a_client_uses_three_public_servers_as_one(config: Path, tmp_path: Path, mode: str, version: str) -> None:
    path = str(tmp_path / "files" / "note.txt")
    with serve(config, tmp_path / "log") as mesh:
        async with connected(mesh.url, mode=mode) as client:
            assert client.protocol_version == version
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert tools >= TOOLS
            assert {name.partition("_")[0] for name in tools} == {"everything", "files", "memory"}

            async def call(name: str, **arguments: Any) -> Any:
                result = await client.call_tool(name, arguments)
                assert not result.is_error, result
                return result

            await call("files_write_file", path=path, content="two lumps\n")
            assert (await call("files_read_text_file", path=path)).content[0].text == "two lumps\n"
            assert Path(path).read_text() == "two lumps\n"
            ada = {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
            await call("memory_create_entities", entities=[ada])
            found = (await call("memory_search_nodes", query="tea")).structured_content
            assert found == {"entities": [ada], "relations": []}

            resources = {resource.uri for resource in (await client.list_resources()).resources}
            assert {DOCUMENT, GRAPH} <= resources
            assert "everything" in (await client.read_resource(DOCUMENT)).contents[0].text.lower()
            assert "likes tea" in (await client.read_resource(GRAPH)).contents[0].text
            templates = {t.uri_template for t in (await client.list_resource_templates()).resource_templates}
            assert TEMPLATE in templates
            uri = TEMPLATE.replace("{resourceId}", "7")
            (read,) = (await client.read_resource(uri)).contents
            assert read.uri == uri
            assert "Resource 7" in read.text

            assert {prompt.name for prompt in (await client.list_prompts()).prompts} >= PROMPTS
            rendered = await client.get_prompt("everything_args-prompt", {"city": "Bern"})
            assert rendered.messages[0].content.text == "What's weather in Bern?"


def test_the_shell_uses_three_public_servers_as_one(config: Path, tmp_path: Path) -> None:
    def done(*arguments: object) -> str:
        line = [*PROGRAM, *map(str, arguments)]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=2 * DEADLINE, env=ENVIRONMENT, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    path = tmp_path / "files" / "note.txt"
    # On the file itself, each command would start the servers that it needs: so only one does.
    with serve(config, tmp_path / "log") as mesh:
        listed = json.loads(done("list", mesh.url, "--json"))
        assert {tool["name"] for tool in listed["tools"]} >= TOOLS
        assert {DOCUMENT, GRAPH} <= {resource["uri"] for resource in listed["resources"]}
        assert TEMPLATE in {template["uriTemplate"] for template in listed["resourceTemplates"]}
        assert {prompt["name"] for prompt in listed["prompts"]} >= PROMPTS
        done("call", mesh.url, "files_write_file", f"path={path}", "content=two lumps")
        assert path.read_text() == "two lumps"
        assert done("call", mesh.url, "files_read_text_file", f"path={path}") == "two lumps\n"
        ada = {"name": "Ada", "entityType": "person", "observations": ["likes tea"]}
        done("call", mesh.url, "memory_create_entities", json.dumps({"entities": [ada]}))
        assert "likes tea" in done("call", mesh.url, "memory_search_nodes", "query=tea")
        assert "Resource 7" in done("call", mesh.url, TEMPLATE.replace("{resourceId}", "7"))
        assert "What's weather in Bern?" in done("call", mesh.url, "everything_args-prompt", "city=Bern")
    assert "likes tea" in done("call", config, GRAPH)
