"""What of a listed definition strict clients can take. Place: catalog, pure.

The SDKs' clients check a listing as a whole: one definition that the protocol does not allow costs them all the others. So each is looked at
when its upstream is listed. A part that may be absent is left out if it is wrong; one that must be there is put right where only one
thing can have been meant; where that is not so, the definition is left out. What is right stays as it came, unknown members included.

Source: schema.ts of 2025-11-25 and 2026-07-28, "Tool", "Resource", "ResourceTemplate", "Prompt".
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from meshproxy.kinds import KINDS, Kind

__all__ = ["Checked", "check_definition", "with_object_schemas"]


class Checked(NamedTuple):
    """A definition as it can be listed, and what was wrong with it."""

    definition: Mapping[str, Any] | None
    """None if it has to be left out; then the last of `faults` says why."""
    faults: tuple[str, ...] = ()


def check_definition(kind: Kind, definition: Any) -> Checked:
    """Look at one item of a listing. A definition that is right comes back as the same object."""
    faults: list[str] = []
    if not isinstance(definition, Mapping):
        return Checked(None, (f"it is {_named(definition)} and no object",))
    sound = _DEFINITIONS[kind].mend(definition, "", faults)
    return Checked(None if sound is _WRONG else sound, tuple(faults))


def with_object_schemas(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema whose properties are objects, as legacy clients want them: true and false in the other spelling that JSON Schema has for them."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not any(isinstance(value, bool) for value in properties.values()):
        return schema
    spelled = {
        key: ({} if value else {"not": {}}) if isinstance(value, bool) else value for key, value in properties.items()
    }
    return {**schema, "properties": spelled}


_WRONG: Final[Any] = object()
"""In place of a value that cannot be put right."""
_ABSENT: Final[Any] = object()


class _Shape(ABC):
    """What a value has to be."""

    @abstractmethod
    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        """The value itself if it is right, another in its place if it can be put right, or `_WRONG`. Adds to `faults` what was not right."""


class _Is(_Shape):
    """A value that is right or wrong, and what it should be, in words."""

    def __init__(self, what: str, admits: Callable[[Any], bool]) -> None:
        self._what = what
        self._admits = admits

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        if self._admits(value):
            return value
        faults.append(f"{where} is {_named(value)} and not {self._what}")
        return _WRONG


class _Each(_Shape):
    """An array; an item that is wrong leaves it alone."""

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        if not isinstance(value, list):
            faults.append(f"{where} is {_named(value)} and not an array")
            return _WRONG
        items = [self._shape.mend(item, f"an item of {where}", faults) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return [item for item in items if item is not _WRONG]


Remedy = Callable[[Mapping[str, Any]], Any]
"""What becomes of a member that must be there and is wrong or missing, by the object that it is in; `_WRONG` if nothing can."""


class _Record(_Shape):
    """An object: its members, those of them that must be there, and what can be done about each of these."""

    def __init__(self, members: Mapping[str, _Shape], needed: Mapping[str, Remedy] | None = None) -> None:
        self._members = members
        self._needed = needed or {}

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        if not isinstance(value, Mapping):
            faults.append(f"{where} is {_named(value)} and not an object")
            return _WRONG
        changes: dict[str, Any] = {}
        for key, shape in self._members.items():
            given = value.get(key, _ABSENT)
            if given is _ABSENT and key not in self._needed:
                continue
            path = f"{where}.{key}" if where else key
            if given is not _ABSENT:
                sound = shape.mend(given, path, faults)
            else:
                faults.append(f"{path} is missing")
                sound = _WRONG
            if sound is _WRONG and key in self._needed:
                sound = self._needed[key](value)
                if sound is _WRONG:
                    return _WRONG
            if sound is not given:
                changes[key] = sound
        if not changes:
            return value
        return {key: item for key, item in {**value, **changes}.items() if item is not _WRONG}


class _Properties(_Shape):
    """The properties of a schema: a schema under each key, which is an object or a boolean."""

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        if value == []:
            # PHP has one spelling for what is empty.
            faults.append(f"{where} is an array and not an object")
            return {}
        if not isinstance(value, Mapping):
            faults.append(f"{where} is {_named(value)} and not an object")
            return _WRONG
        sound = {key: schema for key, schema in value.items() if isinstance(schema, Mapping | bool)}
        if len(sound) == len(value):
            return value
        faults += [
            f"{where}.{key} is {_named(schema)} and not a schema" for key, schema in value.items() if key not in sound
        ]
        return sound


class _ObjectSchema(_Shape):
    """The schema of an object. That its type is not said, or among others, says nothing else: arguments are objects."""

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        if isinstance(value, Mapping) and _may_be_object(value.get("type")):
            return _OBJECT.mend(value, where, faults)
        if value is None or value == []:
            faults.append(f"{where} is {_named(value)}")
            return {"type": "object"}
        if not isinstance(value, Mapping):
            faults.append(f"{where} is {_named(value)} and not an object")
        else:
            faults.append(f"{where} is the schema of something else than an object: its type is {value['type']!r}")
        return _WRONG


class _AnySchema(_Shape):
    """A schema of anything: in the modern era a tool may answer so (2026-07-28 server/tools)."""

    def mend(self, value: Any, where: str, faults: list[str]) -> Any:
        is_object = isinstance(value, Mapping) and value.get("type") == "object"
        return (_OBJECT if is_object else _LOOSE).mend(value, where, faults)


def _may_be_object(named: Any) -> bool:
    return named is None or named == "object" or (isinstance(named, list) and "object" in named)


def _named(value: Any) -> str:
    """What kind of value it is, for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "a string" if value else "an empty string"
    if isinstance(value, int | float):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def _nothing(_: Mapping[str, Any]) -> Any:
    return _WRONG


