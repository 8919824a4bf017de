"""`Ballot`: an edit of the config is in force at every worker, or at none. Place: cluster; pure.

Each worker follows the file for itself, and is ready for an edit when what is new runs beside what is old: then it asks, and waits. When all are ready, all are told to go on. When one refuses, those that
are ready are told why, and throw away what they have begun. A worker that was started meanwhile comes to the same: what is in force at the others is agreed to, and what was refused is refused.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Ballot", "Told"]


class Told(NamedTuple):
    """What a worker is to be told: `agreed` or `refused` of an edit, with its problems, or to `leave`, since it cannot have what the others have."""

    worker: int
    said: str
    digest: str
    problems: Any = None


class _Member:
    def __init__(self, held: str) -> None:
        self.held = held
        self.ready = ""


class Ballot:
    """The edits of one supervisor. An edit is known by the digest of what it was read from.

    Attributes:
        in_force: what all agreed to last.
    """

    def __init__(self, in_force: str) -> None:
        self.in_force = in_force
        self._members: dict[int, _Member] = {}
        self._refusal: tuple[str, Any] = ("", None)

    def holds(self, worker: int, digest: str) -> list[Told]:
        """At a worker this is in force: from the first moment, or because it changes nothing there."""
        member = self._members.setdefault(worker, _Member(digest))
        member.held, member.ready = digest, ""
        return list(self._decided(digest))

    def ready(self, worker: int, digest: str) -> list[Told]:
        """A worker could go on with an edit at once."""
        refused, problems = self._refusal
        if refused == digest:
            return [Told(worker, "refused", digest, problems)]
        self._members.setdefault(worker, _Member("")).ready = digest
        return list(self._decided(digest))

    def refuses(self, worker: int, digest: str, problems: Any) -> list[Told]:
        """A worker cannot have an edit."""
        member = self._members.setdefault(worker, _Member(""))
        member.ready = ""
        if digest == self.in_force:
            return [] if member.held == digest else [Told(worker, "leave", digest)]
        self._refusal = digest, problems
        found = [number for number, other in self._members.items() if other.ready == digest]
        for number in found:
            self._members[number].ready = ""
        return [Told(number, "refused", digest, problems) for number in found]

    def again(self) -> None:
        """Everybody reads the file again: what was refused may pass."""
        self._refusal = ("", None)

    def left(self, worker: int) -> list[Told]:
        """A worker is gone, and nobody waits for it any more."""
        self._members.pop(worker, None)
        waiting = sorted({member.ready for member in self._members.values() if member.ready})
        return [told for digest in waiting for told in self._decided(digest)]

    def _decided(self, digest: str) -> Iterator[Told]:
        members = self._members
        if digest != self.in_force and not all(digest in (one.ready, one.held) for one in members.values()):
            return
        self.in_force = digest
        for number, member in members.items():
            if member.ready == digest:
                member.held, member.ready = digest, ""
                yield Told(number, "agreed", digest)
