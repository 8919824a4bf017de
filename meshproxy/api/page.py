"""`Page`: the web page at `/`, served from files that come with the package. Place: api.

It is nothing but files: what it shows and does goes over `/api` and the endpoint itself, with the credential that its visitor types in. So whoever may reach it may have it where a
credential is asked for, and elsewhere this machine alone. It loads nothing from anywhere else, and nothing that is written into it runs: the policy that comes with it says so.
"""

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.serving.private import Private
from meshproxy.serving.response import TEXT, respond

__all__ = ["POLICY", "Page"]

_FILES: Final = Path(__file__).parent.parent / "page"
_BASE: Final = "/page/"
_TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
}
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and run: its own files, and pictures and sounds that a tool answered with."""
_HEADERS: Final = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    # Another version of the mesh may be there a moment later, and all of its files have to be of one.
    (b"cache-control", b"no-cache"),
)


class _File(NamedTuple):
    body: bytes
    kind: bytes
    tag: bytes


class Page:
    """See the module. The files are read when they are asked for first."""

    def __init__(self) -> None:
        self._known: dict[str, _File] = {}

    def has(self, path: str) -> bool:
        """See `Annex`. Where the endpoint itself is at `/`, the page is at `/page/` alone."""
        return path == "/" or path.startswith(_BASE)

    async def serve(self, scope: Scope, receive: Receive, send: Send, private: Private) -> None:
        """See `Annex`."""
        refusal = private.unreachable(scope)
        if refusal is not None:
            await respond(send, refusal.status, f"{refusal.message}\n".encode(), TEXT, _HEADERS)
            return
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, b"", extra=((b"allow", b"GET, HEAD"), *_HEADERS))
            return
        file = self._file(scope["path"].removeprefix(_BASE) if scope["path"] != "/" else "")
        if file is None:
            await respond(send, 404, b"Not found. The page is at /\n", TEXT, _HEADERS)
            return
        tagged = (*_HEADERS, (b"etag", file.tag))
        if dict(scope["headers"]).get(b"if-none-match") == file.tag:
            await respond(send, 304, b"", extra=tagged)
        else:
            await respond(send, 200, file.body, (b"content-type", file.kind), tagged)

    def _file(self, name: str) -> _File | None:
        name = name or "index.html"
        if not self._known:
            self._known = {name: _read(name) for name in _names()}
        return self._known.get(name)


def _names() -> frozenset[str]:
    """The files that there are. A name that is none of them leads nowhere, whatever dots are in it."""
    return frozenset(
        path.relative_to(_FILES).as_posix() for path in _FILES.rglob("*") if path.is_file() and path.suffix in _TYPES
    )


def _read(name: str) -> _File:
    path = _FILES / name
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:16]
    return _File(body, _TYPES[path.suffix], f'"{digest}"'.encode())
