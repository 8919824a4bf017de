"""Public names that clients or models do not take, and names that two upstreams claim. Place: doctor.

The specification allows 128 characters (server/tools, "Tool Names"); those whom the tools are for allow less: most providers of models 64 of `[A-Za-z0-9_-]`, to which the mesh
cuts what is longer; Gemini such as begin with a letter or an underscore; and Cursor 60 for the name of the server and that of the tool together.
"""

import re
from collections.abc import Iterable
from typing import Final

from meshproxy.catalog.route import Route
from meshproxy.catalog.snapshot import Snapshot
from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding, enumerated, place_of
from meshproxy.kinds import Kind
from meshproxy.naming.names import MAX_NAME

__all__ = ["LONGEST_WITH_SERVER", "unfit"]

LONGEST_WITH_SERVER: Final = 60
_SHORTER: Final = "give the upstream a shorter namespace, or the tools other names (tools: {rename: ...})"
_OTHER: Final = "give the tools other names (tools: {rename: ...}), and see that the separator is one of _ and -"


def unfit(config: MeshConfig, snapshot: Snapshot) -> Iterable[Finding]:
    """A finding for each upstream and rule that its tools break, and for each name that is claimed twice."""
    for spec in config.enabled:
        found = {name: route for name, route in snapshot.routes[Kind.TOOL].items() if route.mount.name == spec.name}
        cut = [name for name, route in found.items() if _length(route) > MAX_NAME]
        long = [name for name in found if len(config.name) + 1 + len(name) > LONGEST_WITH_SERVER]
        odd = [name for name in found if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None]
        begins = [name for name in found if re.match(r"[0-9-]", name)]
        before = f"with {config.name!r}, the name of the mesh, before them"
        rules = (
            (cut, f"are longer than {MAX_NAME} characters, so that they are cut and end in a hash", _SHORTER),
            (long, f"are longer than {LONGEST_WITH_SERVER} characters {before}, and Cursor leaves such out", f"{_SHORTER}, or the mesh a shorter name"),
            (odd, "have other characters than ASCII letters, digits, _ and -, which most models refuse", _OTHER),
            (begins, "begin with a digit or -, which Gemini refuses", "give the upstream a namespace that begins with a letter"),
        )  # fmt: skip
        for broken, how, remedy in rules:
            if broken:
                what = f"the names of {len(broken)} of {len(found)} tools {how}: {enumerated(broken)}"
                yield Finding("name", place_of(config, spec.name), what, remedy)
    for collision in snapshot.collisions:
        what, _, remedy = str(collision).partition(": ")
        yield Finding("collision", place_of(config, collision.loser), what, remedy)


def _length(route: Route) -> int:
    """Of the whole name, which is cut if it is too long."""
    mount = route.mount
    shown = mount.filter(Kind.TOOL).rename.get(route.origin, route.origin)
    return len(f"{mount.namespace}{mount.separator}{shown}" if mount.namespace else shown)
