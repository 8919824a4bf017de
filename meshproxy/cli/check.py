"""`meshproxy check`: whether a config can be used, and with --connect, whether its upstreams can."""

import asyncio

from meshproxy.cli.entry import Failure
from meshproxy.cli.peer import loaded, peer_of_config, until_interrupted
from meshproxy.cli.summary import counted
from meshproxy.cli.text import show
from meshproxy.upstream.provider import ProxyProvider


def check(file: str, *, connect: bool) -> int:
    """Load a config and say what is in it; raises `ConfigError` for what is wrong."""
    config = loaded(file)
    disabled = len(config.upstreams) - len(config.enabled)
    names = ", ".join(spec.name for spec in config.enabled) or "none"
    ok = f"ok: {len(config.enabled)} {'upstream' if len(config.enabled) == 1 else 'upstreams'} ({names})"
    ok += f", {disabled} disabled" if disabled else ""
    if not connect:
        show(ok)
        return 0

    async def main() -> int:
        async with peer_of_config(config) as peer:
            await asyncio.gather(*map(_report, peer.providers))
            problems = [*peer.failures, *map(str, peer.server.composite.snapshot.collisions)]
        if problems:
            raise Failure(*problems, status=2)
        show(ok)
        return 0

    return until_interrupted(main)


async def _report(provider: ProxyProvider) -> None:
    await provider.settled()
    if provider.is_up:
        status = provider.status()
        how = f"{status['era']} {status['protocol']}" if "era" in status else ""
        show(f"{provider.name}: {counted(status)}; {how}; {status['seconds']:.2f} s")
