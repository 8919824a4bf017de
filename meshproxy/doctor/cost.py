"""What the tools cost a model that is shown them: at the address of the mesh, or of each profile where there are some. Place: doctor."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from meshproxy.access.views import Views
from meshproxy.api.views import tokens
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding
from meshproxy.kinds import Kind
from meshproxy.relay.principal import LOCAL, Visitor

__all__ = ["Cost", "costs", "dear"]

MUCH: Final = 25_000
"""Tokens: an eighth of a context of 200,000, before anything is asked."""
MANY: Final = 128
"""Tools that OpenAI takes in one request."""


class Cost(NamedTuple):
    """Tools, and about how many tokens they are."""

    tools: int = 0
    tokens: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.tools + other.tools, self.tokens + other.tokens)


def costs(config: MeshConfig, snapshot: Snapshot, profile: str = "") -> dict[str, Cost]:
    """By upstream, what its tools cost at the address of a profile, or of the mesh. An estimate, as the page shows it."""
    views = Views()
    views.take(config)
    found: dict[str, Cost] = defaultdict(Cost)
    for route in views.look(Visitor(LOCAL.principal, profile), snapshot).routes[Kind.TOOL].values():
        if route.component is not None:
            found[route.mount.name] = found[route.mount.name].plus(Cost(1, tokens(route.component.listed())))
    return dict(found)


def dear(config: MeshConfig, snapshot: Snapshot) -> Iterable[Finding]:
    """A finding for each address at which a model would be shown too many tools, or have little room for anything else."""
    for profile in config.profiles or ("",):
        by_upstream = costs(config, snapshot, profile)
        place = f"{config.source.path}: profiles.{profile}" if profile else str(config.source.path)
        yield from _dear(place, by_upstream)


def _dear(place: str, by_upstream: Mapping[str, Cost]) -> Iterable[Finding]:
    whole = Cost()
    for cost in by_upstream.values():
        whole = whole.plus(cost)
    dearest = max(by_upstream, key=lambda name: by_upstream[name].tokens, default="")
    remedy = f"leave out what is not used (tools: {{exclude: ...}}), or give each use a profile of its own; {dearest} has the most"
    if whole.tokens > MUCH:
        yield Finding(
            "cost", place, f"{whole.tools} tools take about {whole.tokens} tokens of each conversation", remedy
        )
    if whole.tools > MANY:
        yield Finding("cost", place, f"{whole.tools} tools are more than the {MANY} that OpenAI takes", remedy)
