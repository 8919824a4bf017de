"""A server whose components are dictionaries, on the SDK's own server and transports.

What a tool returns leaves as it is, unknown keys and nulls included, since the answers are given by a middleware and
not by the SDK's handlers, which would rebuild them. Requests are still checked by the SDK. One function asks the client
in both eras: `Call.ask` sends the questions on the legacy wire, and on the modern one ends the call and is answered when
the client calls again.
"""

import base64
import inspect
import json
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import anyio
from mcp.server.connection import Connection, allowed_log_levels
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import event_to_notification
from mcp_types import SetLevelRequestParams, SubscriptionsListenRequestParams, methods
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

Json = dict[str, Any]
Run = Callable[..., Any]

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
CAPABILITY = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
CHANGED = {"tools": ToolsListChanged(), "prompts": PromptsListChanged(), "resources": ResourcesListChanged()}
JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}


def text(content: str) -> Json:
    return {"type": "text", "text": content}


class Asked(Exception):
    """Ends a round of a call with questions for the client; in the legacy era, the next round begins with their answers."""

    def __init__(self, questions: Mapping[str, Json] | None, state: str | None) -> None:
        super().__init__("the client is asked")
        self.questions = questions or {}
        self.state = state
        self.result: Json = {"resultType": "input_required"}
        if questions is not None:
            self.result["inputRequests"] = dict(questions)
        if state is not None:
            self.result["requestState"] = state


class Call:
    """One request, as the function that answers it sees it."""

    def __init__(self, kit: "Kit", ctx: ServerRequestContext[Any, Any]) -> None:
        self.kit = kit
        self.ctx = ctx
        self.params: Mapping[str, Any] = ctx.params or {}
        self.meta: Mapping[str, Any] = self.params.get("_meta") or {}
        self.is_legacy = ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
        self.connection: Connection = ctx.session._connection
        self.answers: Mapping[str, Any] = self.params.get("inputResponses") or {}
        self.state: str | None = self.params.get("requestState")
        self._round = 0

    @property
    def capabilities(self) -> Json:
        """What the client said it can do, at the handshake or with this request."""
        declared = self.ctx.session.client_capabilities
        return declared.model_dump(by_alias=True, mode="json", exclude_none=True) if declared else {}

    @property
    def headers(self) -> Json:
        """The HTTP headers of the request; none on other transports."""
        return dict(self.ctx.request.headers) if self.ctx.request is not None else {}

    async def ask(self, questions: Mapping[str, Json]) -> Json:
        """Ask the client, all at once, and return its results under the same keys.

        In the modern era the function runs again from its start for each round; what earlier rounds brought is kept
        in the request state.
        """
        if self.is_legacy:
            return await self.send(questions)
        missing = {CAPABILITY[question["method"]] for question in questions.values()} - self.capabilities.keys()
        if missing:
            needed = {"requiredCapabilities": {name: {} for name in sorted(missing)}}
            raise MCPError(-32021, f"This needs a client with {', '.join(sorted(missing))}", needed)
        past: list[Json] = json.loads(self.state) if self.state else []
        if self._round == len(past):
            if not questions.keys() <= self.answers.keys():
                raise Asked(questions, json.dumps(past))
            past.append({key: self.answers[key] for key in questions})
            self.state, self.answers = json.dumps(past), {}
        self._round += 1
        return past[self._round - 1]

    async def send(self, questions: Mapping[str, Json], *, some: bool = False) -> Json:
        """Send questions of the legacy era, all at once, and return the results; with `some`, those of the answered ones are enough."""
        results: Json = {}
        refusals: list[MCPError] = []

        async def one(key: str, question: Json) -> None:
            try:
                results[key] = await self.ctx.session._request_outbound.send_raw_request(
                    question["method"], question.get("params")
                )
            except MCPError as refusal:
                refusals.append(refusal)

        async with anyio.create_task_group() as tasks:
            for key, question in questions.items():
                tasks.start_soon(one, key, question)
        if refusals and not (some and results):
            raise refusals[0]
        return results

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        await self.ctx.session.report_progress(progress, total, message)

    async def log(self, level: str, data: Any, logger: str | None = None) -> None:
        """Log on this request's stream, if the client wants to hear of that level."""
        if self.is_legacy:
            wanted = LEVELS.index(level) >= LEVELS.index(self.connection.state.get("level", "info"))
        else:
            wanted = level in allowed_log_levels(self.ctx.protocol_version, self.meta)
        if wanted:
            params = {"level": level, "data": data} | ({"logger": logger} if logger else {})
            await self.ctx.session._request_outbound.notify("notifications/message", params)


