"""Where URIs stand in payloads, and how each is rewritten without touching anything else.

`rewrite_question` and `rewrite_answer` take any request of the protocol, in either direction, by its method; notifications count as
questions. What the tables below do not name is handed back as the same object, and so is a payload without links. Of a
payload with links, every value beside them stays the bytes that came.

Nothing here raises: a payload that is not of the expected shape is somebody else's mistake and passes.

Not named on purpose: `structuredContent` and `arguments`, which belong to the tool; the URI that a request is routed by (`uri` of
`resources/read`, `ref` of `completion/complete`), which the router replaces; roots, which are the client's own files.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from meshproxy.wire.codec import JsonError, Raw, dumps, is_text, mapping, opened, shallow_list

__all__ = ["MapUri", "may_have_links", "rewrite_answer", "rewrite_definition", "rewrite_question"]

MapUri = Callable[[str], str]
"""From a URI of the upstream's to the mesh's, or the other way."""

Payload = TypeVar("Payload", Raw, dict[str, Any])
"""A shallow dictionary, or one that is still encoded."""


class _Place(ABC):
    """A part of a payload that may hold links: `apply` gives the same object if it has none, or else a new one."""

    __slots__ = ()

    @abstractmethod
    def apply(self, value: Any, map_uri: MapUri) -> Any: ...


class _Uri(_Place):
    """The link itself."""

    __slots__ = ()

    def apply(self, value: Any, map_uri: MapUri) -> Any:
        origin = opened(value)
        if not isinstance(origin, str) or (mapped := map_uri(origin)) == origin:
            return value
        return Raw(dumps(mapped)) if isinstance(value, Raw) else mapped


class _Keys(_Place):
    """An object, with a place under each of some keys."""

    __slots__ = ("places",)

    def __init__(self, places: dict[str, _Place]) -> None:
        self.places: Final = places

    def apply(self, value: Any, map_uri: MapUri) -> Any:
        fields = mapping(value)
        if fields is None:
            return value
        changed: dict[str, Any] = {}
        for key, place in self.places.items():
            if key in fields and (mapped := place.apply(fields[key], map_uri)) is not fields[key]:
                changed[key] = mapped
        return {**fields, **changed} if changed else value


class _Each(_Place):
    """An object with a place under every key."""

    __slots__ = ("_place",)

    def __init__(self, place: _Place) -> None:
        self._place: Final = place

    def apply(self, value: Any, map_uri: MapUri) -> Any:
        fields = mapping(value)
        return value if fields is None else _Keys(dict.fromkeys(fields, self._place)).apply(value, map_uri)


class _Items(_Place):
    """An array of places; `or_one` where the protocol allows a place by itself as well."""

    __slots__ = ("_or_one", "_place")

    def __init__(self, place: _Place, *, or_one: bool = False) -> None:
        self._place: Final = place
        self._or_one: Final = or_one

    def apply(self, value: Any, map_uri: MapUri) -> Any:
        try:
            items = shallow_list(value) if isinstance(value, Raw) else value
        except JsonError:
            items = None
        if not isinstance(items, list):
            return self._place.apply(value, map_uri) if self._or_one else value
        place, is_changed = self._place, False
        mapped: list[Any] = []
        for item in items:
            new = place.apply(item, map_uri)
            is_changed = is_changed or new is not item
            mapped.append(new)
        return mapped if is_changed else value


class _Tagged(_Place):
    """An object of which a string field tells what it is, with a place for some of the values of that field."""

    __slots__ = ("_places", "_tag")

    def __init__(self, tag: str, places: dict[str, _Place]) -> None:
        self._tag: Final = tag
        self._places: Final = places

    def apply(self, value: Any, map_uri: MapUri) -> Any:
        # A text is the usual block, may be of any size, and mostly says so first.
        if isinstance(value, Raw) and is_text(value):
            return value
        fields = mapping(value)
        if fields is None:
            return value
        tag = opened(fields.get(self._tag))
        place = self._places.get(tag) if isinstance(tag, str) else None
        if place is None:
            return value
        mapped = place.apply(fields, map_uri)
        return value if mapped is fields else mapped


_URI: Final = _Uri()
_RESOURCES: Final[dict[str, _Place]] = {
    "resource_link": _Keys({"uri": _URI}),
    "resource": _Keys({"resource": _Keys({"uri": _URI})}),
}
_BLOCK: Final = _Tagged("type", _RESOURCES)
_CONTENT: Final = _Items(_BLOCK)
_PROMPTED: Final = _Keys({"content": _Items(_BLOCK, or_one=True)})
# Sampling with tools (SEP-1577) puts the results of the client's tools into messages.
_SAMPLED: Final = _Keys(
    {"content": _Items(_Tagged("type", {**_RESOURCES, "tool_result": _Keys({"content": _CONTENT})}), or_one=True)}
)
_SAMPLING: Final = _Keys({"messages": _Items(_SAMPLED)})

# MCP Apps (SEP-1865): the flat key is the older spelling.
_META: Final = _Keys({"ui": _Keys({"resourceUri": _URI}), "ui/resourceUri": _URI})

# What an upstream asks by its result, and what a client answers by its next request (SEP-2322). An answer does not name its
# question; only a sampled message has a role, so that the fields of a filled form are never taken for content.
_ASKED: Final[dict[str, _Place]] = {
    "inputRequests": _Each(_Tagged("method", {"sampling/createMessage": _Keys({"params": _SAMPLING})}))
}
_ANSWERED: Final = _Keys({"inputResponses": _Each(_Tagged("role", {"assistant": _SAMPLED, "user": _SAMPLED}))})

_TOOL_RESULT: Final = _Keys({"content": _CONTENT, "_meta": _META, **_ASKED})
# The tasks extension (SEP-2663) delivers a tool's result inside the task.
_TASK: Final = _Keys({"result": _TOOL_RESULT, "_meta": _META, **_ASKED})

_BLOCK_HINT: Final = b"esource"
"""Any link in content or `_meta` has this in its type or its key."""
_URI_HINT: Final = b'"uri"'
_ALWAYS: Final = b""

_ANSWERS: Final[Mapping[str, tuple[bytes, _Keys]]] = {
    "tools/call": (_BLOCK_HINT, _TOOL_RESULT),
    "prompts/get": (_BLOCK_HINT, _Keys({"messages": _Items(_PROMPTED), "_meta": _META, **_ASKED})),
    "resources/read": (_URI_HINT, _Keys({"contents": _Items(_Keys({"uri": _URI})), **_ASKED})),
    "tasks/get": (_BLOCK_HINT, _TASK),
    "sampling/createMessage": (_BLOCK_HINT, _SAMPLED),
}
_QUESTIONS: Final[Mapping[str, tuple[bytes, _Keys]]] = {
    "tools/call": (_BLOCK_HINT, _ANSWERED),
    "prompts/get": (_BLOCK_HINT, _ANSWERED),
    "resources/read": (_BLOCK_HINT, _ANSWERED),
    "tasks/update": (_BLOCK_HINT, _ANSWERED),
    "sampling/createMessage": (_BLOCK_HINT, _SAMPLING),
    "notifications/resources/updated": (_ALWAYS, _Keys({"uri": _URI})),
    "notifications/tasks": (_BLOCK_HINT, _TASK),
}
_DEFINITION: Final = _Keys({"_meta": _META})


def may_have_links(meta: bytes) -> bool:
    """Whether a `_meta`, encoded, may have links in it."""
    return _hinted(Raw(meta), _BLOCK_HINT)


def rewrite_answer(method: str, result: Payload, map_uri: MapUri) -> Payload:
    """Rewrite the links in a result of `method`."""
    mapped: Payload = _rewrite(_ANSWERS.get(method), result, map_uri)
    return mapped


def rewrite_question(method: str, params: Payload, map_uri: MapUri) -> Payload:
    """Rewrite the links in the parameters of a request or notification."""
    mapped: Payload = _rewrite(_QUESTIONS.get(method), params, map_uri)
    return mapped


def rewrite_definition(definition: Mapping[str, Any], map_uri: MapUri) -> Mapping[str, Any]:
    """Rewrite the links in a listed component other than the name or URI that it is listed by."""
    mapped: Mapping[str, Any] = _DEFINITION.apply(definition, map_uri)
    return mapped


def _rewrite(row: tuple[bytes, _Keys] | None, payload: Any, map_uri: MapUri) -> Any:
    if row is None:
        return payload
    hint, place = row
    if isinstance(payload, Raw):
        if not _hinted(payload, hint):
            return payload
        mapped = place.apply(payload, map_uri)
        return payload if mapped is payload else Raw(dumps(mapped))
    if not any(_hinted(payload[key], hint) for key in place.places if key in payload):
        return payload
    return place.apply(payload, map_uri)


def _hinted(value: Any, hint: bytes) -> bool:
    """Whether there may be links in `value`. For a large one this is most of the work, so it looks at the bytes alone."""
    if not isinstance(value, Raw):
        return True
    data = bytes(value)
    # Escapes may hide a key or a type. Looking for one byte is many times quicker than for four, and often enough.
    return data.find(hint) >= 0 or (92 in data and data.find(b"\\u00") >= 0)
