"""The servers that other tests lean on do what they say, reached directly by a client of the SDK."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent
from tests.kit.running import Running, command
from tests.kit.sdk import connected
from tests.kit.waiting import eventually
from tests.servers import basic

pytestmark = pytest.mark.anyio


async def elicited(_context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"answer": params.message})


async def sampled(_context: Any, _params: Any) -> CreateMessageResult:
    return CreateMessageResult(
        role="assistant", content=TextContent(type="text", text="hi"), model="m", stop_reason="s"
    )


async def rooted(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///here", name="here")])


ABLE = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}


@pytest.fixture(params=["stdio", "http", "sse", "in process"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reach(transport: str, shared_server: Callable[..., Running]) -> Callable[..., Any]:
    def reach(era: str) -> Any:
        if transport == "in process":
            return basic.kit().server()
        if transport == "stdio":
            return command("basic", "--era", era)
        return shared_server("basic", transport=transport, era=era).url

    return reach


def said(result: Any) -> Any:
    return result.content[0].text


@pytest.mark.parametrize(
    ("era", "mode", "version"),
    [
        ("dual", "legacy", "2025-11-25"),
        ("dual", "auto", "2026-07-28"),
        ("legacy", "auto", "2025-11-25"),
        ("modern", "auto", "2026-07-28"),
    ],
)
async def test_the_basic_server_works_over_each_transport_in_each_era(
    reach: Callable[..., Any], transport: str, era: str, mode: str, version: str
) -> None:
    if transport == "in process" and era != "dual":
        pytest.skip("the SDK's client chooses the era in process")
    async with connected(reach(era), mode=mode, **ABLE) as client:
        assert client.protocol_version == version
        assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
        assert said(await client.call_tool("echo", {"text": "hello"})) == "hello"
        assert json.loads(said(await client.call_tool("ask", {"message": "who?"}))) == [
            {"action": "accept", "content": {"answer": "who?"}}
        ]
        answers = json.loads(said(await client.call_tool("ask", {"message": "x", "n": 2, "rounds": 2})))
        assert [answer["content"]["answer"] for answer in answers] == ["x 0.0", "x 0.1", "x 1.0", "x 1.1"]
        everything = json.loads(said(await client.call_tool("ask_everything", {})))
        assert everything["sample"]["model"] == "m"
        assert everything["roots"]["roots"] == [{"uri": "file:///here", "name": "here"}]
        assert (await client.read_resource("basic://item/5")).contents[0].text == "item 5"
        with pytest.raises(MCPError, match="not found"):
            await client.read_resource("basic://nothing")
        rendered = await client.get_prompt("greet", {"name": "Ada"})
        assert rendered.messages[0].content.text == "Greet Ada in a kind way."


async def test_a_page_of_a_listing_leads_to_the_next() -> None:
    async with connected(basic.kit(page_size=4).server()) as client:
        first = await client.list_tools()
        second = await client.list_tools(cursor=first.next_cursor)
        assert len(first.tools) == len(second.tools) == 4
        assert {tool.name for tool in first.tools}.isdisjoint(tool.name for tool in second.tools)


async def test_a_cancelled_call_ends_at_the_server(shared_server: Callable[..., Running], tmp_path: Path) -> None:
    marker = tmp_path / "held"
    async with (
        connected(shared_server("basic").url) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.call_tool, "hold", {"marker": str(marker)})
        await eventually(lambda: Path(f"{marker}.started").exists())
        tasks.cancel_scope.cancel()
    await eventually(lambda: Path(f"{marker}.cancelled").exists())


async def test_a_change_is_told_to_clients_of_both_eras(own_server: Callable[..., Running]) -> None:
    heard = anyio.Event()

    async def listen(message: Any) -> None:
        if type(message).__name__ == "ToolListChangedNotification":
            heard.set()

    url = own_server("basic").url
    async with (
        connected(url, mode="legacy", message_handler=listen) as legacy,
        connected(url) as modern,
        modern.listen(tools_list_changed=True) as events,
    ):
        await modern.call_tool("add_tool", {"name": "new"})
        assert type(await anext(aiter(events))).__name__ == "ToolsListChanged"
        await heard.wait()
        assert said(await legacy.call_tool("new", {})) == "I am new"


async def responded(_context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"response": params.message} if params.mode == "form" else None)


of_both_eras = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
"""The SDK warns of what its modern era has not, and a client of the legacy era uses."""
REAL = ["everything", "everything_fastmcp"]
"""The servers that are written as real ones are."""


@pytest.fixture(params=["stdio", "http"])
def real(request: pytest.FixtureRequest, shared_server: Callable[..., Running]) -> Callable[[str], Any]:
    return lambda name: command(name) if request.param == "stdio" else shared_server(name).url


@of_both_eras
@pytest.mark.parametrize("name", REAL)
async def test_a_legacy_client_gets_everything_from_a_server_of_both_eras(
    real: Callable[[str], Any], name: str
) -> None:
    lines: list[Any] = []
    told: list[str] = []

    async def logged(params: Any) -> None:
        # FastMCP wraps what is logged.
        lines.append(params.data["msg"] if isinstance(params.data, dict) else params.data)

    async def heard(message: Any) -> None:
        told.append(type(message).__name__)

    able = ABLE | {"elicitation_callback": responded}
    async with connected(real(name), mode="legacy", logging_callback=logged, message_handler=heard, **able) as client:

        async def call(tool: str, **arguments: Any) -> str:
            return str(said(await client.call_tool(tool, arguments)))

        async def roots_changed() -> bool:
            return await call("roots_changes") == "1"

        assert await call("era") == "2025-11-25"
        assert [await call("count") for _ in range(3)] == ["1", "2", "3"]
        assert await call("interview") == 'form: action=accept, content={"response":"Who are you?"}; hi'
        assert await call("put_and_ask", key="colour") == "What is colour?"
        assert await call("put_and_say", key="colour", value="red") == await call("take", key="colour") == "red"
        assert await call("narrate", lines=4) == "4 lines"
        await eventually(lambda: len(lines) == 8)
        assert lines == [
            *("before the form", "before the model", "done", "colour is red"),
            *(f"line {number}" for number in range(4)),
        ]
        assert await call("sample_aside", prompt="Hello") == "LLM response: hi"
        assert await call("list_roots") == "file:///here"
        await client.send_roots_list_changed()
        await eventually(roots_changed)
        assert await call("sign_in", url="https://example.com/", id="1") == "accept"
        assert await call("sign_in_aside", url="https://example.com/", id="2") == "accept"
        await client.subscribe_resource("test://watched-resource")
        await call("touch", uri="test://watched-resource")
        await eventually(
            lambda: told.count("ElicitCompleteNotification") == 2 and "ResourceUpdatedNotification" in told
        )
        await client.set_logging_level("warning")
        assert await call("level") in ("warning", "None")  # FastMCP keeps it to itself


@pytest.mark.parametrize("name", REAL)
async def test_a_modern_client_gets_what_its_era_has_from_a_server_of_both_eras(
    real: Callable[[str], Any], name: str
) -> None:
    lines: list[Any] = []

    async def logged(params: Any) -> None:
        lines.append(params.data["msg"] if isinstance(params.data, dict) else params.data)

    able = ABLE | {"elicitation_callback": responded, "logging_callback": logged, "log_level": "debug"}
    async with connected(real(name), mode="auto", **able) as client:

        async def call(tool: str, **arguments: Any) -> str:
            return str(said(await client.call_tool(tool, arguments)))

        assert await call("era") == "2026-07-28"
        assert await call("put_and_say", key="colour", value="red") == await call("take", key="colour") == "red"
        assert await call("narrate", lines=4) == "4 lines"
        assert lines == ["colour is red", *(f"line {number}" for number in range(4))]
        assert await call("test_input_required_result_multiple_inputs") == "All inputs were received"
        if name == "everything":
            assert await call("ask", message="Who?") == "Who?"
        with pytest.raises(MCPError) if name == "everything" else contextlib.nullcontext():
            refused = await client.call_tool("test_elicitation", {"message": "Who?"})
            assert refused.is_error, "there is no asking in the middle of a call"
