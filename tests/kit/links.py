"""What tests of links hand to them, and what must not be left over."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.endpoint import Endpoint
from meshproxy.links.link import Link
from meshproxy.links.stdio import StdioEndpoint
from meshproxy.wire.codec import Raw, loads
from meshproxy.wire.protocol import Era
from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE

CLIENT = {"name": "tests", "version": "1"}
CAPABILITIES = {"elicitation": {"form": {}}, "roots": {}}
SCRIPTED = Path(__file__).with_name("scripted.py")


def plain(value: Any) -> Any:
    """A shallow dictionary decoded whole."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return loads(value) if isinstance(value, Raw) else value


class Listens:
    """A listener that keeps what it is told, and answers with what the test sets."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.asked: list[tuple[str, Any]] = []
        self.closed: list[str] = []
        self.ended = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.being_asked = asyncio.Event()
        self.answer: Any = {"action": "decline"}

    def on_notification(self, link: Link, method: str, params: dict[str, Any]) -> None:
        self.told.append((method, plain(params)))

    async def on_request(self, link: Link, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._answer(method, params)

    async def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((method, plain(params)))
        self.being_asked.set()
        try:
            if isinstance(self.answer, Exception):
                raise self.answer
            return await self.answer if isinstance(self.answer, asyncio.Future) else self.answer
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    def on_closed(self, link: Link, reason: str) -> None:
        self.closed.append(reason)
        self.ended.set()


class Calls(Listens, Call):
    """A call, likewise."""

    capabilities: dict[str, Any] | None = None
    log_level: str | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.owner = settings.get("owner")
        self.headers = settings.get("headers", {})
        self.capabilities = settings.get("capabilities")
        self.log_level = settings.get("log_level")
        self.timeout = settings.get("timeout")
        self.max_result = settings.get("max_result", MAX_MESSAGE)
        self.wants_progress = settings.get("wants_progress", False)
        self.ends = 0

    def on_notification(self, method: str, params: dict[str, Any]) -> None:  # type: ignore[override]
        self.told.append((method, plain(params)))

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return await self._answer(method, params)

    def on_stream_ended(self) -> None:
        self.ends += 1


def scripted(*modes: str, **settings: Any) -> StdioEndpoint:
    """The endpoint of `scripted.py`, whose start takes 20 ms."""
    env = settings.pop("env", {})
    options = {"shutdown": 5.0} | settings
    return StdioEndpoint("scripted", sys.executable, ("-S", "-E", str(SCRIPTED), *modes), env, str(ROOT), **options)


async def connect(
    endpoint: Endpoint, listener: Any = None, timeout: float | None = DEADLINE, era: Era | None = None
) -> Any:
    return await endpoint.connect(
        client=CLIENT, capabilities=CAPABILITIES, listener=listener or Listens(), timeout=timeout, era=era
    )


async def call(link: Link, tool: str, call: Any = None, /, **arguments: Any) -> Any:
    """The decoded result of a tool."""
    return loads(await link.request("tools/call", {"name": tool, "arguments": arguments}, call))


async def seen(link: Link) -> list[dict[str, Any]]:
    """Every message that the scripted server has received on this connection."""
    return json.loads((await call(link, "seen"))["content"][0]["text"])
