"""`Feed`: one event stream for whoever watches, of what changes. Place: api.

It looks a few times a second, and only while somebody reads; nothing is made for it where calls are carried. What there is to tell is encoded once for all readers.
A reader that does not keep up misses frames, is told that it did (`missed`), and then asks anew for what it shows; nothing waits for it. Events:

- `status`: the mesh in a word, as `/api/status` has it, without the upstreams. `upstream`: one of them, whole; `gone`: its name, when it is in the config no more.
- `catalog`: what is offered has changed. `edit`: one, as `/api/edits` has it.
- `calls`: those that have ended, oldest first, `MOST` at most; `left_out` says how many more there were.
- `log`: lines of the standard error of the upstream that the reader asked for.
- `missed`: frames were left out.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from meshproxy.api.views import edit, encoded, stderr_of
from meshproxy.http.sse import encode_event
from meshproxy.http.stream import EventStream, Receive, Send
from meshproxy.mesh.edits import Edit
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe.calls import Calls

__all__ = ["READERS", "TOPICS", "Feed"]

TOPICS: Final = frozenset({"status", "catalog", "calls", "edits"})
READERS: Final = 64
"""Who may read at one time."""
LOOK: Final = 0.5
"""Seconds between two looks."""
SLOWLY: Final = 4
"""Every so many looks the upstreams are compared with what was told of them: numbers may be that old. A change of state or of what is offered is told with the next look."""
MOST: Final = 25
"""Calls of one frame."""
FLOOD: Final = (100, 8)
"""Of more than so many, so few are told: nobody reads them, and each costs the mesh as much as a tenth of a call."""
BEHIND: Final = 256 * 1024
"""Bytes that wait for a reader, beyond which frames are left out for it."""
_LIMIT: Final = 16 * 1024 * 1024
_KEEPALIVE: Final = 15.0

Json = dict[str, Any]


class _Reader:
    """One who reads."""

    def __init__(self, stream: EventStream, topics: frozenset[str], upstream: str | None) -> None:
        self.stream = stream
        self.topics = topics
        self.upstream = upstream
        self.lines = -1
        self.has_missed = False

    def tell(self, topic: str, frame: bytes) -> None:
        """Give it a frame, if it is about what was asked for and there is room."""
        if topic not in self.topics:
            return
        if self.stream.waiting > BEHIND:
            self.has_missed = True
            return
        if self.has_missed:
            self.has_missed = False
            self.stream.write(encode_event(b"{}", "missed"))
        self.stream.write(frame)


class Feed:
    """See the module.

    Args:
        mesh: what is watched.
        calls: those that have ended.
        status: all of `/api/status`.
    """

    def __init__(self, mesh: Mesh, calls: Calls, status: Callable[[], Json]) -> None:
        self._mesh = mesh
        self._status = status
        self._calls = calls
        self._readers: set[_Reader] = set()
        self._looking: asyncio.Task[None] | None = None
        self._is_closed = False
        self._told: dict[str, Json] = {}
        self._word: Json = {}
        self._snapshot: object = None
        self._seen = 0
        self._edits: list[Edit] = []

    @property
    def is_full(self) -> bool:
        """Whether nobody else may read, or it is over."""
        return self._is_closed or len(self._readers) >= READERS

    async def serve(self, send: Send, receive: Receive, topics: frozenset[str], upstream: str | None) -> None:
        """Tell one reader, until it leaves or the mesh does. First it is told how everything is."""
        stream = EventStream(send, _LIMIT, _KEEPALIVE, lambda: None)
        reader = _Reader(stream, topics | {"log"} if upstream is not None else topics, upstream)
        stream.start()
        if self._looking is None:
            # Only what happens from now on is news.
            self._begin()
        else:
            # Those who read already are told first, so that what is remembered as told is so for all.
            self._look_at_upstreams()
        reader.tell("status", _frame("status", self._word))
        for one in self._told.values():
            reader.tell("status", _frame("upstream", one))
        self._readers.add(reader)
        watcher = asyncio.ensure_future(_watch(stream, receive))
        try:
            await stream.drained()
        finally:
            watcher.cancel()
            self._readers.discard(reader)
            if not self._readers and self._looking is not None:
                self._looking.cancel()

    def close(self) -> None:
        """End every stream. Idempotent."""
        self._is_closed = True
        for reader in self._readers:
            reader.stream.finish()

    def _begin(self) -> None:
        self._snapshot = self._mesh.composite.snapshot
        self._seen = self._calls.taken
        self._edits = []
        self._told, self._word = {}, {}
        self._look_at_upstreams()
        stop = self._mesh.edits.on_edit(self._edits.append)
        self._looking = asyncio.ensure_future(self._look(stop))

    async def _look(self, stop: Callable[[], None]) -> None:
        """Tell whoever reads what has changed, again and again."""
        count = 0
        try:
            while True:
                await asyncio.sleep(LOOK)
                count += 1
                self._look_at_calls()
                self._look_at_edits()
                if count % SLOWLY == 0 or self._snapshot is not self._mesh.composite.snapshot:
                    self._look_at_upstreams()
                self._look_at_lines()
        finally:
            stop()
            self._looking = None

    def _tell(self, topic: str, event: str, value: Any) -> None:
        frame = _frame(event, value)
        for reader in self._readers:
            reader.tell(topic, frame)

    def _look_at_calls(self) -> None:
        if not any("calls" in reader.topics for reader in self._readers):
            self._seen = self._calls.taken
            return
        fresh = self._calls.taken - self._seen
        if fresh:
            self._seen += fresh
            many, few = FLOOD
            shown = [record.shown() for record in self._calls.latest(min(fresh, few if fresh > many else MOST))]
            self._tell("calls", "calls", {"calls": shown, "left_out": fresh - len(shown)})

    def _look_at_edits(self) -> None:
        fresh, self._edits[:] = list(self._edits), []
        for one in fresh:
            self._tell("edits", "edit", edit(one))

    def _look_at_upstreams(self) -> None:
        word = self._status()
        upstreams = {one["name"]: one for one in word.pop("upstreams")}
        word.pop("now")
        told = self._told
        changed = [("upstream", one) for name, one in upstreams.items() if told.get(name) != one]
        changed += [("gone", {"name": name}) for name in told if name not in upstreams]
        if word != self._word:
            changed.append(("status", word))
        self._told, self._word = upstreams, word
        for event, value in changed:
            self._tell("status", event, value)
        snapshot = self._mesh.composite.snapshot
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            self._tell("catalog", "catalog", {})

    def _look_at_lines(self) -> None:
        for reader in self._readers:
            if reader.upstream is None:
                continue
            lines, count = stderr_of(self._mesh, reader.upstream) or ([], 0)
            if reader.lines < 0 or count < reader.lines:
                reader.lines = 0 if count < reader.lines else count - len(lines)
            if count > reader.lines:
                fresh = lines[max(0, len(lines) - (count - reader.lines)) :]
                reader.lines = count
                told = {"upstream": reader.upstream, "lines": fresh}
                reader.tell("log", _frame("log", told))


async def _watch(stream: EventStream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.abandon()


def _frame(event: str, value: Any) -> bytes:
    return encode_event(encoded(value), event)
