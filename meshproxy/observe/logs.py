"""The mesh's own log: structlog on standard error, for people or as JSON, without secrets. Place: observe.

Modules log with `structlog.get_logger(__name__)`: an event, of dotted words, and its facts as keywords. Nothing is set up before
`configure` is called, by the command line alone: a program that uses meshproxy as a library keeps its own logging.
"""

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, Literal

__all__ = ["LEVELS", "Format", "Level", "conceal", "configure", "quiet"]


@contextmanager
def _without_rich() -> Iterator[None]:
    """Keep structlog from importing rich, which it would use for tracebacks alone: that costs every start 80 ms and 6 MB."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # the import system's own mark for what cannot be imported
    try:
        yield
    finally:
        del sys.modules["rich"]


with _without_rich():
    import structlog

from meshproxy.observe.sink import lost, write  # noqa: E402
from meshproxy.observe.spelling import as_json  # noqa: E402  # what stands above decides what structlog imports

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["console", "json"]
Event = MutableMapping[str, Any]

LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_COLOURS: Final = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[1;31m"}
_DIM: Final = "\x1b[2m"
_PLAIN: Final = "\x1b[0m"


class _State:
    """What may change while the process runs."""

    scrub: Callable[[str], str] = str
    unheard: frozenset[str] = frozenset()
    marks: Mapping[str, Any] = {}  # replaced, never changed


def configure(level: Level = "info", form: Format = "console", *, colours: bool = False) -> None:
    """Send the log of this process to standard error, what other libraries log included.

    Args:
        level: the least severe level that is written. Of other libraries, nothing below a warning is unless it is `debug`.
        form: `console` for people, a line of text each; `json` for programs, an object each.
        colours: whether the console form has them.
    """
    render = _as_json() if form == "json" else _Console(colours=colours)
    stamp = (
        structlog.processors.TimeStamper(fmt="iso")
        if form == "json"
        else structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
    )
    structlog.configure(
        processors=[_heard, _traced, _spell_error, _scrubbed, structlog.processors.add_log_level, stamp, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        handlers=[_Bridge()],
        level=LEVELS[level] if level == "debug" else max(LEVELS[level], logging.WARNING),
        force=True,
    )
    logging.captureWarnings(capture=True)


def conceal(scrub: Callable[[str], str]) -> None:
    """Pass every text that is logged from now on through `scrub`, which takes the secrets out."""
    _State.scrub = staticmethod(scrub)


def mark(**facts: Any) -> None:
    """Put these facts into every line from now on."""
    _State.marks = facts


@contextmanager
def quiet(*events: str) -> Iterator[None]:
    """Leave these events out of the log for a while, because somebody shows them in a better way."""
    _State.unheard = frozenset(events)
    try:
        yield
    finally:
        _State.unheard = frozenset()


class _Stderr:
    """A structlog logger. That whoever reads our log is slow or gone is no reason to stop serving."""

    def msg(self, message: str) -> None:
        if write(message) and (count := lost()):
            structlog.get_logger().warning("log.lines_lost", count=count)

    log = debug = info = warning = error = critical = exception = fatal = msg


class _Bridge(logging.Handler):
    """What other libraries log, in our form."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.ERROR)
        facts = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(level, record.name, message=record.getMessage(), **facts)


def _heard(_logger: object, _method: str, event: Event) -> Event:
    if event.get("event") in _State.unheard:
        raise structlog.DropEvent
    event.update(_State.marks)
    return event


def _traced(_logger: object, _method: str, event: Event) -> Event:
    """With the trace and the span that are current, as OpenTelemetry's log records have them. Where nobody traces, nothing of it is imported."""
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is not None:
        span = api.get_current_span().get_span_context()
        if span.is_valid:
            event["trace_id"], event["span_id"] = api.format_trace_id(span.trace_id), api.format_span_id(span.span_id)
    return event


def _spell_error(_logger: object, _method: str, event: Event) -> Event:
    """An exception as text, so that what it says is scrubbed like everything else."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        event["exception"] = "".join(traceback.format_exception(*info)).rstrip()
    return event


def _scrubbed(_logger: object, _method: str, event: Event) -> Event:
    """The facts without secrets. The event's name is ours, as are the level and the time, which a secret of a few digits would spoil."""
    return {key: value if key == "event" else _clean(value) for key, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _State.scrub(value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _State.scrub(str(value))


def _as_json() -> Callable[[object, str, Event], str]:
    render = structlog.processors.JSONRenderer(ensure_ascii=False)

    def rendered(logger: object, method: str, event: Event) -> str:
        first = {key: event[key] for key in ("timestamp", "level", "event")}
        return as_json(
            str(render(logger, method, first | {key: value for key, value in event.items() if key not in first}))
        )

    return rendered


class _Console:
    """`12:00:00 warning upstream.down  upstream=files reason="it exited"`; what has several lines follows below, indented."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: object, _method: str, event: Event) -> str:
        level = event.pop("level")
        head = f"{self._in(_DIM, event.pop('timestamp'))} {self._in(_COLOURS.get(level, ''), f'{level:7}')} {event.pop('event')}"
        exception = event.pop("exception", None)
        below = [
            line if line.isprintable() else repr(line)[1:-1]
            for lines in (event.pop("problems", ()), event.pop("diff", ()), (exception or "").splitlines())
            for line in map(str, lines)
        ]
        facts = [
            f"{self._in(_DIM, key + '=')}{_spelled(value)}" for key, value in event.items() if value not in ([], {})
        ]
        return "\n    ".join(["  ".join([head, " ".join(facts)]) if facts else head, *below])

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours and colour else text


def _spelled(value: Any) -> str:
    """A fact in one line, in quotes if it would be taken for several."""
    if isinstance(value, list):
        return ",".join(map(_spelled, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{_spelled(key)}: {_spelled(item)}" for key, item in value.items())
    text = str(value)
    return text if text.isprintable() and " " not in text and text else repr(text)
