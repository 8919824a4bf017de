"""JSON as a proxy needs it: decode no more than is read, and pass the rest on as the bytes that came.

A *shallow dictionary* is a `dict[str, Any]` whose values may be `msgspec.Raw`: JSON that nobody has looked at. It encodes to
the very bytes that came, numbers, escapes, nulls and unknown keys included. `msgspec` does the work; what it refuses and JSON
allows (lone surrogates, numbers beyond a double) goes through the standard library, slower and still whole.
"""

import json
from typing import Any, Final

import msgspec
from msgspec import Raw

__all__ = ["EMPTY", "JsonError", "Raw", "dumps", "loads", "mapping", "opened", "shallow", "shallow_list"]

JsonError = (msgspec.DecodeError, ValueError)
"""What `loads` and its kin raise for text that is not JSON, or not of the shape asked for."""

EMPTY: Final = Raw(b"{}")

_encoder = msgspec.json.Encoder()
_anything = msgspec.json.Decoder()
_mapping = msgspec.json.Decoder(dict[str, Raw])
_sequence = msgspec.json.Decoder(list[Raw])


def loads(data: bytes | Raw) -> Any:
    """Decode JSON whole.

    Raises:
        JsonError: `data` is no JSON text (RFC 8259).
    """
    try:
        return _anything.decode(data)
    except (msgspec.DecodeError, RecursionError):
        try:
            return json.loads(bytes(data), parse_constant=_refuse_constant)
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
    except msgspec.DecodeError:
        value = loads(data)
        if not isinstance(value, dict):
            raise ValueError("expected an object") from None
        return {key: Raw(dumps(item)) for key, item in value.items()}


def shallow_list(data: bytes | Raw) -> list[Any]:
    """Decode the outermost array alone: every item stays `Raw`.

    Raises:
        JsonError: `data` is no JSON array.
    """
    try:
        return _sequence.decode(data)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        value = loads(data)
        if not isinstance(value, list):
            raise ValueError("expected an array") from None
        return [Raw(dumps(item)) for item in value]


def dumps(value: Any) -> bytes:
    """Encode to compact JSON; a `Raw` anywhere inside goes out as the bytes that it holds."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return json.dumps(_decoded(value), separators=(",", ":")).encode()


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


def _decoded(value: Any) -> Any:
    """`value` with every `Raw` inside decoded, for the encoder of the standard library."""
    if isinstance(value, Raw):
        return loads(value)
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_decoded(item) for item in value]
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
