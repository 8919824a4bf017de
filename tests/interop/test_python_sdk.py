"""The client of the Python SDK works with the mesh, in both eras; `tests/node/interact.mjs` does the same in TypeScript."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent
from tests.interop.conftest import SAW
from tests.kit.sdk import connected
from tests.kit.waiting import eventually

# What the legacy era alone has, the SDK warns of.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]


async def elicited(_context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"answer": f"{params.message} 42"})


async def sampled(_context: Any, params: Any) -> CreateMessageResult:
    content = TextContent(type="text", text=f"sampled {params.messages[0].content.text}")
    return CreateMessageResult(role="assistant", model="test-model", stop_reason="endTurn", content=content)


async def rooted(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///here", name="here")])


class Heard:
    """What a client was told outside of its calls' results."""

    def __init__(self) -> None:
        self.logs: list[list[Any]] = []
        self.updated: list[str] = []
        self.changed = 0

    async def log(self, params: Any) -> None:
        self.logs.append([params.level, params.data])

    async def message(self, message: Any) -> None:
        await self.event(type(message).__name__, getattr(message, "params", None))

    async def event(self, name: str, about: Any) -> None:
        if name.startswith("ResourceUpdated"):
            self.updated.append(about.uri)
        elif name.startswith(("ToolListChanged", "ToolsListChanged")):
            self.changed += 1


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_does_everything_and_sees_what_the_upstream_says(
    target: list[str], tmp_path: Path, mode: str
) -> None:
    heard = Heard()
    able = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
    told = {"logging_callback": heard.log, "message_handler": heard.message}
    server = target if len(target) > 1 else target[0]
    async with connected(server, mode=mode, **able, **told) as client:
        assert await use(client, mode, heard, str(tmp_path / "held")) == SAW


async def use(client: Any, mode: str, heard: Heard, marker: str) -> dict[str, Any]:
    """Do everything, and say what was seen."""
    saw: dict[str, Any] = {}

    async def call(name: str, /, **arguments: Any) -> Any:
        return await client.call_tool(f"web_{name}", arguments)

    def text(result: Any) -> str:
        return str(result.content[0].text)

    listed = [tool.name for tool in (await client.list_tools()).tools]
    saw["tools"] = [name for name in listed if name in ("web_add", "web_echo")]
    listed = [resource.uri for resource in (await client.list_resources()).resources]
    saw["resources"] = [uri for uri in listed if uri.endswith("text")]
    listed = [template.uri_template for template in (await client.list_resource_templates()).resource_templates]
    saw["templates"] = [uri for uri in listed if "item" in uri]
    saw["prompts"] = [prompt.name for prompt in (await client.list_prompts()).prompts if prompt.name == "web_greet"]
    saw["server"] = client.server_info.name

    saw["echo"] = text(await call("echo", text="hi"))
    saw["structured"] = (await call("add", a=1, b=2)).structured_content
    saw["isError"] = (await call("fail")).is_error
    with pytest.raises(MCPError) as unknown:
        await call("nobody")
    saw["unknown"] = unknown.value.error.code
    saw["progress"] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        saw["progress"].append([done, total, message])

    await client.call_tool("web_progress", {"n": 3}, progress_callback=progress)
    await eventually(lambda: len(saw["progress"]) == 3)

    saw["elicited"] = json.loads(text(await call("ask", message="What is it?")))
    answers = json.loads(text(await call("ask", message="m", n=2, rounds=2)))
    saw["rounds"] = [answer["content"]["answer"] for answer in answers]
    saw["sampled"] = json.loads(text(await call("sample", prompt="something")))
    saw["roots"] = [root["uri"] for root in json.loads(text(await call("roots")))["roots"]]

    saw["text"] = (await client.read_resource(saw["resources"][0])).contents[0].text
    saw["item"] = (await client.read_resource(saw["templates"][0].replace("{id}", "5"))).contents[0].text
    links = [getattr(link, "uri", None) or link.resource.uri for link in (await call("links")).content]
    saw["links"] = [(await client.read_resource(uri)).contents[0].text for uri in links]
    saw["prompt"] = (await client.get_prompt("web_greet", {"name": "Ada"})).messages[0].content.text
    reference = {"type": "ref/prompt", "name": "web_greet"}
    saw["completed"] = (await client.complete(reference, {"name": "name", "value": "A"})).completion.values

    async with anyio.create_task_group() as tasks:
        if mode == "legacy":
            await client.subscribe_resource(saw["resources"][0])
            await client.set_logging_level("info")
        else:
            ready = anyio.Event()
            tasks.start_soon(listen, client, saw["resources"], heard, ready)
            await ready.wait()
        await call("touch", uri="basic://text")
        await eventually(lambda: heard.updated)
        saw["updated"] = heard.updated[0]
        # The listing may have changed before: a mesh that has just started announces its upstreams.
        before = heard.changed
        await call("add_tool", name="fresh")
        await eventually(lambda: heard.changed > before)
        saw["fresh"] = text(await call("fresh"))
        level = None if mode == "legacy" else {"io.modelcontextprotocol/logLevel": "info"}
        await client.call_tool("web_log", {"n": 2, "data": "a line"}, meta=level)
        await eventually(lambda: len(heard.logs) == 2)
        saw["logs"] = heard.logs

        with anyio.CancelScope() as scope:
            tasks.start_soon(cancel_once_started, scope, marker)
            await call("hold", marker=marker)
        saw["cancelled"] = "cancelled" if scope.cancelled_caught else "ended"
        await eventually(lambda: Path(f"{marker}.cancelled").exists())
        tasks.cancel_scope.cancel()
    await call("remove_tool", name="fresh")
    return saw


async def listen(client: Any, uris: list[str], heard: Heard, ready: anyio.Event) -> None:
    async with client.listen(tools_list_changed=True, resource_subscriptions=uris) as events:
        ready.set()
        async for event in events:
            await heard.event(type(event).__name__, event)


async def cancel_once_started(scope: anyio.CancelScope, marker: str) -> None:
    await eventually(lambda: Path(f"{marker}.started").exists())
    scope.cancel()
