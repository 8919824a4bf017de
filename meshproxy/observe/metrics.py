"""`Metrics`: what is counted of requests. Place: observe.

A listener of a `meshproxy.relay.recorder.Recorder`. A request costs it a few look-ups: the counters of its kind are found by what it was about, and nothing is put into words
before somebody reads. However many sessions, names and errors there are, so many series are the most (`MAX_NAMES`, `MAX_ERRORS`); what is beyond is counted as `_OTHER`.

Source: OpenTelemetry's semantic conventions for MCP, and for `error.type`.
"""

from collections.abc import Iterator
from typing import Final

from meshproxy.errors import UpstreamBusy
from meshproxy.observe.histogram import Histogram
from meshproxy.observe.record import SUCCESS, Record

__all__ = ["MAX_ERRORS", "MAX_NAMES", "MAX_SERIES", "OTHER", "Family", "Metrics", "Series"]

OTHER: Final = "_OTHER"
MAX_NAMES: Final = 1000
"""Tools and prompts, or upstreams, that are counted one by one. Names that are gone count, too, until the mesh is started again."""
MAX_ERRORS: Final = 40
"""Kinds of errors; an upstream may invent any number as a code."""
MAX_SERIES: Final = 3000
"""Histograms of one family, beyond which a kind of error of what is counted already is `_OTHER`."""

_METHODS: Final = frozenset(
    {
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "subscriptions/listen",
        "tasks/cancel",
        "tasks/get",
        "tasks/update",
        "tools/call",
        "tools/list",
    }
)
"""Those that are answered. A client may invent any other."""
_NAMED: Final = frozenset({"tools/call", "prompts/get"})
"""Those whose component is told by its name. A URI may be anybody's, and is none of a label."""


class Series:
    """The requests of one kind.

    Attributes:
        method, name, upstream: what kind: the method, the tool or prompt, the upstream; "" for what is told by none.
        ended: how long they took, by the kind of error; "" for none.
        others: how many there were of each outcome but `success`.
        succeeded: how many of that.
    """

    __slots__ = ("ended", "method", "name", "others", "succeeded", "upstream")

    def __init__(self, method: str, name: str, upstream: str) -> None:
        self.method = method
        self.name = name
        self.upstream = upstream
        self.ended: dict[str, Histogram] = {}
        self.others: dict[str, int] = {}
        self.succeeded = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many there were of each outcome."""
        return {SUCCESS: self.succeeded, **self.others} if self.succeeded else self.others


class _Kind:
    """The calls of a component that went well, as they were counted last: where to count the next."""

    __slots__ = ("carried", "method", "origin", "series", "served", "upstream")

    def __init__(self, record: Record, series: Series, carried: Series) -> None:
        self.method = record.method
        self.upstream = record.upstream
        self.origin = record.origin
        self.series = series
        self.served = series.ended[""]
        self.carried = carried.ended[""]

    def fits(self, record: Record) -> bool:
        """Whether a call of the same name is one of these, too."""
        return (
            record.outcome == SUCCESS
            and self.method == record.method
            and self.upstream == record.upstream
            and self.origin == record.origin
        )


class Family:
    """Series by what they are about: upstream, method, name."""

    __slots__ = ("_histograms", "_names", "table")

    def __init__(self) -> None:
        self._histograms = 0
        self.table: dict[str, dict[str, dict[str, Series]]] = {}
        self._names = 0

    def count(self, upstream: str, method: str, name: str, error: str, seconds: float) -> Series:
        """One request took so long; the series that it is of."""
        series = self._find(upstream, method, name)
        ended = series.ended.get(error)
        if ended is None:
            self._histograms += 1
            ended = series.ended.setdefault(
                error if self._histograms <= MAX_SERIES or not error else OTHER, Histogram()
            )
        ended.add(seconds)
        return series

    def _find(self, upstream: str, method: str, name: str) -> Series:
        methods = self.table.get(upstream)
        if methods is None:
            methods = self._new_upstream(upstream)
        names = methods.get(method)
        if names is None:
            known = method if method in _METHODS else OTHER
            names = methods.setdefault(known, {})
        series = names.get(name)
        if series is None:
            series = self._new(names, upstream, method, name)
        return series

    def __iter__(self) -> Iterator[Series]:
        for methods in self.table.values():
            for names in methods.values():
                yield from names.values()

    def _new_upstream(self, upstream: str) -> dict[str, dict[str, Series]]:
        known = upstream if len(self.table) < MAX_NAMES else OTHER
        return self.table.setdefault(known, {})

    def _new(self, names: dict[str, Series], upstream: str, method: str, name: str) -> Series:
        if name:
            self._names += 1
            if self._names > MAX_NAMES:
                name = OTHER
                if name in names:
                    return names[name]
        upstream = upstream if upstream in self.table else OTHER
        series = names[name] = Series(method if method in _METHODS else OTHER, name, upstream)
        return series


class Metrics:
    """Counts.

    Attributes:
        served: what the mesh was asked, by method and public name.
        carried: what it asked upstreams for its clients, by upstream, method and the upstream's name; how long they took to answer.
        limited: calls that a limit held back, by upstream and limit.
        server_sessions: how long sessions of clients lasted.
        client_sessions: how long the mesh's own sessions with upstreams lasted, by upstream.
    """

    __slots__ = ("_errors", "_kinds", "carried", "client_sessions", "limited", "served", "server_sessions")

    def __init__(self) -> None:
        self.served = Family()
        self.carried = Family()
        self.limited: dict[tuple[str, str], int] = {}
        self.server_sessions = Histogram()
        self.client_sessions: dict[str, Histogram] = {}
        self._errors: set[str] = set()
        self._kinds: dict[str, _Kind] = {}

    def take(self, record: Record, outcome: object) -> None:
        """A request has ended (`meshproxy.observe.record.Listener`)."""
        seconds = record.ended - record.started
        sent = record.sent
        carried = (record.answered or record.ended) - sent
        kind = self._kinds.get(record.name) if sent else None
        if kind is not None and kind.fits(record):
            kind.series.succeeded += 1
            kind.served.add(seconds)
            kind.carried.add(carried)
            return
        method, error = record.method, record.error
        if error and error not in self._errors:
            error = self._known(error)
        is_named = record.is_offered and method in _NAMED
        series = self.served.count("", method, record.name if is_named else "", error, seconds)
        if record.outcome == SUCCESS:
            series.succeeded += 1
        else:
            series.others[record.outcome] = series.others.get(record.outcome, 0) + 1
        if sent:
            asked = self.carried.count(record.upstream, method, record.origin if is_named else "", error, carried)
            if is_named and record.outcome == SUCCESS and not error:
                if len(self._kinds) >= MAX_NAMES:
                    self._kinds.clear()
                self._kinds[record.name] = _Kind(record, series, asked)
        elif isinstance(outcome, UpstreamBusy):
            key = (record.upstream, outcome.limit)
            if key not in self.limited and len(self.limited) >= MAX_NAMES:
                key = (OTHER, outcome.limit)
            self.limited[key] = self.limited.get(key, 0) + 1

    def end_session(self, upstream: str, seconds: float) -> None:
        """A session with an upstream has ended."""
        found = self.client_sessions.get(upstream)
        if found is None:
            name = upstream if len(self.client_sessions) < MAX_NAMES else OTHER
            found = self.client_sessions.setdefault(name, Histogram())
        found.add(seconds)

    def _known(self, error: str) -> str:
        if len(self._errors) >= MAX_ERRORS:
            return OTHER
        self._errors.add(error)
        return error
