"""`Listings`: what one upstream offers, read over its links again and again. Place: supervision, above the links and under `supervisor`."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.errors import RpcError, UpstreamError
from meshproxy.kinds import KINDS
from meshproxy.links.link import Link
from meshproxy.links.listing import list_catalog
from meshproxy.links.trail import Shown, check_growth, check_trail, trail_in
from meshproxy.supervision.agenda import Agenda
from meshproxy.supervision.health import lists

__all__ = ["Listings"]

log = structlog.get_logger(__name__)

IDLE_TALK: Final = "it says list_changed again and again, and nothing has"


class Listings:
    """What one upstream offers.

    Args:
        upstream: its configured name.
        timeout: seconds for each kind; None for any time.
        ttl: see `Agenda`.
        scrub: takes the secrets out of a text.
        own: the name of this mesh in a trail (`meshproxy.links.trail`).

    Attributes:
        catalog: what it offered when it was listed last; None before.
        is_remembered: whether that was in an earlier run of the mesh.
        agenda: when to list it again.
    """

    def __init__(
        self,
        upstream: str,
        timeout: float | None,
        ttl: float | None,
        scrub: Callable[[str], str],
        own: Callable[[], str] = str,
    ) -> None:
        self.catalog: Catalog | None = None
        self.is_remembered = False
        self._shown: Shown | None = None
        self.agenda = Agenda(ttl, time.monotonic())
        self._upstream = upstream
        self._timeout = timeout
        self._scrub = scrub
        self._own = own
        self._over: Link | None = None

    def shown_as(self, shown: Shown) -> None:
        """From now on the mesh calls so what it offers."""
        self._shown = shown

    def recall(self, catalog: Catalog) -> None:
        """This is what it offered in an earlier run. It stands until it is listed."""
        self.catalog = catalog
        self.is_remembered = True

    async def read(self, link: Link) -> None:
        """List it over a new link. Raises `UpstreamError` or `RpcError` if nothing can be listed, or may be, or the link ends."""
        check_trail(self._upstream, self._own(), trail_in(link.server))
        self.agenda.begin(time.monotonic())
        self._take(await list_catalog(link, self._timeout, self.catalog or EMPTY, needs_any=True))

    async def read_again(self, control: Link) -> bool:
        """List it over the control link, or the one over which it said last that something changed. Says whether there is any news.

        Raises:
            UpstreamUnavailable: it lists this very mesh by now.
        """
        over, self._over = self._over, None
        link = over if over is not None and over.is_open else control
        is_asked = self.agenda.pace.due is not None
        self.agenda.begin(time.monotonic())
        before = self.catalog
        try:
            catalog = await list_catalog(link, self._timeout, before or EMPTY)
        except (UpstreamError, RpcError) as error:
            log.warning("upstream.listing_failed", upstream=self._upstream, reason=self._scrub(str(error)))
            return False
        is_news = catalog != before
        if is_asked:
            self._note_talk(is_news=is_news)
        self._take(catalog)
        return is_news

    def announced(self, over: Link | None) -> None:
        """A listing changed, says the upstream, over a link other than the control link if it is given."""
        self._over = over
        self.agenda.pace.announced(time.monotonic())

    def due(self, link: Link) -> float:
        """When to list it again over the control link, or to see whether it can be: by the monotonic clock."""
        listing, check = self.agenda.listing_due(announces=_announces(link)), self.agenda.check_due()
        if listing is None:
            return check
        return listing if self.is_hopeless else min(listing, check)

    def is_due(self, link: Link) -> bool:
        """Whether that is so now, and it is to be listed again."""
        listing = self.agenda.listing_due(announces=_announces(link))
        return listing is not None and listing <= time.monotonic()

    async def check(self, link: Link) -> bool:
        """If it is time, see whether it can be listed. False if it cannot."""
        if self.is_hopeless or self.agenda.check_due() > time.monotonic():
            return True
        is_well = await lists(link)
        self.agenda.checked(time.monotonic())
        return is_well

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing of it can be listed any more."""
        catalog = self.catalog
        return catalog is not None and bool(catalog.failed) and catalog.failed.keys() == catalog.definitions.keys()

    @property
    def missing(self) -> str:
        """What could not be listed, and why, in one line; "" for nothing."""
        failed = self.catalog.failed if self.catalog is not None else {}
        return "; ".join(f"{KINDS[kind].plural} could not be listed: {failed[kind]}" for kind in failed)

    def status(self) -> dict[str, int]:
        """How many components there are of each kind, by the plural of the kind; nothing before it is known. With `remembered`, if they are."""
        counts = self.catalog.counts() if self.catalog is not None else {}
        found = {KINDS[kind].plural: count for kind, count in counts.items()}
        return {**found, "remembered": True} if self.is_remembered else found

    def counts(self) -> dict[str, int]:
        """The same, for those of which there are any."""
        return {plural: count for plural, count in self.status().items() if count}

    def _take(self, catalog: Catalog) -> None:
        """From now on this is what it offers. What is missing from it is said once, and tried again."""
        check_trail(self._upstream, self._own(), catalog.trail)
        if self._shown is not None and self.catalog is not None:
            check_growth(self._upstream, self.catalog, catalog, self._shown)
        known = self.catalog.failed if self.catalog is not None else {}
        self.catalog = catalog
        self.is_remembered = False
        self.agenda.ended(time.monotonic(), is_whole=not catalog.failed)
        if catalog.failed.keys() - known.keys():
            kinds = [KINDS[kind].plural for kind in catalog.failed]
            log.warning(
                "upstream.listing_failed", upstream=self._upstream, kinds=kinds, reason=self._scrub(self.missing)
            )

    def _note_talk(self, *, is_news: bool) -> None:
        pace = self.agenda.pace
        was_idle_talk = pace.is_idle_talk
        pace.ended(time.monotonic(), is_news=is_news)
        if pace.is_idle_talk and not was_idle_talk:
            log.warning("upstream.listed_seldom", upstream=self._upstream, reason=IDLE_TALK)


def _announces(link: Link) -> bool:
    """Whether an upstream promises to say when any of its listings changes."""
    families = [link.capabilities.get(spec.capability) for spec in KINDS.values()]
    return all(family.get("listChanged") is True for family in families if isinstance(family, Mapping))
