"""What an HTTP answer that is no event stream means: a message, or the reason why there is none. No I/O.

Source: basic/transports, "Streamable HTTP", of both eras; RFC 9110, section 15, for what a status says about a request having been
carried out.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.http.response import Response
from meshproxy.links.duplex import excerpt
from meshproxy.links.negotiation import CallerRefusedError, NotNowError, RefusedError, RequestRefusedError
from meshproxy.links.redirects import is_redirect, shown
from meshproxy.wire.messages import Answer, parse

EXPIRED: Final = "the session has expired"

_ADVICE: Final = {
    401: "it wants credentials: set `headers` of this upstream (Authorization: Bearer ${TOKEN}) or its `auth`, or check what is set there",
    403: "it refuses us: set or check `headers` of this upstream",
    404: "there is no MCP endpoint at this URL",
    405: "there is no streamable HTTP endpoint at this URL: if it is one of the older HTTP+SSE, set `transport: sse`",
    407: "the proxy wants credentials: put them into the URL of the proxy",
    413: "the request is larger than it accepts",
    429: "it has had too many requests",
    503: "it is not able to answer now",
}
_HAS_LOGIN: Final = "it has a login: set `auth: oauth` of this upstream, or check what is set as `auth` or `headers`"
"""Of a 401 that names where its login is described (RFC 9728, 5.1)."""
_NOT_CARRIED_OUT: Final = frozenset({501, 503})
"""Server errors that say that the request was not even begun; the other ones leave it open."""


_OF_THE_WAY: Final = frozenset({401, 403, 404, 405, 407, 410})
"""Refusals that every request would meet: who we are to it, or where we look for it."""


_OF_THE_CALLER: Final = frozenset({401, 403, 407, 413, 429})
"""Refusals that are not of a session, whatever they say: of who we are, or of this request alone."""
_SESSION: Final = b"session"
_SAID: Final = 4096
"""Bytes of a body that are looked through for what it says."""
_DIGITS: Final = 9
"""Digits of a `Retry-After` that are read: decades."""


class SessionExpiredError(UpstreamUnavailable):
    """The upstream did not know the session, so it did not carry the request out."""

    is_fault = False


def judge(
    upstream: str,
    response: Response,
    answer: Answer | None,
    request_id: int,
    *,
    has_session: bool,
    brought: Collection[str] = (),
    is_a_clients: bool = False,
) -> Answer:
    """The answer to a request in a whole response, whatever its status. `answer` is what its body holds.

    `brought` are the headers that clients bring themselves, and `is_a_clients` says whether it is a call of one.

    Raises:
        SessionExpiredError: the session is gone.
        RefusedError: the request was not carried out; `RequestRefusedError` if that is for itself alone.
        AnswerLost: it may have been.
    """
    status = response.status
    if status < 300:
        if answer is not None:
            return answer
        raise AnswerLost(upstream, not_mcp(status, response.headers, response.body))
    asked = retry_after(response)
    if has_session and (status == 404 or _tells_of_session(response, answer, request_id)):
        raise SessionExpiredError(upstream, EXPIRED)
    if answer is not None and status not in (401, 403):
        if isinstance(answer.outcome, RpcError):
            answer.outcome.retry_after = asked
        return answer
    if is_redirect(status):
        location = response.header("location")
        if location is None:
            raise RefusedError(upstream, f"it answered HTTP {status}, a redirect that leads nowhere: check the url")
        where = f"it redirects to {shown(location)} (HTTP {status})"
        raise RefusedError(upstream, f"{where}: set that as the url if it is the one meant")
    if brought and status in (401, 403):
        if is_a_clients:
            what = "wants the caller's own credentials" if status == 401 else "refuses the caller"
            hint = f"send {', '.join(sorted(brought))} with each request"
            raise CallerRefusedError(upstream, f"it answered HTTP {status}: it {what}: {hint}")
        hint = "set `headers` of this upstream too; the mesh lists with them, and each call goes with its caller's own"
        reason = f"it answered HTTP {status}: it wants credentials of the mesh: {hint}"
        raise RefusedError(upstream, reason, is_lasting=True)
    has_login = status == 401 and "resource_metadata" in (response.header("www-authenticate") or "").lower()
    said = _HAS_LOGIN if has_login else _ADVICE.get(status) or _said(response)
    reason = f"it answered HTTP {status}: {said}" if said else f"it answered HTTP {status}"
    if status in _OF_THE_WAY:
        raise RefusedError(upstream, reason, is_lasting=True, retry_after=asked)
    if status < 500:
        raise RequestRefusedError(upstream, reason, retry_after=asked)
    if status in _NOT_CARRIED_OUT:
        raise NotNowError(upstream, reason, retry_after=asked)
    raise AnswerLost(upstream, reason, retry_after=asked)


def may_be_of_session(response: Response) -> bool:
    """Whether the refusal of a request within a session may be one of the session: then any request would meet it."""
    status = response.status
    if status < 400 or status in _OF_THE_CALLER:
        return False
    return status < 500 or _SESSION in _words(response.body)


def _tells_of_session(response: Response, answer: Answer | None, request_id: int) -> bool:
    """Whether a refusal says of the session that it is not known. The specification wants 404; servers of many kinds say it otherwise."""
    if not 400 <= response.status < 500 or response.status in _OF_THE_CALLER:
        return False
    if answer is None:
        return _SESSION in _words(response.body)
    # What answers this very request may well be about something else that is called a session.
    return (
        answer.id != request_id
        and isinstance(answer.outcome, RpcError)
        and _SESSION.decode() in answer.outcome.message.lower()
    )


def _words(body: bytes) -> bytes:
    """What a body says, in lower case; nothing if it is a page."""
    return b"" if b"<" in body[:100] else body[:_SAID].lower()


def retry_after(response: Response) -> float | None:
    """The seconds that a response wants nobody to try again for (RFC 9110, 10.2.3: seconds, or a date); None if it has not said so."""
    value = (response.header("retry-after") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:_DIGITS])
    until = _date(value)
    if until is None:
        return None
    # By the clock of the server, if it shows it.
    now = _date(response.header("date") or "") or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def answer_in(body: bytes) -> Answer | None:
    """The answer in a body; None if there is none."""
    try:
        message = parse(body)
    except RpcError:
        return None
    return message if isinstance(message, Answer) else None


def not_mcp(status: int, headers: Mapping[bytes, bytes], body: bytes) -> str:
    """What is to be said of a response that looks like success and holds no message."""
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip()
    looks = "without a body" if not body else f"with {excerpt(kind, 60)}" if kind else "with an untyped body"
    return f"it answered HTTP {status} {looks}, which is not MCP: check the url"


def _said(response: Response) -> str:
    """The beginning of what the body says, unless that is a page."""
    body = response.body
    return "" if b"<" in body[:100] else excerpt(body)
