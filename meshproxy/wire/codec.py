"""JSON as a proxy needs it: decode no more than is read, and pass the rest on as the bytes that came.

A *shallow dictionary* is a `dict[str, Any]` whose values may be `msgspec.Raw`: JSON that nobody has looked at. It encodes to
the very bytes that came, numbers, escapes, nulls and unknown keys included. `msgspec` does the work; what it refuses and JSON
allows (lone surrogates, numbers beyond a double) goes through the standard library, slower and still whole.
"""

import json
import re
from typing import Any, Final

import msgspec

from meshproxy.http.sse import CR, LF
from meshproxy.limits import MAX_CUT, MAX_DEPTH, LimitError, check_depth, check_size
from meshproxy.wire.raw import Raw

__all__ = [
    "EMPTY",
    "RAW",
    "JsonError",
    "Raw",
    "dumps",
    "is_object",
    "is_text",
    "loads",
    "mapping",
    "members",
    "on_one_line",
    "opened",
    "outline",
    "shallow",
    "shallow_list",
    "text",
    "whole",
]

JsonError = (msgspec.DecodeError, ValueError)
"""What `loads` and its kin raise for text that is not JSON, not of the shape asked for, or beyond a limit (then it is a `LimitError`)."""

RAW: Final = Raw
"""The class itself, for `isinstance` on the way of a call: compiled code has a constant at hand, and looks a class that is not compiled up by its name each time."""
EMPTY: Final = Raw(b"{}")

# Their methods, bound once: compiled code calls such a constant without looking anything up.
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode
_decode_mapping: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_sequence: Final = msgspec.json.Decoder(list[Raw]).decode
_TOKEN: Final = re.compile(rb'[ \t\n\r]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]|[^ \t\n\r"\[\]{},:]++)', re.DOTALL)
"""The next bracket, comma or colon, text or other value of a JSON text."""
_OPENING: Final = (b"[", b"{")
_CLOSING: Final = (b"]", b"}")
_BETWEEN: Final = (b",", b":")
_FIRST: Final = b'{"type":"text"'
_FIRST_SPACED: Final = b'{"type": "text"'
_LAST: Final = b'"type":"text"}'
_LAST_SPACED: Final = b'"type": "text"}'
_LONGEST: Final = 15
_BRACE: Final = 0x7B
_SMALL: Final = 4096
"""Bytes of which a copy is cheaper than a view."""


def loads(data: bytes | Raw, depth: int = MAX_DEPTH) -> Any:
    """Decode JSON whole, of at most `depth` arrays and objects in each other.

    Raises:
        JsonError: `data` is no JSON text (RFC 8259), or is nested deeper.
    """
    value = whole(data)
    # Each level takes two bytes, and hardly any text has so many brackets.
    if len(data) > 2 * depth:
        text = bytes(data)
        if text.count(b"[") + text.count(b"{") > depth:
            check_depth(value, depth)
    return value


def whole(data: bytes | Raw) -> Any:
    """As `loads`, as deep as the decoder goes: for what is not kept, and not encoded again.

    Raises:
        JsonError: `data` is no JSON text, or is nested deeper than that.
    """
    try:
        return _decode(data)
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        try:
            # Decoded here, since `json` would guess at UTF-16 and let half characters pass.
            return json.loads(bytes(data).decode(), parse_constant=_refuse_constant)
        except RecursionError:
            raise _too_deep() from None


def shallow(data: bytes | Raw) -> dict[str, Any]:
    """Decode the outermost object alone: every value stays `Raw`.

    Raises:
        JsonError: `data` is no JSON object.
    """
    try:
        return _decode_mapping(data)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        return dict(members(data))


def members(data: bytes | Raw) -> list[tuple[str, Raw]]:
    """The members of the outermost object, in order, and what is repeated as often as it stands there. Slower than `shallow`.

    Raises:
        JsonError: `data` is no JSON object.
    """
    if not isinstance(whole(data), dict):
        raise ValueError("expected an object")
    return _pairs(_cut(bytes(data)))


def shallow_list(data: bytes | Raw) -> list[Any]:
    """Decode the outermost array alone: every item stays `Raw`.

    Raises:
        JsonError: `data` is no JSON array.
    """
    try:
        return _decode_sequence(data)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise _too_deep() from None
    except msgspec.DecodeError:
        if not isinstance(whole(data), list):
            raise ValueError("expected an array") from None
        return _cut(bytes(data))


