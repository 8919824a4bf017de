"""What a link adds to the `_meta` of a request: the modern envelope, the log level, the progress token.

Source: 2026-07-28 basic/index, "_meta"; all revisions basic/utilities/progress.
"""

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.links.link import Call
from meshproxy.wire.codec import Raw, dumps, mapping, opened
from meshproxy.wire.mending import own_id
from meshproxy.wire.protocol import LATEST_LEGACY, META_CAPABILITIES, META_LOG_LEVEL, META_PROGRESS, Era, envelope


class RequestMeta:
    """Stamps the requests of one link. Who we are is encoded once and not with each request."""

    def __init__(self, era: Era, version: str, client: dict[str, Any], capabilities: dict[str, Any]) -> None:
        self._own: dict[str, Any] = {}
        if era is Era.MODERN:
            self._own = {key: Raw(dumps(value)) for key, value in envelope(version, client, capabilities).items()}

    def onto(self, params: dict[str, Any], call: Call | None, token: int) -> dict[str, Any]:
        """`params` with the members that belong to this connection; what was given is not changed.

        `token` is what progress is to be told under, if the call wants any.
        """
        own = self._own
        if call is None:
            if not own:
                return params
            added = own
        elif own:
            added = dict(own)
            capabilities, log_level = call.capabilities, call.log_level
            if capabilities is not None:
                added[META_CAPABILITIES] = capabilities
            if log_level is not None:
                added[META_LOG_LEVEL] = log_level
            if call.wants_progress:
                added[META_PROGRESS] = token
        elif call.wants_progress:
            added = {META_PROGRESS: token}
        else:
            return params
        given = mapping(params["_meta"]) if "_meta" in params else None
        return {**params, "_meta": {**given, **added} if given else added}


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
