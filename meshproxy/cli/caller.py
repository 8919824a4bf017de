"""The command line as a client of the mesh: it shows what it is told, and declines what it is asked."""

import itertools
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from meshproxy.cli.entry import note
from meshproxy.errors import RpcError
from meshproxy.observe.spelling import named
from meshproxy.relay.downstream import Downstream, RequestContext
from meshproxy.upstream.client import CLIENT
from meshproxy.wire.codec import opened
from meshproxy.wire.protocol import LATEST_LEGACY, Era

__all__ = ["CallerContext"]

REJECTED: Final = -1
"""The code that the specification gives to a sampling request which the user rejected (2025-11-25 client/sampling)."""

_ids: Final = itertools.count(1)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Caller(Downstream):
    """Whoever typed the command."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("command line", Era.LEGACY)
        self.version = LATEST_LEGACY
        self.client = CLIENT
        # It can be asked, so that an upstream says what it wants to know, and the user sees that it did.
        self.capabilities = {"elicitation": {"form": {}, "url": {}}, "sampling": {}}

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        """Drop it: a command is over before a listing that changed matters."""

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        return _decline(method, params)


class CallerContext(RequestContext):
    """One request from the command line."""

    __slots__ = ()

    def __init__(self) -> None:
        self.downstream = Caller()
        self.request_id = next(_ids)
        self.progress_token = self.request_id
        self.headers = _NO_HEADERS

    @property
    def can_send_request(self) -> bool:
        return True

    def notify(self, method: str, params: Mapping[str, Any] | None) -> None:
        told = {key: opened(value) for key, value in (params or {}).items()}
        if method == "notifications/progress" and sys.stderr.isatty():
            total = f"/{told['total']:g}" if isinstance(told.get("total"), int | float) else ""
            note(f"progress {named(str(told.get('progress')))}{total} {told.get('message') or ''!s}".rstrip())
        elif method == "notifications/message":
            note(f"{named(str(told.get('level')))}: {told.get('data')}")

    async def send_raw_request(self, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        return _decline(method, params)


def _decline(method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    message = opened((params or {}).get("message"))
    what = f": {message}" if isinstance(message, str) else ""
    note(f"note: the upstream asks ({method}){what}; the command line answers no questions, so this one is declined")
    if method == "elicitation/create":
        return {"action": "decline"}
    raise RpcError(REJECTED, f"{method}: the command line answers no questions")
