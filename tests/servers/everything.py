"""A server written as real ones are: with the SDK's `MCPServer`, for clients of both eras, and nothing in it asks which.

Its tools ask with `ctx.elicit`, `ctx.session.create_message` and what else the SDK offers in the middle of a call, log with `ctx.info`, and
keep what a client did where servers keep it: in the session, and in the process. What the SDK refuses to a client of one era, this server does
not work around. It has everything that the official suite's scenarios ask for. `everything_fastmcp` offers the same components with FastMCP.
"""

import itertools
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, Elicit, MCPServer, RequestStateSecurity, Resolve
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError, UrlElicitationRequiredError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    CallToolResult,
    Completion,
    ElicitRequestURLParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    NotificationParams,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import BaseModel, Field
from tests.servers.conformance import AUDIO, CONTACT, IMAGE, Events
from tests.servers.everything_rounds import Response, offer_rounds
from tests.servers.run import parser, run

NAME = "mcp-conformance-test-server"
STATE_KEY = b"a key that only fixtures have, and that is not secret"


class Person(BaseModel):
    """A form with a default of each kind (SEP-1034)."""

    name: str = Field(default="John Doe", description="User name")
    age: int = Field(default=30, description="User age")
    score: float = Field(default=95.5, description="User score")
    status: str = Field(
        default="active",
        description="User status",
        json_schema_extra={"enum": ["active", "inactive", "pending"]},
    )
    verified: bool = Field(default=True, description="Verification status")


class Choices(BaseModel):
    """A form with an enum of each kind (SEP-1330)."""

    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})  # noqa: N815
    titledSingle: str = Field(  # noqa: N815
        json_schema_extra={"oneOf": [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]}
    )
    legacyEnum: str = Field(  # noqa: N815
        json_schema_extra={
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        }
    )
    untitledMulti: list[str] = Field(  # noqa: N815
        json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2", "option3"]}}
    )
    titledMulti: list[str] = Field(  # noqa: N815
        json_schema_extra={"items": {"anyOf": [{"const": f"value{n}", "title": f"Choice {n}"} for n in (1, 2, 3)]}}
    )


class Clients:
    """The clients that are connected for longer than a request, and what the server keeps of each."""

    def __init__(self, server: Server[Any]) -> None:
        self._connections: set[Connection] = set()
        server.add_notification_handler("notifications/initialized", NotificationParams, self._come)
        server.add_notification_handler("notifications/roots/list_changed", NotificationParams, self._roots_changed)
        if server.get_request_handler("logging/setLevel") is None:
            server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._set_level)
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, self._unsubscribe)

    async def changed(self, kind: str) -> None:
        for connection in list(self._connections):
            await connection.notify(f"notifications/{kind}/list_changed", None)

    async def updated(self, uri: str) -> None:
        for connection in list(self._connections):
            if uri in connection.state.get("subscribed", ()):
                await connection.notify("notifications/resources/updated", {"uri": uri})

    async def _come(self, ctx: Any, params: Any) -> None:
        connection = state_of(ctx.session)
        self._connections.add(connection)
        connection.exit_stack.callback(self._connections.discard, connection)

    async def _roots_changed(self, ctx: Any, params: Any) -> None:
        state = state_of(ctx.session).state
        state["roots_changed"] = state.get("roots_changed", 0) + 1

    async def _set_level(self, ctx: Any, params: SetLevelRequestParams) -> EmptyResult:
        state_of(ctx.session).state["level"] = params.level
        return EmptyResult()

    async def _subscribe(self, ctx: Any, params: SubscribeRequestParams) -> EmptyResult:
        state_of(ctx.session).state.setdefault("subscribed", set()).add(str(params.uri))
        return EmptyResult()

    async def _unsubscribe(self, ctx: Any, params: UnsubscribeRequestParams) -> EmptyResult:
        state_of(ctx.session).state.get("subscribed", set()).discard(str(params.uri))
        return EmptyResult()


def state_of(session: Any) -> Connection:
    """The client's connection, where the SDK has a place for what a server keeps of it: for the session, or in the modern era for the request."""
    connection: Connection = session._connection
    return connection


def offer(server: Any, context: Any, message: Any) -> None:
    """The components that the SDK's server and FastMCP's take alike; `context` and `message` are the types that theirs have."""
    _contents(server, context)
    _questions(server, context)
    _state(server, context)
    _narration(server, context)
    _resources_and_prompts(server, message)
    offer_rounds(server, context)


