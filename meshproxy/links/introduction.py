"""What a server says of itself when it is connected to, in the form that the protocol has for it. Place: links, below `negotiation`.

A capability is an object, and what it has in it are promises. Many servers write an empty one as null, as `[]` (PHP has one spelling for
what is empty), or as true, and some say nothing at all of what they have.

Source: 2025-11-25 schema.ts, "InitializeResult", "ServerCapabilities"; 2026-07-28, "DiscoverResult".
"""

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.links.faults import AS_MEANT, Faults
from meshproxy.wire.protocol import LEGACY_VERSIONS

__all__ = ["introduced", "is_introduction", "understood"]

FOUND_OUT: Final = "what it has is found out by asking for it"


def is_introduction(result: Mapping[str, Any]) -> bool:
    """Whether the result of `initialize` is one at all, and not what a server answers to everything."""
    return any(key in result for key in ("protocolVersion", "capabilities", "serverInfo"))


def introduced(result: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """The result of `initialize` or `server/discover`, with capabilities that are an object of objects."""
    said = result.get("capabilities")
    named: Any = said
    if isinstance(said, list):
        named = dict.fromkeys((name for name in said if isinstance(name, str)), True) or None
    if not isinstance(named, Mapping):
        faults.say("upstream.mended", FOUND_OUT, reason="it does not say its capabilities")
        return {**result, "capabilities": {}}
    kept: dict[str, Any] = {}
    meant: list[str] = []
    for name, settings in named.items():
        if isinstance(settings, Mapping):
            kept[name] = settings
        elif settings is not None and settings is not False:
            kept[name] = {}
            meant.append(name)
    if meant:
        faults.say("upstream.mended", AS_MEANT, reason="its capabilities are no objects", capabilities=meant[:10])
    return result if kept == said else {**result, "capabilities": kept}


def understood(version: Any, faults: Faults) -> str:
    """The legacy revision that is spoken with a server that answered `initialize` with `version`: that, or the one before it.

    The specification lets a client leave then (2025-11-25 basic/lifecycle, "Version Negotiation"). But servers that name a draft, a version of
    their own or none understand what is asked of them, since it has been the same in every revision.
    """
    if version in LEGACY_VERSIONS:
        return str(version)
    before = [
        known for known in LEGACY_VERSIONS if isinstance(version, str) and known < version and version[:2] == "20"
    ]
    spoken = before[-1] if before else LEGACY_VERSIONS[0]
    faults.say(
        "upstream.mended", f"{spoken} is spoken with it", reason=f"it names the version {version!r:.40}, which is none"
    )
    return spoken
