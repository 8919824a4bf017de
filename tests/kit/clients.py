"""Clients without a wire, of both eras: they call a `Handler` as a transport of the serving room would, and keep what they hear."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamError
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, RequestContext, no_back_channel
from meshproxy.relay.handler import Handler, finish
from meshproxy.relay.principal import ANONYMOUS, Principal, Visitor
from meshproxy.wire.codec import Raw, dumps, loads
from meshproxy.wire.messages import READ
from meshproxy.wire.protocol import LATEST_LEGACY, LATEST_MODERN, Era
from tests.kit.heard import Heard
from tests.kit.waiting import DEADLINE

Json = dict[str, Any]
Answer = Callable[[Json], Json | Awaitable[Json]]

ABLE: Json = {"sampling": {}, "elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": True}}
SAMPLED: Json = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hi"}, "stopReason": "endTurn"}
ELICIT = ["elicitation/create", {"mode": "form", "message": "What is it?", "requestedSchema": {"type": "object"}}]
SAMPLE = ["sampling/createMessage", {"messages": [], "maxTokens": 1}]
ROOTS = ["roots/list", {}]
_numbers = itertools.count(1)


def visitor(name: str, profile: str = "", **facts: Any) -> Visitor:
    """Who shows the key of this name."""
    return Visitor(Principal("key", name, **facts), profile)


class Client:
    """What both eras have in common.

    `answers` says what to answer to each method that the mesh may ask; what it lacks is refused. `asked` are the questions that came, and
    `heard` the notifications, on whatever stream.
    """

    era: Era

    def __init__(
        self, handler: Handler, capabilities: Json = ABLE, answers: Mapping[str, Answer] | None = None
    ) -> None:
        self.handler = handler
        self.capabilities = capabilities
        self.answers: dict[str, Answer] = {
            "elicitation/create": lambda params: {"action": "accept", "content": {"answer": params["message"]}},
            "sampling/createMessage": lambda _params: SAMPLED,
            "roots/list": lambda _params: {"roots": [{"uri": "file:///here"}]},
        } | dict(answers or {})
        self.asked = Heard()
        self.heard = Heard()
        self.log_level: str | None = None
        self.visitor = ANONYMOUS

    def caller(self) -> Downstream:
        """The downstream that the next request is of."""
        raise NotImplementedError

    async def request(
        self, method: str, params: Json | None = None, *, token: int | str | None = None, headers: Any = None
    ) -> Json:
        """One request and its result, decoded. `token` asks for progress."""
        context = Context(self, self.caller(), token, headers or {})
        try:
            async with asyncio.timeout(DEADLINE):
                return decoded(await finish(Call(context, method, parsed(params or {})), self.handler.answer))
        except UpstreamError as error:
            raise error.rpc from None
        finally:
            context.is_answered = True
            self.ended(context.downstream)

    async def call(self, tool: str, _token: int | str | None = None, **arguments: Any) -> Json:
        """Call a tool, answering whatever it asks: the complete result."""
        params: Json = {"name": tool, "arguments": arguments}
        result = await self.request("tools/call", params, token=_token)
        while result.get("resultType") == "input_required":
            result = await self.request("tools/call", params | await self.responses(result), token=_token)
        return result

    async def says(self, tool: str, _token: int | str | None = None, **arguments: Any) -> Json:
        """The structured content of a call."""
        result = await self.call(tool, _token, **arguments)
        return dict(result["structuredContent"])

    async def names(self, kind: str = "tools") -> list[str]:
        """The names, or URIs, of a listing."""
        method, items, key = {
            "tools": ("tools/list", "tools", "name"),
            "prompts": ("prompts/list", "prompts", "name"),
            "resources": ("resources/list", "resources", "uri"),
            "templates": ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        }[kind]
        return [item[key] for item in (await self.request(method))[items]]

    async def responses(self, result: Json) -> Json:
        """What a retry adds to the parameters, for an `InputRequiredResult`."""
        questions = result.get("inputRequests") or {}
        answers = {key: await self.answer(asked["method"], asked.get("params")) for key, asked in questions.items()}
        state = {"requestState": result["requestState"]} if "requestState" in result else {}
        return {"inputResponses": answers, **state}

    async def answer(self, method: str, params: Mapping[str, Any] | None) -> Json:
        told = decoded(params or {})
        self.asked.add(method, told)
        if method not in self.answers:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
        result = self.answers[method](told)
        return parsed(await result if isinstance(result, Awaitable) else result)

    def ended(self, downstream: Downstream) -> None:
        """A request has its answer."""


class Legacy(Client):
    """One session. It is initialized by hand, and ends with `close`."""

    era = Era.LEGACY

    def __init__(
        self, handler: Handler, capabilities: Json = ABLE, answers: Mapping[str, Answer] | None = None
    ) -> None:
        super().__init__(handler, capabilities, answers)
        self.session = _Session(self)
        handler.on_notification(self.session, "notifications/initialized", {})

    def caller(self) -> Downstream:
        return self.session

    def notify(self, method: str, params: Json | None = None) -> None:
        self.handler.on_notification(self.session, method, parsed(params or {}))

    def close(self) -> None:
        self.session.close()


class Modern(Client):
    """A client whose every request stands alone."""

    era = Era.MODERN

    def caller(self) -> Downstream:
        return _Caller(self)

    def ended(self, downstream: Downstream) -> None:
        downstream.close()

    async def responses(self, result: Json) -> Json:
        return decoded(await super().responses(result))


class _Session(Downstream):
    def __init__(self, client: Client) -> None:
        super().__init__(f"session-{next(_numbers)}", Era.LEGACY)
        self.client_ = client
        self.visitor = client.visitor
        self.version = LATEST_LEGACY
        self.capabilities = client.capabilities

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        self.client_.heard.add(method, decoded(params or {}))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> Json:
        return await self.client_.answer(method, params)


class _Caller(Downstream):
    def __init__(self, client: Client) -> None:
        super().__init__(f"request-{next(_numbers)}", Era.MODERN)
        self.version = LATEST_MODERN
        self.capabilities = client.capabilities
        self.log_level = client.log_level
        self.visitor = client.visitor

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        raise AssertionError(f"{method} cannot be told outside of a request")

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> Json:
        raise no_back_channel(method)


class Context(RequestContext):
    """One request."""

    def __init__(
        self, client: Client, downstream: Downstream, token: int | str | None, headers: Mapping[str, str]
    ) -> None:
        self.client = client
        self.downstream = downstream
        self.request_id = next(_numbers)
        self.progress_token = token
        self.headers = headers
        self.is_answered = False

    @property
    def can_send_request(self) -> bool:
        return self.downstream.era is Era.LEGACY

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        if not self.is_answered:
            self.client.heard.add(method, decoded(params or {}))

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> Json:
        if self.downstream.era is Era.MODERN:
            raise no_back_channel(method)
        return await self.client.answer(method, params)


def decoded(value: Any) -> Any:
    """Whatever form a payload travels in, as plain JSON."""
    return loads(dumps(value))


def parsed(params: Mapping[str, Any]) -> Json:
    """Parameters as a transport hands them over: what the mesh reads is decoded, and the rest is closed."""
    text = {key: json.dumps(value).encode() for key, value in params.items()}
    return {key: loads(value) if key in READ else Raw(value) for key, value in text.items()}
