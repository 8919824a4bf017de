"""The mesh that a command asks: the upstreams of a file, started for as long as the command takes, or the server at a URL.

Either is a `FastMCP`, so a command goes the same way as a client of `meshproxy serve` would.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from meshproxy.catalog.component import decoded
from meshproxy.cli.caller import CallerContext
from meshproxy.cli.entry import Failure, note
from meshproxy.cli.nesting import enter
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.config.secrecy import secrets_of_header, secrets_of_url
from meshproxy.config.secrets import Scrubber, without_secrets
from meshproxy.config.upstream import Headers, UpstreamSpec
from meshproxy.login.logins import Logins
from meshproxy.mesh.upstreams import mount_of, provider_of
from meshproxy.observe import logs
from meshproxy.pins.pins import Pins
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.server import run
from meshproxy.state.place import place
from meshproxy.supervision.starts import Starts
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider

__all__ = ["Peer", "asked", "is_url", "loaded", "peer_of_config"]

T = TypeVar("T")

Wanted = Callable[[MeshConfig, UpstreamSpec], bool]
"""Whether an upstream is needed."""


class Peer:
    """What is asked, with its upstreams started.

    Attributes:
        server: it.
        providers: its upstreams, in the order of the config.
    """

    def __init__(self, server: FastMCP) -> None:
        self.server = server
        self.providers = [mounted.provider for mounted in server.composite.mounted]

    async def settled(self) -> None:
        """Wait until every upstream has come up or failed."""
        await asyncio.gather(*(provider.settled() for provider in self.providers))

    @property
    def failures(self) -> list[str]:
        """A line for each upstream that did not come up, or not with everything."""
        return [
            f"{provider.name}: {provider.reason}" if provider.is_up else f"{provider.name} is down: {provider.reason}"
            for provider in self.providers
            if provider.reason or not provider.is_up
        ]

    async def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The decoded result of a request. Raises `RpcError`."""
        return decoded(await self.server.on_request(CallerContext(), method, params))


def is_url(target: str) -> bool:
    """Whether a command is about a running server rather than a file."""
    return target.lower().startswith(("http://", "https://"))


def loaded(file: str) -> MeshConfig:
    """The config of a file; its warnings go to stderr. Raises `ConfigError`."""
    config = load(file)
    enter(file, over_stdio=False)
    for warning in config.source.warnings:
        note(f"warning: {warning}")
    return config


def asked(
    target: str, headers: Headers, question: Callable[[Peer], Awaitable[int]], wanted: Wanted = lambda *_: True
) -> int:
    """The exit status of `question`, put to a file, or with headers to a URL."""
    if headers and not is_url(target):
        raise Failure("--header goes with a URL; in a config, each upstream has headers of its own", status=2)
    config = None if is_url(target) else loaded(target)

    async def main() -> int:
        async with _at(target, headers) if config is None else peer_of_config(config, wanted) as peer:
            return await question(peer)

    return until_interrupted(main)


def until_interrupted(main: Callable[[], Awaitable[int]]) -> int:
    """Run `main`; SIGINT and SIGTERM cancel it, and what it opened is closed.

    Raises:
        KeyboardInterrupt: that happened.
    """
    # What goes wrong is told by the command itself.
    logs.configure("error")

    async def attended(stopping: asyncio.Event) -> int | None:
        asking = asyncio.ensure_future(main())
        stopped = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({asking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
        return None if asking.cancelled() else asking.result()

    status = run(attended)
    if status is None:
        raise KeyboardInterrupt
    return status


@asynccontextmanager
async def peer_of_config(config: MeshConfig, wanted: Wanted = lambda *_: True) -> AsyncIterator[Peer]:
    """The wanted upstreams of a config, starting, lazy ones too."""
    server = FastMCP(config.name, list_grace=0)
    file = config.source.path
    logins = Logins(place(config.state, file) if file is not None else None, file)
    logs.conceal(logins.scrubbing(config.scrubber.scrub))
    starts = Starts()
    pins = Pins(file)
    pins.need(spec.pin for spec in config.enabled)
    for spec in config.enabled:
        if wanted(config, spec):
            provider = provider_of(spec, config.scrubber, server.stamp, starts, logins)
            server.composite.add(provider, mount_of(spec, config), partial(pins.vetted, spec.pin))
    async with server:
        peer = Peer(server)
        for provider in peer.providers:
            provider.want()
        yield peer


@asynccontextmanager
async def _at(url: str, headers: Headers) -> AsyncIterator[Peer]:
    """A running server. One session does: there is one caller."""
    server = FastMCP(list_grace=0)
    secrets = [secret for value in headers.values() for secret in secrets_of_header(value)]
    scrub = Scrubber([*secrets, *secrets_of_url(url)]).scrub
    logs.conceal(scrub)
    client = ProxyClient(url, name=scrub(without_secrets(url)), headers=headers)
    server.add_provider(ProxyProvider(client, session="shared", scrub=scrub))
    async with server:
        peer = Peer(server)
        await peer.settled()
        if not all(provider.is_up for provider in peer.providers):
            raise Failure(*(_at_a_prompt(line) for line in peer.failures))
        yield peer


def _at_a_prompt(line: str) -> str:
    """Why a server is down, with the remedy that somebody at a prompt has: there is no config to be changed."""
    fact, status, _ = line.partition("HTTP 401: ")
    return f"{fact}{status}it wants credentials: use --header 'Authorization: Bearer ...'" if status else line
