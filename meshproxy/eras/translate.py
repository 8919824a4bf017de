"""Results and errors between eras: what one era adds, the other takes away. The payload stays closed wherever it can.

`publish` gives what a caller may have of an upstream's answer; what stands above it are its tools.
"""

import secrets
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from meshproxy.catalog.rewrite import may_have_links, rewrite_answer
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.eras.tool_result import ToolResult
from meshproxy.errors import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    UNSUPPORTED_VERSION,
    URL_ELICITATION_REQUIRED,
    RpcError,
)
from meshproxy.relay.call import Call
from meshproxy.relay.downstream import RequestContext, Result
from meshproxy.wire.codec import RAW, JsonError, Raw, dumps, is_text, mapping, opened, shallow
from meshproxy.wire.memo import remember
from meshproxy.wire.mending import result_meant
from meshproxy.wire.protocol import (
    CACHEABLE,
    COMPLETE,
    EXTENSION_TASKS,
    HOP_META_REQUEST,
    HOP_META_RESULT,
    INPUT_METHODS,
    INPUT_REQUIRED,
    META_SERVER,
    Era,
)

_MODERN_ONLY: Final = ("resultType", "ttlMs", "cacheScope")


class ServerSignature:
    """The mesh's own `serverInfo`, which modern results carry (2026-07-28 basic/index, "_meta"), and `token`, its name in trails (`meshproxy.links.trail`)."""

    def __init__(self, server_info: dict[str, Any]) -> None:
        self.info = server_info
        self.token = secrets.token_hex(8)
        self.meta = {META_SERVER: server_info}
        self._own = Raw(dumps(self.meta))
        self._metas: dict[bytes, Any] = {}

    def onto(self, tool: "ToolResult") -> Raw:
        """A plain result of the modern era with the mesh's own signature, encoded. Changes `tool`."""
        tool.result_type = COMPLETE
        given = tool.meta
        tool.meta = self._own if given is _UNSET else self._sign(bytes(given))
        return RAW(_encode(tool))

    def _sign(self, meta: bytes) -> Raw:
        """A small `_meta` of an answer with the mesh's own members. Servers say the same each time."""
        signed: Raw | None = self._metas.get(meta)
        if signed is None:
            signed = Raw(dumps(self.into({"_meta": Raw(meta)}, cacheable=False)["_meta"]))
            remember(self._metas, meta, signed)
        return signed

    def into(self, result: dict[str, Any], *, cacheable: bool) -> dict[str, Any]:
        """A result of either era as one of the modern era. Changes `result`."""
        meta = mapping(result.get("_meta")) or {}
        result["_meta"] = {key: value for key, value in meta.items() if key not in HOP_META_RESULT} | self.meta
        result.setdefault("resultType", COMPLETE)
        if cacheable:
            result.setdefault("ttlMs", 0)
            result.setdefault("cacheScope", "private")
        return result


_encode: Final = msgspec.json.Encoder().encode
_UNSET: Final = msgspec.UNSET
_HOPS_IN_ANY_CASE: Final = frozenset(key.casefold() for key in HOP_META_REQUEST)
"""To some upstreams' decoders case is nothing, and a progress token of the caller's own making would be that of somebody else's request."""
_SMALL: Final = 1024
"""Bytes of a `_meta` that is worth remembering."""
_decode: Final = msgspec.json.Decoder(ToolResult).decode
_names: Final = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(ToolResult))


def plain_result(answer: Raw) -> ToolResult | None:
    """A tool's result if there is nothing in it but texts, which hold no links, and what every result has; None for a closer look."""
    try:
        tool = _decode(answer)
    except (*JsonError, RecursionError):
        return None
    content, kind = tool.content, tool.result_type
    if content is _UNSET or (kind is not _UNSET and kind != COMPLETE):
        return None
    for block in content:
        if not is_text(block):
            return None
    meta = tool.meta
    if meta is not _UNSET and (len(meta) > _SMALL or _has_links(bytes(meta))):
        return None
    return tool


def plain_to_legacy(tool: ToolResult) -> Raw | None:
    """A plain result of the modern era as one of the legacy era, encoded; None for a closer look. Changes `tool`."""
    if tool.structured is not _UNSET and memoryview(tool.structured)[0] != ord("{"):
        return None
    tool.result_type = _UNSET
    if tool.meta is not _UNSET:
        meta = _stripped(bytes(tool.meta))
        tool.meta = Raw(meta) if meta else _UNSET
    return Raw(_encode(tool))


