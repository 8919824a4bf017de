"""`--header`: what goes with every request of a command to a URL. It may be a secret, so no error shows any of it."""

from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter, ValidationError

from meshproxy.cli.entry import Failure
from meshproxy.config.upstream import Headers

__all__ = ["headers_of"]

_HEADERS: Final = TypeAdapter(Headers)


def headers_of(lines: Sequence[str]) -> Headers:
    """The headers that are written as `Name: value`. Raises `Failure`."""
    pairs = [line.partition(":")[::2] for line in lines]
    try:
        headers = _HEADERS.validate_python(dict(pairs))
    except ValidationError:
        headers = Headers()
    if len(headers) < len(lines) or not all(headers.values()):
        raise Failure("a --header must be 'Name: value', each name once and in one line of Latin-1 text", status=2)
    return headers
