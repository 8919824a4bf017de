"""HTTP headers that repeat what a message says (SEP-2243), and the check that both agree. Place: wire, pure.

A client writes `MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name` and `Mcp-Param-*` so that intermediaries can route without reading the
body; a server refuses a request whose headers and body disagree, because then two readers would see two requests. Header names
are lower-case here, as ASGI gives them, and values have no blanks around them.

Source: 2026-07-28 basic/transports/streamable-http, "Request Metadata", and server/tools, "x-mcp-header".
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from meshproxy.errors import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION, RpcError
from meshproxy.wire.protocol import META_CAPABILITIES, META_VERSION, MODERN_VERSIONS, NAMED_BY

__all__ = [
    "METHOD_HEADER",
    "NAME_HEADER",
    "PARAM_PREFIX",
    "VERSION_HEADER",
    "check_agreement",
    "check_envelope",
    "decode_header_value",
    "encode_header_value",
    "find_invalid_annotation",
    "param_header_map",
    "param_headers",
    "unsupported_version",
    "validate_param_headers",
]

VERSION_HEADER: Final = "mcp-protocol-version"
METHOD_HEADER: Final = "mcp-method"
NAME_HEADER: Final = "mcp-name"
PARAM_PREFIX: Final = "mcp-param-"
ANNOTATION: Final = "x-mcp-header"

ParamMap: TypeAlias = dict[tuple[str, ...], str]
"""The path of an annotated property, as keys from the root of the arguments, to the token after `Mcp-Param-`."""

_WRAPPED: Final = "=?base64?"
_SENTINEL: Final = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_PLAIN: Final = re.compile(r"[\x20-\x7E]*")
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_DECIMAL: Final = re.compile(r"(-?[0-9]+)(?:\.0+)?")

_TYPES: Final = frozenset({"string", "integer", "boolean"})
"""What may be annotated. `number` may not: floats are written differently everywhere."""

# The places of JSON Schema 2020-12 that hold schemas, by the shape that they hold them in. Data (`default`, `enum`, ...) is not
# among them, so an annotation's name inside it is no annotation; `$ref` is not followed, so the walk ends.
_ONE: Final = frozenset(
    {
        "items",
        "contains",
        "unevaluatedItems",
        "additionalProperties",
        "propertyNames",
        "unevaluatedProperties",
        "not",
        "if",
        "then",
        "else",
        "contentSchema",
    }
)
_LIST: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAP: Final = frozenset({"patternProperties", "dependentSchemas", "$defs", "definitions"})


def encode_header_value(value: str) -> str:
    """`value` as a header can carry it: itself if it is printable ASCII without blanks around it, else `=?base64?...?=`."""
    if _PLAIN.fullmatch(value) and value == value.strip() and not _SENTINEL.fullmatch(value):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode('ascii')}?="


def decode_header_value(value: str) -> str | None:
    """What `encode_header_value` was given; None for a malformed or non-canonical base64 form, which then equals nothing."""
    wrapped = _SENTINEL.fullmatch(value) if value.startswith(_WRAPPED) else None
    if wrapped is None:
        return value
    payload = wrapped[1]
    try:
        decoded = base64.b64decode(payload, validate=True)
        return decoded.decode() if base64.b64encode(decoded).decode("ascii") == payload else None
    except (binascii.Error, ValueError):
        return None


def find_invalid_annotation(schema: Any) -> str | None:
    """Why an HTTP client must drop a tool with this input schema: its first invalid `x-mcp-header`; None if there is none.

    Valid is an RFC 9110 token, unique without regard to case, on a string, integer or boolean that is reached through
    `properties` alone.
    """
    seen: dict[str, str] = {}
    for path, node in _schemas(schema):
        if ANNOTATION not in node:
            continue
        if not path:
            return f"{ANNOTATION} must be on a property that is reached through `properties` alone"
        where = ".".join(path)
        token, kind = node[ANNOTATION], node.get("type")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            return f"property {where!r}: {ANNOTATION} must be an HTTP header token"
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"property {where!r}: {ANNOTATION} is only for a string, an integer or a boolean"
        if (other := seen.setdefault(token.lower(), where)) != where:
            return f"property {where!r}: {ANNOTATION} {token!r} is taken by property {other!r}"
    return None


def param_header_map(schema: Any) -> ParamMap:
    """The annotated properties of a tool's input schema; none of them if any is invalid."""
    if find_invalid_annotation(schema) is not None:
        return {}
    return {path: node[ANNOTATION] for path, node in _schemas(schema) if path and ANNOTATION in node}


def param_headers(annotated: ParamMap, arguments: Any) -> dict[str, str]:
    """The `Mcp-Param-*` headers of a call with these decoded arguments, names as annotated; absent and null have none."""
    headers: dict[str, str] = {}
    for path, token in annotated.items():
        rendered = _rendered(_at(arguments, path))
        if rendered is not None:
            headers[f"Mcp-Param-{token}"] = encode_header_value(rendered)
    return headers


