"""Calls in both eras, all the while, to upstreams that no edit touches."""

import asyncio
import itertools
import time
from typing import Any

import httpx2
from tests.soak.clients import Client, Refused
from tests.soak.documents import Upstream
from tests.soak.figures import Figures
from tests.soak.program import PATIENCE

EVERY = 0.05
"""Seconds between two calls of an era."""


class Load:
    """Calls to what no edit touches, each answer checked."""

    def __init__(self, url: str, fixed: tuple[Upstream, ...], http: httpx2.AsyncClient, figures: Figures) -> None:
        self.separators = ["_"]
        """Of which one is in force: more than one only while it changes."""
        self.pids: dict[str, int] = {}
        self.clients = {era: Client(url, era, http) for era in ("legacy", "modern")}
        self._fixed = fixed
        self._figures = figures
        self._numbers = itertools.count()
        self._sessions: dict[str, int] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Call until cancelled, and then wait for what runs."""
        try:
            due = time.monotonic()
            while True:
                for era in self.clients:
                    number = next(self._numbers)
                    upstream = self._fixed[number // 2 % len(self._fixed)]
                    task = asyncio.create_task(self._checked(era, upstream, number))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
                due += EVERY
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            if self._running:
                await asyncio.wait(self._running, timeout=PATIENCE)
            for task in self._running:
                self._figures.wrong(f"a call has no answer: {task}")
                task.cancel()

    async def _checked(self, era: str, upstream: Upstream, number: int) -> None:
        begun = time.monotonic()
        try:
            wrong = await self._once(era, upstream, number)
        except (Refused, httpx2.HTTPError, KeyError, IndexError, TypeError) as error:
            wrong = repr(error)
        self._figures.latencies[era].append(time.monotonic() - begun)
        if wrong:
            self._figures.wrong(f"{era} call {number} to {upstream.name}: {wrong}")

    async def _once(self, era: str, one: Upstream, number: int) -> str | None:
        client, tag = self.clients[era], f"{era}-{number}"
        turn = number // 2 // len(self._fixed) % 8
        if one.web is None and turn == 3:
            answer = await client.request("resources/read", {"uri": one.shown("resources", "")[0][0]})
            return unless(answer["contents"][0]["text"], f"s{one.serial}")
        if one.web is None and turn == 5:
            answer = await self._named(client, "prompts/get", one, "prompts", 0)
            return unless(answer["messages"][0]["content"]["text"], f"s{one.serial}")
        if one.web is None:
            answer = await self._named(client, "tools/call", one, "tools", 0, arguments={"tag": tag})
            seen = answer["structuredContent"]
            self.pids.setdefault(one.name, seen["pid"])
            seen.pop("answers")
            return unless(seen, {"pid": self.pids[one.name], "label": f"s{one.serial}", "tag": tag})
        tools = [name for name, _ in one.shown("tools", "_")]
        if "gamma_count" in tools and turn in (2, 6):
            answer = await self._named(client, "tools/call", one, "tools", tools.index("gamma_count"), arguments={})
            count = answer["structuredContent"]["session"]
            before, self._sessions[era] = self._sessions.get(era, count - 1), count
            # In the modern era there is no session.
            return unless(count, before + 1) if era == "legacy" else None
        answer = await self._named(client, "tools/call", one, "tools", 0, arguments={"text": tag})
        return unless(answer["content"][0]["text"], tag)

    async def _named(self, client: Client, method: str, one: Upstream, kind: str, index: int, **params: Any) -> Any:
        """A request by name, under each separator that may be in force."""
        separators = list(self.separators)
        for separator in separators:
            name = one.shown(kind, separator)[index][0]
            try:
                return await client.request(method, {"name": name, **params})
            except Refused as error:
                others = [other for other in self.separators if other not in separators]
                separators += others
                if error.code != -32602 or separator == separators[-1]:
                    raise
                self._figures.retried += 1
        raise AssertionError


def unless(seen: Any, wanted: Any) -> str | None:
    return None if seen == wanted else f"{seen!r} instead of {wanted!r}"
