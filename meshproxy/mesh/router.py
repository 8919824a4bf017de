"""`Router`: which upstream a call is for, by the name, URI or id in it. Place: mesh, under `composite`.

A call reads the snapshot once, and is handed to its upstream in the same step.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeAlias

from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.eras.translate import outgoing
from meshproxy.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError
from meshproxy.kinds import Kind
from meshproxy.mesh.task_ids import public_task
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import Downstream, Outcome
from meshproxy.relay.principal import Visitor
from meshproxy.wire.codec import JsonError, Raw, is_object, loads, mapping, opened
from meshproxy.wire.headers import param_headers
from meshproxy.wire.messages import check_spelling
from meshproxy.wire.protocol import Era

__all__ = ["Find", "Router", "not_found", "uri_of"]

_TOOL: Final = Kind.TOOL
_PROMPT: Final = Kind.PROMPT
"""A look-up of a member costs as much as that of a name (3.11)."""
_REFERENCES: Final = {"ref/prompt": "name", "ref/resource": "uri"}
_NAMES: Final = frozenset(_REFERENCES.values())
_IN_REFERENCES: Final = _NAMES | {"type"}

Find: TypeAlias = "Callable[[], Route | None]"
"""Looks a route up in the snapshot that is in force when it is called."""
Look: TypeAlias = "Callable[[Visitor, Snapshot], Snapshot]"
"""Makes what a visitor sees of a snapshot, and leaves it with the visitor."""
Confirm: TypeAlias = "Callable[[Call, Route, Callable[[Call, Route], None]], None]"
"""Asks the caller, and lets the call go on by its route."""
Seek: TypeAlias = "Callable[[Downstream, Find, RpcError], Coroutine[Any, Any, Route]]"
"""Waits for the upstreams that are starting for a client until one of them has what is looked for. Raises the error if none has."""


class Router:
    """Routes the calls of a composite.

    `look` makes views, `confirm` asks callers, and `seek` is asked where the snapshot does not have what a call is for.

    Attributes:
        snapshot: what is offered, now.
    """

    def __init__(self, look: Look, confirm: Confirm, seek: Seek) -> None:
        self.snapshot = Snapshot()
        self._look = look
        self._confirm = confirm
        self._seek = seek

    def seen_by(self, visitor: Visitor) -> Snapshot:
        """What a visitor sees of the snapshot: all that there is for it."""
        if visitor.viewed is self.snapshot:
            view: Snapshot = visitor.view
            return view
        return self._look(visitor, self.snapshot)

    def annotated_schema(self, visitor: Visitor, tool: str) -> dict[str, Any] | None:
        """See `meshproxy.relay.handler.Handler`."""
        schema: dict[str, Any] | None = self.seen_by(visitor).annotated.get(tool)
        return schema

    def call_tool(self, call: Call) -> None:
        """`tools/call`. Raises `RpcError`, -32602, for a name that nobody has or parameters of the wrong type."""
        self._use(call, _TOOL)

    def get_prompt(self, call: Call) -> None:
        """`prompts/get`, likewise."""
        self._use(call, _PROMPT)

    def read(self, call: Call) -> None:
        """`resources/read`, by its public URI. Raises `RpcError`: see `not_found`."""
        uri = uri_of(call.params)
        downstream = call.context.downstream
        route = self.find_uri(downstream, uri)
        if route is None:
            find = partial(self.find_uri, downstream, uri)
            call.wait(self._seek(downstream, find, not_found(downstream, uri)), self._read_from)
        else:
            self._read_from(call, route)

    def complete(self, call: Call) -> None:
        """`completion/complete`, for an argument of a prompt or of a template. Raises `RpcError` as `call_tool`."""
        ref = mapping(call.params.get("ref")) or {}
        kind = opened(ref.get("type"))
        if not isinstance(kind, str) or kind not in _REFERENCES:
            raise RpcError(INVALID_PARAMS, "completion/complete: 'ref' must be a ref/prompt or a ref/resource")
        check_spelling(ref, _IN_REFERENCES)
        name = opened(ref.get(_REFERENCES[kind]))
        downstream = call.context.downstream
        route = self._referred(downstream, kind, name)
        if route is None:
            unknown = RpcError(INVALID_PARAMS, f"completion/complete: unknown {kind} {name!r}")
            call.wait(
                self._seek(downstream, partial(self._referred, downstream, kind, name), unknown), self._complete_from
            )
        else:
            self._complete_from(call, route)

    def find_uri(self, downstream: Downstream, uri: str) -> Route | None:
        """The route of a public URI, for a client."""
        return self.seen_by(downstream.visitor).resolve_uri(uri)

    def hides(self, call: Call, name: str) -> bool:
        """See `meshproxy.relay.recorder.Hides`."""
        view = self.seen_by(call.context.downstream.visitor)
        if view is self.snapshot:
            return False
        return _finds(self.snapshot, call.method, name) and not _finds(view, call.method, name)

    def _use(self, call: Call, kind: Kind) -> None:
        params = call.params
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, f"{call.method}: 'name' must be a string")
        if arguments is not None and not is_object(arguments):
            raise RpcError(INVALID_PARAMS, f"{call.method}: 'arguments' must be an object")
        downstream = call.context.downstream
        route = _listed(self.seen_by(downstream.visitor), kind, name)
        if route is None:
            unknown = RpcError(INVALID_PARAMS, f"Unknown {kind}: {name}")
            call.wait(self._seek(downstream, partial(self._find, downstream, kind, name), unknown), self._use_from)
        else:
            self._use_from(call, route)

    def _use_from(self, call: Call, route: Route) -> None:
        if route.judge is not None:
            self._use_judged(call, route)
        elif route.confirm:
            self._confirm(call, route, self._use_agreed)
        else:
            self._use_agreed(call, route)

    def _use_judged(self, call: Call, route: Route) -> None:
        """Of a use that rules decide by its arguments: go on with it if they allow them. Raises `RpcError`, -32602, if not."""
        judge = route.judge
        if judge is None:
            return
        may, confirm = judge(_arguments(call) or {})
        if not may:
            name = call.params.get("name")
            raise RpcError(INVALID_PARAMS, f"{name}: the access rules of this mesh do not allow these arguments")
        if confirm:
            self._confirm(call, route, self._use_agreed)
        else:
            self._use_agreed(call, route)

    def _use_agreed(self, call: Call, route: Route) -> None:
        if route.headers and (arguments := _arguments(call)) is not None:
            # The arguments that the upstream wants to see in headers too (SEP-2243).
            call.headers = param_headers(route.headers, arguments)
        call.params = outgoing(call.params, {"name": route.origin})
        if route.needs_task:
            # Not its client's wish, which is not passed on: the tool's need.
            call.params["task"] = {}
        if call.context.downstream.era is Era.MODERN:
            call.then(_task_made)
        self._carry(call, route)

    def _read_from(self, call: Call, route: Route) -> None:
        call.params = outgoing(call.params, {"uri": route.origin})
        self._carry(call, route)

    def _complete_from(self, call: Call, route: Route) -> None:
        ref = mapping(call.params.get("ref")) or {}
        key = _REFERENCES[str(opened(ref.get("type")))]
        call.mount = route.mount
        if not route.source.completes:
            call.end({"completion": {"values": []}})
            return
        # What else the reference might name was not looked up.
        origin = {name: value for name, value in ref.items() if name not in _NAMES} | {key: route.origin}
        call.params = outgoing(call.params, {"ref": origin})
        self._carry(call, route)

    def _carry(self, call: Call, route: Route) -> None:
        call.mount = route.mount
        route.source.carry(call)

    def _find(self, downstream: Downstream, kind: Kind, name: str) -> Route | None:
        return _listed(self.seen_by(downstream.visitor), kind, name)

    def _referred(self, downstream: Downstream, kind: str, name: Any) -> Route | None:
        if not isinstance(name, str):
            return None
        view = self.seen_by(downstream.visitor)
        return view.find(Kind.PROMPT, name) if kind == "ref/prompt" else view.resolve_template(name)


def _listed(view: Snapshot, kind: Kind, public: str) -> Route | None:
    """`Snapshot.find`, which is not compiled, for what every call looks up."""
    route: Route | None = view.routes[kind].get(public)
    return route


def _arguments(call: Call) -> Any:
    """The arguments of a call, decoded; None if there are none. Raises `RpcError`, -32602, for what cannot be."""
    arguments = call.params.get("arguments")
    try:
        return loads(arguments) if isinstance(arguments, Raw) else arguments
    except JsonError as error:
        raise RpcError(INVALID_PARAMS, f"params.arguments: {error}") from None


def uri_of(params: dict[str, Any]) -> str:
    """The public URI that parameters name. Raises `RpcError` if it is none."""
    uri = params.get("uri")
    if not isinstance(uri, str):
        raise RpcError(INVALID_PARAMS, "'uri' must be a string")
    return uri


def _finds(snapshot: Snapshot, method: str, name: str) -> bool:
    if method == "tools/call":
        return snapshot.find(_TOOL, name) is not None
    if method == "prompts/get":
        return snapshot.find(_PROMPT, name) is not None
    if method == "completion/complete" and snapshot.find(_PROMPT, name) is not None:
        return True
    return snapshot.resolve_template(name) is not None


def not_found(downstream: Downstream, uri: str) -> RpcError:
    """The answer where no upstream has a URI: -32602, or -32002 in the legacy era, with the URI as data (SEP-2164)."""
    code = INVALID_PARAMS if downstream.era is Era.MODERN else RESOURCE_NOT_FOUND
    return RpcError(code, f"Resource not found: {uri}", {"uri": uri})


def _task_made(call: Call, outcome: Outcome) -> Outcome:
    """On the way back of a use: if it ended with a task (SEP-2663), that is named as the mesh names it."""
    if isinstance(outcome, dict) and opened(outcome.get("resultType")) == "task":
        return public_task(outcome, call.mount, call.context.downstream.visitor)
    return outcome
