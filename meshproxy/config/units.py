"""Durations, sizes and rates as people write them. Pure: text to number and back.

A duration is a number of seconds, or numbers with units from the largest to the smallest: `250ms`, `30s`, `1h30m`. `never`
is no limit at all, and is `None` in Python. A size is a number of bytes, or a number with a unit: `64kB`, `4MiB`. A rate is a whole
number in a unit of time: `100/s`, `30/m`, `1000/h`.
All raise `ValueError` with a sentence that tells what to write instead.
"""

import math
import re
from typing import Final, NamedTuple

NEVER: Final = "never"
LONGEST: Final = 10 * 365 * 86400.0
"""Seconds. Anything longer is a slip of the keyboard; who wants no limit writes `never`."""
LARGEST: Final = 2**50
"""Bytes."""

NONE: Final = "none"
MOST_OFTEN: Final = 1_000_000
"""The most of a rate; who wants no limit writes `none`."""

_MILLISECONDS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION: Final = re.compile(
    "".join(rf"(?:(?P<{unit}>[0-9]{{1,12}}(?:\.[0-9]{{1,9}})?){unit})?" for unit in _MILLISECONDS), re.ASCII
)
_NUMBER: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?", re.ASCII)
_BYTES: Final = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
_SIZE: Final = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)", re.ASCII)

_RATE: Final = re.compile(r"([0-9]{1,9}) ?/ ?([smh])", re.ASCII)
_PERIODS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Rate(NamedTuple):
    """So many in so many seconds."""

    times: int
    seconds: float


def parse_duration(value: object) -> float | None:
    """Seconds, or None for `never`."""
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a duration such as 30s, 5m, 250ms, 1h30m, a number of seconds, or never")
    if not isinstance(value, str):
        seconds = float(value) if abs(value) < LARGEST else math.inf
    elif value == NEVER:
        return None
    elif _NUMBER.fullmatch(value):
        seconds = float(value)
    elif value and (match := _DURATION.fullmatch(value)):
        parts = match.groupdict()
        # Summed in milliseconds, where every part is a whole number as a rule, so that 1.1s is not 1.1000000000000001.
        seconds = sum(float(parts[unit]) * scale for unit, scale in _MILLISECONDS.items() if parts[unit]) / 1000
    else:
        raise ValueError(
            f"{_quoted(value)} is not a duration: write 30s, 5m, 250ms, 1h30m, a number of seconds, or never"
        )
    if math.isnan(seconds) or seconds < 0:
        raise ValueError("a duration cannot be negative")
    if seconds > LONGEST:
        raise ValueError("a duration is at most ten years; write never for no limit")
    return seconds


def format_duration(seconds: float | None) -> str:
    """The shortest spelling that `parse_duration` reads back, to the millisecond."""
    if seconds is None:
        return NEVER
    rest = round(seconds * 1000)
    parts = []
    for unit, scale in _MILLISECONDS.items():
        count, rest = divmod(rest, scale)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(value: object) -> int:
    """Bytes."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError("must be a size such as 64kB, 4MiB, or a number of bytes")
    if isinstance(value, int):
        size = value
    else:
        match = _SIZE.fullmatch(value)
        unit = match[2] or "B" if match else ""
        if match is None or unit not in _BYTES:
            raise ValueError(
                f"{_quoted(value)} is not a size: write a number with one of the units {', '.join(_BYTES)}, as in 4MiB"
            )
        size = round(float(match[1]) * _BYTES[unit]) if "." in match[1] else int(match[1]) * _BYTES[unit]
    if size < 1:
        raise ValueError("a size must be at least 1 byte")
    if size > LARGEST:
        raise ValueError(f"a size is at most {format_size(LARGEST)}")
    return size


def format_size(size: int) -> str:
    """The shortest spelling that `parse_size` reads back."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "kB"):
        if size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def parse_rate(value: object) -> Rate | None:
    """A rate, or None for `none`."""
    if value == NONE:
        return None
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        said = f"{_quoted(value)} is not a rate" if isinstance(value, str) else "must be a rate"
        raise ValueError(
            f"{said}: write a whole number in a second, minute or hour, as in 100/s, 30/m or 1000/h, or none"
        )
    times = int(match[1])
    if not 1 <= times <= MOST_OFTEN:
        raise ValueError(f"a rate is from 1 to {MOST_OFTEN}; write none for no limit")
    return Rate(times, _PERIODS[match[2]])


def format_rate(rate: Rate | None) -> str:
    """The spelling that `parse_rate` reads back."""
    if rate is None:
        return NONE
    return f"{rate.times}/{next(unit for unit, seconds in _PERIODS.items() if seconds == rate.seconds)}"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
