"""`AuditLines`: the lines of the audit log, as its file has them. Place: observe, under `audit`; compiled in a wheel.

What is the same for many calls is made once, without secrets, by the thread that writes them, and remembered. The line of a call of which that is known, and that went well, is made where the
call ends: a microsecond there, which is less than what another core needs to come by the record.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from meshproxy.observe.record import Record
from meshproxy.observe.spelling import as_json
from meshproxy.wire.codec import dumps, loads
from meshproxy.wire.scrubbing import scrubbed

__all__ = ["CALLS", "AuditLines", "decimal", "members"]

_CLEAN: Final = 4096
"""Beginnings of lines that are remembered."""
_VERSIONS: Final = 64
_DIGITS: Final[list[str]] = [f"{number:03}" for number in range(1000)]
"""Three of them, by number."""
_INSTANT: Final = '","duration":0.'
_NUMBERS: Final[list[str]] = [str(number) for number in range(1000)]
_SECONDARY: Final = ("remedy", "consequence")
"""Facts of a decision that are advice, and are for the log alone."""

CALLS: Final[dict[str, str]] = {
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

Scrub: TypeAlias = Callable[[str], str]


class _About:
    """What is the same for many calls: `text`, and what it was made of."""

    __slots__ = ("client", "era", "method", "origin", "outcome", "principal", "profile", "text", "upstream")

    def __init__(self, record: Record, text: str) -> None:
        self.text = text
        self.outcome = record.outcome
        self.principal = record.principal
        self.method = record.method
        self.upstream = record.upstream
        self.origin = record.origin
        self.profile = record.profile
        self.client = record.client
        self.era = record.era

    def fits(self, record: Record) -> bool:
        """Whether it is that of a record by whose asker and name it was found."""
        return (
            self.method == record.method
            and self.outcome == record.outcome
            and self.upstream == record.upstream
            and self.origin == record.origin
            and self.principal == record.principal
            and self.client == record.client
            and self.era == record.era
            and self.profile == record.profile
        )


class AuditLines:
    """Makes lines; see the module.

    Attributes:
        scrub: takes the secrets of the config, and of logins, out of a text.
    """

    __slots__ = ("_asker", "_count", "_ends", "_known", "_since", "_stamped", "scrub")

    def __init__(self) -> None:
        self.scrub: Scrub = str
        self._known: dict[str, dict[str, _About]] = {}
        self._count = 0
        self._asker: tuple[str, str, str, str] = ("", "", "", "")
        self._since: list[float] = []
        self._ends: list[str] = []
        self._stamped: tuple[int, str] = (0, "")

    def obey(self, revision: str) -> None:
        """From now on, what comes is decided by this revision of the config. There may be more secrets by now."""
        self._since = [*self._since[-_VERSIONS:], time.monotonic()]
        self._ends = [*self._ends[-_VERSIONS:], f',"revision":"{revision[:12]}"}}\n']
        self._known = {}
        self._count = 0

    def at_once(self, record: Record) -> bytes | None:
        """A call of which nothing has to be looked at for secrets; None for every other."""
        number = record.request_id
        if record.error or record.code or not isinstance(number, int):
            return None
        about = self._find(record)
        return None if about is None else self._line(record, about.text, "", str(number))

    def call(self, record: Record, more: str = "") -> bytes:
        """A call, with what else is to stand in its line: members of an object as JSON, each behind a comma."""
        if record.error or record.code:
            more = self._failure(record) + more
        number = record.request_id
        asked = str(number) if isinstance(number, int) else as_json(dumps(self.scrub(number)).decode())[1:-1]
        return self._line(record, self._about(record), more, asked)

    def sized(self, record: Record, more: str) -> bytes:
        """A request, with about how many bytes were asked and answered, and what else is to stand in its line."""
        sizes = f',"arguments.bytes":{decimal(record.asked_bytes)},"result.bytes":{decimal(record.answered_bytes)}'
        return self.call(record, sizes + more if more else sizes)

    def _line(self, record: Record, about: str, more: str, asked: str) -> bytes:
        # One text of all in one step, and digits that are looked up: of what is done for a call that goes well, this is a large part.
        at = record.at
        second = int(at)
        parts = int((record.ended - record.started) * 1_000_000 + 0.5)
        whole = parts // 1_000_000
        duration = _INSTANT if whole == 0 else f'","duration":{whole}.'
        parts -= whole * 1_000_000
        line = (
            f"{self._second(second)}{_DIGITS[int((at - second) * 1000)]}{about}{asked}"
            f"{duration}{_DIGITS[parts // 1000]}{_DIGITS[parts % 1000]}{more}{self._end(record.started)}"
        )
        return line.encode()

    def decision(self, at: float, event: str, facts: Mapping[str, Any]) -> bytes:
        """Something that was decided at a moment, in seconds since 1970."""
        told = {key: value for key, value in facts.items() if key not in _SECONDARY}
        clean: dict[str, Any] = scrubbed(loads(dumps(told)), self.scrub)
        said = members({"event": event, **clean})
        second = int(at)
        stamp = f"{self._second(second)}{_DIGITS[int((at - second) * 1000)]}"
        return f'{stamp}Z",{said}{self._end(time.monotonic())}'.encode()

    def _about(self, record: Record) -> str:
        """Who used what, and with which outcome: what stands between the milliseconds and the id."""
        known = self._find(record)
        if known is not None:
            return known.text
        # An edit has another begun, since there are more secrets by then.
        remembered = self._known
        told: dict[str, str] = {
            "principal": self.scrub(record.principal),
            "mcp.method.name": record.method,
            CALLS.get(record.method, "meshproxy.name"): self.scrub(record.name),
            "upstream": record.upstream,
            "origin": self.scrub(record.origin),
            "profile": record.profile,
            "client": self.scrub(record.client),
            "session": record.session,
            "era": record.era,
        }
        told = {name: value for name, value in told.items() if value}
        made = f'Z","event":"call","outcome":"{record.outcome}",{members(told)},"jsonrpc.request.id":"'
        if self._count >= _CLEAN:
            remembered.clear()
            self._count = 0
        self._count += 1
        remembered.setdefault(self._asked_by(record), {})[record.name or record.method] = _About(record, made)
        return made

    def _find(self, record: Record) -> _About | None:
        names = self._known.get(self._asked_by(record))
        about = None if names is None else names.get(record.name or record.method)
        return about if about is not None and about.fits(record) else None

    def _asked_by(self, record: Record) -> str:
        """What tells who asked, at which address and with which program, from everybody else."""
        if record.session_key:
            return record.session_key
        principal, client, profile, key = self._asker
        if principal is record.principal and client is record.client and profile is record.profile:
            return key
        key = f"{record.principal}\n{record.client}\n{record.profile}"
        self._asker = (record.principal, record.client, record.profile, key)
        return key

    def _failure(self, record: Record) -> str:
        facts: dict[str, str] = {
            "error.type": record.error,
            "rpc.response.status_code": str(record.code) if record.code else "",
            "reason": self.scrub(record.reason) if record.reason else "",
        }
        return "," + members({key: value for key, value in facts.items() if value})

    def _end(self, moment: float) -> str:
        """How a line ends: with the revision of the config which was in force at a moment of the monotonic clock."""
        since, ends = self._since, self._ends
        if moment >= since[-1]:
            return ends[-1]
        return ends[max(0, min(bisect_right(since, moment), len(ends)) - 1)]

    def _second(self, second: int) -> str:
        """How a line of it begins, up to its milliseconds: ISO 8601, in UTC. It is the same for many calls."""
        known, text = self._stamped
        if second != known:
            text = f'{{"time":"{datetime.fromtimestamp(second, UTC).isoformat()[:19]}.'
            self._stamped = (second, text)
        return text


def decimal(number: int) -> str:
    """A number from 0, of which most are small ones."""
    return _NUMBERS[number] if number < 1000 else str(number)


def members(told: Mapping[str, Any]) -> str:
    """An object as JSON, without its braces."""
    return as_json(dumps(told).decode())[1:-1]
