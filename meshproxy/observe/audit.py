"""`Audit`: who used what, when, and with which outcome, and what the mesh decided, as JSON lines in a file. Place: observe.

It is a listener of a `meshproxy.relay.recorder.Recorder` and of `meshproxy.observe.decisions`. On the way of a call a record is put into a buffer, and that is all: a
thread makes lines of what is there, without secrets, and writes them. The buffer is bounded: what there is no room for, as the disk is slower than the calls, full or gone,
is left out and counted, and the file says how much that was as soon as it can be written. No call waits or fails for it.

Names: those of OpenTelemetry's conventions for MCP where there is one, and plain words for the rest.
"""

import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from meshproxy.observe.record import DENIED, Listener, Record
from meshproxy.observe.rotating import RotatingFile
from meshproxy.observe.spelling import as_json
from meshproxy.wire.codec import JsonError, Raw, dumps, loads, mapping
from meshproxy.wire.scrubbing import scrubbed

__all__ = ["Audit", "Keeping"]

log = structlog.get_logger(__name__)

ROOM: Final = 20_000
"""Lines that wait to be written, at most."""
ARGUMENTS: Final = 64 * 1024
"""Bytes of the arguments of one call; more are left out."""
HELD: Final = 16 * 1024**2
"""Bytes of arguments that wait to be written."""
BREATH: Final = 0.05
"""Seconds in which lines are gathered: one write for many."""
AGAIN: Final = 1.0
"""Seconds before what could not be written is tried again."""
BATCH: Final = 2000
TURN: Final = 25
"""Lines that are made in one go."""
_CLEAN: Final = 4096
"""Beginnings of lines that are remembered."""
_VERSIONS: Final = 64

_CALLS: Final[Mapping[str, str]] = {
    "tools/call": "gen_ai.tool.name",
    "prompts/get": "gen_ai.prompt.name",
    "resources/read": "mcp.resource.uri",
    "resources/subscribe": "mcp.resource.uri",
    "resources/unsubscribe": "mcp.resource.uri",
    "completion/complete": "meshproxy.reference",
    "tasks/get": "meshproxy.task",
    "tasks/update": "meshproxy.task",
    "tasks/cancel": "meshproxy.task",
}
"""What counts as a call, and what the name of its component is called."""

Listen: TypeAlias = "Callable[[Listener], Callable[[], None]]"
Scrub: TypeAlias = Callable[[str], str]


class Keeping(NamedTuple):
    """What the config says of it: the file, what is kept of arguments (`none`, `keys`, `all`), bytes of one file, and how many older ones stay."""

    path: Path
    arguments: str = "none"
    size: int = 64 * 1024**2
    keep: int = 5


class _Called(NamedTuple):
    record: Record
    arguments: Any


class _Decided(NamedTuple):
    at: float
    event: str
    facts: Mapping[str, Any]