def outline(data: bytes | Raw) -> dict[str, Any] | list[Any]:
    """As `shallow` and `shallow_list`, of what may be nested deeper than any decoder goes: parts are then found by their brackets alone.

    Of such a text no part is proven to be JSON. Whoever passes one on has to decode it first.

    Raises:
        JsonError: it is neither an object nor an array, or it is too deep and larger than `MAX_CUT` bytes.
    """
    text = bytes(data)
    is_object = text.lstrip()[:1] == b"{"
    try:
        return shallow(text) if is_object else shallow_list(text)
    except LimitError:
        check_size(len(text), MAX_CUT)
        return dict(_pairs(_cut(text))) if is_object else _cut(text)


def dumps(value: Any) -> bytes:
    """Encode to compact JSON; a `Raw` anywhere inside goes out as the bytes that it holds."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encoded(value)


def on_one_line(text: bytes) -> bytes:
    """A JSON text without line ends: those of somebody's pretty-printing, since inside of strings JSON has no bare ones."""
    return text.replace(b"\n", b" ").replace(b"\r", b" ") if LF in text or CR in text else text


def opened(value: Any) -> Any:
    """`value` decoded if it is `Raw`, as it is otherwise; None for what cannot be decoded, or goes beyond a limit."""
    if not isinstance(value, RAW):
        return value
    try:
        return loads(value)
    except JsonError:
        return None


def text(value: Any) -> str | None:
    """`value` if it is a string, decoded if it is `Raw`; None if it is anything else, whatever may be wrong with it."""
    found = opened(value)
    return found if isinstance(found, str) else None


def mapping(value: Any) -> dict[str, Any] | None:
    """`value` as a dictionary, opened by one level if it is `Raw`; None if it is no object."""
    if isinstance(value, RAW):
        try:
            return shallow(value)
        except JsonError:
            return None
    return value if isinstance(value, dict) else None


def _pairs(parts: list[Raw]) -> list[tuple[str, Raw]]:
    """The members of an object of which these are the keys and the values by turns."""
    keys = [whole(key) for key in parts[::2]]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("the keys of an object must be texts")
    return list(zip(keys, parts[1::2], strict=True))


def _cut(text: bytes) -> list[Raw]:
    """The items of an array, or the keys and values of an object by turns, as they are spelled. `text` may be of any depth.

    Raises:
        ValueError: its brackets do not match.
    """
    parts: list[Raw] = []
    depth = start = place = 0
    while True:
        token = _TOKEN.match(text, place)
        if token is None:
            raise ValueError("the brackets do not match")
        place = token.end()
        mark = token[1]
        if depth == 1:
            start = token.start(1)
        if mark in _OPENING:
            depth += 1
            continue
        if mark in _CLOSING:
            depth -= 1
        if depth == 1 and mark not in _BETWEEN:
            parts.append(Raw(text[start:place]))
        elif depth == 0:
            break
    if text[place:].strip():
        raise ValueError("something follows the last bracket")
    return parts


def _too_deep() -> LimitError:
    return LimitError("it is nested deeper than can be decoded")


def _encoded(value: Any) -> bytes:
    """`value` as JSON, with lone surrogates escaped, which `msgspec` refuses to encode."""
    if isinstance(value, RAW):
        return bytes(value)
    if isinstance(value, dict):
        return b"{" + b",".join(_encoded(key) + b":" + _encoded(item) for key, item in value.items()) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(_encoded(item) for item in value) + b"]"
    return json.dumps(value).encode() if isinstance(value, str) else _encode(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def is_text(block: Raw) -> bool:
    """Whether a block of content says first or last that it is a text, as nearly all do, so that no link is in it.

    The SDKs' servers send `text` and then `type`. What stands before the last brace is a member of the block itself: a quotation mark within
    a string has a backslash before it.
    """
    if len(block) <= _SMALL:
        first = last = bytes(block)
    else:
        view = memoryview(block)
        first, last = bytes(view[:_LONGEST]), bytes(view[-_LONGEST:])
    # Not with tuples, of which the compiler makes what it makes of any call.
    if first.startswith(_FIRST) or first.startswith(_FIRST_SPACED):  # noqa: PIE810
        return True
    return last.endswith(_LAST) or last.endswith(_LAST_SPACED)  # noqa: PIE810


def is_object(value: Any) -> bool:
    """Whether a value, closed or decoded, is an object."""
    if not isinstance(value, RAW):
        return isinstance(value, dict)
    # What stands first in it is no blank: a decoder found it.
    return bytes(value)[0] == _BRACE if len(value) <= _SMALL else memoryview(value)[0] == _BRACE
