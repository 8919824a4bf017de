"""`Lender`: whom a guard asks whose limits hold over several processes. Place: guard, under `guard`.

What a limit allows in all is lent to the processes: slots for calls in flight, tokens for calls that begin. What a guard has been lent it uses without asking, so that a plain call waits for nobody; its lender sees to it
in the background that there is some. See `meshproxy.guard.loans`.
"""

from typing import Protocol

from meshproxy.guard.bucket import Bucket
from meshproxy.guard.slots import Slots

__all__ = ["Borrower", "Lender", "Lending"]


class Borrower(Protocol):
    """A guard, as its lender sees it."""

    def lent(self) -> None:
        """How many slots it has been lent has changed: those who wait may go."""


class Lender(Protocol):
    """What one guard has been lent.

    Attributes:
        slots: how many calls may be in flight; meaningless where that has no limit.
    """

    slots: int

    def used(self) -> None:
        """A call comes."""

    def lacks(self) -> None:
        """A call waits for a slot."""

    def may_lend(self) -> bool:
        """Whether there may be more slots for it than it has."""

    async def more(self) -> None:
        """Wait until it was asked once for more: a twentieth of a second or so at most. Raises nothing."""

    def obey(self, concurrency: int | None, bucket: Bucket | None, times: int, seconds: float) -> None:
        """The limits are these from now on: calls in flight, and calls in seconds."""


class Lending(Protocol):
    """Lends to guards."""

    def lender(self, limits: str, borrower: Borrower, slots: Slots) -> Lender:
        """For a guard whose limits go by this name."""
