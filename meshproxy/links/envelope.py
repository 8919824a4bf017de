"""What a link adds to the `_meta` of a request: the modern envelope, the log level, the progress token.

Source: 2026-07-28 basic/index, "_meta"; all revisions basic/utilities/progress.
"""

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.links.call import Call
from meshproxy.wire.codec import RAW, dumps, mapping, opened
from meshproxy.wire.mending import own_id
from meshproxy.wire.protocol import (
    HOP_META_REQUEST,
    LATEST_LEGACY,
    META_CAPABILITIES,
    META_CLIENT,
    META_LOG_LEVEL,
    META_PROGRESS,
    META_VERSION,
    Era,
    envelope,
)

_CAPABILITIES: Final = dumps(META_CAPABILITIES)
_LOG_LEVEL: Final = dumps(META_LOG_LEVEL)
_PROGRESS: Final = dumps(META_PROGRESS)


class RequestMeta:
    """Stamps the requests of one link. Who we are is encoded once and not with each request."""

    def __init__(self, era: Era, version: str, client: dict[str, Any], capabilities: dict[str, Any]) -> None:
        self._own = dumps({META_VERSION: version, META_CLIENT: client})[1:-1] if era is Era.MODERN else b""
        self._capabilities = dumps(capabilities)

    def onto(self, params: dict[str, Any], call: Call | None, token: int) -> dict[str, Any]:
        """`params` with the members that belong to this connection; what was given is not changed.

        `token` is what progress is to be told under, if the call wants any.
        """
        added = self._own
        if added:
            capabilities = self._capabilities
            log_level = None
            if call is not None:
                able = call.capabilities
                if able is not None:
                    capabilities = dumps(able)
                log_level = call.log_level
            added = b"%b,%b:%b" % (added, _CAPABILITIES, capabilities)
            if log_level is not None:
                added = b"%b,%b:%b" % (added, _LOG_LEVEL, dumps(log_level))
        if call is not None and call.wants_progress:
            progress = b"%b:%d" % (_PROGRESS, token)
            added = b"%b,%b" % (added, progress) if added else progress
        if not added:
            return params
        given = mapping(params["_meta"]) if "_meta" in params else None
        if given:
            members = [b"%b:%b" % (dumps(key), dumps(given[key])) for key in given if key not in HOP_META_REQUEST]
            added = b",".join([*members, added])
        return {**params, "_meta": RAW(b"{%b}" % added)}


def whose_progress(calls: Mapping[int, Call | None], params: dict[str, Any]) -> Call | None:
    """The call that a `notifications/progress` belongs to, by the token that `RequestMeta.onto` gave it; None if it asked for none."""
    token = own_id(opened(params.get(META_PROGRESS)))
    call = calls.get(token) if token is not None else None
    return call if call is not None and call.wants_progress else None


def greeting(client: dict[str, Any], capabilities: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `initialize` (2025-11-25 basic/lifecycle)."""
    return {"protocolVersion": LATEST_LEGACY, "capabilities": capabilities, "clientInfo": client}


def probe(version: str, client: dict[str, Any], capabilities: dict[str, Any]) -> dict[str, Any]:
    """The parameters of `server/discover` (2026-07-28 server/discover)."""
    return {"_meta": envelope(version, client, capabilities)}


UNCANCELLABLE: Final = frozenset({"initialize", "server/discover"})
"""Requests that no `notifications/cancelled` may name (basic/utilities/cancellation)."""
