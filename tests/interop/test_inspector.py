"""The MCP Inspector's command line works with the mesh, in both eras."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.kit.node import needs_node, node_command
from tests.kit.waiting import DEADLINE

pytestmark = needs_node

ECHO = ("tools/call", "--tool-name", "web_echo", "--tool-arg", "text=hi")
GREET = ("prompts/get", "--prompt-name", "web_greet", "--prompt-args", "name=Ada")
SAYS = {
    ECHO: {"content": [{"type": "text", "text": "hi"}]},
    GREET: {"messages": [{"role": "user", "content": {"type": "text", "text": "Greet Ada in a kind way."}}]},
    ("resources/read", "--uri", "basic://web/text"): {
        "contents": [{"uri": "basic://web/text", "mimeType": "text/plain", "text": "hello world"}]
    },
}
LISTS = {
    ("tools/list",): ("tools", "name", {"web_echo", "web_ask"}),
    ("resources/templates/list",): ("resourceTemplates", "uriTemplate", {"basic://web/item/{id}"}),
}


@pytest.mark.parametrize(
    ("era", "methods"), [("legacy", [*SAYS, *LISTS]), ("modern", [ECHO, GREET])], ids=["legacy", "modern"]
)
def test_the_inspector_lists_calls_reads_and_renders(
    target: list[str], tmp_path: Path, era: str, methods: list[tuple[str, ...]]
) -> None:
    server: dict[str, Any] = {"command": target[0], "args": target[1:]}
    if len(target) == 1:
        server = {"url": target[0], "type": "streamable-http"}
    config = tmp_path / "inspector.json"
    config.write_text(json.dumps({"mcpServers": {"mesh": server}}))
    for method in methods:
        result = inspect(config, "--protocol-era", era, "--method", *method)
        if method in SAYS:
            assert {key: result[key] for key in SAYS[method]} == SAYS[method]
        else:
            items, key, known = LISTS[method]
            assert known <= {item[key] for item in result[items]}


def inspect(config: Path, *options: str) -> Any:
    line = ["--cli", "--config", str(config), "--server", "mesh", "--format", "json", "--quiet", *options]
    ended = subprocess.run(
        node_command("mcp-inspector", *line),
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
        env={**os.environ, "HOME": str(config.parent)},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)["result"]
