"""`Fetch`: the few requests of a login, by the project's own HTTP client. Place: login, above `reach`.

Nothing is followed anywhere: a redirect is an answer like any other, and no good one (2026-07-28 security_best_practices, "SSRF"). Nobody's
credentials go along but those that the caller gives.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from meshproxy.errors import MeshError
from meshproxy.http.client import HttpClient, Response, TransportError
from meshproxy.http.loopback import is_loopback
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.reach import Reach

__all__ = ["Fetch", "NotNow", "Reply"]

TIMEOUT: Final = 15.0
"""Seconds for one request, connecting included."""
MOST: Final = 1 << 20
"""Bytes of one document."""


class NotNow(MeshError):
    """Nobody is there, or cannot answer now: in one line. `retry_after` are the seconds that the server wants nobody to come again for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Reply:
    """An answer: its status, and the JSON object in its body; empty for anything else."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.challenge = response.header("www-authenticate") or ""
        try:
            found = json.loads(response.body)
        except ValueError:
            found = None
        self.document: dict[str, Any] = found if isinstance(found, dict) else {}
        wait = response.header("retry-after") or ""
        self.retry_after = float(wait) if wait.isascii() and wait.isdigit() else None


class Fetch:
    """Requests to where the upstream's login leads, as far as `reach` permits."""

    def __init__(self, reach: Reach) -> None:
        self.reach = reach

    async def get(self, url: str) -> Reply:
        """Ask for a document. Raises as `_ask`."""
        return await self._ask("GET", url, [("accept", "application/json")], b"")

    async def post(
        self, url: str, form: Mapping[str, str] | Sequence[tuple[str, str]], authorization: str = ""
    ) -> Reply:
        """Send a form. Raises as `_ask`."""
        headers = [("accept", "application/json"), ("content-type", "application/x-www-form-urlencoded")]
        if authorization:
            headers.append(("authorization", authorization))
        return await self._ask("POST", url, headers, urlencode(form).encode())

    async def post_json(self, url: str, document: Mapping[str, Any], headers: Sequence[tuple[str, str]] = ()) -> Reply:
        """Send JSON. Raises as `_ask`."""
        lines = [("accept", "application/json"), ("content-type", "application/json"), *headers]
        return await self._ask("POST", url, lines, json.dumps(document).encode())

    def check(self, url: str) -> None:
        """Raises `LoginFailed` for a URL that must not be asked, or that nobody should be sent to: everything is over TLS, but on this machine."""
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or not url.isascii() or not url.isprintable() or " " in url:
            raise LoginFailed("the server names something as a URL that is none; tell whoever runs it")
        if parts.scheme == "http" and not self.reach.is_plain and not is_loopback(parts.hostname or ""):
            raise LoginFailed(f"{_place(url)} is not https, so nothing secret can be sent there")

    async def _ask(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
        """Send one request.

        Raises:
            LoginFailed: the URL must not be asked.
            NotNow: no answer came.
        """
        self.check(url)
        try:
            http = HttpClient(url, connect_timeout=TIMEOUT, max_body=MOST, permits=self.reach.permits)
        except ValueError as error:
            raise LoginFailed(f"{_place(url)}: {error}") from None
        try:
            response = await http.request(method, None, headers, body, timeout=TIMEOUT)
            response.release()
        except TransportError as error:
            raise NotNow(f"{_place(url)}: {error}") from None
        finally:
            await http.aclose()
        return Reply(response)


def _place(url: str) -> str:
    """A URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
