"""`Pace`: when to list again an upstream that says that its listings changed. Pure: whoever asks tells the time.

The first word of a change is heeded at once, but for the moment in which others like it may come. Some upstreams say it without end, three times
a second or in answer to each listing; so each that comes soon after a listing waits twice as long as the one before, and longest
where a listing brings nothing new.
"""

from typing import Final

__all__ = ["Pace"]

GATHER: Final = 0.05
"""Seconds for which several `list_changed` of a calm upstream are gathered into one listing."""
BUSY: Final = 1.0
"""The most seconds between a `list_changed` and its listing while listings bring something new."""
IDLE_TALK: Final = 10.0
"""The same while they bring nothing."""
CALM: Final = 1.0
"""Seconds of silence, at least, after which an upstream is taken for calm again; twice its pause if that is longer."""


class Pace:
    """The listings of one upstream. All times are in seconds of one clock.

    Attributes:
        due: when to list because of what was said; None while nothing was since the last listing began.
    """

    __slots__ = ("_listed", "_pause", "due")

    def __init__(self) -> None:
        self.due: float | None = None
        self._pause = GATHER
        self._listed: float | None = None

    def announced(self, now: float) -> None:
        """The upstream says that a listing changed."""
        if self.due is not None:
            return
        if self._listed is None or now - self._listed > max(CALM, 2 * self._pause):
            self._pause = GATHER
        self.due = now + self._pause

    @property
    def is_idle_talk(self) -> bool:
        """Whether it has said long enough that something is new, and nothing was."""
        return self._pause >= IDLE_TALK

    def begin(self) -> None:
        """A listing begins: it has all that was said before."""
        self.due = None

    def ended(self, now: float, *, is_news: bool) -> None:
        """A listing ended that was made because of what was said, and something is new or nothing is."""
        self._listed = now
        self._pause = min(2 * self._pause, BUSY if is_news else IDLE_TALK)
        if self.due is not None:
            # What was said meanwhile may be about what this listing has.
            self.due = max(self.due, now + self._pause)
