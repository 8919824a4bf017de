"""`Recollection`: what is known of one upstream beyond the run of a mesh. Place: upstream; `meshproxy.mesh.memory` brings it over a restart."""

import structlog

from meshproxy.catalog.catalog import Catalog
from meshproxy.links.known import Known
from meshproxy.supervision.supervisor import Supervisor

__all__ = ["Recollection"]

log = structlog.get_logger(__name__)


class Recollection:
    """What a supervisor keeps, and what was found out.

    Attributes:
        known: what was found out about the upstream.
    """

    def __init__(self, supervisor: Supervisor, known: Known) -> None:
        self.known = known
        self._supervisor = supervisor

    @property
    def news(self) -> Catalog | None:
        """What it offers, if that was listed in this run, and nothing is missing from it."""
        catalog = self._supervisor.catalog
        return None if catalog is None or catalog.failed or self._supervisor.is_remembered else catalog

    def on_talk(self) -> None:
        """It was found out that it talks to its callers."""
        consequence = "callers are kept apart, unless 'session: shared'"
        log.info("upstream.talks", upstream=self._supervisor.name, consequence=consequence)
        # Told now, since a mesh that is killed has no end at which it could be written down.
        self._supervisor.condition.changed()

    def recall(self, catalog: Catalog, *, has_handshake: bool | None, talks: bool) -> None:
        """Before its start: what it offered, and what was found out about it (see `Known`), in an earlier run of the mesh."""
        self._supervisor.recall(catalog)
        self.known.has_handshake, self.known.talks = has_handshake, talks
