"""Listing an upstream: every kind, every page, into a `Catalog`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import structlog

from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import KINDS, Kind, KindSpec
from meshproxy.links.link import Link
from meshproxy.wire.codec import JsonError, loads
from meshproxy.wire.headers import find_invalid_annotation

log = structlog.get_logger(__name__)

MAX_PAGES: Final = 10_000
"""Pages after which a listing is given up, whatever its cursors say."""


class Listing(NamedTuple):
    """One kind as an upstream lists it: `ttl` is for how many milliseconds that may be kept, `private` whether by its caller alone."""

    definitions: tuple[dict[str, Any], ...]
    ttl: int
    private: bool


_NOTHING: Final = Listing((), 0, private=True)


async def list_catalog(link: Link, timeout: float | None, before: Catalog = EMPTY) -> Catalog:
    """Ask an upstream for everything that it says it has, all kinds at once, for `timeout` seconds each.

    One that cannot be listed costs the others nothing: it stays as it is in `before`, and `failed` says why.

    Raises:
        UpstreamError, RpcError: the connection ended meanwhile.
    """
    kinds = [spec.kind for spec in KINDS.values() if _is_promised(link, spec)]
    results = dict(zip(kinds, await asyncio.gather(*(_attempt(link, kind, timeout) for kind in kinds)), strict=True))
    found = {kind: result for kind, result in results.items() if isinstance(result, Listing)}
    errors = {kind: result for kind, result in results.items() if not isinstance(result, Listing)}
    if errors and not link.is_open:
        raise next(iter(errors.values()))
    instructions = link.server.get("instructions")
    return Catalog(
        definitions={kind: found[kind].definitions if kind in found else before[kind] for kind in kinds},
        capabilities=link.capabilities,
        instructions=instructions if isinstance(instructions, str) else None,
        ttl={kind: listing.ttl for kind, listing in found.items()},
        private=frozenset(kind for kind in Kind if kind not in found or found[kind].private),
        failed={
            kind: error.reason if isinstance(error, UpstreamError) else str(error) for kind, error in errors.items()
        },
    )


async def list_kind(link: Link, kind: Kind, timeout: float | None) -> Listing:
    """Ask an upstream for what it has of one kind: nothing, if its capabilities do not promise it.

    Raises:
        UpstreamError: the connection ended, `timeout` seconds passed, or the answer is no listing.
        RpcError: the upstream refused.
    """
    spec = KINDS[kind]
    if not _is_promised(link, spec):
        return _NOTHING
    try:
        async with asyncio.timeout(timeout):
            listing = await _pages(link, spec)
    except TimeoutError:
        raise UpstreamUnavailable(link.upstream, f"did not list its {spec.plural} within {timeout:g} s") from None
    return listing._replace(definitions=_usable(link, listing.definitions)) if kind is Kind.TOOL else listing


async def _attempt(link: Link, kind: Kind, timeout: float | None) -> Listing | UpstreamError | RpcError:
    try:
        return await list_kind(link, kind, timeout)
    except (UpstreamError, RpcError) as error:
        return error


def _is_promised(link: Link, spec: KindSpec) -> bool:
    return isinstance(link.capabilities.get(spec.capability), Mapping)


def _usable(link: Link, tools: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    """The tools without those that must be left out, for annotations that no header can be made from (2026-07-28 server/tools, SEP-2243)."""
    if not link.repeats_parameters:
        return tools
    kept = []
    for tool in tools:
        reason = find_invalid_annotation(tool.get("inputSchema"))
        if reason is None:
            kept.append(tool)
        else:
            log.warning("tool.left_out", upstream=link.upstream, tool=tool.get("name"), reason=reason)
    return tuple(kept)


async def _pages(link: Link, spec: KindSpec) -> Listing:
    definitions: list[dict[str, Any]] = []
    ttls: list[int] = []
    private = False
    params: dict[str, Any] = {}
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            page = loads(await link.request(spec.list_method, params))
        except RpcError as error:
            # Resource templates have no capability of their own, and many servers with resources do without.
            if error.code == METHOD_NOT_FOUND:
                break
            raise
        except JsonError:
            page = None
        items = page.get(spec.items) if isinstance(page, dict) else None
        if not isinstance(items, list):
            raise UpstreamUnavailable(link.upstream, f"its answer to {spec.list_method} holds no list of {spec.items}")
        definitions += [item for item in items if isinstance(item, dict)]
        ttl = page.get("ttlMs")
        ttls.append(max(ttl, 0) if type(ttl) is int else 0)
        private = private or page.get("cacheScope") != "public"
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            break
        if cursor in seen:
            raise UpstreamUnavailable(
                link.upstream, f"its listing of {spec.items} never ends: a page repeats the cursor {cursor!r}"
            )
        seen.add(cursor)
        params = {"cursor": cursor}
    else:
        raise UpstreamUnavailable(link.upstream, f"its listing of {spec.items} has more than {MAX_PAGES} pages")
    return Listing(tuple(definitions), min(ttls, default=0), private)
