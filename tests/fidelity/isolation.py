"""Many clients with interactive calls in flight at once: whatever an upstream says reaches the client whose call it is about, or nobody.

The long form is `./scripts/soak isolation`; a short one is a test.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import structlog
import uvicorn
from meshproxy.links.sse import SseEndpoint
from meshproxy.links.target import Command
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.upstream import attribution
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.link_choice import SessionMode
from meshproxy.upstream.provider import ProxyProvider
from tests.fidelity.peers import ABLE, Json, Peer, Place, joined
from tests.fidelity.wires import HttpWire
from tests.kit.places import ROOT
from tests.kit.running import listening
from tests.kit.sockets import QuietServer, listener
from tests.kit.waiting import DEADLINE

Transport = Literal["stdio", "http", "http aside", "sse"]
"""`http aside` is streamable HTTP, with questions on the session's own stream instead of the call's, as many servers ask."""

HOLD = 1.0
"""Seconds that a question is held here, where nobody else's call ends before it is answered: it would be half a minute."""
MODES: tuple[SessionMode, ...] = ("shared", "isolated", "auto")
WAYS: tuple[tuple[str, Transport], ...] = (
    ("legacy", "stdio"),
    ("modern", "stdio"),
    ("legacy", "http"),
    ("modern", "http"),
    ("legacy", "http aside"),
    ("legacy", "sse"),
)


@dataclass(frozen=True)
class Setting:
    """An upstream, and how it is shared."""

    era: str
    transport: Transport
    session: SessionMode

    def __str__(self) -> str:
        return f"{self.era} {self.transport}, {self.session}"

    @property
    def may_refuse(self) -> bool:
        """Whether one connection for all leaves nobody to tell whose question it is: legacy, and no stream for each call."""
        return self.session == "shared" and self.era == "legacy" and self.transport != "http"


SETTINGS = tuple(Setting(era, transport, mode) for (era, transport), mode in product(WAYS, MODES))


@dataclass
class Tally:
    """What happened in one setting.

    Attributes:
        calls: calls that were made.
        answered: of these, the ones that ended with the answers of their own client.
        refused: the ones whose question was refused, with the setting that would help.
        strays: messages that reached a client whose call they were not about, by what they were.
        failures: whatever else went wrong.
    """

    calls: int = 0
    answered: int = 0
    refused: int = 0
    strays: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        strays = ", ".join(f"{count} {kind}" for kind, count in self.strays.items()) or "0"
        failed = f", {len(self.failures)} failed: {self.failures[0]}" if self.failures else ""
        return (
            f"{self.calls} calls, {self.answered} answered, {self.refused} refused, strays: {strays}"
            f"{failed}, {self.seconds:.0f} s"
        )


class Party:
    """The clients of one mesh, half of them of each era."""

    def __init__(self, setting: Setting, peers: list[Peer], tally: Tally) -> None:
        self.setting = setting
        self.peers = peers
        self.tally = tally
        self._asked = 0
        self._all_asked = asyncio.Event()

    async def round(self, number: int) -> None:
        """Every client calls once, all at once; nobody answers before everybody was asked, where everybody must be."""
        self._asked = 0
        self._all_asked = asyncio.Event()
        tags = [f"client {index:02}, round {number}" for index in range(len(self.peers))]
        await asyncio.gather(*(self._call(peer, tag) for peer, tag in zip(self.peers, tags, strict=True)))

    async def _call(self, peer: Peer, tag: str) -> None:
        client = tag.split(",", maxsplit=1)[0]

        async def answer(told: Json) -> Json:
            if not told["message"].startswith(client):
                self.tally.strays["asked"] += 1
            self._asked += 1
            if self._asked == len(self.peers) or self.setting.may_refuse:
                self._all_asked.set()
            await self._all_asked.wait()
            return {"action": "accept", "content": {"answer": tag}}

        peer.answers["elicitation/create"] = answer
        self.tally.calls += 1
        arguments: Json = {"tag": tag}
        if self.setting.transport == "stdio":
            arguments |= _script(tag)
        elif self.setting.transport == "http aside":
            arguments["aside"] = True
        try:
            async with asyncio.timeout(60):
                reply = await peer.call("converse", _meta={"progressToken": tag}, **arguments)
        except Exception as error:  # noqa: BLE001  # it is told, and the others go on
            self._all_asked.set()
            self.tally.failures.append(f"{tag}: {error!r}")
            return
        for method, told in [*reply.said, *peer.heard.all]:
            if method == "notifications/message" and not told["data"].startswith(client):
                self.tally.strays["log line"] += 1
            if method == "notifications/progress" and (told["progressToken"], told["message"]) != (tag, tag):
                self.tally.strays["progress"] += 1
        peer.heard.all.clear()
        self._count(tag, reply.result, reply.error)

    def _count(self, tag: str, result: Any, error: Any) -> None:
        mine = {"action": "accept", "content": {"answer": tag}}
        said = (result or {}).get("structuredContent") or {}
        answers = said.get("answers", [])
        text = json.dumps([result, error])
        if said.get("tag") == tag and len(answers) == 2 and all(answer == mine for answer in answers):
            self.tally.answered += 1
        elif self.setting.may_refuse and "session: isolated" in text:
            self.tally.refused += 1
        elif any(answer.get("action") and answer != mine for answer in answers):
            self.tally.strays["answer"] += 1
        else:
            self.tally.failures.append(f"{tag}: {text[:300]}")