def _object(_: Mapping[str, Any]) -> str:
    return "object"


def _any_arguments(tool: Mapping[str, Any]) -> Any:
    return _WRONG if "inputSchema" in tool else {"type": "object"}


def _called(key: str) -> Remedy:
    """Named as it is identified."""
    return lambda inside: inside[key] if isinstance(inside.get(key), str) else _WRONG


_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _is_instant(value: Any) -> bool:
    """What the TypeScript SDK takes for `lastModified`: its clients refuse a date alone, and a time without its offset."""
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


_TEXT: Final = _Is("a string", lambda value: isinstance(value, str))
_FLAG: Final = _Is("true or false", lambda value: isinstance(value, bool))
_WHOLE: Final = _Is("a whole number", lambda value: type(value) is int)
_SHARE: Final = _Is("a number from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1)
_TIME: Final = _Is("a time with its offset", _is_instant)
_ROLE: Final = _Is("user or assistant", lambda value: value in ("user", "assistant"))
_THEME: Final = _Is("light or dark", lambda value: value in ("light", "dark"))
_META: Final = _Record({})
_LOOSE: Final = _Record({"$schema": _TEXT})
_OBJECT: Final = _Record(
    {
        "$schema": _TEXT,
        "type": _Is("object", lambda value: value == "object"),
        "properties": _Properties(),
        "required": _Each(_TEXT),
    },
    {"type": _object},
)
_ICONS: Final = _Each(
    _Record({"src": _TEXT, "mimeType": _TEXT, "sizes": _Each(_TEXT), "theme": _THEME}, {"src": _nothing}),
)
_LABELS: Final[dict[str, _Shape]] = {"title": _TEXT, "description": _TEXT, "icons": _ICONS, "_meta": _META}
_NOTES: Final = _Record({"audience": _Each(_ROLE), "priority": _SHARE, "lastModified": _TIME})
_HINTS: Final = _Record(
    {
        "title": _TEXT,
        **dict.fromkeys(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"), _FLAG),
    }
)
_ARGUMENTS: Final = _Each(
    _Record({"name": _TEXT, "title": _TEXT, "description": _TEXT, "required": _FLAG}, {"name": _nothing})
)
_FILE: Final[dict[str, _Shape]] = {**_LABELS, "mimeType": _TEXT, "annotations": _NOTES}

_DEFINITIONS: Final[dict[Kind, _Record]] = {
    Kind.TOOL: _Record(
        {"name": _TEXT, "inputSchema": _ObjectSchema(), "outputSchema": _AnySchema(), "annotations": _HINTS, **_LABELS},
        {"name": _nothing, "inputSchema": _any_arguments},
    ),
    Kind.RESOURCE: _Record(
        {"uri": _TEXT, "name": _TEXT, "size": _WHOLE, **_FILE},
        {"uri": _nothing, "name": _called(KINDS[Kind.RESOURCE].key)},
    ),
    Kind.TEMPLATE: _Record(
        {"uriTemplate": _TEXT, "name": _TEXT, **_FILE},
        {"uriTemplate": _nothing, "name": _called(KINDS[Kind.TEMPLATE].key)},
    ),
    Kind.PROMPT: _Record({"name": _TEXT, "arguments": _ARGUMENTS, **_LABELS}, {"name": _nothing}),
}