def _contents(server: Any, context: Any) -> None:
    """Tools that answer at once."""

    @server.tool()
    def test_simple_text() -> str:
        """A text"""
        return "This is a simple text response for testing."

    @server.tool()
    def test_image_content() -> list[ImageContent]:
        """An image"""
        return [ImageContent.model_validate(IMAGE)]

    @server.tool()
    def test_audio_content() -> list[AudioContent]:
        """A sound"""
        return [AudioContent.model_validate(AUDIO)]

    @server.tool()
    def test_embedded_resource() -> list[EmbeddedResource]:
        """A resource in a result"""
        return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]

    @server.tool()
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        """Contents of several kinds"""
        mixed = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
        return [
            TextContent(type="text", text="Multiple content types test:"),
            ImageContent.model_validate(IMAGE),
            mixed,
        ]

    @server.tool()
    def test_error_handling() -> str:
        """Fails"""
        raise RuntimeError("This tool intentionally returns an error for testing")

    @server.tool()
    def test_x_mcp_header(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "<none>",
    ) -> str:
        """One argument is mirrored in a header"""
        return f"region={region}"

    @server.tool()
    async def test_missing_capability(ctx: context) -> str:
        """Needs a client that can sample"""
        able = ctx.session.client_capabilities
        if able is None or able.sampling is None:
            needed = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs sampling", needed)
        return "the client can sample"


def _questions(server: Any, context: Any) -> None:
    """Tools that ask in the middle of a call."""

    @server.tool()
    async def test_elicitation(message: str, ctx: context) -> str:
        """Asks the user"""
        return _told("User response", await ctx.elicit(message, Response))

    @server.tool()
    async def test_elicitation_sep1034_defaults(ctx: context) -> str:
        """Asks with a default in each field"""
        return _told("Elicitation completed", await ctx.elicit("Please review the form", Person))

    @server.tool()
    async def test_elicitation_sep1330_enums(ctx: context) -> str:
        """Asks to choose"""
        return _told("Elicitation completed", await ctx.elicit("Please choose", Choices))

    @server.tool()
    async def test_sampling(prompt: str, ctx: context) -> str:
        """Asks the client's model"""
        return f"LLM response: {await _sampled(ctx, prompt, related=ctx.request_id)}"

    @server.tool()
    async def sample_aside(prompt: str, ctx: context) -> str:
        """Asks as the SDK does by default: on the connection's own stream, outside of the call's"""
        return f"LLM response: {await _sampled(ctx, prompt, related=None)}"

    @server.tool()
    async def list_roots(ctx: context) -> str:
        """The client's roots, which the SDK asks for outside of the call's stream"""
        found = await ctx.session.list_roots()
        return ", ".join(str(root.uri) for root in found.roots)

    @server.tool()
    def roots_changes(ctx: context) -> str:
        """How often this client said that its roots changed"""
        return str(state_of(ctx.session).state.get("roots_changed", 0))

    @server.tool()
    async def sign_in(url: str, id: str, ctx: context) -> str:  # noqa: A002
        """Sends the user to a page, and says when it is done with, on the call's stream"""
        answer = await ctx.session.elicit_url("Sign in there", url, id, related_request_id=ctx.request_id)
        await ctx.session.send_elicit_complete(id, related_request_id=ctx.request_id)
        return str(answer.action)

    @server.tool()
    async def sign_in_aside(url: str, id: str, ctx: context) -> str:  # noqa: A002
        """The same, as the SDK does by default: on the connection's own stream"""
        answer = await ctx.session.elicit_url("Sign in there", url, id, related_request_id=ctx.request_id)
        await ctx.session.send_elicit_complete(id)
        return str(answer.action)

    @server.tool()
    async def sign_in_first(url: str, id: str, ctx: context) -> CallToolResult:  # noqa: A002
        """Refuses until the user has been sent to a page, each time"""
        asked = ElicitRequestURLParams(mode="url", message="Sign in there", url=url, elicitation_id=id)
        raise UrlElicitationRequiredError([asked])


