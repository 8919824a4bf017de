"""`Found`: one server that another program's file lists, in the words of this one. Place: operate; pure."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Found", "Source"]


@dataclass(frozen=True)
class Source:
    """Whose file it is that a server was found in, and what placeholders in it stand for.

    Attributes:
        client: the client's key in `clients`, such as `vscode`.
        title: what the client is called.
        file: where the file is, for notes.
        workspace: what the client puts in for its workspace folder.
    """

    client: str
    title: str
    file: str
    workspace: str
    starts_there: bool = False
    """Whether the client starts programs in that folder."""


@dataclass
class Found:
    """A server, as an entry of `upstreams`.

    Attributes:
        name: its name in the file that lists it.
        entry: its keys here; empty if there is no counterpart.
        notes: what could not be taken over as it is, and what the user has to do.
        missing: variables that have to be set before it can be served.
        secrets: plain secrets that were taken out of the entry, by the name of the reference that stands there now.
        skipped: why there is no counterpart, if there is none.
    """

    name: str
    source: Source
    entry: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    skipped: str | None = None
