"""Who holds the places of legacy sessions, and which session gives way when all are taken. Place: serving, pure.

`server.max_sessions` is for all clients together. Where nobody says who he is, clients are told from each other by their addresses, and many may be
behind one, so none is refused while there is room. When there is none, it is the abandoned sessions that go, and then those of whoever holds the most places.
"""

from collections.abc import Iterable, Mapping, Sized
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, Protocol, TypeVar

from meshproxy.relay.principal import Principal

__all__ = ["ABANDONED", "SUPERSEDED", "gives_way", "holder_of"]

ABANDONED: Final = 10.0
"""Seconds after which a session that was opened and never used may give way."""
SUPERSEDED: Final = 120.0
"""Seconds of idleness after which a session may give way to others if its client has opened another one since."""


class Held(Protocol):
    """A session, as far as it matters who gives way; see `meshproxy.serving.session.Session`."""

    holder: str
    client: dict[str, Any]
    is_new: bool
    touched: float

    @property
    def idle(self) -> bool: ...

    @property
    def running(self) -> Sized: ...


S = TypeVar("S", bound=Held)


def holder_of(principal: Principal, address: str) -> str:
    """Whose place a session has: that of who opened it, or, if nobody knows who, of the address from where.

    Of IPv6 it is the network of 64 bits, of which one machine has every address.
    """
    if principal.is_known:
        return principal.identity
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))


def gives_way(sessions: Iterable[S], held: Mapping[str, int], holder: str, now: float) -> S | None:
    """The session that is closed for a new one of `holder`; None if each of them has a better right to its place.

    First a session that was never used; then one that is idle and whose client has opened another one since; then, for a holder who has fewer
    places, the one of whoever has the most that is unused for longest. A session with a request under way never gives way.

    Args:
        sessions: in the order in which they were opened.
        held: how many of them each holder has.
        holder: who wants another one.
        now: as `touched` of the sessions counts, in seconds.
    """
    sessions = list(sessions)
    newest = {_client(session): session for session in sessions}
    most = max(held.values(), default=0)
    found: S | None = None
    best = (3, now)
    for session in sessions:
        quiet = now - session.touched
        if session.is_new and session.idle and quiet >= ABANDONED:
            rank = 0
        elif session.idle and quiet >= SUPERSEDED and newest[_client(session)] is not session:
            rank = 1
        elif (
            not len(session.running)
            and quiet >= ABANDONED
            and held.get(session.holder, 0) == most
            and most > held.get(holder, 0) + 1
        ):
            rank = 2
        else:
            continue
        if (rank, session.touched) < best:
            found, best = session, (rank, session.touched)
    return found


def _client(session: Held) -> tuple[object, ...]:
    return (session.holder, session.client.get("name"), session.client.get("version"))