def validate_param_headers(schema: Any, arguments: Any, headers: Iterable[tuple[str, str]]) -> RpcError | None:
    """The error of a call whose `Mcp-Param-*` headers and decoded arguments disagree; None if they agree.

    `headers` are the raw pairs, names lower-case, so that a repeated one shows. Each annotated property and its header must be
    there together and equal, or both be absent; null counts as absent.
    """
    annotated = param_header_map(schema)
    if not annotated:
        return None
    names = {f"{PARAM_PREFIX}{token.lower()}" for token in annotated.values()}
    given: dict[str, str | None] = {}
    for name, value in headers:
        if name in names:
            if name in given:
                return _mismatch(f"the {name} header appears more than once")
            given[name] = decode_header_value(value)
    for path, token in annotated.items():
        name, argument = f"{PARAM_PREFIX}{token.lower()}", ".".join(path)
        called_with = _at(arguments, path)
        rendered = _rendered(called_with)
        if name not in given:
            if rendered is not None:
                return _mismatch(f"the {name} header is missing, and the argument {argument!r} is given")
        elif rendered is None:
            return _mismatch(f"the {name} header is given, and the argument {argument!r} is absent")
        elif (header := given[name]) is None:
            return _mismatch(f"the {name} header is malformed base64")
        elif not _agree(called_with, rendered, header):
            return _mismatch(f"the {name} header does not match the argument {argument!r}")
    return None


def check_envelope(meta: Any) -> RpcError | None:
    """The error of a modern request whose decoded `params._meta` lacks what every request carries, or names a foreign version."""
    error = _incomplete(meta)
    return error if error is not None else unsupported_version(meta[META_VERSION])


def check_agreement(
    method: str, params: dict[str, Any], version: str | None, method_header: str | None, name_header: str | None
) -> RpcError | None:
    """The error of a modern HTTP request, in the order of the specification: its envelope, its headers, its version.

    `params` has `_meta` and the member that names what is called decoded. The headers are None where they are absent.
    """
    meta = params.get("_meta")
    if (error := _incomplete(meta)) is not None:
        return error
    requested = meta[META_VERSION]  # type: ignore[index]  # _incomplete has seen that it is a dictionary
    if version != requested:
        return _mismatch(f"the {VERSION_HEADER} header does not match the version in params._meta")
    if method_header != method:
        return _mismatch(
            f"the {METHOD_HEADER} header is missing"
            if method_header is None
            else f"the {METHOD_HEADER} header does not match the method of the body"
        )
    key = NAMED_BY.get(method)
    if key is not None:
        named = params.get(key)
        if named is not None and (name_header is None or decode_header_value(name_header) != named):
            return _mismatch(f"the {NAME_HEADER} header does not match the parameter {key!r} of the body")
    return None if requested in MODERN_VERSIONS else unsupported_version(requested)


def unsupported_version(requested: object) -> RpcError | None:
    """The error of a version that is not served; None if it is one of the modern ones."""
    if not isinstance(requested, str):
        return RpcError(INVALID_PARAMS, f"{META_VERSION} must be a string")
    if requested in MODERN_VERSIONS:
        return None
    data = {"supported": list(MODERN_VERSIONS), "requested": requested}
    return RpcError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _incomplete(meta: Any) -> RpcError | None:
    if not isinstance(meta, dict):
        meta = {}
    if META_VERSION in meta and META_CAPABILITIES in meta:
        if isinstance(meta[META_CAPABILITIES], dict):
            return None
        return RpcError(INVALID_PARAMS, f"{META_CAPABILITIES} must be an object")
    missing = [key for key in (META_VERSION, META_CAPABILITIES) if key not in meta]
    return RpcError(INVALID_PARAMS, f"params._meta lacks {' and '.join(missing)}, which every request carries")


def _mismatch(message: str) -> RpcError:
    return RpcError(HEADER_MISMATCH, message)


def _schemas(root: Any) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Each schema in `root` with its path through `properties`, () for the root; None once anything else was passed.

    A stack of its own, and not recursion: the schema is somebody else's and may be as deep as it likes.
    """
    stack: list[tuple[tuple[str, ...] | None, Any]] = [((), root)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                stack.extend((None if path is None else (*path, name), child) for name, child in value.items())
            elif key in _ONE:
                stack.append((None, value))
            elif key in _LIST and isinstance(value, list):
                stack.extend((None, child) for child in value)
            elif key in _MAP and isinstance(value, dict):
                stack.extend((None, child) for child in value.values())


def _at(arguments: Any, path: tuple[str, ...]) -> Any:
    node = arguments
    for key in path:
        if not isinstance(node, dict):
            return None
        node = node.get(key)
    return node


def _rendered(value: Any) -> str | None:
    """`value` as a header says it; None if it has none: null, an object, an array, an integer too long for a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        return None
    try:
        return str(value)
    except ValueError:
        return None


def _agree(value: Any, rendered: str, header: str) -> bool:
    """Whether a decoded header says `value`; integers are compared as numbers, so that 42.0 is 42."""
    if header == rendered:
        return True
    number = _DECIMAL.fullmatch(header)
    if number is None or isinstance(value, bool | str) or value != value // 1:
        return False
    try:
        return int(number[1]) == int(value)
    except ValueError:
        return False
