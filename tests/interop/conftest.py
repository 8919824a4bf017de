"""A mesh in front of the basic server, and what every client must see of it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.program import serve
from tests.kit.running import Running

SAW: dict[str, Any] = {
    "tools": ["web_echo", "web_add"],
    "resources": ["basic://web/text"],
    "templates": ["basic://web/item/{id}"],
    "prompts": ["web_greet"],
    "server": "interop",
    "echo": "hi",
    "structured": {"sum": 3},
    "isError": True,
    "unknown": -32602,
    "progress": [[1, 3, "step 1"], [2, 3, "step 2"], [3, 3, "step 3"]],
    "elicited": [{"action": "accept", "content": {"answer": "What is it? 42"}}],
    "rounds": ["m 0.0 42", "m 0.1 42", "m 1.0 42", "m 1.1 42"],
    "sampled": {
        "role": "assistant",
        "model": "test-model",
        "stopReason": "endTurn",
        "content": {"type": "text", "text": "sampled something"},
    },
    "roots": ["file:///here"],
    "text": "hello world",
    "item": "item 5",
    "links": ["item 7", "once upon a time", "<p>a page</p>", "item 8"],
    "prompt": "Greet Ada in a kind way.",
    "completed": ["Ada", "Alan"],
    "updated": "basic://web/text",
    "fresh": "I am fresh",
    "logs": [["info", "a line"], ["info", "a line"]],
    "cancelled": "cancelled",
}
"""What a client has seen once it has done everything, whichever it is: in public names, and otherwise what the basic server says."""


@pytest.fixture(params=["http", "stdio"])
def target(
    request: pytest.FixtureRequest, shared_server: Callable[..., Running], tmp_path: Path
) -> Iterator[list[str]]:
    """A mesh with the basic server as its upstream `web`: its URL, or the command line that serves it."""
    config = tmp_path / "mesh.yaml"
    upstreams = {"web": {"url": shared_server("basic").url}}
    config.write_text(yaml.safe_dump({"name": "interop", "server": {"list_grace": "20s"}, "upstreams": upstreams}))
    if request.param == "http":
        with serve(config, tmp_path / "log") as mesh:
            yield [mesh.url]
    else:
        yield [sys.executable, "-m", "meshproxy", "serve", str(config), "--transport", "stdio"]
