"""Where an upstream redirects to, and whether a request follows it there. Place: links, above the HTTP client, which follows nothing.

A request follows within the origin of the upstream's URL, since our headers are for that one alone, and only a redirect that leaves it as it
is: 307 or 308 (RFC 9110, 15.4.8 and 15.4.9), and for a GET any other that names a place. All others are for the user to mend, who is told
where they lead.
"""

import asyncio
import re
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from meshproxy.errors import UpstreamError
from meshproxy.http.client import HttpClient, target_of
from meshproxy.http.response import OnHead, Response
from meshproxy.links.negotiation import RefusedError

__all__ = ["MAX_HOPS", "Trail", "follow", "is_redirect", "origin_of", "resolved", "shown"]

MAX_HOPS: Final = 3
"""Redirects that one request follows."""
SOON: Final = 0.005
"""Seconds that a request has at least which is sent when its time is all but over."""

_FOLLOWED: Final = {"POST": frozenset({307, 308}), "GET": frozenset({301, 302, 303, 307, 308})}
_PERMANENT: Final = frozenset({301, 308})
_PORTS: Final = {"http": 80, "https": 443}
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


class Trail:
    """The way of one request: where it was sent, and where it was sent on to.

    Args:
        upstream: the configured name, for errors.
        url: where the request goes first.
        method: of HTTP, in upper case.

    Attributes:
        url: where it was sent last.
        is_permanent: whether every redirect so far says that it is for good.
    """

    def __init__(self, upstream: str, url: str, method: str = "POST") -> None:
        self.url = url
        self.is_permanent = True
        self._upstream = upstream
        self._followed = _FOLLOWED.get(method, _FOLLOWED["POST"])
        self._first = ""
        self._hops = 0
        self._end: RefusedError | None = None

    def next(self, response: Response) -> str | None:
        """The path and query to send the request to instead; None if it has arrived, be it at a refusal.

        Raises:
            RefusedError: it leads to another origin, or on and on.
        """
        location = response.header("location")
        if response.status not in self._followed or location is None:
            return None
        url = resolved(self.url, location)
        if url is None:
            return None
        if origin_of(url) != origin_of(self.url):
            raise self._refused(
                f"it redirects to {shown(location)}, which is another origin: set that as the url if it is the one meant"
            )
        if self._hops == MAX_HOPS:
            raise self._refused(f"it redirects more than {MAX_HOPS} times, last to {shown(location)}: check the url")
        self._hops += 1
        self._first = self._first or f"it redirects to {shown(location)} (HTTP {response.status})"
        self.is_permanent = self.is_permanent and response.status in _PERMANENT
        # What the URL says of who we are stays, whatever the upstream writes in its place.
        self.url = urlsplit(url)._replace(netloc=urlsplit(self.url).netloc, fragment="").geturl()
        return target_of(self.url)

    @property
    def is_redirected(self) -> bool:
        """Whether the request was sent on."""
        return self._hops > 0

    def told(self, error: UpstreamError) -> UpstreamError:
        """What went wrong where the request arrived, with how it came there."""
        if not self._hops or error is self._end:
            return error
        return error.reworded(f"{self._first}, and there: {error.reason}")

    def _refused(self, reason: str) -> RefusedError:
        self._end = RefusedError(self._upstream, reason)
        return self._end


async def follow(
    http: HttpClient,
    trail: Trail,
    response: Response,
    method: str,
    head: bytes,
    body: bytes = b"",
    *,
    deadline: float | None = None,
    on_head: OnHead | None = None,
) -> Response:
    """Send a request, of which `response` came, on to where that redirects; the first answer that does not.

    Args:
        http: what it was sent by.
        trail: gets longer by each redirect.
        response: `follow` is for redirects, but takes any.
        method: and what follows, as it was sent; see `HttpClient.request`.
        head: likewise.
        body: likewise.
        deadline: in the loop's time, for all redirects together; None for none.
        on_head: as for `HttpClient.request`.

    Raises:
        RefusedError: see `Trail.next`.
        TransportError: see `HttpClient.request`.
    """
    while (target := trail.next(response)) is not None:
        response.release()
        left = None if deadline is None else max(deadline - asyncio.get_running_loop().time(), SOON)
        response = await http.request(method, target, head, body, timeout=left, on_head=on_head)
    return response


def is_redirect(status: int) -> bool:
    """Whether a status says that something is elsewhere."""
    return 300 <= status < 400


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL (RFC 6454, 4). Raises ValueError if it has a port that is none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)


def shown(location: str) -> str:
    """Where a redirect leads, without what may be secret in it, or what would not be one short line."""
    try:
        parts = urlsplit(location)
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path
    return _UNPRINTABLE.sub("?", text)[:200] or "a place that is none"


def resolved(base: str, location: str) -> str | None:
    """The URL that a `Location` names; None if it names none that could be asked."""
    try:
        url = urljoin(base, location)
        origin_of(url)
    except ValueError:
        return None
    return url if urlsplit(url).hostname else None
