"""The types of config values: strict, and with errors that say what to write. Each refuses by ValueError, as pydantic asks.

None of the messages quotes a value that may be a secret.
"""

import os
import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from meshproxy.config.document import resolve
from meshproxy.config.env import Interpolated
from meshproxy.config.units import NONE, Rate, format_size, parse_duration, parse_rate, parse_size
from meshproxy.limits import MAX_MESSAGE
from meshproxy.naming import NAMESPACE_PATTERN, default_namespace

AUTO: Final = "auto"
REFERENCE_SCHEMA: Final = {"type": "string", "pattern": r"\$\{.+\}"}
"""A text with a reference, which may stand wherever a number or a boolean is wanted."""

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_NAMESPACE: Final = re.compile(NAMESPACE_PATTERN)
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def _late(value: Any) -> Any:
    """A number or boolean that a reference stands for."""
    return resolve(value.strip()) if isinstance(value, Interpolated) else value


def _positive(seconds: float | None) -> float | None:
    if seconds == 0:
        raise ValueError("must be longer than 0; write never for no limit")
    return seconds


def _limited(value: Any) -> float:
    seconds = parse_duration(value)
    if seconds is None:
        raise ValueError("never is not possible here; write a duration such as 3s")
    return seconds


def _readable(size: int) -> int:
    if size > MAX_MESSAGE:
        raise ValueError(f"a message of an upstream is read up to {format_size(MAX_MESSAGE)}; write that or less")
    return size


def _bound(value: Any) -> Any:
    """A number, or None for `none`."""
    return None if value == NONE else _late(value)


def _processes(value: Any) -> Any:
    """A number, or that of the cores for `auto`."""
    value = _late(value)
    if value != AUTO:
        return value
    # Those that this process may run on, where the system tells.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unless_off(value: Any) -> Any:
    """A section, or None for `off`, which is false to YAML's older readers."""
    if value == "off" or value is False:
        return None
    if value is None or isinstance(value, (str, bool, int, float, list)):
        raise ValueError("must be a mapping of keys to values, or off")
    return value


def _namespace(value: str) -> str:
    if value and not _NAMESPACE.fullmatch(value):
        raise ValueError(f"may have ASCII letters, digits, _ and - only; write {default_namespace(value)}")
    return value


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is no header name (RFC 9110, 5.1): letters, digits and - only")
    return name


def _header_value(value: str) -> str:
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("a header's value must be one line of Latin-1 text, without control characters")
    return value.strip(" \t")


def _headers(headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name in headers:
        if (before := seen.setdefault(name.lower(), name)) != name:
            raise ValueError(f"{before} and {name} are one header; keep one of them")
    return headers


def _variable(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be the name of an environment variable")
    return name


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("cannot hold a NUL character")
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("must be a URL that starts with http:// or https:// and names a host")
    return value


def _unless_false(value: Any) -> Any:
    """A section, one without a key for true, or None for false."""
    value = _late(value)
    if isinstance(value, bool):
        return {} if value else None
    if value is None or isinstance(value, (str, int, float, list)):
        raise ValueError("must be true, false, or a mapping of keys to values")
    return value


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError("must be a host and a port, as 127.0.0.1:9464")
    return value


def _path(value: str) -> str:
    if not value.startswith("/") or not re.fullmatch(r"[!$&-;=@-Z_a-z~%]+", value) or "//" in value:
        raise ValueError("must be a path such as /mcp, without ? and #")
    if value.rstrip("/") in ("/healthz", "/readyz", "/metrics"):
        raise ValueError("is taken by the health checks and the metrics; choose another path, such as /mcp")
    return value


def _transport(value: Any) -> Any:
    """The names that other clients' files have for streamable HTTP."""
    return "streamable-http" if value in ("http", "streamableHttp", "streamable_http") else value


_PORT_SCHEMA: Final = {"type": "integer", "minimum": 0, "maximum": 65535}
_COUNT_SCHEMA: Final = {"type": "integer", "minimum": 1}

Flag = Annotated[bool, BeforeValidator(_late), WithJsonSchema({"anyOf": [{"type": "boolean"}, REFERENCE_SCHEMA]})]
Port = Annotated[
    int, BeforeValidator(_late), Field(ge=0, le=65535), WithJsonSchema({"anyOf": [_PORT_SCHEMA, REFERENCE_SCHEMA]})
]
Count = Annotated[
    int, BeforeValidator(_late), Field(ge=1, le=2**31), WithJsonSchema({"anyOf": [_COUNT_SCHEMA, REFERENCE_SCHEMA]})
]

_NONE_SCHEMA: Final = {"enum": [NONE]}
Bound = Annotated[
    Annotated[int, Field(ge=1, le=2**31)] | None,
    BeforeValidator(_bound),
    WithJsonSchema({"anyOf": [_COUNT_SCHEMA, _NONE_SCHEMA, REFERENCE_SCHEMA]}),
]
"""How many at most, or None for any number."""
Places = Annotated[
    int,
    BeforeValidator(_late),
    Field(ge=0, le=2**31),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, REFERENCE_SCHEMA]}),
]
Repeats = Annotated[
    int,
    BeforeValidator(_late),
    Field(ge=0, le=10),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10}, REFERENCE_SCHEMA]}),
]
MaybeRate = Annotated[
    Rate | None, BeforeValidator(parse_rate), WithJsonSchema({"type": "string", "examples": ["100/s", "30/m", NONE]})
]
Pinning = Annotated[
    Literal["off", "warn", "block"],
    BeforeValidator(lambda value: "off" if value is False else value),
    WithJsonSchema({"enum": ["off", "warn", "block", False]}),
]
UnlessOff = BeforeValidator(_unless_off)
UnlessFalse = BeforeValidator(_unless_false)

_DURATION_SCHEMA: Final = {
    "type": ["string", "number"],
    "minimum": 0,
    "examples": ["30s", "5m", "250ms", "1h30m", "never"],
}
Duration = Annotated[float | None, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds, or None for never."""
Deadline = Annotated[Duration, AfterValidator(_positive)]
Grace = Annotated[
    float, BeforeValidator(_limited), WithJsonSchema({"type": ["string", "number"], "minimum": 0, "examples": ["3s"]})
]
_SIZE_SCHEMA: Final = {"type": ["string", "integer"], "minimum": 1, "examples": ["4MiB", "64kB"]}
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(_SIZE_SCHEMA)]
"""Bytes."""
ResultSize = Annotated[Size, AfterValidator(_readable), WithJsonSchema(_SIZE_SCHEMA)]

Workers = Annotated[
    Annotated[int, Field(ge=1, le=256)],
    BeforeValidator(_processes),
    WithJsonSchema({"anyOf": [{**_COUNT_SCHEMA, "maximum": 256}, {"enum": [AUTO]}, REFERENCE_SCHEMA]}),
]
"""How many processes; `auto` is one for each core."""
State = Annotated[str, Field(min_length=1, examples=["auto", "none", "./state"]), AfterValidator(_no_nul)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Namespace = Annotated[str, Field(max_length=64), AfterValidator(_namespace)]
Argument = Annotated[str, AfterValidator(_no_nul)]
Program = Annotated[str, Field(min_length=1), AfterValidator(_no_nul)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
Variable = Annotated[str, AfterValidator(_variable)]
Url = Annotated[str, AfterValidator(_url)]
UrlPath = Annotated[str, AfterValidator(_path)]
Listen = Annotated[str, AfterValidator(_listen)]
"""A host and a port."""
Transport = BeforeValidator(_transport)
OneHeaderEach = AfterValidator(_headers)
