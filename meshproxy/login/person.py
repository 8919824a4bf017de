"""`PersonLogin`: `auth: oauth`, where a person has logged in once and tokens are refreshed from then on. Place: login, above `login` and `vault`.

The mesh that serves never asks anybody anything: it refreshes what `meshproxy auth login` has put into the vault, and says when that has to be done
again. It looks at the file now and then, so that a login is in force without a restart.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from meshproxy.config.login import OAuth
from meshproxy.errors import LoginNeeded, UpstreamError, UpstreamUnavailable
from meshproxy.login.challenge import Challenge
from meshproxy.login.discovery import find_resource
from meshproxy.login.fetch import Fetch, NotNow
from meshproxy.login.login import Login
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.reach import Reach
from meshproxy.login.tokens import Refused, obtain
from meshproxy.login.vault import Grant, Record, Vault, VaultError, secrets_of
from meshproxy.observe.decisions import decide

__all__ = ["PersonLogin", "reach_of"]

log = structlog.get_logger(__name__)

LOOK: Final = 0.5
"""Seconds between two looks at the file."""
AHEAD: Final = (60.0, 0.2)
"""Seconds before its end, and the part of its life at most, by which a token is refreshed ahead of time."""
AGAIN: Final = 30.0
"""Seconds after which refreshing ahead of time is tried again."""


def reach_of(url: str, auth: OAuth) -> Reach:
    """Where the login of an upstream may lead: what the user wrote says it."""
    return Reach([url, *([auth.issuer] if auth.issuer is not None else [])])


class PersonLogin(Login):
    """The tokens of one upstream.

    Args:
        upstream: its configured name.
        url: of it.
        auth: what the config says.
        vault: where the tokens are.
        advice: what a person does to log in, as the rest of a sentence.
        conceal: as for `Login`.
    """

    def __init__(
        self, upstream: str, url: str, auth: OAuth, vault: Vault, advice: str, conceal: Callable[[list[str]], None]
    ) -> None:
        super().__init__(upstream, conceal)
        self._url = url
        self._issuer = auth.issuer
        self._fetch = Fetch(reach_of(url, auth))
        self._vault = vault
        self._advice = advice
        self._grant: Grant | None = None
        self._looking: asyncio.Task[None] | None = None
        self._seen: tuple[float, ...] | None = None
        self._ahead_at = float("inf")
        self._has_said = False

    async def ready(self) -> None:
        await self._vault.unlock()
        if self._looking is None:
            self._vault.follow(self.upstream, self._url)
            await self._vault.bring(self.upstream, self._url)
            self._seen = self._metadata()
            self._take(self._vault.read(self.upstream, self._url))
            self._looking = asyncio.create_task(self._look(), name=f"login of {self.upstream}")
        if self._grant is not None and not self._is_current and self._grant.refresh_token:
            await self.once(lambda: self.obtain(None))

    async def aclose(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait({looking})
            self._vault.unfollow(self.upstream, self._url)
        await super().aclose()

    @property
    def wants_more(self) -> bool:
        return bool(self._vault.read(self.upstream, self._url).wanted)

    @property
    def _is_current(self) -> bool:
        grant = self._grant
        return grant is not None and (grant.expires is None or grant.expires > time.time())

    async def obtain(self, wanted: Challenge | None) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(self._vault.locked(self.upstream, self._url))
                except VaultError as error:
                    self._say(error)
                await self._refresh(self._vault.read(self.upstream, self._url), wanted)
        except NotNow as error:
            raise UpstreamUnavailable(
                self.upstream, f"its login cannot be refreshed now: {error}", retry_after=error.retry_after
            ) from None

    async def _refresh(self, record: Record, refused: Challenge | None) -> None:
        """Refresh what the record has, as the only one who does; `refused` is what the upstream said to it, if it did."""
        known, grant = self._grant, record.grant
        if grant is not None and (known is None or grant.access_token != known.access_token):
            # Somebody else has done it, another process or a login.
            self._take(record)
            return
        if grant is None:
            raise self._needed("nobody has logged in yet" if known is None else "it was logged out")
        if refused is not None and self._is_current:
            await self._check_issuer(grant, refused)
        if not grant.refresh_token:
            raise self._needed("the login has expired, and came without a refresh token")
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        try:
            await self._fetch.reach.look()
            fresh = await obtain(self._fetch, grant.server, grant.client, grant.resource, form, before=grant)
        except (Refused, LoginFailed) as error:
            await self._give_up(record, error)
            raise self._needed(f"the login has ended ({error})") from None
        record = record.with_grant(fresh)
        # Before it is used: the refresh token that it replaces may be good for nothing any more.
        await self._keep(record)
        self._take(record)
        decide("info", "login.refreshed", upstream=self.upstream)

    async def _check_issuer(self, grant: Grant, refused: Challenge) -> None:
        """Of a token that should be good and is not: whether the upstream still takes those of its authorization server (SEP-2352)."""
        await self._fetch.reach.look()
        try:
            resource = await find_resource(self._fetch, self._url, refused, self._issuer)
        except (LoginFailed, NotNow):
            # It does not say; whether a refresh helps is seen soon.
            return
        if grant.server.issuer.rstrip("/") not in [issuer.rstrip("/") for issuer in resource.issuers]:
            raise self._needed(f"it takes logins at {resource.issuers[0]} now, and no longer at {grant.server.issuer}")

    async def _give_up(self, record: Record, error: Refused | LoginFailed) -> None:
        """Keep nothing that was refused. A registration that is unknown there is made anew at the next login."""
        grants = dict(record.grants)
        grant = grants.pop(record.issuer)
        if not (isinstance(error, Refused) and error.code in ("invalid_client", "unauthorized_client")):
            grants[record.issuer] = msgspec.structs.replace(grant, access_token="", refresh_token="", expires=None)
        record = msgspec.structs.replace(record, grants=grants)
        await self._keep(record)
        self._take(record)

    async def step_up(self, wanted: Challenge, seen: int | None) -> bool:
        if seen is not None and seen != self.serial:
            return bool(self.headers)
        record = self._vault.read(self.upstream, self._url)
        grant = record.grant
        if grant is not None and self._grant is not None and grant.access_token != self._grant.access_token:
            self._take(record)
            return True
        union = tuple(dict.fromkeys((*record.wanted, *(grant.scopes if grant else ()), *wanted.scope)))
        if union != record.wanted:
            await self._keep(msgspec.structs.replace(record, wanted=union))
            self._seen = self._metadata()
        scopes = f" ({' '.join(wanted.scope)})" if wanted.scope else ""
        raise self.lacks(f"it wants more rights for this than the login has{scopes}: {self._advice} to grant them")

    # --- what is in force

    def _take(self, record: Record) -> None:
        """Have the tokens of a record in force."""
        self._conceal(secrets_of(record))
        grant = record.grant
        before, self._grant = self._grant, grant
        self._ahead_at = float("inf")
        if grant is None:
            if before is not None:
                self.show({}, [])
            return
        if grant.expires is not None:
            margin, part = AHEAD
            lasts = max(grant.expires - (grant.obtained or time.time()), 0.0)
            self._ahead_at = grant.expires - min(margin, lasts * part) * (1 + random.random() / 2)  # noqa: S311  # spreads refreshes, guards nothing
        if before is None or before.access_token != grant.access_token:
            self.show({"authorization": f"Bearer {grant.access_token}"}, [])
            self.tell(None)

    async def _look(self) -> None:
        """Take what a login, a logout or another mesh has changed, and refresh ahead of time; for ever."""
        again = time.monotonic() + AGAIN
        while True:
            await asyncio.sleep(LOOK)
            if self._vault.trouble and time.monotonic() >= again:
                # Whoever has unlocked the keyring meanwhile need not start anything again.
                await self._vault.unlock()
                again, self._seen = time.monotonic() + AGAIN, None
            if self._metadata() != self._seen:
                had = self._grant is not None
                self.look()
                await self._pass_on(had=had)
            if time.time() >= self._ahead_at and self._grant is not None and self._grant.refresh_token:
                self._ahead_at = time.time() + AGAIN
                try:
                    await self.once(lambda: self.obtain(None))
                except UpstreamError as error:
                    decide("warning", "login.not_refreshed", upstream=self.upstream, reason=error.reason)

    def look(self) -> None:
        self._seen = self._metadata()
        had = self._grant is not None
        self._take(self._vault.read(self.upstream, self._url))
        if had and self._grant is None:
            self._needed("it was logged out")

    async def _pass_on(self, *, had: bool) -> None:
        """Let other replicas have what somebody has changed here: a login, or a file that was taken away."""
        if had and not self._vault.read(self.upstream, self._url).changed:
            await self._vault.lose(self.upstream, self._url)
        else:
            await self._vault.bring(self.upstream, self._url)

    def _metadata(self) -> tuple[float, ...] | None:
        return self._vault.seen(self.upstream, self._url)

    def _needed(self, why: str) -> LoginNeeded:
        """The error of one that needs a person, whom it is told to."""
        if self._vault.trouble:
            why = f"{why}, or where that is kept cannot be read ({self._vault.trouble})"
        error = LoginNeeded(self.upstream, f"needs a login: {why}; {self._advice}")
        self.tell(error)
        return error

    # --- the vault

    async def _keep(self, record: Record) -> None:
        try:
            await self._vault.write(record)
        except VaultError as error:
            self._say(error)

    def _say(self, error: VaultError) -> None:
        """A disk that cannot be written costs no call: it is said once, and what would be there is lost with this process."""
        if not self._has_said:
            self._has_said = True
            consequence = "the login lasts as long as this process"
            log.warning("login.not_kept", upstream=self.upstream, reason=str(error), consequence=consequence)