_links_in: Final[dict[bytes, Any]] = {}
_kept_of: Final[dict[bytes, Any]] = {}


def _has_links(meta: bytes) -> bool:
    """`may_have_links`, of a small `_meta`."""
    found: bool | None = _links_in.get(meta)
    if found is None:
        found = may_have_links(meta)
        remember(_links_in, meta, found)
    return found


def _stripped(meta: bytes) -> bytes:
    """A small `_meta` without what belongs to the connection it came on, both encoded; empty if nothing is left."""
    kept: bytes | None = _kept_of.get(meta)
    if kept is None:
        result = without_hop_meta({"_meta": Raw(meta)})
        kept = dumps(result["_meta"]) if "_meta" in result else b""
        remember(_kept_of, meta, kept)
    return kept


def opened_result(method: str, result: Raw) -> tuple[Raw, dict[str, Any]]:
    """An answer's result, which nobody has read yet: proven to be one JSON object, and as a shallow dictionary.

    The first is what may be sent as it is. In the second a tool's content is a list of closed blocks.

    Raises:
        RpcError: -32603, it is no JSON object, or the answer repeats a member behind it.
    """
    if method == "tools/call":
        try:
            tool = _decode(result)
        except (*JsonError, RecursionError):
            pass
        else:
            return result, {name: value for key, name in _names if (value := getattr(tool, key)) is not _UNSET}
    try:
        return result, shallow(result)
    except JsonError:
        # More members may have followed it in the answer.
        alone = result_meant(result)
    try:
        return alone, shallow(alone)
    except JsonError:
        raise RpcError(INTERNAL_ERROR, "the upstream's answer cannot be read: its result is no object") from None


def to_legacy(result: dict[str, Any]) -> dict[str, Any]:
    """A complete modern result as one of the legacy era. Changes `result`.

    Structured content that is no object does not exist there (2025-11-25 server/tools); its text twin stays.
    """
    for key in _MODERN_ONLY:
        result.pop(key, None)
    structured = result.get("structuredContent")
    if structured is not None and mapping(structured) is None:
        del result["structuredContent"]
    return without_hop_meta(result)