def _state(server: Any, context: Any) -> None:
    """Tools that know what the client did before."""
    page: dict[str, str] = {}

    @server.tool()
    def count(ctx: context) -> str:
        """Counts its calls in this session"""
        state = state_of(ctx.session).state
        state["count"] = state.get("count", 0) + 1
        return str(state["count"])

    @server.tool()
    def put(key: str, value: str) -> str:
        """Keeps something in this process, as a browser keeps its page"""
        page[key] = value
        return value

    @server.tool()
    def take(key: str) -> str:
        """What was kept in this process, which keeps it no longer"""
        return page.pop(key, "(nothing)")

    @server.tool()
    async def put_and_say(key: str, value: str, ctx: context) -> str:
        """Keeps something in this process, and says so in the log"""
        page[key] = value
        await ctx.info(f"{key} is {value}")
        return value

    @server.tool()
    async def put_and_ask(key: str, ctx: context) -> str:
        """Keeps the user's answer in this process"""
        answer = await ctx.elicit(f"What is {key}?", Response)
        page[key] = answer.data.response if answer.action == "accept" else answer.action
        return page[key]

    @server.tool()
    def pid() -> str:
        """The process"""
        return str(os.getpid())

    @server.tool()
    def era(ctx: context) -> str:
        """The revision of the protocol in which this call came"""
        return str(ctx.session.protocol_version)

    @server.tool()
    def level(ctx: context) -> str:
        """The log level that the client set for its session"""
        return str(state_of(ctx.session).state.get("level"))


def _narration(server: Any, context: Any) -> None:
    """Tools that say something while they run."""

    @server.tool()
    async def test_tool_with_logging(ctx: context) -> str:
        """Logs three lines"""
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(line)
        return "Tool with logging executed successfully"

    server.tool(name="test_logging_tool")(test_tool_with_logging)

    @server.tool()
    async def test_tool_with_progress(ctx: context) -> str:
        """Makes progress in three steps"""
        for step in (0, 50, 100):
            await ctx.report_progress(step, 100, f"Completed step {step} of 100")
        return str((ctx.request_context.meta or {}).get("progress_token"))

    @server.tool()
    async def narrate(lines: int, ctx: context) -> str:
        """That many log lines of changing levels, with progress between them"""
        for number in range(lines):
            say = (ctx.debug, ctx.info, ctx.warning, ctx.error)[number % 4]
            await say(f"line {number}")
            await ctx.report_progress(number + 1, lines)
        return f"{lines} lines"

    @server.tool()
    async def interview(ctx: context) -> str:
        """Everything that a call can say and ask, in order"""
        await ctx.info("before the form")
        form = await ctx.elicit("Who are you?", Response)
        await ctx.report_progress(1, 2, "asked")
        await ctx.info("before the model")
        sampled = await _sampled(ctx, "Say hello", related=ctx.request_id)
        await ctx.report_progress(2, 2, "sampled")
        await ctx.info("done")
        return f"{_told('form', form)}; {sampled}"

    @server.tool()
    async def hold(marker: str, words: str, ctx: context) -> str:
        """Says something, waits until the file `MARKER.go` is there, and says it again; `MARKER.started` and `.cancelled` tell of it"""
        await ctx.info(words)
        Path(f"{marker}.started").touch()
        try:
            while not Path(f"{marker}.go").exists():
                await anyio.sleep(0.005)
        except anyio.get_cancelled_exc_class():
            Path(f"{marker}.cancelled").touch()
            raise
        await ctx.info(words)
        return words

    @server.tool()
    async def test_reconnection(ctx: context) -> str:
        """Ends the stream of its own call; the client comes back for the rest"""
        await ctx.info("before the stream ends")
        close = ctx.request_context.close_sse_stream
        if close is not None:
            await close()
            # The answer must not be there before the client is: what is tested is that it polls.
            await anyio.sleep(0.2)
        else:
            # Whoever is in between has the client's stream. The suite waits on it for ten seconds, and then polls, too.
            await anyio.sleep(10.5)
        await ctx.info("after the stream ended")
        return "Reconnection test completed successfully"


