"""The rows of the matrix: `Interaction`, and the reasons for which the protocol rules a cell out."""

import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.fidelity.bench import CELLS, CELLS_OF_BOTH, Cell, Session
from tests.fidelity.peers import Answer, Json, Peer

Run = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Impossible:
    """Why the cells that fit have no such interaction; what is not given fits any. `upstream` is the era that it is spoken to in."""

    because: str
    downstream: str | None = None
    upstream: str | None = None
    transport: str | None = None
    wire: str | None = None
    session: str | None = None

    def fits(self, cell: Cell) -> bool:
        mine = (self.downstream, self.upstream, self.transport, self.wire, self.session)
        its = (cell.downstream, cell.spoken, cell.transport, cell.wire, cell.session)
        return all(wanted in (None, found) for wanted, found in zip(mine, its, strict=True))


@dataclass(frozen=True, eq=False)
class Interaction:
    """A row: what a client does and what it then observes.

    `run` is given a peer, does its work, leaves the server as it was, and returns everything that must be the same directly and through the
    mesh. What is of the mesh alone it asserts itself.

    Attributes:
        capabilities: what the client declares, if it is not `ABLE`.
        session: how the upstream is shared; it matters where a listing changes by a call to one process of several.
        server: which of `tests.servers` it is done with.
    """

    group: str
    name: str
    run: Run
    impossible: tuple[Impossible, ...] = ()
    capabilities: Json | None = None
    session: Session = "auto"
    server: str = "basic"

    def reason(self, cell: Cell) -> str | None:
        """Why a cell has no such interaction; None if it has."""
        return next((reason.because for reason in self.impossible if reason.fits(cell)), None)

    @property
    def ways(self) -> tuple[Cell, ...]:
        """The cells of its table."""
        return CELLS if self.server == "basic" else CELLS_OF_BOTH

    @property
    def cells(self) -> list[Cell]:
        """The cells that have it."""
        return [cell for cell in self.ways if self.reason(cell) is None]


ROWS: defaultdict[str, list[Interaction]] = defaultdict(list)
"""The rows by the module that defines them."""


def rows(group: str, **common: Any) -> Callable[..., Callable[[Run], Run]]:
    """A decorator that makes a row of a function, in a group: `@row(name, *impossible, **settings)`."""

    def row(name: str, *impossible: Impossible, **settings: Any) -> Callable[[Run], Run]:
        def add(run: Run) -> Run:
            ROWS[run.__module__].append(Interaction(group, name, run, impossible, **common, **settings))
            return run

        return add

    return row


@contextlib.contextmanager
def answering(peer: Peer, method: str, answer: Answer) -> Iterator[None]:
    """Answer a question in another way for a while."""
    before = peer.answers[method]
    peer.answers[method] = answer
    try:
        yield
    finally:
        peer.answers[method] = before
