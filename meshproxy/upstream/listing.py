"""Listing an upstream: every kind, every page, into a `Catalog`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import structlog

from meshproxy.catalog.catalog import Catalog
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamUnavailable
from meshproxy.kinds import KINDS, Kind, KindSpec
from meshproxy.upstream.link import Link
from meshproxy.wire.codec import JsonError, loads
from meshproxy.wire.headers import find_invalid_annotation

log = structlog.get_logger(__name__)

MAX_PAGES: Final = 10_000
"""Pages after which a listing is given up, whatever its cursors say."""


async def list_catalog(link: Link, timeout: float | None) -> Catalog:
    """Ask an upstream for everything that it says it has, all kinds at once.

    Raises:
        UpstreamError: the connection ended, or `timeout` seconds passed.
        RpcError: the upstream refused a listing that its capabilities promise.
    """
    kinds = [spec for spec in KINDS.values() if isinstance(link.capabilities.get(spec.capability), Mapping)]
    try:
        async with asyncio.timeout(timeout):
            pages = await asyncio.gather(*(_list(link, spec) for spec in kinds))
    except TimeoutError:
        raise UpstreamUnavailable(link.upstream, f"did not list what it offers within {timeout:g} s") from None
    instructions = link.server.get("instructions")
    found = dict(zip((spec.kind for spec in kinds), pages, strict=True))
    return Catalog(
        definitions={
            kind: _usable(link, definitions) if kind is Kind.TOOL else definitions
            for kind, (definitions, _, _) in found.items()
        },
        capabilities=link.capabilities,
        instructions=instructions if isinstance(instructions, str) else None,
        ttl={kind: ttl for kind, (_, ttl, _) in found.items()},
        private=frozenset(kind for kind in Kind if kind not in found or found[kind][2]),
    )


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


async def _list(link: Link, spec: KindSpec) -> tuple[tuple[dict[str, Any], ...], int, bool]:
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
    return tuple(definitions), min(ttls, default=0), private