class Audit:
    """The audit log of one mesh; `listen` is that of its recorder.

    Attributes:
        scrub: takes the secrets of the config, and of logins, out of a text.
        scrub_arguments: takes out of a decoded value what is a secret or looks like one, for what callers pass.
    """

    def __init__(self, listen: Listen) -> None:
        self.scrub: Scrub = str
        self.scrub_arguments: Callable[[Any], Any] = lambda _: None
        self._listen = listen
        self._forget: Callable[[], None] | None = None
        self._keeping: Keeping | None = None
        self._buffer: deque[Record | _Called | _Decided] = deque()
        self._put = 0
        self._taken = 0
        self._lost = 0
        self._told = 0
        self._since: list[float] = []
        self._revisions: list[str] = []
        self._wake = threading.Event()
        self._is_over = False
        self._thread: threading.Thread | None = None
        self._clean: dict[tuple[str, ...], str] = {}
        self._second = (0, "")
        self._complaint = ""

    # --- in the event loop

    def obey(self, keeping: Keeping | None, revision: str) -> None:
        """From now on, what ends is decided by this revision of the config, and kept like this, or not."""
        self._since, self._revisions = (
            [*self._since[-_VERSIONS:], time.monotonic()],
            [*self._revisions[-_VERSIONS:], revision[:12]],
        )
        before, self._keeping = self._keeping, keeping
        if keeping is not None and self._forget is None:
            self._forget = self._listen(self.take)
        elif keeping is None and self._forget is not None:
            self._forget()
            self._forget = None
        if keeping is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
            self._thread.start()
        # There may be more secrets by now.
        self._clean = {}
        if keeping != before:
            self._wake.set()

    def take(self, record: Record, _: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        keeping = self._keeping
        if keeping is None or (record.method not in _CALLS and record.outcome != DENIED):
            return
        arguments = None if keeping.arguments == "none" else record.params.get("arguments")
        if arguments is None:
            self._add(record)
            return
        size = record.asked_bytes
        if size > ARGUMENTS or self._put - self._taken + size > HELD:
            arguments = ...
        else:
            self._put += size
        self._add(_Called(record, arguments))

    def decide(self, event: str, facts: Mapping[str, Any]) -> None:
        """Something was decided (`meshproxy.observe.decisions.Decided`)."""
        if self._keeping is not None:
            self._add(_Decided(time.time(), event, facts))

    def close(self) -> None:
        """Write what waits, in one more attempt, and end. It blocks while that takes, five seconds at most."""
        if self._forget is not None:
            self._forget()
            self._forget = None
        self._is_over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)

    def _add(self, entry: Record | _Called | _Decided) -> None:
        buffer = self._buffer
        if len(buffer) >= ROOM:
            self._lost += 1
            return
        buffer.append(entry)
        if len(buffer) == 1:
            self._wake.set()

    # --- in the thread

    def _run(self) -> None:
        file: RotatingFile | None = None
        keeping: Keeping | None = None
        pending: list[bytes] = []
        while True:
            self._wake.wait(AGAIN if pending else None)
            if not self._is_over:
                time.sleep(BREATH)
            self._wake.clear()
            is_last = self._is_over
            if self._keeping != keeping:
                keeping = self._keeping or keeping
                if file is not None:
                    file.close()
                file = None if keeping is None else RotatingFile(keeping.path, keeping.size, keeping.keep)
            while file is not None and keeping is not None and (pending or self._buffer or self._lost > self._told):
                pending = pending or [*self._lines(keeping.arguments)]
                if not self._written(file, pending):
                    break
            if is_last:
                if file is not None:
                    file.close()
                return

    def _lines(self, arguments: str) -> Iterator[bytes]:
        """The next lines, a batch at most."""
        lost = self._lost
        if lost > self._told:
            facts = {
                "count": lost - self._told,
                "reason": "there was no room for them: the file is slower than the calls, or cannot be written",
            }
            self._told = lost
            yield self._line(_Decided(time.time(), "audit.lost", facts), arguments)
        for number in range(min(BATCH, len(self._buffer))):
            if number % TURN == TURN - 1:
                # Calls have the interpreter meanwhile: no batch keeps them waiting.
                time.sleep(0)
            yield self._line(self._buffer.popleft(), arguments)

    def _line(self, entry: Record | _Called | _Decided, arguments: str) -> bytes:
        try:
            if isinstance(entry, _Decided):
                text = self._decision(entry)
            elif isinstance(entry, _Called):
                text = self._call(entry.record, self._more(entry, arguments))
            else:
                text = self._call(entry, "")
        except Exception as error:
            # A defect; the file must not lose the others for it, nor pass over it.
            log.exception("audit.defect")
            text = _members({"time": self._stamp(time.time()), "event": "audit.defect", "reason": type(error).__name__})
        return b"{%b}\n" % text.encode()

    def _written(self, file: RotatingFile, lines: list[bytes]) -> bool:
        """Write these, and take those out that are written. Whether all are."""
        try:
            while lines:
                del lines[: file.append(lines)]
        except OSError as error:
            file.close()
            reason = f"{file.path}: {error.strerror or error}"
            if reason != self._complaint:
                self._complaint = reason
                log.error(
                    "audit.unwritable",
                    reason=reason,
                    consequence=f"calls go on; {ROOM} lines wait, and what comes when they are there is left out and counted",
                )
            return False
        if self._complaint:
            self._complaint = ""
            log.info("audit.writable", file=str(file.path), lost=self._lost)
        return True

    def _decision(self, entry: _Decided) -> str:
        facts = {key: value for key, value in entry.facts.items() if key not in ("remedy", "consequence")}
        clean: dict[str, Any] = scrubbed(loads(dumps(facts)), self.scrub)
        revision = self._revision(time.monotonic())
        return _members({"time": self._stamp(entry.at), "event": entry.event, "revision": revision, **clean})

    def _call(self, record: Record, more: str) -> str:
        """A call, with what else is to stand in its line."""
        if record.error or record.code:
            facts = {
                "error.type": record.error,
                "rpc.response.status_code": str(record.code) if record.code else "",
                "reason": self.scrub(record.reason) if record.reason else "",
            }
            more = f",{_members({key: value for key, value in facts.items() if value})}{more}"
        number = record.request_id
        asked = f'"{number}"' if isinstance(number, int) else as_json(dumps(self.scrub(number)).decode())
        return (
            f'"time":"{self._stamp(record.at)}","event":"call","outcome":"{record.outcome}",{self._about(record)}{more},'
            f'"jsonrpc.request.id":{asked},"duration":{record.seconds:.6f},"revision":"{self._revision(record.started)}"'
        )

    def _about(self, record: Record) -> str:
        """Who used what, which is the same for many calls, and so is made once for them."""
        key = (
            record.principal,
            record.method,
            record.name,
            record.upstream,
            record.origin,
            record.profile,
            record.client,
            record.session_key,
            record.era,
        )
        known = self._clean.get(key)
        if known is None:
            told = {
                "principal": self.scrub(record.principal),
                "mcp.method.name": record.method,
                _CALLS.get(record.method, "meshproxy.name"): self.scrub(record.name),
                "upstream": record.upstream,
                "origin": self.scrub(record.origin),
                "profile": record.profile,
                "client": self.scrub(record.client),
                "session": record.session,
                "era": record.era,
            }
            if len(self._clean) >= _CLEAN:
                self._clean = {}
            known = self._clean[key] = _members({name: value for name, value in told.items() if value})
        return known

    def _more(self, entry: _Called, arguments: str) -> str:
        """What is kept of arguments."""
        if entry.arguments is ...:
            return ',"arguments_left_out":true'
        self._taken += entry.record.asked_bytes
        kept = self._arguments(entry.arguments, keys_alone=arguments == "keys")
        return f",{_members({'gen_ai.tool.call.arguments': kept})}"

    def _arguments(self, given: Any, *, keys_alone: bool) -> Any:
        try:
            value = loads(given if isinstance(given, Raw) else dumps(given))
        except JsonError:
            return None
        if keys_alone:
            value = list(mapping(value) or ())
        return self.scrub_arguments(value)

    def _revision(self, moment: float) -> str:
        """That of the config which was in force at a moment of the monotonic clock."""
        since, revisions = self._since, self._revisions
        if moment >= since[-1]:
            return revisions[-1]
        return revisions[max(0, min(bisect_right(since, moment), len(revisions)) - 1)]

    def _stamp(self, seconds: float) -> str:
        """ISO 8601, in UTC, to the millisecond."""
        milliseconds = int(seconds * 1000)
        second = milliseconds // 1000
        if second != self._second[0]:
            self._second = (second, datetime.fromtimestamp(second, UTC).isoformat()[:19])
        return f"{self._second[1]}.{milliseconds % 1000:03d}Z"


def _members(told: Mapping[str, Any]) -> str:
    """An object as JSON, without its braces."""
    return as_json(dumps(told).decode())[1:-1]
