"""`Rules`: what a user has set for the calls of one upstream. Pure. Place: guard, under everything else in it."""

from typing import NamedTuple

from meshproxy.config.units import Rate
from meshproxy.guard.lender import Lending
from meshproxy.limits import MAX_MESSAGE

__all__ = ["Rules"]


class Rules(NamedTuple):
    """The keys `limits`, `breaker` and `retry` of an upstream. Without any, nothing is refused, and a read is repeated once.

    Attributes:
        concurrency: calls in flight at one time; None for any number.
        queue: calls that wait for one of these to end.
        queue_wait: seconds that each of them waits at most.
        rate: how many calls may begin in how many seconds; None for any number.
        result: bytes of the answer to a call.
        failures: calls in a row that fail before the upstream is left in peace; None for never.
        pause: seconds that it is left in peace for.
        reads: how often what only reads is repeated if its answer is lost.
        idempotent_tools: the same of tools that say that they may be repeated.
        lending: lends what the limits allow where they hold over several processes; None where they hold for this one.
        limits: what they are called there.
    """

    concurrency: int | None = None
    queue: int = 256
    queue_wait: float = 30.0
    rate: Rate | None = None
    result: int = MAX_MESSAGE
    failures: int | None = None
    pause: float = 30.0
    reads: int = 1
    idempotent_tools: int = 0
    lending: Lending | None = None
    limits: str = ""
