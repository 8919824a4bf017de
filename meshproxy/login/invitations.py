"""`Invitations`: links to the page of the mesh where a caller logs in at an upstream with an account of his own. Place: login, above `flow`.

A link is for one principal and one upstream, for a while, and until it has done its service. The first browser in which somebody agrees is the only one from then on, and each
of its attempts has a state of its own that is good once (2025-11-25 client/elicitation, "URL Mode"; security_best_practices). Whoever waits for the login and the page meet here.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from meshproxy.cluster.home import named

if TYPE_CHECKING:
    from meshproxy.login.flow import Flow

__all__ = ["CALLBACK", "PAGES", "Invitation", "Invitations"]

PAGES: Final = "/login/"
"""Below it are the pages, each named by the number of its invitation."""
CALLBACK: Final = "/login/callback"
"""Where the authorization server sends the browser back to."""
LASTS: Final = 600.0
"""Seconds for which a link is good."""
MOST: Final = 10_000
"""Links that are known at one time; of more, the oldest are forgotten."""


class Invitation:
    """One link.

    Attributes:
        number: what it is known by, which nobody can guess.
        upstream: where one logs in, as the config calls it.
        url: of that.
        owner: the identity of the principal whom it is for.
        who: the same, for people.
        client: what asks for it, as it calls itself; "" if it does not say.
        begin: makes an attempt, for the address that the browser comes back to.
        done: told that there is a login.
        browser: the one in which somebody agreed; "" before.
        flow: the attempt that is under way.
        ended: set when somebody has logged in, or was refused.
        failure: why he was refused; "" if he was not.
    """

    def __init__(
        self,
        upstream: str,
        url: str,
        owner: str,
        who: str,
        client: str,
        begin: "Callable[[str], Flow]",
        done: Callable[[], None],
    ) -> None:
        self.number = named(secrets.token_urlsafe(32))
        self.upstream = upstream
        self.url = url
        self.owner = owner
        self.who = who
        self.client = client
        self.begin = begin
        self.done = done
        self.until = time.monotonic() + LASTS
        self.browser = ""
        self.flow: Flow | None = None
        self.ended = asyncio.Event()
        self.failure = ""
        self._on_done: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Invitation of {self.owner} to {self.upstream!r}>"

    @property
    def is_good(self) -> bool:
        """Whether somebody can still log in by it."""
        return not self.ended.is_set() and time.monotonic() < self.until

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` once somebody has logged in."""
        self._on_done.append(callback)

    def end(self, failure: str = "") -> None:
        """Somebody has logged in, or was refused."""
        self.failure = failure
        self.ended.set()
        callbacks, self._on_done = self._on_done, []
        if not failure:
            self.done()
            for callback in callbacks:
                callback()


class Invitations:
    """The links of one mesh.

    Args:
        key: what the cookies of browsers are sealed with.

    Attributes:
        base: the address of the mesh as a browser reaches it, without a path, by the headers of a request of the client's; "" if there is none. Whoever serves sets it.
    """

    def __init__(self, key: Callable[[], bytes] | None = None) -> None:
        fresh = secrets.token_bytes(32)
        self.base: Callable[[Mapping[str, str]], str] = lambda _: ""
        self._key = key or (lambda: fresh)
        self._known: OrderedDict[str, Invitation] = OrderedDict()
        self._open: dict[tuple[str, str, str], Invitation] = {}

    def open(self, upstream: str, url: str, owner: str) -> Invitation | None:
        """One that is good for long enough, so that many calls lead to one page."""
        found = self._open.get((upstream, url, owner))
        return found if found is not None and found.is_good and found.until - time.monotonic() > LASTS / 2 else None

    def add(self, invitation: Invitation) -> None:
        """Know another one."""
        now = time.monotonic()
        for number, old in list(self._known.items()):
            if old.until > now and len(self._known) < MOST:
                break
            del self._known[number]
            self._open.pop((old.upstream, old.url, old.owner), None)
        self._known[invitation.number] = invitation
        self._open[invitation.upstream, invitation.url, invitation.owner] = invitation

    def get(self, number: str) -> Invitation | None:
        """The one of a number, be it over."""
        return self._known.get(number)

    def of_state(self, state: str) -> Invitation | None:
        """The one whose attempt this state is of, as long as it is good."""
        return next(
            (
                known
                for known in self._known.values()
                if known.flow is not None and secrets.compare_digest(known.flow.state.encode(), state.encode())
            ),
            None,
        )

    def mark(self, *parts: str) -> str:
        """What nobody else can make of some texts."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        # The key is the state directory's, which other things are made with.
        return hmac.new(self._key(), b"login page\0" + text, hashlib.sha256).hexdigest()