def without_hop_meta(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the `_meta` that belongs to the connection it came on. Changes `result`."""
    meta = mapping(result.get("_meta"))
    if meta is not None and not HOP_META_RESULT.isdisjoint(meta):
        kept = {key: value for key, value in meta.items() if key not in HOP_META_RESULT}
        if kept:
            result["_meta"] = kept
        else:
            del result["_meta"]
    return result


def outgoing(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A downstream's parameters as they go up: some replaced, hop-by-hop `_meta` and core tasks of 2025-11-25 taken out."""
    sent = {**params, **changes}
    if "task" in sent:
        sent = {key: value for key, value in sent.items() if key != "task"}
    meta = mapping(sent["_meta"]) if "_meta" in sent else None
    if meta is not None:
        kept = {}
        if not HOP_META_REQUEST.issuperset(meta):
            kept = {key: value for key, value in meta.items() if key.casefold() not in _HOPS_IN_ANY_CASE}
        if kept:
            sent["_meta"] = kept
        else:
            del sent["_meta"]
    return sent


def result_type(result: dict[str, Any], capabilities: dict[str, Any]) -> str:
    """The `resultType` of a modern result, which its receiver must know (2026-07-28 basic/index, "Results").

    Raises:
        RpcError: -32603 for a type that is neither the core's nor of an extension that the client declared.
    """
    kind = opened(result.get("resultType", COMPLETE))
    extensions = mapping(capabilities.get("extensions")) or {}
    if kind in (COMPLETE, INPUT_REQUIRED) or (kind == "task" and EXTENSION_TASKS in extensions):
        return str(kind)
    raise RpcError(INTERNAL_ERROR, f"the upstream answered with a result of the unknown type {kind!r}")


def publish(call: Call, answer: Raw, stamp: ServerSignature, sealer: Sealer) -> Result:
    """An upstream's answer, of the era of the call's link, as its caller's era has it.

    It is opened, with its type decoded, if a modern upstream asks a legacy client for input.

    Raises:
        RpcError: it cannot be read, or is of a type that the caller does not know.
    """
    is_legacy = call.context.downstream.era is Era.LEGACY
    if call.era is Era.LEGACY:
        return _public(call, answer) if is_legacy else _dressed(call, answer, stamp)
    return _translated(call, answer) if is_legacy else _countersigned(call, answer, stamp, sealer)


def _plain(call: Call, answer: Raw) -> ToolResult | None:
    """`plain_result`, if it is a tool's; whether that failed is noted while it is open."""
    plain = plain_result(answer) if call.method == "tools/call" else None
    if plain is not None and call.record is not None:
        call.record.has_failed = plain.is_error is True
    return plain


def _dressed(call: Call, answer: Raw, stamp: ServerSignature) -> Result:
    """A legacy upstream's answer as a modern client's."""
    method = call.method
    plain = _plain(call, answer)
    if plain is not None:
        return stamp.onto(plain)
    result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
    result["resultType"] = COMPLETE
    return stamp.into(result, cacheable=method in CACHEABLE)


def _countersigned(call: Call, answer: Raw, stamp: ServerSignature, sealer: Sealer) -> Result:
    """A modern upstream's answer as a modern client's: signed by the mesh, and what it asks sealed to the client."""
    method = call.method
    plain = _plain(call, answer)
    if plain is not None:
        return stamp.onto(plain)
    result = rewrite_answer(method, opened_result(method, answer)[1], call.mount.public)
    kind = result_type(result, call.context.downstream.capabilities)
    if kind == INPUT_REQUIRED and "requestState" in result:
        binding = binding_of(call.context, method, call.params)
        result["requestState"] = sealer.seal(dumps(result["requestState"]), binding)
    return stamp.into(result, cacheable=method in CACHEABLE and kind != INPUT_REQUIRED)


def _translated(call: Call, answer: Raw) -> Result:
    """A modern upstream's answer as a legacy client's. One that asks for input comes back as it is, opened, its type decoded."""
    method = call.method
    if (plain := _plain(call, answer)) is not None:
        encoded = plain_to_legacy(plain)
        if encoded is not None:
            return encoded
    result = opened_result(method, answer)[1]
    kind = result_type(result, call.context.downstream.capabilities)
    if kind == INPUT_REQUIRED and method in INPUT_METHODS:
        return {**result, "resultType": kind}
    return rewrite_answer(method, to_legacy(result), call.mount.public)


def _public(call: Call, answer: Raw) -> Result:
    """A legacy upstream's answer as a legacy client's: as it came, unless there are links in it."""
    method = call.method
    if _plain(call, answer) is not None:
        return answer
    alone, result = opened_result(method, answer)
    if call.record is not None:
        call.record.has_failed = opened(result.get("isError")) is True
    mapped = rewrite_answer(method, result, call.mount.public)
    return alone if mapped is result else mapped


def as_told(error: RpcError, call: Call) -> RpcError:
    """An upstream's error as its caller may hear it."""
    modern = call.context.downstream.era is Era.MODERN
    if error.code in (HEADER_MISMATCH, UNSUPPORTED_VERSION):
        # About our connection to the upstream, not about anything that the client did.
        return RpcError(INTERNAL_ERROR, f"the upstream refused the mesh's request: {error.message}")
    data = mapping(error.data)
    if data is not None and isinstance(uri := opened(data.get("uri")), str):
        error = RpcError(error.code, error.message, {**data, "uri": call.mount.public(uri)})
    if modern and error.code == RESOURCE_NOT_FOUND:
        return RpcError(INVALID_PARAMS, error.message, error.data)
    if modern and error.code == URL_ELICITATION_REQUIRED:
        return RpcError(INTERNAL_ERROR, error.message, error.data)
    return error


def asked_of_url(error: RpcError, context: RequestContext) -> Result:
    """What a -32042 (2025-11-25 client/elicitation) is in the modern era: its URLs as input requests.

    Raises:
        RpcError: `error` itself if it is another one; -32603 in its place if there is no URL or the caller cannot be shown one.
    """
    if error.code != URL_ELICITATION_REQUIRED:
        raise error
    asked = opened((mapping(error.data) or {}).get("elicitations"))
    able = mapping(context.downstream.capabilities.get("elicitation")) or {}
    questions = {
        f"url-{uuid.uuid4().hex}": {
            "method": "elicitation/create",
            "params": {key: value for key, value in item.items() if key != "elicitationId"},
        }
        for item in (asked if isinstance(asked, list) else ())
        if isinstance(item, dict)
    }
    if not questions or not isinstance(able.get("url"), Mapping):
        raise RpcError(INTERNAL_ERROR, error.message, error.data)
    return {"resultType": INPUT_REQUIRED, "inputRequests": questions}
