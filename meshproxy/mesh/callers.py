"""`Callers`: an upstream at which each caller has an account of his own; `Account`: one of these. Place: mesh, under `composite`.

An account is a whole provider: it has credentials, an endpoint with a pool of connections, links, sessions and a listing of its own. So nothing of one principal's is at hand where another
calls, and nothing has to be kept apart. It is made when its principal is first seen, rests when he does not call, and is given up when he has been away for long.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from meshproxy.catalog.catalog import EMPTY, Catalog, Mount
from meshproxy.catalog.snapshot import Member
from meshproxy.errors import LoginNeeded, UpstreamUnavailable
from meshproxy.guard.rules import Rules
from meshproxy.kinds import Kind
from meshproxy.login.invitations import Invitation
from meshproxy.login.login import Login
from meshproxy.mesh.sending import Sending, url_of
from meshproxy.relay.call import PENDING, Call
from meshproxy.relay.downstream import Outcome, RequestContext, Result
from meshproxy.relay.principal import Principal, Visitor
from meshproxy.supervision.starts import Urgency
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import INPUT_METHODS, Era

if TYPE_CHECKING:
    from meshproxy.login.flow import Flow

__all__ = ["LOGIN", "Account", "Callers", "Door", "Place", "Vet", "catalogs_of", "login_tool"]

MOST: Final = 1000
"""Accounts of one upstream that are open; of more, those that were used longest ago are closed, and opened again when they are used."""
KEEP: Final = 3600.0
"""Seconds for which an account is kept that nobody uses."""
IDLE: Final = 300.0
"""Seconds after which its connection is closed, where `timeouts.idle` says nothing."""
Vet: TypeAlias = Callable[[Mount, Catalog], Mount]
LOGIN: Final = "login"
"""The tool by which a caller gets to the page where he logs in."""


class Place(NamedTuple):
    """Where an upstream is mounted in one snapshot. `vet` leaves out of the mount what is not to be offered of a catalog."""

    mount: Mount
    vet: Vet | None


class Door(NamedTuple):
    """The way to a login of a caller's own.

    Attributes:
        sending: sends callers there.
        url: of the upstream.
        begin: an attempt to log in, for the identity of a principal and the address that the browser comes back to.
    """

    sending: Sending
    url: str
    begin: "Callable[[str, str], Flow]"


class Account(ProxyProvider):
    """What one principal has at an upstream. The arguments after `door` are those of `ProxyProvider`.

    Without a `door` nobody can be sent to a page where he logs in.

    Attributes:
        principal: whose it is, with the credential that he showed last.
        login: his credentials there.
        is_new: nobody has waited for its start yet.
        used: when he was seen last, by the monotonic clock.
    """

    def __init__(
        self, client: ProxyClient, login: Login, principal: Principal, door: Door | None = None, **keys: Any
    ) -> None:
        super().__init__(client, **keys)
        self._door = door
        self._straight = self.carry
        if door is not None:
            self.carry = self._attended
        self.principal = principal
        self.login = login
        self.is_new = True
        self.used = time.monotonic()
        self._shown: tuple[Place, Catalog | None, bool, Member] | None = None
        login.news.append(self.on_login)

    @property
    def is_in_use(self) -> bool:
        """Whether something is under way there."""
        return self._carrier.running > 0 or bool(self.audience)

    def see(self, principal: Principal) -> None:
        """Its principal is here, with this credential. Of several tokens the one that lasts longest is taken."""
        if principal.expires >= self.principal.expires:
            self.principal = principal
            self.login.offer(principal.token)

    def member(self, place: Place) -> Member:
        """What a snapshot for its principal takes of it."""
        shown = self._shown
        if shown is None or shown[0] is not place or shown[1] is not self.catalog or shown[2] != self.is_up:
            member = self._member(place)
            shown = self._shown = place, self.catalog, self.is_up, member
        return shown[3]

    def _member(self, place: Place) -> Member:
        catalog, mount = self.catalog, place.mount
        if place.vet is not None and catalog is not None:
            mount = place.vet(mount, catalog)
        member = Member(mount, self, catalog, self.is_up)
        if self._door is None or self._has_tool(LOGIN):
            return member
        if catalog is None or (mount.hide_when_down and not self.is_up):
            # The way in is there, whatever else is not.
            member = Member(mount, self, EMPTY)
        return with_tool(member, login_tool(f"Log in at {self.name} with your own account, or with another one."))

    def _has_tool(self, name: str) -> bool:
        return self.catalog is not None and any(tool.get("name") == name for tool in self.catalog[Kind.TOOL])

    # --- calls of whoever may have to log in first

    def _attended(self, call: Call) -> None:
        """See `ProxyProvider.carry`."""
        door = self._door
        if door is None:
            self._straight(call)
            return
        is_login = call.method == "tools/call" and call.params.get("name") == LOGIN and not self._has_tool(LOGIN)
        if door.sending.resumes(call, self._invite, self._welcome if is_login else self._straight):
            return
        if not is_login:
            call.then(self._lacked)
            self._straight(call)
        elif self.login.headers and not self.login.wants_more:
            self._welcome(call)
        else:
            outcome = door.sending.send(call, self._invite, self._welcome)
            if outcome is not PENDING:
                call.end(outcome)

    def _lacked(self, call: Call, outcome: Outcome) -> Any:
        """On the way back: who has no login is sent to the page where he gets one, if the method has a way for that."""
        if self._door is None or not isinstance(outcome, LoginNeeded) or call.method not in INPUT_METHODS:
            return outcome
        return self._door.sending.send(call, self._invite, self._straight)

    def _invite(self, call: Call) -> tuple[Invitation, str]:
        door, principal = self._door, self.principal
        base = "" if door is None else door.sending.invitations.base(call.context.headers)
        if door is None or not base:
            raise LoginNeeded(
                self.name,
                "needs a login of this caller's own, and the page for it has no address that a browser can reach: set server.public_url",
            )
        invitations = door.sending.invitations
        found = invitations.open(self.name, door.url, principal.identity)
        if found is None:
            client = str(opened(call.context.downstream.client.get("name")) or "")
            begin = partial(door.begin, principal.identity)
            found = Invitation(self.name, door.url, principal.identity, _who(principal), client, begin, self.login.look)
            invitations.add(found)
        return found, url_of(base, found)

    def _welcome(self, call: Call) -> None:
        call.wait(self.settled(), self._welcomed)

    def _welcomed(self, call: Call, _: None) -> None:
        text = f"You are logged in at {self.name} with your own account; what it offers is listed."
        result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
        is_modern = call.context.downstream.era is Era.MODERN
        call.end(self._bridge.stamp.into(result, cacheable=False) if is_modern else result)


class _Closed:
    """What a principal has who can have no account (a `Source`): whatever he uses tells him why."""

    completes = False

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: Any = None,
        mount: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        raise LoginNeeded(self.name, self.reason)

    def carry(self, call: Any) -> None:
        raise LoginNeeded(self.name, self.reason)

    def member(self, mount: Mount) -> Member:
        """A tool that says why, so that it is not only missing."""
        return with_tool(Member(mount, self, EMPTY), login_tool(f"Cannot be used: {self.name} {self.reason}."))


class Callers(ProxyProvider):
    """See the module. It has no connection itself.

    Args:
        client: of the upstream; for its name.
        make: makes the account of a principal, not started.
        refuses: says why a principal can have none; "" if he can.
        keys: as for `ProxyProvider`.

    Attributes:
        on_account: told the identity of a principal for whom something is different.
        on_catalog: told before that what the upstream offers him.
    """

    def __init__(
        self,
        client: ProxyClient,
        make: Callable[[Principal], Account],
        refuses: Callable[[Principal], str],
        **keys: Any,
    ) -> None:
        super().__init__(client, **{**keys, "start": "lazy"})
        self.on_account: Callable[[str], None] = lambda _: None
        self.on_catalog: Callable[[Catalog], None] = lambda _: None
        self._make = make
        self._refuses = refuses
        self._accounts: OrderedDict[str, Account] = OrderedDict()
        self._closed: dict[str, tuple[Mount, Member]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._rules: Rules | None = None
        self._stderr: int | None = None
        self._is_over = False
        self.carry = self._carry
        self.limit = self._limit

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Those that are open."""
        return tuple(self._accounts.values())

    def account(self, visitor: Visitor) -> Account | None:
        """That of a visitor's principal; None if he can have none."""
        principal = visitor.principal
        key = _key_of(principal)
        found = self._accounts.get(key)
        if found is None:
            if self._is_over or self._refuses(principal):
                return None
            found = self._open(key, principal)
        if found.principal is not principal:
            found.see(principal)
        found.used = time.monotonic()
        self._accounts.move_to_end(key)
        return found

    def member_for(self, place: Place, visitor: Visitor) -> Member:
        """What stands in its place in the snapshot of a visitor."""
        account = self.account(visitor)
        if account is not None:
            return account.member(place)
        reason = self._refuses(visitor.principal) or "was removed from the mesh"
        known = self._closed.get(reason)
        if known is None or known[0] != place.mount:
            known = self._closed[reason] = place.mount, _Closed(self.name, reason).member(place.mount)
        return known[1]

    def _open(self, key: str, principal: Principal) -> Account:
        self._give_up_unused()
        account = self._accounts[key] = self._make(principal)
        account.see(principal)
        account.sign_as(self._bridge.stamp)
        if self._rules is not None:
            account.limit(_rules_for(self._rules, key))
        account.on_change(self._on_change)
        account.start(Urgency.AWAITED)
        return account

    def _on_change(self, account: ProxyProvider) -> None:
        if account.catalog is not None:
            self.on_catalog(account.catalog)
        if isinstance(account, Account):
            self.on_account(account.principal.identity)

    def _give_up_unused(self) -> None:
        now = time.monotonic()
        for key, account in list(self._accounts.items()):
            if len(self._accounts) < MOST and now - account.used < KEEP:
                return
            if not account.is_in_use:
                del self._accounts[key]
                task = asyncio.ensure_future(account.retire(0))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)

    # --- as a provider

    def _carry(self, call: Call) -> None:
        account = self.account(call.context.downstream.visitor)
        if account is None:
            raise LoginNeeded(self.name, self._refuses(call.context.downstream.visitor.principal))
        account.carry(call)

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: RequestContext | None = None,
        mount: Mount | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Result:
        account = None if context is None else self.account(context.downstream.visitor)
        if account is None:
            raise UpstreamUnavailable(self.name, "each caller has an account of his own there, and the mesh has none")
        return await account.request(method, params, context, mount, headers)

    def _limit(self, rules: Rules) -> None:
        self._rules = rules
        for key, account in self._accounts.items():
            account.limit(_rules_for(rules, key))

    def start(self, urgency: Urgency = Urgency.USUAL) -> None:
        """Accounts start when their principals come."""

    def want(self) -> None:
        """Likewise."""

    async def settled(self) -> None:
        """There is nothing to wait for."""

    def status(self) -> dict[str, Any]:
        connected = sum(account.is_up for account in self._accounts.values())
        return super().status() | {"accounts": len(self._accounts), "connected": connected}

    async def retire(self, timeout: float | None) -> None:
        self._is_over = True
        await asyncio.gather(*(account.retire(timeout) for account in self.accounts))
        await super().retire(0)

    async def aclose(self) -> None:
        self._is_over = True
        await asyncio.gather(*(account.aclose() for account in self.accounts), *self._retiring)
        await super().aclose()


