"""The token endpoint: what is sent there, and what its answers mean. Place: login, above `fetch` and `vault`.

Sources: OAuth 2.1 draft 13 (3.2, 4.1, 4.2, 4.3), RFC 8707 (`resource`), RFC 7009 (revocation), RFC 7523 (`private_key_jwt`).
"""

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from meshproxy.errors import MeshError
from meshproxy.login.fetch import Fetch, NotNow, Reply
from meshproxy.login.metadata import AuthorizationServer, LoginFailed
from meshproxy.login.vault import Client, Grant
from meshproxy.observe.spelling import one_line

__all__ = ["Refused", "Signer", "obtain", "revoke"]

Signer = Callable[[str, str], str]
"""From a client id and an audience to a signed assertion of who we are (RFC 7523, 3)."""

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST: Final = 10 * 365 * 86400.0
"""Seconds that a token may last, whatever a server says."""
_SAID: Final = 200
"""Characters of a server's words that are told."""


class Refused(MeshError):
    """The authorization server gives no token for this, and would not the next time either. `code` is its error code."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(f"the authorization server refused: {said}")
        self.code = code


async def obtain(
    fetch: Fetch,
    server: AuthorizationServer,
    client: Client,
    resource: str,
    form: Mapping[str, str],
    *,
    signer: Signer | None = None,
    before: Grant | None = None,
) -> Grant:
    """Ask for a token.

    Args:
        fetch: asks.
        server: whom.
        client: as whom.
        resource: for what.
        form: the grant type and what belongs to it.
        signer: for a client whose method is `private_key_jwt`.
        before: the grant that is refreshed: what the answer does not say is as it was there.

    Raises:
        Refused: for good.
        NotNow: for now.
        LoginFailed: the answer is none that could be used.
    """
    reply = await _send(fetch, server.token_endpoint, server, client, {**form, "resource": resource}, signer)
    document = reply.document
    if reply.status != 200:
        _refuse(reply, server)
    token, kind = document.get("access_token"), document.get("token_type")
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
        raise LoginFailed(f"the answer of {server.issuer} holds no access token that could be shown")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise LoginFailed(f"{server.issuer} gives a token of another type than Bearer, which cannot be shown")
    now = time.time()
    refresh, scope = document.get("refresh_token"), document.get("scope")
    granted = tuple(scope.split()) if isinstance(scope, str) and scope else tuple(form.get("scope", "").split())
    return Grant(
        server,
        resource,
        client,
        token,
        _end(document.get("expires_in"), now),
        refresh if isinstance(refresh, str) and refresh else before.refresh_token if before is not None else "",
        granted or (before.scopes if before is not None else ()),
        now,
    )


async def revoke(fetch: Fetch, grant: Grant, *, signer: Signer | None = None) -> bool:
    """Give up what was granted (RFC 7009); says whether the server took that. The refresh token first, which ends what came of it."""
    if not grant.server.revocation_endpoint:
        return False
    done = True
    for kind, token in (("refresh_token", grant.refresh_token), ("access_token", grant.access_token)):
        if token:
            form = {"token": token, "token_type_hint": kind}
            reply = await _send(fetch, grant.server.revocation_endpoint, grant.server, grant.client, form, signer)
            done &= reply.status == 200
    return done


async def _send(
    fetch: Fetch,
    url: str,
    server: AuthorizationServer,
    client: Client,
    form: Mapping[str, str],
    signer: Signer | None,
) -> Reply:
    """Send a form as a client."""
    authorization = ""
    match client.method:
        case "client_secret_basic":
            # Each half is form-encoded before (OAuth 2.1, 2.4.1).
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
            # Servers of the SDK look for it there first, and know nobody who does not say it.
            form = {**form, "client_id": client.id}
        case "client_secret_post":
            form = {**form, "client_id": client.id, "client_secret": client.secret}
        case "private_key_jwt" if signer is not None:
            assertion = signer(client.id, server.issuer)
            form = {
                **form,
                "client_id": client.id,
                "client_assertion_type": ASSERTION,
                "client_assertion": assertion,
            }
        case _:
            form = {**form, "client_id": client.id}
    return await fetch.post(url, form, authorization)


def _refuse(reply: Reply, server: AuthorizationServer) -> None:
    code = reply.document.get("error")
    if reply.status >= 500 or reply.status == 429 or code in ("temporarily_unavailable", "server_error", "slow_down"):
        raise NotNow(f"{server.issuer} answered HTTP {reply.status}", reply.retry_after)
    if reply.status not in (400, 401, 403) or not isinstance(code, str):
        # An answer that is not of OAuth is of something in between, and says nothing of the grant.
        raise NotNow(f"{server.issuer} answered HTTP {reply.status}, and not what it wants", reply.retry_after)
    raise Refused(code, f"{one_line(code, _SAID)}{_detail(reply.document)}")


def _detail(document: Mapping[str, Any]) -> str:
    said = document.get("error_description")
    return f" ({one_line(said, _SAID)})" if isinstance(said, str) and said else ""


def _end(seconds: Any, now: float) -> float | None:
    """When a token ends; None if the server does not say. Some say the seconds as a text."""
    try:
        lasts = float(seconds)
    except (TypeError, ValueError):
        return None
    return now + min(max(lasts, 0.0), LONGEST) if lasts == lasts else None  # noqa: PLR0124  # not a number is not itself