def _resources_and_prompts(server: Any, message: Any) -> None:
    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text"""
        return "This is the content of the static text resource."

    @server.resource("test://watched-resource", mime_type="text/plain")
    def watched() -> str:
        """A text that changes"""
        return "Watched resource content"

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:  # noqa: A002
        return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'

    @server.prompt()
    def test_simple_prompt() -> str:
        """A prompt"""
        return "This is a simple prompt for testing."

    @server.prompt()
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        """A prompt with arguments"""
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """An image"""
        return bytes.fromhex("89504e470d0a1a0a")

    @server.prompt()
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[message]:  # noqa: N803
        """A prompt with a resource"""
        resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
        return [message(resource), message("Please process the embedded resource above.")]

    @server.prompt()
    def test_prompt_with_image() -> list[message]:
        """A prompt with an image"""
        return [message(ImageContent.model_validate(IMAGE)), message("Please analyze the image above.")]


def completed(argument: Any) -> Completion:
    found = [value for value in ("paris", "park", "party") if value.startswith(argument.value)]
    return Completion(values=found, total=len(found), has_more=False)


def embedded(uri: str, mime_type: str, content: str) -> EmbeddedResource:
    resource = TextResourceContents(uri=uri, mime_type=mime_type, text=content)
    return EmbeddedResource(type="resource", resource=resource)


def passing() -> str:
    """What is there until the next change"""
    return "passing"


def _told(kind: str, answer: Any) -> str:
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"{kind}: action={answer.action}, content={content}"


async def _sampled(ctx: Any, prompt: str, *, related: Any) -> str:
    messages = [SamplingMessage(role="user", content=TextContent(type="text", text=prompt))]
    answer = await ctx.session.create_message(messages, max_tokens=100, related_request_id=related)
    return str(getattr(answer.content, "text", answer.content))


def server() -> MCPServer[Any]:
    """The SDK's server, fresh."""
    mcp: MCPServer[Any] = MCPServer(
        NAME, version="1.0.0", request_state_security=RequestStateSecurity(keys=[STATE_KEY]), log_level="CRITICAL"
    )
    clients = Clients(mcp._lowlevel_server)
    offer(mcp, Context, UserMessage)

    @mcp.completion()
    async def complete(_ref: Any, argument: Any, _context: Any) -> Completion:
        return completed(argument)

    @mcp.tool()
    def json_schema_2020_12_tool() -> str:
        """Its schema uses what JSON Schema 2020-12 has"""
        return "accepted"

    mcp._tool_manager._tools["json_schema_2020_12_tool"].parameters = CONTACT

    async def asked_in_passing(ctx: Context) -> Elicit[Response]:
        await ctx.report_progress(1)
        await ctx.info("about to ask")
        return Elicit("What is your name?", Response)

    @mcp.tool()
    async def test_streaming_elicitation(answer: Annotated[Response, Resolve(asked_in_passing)]) -> str:
        """Says something, so that its answer is a stream, and then asks, by the SDK's way for both eras"""
        return answer.response

    def who(message: str) -> Elicit[Response]:
        return Elicit(message, Response)

    @mcp.tool()
    async def ask(message: str, answer: Annotated[Response, Resolve(who)]) -> str:
        """Asks by the SDK's way for both eras: before its body runs"""
        return answer.response

    @mcp.tool()
    async def touch(uri: str, ctx: Context) -> str:
        """Tells the subscribers of the URI that it changed, in the two ways that the SDK has"""
        await ctx.notify_resource_updated(uri)
        await clients.updated(uri)
        return uri

    changes = itertools.count(1)
    mcp.add_tool(passing, name="passing_0")
    mcp.add_prompt(Prompt.from_function(passing, name="passing_0"))

    @mcp.tool()
    async def test_trigger_tool_change(ctx: Context) -> str:
        """Replaces a tool"""
        (before,) = (tool.name for tool in mcp._tool_manager.list_tools() if tool.fn is passing)
        mcp.remove_tool(before)
        mcp.add_tool(passing, name=f"passing_{next(changes)}")
        await ctx.notify_tools_changed()
        await clients.changed("tools")
        return "tool list changed"

    @mcp.tool()
    async def test_trigger_prompt_change(ctx: Context) -> str:
        """Replaces a prompt"""
        (before,) = (prompt.name for prompt in mcp._prompt_manager.list_prompts() if prompt.name.startswith("passing_"))
        mcp.remove_prompt(before)
        mcp.add_prompt(Prompt.from_function(passing, name=f"passing_{next(changes)}"))
        await ctx.notify_prompts_changed()
        await clients.changed("prompts")
        return "prompt list changed"

    return mcp


def main() -> None:
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    run(server()._lowlevel_server, parser(__doc__ or "").parse_args(), event_store=Events, retry_interval=100)


if __name__ == "__main__":
    main()
