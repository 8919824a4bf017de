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

__all__ = ["CALLS", "AuditLines", "members"]

_CLEAN: Final = 4096
"""Beginnings of lines that are remembered."""
_VERSIONS: Final = 64
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
_Key: TypeAlias = tuple[str, str, str, str, str, str, str, str, str]


class AuditLines:
    """Makes lines; see the module.

    Attributes:
        scrub: takes the secrets of the config, and of logins, out of a text.
    """

    __slots__ = ("_known", "_revisions", "_since", "_stamped", "scrub")

    def __init__(self) -> None:
        self.scrub: Scrub = str
        self._known: dict[_Key, str] = {}
        self._since: list[float] = []
        self._revisions: list[str] = []
        self._stamped: tuple[int, str] = (0, "")

    def obey(self, revision: str) -> None:
        """From now on, what comes is decided by this revision of the config. There may be more secrets by now."""
        self._since = [*self._since[-_VERSIONS:], time.monotonic()]
        self._revisions = [*self._revisions[-_VERSIONS:], revision[:12]]
        self._known = {}

    def at_once(self, record: Record) -> bytes | None:
        """A call of which nothing has to be looked at for secrets; None for every other."""
        number = record.request_id
        if record.error or record.code or not isinstance(number, int):
            return None
        about = self._known.get(_key(record))
        return None if about is None else self._line(record, about, '"' + str(number) + '"')

    def call(self, record: Record, more: str = "") -> bytes:
        """A call, with what else is to stand in its line: members of an object as JSON, each behind a comma."""
        if record.error or record.code:
            more = self._failure(record) + more
        number = record.request_id
        asked = '"' + str(number) + '"' if isinstance(number, int) else as_json(dumps(self.scrub(number)).decode())
        return self._line(record, self._about(record) + more, asked)

    def _line(self, record: Record, about: str, asked: str) -> bytes:
        # Joined, since that is what the compiler knows best.
        line = "".join(
            [
                '{"time":"',
                self._stamp(record.at),
                '","event":"call","outcome":"',
                record.outcome,
                '",',
                about,
                ',"jsonrpc.request.id":',
                asked,
                ',"duration":',
                _decimal(record.ended - record.started),
                ',"revision":"',
                self._revision(record.started),
                '"}\n',
            ]
        )
        return line.encode()

    def decision(self, at: float, event: str, facts: Mapping[str, Any]) -> bytes:
        """Something that was decided at a moment, in seconds since 1970."""
        told = {key: value for key, value in facts.items() if key not in _SECONDARY}
        clean: dict[str, Any] = scrubbed(loads(dumps(told)), self.scrub)
        revision = self._revision(time.monotonic())
        said = members({"time": self._stamp(at), "event": event, "revision": revision, **clean})
        return f"{{{said}}}\n".encode()

    def _about(self, record: Record) -> str:
        """Who used what."""
        key = _key(record)
        # An edit has another begun, since there are more secrets by then.
        remembered = self._known
        known = remembered.get(key)
        if known is not None:
            return known
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
        made = members({name: value for name, value in told.items() if value})
        if len(remembered) >= _CLEAN:
            remembered.clear()
        remembered[key] = made
        return made

    def _failure(self, record: Record) -> str:
        facts: dict[str, str] = {
            "error.type": record.error,
            "rpc.response.status_code": str(record.code) if record.code else "",
            "reason": self.scrub(record.reason) if record.reason else "",
        }
        return "," + members({key: value for key, value in facts.items() if value})

    def _revision(self, moment: float) -> str:
        """That of the config which was in force at a moment of the monotonic clock."""
        since, revisions = self._since, self._revisions
        if moment >= since[-1]:
            return revisions[-1]
        return revisions[max(0, min(bisect_right(since, moment), len(revisions)) - 1)]

    def _stamp(self, seconds: float) -> str:
        """ISO 8601, in UTC, to the millisecond."""
        second = int(seconds)
        known, text = self._stamped
        if second != known:
            text = datetime.fromtimestamp(second, UTC).isoformat()[:19]
            self._stamped = (second, text)
        # One more in front, so that there are three digits.
        return text + "." + str(1000 + int((seconds - second) * 1000))[1:] + "Z"


def _key(record: Record) -> _Key:
    return (
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


def _decimal(seconds: float) -> str:
    """Seconds to the microsecond. Twice as fast as a format, where it is compiled."""
    parts = int(seconds * 1_000_000 + 0.5)
    return str(parts // 1_000_000) + "." + str(1_000_000 + parts % 1_000_000)[1:]


def members(told: Mapping[str, Any]) -> str:
    """An object as JSON, without its braces."""
    return as_json(dumps(told).decode())[1:-1]
