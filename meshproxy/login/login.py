"""`Login`: the credentials of one upstream, obtained anew when it refuses them, by one at a time. Place: login; what they are is for its kinds to say.

However many requests are refused at once, one of them causes what is done about it, and the others wait for that.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import structlog

from meshproxy.errors import LoginNeeded, UpstreamError, UpstreamUnavailable
from meshproxy.links.negotiation import RequestRefusedError
from meshproxy.login.challenge import Challenge, bearer

__all__ = ["Login"]

log = structlog.get_logger(__name__)

FRESH: Final = 10.0
"""Seconds for which renewed credentials are new: a request that is refused meanwhile may have been sent with those before."""
MOST: Final = 3
"""How often they are renewed in that time because the upstream refuses them."""

News = Callable[[LoginNeeded | None], None]
"""Told that there are credentials (None), or that there are none until somebody logs in."""


class Login(ABC):
    """See `meshproxy.http.credentials.Credentials`, which this is.

    Args:
        upstream: its configured name.
        conceal: told every text that must not appear anywhere.

    Attributes:
        news: who wants to hear that credentials came or went.
    """

    names = frozenset({"authorization"})

    def __init__(self, upstream: str, conceal: Callable[[list[str]], None]) -> None:
        self.upstream = upstream
        self.headers: Mapping[str, str] = {}
        self.serial = 0
        self.followers: set[Callable[[Mapping[str, str]], None]] = set()
        self.news: list[News] = []
        self._conceal = conceal
        self._renewals: list[float] = []
        self._obtaining: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.upstream!r} serial={self.serial}>"

    @property
    def wants_more(self) -> bool:
        """Whether the upstream has asked for rights that only a person can grant."""
        return False

    def look(self) -> None:  # noqa: B027  # most are not changed by anybody else
        """Take what somebody else has obtained."""

    async def ready(self) -> None:  # noqa: B027  # some have nothing to do before
        """See `Credentials`."""

    def offer(self, shown: str) -> None:  # noqa: B027  # only what is exchanged is of use to somebody
        """What its caller has shown the mesh last."""

    async def aclose(self) -> None:
        """See `Credentials`."""
        task, self._obtaining = self._obtaining, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def renew(self, status: int, challenge: str, seen: int | None) -> bool:
        """See `Credentials`."""
        wanted = bearer(challenge)
        if status == 403:
            if wanted is None or wanted.error != "insufficient_scope":
                return False
            return await self.step_up(wanted, seen)
        if self.headers and (self._is_fresh if seen is None else seen != self.serial):
            return True
        now = time.monotonic()
        self._renewals = [moment for moment in self._renewals if now - moment < FRESH]
        if len(self._renewals) >= MOST:
            reason = "it refuses the credentials that were obtained for it just now, again and again"
            raise UpstreamUnavailable(self.upstream, reason, retry_after=FRESH)
        serial = self.serial
        await self.once(lambda: self.obtain(wanted))
        if self.serial != serial and (not self._renewals or self._renewals[-1] < now):
            self._renewals.append(time.monotonic())
        return True

    async def once(self, obtain: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something done, or wait for what is being done already. Whoever gives up waiting stops nobody else."""
        task = self._obtaining
        if task is None or task.done():
            task = self._obtaining = asyncio.create_task(obtain(), name=f"login {self.upstream}")
            # Those who wait may all be gone by its end.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.shield(task)
        except UpstreamError as error:
            # One for each who waits: a traceback grows with each that it is raised to.
            raise error.reworded(error.reason) from None
        except asyncio.CancelledError:
            if task.cancelled():
                raise UpstreamUnavailable(self.upstream, "it was closed while credentials were obtained") from None
            raise

    @abstractmethod
    async def obtain(self, wanted: Challenge | None) -> None:
        """Get other credentials than those in force, and `show` them; `wanted` is what the upstream says of them.

        Raises:
            LoginNeeded: only a person can.
            UpstreamUnavailable: not now.
        """

    async def step_up(self, wanted: Challenge, seen: int | None) -> bool:
        """A request needs scopes that the credentials have not. As `renew`."""
        return False

    def refused(self, reason: str) -> UpstreamUnavailable:
        """The error of one that gets no credentials that are good for anything, as long as nothing changes."""
        return UpstreamUnavailable(self.upstream, reason, is_lasting=True)

    @property
    def _is_fresh(self) -> bool:
        return bool(self._renewals) and time.monotonic() - self._renewals[-1] < FRESH

    def show(self, headers: Mapping[str, str], secrets: list[str]) -> None:
        """Have these in force from now on; `secrets` are the texts in them that must not appear anywhere."""
        self._conceal(secrets)
        self.headers = dict(headers)
        self.serial += 1
        for follower in list(self.followers):
            follower(self.headers)

    def tell(self, needed: LoginNeeded | None) -> None:
        """Tell who wants to hear it."""
        for listener in self.news:
            listener(needed)

    def lacks(self, reason: str) -> RequestRefusedError:
        """The error of a request for which the credentials, which are good, do not suffice."""
        return RequestRefusedError(self.upstream, reason)
