"""JSON as a proxy needs it: decode no more than is read, and pass the rest on as the bytes that came.

A *shallow dictionary* is a `dict[str, Any]` whose values may be `msgspec.Raw`: JSON that nobody has looked at. It encodes to
the very bytes that came, numbers, escapes, nulls and unknown keys included. `msgspec` does the work; what it refuses and JSON
allows (lone surrogates, numbers beyond a double) goes through the standard library, slower and still whole.
"""

import json
import re
from typing import Any, Final

import msgspec

from meshproxy.wire.raw import Raw

__all__ = ["EMPTY", "JsonError", "Raw", "dumps", "loads", "mapping", "members", "opened", "shallow", "shallow_list"]

JsonError = (msgspec.DecodeError, ValueError)
"""What `loads` and its kin raise for text that is not JSON, or not of the shape asked for."""

EMPTY: Final = Raw(b"{}")

_encoder = msgspec.json.Encoder()
_anything = msgspec.json.Decoder()
_mapping = msgspec.json.Decoder(dict[str, Raw])
_sequence = msgspec.json.Decoder(list[Raw])
_scanner = json.JSONDecoder()
_GAP: Final = re.compile(r"[ \t\n\r,:]*")
"""What stands between the parts of an array or object."""


def loads(data: bytes | Raw) -> Any:
    """Decode JSON whole.

    Raises:
        JsonError: `data` is no JSON text (RFC 8259).
    """
    try:
        return _anything.decode(data)
    except (msgspec.DecodeError, RecursionError):
        try:
            # Decoded here, since `json` would guess at UTF-16 and let half characters pass.
            return json.loads(bytes(data).decode(), parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None


def shallow(data: bytes | Raw) -> dict[str, Any]:
    """Decode the outermost object alone: every value stays `Raw`.

    Raises:
        JsonError: `data` is no JSON object.
    """
    try:
        return _mapping.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        return dict(members(data))


def members(data: bytes | Raw) -> list[tuple[str, Raw]]:
    """The members of the outermost object, in order, and what is repeated as often as it stands there. Slower than `shallow`.

    Raises:
        JsonError: `data` is no JSON object.
    """
    if not isinstance(loads(data), dict):
        raise ValueError("expected an object")
    parts = _split(bytes(data).decode())
    return [(loads(key), item) for key, item in zip(parts[::2], parts[1::2], strict=True)]


def shallow_list(data: bytes | Raw) -> list[Any]:
    """Decode the outermost array alone: every item stays `Raw`.

    Raises:
        JsonError: `data` is no JSON array.
    """
    try:
        return _sequence.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        if not isinstance(loads(data), list):
            raise ValueError("expected an array") from None
        return _split(bytes(data).decode())


def dumps(value: Any) -> bytes:
    """Encode to compact JSON; a `Raw` anywhere inside goes out as the bytes that it holds."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoded(value)


def opened(value: Any) -> Any:
    """`value` decoded, if it is `Raw`; as it is otherwise."""
    return loads(value) if isinstance(value, Raw) else value


def mapping(value: Any) -> dict[str, Any] | None:
    """`value` as a dictionary, opened by one level if it is `Raw`; None if it is no object."""
    if isinstance(value, Raw):
        try:
            return shallow(value)
        except JsonError:
            return None
    return value if isinstance(value, dict) else None


def _split(text: str) -> list[Raw]:
    """The items of an array, or the keys and values of an object by turns, as they are spelled in `text`, which is valid JSON."""
    parts = []
    start = _GAP.match(text).end()  # type: ignore[union-attr]  # a pattern with * always matches
    start = _GAP.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[start] not in "]}":
        end = _scanner.raw_decode(text, start)[1]
        parts.append(Raw(text[start:end].encode()))
        start = _GAP.match(text, end).end()  # type: ignore[union-attr]
    return parts


def _encoded(value: Any) -> bytes:
    """`value` as JSON, with lone surrogates escaped, which `msgspec` refuses to encode."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, dict):
        return b"{" + b",".join(_encoded(key) + b":" + _encoded(item) for key, item in value.items()) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(_encoded(item) for item in value) + b"]"
    return json.dumps(value).encode() if isinstance(value, str) else _encoder.encode(value)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
