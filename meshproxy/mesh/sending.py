"""`Sending`: sends a caller who has no account at an upstream yet to the page where he logs in, and lets his call go on when he has. Place: mesh, under `callers`.

A client of the legacy era that takes URLs is asked within its call (2025-11-25 client/elicitation, "URL Mode"), and told when the page is done with; another one gets the error -32042 with the URL. One of the
modern era is answered with the question, and its retry goes on (2026-07-28 basic/patterns/mrtr); one that takes no URLs is told by -32021 what it lacks, with the URL for its user.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from weakref import ref

from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.errors import MISSING_CLIENT_CAPABILITY, URL_ELICITATION_REQUIRED, RpcError
from meshproxy.login.invitations import PAGES, Invitation, Invitations
from meshproxy.relay.call import PENDING, Call
from meshproxy.relay.downstream import Downstream
from meshproxy.wire.codec import mapping, opened
from meshproxy.wire.protocol import COMPLETE, INPUT_REQUIRED, Era

__all__ = ["Sending", "url_of"]

_KEY: Final = "meshproxy-login"
_DONE: Final = "notifications/elicitation/complete"
PATIENCE: Final = 300.0
"""Seconds for which a call of the legacy era waits for its caller to log in."""
RETRY: Final = 45.0
"""Seconds for which a retry of the modern era does: clients repeat a call as soon as the page is open."""

Invite: TypeAlias = Callable[[Call], tuple[Invitation, str]]
"""Makes an invitation for the caller, with its URL. Raises `LoginNeeded` where there is no page that he could reach."""
GoOn: TypeAlias = Callable[[Call], None]


class Sending:
    """The callers of one mesh who are sent to a page."""

    def __init__(self, invitations: Invitations) -> None:
        self.invitations = invitations
        self._sealer = Sealer()

    def send(self, call: Call, invite: Invite, go_on: GoOn) -> Any:
        """Send a call's caller to the page, and let `go_on` have the call when he has logged in: what the call ends with now, or `PENDING`. Raises as `invite`."""
        invitation, url = invite(call)
        downstream = call.context.downstream
        message = _message(invitation)
        takes_urls = "url" in (mapping(downstream.capabilities.get("elicitation")) or {})
        if downstream.era is Era.LEGACY:
            if takes_urls:
                waiting = _Waiting(self, invite, go_on, invitation)
                call.wait(self._asked(call, invitation, url), waiting.asked)
                return PENDING
            return _required(downstream, invitation, url)
        if not takes_urls:
            return RpcError(
                MISSING_CLIENT_CAPABILITY,
                f"{message}: {url}",
                {"requiredCapabilities": {"elicitation": {"url": {}}}, "url": url},
            )
        binding = binding_of(call.context, call.method, call.params)
        return {
            "resultType": INPUT_REQUIRED,
            "inputRequests": {
                _KEY: {"method": "elicitation/create", "params": {"mode": "url", "message": message, "url": url}}
            },
            "requestState": self._sealer.seal(invitation.number.encode(), binding),
        }

    def resumes(self, call: Call, invite: Invite, go_on: GoOn) -> bool:
        """Whether a call is the retry of one whose caller was sent to a page; then it goes on when he has logged in."""
        if "requestState" not in call.params or call.context.downstream.era is not Era.MODERN:
            return False
        binding = binding_of(call.context, call.method, call.params)
        try:
            number = self._sealer.open(opened(call.params["requestState"]), binding).decode()
        except RpcError:
            # The state of an upstream, which knows its own.
            return False
        answers = mapping(call.params.get("inputResponses")) or {}
        call.params = {
            key: value for key, value in call.params.items() if key not in ("requestState", "inputResponses")
        }
        if opened((mapping(answers.get(_KEY)) or {}).get("action")) != "accept":
            call.end(_declined(call))
            return True
        invitation = self.invitations.get(number)
        if invitation is None or invitation.ended.is_set():
            self.settled(call, invitation, go_on)
        else:
            waiting = _Waiting(self, invite, go_on, invitation)
            call.wait(_until(invitation, RETRY), waiting.waited)
        return True

    def settled(self, call: Call, invitation: Invitation | None, go_on: GoOn) -> None:
        """A login has ended: the call goes on, or ends with why it was refused."""
        if invitation is not None and invitation.failure:
            call.end(_failed(call, invitation.failure))
        else:
            go_on(call)

    async def _asked(self, call: Call, invitation: Invitation, url: str) -> bool | RpcError:
        """Ask a legacy client, and wait until its user has logged in: whether he wants to, or what the call ends with."""
        downstream = call.context.downstream
        try:
            answer = await call.context.send_raw_request("elicitation/create", _question(invitation, url))
        except RpcError:
            return _required(downstream, invitation, url)
        if opened(answer.get("action")) != "accept":
            return False
        if not await _until(invitation, PATIENCE):
            return _required(downstream, invitation, url)
        if not invitation.failure:
            call.context.notify(_DONE, {"elicitationId": invitation.number})
        return True


class _Waiting:
    """What a call goes on with when its caller has logged in, or has not."""

    def __init__(self, sending: Sending, invite: Invite, go_on: GoOn, invitation: Invitation) -> None:
        self._sending = sending
        self._invite = invite
        self._go_on = go_on
        self._invitation = invitation

    def asked(self, call: Call, answer: bool | RpcError) -> None:  # noqa: FBT001  # see `Call.wait`
        if isinstance(answer, RpcError):
            call.end(answer)
        elif answer:
            self._sending.settled(call, self._invitation, self._go_on)
        else:
            call.end(_declined(call))

    def waited(self, call: Call, has_ended: bool) -> None:  # noqa: FBT001  # see `Call.wait`
        if has_ended:
            self._sending.settled(call, self._invitation, self._go_on)
            return
        outcome = self._sending.send(call, self._invite, self._go_on)
        if outcome is not PENDING:
            call.end(outcome)


async def _until(invitation: Invitation, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await invitation.ended.wait()
    except TimeoutError:
        return False
    return True


def _message(invitation: Invitation) -> str:
    return f"{invitation.upstream} wants you to log in with your own account"


def _question(invitation: Invitation, url: str) -> dict[str, Any]:
    return {"mode": "url", "elicitationId": invitation.number, "url": url, "message": _message(invitation)}


def _required(downstream: Downstream, invitation: Invitation, url: str) -> RpcError:
    """The error of a legacy call before which its user has to go to a page; its client hears when that is done with."""
    weak = ref(downstream)

    def tell() -> None:
        there = weak()
        if there is not None:
            there.notify(_DONE, {"elicitationId": invitation.number})

    invitation.on_done(tell)
    question: Mapping[str, Any] = _question(invitation, url)
    return RpcError(URL_ELICITATION_REQUIRED, f"{_message(invitation)}: {url}", {"elicitations": [question]})


def _declined(call: Call) -> Any:
    return _failed(call, "the user did not want to log in")


def _failed(call: Call, why: str) -> Any:
    if call.method != "tools/call":
        return RpcError(URL_ELICITATION_REQUIRED, f"Nothing was done: {why}")
    result: dict[str, Any] = {"content": [{"type": "text", "text": f"Nothing was done: {why}."}], "isError": True}
    return result | ({"resultType": COMPLETE} if call.context.downstream.era is Era.MODERN else {})


def url_of(base: str, invitation: Invitation) -> str:
    """Where the page of an invitation is."""
    return f"{base}{PAGES}{invitation.number}"
