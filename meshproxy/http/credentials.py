"""`Credentials`: what a server is shown with every request, where that changes while requests are made. Place: http, under the client."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

__all__ = ["REFUSALS", "Credentials"]

REFUSALS: Final = frozenset({401, 403})
"""The statuses that may be about credentials (RFC 9110, 15.5.2 and 15.5.4)."""


class Credentials(Protocol):
    """Credentials that are obtained, expire, and are obtained anew.

    Attributes:
        headers: the header fields that show them now; none while there are none.
        serial: a number that is another one whenever `headers` are.
        followers: told new headers as soon as there are any.
        names: the lower-case names of the fields that they may be shown in.
    """

    names: frozenset[str]
    headers: Mapping[str, str]
    serial: int
    followers: set[Callable[[Mapping[str, str]], None]]

    async def ready(self) -> None:
        """Have what is known of them in force, before a connection is opened. Raises `UpstreamError` if that cannot be."""
        ...

    async def aclose(self) -> None:
        """Obtain nothing any more until `ready` is called again."""
        ...

    async def renew(self, status: int, challenge: str, seen: int | None) -> bool:
        """A request was refused: whether it is worth sending it again with what there is now.

        Args:
            status: 401 or 403.
            challenge: what `WWW-Authenticate` says; "" for nothing.
            seen: the `serial` that the request was sent with; None if that is not known.

        Raises:
            UpstreamError: there can be no others, or not now.
        """
        ...
