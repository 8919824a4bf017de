"""`Api`: `/api`, what there is to see of a mesh and to do to it, as JSON. Place: api, on top of the room.

Each path is a row of a table. `schemas/api.openapi.json` describes them, and a test holds it true. Who may have what is for `Private` to say: reading needs the right `view`,
acting `admin`, and where nobody is asked who he is, it is for this machine alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote

from meshproxy.access.why import NoComponent, NoPrincipal, reasons, visitor_of
from meshproxy.api import views
from meshproxy.api.actions import Actions
from meshproxy.api.answers import PLAIN, ApiError, answer, refuse
from meshproxy.api.feed import TOPICS, Feed
from meshproxy.api.logging_in import CALLBACK, LoggingIn
from meshproxy.api.planning import planned
from meshproxy.api.traffic import Traffic
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.login.flow import answer_of
from meshproxy.mesh.mesh import Mesh
from meshproxy.operate.telling import told as told_to_clients
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.private import Private
from meshproxy.serving.response import TEXT, respond

__all__ = ["ROUTES", "Api"]

Json = dict[str, Any]
_ROOT: Final = "/api"
_MOST: Final = 1000


class Asked(NamedTuple):
    """A request that may be answered."""

    scope: Scope
    receive: Receive
    send: Send
    name: str
    query: Mapping[str, list[str]]

    def word(self, key: str) -> str | None:
        """One parameter of the query."""
        return next(iter(self.query.get(key, ())), None)

    def number(self, key: str, default: int) -> int:
        """One that is a whole number. Raises `ApiError`."""
        text = self.word(key)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise ApiError(400, f"{key} must be a whole number")
        return int(text)


class Row(NamedTuple):
    """One path: its method, its pattern with `NAME` for an upstream, the right that it needs, and the method of `Api` that answers."""

    method: str
    path: str
    right: str
    handler: str


ROUTES: Final = (
    Row("GET", "/api/status", "view", "status"),
    Row("GET", "/api/catalog", "view", "catalog"),
    Row("GET", "/api/calls", "view", "calls"),
    Row("GET", "/api/edits", "view", "edits"),
    Row("GET", "/api/logs/NAME", "view", "logs"),
    Row("GET", "/api/clients", "view", "clients"),
    Row("GET", "/api/events", "view", "events"),
    Row("GET", "/api/why", "admin", "why"),
    Row("POST", "/api/upstreams/NAME/restart", "admin", "restart"),
    Row("POST", "/api/upstreams/NAME/enable", "admin", "enable"),
    Row("POST", "/api/upstreams/NAME/disable", "admin", "disable"),
    Row("POST", "/api/upstreams/NAME/login", "admin", "login"),
    Row("POST", "/api/reload", "admin", "reload"),
    Row("POST", "/api/plan", "admin", "plan"),
)


class Api:
    """See the module.

    Args:
        mesh: what is shown, and acted on.
        server: what serves it.
        file: the config.
        url: where clients find the mesh, without its path; "" where they say so themselves.
        path: of the endpoint.

    Attributes:
        traffic: what each upstream is asked.
        statistics: what the endpoint says of its sessions. Whoever serves sets it.
    """

    def __init__(self, mesh: Mesh, server: FastMCP, file: Path, *, url: str = "", path: str = "/mcp") -> None:
        self.statistics: Callable[[], Mapping[str, int]] = dict
        self.traffic = Traffic()
        self._forget = server.recorder.listen(self.traffic.take)
        self._mesh = mesh
        self._server = server
        self._url = url
        self._path = path
        self._actions = Actions(mesh, file)
        self._logging_in = LoggingIn(mesh)
        self._feed = Feed(mesh, server.calls, self._status)

    def has(self, path: str) -> bool:
        """See `Annex`."""
        return path == _ROOT or path.startswith(f"{_ROOT}/")

    async def serve(self, scope: Scope, receive: Receive, send: Send, private: Private) -> None:
        """See `Annex`."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method == "GET" and scope["path"] == CALLBACK:
            await self._came_back(scope, send, private)
            return
        found = _matching(scope)
        row = next((row for row, _ in found if row.method == method), None)
        # Who may see nothing is told nothing of what there is.
        refusal = await private.refusal(scope, "view" if row is None else row.right)
        if refusal is not None:
            await refuse(send, refusal.status, refusal.message, refusal.headers)
        elif not found:
            await refuse(send, 404, f"Not found. There are {', '.join(row.path for row in ROUTES)}")
        elif row is None:
            allowed = ", ".join(row.method for row, _ in found)
            await refuse(send, 405, f"Method not allowed; use {allowed}", ((b"allow", allowed.encode()),))
        else:
            name = next(name for other, name in found if other is row)
            query = parse_qs(scope["query_string"].decode("latin-1"))
            handler: Callable[[Asked], Awaitable[None]] = getattr(self, f"_on_{row.handler}")
            try:
                await handler(Asked(scope, receive, send, name, query))
            except ApiError as error:
                await refuse(send, error.status, error.message)

    def close(self) -> None:
        """End every stream. Idempotent."""
        self._feed.close()

    async def aclose(self) -> None:
        """The same, and give up what is under way."""
        self.close()
        self._forget()
        await self._actions.aclose()

    # --- what there is to see

    def _status(self) -> Json:
        self.traffic.keep(self._mesh.config.upstreams.keys())
        told = views.status(self._mesh, self._server, self.statistics(), self.traffic.shown())
        return {**told, "path": self._path}

    async def _on_status(self, asked: Asked) -> None:
        await answer(asked.send, self._status())

    async def _on_catalog(self, asked: Asked) -> None:
        known = self._server.composite.snapshot.answers
        key = ("api", self._mesh.config.source.digest)
        if key not in known:
            known[key] = views.encoded(views.catalog(self._mesh, self._server))
        await answer(asked.send, known[key])

    async def _on_calls(self, asked: Asked) -> None:
        most = min(asked.number("limit", _MOST), _MOST)
        found = [record.shown() for record in self._server.calls.after(asked.number("after", 0))]
        wanted = {key: asked.word(key) for key in ("upstream", "principal", "outcome", "method", "name")}
        slow = asked.number("slower", 0) / 1000
        kept = [
            one
            for one in found
            if all(value is None or one.get(key) == value for key, value in wanted.items())
            and one.get("seconds", 0.0) >= slow
        ]
        await answer(asked.send, {"calls": kept[max(0, len(kept) - most) :][::-1]})

    async def _on_edits(self, asked: Asked) -> None:
        await answer(asked.send, {"edits": views.edits(self._mesh)})

    async def _on_logs(self, asked: Asked) -> None:
        found = views.stderr_of(self._mesh, asked.name)
        if found is None:
            self._known(asked.name)
            raise ApiError(404, f"{asked.name} runs no program here, so it writes no standard error")
        lines, count = found
        await answer(asked.send, {"upstream": asked.name, "lines": lines, "count": count})

    async def _on_clients(self, asked: Asked) -> None:
        needs_key = self._server.entrance.access.asks
        profile = asked.word("profile") or ""
        if profile and profile not in self._mesh.config.profiles:
            raise ApiError(404, f"there is no profile {profile!r}")
        base = self._path.rstrip("/")
        url = f"{self._url or _origin(asked.scope)}{base}{profile and f'/{profile}'}" or "/"
        name = self._server.info["name"] + (f"-{profile}" if profile else "")
        told = {
            "name": name,
            "url": url,
            "needs_key": needs_key,
            "clients": told_to_clients(name, url, needs_key=needs_key),
        }
        await answer(asked.send, told)

    async def _on_why(self, asked: Asked) -> None:
        config, (who, name) = self._mesh.config, (asked.word("principal"), asked.word("name"))
        if not who or not name:
            raise ApiError(400, "say who and what: ?principal=NAME&name=COMPONENT")
        given = (asked.query.get(key, []) for key in ("group", "scope", "claim"))
        try:
            visitor = visitor_of(config, who, asked.word("profile") or "", *given)
            found = reasons(config, visitor, self._server.composite.snapshot, name)
        except NoPrincipal as error:
            raise ApiError(400, str(error)) from None
        except NoComponent as error:
            raise ApiError(404, str(error)) from None
        await answer(asked.send, found)

    async def _on_events(self, asked: Asked) -> None:
        topics = TOPICS & {*(asked.word("topics") or ",".join(TOPICS)).split(",")}
        upstream = asked.word("upstream")
        if upstream is not None:
            self._known(upstream)
        if self._feed.is_full:
            raise ApiError(503, "as many watch already as may at one time; try again later")
        await self._feed.serve(asked.send, asked.receive, topics, upstream)

    # --- what there is to do

    async def _on_restart(self, asked: Asked) -> None:
        await answer(asked.send, await self._actions.restart(asked.name))

    async def _on_enable(self, asked: Asked) -> None:
        await answer(asked.send, await self._actions.switch(asked.name, on=True))

    async def _on_disable(self, asked: Asked) -> None:
        await answer(asked.send, await self._actions.switch(asked.name, on=False))

    async def _on_login(self, asked: Asked) -> None:
        url = await self._logging_in.begin(asked.name, self._url or _origin(asked.scope))
        await answer(asked.send, {"upstream": asked.name, "url": url})

    async def _came_back(self, scope: Scope, send: Send, private: Private) -> None:
        """A browser comes back from an authorization server, without any credential of the mesh's: what it brings says which login it belongs to."""
        refusal = private.unreachable(scope)
        if refusal is not None:
            await refuse(send, refusal.status, refusal.message)
            return
        try:
            name = await self._logging_in.finish(answer_of(f"?{scope['query_string'].decode('latin-1')}"))
        except ApiError as error:
            await respond(send, error.status, f"{error.message}\n".encode(), TEXT, PLAIN)
        else:
            text = f"The mesh is logged in at {name}. You can close this tab.\n"
            await respond(send, 200, text.encode(), TEXT, PLAIN)

    async def _on_reload(self, asked: Asked) -> None:
        await answer(asked.send, await self._actions.reload())

    async def _on_plan(self, asked: Asked) -> None:
        await answer(asked.send, await planned(self._mesh.config, self._server.info["version"], asked.receive))

    def _known(self, name: str) -> None:
        if name not in self._mesh.config.upstreams:
            there = ", ".join(self._mesh.config.upstreams) or "none"
            raise ApiError(404, f"there is no upstream {name!r}; there are {there}")


def _matching(scope: Scope) -> list[tuple[Row, str]]:
    """The rows of a path, with the name that stands in it. A name may have any character, encoded."""
    parts = scope.get("raw_path", scope["path"].encode()).decode("latin-1").split("/")
    found = []
    for row in ROUTES:
        wanted = row.path.split("/")
        if len(wanted) == len(parts) and all(one in ("NAME", part) for one, part in zip(wanted, parts, strict=True)):
            name = next((unquote(part) for one, part in zip(wanted, parts, strict=True) if one == "NAME"), "")
            found.append((row, name))
    return found


def _origin(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return f"{scope['scheme']}://{host}"
