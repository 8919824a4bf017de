"""`Listening`: whether somebody is told of the requests that end. Place: observe, under `calls`, `audit` and `access_log`."""

from collections.abc import Callable
from typing import TypeAlias

from meshproxy.observe.record import Listener

__all__ = ["Listen", "Listening"]

Listen: TypeAlias = "Callable[[Listener], Callable[[], None]]"
"""That of a `meshproxy.relay.recorder.Recorder`: tells a listener from now on; what it returns takes that back."""


class Listening:
    """Has `take` told by whose `listen` it is, while that is wanted."""

    def __init__(self, listen: Listen, take: Listener) -> None:
        self._listen = listen
        self._take = take
        self._forget: Callable[[], None] | None = None

    def obey(self, *, is_wanted: bool) -> None:
        """From now on listen, or do not."""
        if is_wanted and self._forget is None:
            self._forget = self._listen(self._take)
        elif not is_wanted and self._forget is not None:
            self._forget()
            self._forget = None
