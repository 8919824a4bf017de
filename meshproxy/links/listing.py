"""Listing an upstream: every kind, every page, into a `Catalog`."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.catalog.definitions import check_definition
from meshproxy.errors import METHOD_NOT_FOUND, RpcError, UpstreamError, UpstreamUnavailable
from meshproxy.kinds import KINDS, Kind, KindSpec
from meshproxy.limits import MAX_LISTED, MAX_PAGES
from meshproxy.links.duplex import excerpt
from meshproxy.links.link import Link
from meshproxy.links.page import Page, read_page
from meshproxy.links.trail import trail_in
from meshproxy.wire.headers import find_invalid_annotation

NAMED: Final = 5
"""Components that the log names for one fault of theirs."""
ASKED: Final = "it was asked, and has them"
LEFT_OUT: Final = "left out, since clients would refuse the whole listing for it"
BEYOND: Final = "left out, since it could not be listed again"
MENDED: Final = "that part is mended or left out, since clients would refuse the whole listing for it"
CUT_OFF: Final = "what has been listed until then is kept"


class Listing(NamedTuple):
    """One kind as an upstream lists it.

    `ttl` is for how many milliseconds that may be kept, `private` whether by its caller alone, and `trail` the meshes that it came through.
    """

    definitions: tuple[Mapping[str, Any], ...]
    ttl: int
    private: bool
    trail: frozenset[str] = frozenset()


_NOTHING: Final = Listing((), 0, private=True)


async def list_catalog(
    link: Link, timeout: float | None, before: Catalog = EMPTY, *, needs_any: bool = False
) -> Catalog:
    """Ask an upstream for everything that it says it has, all kinds at once, for `timeout` seconds each.

    One that says of none that it has any is asked for all: clients that do not look at capabilities would find what it has. A kind that cannot
    be listed costs the others nothing: it stays as it is in `before`, and `failed` says why.

    Raises:
        UpstreamError, RpcError: the connection ended meanwhile; or, if it `needs_any`, nothing of what there should be can be listed.
    """
    is_promised = _promises_any(link)
    kinds = [spec.kind for spec in KINDS.values() if _may_have(link, spec)]
    results = dict(zip(kinds, await asyncio.gather(*(_attempt(link, kind, timeout) for kind in kinds)), strict=True))
    found = {kind: result for kind, result in results.items() if isinstance(result, Listing)}
    errors = {kind: result for kind, result in results.items() if not isinstance(result, Listing)}
    if errors and not link.is_open:
        raise next(iter(errors.values()))
    if not is_promised:
        # What was not promised cannot be missed.
        errors = {}
        kinds = [kind for kind in kinds if kind in found and found[kind].definitions]
        if kinds:
            reason = f"its capabilities do not say that it has {', '.join(KINDS[kind].plural for kind in kinds)}"
            link.faults.say("upstream.mended", ASKED, reason=reason)
    if needs_any and errors and len(errors) == len(kinds):
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
        trail=frozenset().union(*(listing.trail for listing in found.values())) or trail_in(link.server),
    )


async def list_kind(link: Link, kind: Kind, timeout: float | None) -> Listing:
    """Ask an upstream for what it has of one kind: nothing, if its capabilities promise others and not this one.

    Raises:
        UpstreamError: the connection ended, `timeout` seconds passed, or the answer is no listing.
        RpcError: the upstream refused.
    """
    spec = KINDS[kind]
    if not _may_have(link, spec):
        return _NOTHING
    try:
        async with asyncio.timeout(timeout):
            return await _pages(link, spec)
    except TimeoutError:
        raise UpstreamUnavailable(link.upstream, f"did not list its {spec.plural} within {timeout:g} s") from None


async def _attempt(link: Link, kind: Kind, timeout: float | None) -> Listing | UpstreamError | RpcError:
    try:
        return await list_kind(link, kind, timeout)
    except (UpstreamError, RpcError) as error:
        return error


def _may_have(link: Link, spec: KindSpec) -> bool:
    return isinstance(link.capabilities.get(spec.capability), Mapping) or not _promises_any(link)


def _promises_any(link: Link) -> bool:
    return any(isinstance(link.capabilities.get(spec.capability), Mapping) for spec in KINDS.values())


async def _pages(link: Link, spec: KindSpec) -> Listing:
    """All pages as one listing. One that would never end is cut off, and what has been listed until then is kept."""
    found = _Found(link, spec)
    ttls: list[int] = []
    trail: frozenset[str] = frozenset()
    private = False
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        try:
            page = await _page(link, spec, {} if cursor is None else {"cursor": cursor})
        except RpcError as error:
            # Resource templates have no capability of their own, and many servers with resources do without.
            if error.code == METHOD_NOT_FOUND:
                break
            # Some servers say with an empty cursor that there is none.
            if cursor == "":
                found.cut_off("its last page names the empty cursor, and that is refused")
                break
            raise
        is_news = found.add(page)
        if found.is_full:
            found.cut_off(f"it has {MAX_LISTED} and more, and more are not read")
            break
        trail |= trail_in(page.rest)
        ttl = page.rest.get("ttlMs")
        ttls.append(max(ttl, 0) if type(ttl) is int else 0)
        private = private or page.rest.get("cacheScope") != "public"
        cursor = page.rest.get("nextCursor")
        if not isinstance(cursor, str):
            break
        if cursor in seen:
            found.cut_off(f"a page repeats the cursor {excerpt(cursor.encode('utf-8', 'replace'), 60)!r}")
            break
        if not is_news and page.items:
            found.cut_off("a page has nothing that was not listed before, and yet names another")
            break
        seen.add(cursor)
    else:
        found.cut_off(f"it has more than {MAX_PAGES} pages")
    found.say_faults()
    return Listing(tuple(found.definitions.values()), min(ttls, default=0), private, trail)


async def _page(link: Link, spec: KindSpec, params: dict[str, Any]) -> Page:
    page = read_page(await link.request(spec.list_method, params), spec)
    if page is None:
        raise UpstreamUnavailable(link.upstream, f"its answer to {spec.list_method} holds no list of {spec.items}")
    return page


class _Found:
    """What has been listed of one kind, as clients can take it, by name or URI; and what was wrong with it."""

    def __init__(self, link: Link, spec: KindSpec) -> None:
        self.definitions: dict[str, Mapping[str, Any]] = {}
        self._link = link
        self._spec = spec
        self._faults: dict[tuple[str, str, str], list[str]] = {}

    def add(self, page: Page) -> bool:
        """Take the items of a page, as far as there is room; says whether any of them is new."""
        known = len(self.definitions)
        for name, excess in page.refused:
            self._note("left_out", BEYOND, excess, name)
        for item in page.items:
            if self.is_full:
                break
            definition, faults = check_definition(self._spec.kind, item)
            if definition is None:
                self._fault("left_out", LEFT_OUT, faults[-1], item)
                continue
            if self._spec.kind is Kind.TOOL and self._link.repeats_parameters:
                # No header can be made from its annotations (2026-07-28 server/tools, SEP-2243).
                reason = find_invalid_annotation(definition.get("inputSchema"))
                if reason is not None:
                    self._fault("left_out", LEFT_OUT, reason, item)
                    continue
            for fault in faults:
                self._fault("mended", MENDED, fault, item)
            # What comes twice, as it does when a page comes again, counts as it came first.
            self.definitions.setdefault(definition[self._spec.key], definition)
        return len(self.definitions) > known

    @property
    def is_full(self) -> bool:
        """Whether there are as many as can be used."""
        return len(self.definitions) >= MAX_LISTED

    def cut_off(self, reason: str) -> None:
        """The listing goes on, and there is no use in reading more of it."""
        self._link.faults.say("upstream.listing_cut_off", CUT_OFF, kind=self._spec.plural, reason=reason)

    def say_faults(self) -> None:
        """Say what was wrong, each thing once, and of which components."""
        for (event, consequence, reason), names in self._faults.items():
            self._link.faults.say(
                f"{self._spec.kind}.{event}", consequence, names=names[:NAMED], count=len(names), reason=reason
            )

    def _fault(self, event: str, consequence: str, reason: str, item: Any) -> None:
        named = item.get(self._spec.key) if isinstance(item, Mapping) else None
        self._note(event, consequence, reason, named if isinstance(named, str) else "")

    def _note(self, event: str, consequence: str, reason: str, named: str) -> None:
        name = excerpt(named.encode("utf-8", "replace"), 60) or "?"
        self._faults.setdefault((event, consequence, reason), []).append(name)
