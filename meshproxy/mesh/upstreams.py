"""From a spec to what runs: the endpoint, the provider and the mount of one configured upstream."""

from typing import Final

import structlog

from meshproxy.catalog.catalog import Filter, Mount
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrets import Scrubber
from meshproxy.config.upstream import RENAMED_KEYS, UpstreamSpec
from meshproxy.eras.translate import Stamp
from meshproxy.kinds import KINDS
from meshproxy.links.endpoint import Endpoint
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider

log = structlog.get_logger(__name__)

NEVER: Final = 1e9
"""Seconds for a shutdown without a limit."""


def provider_of(spec: UpstreamSpec, scrubber: Scrubber, stamp: Stamp) -> ProxyProvider:
    """The provider of a spec, not started."""
    timeouts = spec.timeouts
    return ProxyProvider(
        ProxyClient(endpoint_of(spec, scrubber), name=spec.name),
        name=spec.name,
        session=spec.session,
        start=spec.start,
        forward_headers=spec.forward_headers,
        connect_timeout=timeouts.connect,
        list_timeout=timeouts.list,
        call_timeout=timeouts.call,
        idle_timeout=timeouts.idle,
        stamp=stamp,
        scrub=scrubber.scrub,
    )


def endpoint_of(spec: UpstreamSpec, scrubber: Scrubber) -> Endpoint:
    """The way in that a spec describes. A transport is imported when an upstream needs it."""
    if spec.command is not None:
        from meshproxy.links.stdio import StdioEndpoint  # noqa: PLC0415

        def stderr(line: str) -> None:
            log.info("upstream.stderr", upstream=spec.name, line=scrubber.scrub(line))

        return StdioEndpoint(
            spec.name,
            str(spec.command),
            spec.args,
            dict(spec.env),
            str(spec.cwd) if spec.cwd is not None else None,
            shutdown=NEVER if spec.timeouts.shutdown is None else spec.timeouts.shutdown,
            stderr=stderr,
        )
    url, headers = str(spec.url), dict(spec.headers)
    if spec.transport == "sse":
        from meshproxy.links.sse import SseEndpoint  # noqa: PLC0415

        return SseEndpoint(spec.name, url, headers=headers)
    from meshproxy.links.streamable import HttpEndpoint  # noqa: PLC0415

    return HttpEndpoint(spec.name, url, headers=headers)


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
