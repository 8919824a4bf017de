"""Which era an upstream speaks: asked both ways at once where asking one after the other would cost time.

`server/discover` goes first, since a server of both eras is modern if it is asked so. Any error means "legacy" (2026-07-28
basic/versioning: the fallback must not be keyed to one code), and so may silence: after `HEAD_START` seconds `initialize` is sent
as well, and the first good answer decides. A server of both eras that starts slowly sees `server/discover` first and refuses the
handshake, which then says nothing; it is the pending probe that counts.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from meshproxy.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    AnswerLost,
    RpcError,
    UpstreamError,
    UpstreamUnavailable,
)
from meshproxy.links.faults import Faults
from meshproxy.links.introduction import introduced, is_introduction, understood
from meshproxy.wire.codec import JsonError, Raw, loads, mapping, opened
from meshproxy.wire.protocol import LATEST_MODERN, MODERN_VERSIONS, Era

HEAD_START: Final = 1.0
"""Seconds that a server has to answer `server/discover` before the handshake is tried beside it."""


class Opening(NamedTuple):
    """What a negotiation ended at: `server` is the decoded result of `initialize` or `server/discover`."""

    era: Era
    version: str
    server: dict[str, Any]


class RefusedError(UpstreamUnavailable):
    """There was an answer, and not one of MCP: what it refused may be asked in another way."""

    is_fault = False


class RequestRefusedError(RefusedError):
    """This one request was refused, for what is in it, who sends it, or the time being: that says nothing of the link, which others use."""


class NotNowError(RequestRefusedError):
    """Because the upstream is not able to (HTTP 501, 503)."""

    is_fault = True


class CallerRefusedError(RequestRefusedError):
    """Because of who sends it: that says nothing of the upstream either."""


class EraRefusedError(UpstreamUnavailable):
    """It is there, and does not speak the one era that was wanted of it."""


_NOT_SPOKEN: Final = frozenset({INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, UNSUPPORTED_VERSION})
"""The errors with which a server says that it does not know an era's opening (2026-07-28 basic/versioning). Others may be of the moment."""


class Peer(Protocol):
    """A connection that is not negotiated yet.

    Both raise `RpcError`, `AnswerLost` or `RefusedError` for a no, and another `UpstreamUnavailable` if there is nobody to ask.
    """

    async def discover(self, version: str) -> Raw:
        """Send `server/discover` in the envelope of `version`."""
        ...

    async def initialize(self) -> Raw:
        """Send `initialize`."""
        ...


_Way = Callable[[Peer, Faults], Coroutine[Any, Any, Opening]]


async def negotiate(faults: Faults, peer: Peer, remembered: Era | None = None, wanted: Era | None = None) -> Opening:
    """Find the era of `peer`: the remembered one if it still answers so, and whichever answers first otherwise.

    `wanted` is the one era that is asked for, whatever is remembered. There is no deadline in here: the caller has one for the whole of
    connecting. What the server says of itself is taken as it is meant, and `faults` says so.

    Raises:
        EraRefusedError: it is there, and does not speak the era that is wanted.
        CallerRefusedError: it is there, and refuses the client for whom it is asked.
        UpstreamUnavailable: it answers neither way, or cannot be reached.
    """
    if wanted is not None:
        return await _in_one_era(faults, peer, wanted)
    order: tuple[_Way, _Way] = (_legacy, _modern) if remembered is Era.LEGACY else (_modern, _legacy)
    refusals: dict[_Way, Exception] = {}
    attempts: dict[asyncio.Task[Opening], _Way] = {}
    waiting = list(order)
    try:
        while attempts or waiting:
            if waiting:
                way = waiting.pop(0)
                attempts[asyncio.create_task(way(peer, faults))] = way
            head_start = HEAD_START if waiting and remembered is None else None
            done, _ = await asyncio.wait(attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                way = attempts.pop(task)
                try:
                    return task.result()
                except (RpcError, AnswerLost, RefusedError) as refusal:
                    refusals[way] = refusal
    finally:
        for task in attempts:
            task.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
    if isinstance(refusals[_legacy], CallerRefusedError):
        raise refusals[_legacy]
    raise _refused(UpstreamUnavailable, faults.upstream, _telling(refusals[_legacy], refusals[_modern]))


async def _in_one_era(faults: Faults, peer: Peer, era: Era) -> Opening:
    try:
        return await (_legacy if era is Era.LEGACY else _modern)(peer, faults)
    except CallerRefusedError:
        raise
    except (RpcError, AnswerLost, RefusedError) as refusal:
        kind = EraRefusedError if isinstance(refusal, RpcError) and refusal.code in _NOT_SPOKEN else UpstreamUnavailable
        raise _refused(kind, faults.upstream, refusal) from None


async def _modern(peer: Peer, faults: Faults) -> Opening:
    try:
        answer = await peer.discover(LATEST_MODERN)
    except RpcError as refusal:
        version = _named_instead(refusal)
        if version is None:
            raise
        answer = await peer.discover(version)
    result = _decoded("server/discover", answer)
    offered = result.get("supportedVersions")
    if not isinstance(offered, list):
        raise RpcError(INVALID_REQUEST, "the answer to server/discover lists no versions")
    common = [version for version in MODERN_VERSIONS if version in offered]
    if not common:
        listed = ", ".join(str(version) for version in offered) or "none"
        raise RpcError(
            UNSUPPORTED_VERSION, f"it speaks the versions {listed}, and none of {', '.join(MODERN_VERSIONS)}"
        )
    return Opening(Era.MODERN, common[-1], introduced(result, faults))


async def _legacy(peer: Peer, faults: Faults) -> Opening:
    result = _decoded("initialize", await peer.initialize())
    if not is_introduction(result):
        raise RpcError(INVALID_REQUEST, "the result of initialize says nothing of the server")
    return Opening(Era.LEGACY, understood(result.get("protocolVersion"), faults), introduced(result, faults))


def _named_instead(refusal: RpcError) -> str | None:
    """The modern version that a server which refuses another offers, if we speak it (2026-07-28 basic/versioning)."""
    offered = opened((mapping(refusal.data) or {}).get("supported")) if refusal.code == UNSUPPORTED_VERSION else None
    common = [version for version in MODERN_VERSIONS if isinstance(offered, list) and version in offered]
    return common[-1] if common else None


def _decoded(method: str, result: Raw) -> dict[str, Any]:
    try:
        value = loads(result)
    except JsonError:
        value = None
    if not isinstance(value, dict):
        raise RpcError(INVALID_REQUEST, f"the result of {method} is no object")
    return value


def _telling(legacy: Exception, modern: Exception) -> Exception:
    """Why neither way led in: the refusal that says most."""
    if isinstance(legacy, UpstreamError):
        return legacy
    # A server that speaks only modern versions of its own says so in both answers, and better in the first.
    return modern if isinstance(modern, RpcError) and modern.code == UNSUPPORTED_VERSION else legacy


def _refused(kind: type[UpstreamUnavailable], upstream: str, refusal: Exception) -> UpstreamUnavailable:
    if isinstance(refusal, UpstreamError):
        return kind(upstream, refusal.reason, is_lasting=refusal.is_lasting, retry_after=refusal.retry_after)
    if isinstance(refusal, RpcError):
        reason = f"refused the handshake: {refusal.message} ({refusal.code})"
        return kind(upstream, reason, retry_after=refusal.retry_after)
    return kind(upstream, str(refusal))