async def endure(setting: Setting, url: str, clients: int, rounds: int, renew: int) -> Tally:
    """Run the rounds of one setting. Every `renew` rounds the mesh and the clients are new, so that they meet for the first time again."""
    tally, begun = Tally(), time.monotonic()
    for first in range(0, rounds, renew):
        async with gathered(setting, url, clients, tally) as party:
            for number in range(first, min(first + renew, rounds)):
                await party.round(number)
    tally.seconds = time.monotonic() - begun
    return tally


@contextlib.asynccontextmanager
async def gathered(setting: Setting, url: str, clients: int, tally: Tally) -> AsyncIterator[Party]:
    """A mesh on a port, and its clients."""
    server = FastMCP(list_grace=DEADLINE)
    provider = ProxyProvider(ProxyClient(_target(setting, url), name="up"), session=setting.session)
    server.add_provider(provider, namespace="up")
    sock = listener()
    http = uvicorn.Config(server.http_app(), interface="asgi3", log_level="critical", http="httptools")
    serving = QuietServer(http)
    task = asyncio.ensure_future(serving.serve(sockets=[sock]))
    # uvicorn closes what is idle for five seconds, as httpx does by default: what is sent in that very moment is lost.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=1.0)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(lambda: task)
        stack.callback(lambda: setattr(serving, "should_exit", True))
        client = await stack.enter_async_context(httpx2.AsyncClient(timeout=60, limits=limits, trust_env=False))
        at = f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        peers: list[Peer] = []
        for index in range(clients):
            era = ("legacy", "modern")[index % 2]
            peer = await stack.enter_async_context(joined(HttpWire(client, at), era, Place("up"), ABLE))
            await peer.set_level("error")
            peers.append(peer)
        await peers[0].request("prompts/list")
        yield Party(setting, peers, tally)


def _target(setting: Setting, url: str) -> Any:
    if setting.transport == "stdio":
        light = str(Path(ROOT, "tests", "servers", "light.py"))
        return Command(sys.executable, [light, "--tools", "converse", "--era", setting.era])
    return SseEndpoint("up", url) if setting.transport == "sse" else url


def _script(tag: str) -> Json:
    """What the tool of `basic` does, for the light server, which does what its arguments say."""
    question = ["elicitation/create", {"message": tag, "requestedSchema": {"type": "object", "properties": {}}}]
    return {"notify": [["notifications/message", {"level": "error", "data": tag}]], "ask": [[question], [question]]}


@contextlib.asynccontextmanager
async def upstreams() -> AsyncIterator[dict[tuple[str, Transport], str]]:
    """The URLs of the servers that listen; those on pipes are started by the mesh."""
    with contextlib.ExitStack() as stack:
        urls = {
            (era, transport): stack.enter_context(listening("basic", transport=transport.split()[0], era=era)).url
            for era, transport in WAYS
            if transport != "stdio"
        }
        yield urls


async def run(options: argparse.Namespace) -> int:
    attribution.HOLD = HOLD  # type: ignore[misc]  # see HOLD
    bad = 0
    print(f"{options.clients} clients, {options.rounds} rounds, all new every {options.renew} rounds")
    async with upstreams() as urls:
        for setting in SETTINGS:
            if not all(word in str(setting) for word in options.words):
                continue
            url = urls.get((setting.era, setting.transport), "")
            tally = await endure(setting, url, options.clients, options.rounds, options.renew)
            bad += sum(tally.strays.values()) + len(tally.failures)
            print(f"{setting!s:27} {tally}", flush=True)
    print("no stray message" if not bad else f"{bad} strays and failures")
    return 1 if bad else 0


def main(argv: list[str]) -> int:
    """The command line of the long form; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="soak isolation", description=__doc__)
    parser.add_argument("words", nargs="*", help="only the settings that contain all of them, such as: stdio auto")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--renew", type=int, default=10)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])
    return anyio.run(run, parser.parse_args(argv))
