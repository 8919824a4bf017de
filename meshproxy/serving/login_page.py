"""`LoginPage`: the page of the mesh where a caller logs in at an upstream with an account of his own. Place: serving, an `Annex`.

    GET  /login/NUMBER      who asks for what, and a button
    POST /login/NUMBER      somebody agrees: on to the upstream's authorization server
    GET  /login/callback    that sends the browser back: the tokens are fetched, and kept for the principal

Whoever opens a link of another principal must not end with his own account in that one's hands (2025-11-25 client/elicitation, "Phishing"). So the page says who asks, and nothing is done before somebody
agrees. A browser in which he did is that principal's from then on: a link of another is refused there, and the log says so. So is one by whoever shows a certificate or a key of another. The attempt
belongs to the browser in which it began. No page can be framed, runs a script, or is kept.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import structlog

from meshproxy.access.access import Entrance
from meshproxy.http.loopback import is_loopback, without_port
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.login.fetch import NotNow
from meshproxy.login.flow import answer_of
from meshproxy.login.invitations import CALLBACK, PAGES, Invitation, Invitations
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.vault import VaultError
from meshproxy.serving.private import Private
from meshproxy.serving.response import respond

__all__ = ["LoginPage"]

log = structlog.get_logger(__name__)

_COOKIE: Final = "meshproxy-login"
_YEAR: Final = 365 * 86400
_LARGEST: Final = 4096
"""Bytes of a form."""
_LOGGED: Final = 1024
_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer, with which a browser does not say where a form comes from.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_GONE: Final = "This link is not good any more: somebody has logged in by it, or it is too old. Go back to where you came from, and try again there."
_OTHERS: Final = (
    "This link is for somebody else than this browser belongs to, so nothing was done. If somebody has sent it to you, close this page: whoever logs in here gives "
    "his account to who asked for it. If you are both, open the link in a private window."
)


class Browser(NamedTuple):
    """What a cookie says of a browser: which it is, and whose; "" as long as nobody has agreed to anything there."""

    number: str
    owner: str = ""


class LoginPage:
    """See the module.

    Args:
        invitations: the links.
        entrance: knows whose a credential is.
        name: of the mesh.
        public_url: what browsers call it; "" for what clients of this machine do.
        scheme: of the port.
    """

    def __init__(
        self, invitations: Invitations, entrance: Entrance, name: str, *, public_url: str = "", scheme: str = "http"
    ) -> None:
        self._invitations = invitations
        self._entrance = entrance
        self._name = name
        self._public = public_url.rstrip("/")
        self._scheme = scheme
        self._logged: set[tuple[str, str]] = set()
        invitations.base = self._base

    def has(self, path: str) -> bool:
        """See `Annex`."""
        return path.startswith(PAGES)

    async def serve(self, scope: Scope, receive: Receive, send: Send, private: Private) -> None:
        """See `Annex`."""
        method, path = scope["method"], scope["path"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        base = self._base(headers)
        browser = self._browser(headers, base)
        if not base:
            await _page(send, 421, "This address is not one that the mesh goes by: set server.public_url.")
        elif path == CALLBACK and method == "GET":
            await self._came_back(scope, send, base, browser)
        elif method not in ("GET", "POST") or (invitation := self._invitations.get(path[len(PAGES) :])) is None:
            await _page(send, 404, _GONE)
        elif not invitation.is_good:
            await _page(send, 410, _GONE)
        elif (stranger := await self._stranger(scope, invitation, browser)) is not None:
            await self._refuse(send, invitation, stranger)
        elif method == "GET":
            await self._ask(send, base, invitation, browser)
        else:
            await self._agreed(scope, receive, send, base, invitation, browser, headers)

    # --- the steps

    async def _ask(self, send: Send, base: str, invitation: Invitation, browser: Browser | None) -> None:
        """Say who asks for what."""
        known = browser or Browser(secrets.token_urlsafe(24))
        asks = f"{invitation.who}, by {invitation.client}," if invitation.client else invitation.who
        host = urlsplit(invitation.url).netloc.rpartition("@")[2]
        text = (
            f"<h1>Log in at {escape(invitation.upstream)}</h1>"
            f"<p><b>{escape(asks)}</b> asks to use your account at <b>{escape(invitation.upstream)}</b> ({escape(host)}) through {escape(self._name)}.</p>"
            "<p>Only go on if this is you, and you have just asked for it. Whoever asked can use the account with which you log in.</p>"
            f'<form method="post"><input type="hidden" name="check" value="{self._check(known, invitation)}">'
            "<button>Log in</button></form>"
        )
        await _html(send, 200, text, self._cookie(known, base))

    async def _agreed(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        base: str,
        invitation: Invitation,
        browser: Browser | None,
        headers: Mapping[str, str],
    ) -> None:
        """Somebody wants to log in: send him on."""
        form = parse_qs((await _body(receive)).decode("latin-1"))
        checks = form.get("check", [""])
        parts = urlsplit(base)
        ours = f"{parts.scheme}://{parts.netloc}"
        is_ours = headers.get("origin", ours) == ours and headers.get("sec-fetch-site", "same-origin") == "same-origin"
        if browser is None or not is_ours or not _same(checks[0], self._check(browser, invitation)):
            await _page(
                send, 403, "Open the link itself, in a browser that takes cookies, and go on there: nothing was done."
            )
            return
        flow = invitation.begin(base + CALLBACK)
        # From here on it is this browser's.
        invitation.browser = browser.number
        try:
            page = await flow.begin()
        except (LoginFailed, NotNow) as error:
            await _page(send, 502, f"There is no way to log in at {invitation.upstream}: {error}.")
            return
        invitation.flow = flow
        text = (
            f'<meta http-equiv="refresh" content="0;url={escape(page)}">'
            f'<p><a href="{escape(page)}">Go on to {escape(urlsplit(page).netloc)}</a></p>'
        )
        await _html(send, 200, text, self._cookie(Browser(browser.number, invitation.owner), base))

    async def _came_back(self, scope: Scope, send: Send, base: str, browser: Browser | None) -> None:
        """The authorization server has sent the browser back."""
        answer = answer_of(f"{base}{CALLBACK}?{scope['query_string'].decode('latin-1')}")
        invitation = self._invitations.of_state(answer.get("state", ""))
        if invitation is None or not invitation.is_good or (flow := invitation.flow) is None:
            await _page(send, 404, _GONE)
            return
        if browser is None or browser.number != invitation.browser or browser.owner != invitation.owner:
            await self._refuse(send, invitation, browser.owner if browser is not None else "")
            return
        invitation.flow = None
        try:
            await flow.finish(answer)
        except (LoginFailed, VaultError) as error:
            invitation.end(str(error))
            await _page(send, 400, f"You are not logged in at {invitation.upstream}: {error}.")
            return
        except NotNow as error:
            await _page(send, 502, f"You are not logged in at {invitation.upstream}: {error}. Try again.")
            return
        invitation.end()
        log.info("login.own_account", upstream=invitation.upstream, principal=invitation.owner)
        await _page(
            send,
            200,
            f"You are logged in at {invitation.upstream}. You can close this page, and go back to where you came from.",
        )

    # --- who it is

    async def _stranger(self, scope: Scope, invitation: Invitation, browser: Browser | None) -> str | None:
        """Who it is that comes with another's link, or "" if that is not known; None if it may be his."""
        if browser is not None and browser.owner not in ("", invitation.owner):
            return browser.owner
        if invitation.browser and (browser is None or browser.number != invitation.browser):
            return ""
        certificate = scope.get("client_name")
        if certificate is not None and (shown := f"certificate:{certificate}") != invitation.owner:
            return shown
        credentials = [value for name, value in scope["headers"] if name == b"authorization"]
        if credentials:
            await self._entrance.access.fetch(credentials)
            holder = self._entrance.access.holder(credentials)
            if holder is not None and holder.identity != invitation.owner:
                return holder.identity
        return None

    async def _refuse(self, send: Send, invitation: Invitation, stranger: str) -> None:
        fact = (invitation.number, stranger)
        if fact not in self._logged:
            if len(self._logged) >= _LOGGED:
                self._logged.clear()
            self._logged.add(fact)
            log.warning("access.not_its_own", what="login link", principal=stranger, owner=invitation.owner)
        await _page(send, 403, _OTHERS)

    def _base(self, headers: Mapping[str, str]) -> str:
        """See `Invitations.base`: a name that a client made up leads nobody anywhere."""
        if self._public:
            return self._public
        host = headers.get("host", "")
        return f"{self._scheme}://{host}" if is_loopback(without_port(host)) else ""

    def _browser(self, headers: Mapping[str, str], base: str) -> Browser | None:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(_name(base))
        except CookieError:
            return None
        parts = found.value.split(".") if found is not None else []
        if len(parts) != 3:
            return None
        number, owner, mark = parts
        try:
            browser = Browser(number, urlsafe_b64decode(owner).decode())
        except ValueError:
            return None
        return browser if _same(mark, self._invitations.mark("browser", *browser)) else None

    def _cookie(self, browser: Browser, base: str) -> tuple[bytes, bytes]:
        owner = urlsafe_b64encode(browser.owner.encode()).decode()
        value = f"{browser.number}.{owner}.{self._invitations.mark('browser', *browser)}"
        secure = "; Secure" if base.startswith("https:") else ""
        text = f"{_name(base)}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={_YEAR}{secure}"
        return b"set-cookie", text.encode()

    def _check(self, browser: Browser, invitation: Invitation) -> str:
        """What a form bears that only this page in this browser has."""
        return self._invitations.mark("form", browser.number, invitation.number)


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode(), other.encode())


def _name(base: str) -> str:
    """A browser takes such a name over TLS alone, from this host alone (RFC 6265bis, 4.1.3.2)."""
    return f"__Host-{_COOKIE}" if base.startswith("https:") else _COOKIE


async def _body(receive: Receive) -> bytes:
    body = b""
    while len(body) <= _LARGEST:
        message: dict[str, Any] = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return body
    return b""


async def _page(send: Send, status: int, text: str) -> None:
    await _html(send, status, f"<p>{escape(text)}</p>")


async def _html(send: Send, status: int, content: str, *extra: tuple[bytes, bytes]) -> None:
    body = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>meshproxy</title>{content}</html>'
    await respond(send, status, body.encode(), _HTML, (*_HEADERS, *extra))