class Kit:
    """The components of one server, and their changes while it runs."""

    def __init__(
        self, name: str, *, version: str = "1.0", instructions: str | None = None, page_size: int | None = None
    ) -> None:
        self.name = name
        self.version = version
        self.instructions = instructions
        self.page_size = page_size
        self.loops = False
        self.cache: Json = {"ttlMs": 0, "cacheScope": "private"}
        self.extensions: Json = {}
        self.methods: dict[str, Callable[[Call], Awaitable[Json]]] = {}
        self.legacy_methods: dict[str, Callable[[Call], Awaitable[Json]]] = {}
        self.legacy_capabilities: Json = {}
        self.tasks: dict[str, Json] = {}
        self.state_key = b"a key that only fixtures have, and that is not secret"
        self.tools: dict[str, tuple[Json, Run]] = {}
        self.resources: dict[str, tuple[Json, Run]] = {}
        self.templates: dict[str, tuple[Json, Run]] = {}
        self.prompts: dict[str, tuple[Json, Run]] = {}
        self.complete: Callable[[Json, Json, Json], list[str]] = lambda _ref, _argument, _context: []
        self.bus = InMemorySubscriptionBus()
        self.connections: set[Connection] = set()
        self._streams: dict[Any, Iterable[str]] = {}

    def tool(self, **definition: Any) -> Callable[[Run], Run]:
        """Offer the function as a tool; its parameters after the call make the input schema unless one is given."""

        def offer(run: Run) -> Run:
            name = definition.get("name", run.__name__)
            schema = definition.get("inputSchema") or _schema(run)
            described = (
                {"name": name, "description": inspect.getdoc(run) or name} | definition | {"inputSchema": schema}
            )
            self.tools[name] = (described, run)
            return run

        return offer

    def resource(self, uri: str, **definition: Any) -> Callable[[Run], Run]:
        """Offer the function's result, text, bytes or a list of contents, as a resource."""

        def offer(run: Run) -> Run:
            self.resources[uri] = ({"uri": uri, "name": run.__name__} | definition, run)
            return run

        return offer

    def template(self, uri_template: str, **definition: Any) -> Callable[[Run], Run]:
        """Offer the function for URIs of a template with plain `{name}` and `{+name}` variables."""

        def offer(run: Run) -> Run:
            self.templates[uri_template] = ({"uriTemplate": uri_template, "name": run.__name__} | definition, run)
            return run

        return offer

    def prompt(self, **definition: Any) -> Callable[[Run], Run]:
        """Offer the function as a prompt; its parameters are the arguments, required if they have no default."""

        def offer(run: Run) -> Run:
            name = definition.get("name", run.__name__)
            arguments = [
                {"name": parameter.name, "required": parameter.default is parameter.empty}
                for parameter in _arguments(run)
            ]
            described = {"name": name, "description": inspect.getdoc(run) or name, "arguments": arguments} | definition
            self.prompts[name] = (described, run)
            return run

        return offer

    async def changed(self, kind: str) -> None:
        """Tell every client of both eras that the listing of `tools`, `resources` or `prompts` differs."""
        await self.bus.publish(CHANGED[kind])
        for connection in list(self.connections):
            await connection.notify(f"notifications/{kind}/list_changed", None)

    async def updated(self, uri: str) -> None:
        """Tell the subscribers of a resource, or of what it is a part of, that it changed."""
        await self.bus.publish(ResourceUpdated(uri))
        for connection in list(self.connections):
            if any(uri.startswith(subscribed) for subscribed in connection.state.get("subscribed", ())):
                await connection.notify("notifications/resources/updated", {"uri": uri})

    def server(self) -> Server[Any]:
        """The SDK server that serves these components."""

        async def never(_ctx: Any, _params: Any) -> HandlerResult:
            raise AssertionError("the middleware answers")

        def schema(name: str) -> Json | None:
            return self.tools[name][0]["inputSchema"] if name in self.tools else None

        server: Server[Any] = Server(
            self.name,
            version=self.version,
            instructions=self.instructions,
            get_tool_input_schema=schema,
            on_list_tools=never,
            on_call_tool=never,
            on_list_resources=never,
            on_list_resource_templates=never,
            on_read_resource=never,
            on_subscribe_resource=never,
            on_unsubscribe_resource=never,
            on_list_prompts=never,
            on_get_prompt=never,
            on_completion=never,
            on_subscriptions_listen=self._listen,
        )
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, never)
        security = RequestStateSecurity(keys=[self.state_key])
        server.middleware.append(RequestStateBoundary(security, default_audience=self.name))
        server.middleware.append(self._answer)
        return server

    async def _listen(self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams) -> None:
        """A listen stream. Unlike the SDK's it tells of parts of what was subscribed to, and of tasks."""
        asked = (ctx.params or {})["notifications"]
        meta = {"io.modelcontextprotocol/subscriptionId": ctx.request_id}
        outbound = ctx.session._request_outbound
        send, received = anyio.create_memory_object_stream[ServerEvent | Json](math.inf)
        self._streams[ctx.request_id, send] = asked.get("taskIds", ())
        unsubscribe = self.bus.subscribe(send.send_nowait)
        try:
            await outbound.notify("notifications/subscriptions/acknowledged", {"notifications": asked, "_meta": meta})
            async for event in received:
                if isinstance(event, dict):
                    await outbound.notify("notifications/tasks", event | {"_meta": meta})
                elif _is_wanted(asked, event):
                    told = event_to_notification(event, meta).model_dump(by_alias=True, mode="json", exclude_none=True)
                    await outbound.notify(told["method"], told["params"])
        finally:
            unsubscribe()
            del self._streams[ctx.request_id, send]
            send.close()
            received.close()

    def task_changed(self, task: Json) -> None:
        """Tell the streams that wait for it."""
        for (_, stream), ids in self._streams.items():
            if task["taskId"] in ids:
                stream.send_nowait(task)

    async def _answer(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        answer = ANSWERS.get(ctx.method)
        if ctx.method in self.methods and ctx.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return {"resultType": "complete"} | await self.methods[ctx.method](Call(self, ctx))
        if ctx.method in self.legacy_methods and ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            return await self.legacy_methods[ctx.method](Call(self, ctx))
        if answer is None:
            result = await call_next(ctx)
            if ctx.method in ("initialize", "server/discover") and isinstance(result, dict):
                for kind in ("tools", "resources", "prompts"):
                    # Over HTTP the SDK has no way to be told that it is so.
                    result["capabilities"][kind]["listChanged"] = True
                if self.extensions:
                    result["capabilities"]["extensions"] = self.extensions
                if ctx.method == "initialize":
                    result["capabilities"] |= self.legacy_capabilities
            elif ctx.method == "notifications/initialized":
                connection = ctx.session._connection
                self.connections.add(connection)
                connection.exit_stack.callback(self.connections.discard, connection)
            elif ctx.method == "notifications/roots/list_changed":
                state = ctx.session._connection.state
                state["roots_changed"] = state.get("roots_changed", 0) + 1
            return result
        try:
            methods.validate_client_request(ctx.method, ctx.protocol_version, ctx.params)
        except KeyError:
            # The era of this connection has no such method: the SDK has the words for it.
            return await call_next(ctx)
        call = Call(self, ctx)
        result = None
        while result is None:
            try:
                result = await answer(self, call)
            except Asked as asked:
                if call.is_legacy:
                    call.answers, call.state = await call.send(asked.questions, some=True), asked.state
                else:
                    result = asked.result
        if not call.is_legacy:
            result = {"resultType": "complete", "_meta": {}} | result
            if ctx.method in CACHED and result["resultType"] == "complete":
                result = self.cache | result
            stamp = {"name": self.name, "version": self.version}
            result["_meta"] = {"io.modelcontextprotocol/serverInfo": stamp} | (result["_meta"] or {})
        return result

    def _page(self, call: Call, key: str, items: Iterable[tuple[Json, Run]]) -> Json:
        everything = [definition for definition, _ in items]
        cursor = call.params.get("cursor")
        if self.page_size is None:
            if cursor is not None:
                raise MCPError(-32602, f"No such cursor: {cursor}")
            return {key: everything}
        try:
            start = int(cursor or 0)
        except ValueError:
            raise MCPError(-32602, f"No such cursor: {cursor}") from None
        end = start + self.page_size
        return {key: everything[start:end]} | ({"nextCursor": str(end)} if end < len(everything) else {})

    async def _list_tools(self, call: Call) -> Json:
        page = self._page(call, "tools", self.tools.values())
        if call.is_legacy:
            # Before 2026-07-28 structured content is an object, and so is its schema's type.
            page["tools"] = [
                {key: value for key, value in tool.items() if key != "outputSchema" or value["type"] == "object"}
                for tool in page["tools"]
            ]
        return page

    async def _list_resources(self, call: Call) -> Json:
        return self._page(call, "resources", self.resources.values())

    async def _list_templates(self, call: Call) -> Json:
        return self._page(call, "resourceTemplates", self.templates.values())

    async def _list_prompts(self, call: Call) -> Json:
        page = self._page(call, "prompts", [] if self.loops and call.params.get("cursor") else self.prompts.values())
        return page | ({"nextCursor": "0"} if self.loops else {})

    async def _call_tool(self, call: Call) -> Json:
        name, arguments = call.params["name"], call.params.get("arguments") or {}
        if name not in self.tools:
            raise MCPError(-32602, f"Unknown tool: {name}")
        try:
            result = await _result(self.tools[name][1], call, arguments)
        except (MCPError, Asked):
            raise
        except Exception as error:  # noqa: BLE001  - as the SDK's own servers do: a tool that fails is a result
            return {"content": [text(f"{type(error).__name__}: {error}")], "isError": True}
        if isinstance(result, str):
            result = [text(result)]
        return {"content": result} if isinstance(result, list) else result

    async def _read_resource(self, call: Call) -> Json:
        uri = call.params["uri"]
        read, found = self.resources.get(uri, (None, None))[1], {}
        for template, (_, run) in self.templates.items() if read is None else ():
            match = re.fullmatch(_pattern(template), uri)
            if match:
                read, found = run, match.groupdict()
        if read is None:
            raise MCPError(-32002 if call.is_legacy else -32602, f"Resource not found: {uri}", {"uri": uri})
        contents = await _result(read, call, found)
        return {"contents": contents if isinstance(contents, list) else [{"uri": uri} | _content(contents)]}

    async def _get_prompt(self, call: Call) -> Json:
        name, arguments = call.params["name"], call.params.get("arguments") or {}
        if name not in self.prompts:
            raise MCPError(-32602, f"Unknown prompt: {name}")
        missing = [
            a["name"] for a in self.prompts[name][0]["arguments"] if a["required"] and a["name"] not in arguments
        ]
        if missing:
            raise MCPError(-32602, f"Missing arguments: {', '.join(missing)}")
        result = await _result(self.prompts[name][1], call, arguments)
        if isinstance(result, str):
            result = [{"role": "user", "content": text(result)}]
        return {"messages": result} if isinstance(result, list) else result

    async def _complete(self, call: Call) -> Json:
        context = (call.params.get("context") or {}).get("arguments") or {}
        values = self.complete(call.params["ref"], call.params["argument"], context)
        return {"completion": {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}}

    async def _set_level(self, call: Call) -> Json:
        call.connection.state["level"] = call.params["level"]
        return {}

    async def _subscribe(self, call: Call) -> Json:
        call.connection.state.setdefault("subscribed", set()).add(call.params["uri"])
        return {}

    async def _unsubscribe(self, call: Call) -> Json:
        call.connection.state.get("subscribed", set()).discard(call.params["uri"])
        return {}


ANSWERS: dict[str, Callable[[Kit, Call], Awaitable[Json]]] = {
    "tools/list": Kit._list_tools,
    "tools/call": Kit._call_tool,
    "resources/list": Kit._list_resources,
    "resources/templates/list": Kit._list_templates,
    "resources/read": Kit._read_resource,
    "resources/subscribe": Kit._subscribe,
    "resources/unsubscribe": Kit._unsubscribe,
    "prompts/list": Kit._list_prompts,
    "prompts/get": Kit._get_prompt,
    "completion/complete": Kit._complete,
    "logging/setLevel": Kit._set_level,
}
CACHED = {"tools/list", "resources/list", "resources/templates/list", "resources/read", "prompts/list"}


def _is_wanted(asked: Json, event: ServerEvent) -> bool:
    if isinstance(event, ResourceUpdated):
        return any(event.uri.startswith(uri) for uri in asked.get("resourceSubscriptions", ()))
    return any(known == event and asked.get(f"{family}ListChanged") is True for family, known in CHANGED.items())


async def _result(run: Run, call: Call, arguments: Mapping[str, Any]) -> Any:
    result = run(call, **arguments)
    return await result if inspect.isawaitable(result) else result


def _content(value: str | bytes | Json) -> Json:
    if isinstance(value, bytes):
        return {"mimeType": "application/octet-stream", "blob": base64.b64encode(value).decode()}
    return {"mimeType": "text/plain", "text": value} if isinstance(value, str) else value


def _arguments(run: Run) -> list[inspect.Parameter]:
    return list(inspect.signature(run).parameters.values())[1:]


def _schema(run: Run) -> Json:
    parameters = [p for p in _arguments(run) if p.kind is not p.VAR_KEYWORD]
    properties = {p.name: {"type": JSON_TYPES[p.annotation]} if p.annotation in JSON_TYPES else {} for p in parameters}
    required = [p.name for p in parameters if p.default is p.empty]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _pattern(template: str) -> str:
    parts = re.split(r"\{(\+?)(\w+)\}", template)
    pattern = re.escape(parts[0])
    for reserved, name, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if reserved else '[^/]+'})" + re.escape(literal)
    return pattern
