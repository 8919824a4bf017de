"""`ApiClient`: asks `/api` of a mesh that runs, for the commands about it. Place: cli, under `running`."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from meshproxy.cli.entry import Failure
from meshproxy.cli.headers import headers_of
from meshproxy.cli.peer import is_url
from meshproxy.config.load import load
from meshproxy.config.secrets import without_secrets
from meshproxy.http.loopback import resolvable

__all__ = ["ApiClient"]

_PATIENCE: Final = 90.0
"""Seconds: the mesh answers after sixty what is not done by then."""
_WRONG: Final = 400
_ALWAYS: Final = {"accept": "application/json", "x-meshproxy": "1"}


class ApiClient:
    """Asks the mesh at a URL, whatever its path, or the one that a config says where it is.

    Raises:
        ConfigError, Failure: it is neither.
    """

    def __init__(self, target: str, headers: Sequence[str]) -> None:
        self._headers = {**_ALWAYS, **headers_of(headers)}
        self._origin = _origin(target)
        # Not by way of a proxy: what it asks is mostly on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, *path: str, **query: str | int | Sequence[str] | None) -> Any:
        """What is at a path, decoded. Raises `Failure`."""
        given = urlencode({key: value for key, value in query.items() if value is not None}, doseq=True)
        return self._ask("GET", path, given)

    def post(self, *path: str, body: Any = None) -> Any:
        """What a POST to a path, with this value as JSON, is answered with. Raises `Failure`."""
        return self._ask("POST", path, "", b"" if body is None else json.dumps(body).encode())

    def _ask(self, method: str, path: Sequence[str], query: str, data: bytes | None = None) -> Any:
        url = f"{self._origin}/api/{'/'.join(quote(part, safe='') for part in path)}{query and f'?{query}'}"
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310  # http or https, as `_origin` sees to
        shown = without_secrets(self._origin)
        try:
            with self._opener.open(request, timeout=_PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                # What was asked wrongly is the command line's, as where a file is asked.
                raise Failure(_said(shown, error), status=2 if error.code == _WRONG else 1) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            reason = getattr(reason, "strerror", None) or reason
            raise Failure(
                f"no mesh answers at {shown}: {reason}; start it with meshproxy serve, or give its URL"
            ) from None


def _said(shown: str, error: urllib.error.HTTPError) -> str:
    """What the mesh says of why not."""
    try:
        told = json.load(error)
    except ValueError:
        told = None
    if isinstance(told, Mapping) and isinstance(told.get("error"), str):
        text: str = told["error"]
        hint = "; use --header 'Authorization: Bearer ...'" if error.code == 401 else ""
        return text + hint
    return f"{shown} is no mesh, or one without /api: HTTP {error.code}"


def _origin(target: str) -> str:
    if is_url(target):
        parts = urlsplit(target)
        return f"{parts.scheme}://{parts.netloc}"
    server = load(target).server
    if server.port == 0:
        raise Failure(f"{target} says port 0, which is another one at each start: give the URL", status=2)
    host = resolvable(server.host)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    scheme = "http" if server.tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}"
