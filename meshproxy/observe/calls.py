"""`Calls`: the requests that have ended lately, in memory. Place: observe.

It is a listener of a `meshproxy.relay.recorder.Recorder`. Of arguments nothing is kept unless the config says so.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from meshproxy.observe.listening import Listen, Listening
from meshproxy.observe.record import Record
from meshproxy.wire.codec import JsonError, Raw, dumps, loads, mapping
from meshproxy.wire.scrubbing import scrubbed

__all__ = ["Calls"]

_MOST: Final = 4096
"""Characters of the arguments of one call."""
_LARGEST: Final = 64 * 1024
"""Bytes of arguments that are read for that; of larger ones nothing is kept but that there were some."""
_CUT: Final = "..."
_PING: Final = "ping"


class Calls:
    """The last requests, as many as `obey` says; pings are none of them, or a client that pings would soon be all that there is to see.

    `listen` is that of a recorder.

    Attributes:
        taken: how many there were so far.
        arguments: what is kept of their arguments: `none`, `keys` or `all`.
        scrub: takes secrets out of what is kept.
    """

    __slots__ = ("_kept", "_listening", "arguments", "scrub", "taken")

    def __init__(self, listen: Listen) -> None:
        self.taken = 0
        self.arguments = "none"
        self.scrub: Callable[[str], str] = str
        self._listening = Listening(listen, self.take)
        self._kept: deque[Record] = deque(maxlen=0)

    def obey(self, keep: int, arguments: str) -> None:
        """Keep so many from now on, the last ones of those that are there; what of their arguments was kept is kept no longer if it may not."""
        if keep != self._kept.maxlen:
            self._kept = deque(self._kept, maxlen=keep)
        self._listening.obey(is_wanted=keep > 0)
        if arguments != self.arguments:
            self.arguments = arguments
            for record in self._kept:
                record.arguments = ""

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        if record.method == _PING:
            return
        if self.arguments != "none":
            given = record.params.get("arguments")
            record.arguments = _spelled(given, self.scrub, keys_alone=self.arguments == "keys")
        self.taken += 1
        self._kept.append(record)

    def latest(self, most: int) -> list[Record]:
        """The last ones, so many at most, oldest first."""
        found = list(islice(reversed(self._kept), most))
        found.reverse()
        return found

    def after(self, number: int = 0) -> list[Record]:
        """Those that ended after the one of a number, oldest first."""
        found: list[Record] = []
        # From the last one on: whoever watches has seen all the others.
        for record in reversed(self._kept):
            if record.number <= number:
                break
            found.append(record)
        found.reverse()
        return found

    def __len__(self) -> int:
        return len(self._kept)


def _spelled(arguments: Any, scrub: Callable[[str], str], *, keys_alone: bool) -> str:
    """Arguments as JSON, as far as they are kept. They are cut last, since half of a secret is not known for one."""
    if arguments is None:
        return ""
    data = bytes(arguments) if isinstance(arguments, Raw) else dumps(arguments)
    if len(data) > _LARGEST:
        return _CUT
    try:
        value = loads(data)
    except JsonError:
        return ""
    text = dumps(scrubbed(list(mapping(value) or ()) if keys_alone else value, scrub)).decode()
    return text if len(text) <= _MOST else f"{text[:_MOST]}{_CUT}"
