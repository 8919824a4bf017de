"""`compared`: what a reload would do, from the fingerprints of two configs. Pure but for its types. Place: mesh.

`meshproxy plan` shows it. A reload itself goes by `meshproxy.mesh.plan`, which knows the configs; what both say of the same two is held to be the same by a test.
"""

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["compared"]

_LIVE: Final = ("reload", "access", "profiles", "observe", "cluster.key", "server.auth", "server.tls")
"""Sections that are in force at once."""
_STILL: Final = ("name", "state", "server", "cluster")
"""And those that are at the next start."""

Json = dict[str, Any]


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """What would be done with which upstream, which sections are in force when, and whether anything differs at all. JSON."""
    running = {name: one for name, one in old["upstreams"].items() if one["enabled"]}
    wanted = {name: one for name, one in new["upstreams"].items() if one["enabled"]}
    keep = [
        name for name, one in wanted.items() if name in running and running[name]["connection"] == one["connection"]
    ]
    change = [name for name in wanted if name in running and name not in keep]
    before, after = old["sections"], new["sections"]
    return {
        "keep": keep,
        "start": [name for name in wanted if name not in running],
        "change": change,
        "retire": [name for name in running if name not in wanted],
        "show": [name for name in keep if running[name]["view"] != wanted[name]["view"]],
        "limit": [name for name in keep if running[name]["live"] != wanted[name]["live"]],
        "live": [key for key in _LIVE if before[key] != after[key]],
        "restart_required": [key for key in _STILL if before[key] != after[key]],
        # The order of upstreams counts: it says who wins a name that two of them claim.
        "differs": before != after or list(old["upstreams"].items()) != list(new["upstreams"].items()),
    }