def _rules_for(rules: Rules, key: str) -> Rules:
    """The same limits for one account, by another name where they are shared; that does not tell whose it is."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return rules._replace(limits=f"{rules.limits}:{digest}")


def _key_of(principal: Principal) -> str:
    """What tells accounts apart. What a token may do goes with it into the exchange, and so a narrow one gets nothing of what a wide one has got."""
    if not principal.token:
        return principal.identity
    client = principal.claims.get("azp") or principal.claims.get("client_id") or ""
    return "\n".join((principal.identity, str(client), *sorted(principal.scopes)))


def _who(principal: Principal) -> str:
    """Who somebody is, for people: what a token says of its subject, or what the key or the certificate is called."""
    claims = principal.claims
    said = next((claims[name] for name in ("name", "preferred_username", "email") if claims.get(name)), None)
    kind = {"key": "a key of this mesh", "certificate": "a certificate"}.get(principal.kind)
    if kind is not None:
        return f"{principal.name} ({kind})"
    return principal.name if said is None else f"{said} ({principal.name})"


def catalogs_of(provider: ProxyProvider) -> tuple[Catalog | None, ...]:
    """What an upstream offers, whomever: None where it was not listed."""
    if isinstance(provider, Callers):
        return tuple(account.catalog for account in provider.accounts if account.catalog is not None)
    return (provider.catalog,)


def login_tool(description: str) -> dict[str, Any]:
    """The definition of a tool of the mesh's own that stands for the login at an upstream."""
    return {
        "name": LOGIN,
        "title": "Log in",
        "description": description,
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
        "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": True},
    }


def with_tool(member: Member, tool: dict[str, Any]) -> Member:
    """A member with a tool of the mesh's own behind those of the upstream, which no `include` of the upstream's leaves out."""
    catalog, mount = member.catalog or EMPTY, member.mount
    tools = (*catalog[Kind.TOOL], tool)
    shown = mount.filter(Kind.TOOL)
    shown = replace(shown, include=(*shown.include, str(tool["name"])))
    return replace(
        member,
        mount=replace(mount, filters={**mount.filters, Kind.TOOL: shown}),
        catalog=replace(catalog, definitions={**catalog.definitions, Kind.TOOL: tools}),
    )
