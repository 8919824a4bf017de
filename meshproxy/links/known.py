"""`Known`: what has been found out about an upstream. Place: links, under `endpoint`."""

import time
from typing import Final

from meshproxy.wire.protocol import Era

__all__ = ["Known"]

_monotonic: Final = time.monotonic


class Known:
    """What whoever connects to an upstream next, or calls it, need not find out anew. Values alone, so that they can be written down.

    Attributes:
        era: what the last negotiation ended at, so that the next connection need not probe; None if that is not known.
        has_handshake: of a modern one, whether it takes `initialize` too, and so speaks both eras; None as long as nobody has tried.
        again: when that may be tried again, by the monotonic clock, where it came to nothing.
        talks: whether it says things to its callers that do not tell which of them they are for.
    """

    __slots__ = ("again", "era", "has_handshake", "talks")

    def __init__(self) -> None:
        self.era: Era | None = None
        self.has_handshake: bool | None = None
        self.again = 0.0
        self.talks = False

    @property
    def may_have_handshake(self) -> bool:
        """Whether a link of the legacy era can be opened, as far as is known."""
        has = self.has_handshake
        return _monotonic() >= self.again if has is None else has

    def doubt(self) -> None:
        """It could not be connected to: which eras it speaks is asked anew."""
        self.era = self.has_handshake = None
