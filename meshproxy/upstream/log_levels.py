"""`LogLevels`: how much a legacy upstream is asked to log over links that several clients share.

Such a server has one level for a connection (2025-11-25 server/utilities/logging); its clients have one each, or one with each request. It is
told the most verbose that any of them wants; what is too much for one is left out on the way to it (`default_proxy_log_handler`).
"""

from weakref import WeakKeyDictionary

import structlog

from meshproxy.errors import RpcError
from meshproxy.links.link import Link
from meshproxy.relay.call import DEFAULT_LEVEL
from meshproxy.relay.downstream import Downstream
from meshproxy.wire.protocol import LOG_LEVELS, Era

log = structlog.get_logger(__name__)


class LogLevels:
    """The levels that clients want, and what each link was told."""

    def __init__(self) -> None:
        self._wanted: dict[str, str] = {}
        self._of_requests: str | None = None
        self._told: WeakKeyDictionary[Link, str] = WeakKeyDictionary()

    @property
    def level(self) -> str | None:
        """The most verbose of all, and never less verbose than what a client hears that never said anything; None if none did."""
        wanted = [*self._wanted.values(), *([self._of_requests] if self._of_requests else [])]
        return min(*wanted, DEFAULT_LEVEL, key=LOG_LEVELS.index) if wanted else None

    def want(self, downstream: Downstream, level: str) -> None:
        """A session wants to hear `level` from now on, or a request for as long as it runs."""
        if downstream.era is Era.MODERN:
            # Requests come and go: what one wanted, the next one will want.
            self._of_requests = min(self._of_requests or level, level, key=LOG_LEVELS.index)
            return
        if downstream.key not in self._wanted:
            downstream.on_close(lambda: self._forget(downstream.key))
        self._wanted[downstream.key] = level

    async def tell(self, link: Link) -> None:
        """Let an upstream know, if it can be told and has not been. Raises `UpstreamError`."""
        if link.era is Era.MODERN or "logging" not in link.capabilities:
            return
        level = self.level
        if level is None or self._told.get(link) == level:
            return
        self._told[link] = level
        await set_level(link, level)

    def _forget(self, key: str) -> None:
        self._wanted.pop(key, None)


async def set_level(link: Link, level: str) -> None:
    """Tell an upstream; that it refuses costs nothing. Raises `UpstreamError`."""
    try:
        await link.request("logging/setLevel", {"level": level})
    except RpcError as error:
        log.info("upstream.level_refused", upstream=link.upstream, level=level, reason=error.message)
