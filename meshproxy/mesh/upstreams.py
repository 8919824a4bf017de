"""From a spec to what runs: the provider and the mount of one configured upstream."""

from meshproxy.catalog.catalog import Filter, Mount
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrets import Scrubber
from meshproxy.config.upstream import RENAMED_KEYS, UpstreamSpec
from meshproxy.eras.translate import ServerSignature
from meshproxy.guard.rules import Rules
from meshproxy.kinds import KINDS
from meshproxy.links.target import endpoint_of_spec
from meshproxy.links.web import WebEndpoint
from meshproxy.login.logins import Logins
from meshproxy.supervision.starts import Starts
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider


def provider_of(
    spec: UpstreamSpec,
    scrubber: Scrubber,
    stamp: ServerSignature,
    starts: Starts | None = None,
    logins: Logins | None = None,
) -> ProxyProvider:
    """The provider of a spec, not started; it waits for its turn among `starts`, if there are others, and has its credentials of `logins`."""
    timeouts = spec.timeouts
    logins = logins or Logins()
    scrub = logins.scrubbing(scrubber.scrub)
    endpoint, login = endpoint_of_spec(spec, scrub), logins.of(spec)
    if login is not None and isinstance(endpoint, WebEndpoint):
        endpoint.bear(login)
    provider = ProxyProvider(
        ProxyClient(endpoint, name=spec.name),
        name=spec.name,
        session=spec.session,
        start=spec.start,
        forward_headers=spec.forward_headers,
        connect_timeout=timeouts.connect,
        list_timeout=timeouts.list,
        call_timeout=timeouts.call,
        idle_timeout=timeouts.idle,
        rules=rules_of(spec),
        stamp=stamp,
        scrub=scrub,
        starts=starts,
    )
    if login is not None:
        login.news.append(provider.on_login)
    return provider


def rules_of(spec: UpstreamSpec) -> Rules:
    """What a spec allows its calls."""
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
    )
