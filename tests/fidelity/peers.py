"""Clients that see every message as it is on the wire: `LegacyPeer` and `ModernPeer`, over any `Wire`.

The SDK's clients rebuild what they receive, and so cannot tell whether anything was lost. These two offer the same methods, so that one
interaction runs in both eras, with a server directly or through the mesh: `place` says what the mesh calls the server's names and URIs, and
everything that is returned is in the server's own again.
"""

import asyncio
import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshproxy.naming import origin_uri, public_uri
from meshproxy.wire.headers import encode_header_value
from tests.kit.heard import Heard

Json = dict[str, Any]
Answer = Callable[[Json], Any]

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"
CLIENT = {"name": "peer", "version": "1"}
ABLE: Json = {
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {"listChanged": True},
}
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"} | dict.fromkeys(
    ("tasks/get", "tasks/update", "tasks/cancel"), "taskId"
)
SAMPLED: Json = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "hi"}, "stopReason": "endTurn"}
CAPABILITY = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
PAGES = {
    "tools": ("tools/list", "tools"),
    "prompts": ("prompts/list", "prompts"),
    "resources": ("resources/list", "resources"),
    "templates": ("resources/templates/list", "resourceTemplates"),
}


class Refused(Exception):
    """A client's error answer to a question."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message}


@dataclass(frozen=True)
class Place:
    """Where a server stands in the mesh: `None` for a direct connection."""

    namespace: str | None = None

    def name(self, origin: str) -> str:
        return origin if self.namespace is None else f"{self.namespace}_{origin}"

    def uri(self, origin: str) -> str:
        return origin if self.namespace is None else public_uri(self.namespace, origin)

    def origin(self, value: Any) -> Any:
        """Anything that came, with public names in `name` and public URIs anywhere turned back."""
        if self.namespace is None:
            return value
        if isinstance(value, dict):
            return {key: self._name(item) if key == "name" else self.origin(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.origin(item) for item in value]
        return origin_uri(self.namespace, value) if isinstance(value, str) else value

    def _name(self, value: Any) -> Any:
        return value.removeprefix(f"{self.namespace}_") if isinstance(value, str) else self.origin(value)


@dataclass
class Reply:
    """How a request ended, and what was said meanwhile.

    Attributes:
        result, error: one of both.
        said: the notifications on the way, as (method, params), in order.
        asked: the questions that the server asked, likewise.
        raw: the whole result, in public names and with everything that belongs to the connection.
        status: the HTTP status; 0 without HTTP.
    """

    result: Json | None = None
    error: Json | None = None
    said: list[tuple[str, Json]] = field(default_factory=list)
    asked: list[tuple[str, Json]] = field(default_factory=list)
    raw: Json = field(default_factory=dict)
    status: int = 0

    @property
    def text(self) -> str:
        assert self.result is not None, self.error
        return str(self.result["content"][0]["text"])

    @property
    def value(self) -> Any:
        """The text of a result as JSON."""
        return json.loads(self.text)

    @property
    def plain(self) -> Json:
        """All of it that can be compared."""
        return {"result": self.result, "error": self.error, "said": self.said, "asked": self.asked}

    def of(self, method: str) -> list[Json]:
        return [params for said, params in self.said if said == method]


class Peer(ABC):
    """What both eras share.

    `answers` says by method what to answer when asked: a result, or `Refused` raised. `heard` are the notifications that belong to no
    request, or all of them where the wire does not tell.
    """

    era: str
    version: str

    def __init__(self, wire: "Wire", place: Place, capabilities: Json) -> None:
        self.wire = wire
        self.place = place
        self.capabilities = capabilities
        self.heard = Heard()
        self.answers: dict[str, Answer] = {
            "elicitation/create": lambda params: {"action": "accept", "content": {"answer": params.get("message")}},
            "sampling/createMessage": lambda _params: SAMPLED,
            "roots/list": lambda _params: {"roots": [{"uri": "file:///here", "name": "here"}]},
        }
        self.numbers = itertools.count(1)
        wire.peer = self

    @property
    def is_direct(self) -> bool:
        return self.place.namespace is None

    # What an interaction does.

    async def call(self, tool: str, /, _meta: Json | None = None, **arguments: Any) -> Reply:
        """Call a tool to its end, answering whatever is asked on the way."""
        return await self.use("tools/call", {"name": self.place.name(tool), "arguments": arguments}, _meta)

    async def read(self, uri: str) -> Reply:
        return await self.use("resources/read", {"uri": self.place.uri(uri)})

    async def follow(self, link: str) -> Reply:
        """Read a link as it came, public."""
        return await self.use("resources/read", {"uri": link})

    def start(self, tool: str, /, **arguments: Any) -> "tuple[int, asyncio.Task[Reply]]":
        """Begin to call a tool that asks nothing: the request's number, for `Wire.abandon`, and what waits for its answer."""
        number = next(self.numbers)
        params = {"name": self.place.name(tool), "arguments": arguments}
        return number, asyncio.ensure_future(self.send(number, "tools/call", params))

    async def get(self, prompt: str, /, **arguments: str) -> Reply:
        return await self.use("prompts/get", {"name": self.place.name(prompt), "arguments": arguments})

    async def list(self, kind: str) -> list[Json]:
        """All pages of a listing."""
        method, key = PAGES[kind]
        items: list[Json] = []
        params: Json = {}
        while True:
            reply = await self.request(method, params)
            assert reply.result is not None, reply.error
            items += reply.result[key]
            if "nextCursor" not in reply.result:
                return items
            params = {"cursor": reply.result["nextCursor"]}

    @abstractmethod
    async def use(self, method: str, params: Json, meta: Json | None = None) -> Reply:
        """A request that may ask, to its end."""

    async def request(self, method: str, params: Json | None = None, meta: Json | None = None, **headers: str) -> Reply:
        """One request and its answer; headers are spelled with underscores."""
        return await self.send(next(self.numbers), method, params, meta, headers)

    @abstractmethod
    async def send(
        self,
        number: int,
        method: str,
        params: Json | None = None,
        meta: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """The same under a number of the caller's."""

    @abstractmethod
    async def set_level(self, level: str | None) -> None:
        """Hear log lines from this level on, as the era has it; None is silence where the era starts with it."""

    @abstractmethod
    async def listen(self, *changes: str, uris: tuple[str, ...] = (), **more: Any) -> Json:
        """Hear of changed listings (`tools`, ...) and updated resources; what was agreed to."""

    @abstractmethod
    async def unlisten(self, *uris: str) -> None:
        """Hear no more of them; without any, of nothing."""

    # For the wires.

    def notified(self, method: str, params: Json, reply: Reply | None) -> None:
        """A notification came, on the stream of `reply` if there is such a one."""
        params = self.place.origin(params)
        if reply is not None:
            reply.said.append((method, params))
        self.heard.add(method, params)

    async def answer(self, method: str, params: Json, reply: Reply | None) -> Json:
        """A question came."""
        if method == "ping":
            return {}
        told = self.place.origin(params)
        if reply is not None:
            reply.asked.append((method, told))
        if method not in self.answers or CAPABILITY[method] not in self.capabilities:
            raise Refused(-32601, f"Method not found: {method}")
        result = self.answers[method](told)
        answer: Json = await result if isinstance(result, Awaitable) else result
        return answer

    def settle(self, reply: Reply, message: Json) -> Reply:
        """The answer to a request came."""
        reply.raw = message.get("result") or {}
        reply.error = self.place.origin(message.get("error"))
        if "result" in message:
            reply.result = self.place.origin(plain(message["result"]))
        return reply


class LegacyPeer(Peer):
    """A session, between `open` and `aclose`."""

    era, version = "legacy", LEGACY

    async def open(self) -> Json:
        params = {"protocolVersion": LEGACY, "capabilities": self.capabilities, "clientInfo": CLIENT}
        reply = await self.request("initialize", params)
        assert reply.result is not None, reply.error
        await self.notify("notifications/initialized")
        await self.wire.listen()
        return reply.result

    async def notify(self, method: str, params: Json | None = None) -> None:
        await self.wire.notify(method, params)

    async def use(self, method: str, params: Json, meta: Json | None = None) -> Reply:
        return await self.request(method, params, meta)

    async def send(
        self,
        number: int,
        method: str,
        params: Json | None = None,
        meta: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        sent = dict(params or {}) | ({"_meta": meta} if meta else {})
        return await self.wire.request(number, method, sent, {})

    async def set_level(self, level: str | None) -> None:
        reply = await self.request("logging/setLevel", {"level": level or "debug"})
        assert reply.error is None, reply.error

    async def listen(self, *changes: str, uris: tuple[str, ...] = (), **more: Any) -> Json:
        for uri in uris:
            reply = await self.request("resources/subscribe", {"uri": self.place.uri(uri)})
            assert reply.error is None, reply.error
        return {f"{family}ListChanged": True for family in changes} | (
            {"resourceSubscriptions": [*uris]} if uris else {}
        )

    async def unlisten(self, *uris: str) -> None:
        for uri in uris:
            reply = await self.request("resources/unsubscribe", {"uri": self.place.uri(uri)})
            assert reply.error is None, reply.error


class ModernPeer(Peer):
    """A client without a session; over lines the first request opens the connection."""

    era, version = "modern", MODERN

    def __init__(self, wire: "Wire", place: Place, capabilities: Json) -> None:
        super().__init__(wire, place, capabilities)
        self._level: str | None = None
        self._streams: list[tuple[tuple[str, ...], int, asyncio.Task[Reply]]] = []

    async def open(self) -> Json:
        reply = await self.request("server/discover")
        assert reply.result is not None, reply.error
        return reply.result

    async def use(self, method: str, params: Json, meta: Json | None = None) -> Reply:
        whole = Reply()
        more: Json = {}
        while True:
            reply = await self.request(method, params | more, meta)
            whole.said += reply.said
            if reply.raw.get("resultType") != "input_required":
                reply.said, reply.asked = whole.said, whole.asked
                return reply
            more = await self.answered(reply.raw, whole)

    async def answered(self, result: Json, reply: Reply | None = None) -> Json:
        """What a retry adds to its parameters."""
        questions = result.get("inputRequests") or {}
        given: Json = {}
        for key, question in questions.items():
            params = question.get("params") or {}
            try:
                given[key] = await self.answer(question["method"], params, reply)
            except Refused:
                given[key] = {"action": "cancel"}
        more: Json = {"inputResponses": given} if questions else {}
        return more | ({"requestState": result["requestState"]} if "requestState" in result else {})

    async def send(
        self,
        number: int,
        method: str,
        params: Json | None = None,
        meta: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        envelope = {f"{META}protocolVersion": MODERN, f"{META}clientInfo": CLIENT}
        envelope[f"{META}clientCapabilities"] = self.capabilities
        if self._level is not None:
            envelope[f"{META}logLevel"] = self._level
        sent = dict(params or {})
        sent["_meta"] = {**(meta or {}), **envelope}
        told = {"mcp-method": method, **{name.replace("_", "-"): value for name, value in (headers or {}).items()}}
        if isinstance(named := sent.get(NAMED.get(method, "")), str):
            told.setdefault("mcp-name", encode_header_value(named))
        return await self.wire.request(number, method, sent, told)

    async def set_level(self, level: str | None) -> None:
        self._level = level

    async def listen(self, *changes: str, uris: tuple[str, ...] = (), **more: Any) -> Json:
        wanted: Json = {f"{family}ListChanged": True for family in changes} | more
        if uris:
            wanted["resourceSubscriptions"] = [self.place.uri(uri) for uri in uris]
        number = next(self.numbers)
        task = asyncio.ensure_future(self.send(number, "subscriptions/listen", {"notifications": wanted}))
        self._streams.append((uris, number, task))

        def is_ours(params: Json) -> bool:
            return bool(params["_meta"][f"{META}subscriptionId"] == number)

        acknowledged = asyncio.ensure_future(
            self.heard.until("notifications/subscriptions/acknowledged", matches=is_ours)
        )
        await asyncio.wait({task, acknowledged}, return_when=asyncio.FIRST_COMPLETED)
        if not acknowledged.done():
            acknowledged.cancel()
            raise AssertionError(f"the stream ended before it was acknowledged: {task.result()}")
        agreed: Json = acknowledged.result()["notifications"]
        return agreed

    async def unlisten(self, *uris: str) -> None:
        streams, self._streams = self._streams, []
        for stream in streams:
            if uris and stream[0] != uris:
                self._streams.append(stream)
            else:
                await self.wire.abandon(stream[1], stream[2])

    async def aclose(self) -> None:
        await self.unlisten()


class Wire(ABC):
    """How messages travel."""

    peer: Peer

    @abstractmethod
    async def request(self, number: int, method: str, params: Json, headers: Mapping[str, str]) -> Reply: ...

    @abstractmethod
    async def notify(self, method: str, params: Json | None = None) -> None: ...

    @abstractmethod
    async def abandon(self, number: int, task: "asyncio.Task[Reply]") -> None:
        """Cancel a request, as the wire and the era do."""

    @abstractmethod
    async def listen(self) -> None:
        """Hear what belongs to no request, where that takes anything."""

    @abstractmethod
    async def aclose(self) -> None: ...


@contextlib.asynccontextmanager
async def joined(wire: Wire, era: str, place: Place, capabilities: Json = ABLE) -> AsyncIterator[Any]:
    """A peer, from its first message to its last."""
    peer = (LegacyPeer if era == "legacy" else ModernPeer)(wire, place, capabilities)
    try:
        peer.server = await peer.open()  # type: ignore[attr-defined]
        yield peer
    finally:
        if isinstance(peer, ModernPeer):
            await peer.aclose()
        await wire.aclose()


def plain(result: Json) -> Json:
    """A result without what belongs to one connection: whose answer it is, on which stream, and how long it may be kept."""
    rest = {key: value for key, value in result.items() if key not in ("_meta", "ttlMs", "cacheScope")}
    meta = result.get("_meta")
    if not isinstance(meta, dict):
        return rest if "_meta" not in result else rest | {"_meta": meta}
    kept = {key: value for key, value in meta.items() if key not in (f"{META}serverInfo", f"{META}subscriptionId")}
    return rest | ({"_meta": kept} if kept else {})
