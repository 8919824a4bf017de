"""MCP over streamable HTTP, both eras at one address, as one ASGI application. Place: serving.

The era of a request is that of its `MCP-Protocol-Version`: none, or that of a legacy revision, is legacy; any other is modern.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, TypeAlias

import structlog

from meshproxy.access.access import Entrance
from meshproxy.errors import REQUEST_CANCELLED, RpcError
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.relay.handler import Handler
from meshproxy.serving.annex import Annex
from meshproxy.serving.cors import is_preflight, preflight, readable
from meshproxy.serving.doors import Doors
from meshproxy.serving.legacy import LegacyHttp
from meshproxy.serving.modern import ModernPosts
from meshproxy.serving.posts import Admission, Posts, admission
from meshproxy.serving.private import Private
from meshproxy.serving.reply import AsgiReply
from meshproxy.serving.response import JSON, TEXT, refuse, refuse_shutdown, respond
from meshproxy.serving.security import Guard
from meshproxy.serving.seen import Seen, is_legacy
from meshproxy.serving.settings import HttpSettings
from meshproxy.wire.codec import dumps, loads

__all__ = ["Health", "HttpApp", "HttpSettings"]

log = structlog.get_logger(__name__)

Health: TypeAlias = Callable[[], tuple[int, bytes]]
"""Answers a GET of its path with a status and a JSON body."""
Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]

_ONCE: Final = frozenset(
    {
        *(b"host", b"origin", b"content-type", b"mcp-protocol-version", b"mcp-method", b"mcp-name"),
        *(b"mcp-session-id", b"last-event-id"),
    }
)
"""Headers of which two copies would make two readers see two requests."""
_DISCARDED: Final = 16 * 1024 * 1024


class HttpApp:
    """Serves `handler` at `settings.path`, and the `health` callables at their paths. Everything else is not found.

    `entrance` says who may come in, by default everybody. `annexes` are served beside it, at paths of theirs that are none of its own. `lifespan` is entered when an ASGI server starts the application and left when it stops
    it, after `aclose`.
    """

    def __init__(
        self,
        handler: Handler,
        settings: HttpSettings | None = None,
        *,
        entrance: Entrance | None = None,
        health: Mapping[str, Health] | None = None,
        annexes: Sequence[Annex] = (),
        lifespan: Lifespan | None = None,
    ) -> None:
        self.settings = settings or HttpSettings()
        self._legacy = LegacyHttp(handler, self.settings)
        self._modern = ModernPosts(handler, self.settings)
        self._guard = Guard(self.settings.host, self.settings.allowed_hosts, self.settings.allowed_origins)
        self._entrance = entrance or Entrance()
        self._doors = Doors(self._entrance, self.settings.path, self.settings.public_url)
        self._entrance.on_change(self._reconsider)
        self._health = dict(health or {})
        self._annexes = tuple(annexes)
        self._private = Private(self._guard, self._doors)
        self._lifespan = lifespan
        self._posts = Posts(self._legacy.posts, self._modern, self._entrance, self._doors, self.settings.max_body)
        self.take = self._posts.take

    def statistics(self) -> dict[str, int]:
        """How many sessions are open, and how many requests of each era are being carried out."""
        return {
            "sessions": len(self._legacy.sessions),
            "legacy_requests": sum(len(session.running) for session in self._legacy.sessions),
            "modern_requests": len(self._modern.running),
        }

    async def drain(self, timeout: float, *, has_heirs: bool = False) -> None:
        """Take no new request (503), and wait until what runs is answered, `timeout` seconds at most; then `aclose`.

        Meanwhile clients can still answer questions, cancel, and come back for a stream that broke. Where others go on (`has_heirs`), a new request of a session is answered as one of
        a session that is gone (404), so that its client begins anew there at once.
        """
        self._legacy.posts.has_heirs = has_heirs
        self._legacy.posts.is_shut = self._modern.is_shut = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        waiting = {exchange.ending for session in self._legacy.sessions for exchange in session.running.values()}
        waiting |= {exchange.ending for exchange in self._modern.running}
        if waiting:
            await asyncio.wait(waiting, timeout=max(0.0, deadline - loop.time()))
        await self.aclose()

    async def aclose(self) -> None:
        """End every session, stream and request; what comes later is refused with 503. Idempotent."""
        self._posts.is_closed = True
        self._legacy.sessions.close()
        self._modern.close()
        await asyncio.sleep(0)

    def _reconsider(self) -> None:
        """Who may come in has changed: what is of those who may not any more is over."""
        access = self._entrance.access
        for session in self._legacy.sessions:
            if (visitor := access.renewed(session.visitor)) is None:
                session.close()
            else:
                session.visitor = visitor
        for exchange in list(self._modern.running):
            if (visitor := access.renewed(exchange.downstream.visitor)) is None:
                exchange.cancel(RpcError(REQUEST_CANCELLED, "the credential of this request is not valid any more"))
            else:
                exchange.downstream.visitor = visitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            profile = self._doors.profile_at(scope["path"])
            if profile is None:
                for annex in self._annexes:
                    if annex.has(scope["path"]):
                        await annex.serve(scope, receive, send, self._private)
                        return
            send = self._readable(scope, send)
            if profile is not None:
                await self._serve(scope, profile, receive, send)
            else:
                await self._elsewhere(scope, send)
        elif kind == "lifespan":
            await self._live(receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def _readable(self, scope: Scope, send: Send) -> Send:
        """A `send` that lets the page which asks, if one does and may, read the answer: a refusal too, or it could not tell why."""
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(origins) != 1 or not origins[0] or not self._guard.admits_origin(origins[0].decode("latin-1")):
            return send
        return readable(send, origins[0])

    async def _serve(self, scope: Scope, profile: str, receive: Receive, send: Send) -> None:
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(raw)
        duplicated = None if len(headers) == len(raw) else _fold(raw, headers)
        method = scope["method"]
        legacy = is_legacy(headers)
        asked = admission(headers, method)
        if (asked not in self._posts.passed or duplicated or self._posts.is_closed) and not await self._admitted(
            method, asked, duplicated, send
        ):
            return
        if is_preflight(method, headers):
            # A browser sends no credential with it.
            await respond(send, 204, extra=tuple(preflight(headers)))
            return
        visitor = await self._doors.enter(scope, profile, send)
        if visitor is None:
            return
        if method == "POST":
            access = self._entrance.access
            body = await self._body(receive, send)
            if body is None:
                return
            if (
                access is not self._entrance.access
                and (visitor := await self._doors.enter(scope, profile, send)) is None
            ):
                return
            reply = AsgiReply(scope, receive, send)
            seen = Seen(visitor, access, 0.0, headers, raw, duplicated)
            await reply.served(self._posts.post(seen, body, reply))
        elif legacy and method == "GET":
            await self._legacy.get(visitor, headers, receive, send)
        elif legacy and method == "DELETE":
            await self._legacy.delete(visitor, headers, send)
        else:
            allowed = b"GET, POST, DELETE" if legacy else b"POST"
            await refuse(send, 405, f"Method not allowed: {method}", extra=((b"allow", allowed),))

    async def _admitted(self, method: str, asked: Admission, duplicated: str | None, send: Send) -> bool:
        """Whether a request may be looked at; if not, it is answered. What passed is remembered, since clients repeat themselves."""
        host, origin, accept, content_type = (None if value is None else value.decode("latin-1") for value in asked)
        if self._posts.is_closed:
            await refuse_shutdown(send)
        elif duplicated in ("host", "origin", "content-type", "mcp-session-id", "last-event-id"):
            await refuse(send, 400, f"Invalid request: the {duplicated} header appears more than once")
        elif not host:
            await refuse(send, 400, "Invalid request: it names no Host")  # RFC 9112, 3.2
        elif not self._guard.admits_host(host):
            hint = "add it to server.allowed_hosts if the server should go by this name"
            await refuse(send, 421, f"Misdirected request: this server does not go by the Host {host!r}; {hint}")
        elif not self._guard.admits_origin(origin):
            hint = "add it to server.allowed_origins if pages from there may call"
            await refuse(send, 403, f"Forbidden: pages of the Origin {origin!r} may not call this server; {hint}")
        elif method == "POST" and (content_type or "").partition(";")[0].strip().lower() != "application/json":
            await refuse(send, 415, "Unsupported media type: Content-Type must be application/json")
        elif method in ("POST", "GET") and (missing := _unacceptable(accept or "", method)):
            await refuse(send, 406, f"Not acceptable: Accept must include {missing}")
        else:
            if duplicated is None and method == "POST":
                self._posts.remember(asked)
            return True
        return False

    async def _body(self, receive: Receive, send: Send) -> bytes | None:
        """The body, whole; None if there is nobody or no reason to go on, and an answer is given."""
        limit = self.settings.max_body
        message = await receive()
        if message["type"] != "http.request":
            return None
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            pieces, size = [body], len(body)
            # A client that is refused while it still sends sees a reset and not the refusal: so some of it is read and dropped.
            while message.get("more_body", False) and size <= limit + _DISCARDED:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body = message.get("body", b"")
                size += len(body)
                if size <= limit:
                    pieces.append(body)
            body = b"".join(pieces)
        else:
            size = len(body)
        if size > limit:
            await refuse(send, 413, f"The request is larger than {limit} bytes", extra=((b"connection", b"close"),))
            return None
        return body

    async def _elsewhere(self, scope: Scope, send: Send) -> None:
        health = self._health.get(scope["path"])
        headers = dict(scope["headers"])
        if is_preflight(scope["method"], headers):
            # Clients look for metadata of the authorization here, with headers of their own, and may see that there is none.
            await respond(send, 204, extra=tuple(preflight(headers)))
        elif scope["method"] in ("GET", "HEAD") and (metadata := self._doors.metadata(scope)) is not None:
            await respond(send, 200, metadata, JSON, ((b"cache-control", b"max-age=60"),))
        elif health is None:
            text = f"Not found. The MCP endpoint is {self.settings.path}\n"
            await respond(send, 404, text.encode(), TEXT)
        elif scope["method"] in ("GET", "HEAD"):
            status, body = health()
            if not self._doors.may(scope, "view"):
                # What there is behind the mesh is for those to know who may.
                body = dumps({"status": loads(body)["status"]})
            await respond(send, status, body, JSON, ((b"cache-control", b"no-store"),))
        else:
            await respond(send, 405, b"", extra=((b"allow", b"GET, HEAD"),))

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                if self._lifespan is not None:
                    await stack.enter_async_context(self._lifespan())
            except Exception as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def _fold(raw: list[tuple[bytes, bytes]], headers: dict[bytes, bytes]) -> str | None:
    """Join repeated list headers in `headers`; the name of a repeated one that is no list, if there is any."""
    seen: set[bytes] = set()
    duplicated: str | None = None
    for name, _ in raw:
        if name in seen and name in _ONCE:
            duplicated = duplicated or name.decode("latin-1")
        elif name in seen and name == b"accept":
            headers[name] = b", ".join(other for key, other in raw if key == name)
        seen.add(name)
    return duplicated


def _unacceptable(accept: str, method: str) -> str:
    """What a client must accept and does not (RFC 9110, 12.5.1; a quality of zero is not looked for)."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    wanted = ("text/event-stream",) if method == "GET" else ("application/json", "text/event-stream")
    missing = [kind for kind in wanted if not kinds & {kind, f"{kind.partition('/')[0]}/*", "*/*"}]
    return " and ".join(missing)
