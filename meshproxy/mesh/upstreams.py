"""From a spec to what runs: the provider and the mount of one configured upstream."""

from collections.abc import Callable
from functools import partial
from typing import Any

from meshproxy.catalog.catalog import Filter, Mount
from meshproxy.cluster.home import named
from meshproxy.config.login import OAuth, TokenExchange
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrets import Scrubber
from meshproxy.config.upstream import RENAMED_KEYS, UpstreamSpec
from meshproxy.eras.translate import ServerSignature
from meshproxy.guard.lender import Lending
from meshproxy.guard.rules import Rules
from meshproxy.kinds import KINDS
from meshproxy.links.target import endpoint_of_spec
from meshproxy.login.login import Login
from meshproxy.login.logins import Logins, key_of
from meshproxy.mesh.callers import IDLE, Account, Callers, Door
from meshproxy.mesh.sending import Sending
from meshproxy.relay.principal import Principal
from meshproxy.supervision.starts import Starts
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider


def provider_of(
    spec: UpstreamSpec,
    scrubber: Scrubber,
    stamp: ServerSignature,
    starts: Starts | None = None,
    logins: Logins | None = None,
    on_session_ended: Callable[[str, float], None] | None = None,
) -> ProxyProvider:
    """The provider of a spec, not started; it waits for its turn among `starts`, if there are others, and has its credentials of `logins`.

    `on_session_ended` is told its name and how many seconds a session of the legacy era with it has lasted.
    """
    logins = logins or Logins()
    scrub = logins.scrubbing(scrubber.scrub)
    timeouts = spec.timeouts
    keys: dict[str, Any] = {
        "name": spec.name,
        "session": spec.session,
        "start": spec.start,
        "forward_headers": spec.forward_headers,
        "connect_timeout": timeouts.connect,
        "list_timeout": timeouts.list,
        "call_timeout": timeouts.call,
        "idle_timeout": timeouts.idle,
        "rules": rules_of(spec),
        "stamp": stamp,
        "scrub": scrub,
        "starts": starts,
    }
    told = None if on_session_ended is None else partial(on_session_ended, spec.name)
    if spec.auth is not None and spec.auth.is_each_callers:
        door = None
        if isinstance(spec.auth, OAuth):
            door = Door(Sending(logins.invitations), str(spec.url), partial(logins.flow, spec))
        make = partial(_account, spec, keys, _giver(spec, logins), door, told)
        return Callers(_client(spec, scrub, None, told), make, partial(_refuses, spec), **keys)
    login = logins.of(spec)
    provider = ProxyProvider(_client(spec, scrub, login, told), **keys)
    if login is not None:
        login.news.append(provider.on_login)
    return provider


Told = Callable[[float], None] | None


def _client(spec: UpstreamSpec, scrub: Callable[[str], str], login: Login | None, told: Told) -> ProxyClient:
    endpoint = endpoint_of_spec(spec, scrub)
    if login is not None:
        endpoint.bear(login)
    client = ProxyClient(endpoint, name=spec.name)
    client.on_session_ended = told
    return client


def _giver(spec: UpstreamSpec, logins: Logins) -> Callable[[Principal], Login]:
    """Gives the credentials of a principal at an upstream where each has his own."""
    if isinstance(spec.auth, TokenExchange):
        exchange = logins.exchanging(spec)
        return lambda principal: exchange.login(key_of(spec.name, principal.identity))
    # Whoever has started the mesh is whom `meshproxy auth login` has asked.
    return lambda principal: logins.of_caller(spec, "" if principal.kind == "local" else principal.identity)


def _account(
    spec: UpstreamSpec,
    keys: dict[str, Any],
    giver: Callable[[Principal], Login],
    door: Door | None,
    told: Told,
    principal: Principal,
) -> Account:
    login = giver(principal)
    if principal.kind == "local":
        # He has no browser page here: there may be no port.
        door = None
    rest = {"start": "eager", "idle_timeout": spec.timeouts.idle or IDLE}
    return Account(_client(spec, keys["scrub"], login, told), login, principal, door, **{**keys, **rest})


def _refuses(spec: UpstreamSpec, principal: Principal) -> str:
    """Why a principal can have no account at an upstream where each has his own, as the rest of a sentence; "" if he can."""
    if isinstance(spec.auth, TokenExchange):
        if principal.token:
            return ""
        shown = {"key": "a key of the mesh", "certificate": "a certificate"}.get(principal.kind, "no credential")
        return (
            f"takes the tokens of callers in exchange for its own (auth: token_exchange), and this caller has shown {shown}: "
            "come with a token of an issuer in server.auth.jwt"
        )
    if principal.kind == "anonymous":
        return (
            "has an account for each caller (auth.per: caller), and nobody has said who this one is: come with a credential of the mesh, "
            "which server.auth says"
        )
    return ""


def rules_of(spec: UpstreamSpec, lending: Lending | None = None) -> Rules:
    """What a spec allows its calls, over all that `lending` lends to."""
    limits, breaker, retry = spec.limits, spec.breaker, spec.retry
    return Rules(
        concurrency=limits.concurrency,
        queue=limits.queue,
        queue_wait=limits.queue_wait,
        rate=limits.rate,
        result=limits.result,
        failures=None if breaker is None else breaker.failures,
        pause=30.0 if breaker is None or breaker.pause is None else breaker.pause,
        reads=retry.reads,
        idempotent_tools=retry.idempotent_tools,
        lending=lending,
        limits=spec.name,
    )


def mount_of(spec: UpstreamSpec, config: MeshConfig) -> Mount:
    """The place in the mesh that a spec describes."""
    filters = {}
    for kind, row in KINDS.items():
        written = getattr(spec, row.plural)
        renames = written.rename if row.plural in RENAMED_KEYS else {}
        filters[kind] = Filter(tuple(written.include), tuple(written.exclude), dict(renames))
    return Mount(
        name=spec.name,
        namespace=spec.namespace,
        separator=config.separator,
        filters=filters,
        hide_when_down=spec.when_down == "hide",
        # A program is one process's own; a URL leads everybody to the same server.
        home=named("") if spec.command else "",
    )
