"""`usage`: what the commands of this process cost the machine, with all that they have started. Place: links, above `kin` and `warden`.

For a status page, and nothing on the way of a call: it reads the whole table of processes, which takes a few milliseconds.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from meshproxy.links.kin import Member, processes
from meshproxy.links.warden import warden

__all__ = ["Usage", "usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What one command costs.

    Attributes:
        processes: how many run: itself, and what it has started.
        memory: bytes that they have in memory; what they share is counted for each.
        cpu: seconds of CPU that those which run have used.
    """

    processes: int = 0
    memory: int = 0
    cpu: float = 0.0


def usage() -> dict[int, Usage]:
    """By the process id of each command that runs; nothing where the system does not tell."""
    table = processes()
    found: dict[int, list[Member]] = {pid: [] for pid in warden.groups if pid in table}
    for member in table.values():
        command = _command_of(member, table, found)
        if command is not None:
            found[command].append(member)
    page, ticks = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    return {
        pid: Usage(len(members), page * sum(m.pages for m in members), sum(m.ticks for m in members) / ticks)
        for pid, members in found.items()
    }


def _command_of(member: Member, table: Mapping[int, Member], commands: Mapping[int, object]) -> int | None:
    """The command whose group or session a process is in, or that it descends from."""
    seen = set()
    at: Member | None = member
    while at is not None and at.pid not in seen:
        seen.add(at.pid)
        for pid in (at.pid, at.group, at.session):
            if pid in commands:
                return pid
        at = table.get(at.parent)
    return None
