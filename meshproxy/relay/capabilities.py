"""Which of a client's capabilities go through the mesh, and what the mesh declares where many clients share a connection."""

from collections.abc import Mapping
from typing import Any, Final

from meshproxy.relay.downstream import Downstream
from meshproxy.wire.protocol import EXTENSION_TASKS, KNOWN_EXTENSIONS, Era

BRIDGED: Final[dict[str, Any]] = {
    "roots": {"listChanged": True},
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
}
"""What a connection that serves many callers declares: all that the mesh can carry to one that is able."""


CARRIED_EXTENSIONS: Final[dict[Era, frozenset[str]]] = {
    Era.LEGACY: KNOWN_EXTENSIONS - {EXTENSION_TASKS},
    Era.MODERN: KNOWN_EXTENSIONS,
}
"""The tasks extension needs results of a type that the legacy era does not have."""


def bridged(downstream: Downstream) -> dict[str, Any]:
    """A client's capabilities as far as the mesh can carry them; what it declared of each stays as it declared it."""
    return _carried(downstream.capabilities, CARRIED_EXTENSIONS[downstream.era])


def kept_of(declared: Mapping[str, Any]) -> dict[str, Any]:
    """What of a client's capabilities somebody will look at while its session lasts."""
    return _carried(declared, KNOWN_EXTENSIONS)


def may_be_asked(downstream: Downstream) -> bool:
    """Whether a client declared that it can answer any question."""
    return any(key in downstream.capabilities for key in BRIDGED)


def _carried(declared: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    carried = {key: declared[key] for key in BRIDGED if key in declared}
    extensions = declared.get("extensions")
    if extensions and isinstance(extensions, Mapping):
        passing = {key: value for key, value in extensions.items() if key in known}
        if passing:
            carried["extensions"] = passing
    return carried
