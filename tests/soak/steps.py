"""The edits of a reload soak, one after the other, and what must come of each."""

import asyncio
import contextlib
import difflib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
from tests.kit.processes import commands, is_alive
from tests.soak.clients import CHANGED, Client, Refused, SdkClient
from tests.soak.documents import KINDS, Document, InForce
from tests.soak.edits import NAMES, Broken, Editor
from tests.soak.figures import Figures
from tests.soak.load import Load, unless
from tests.soak.program import PATIENCE, Program
from tests.soak.saving import WAYS

IN_FORCE = 2.0
"""Seconds from the save of an edit, the start-up of upstreams aside."""
PAUSE = 0.025
"""Seconds between two pieces of a file from which on its writer may be taken to be done."""
OUTCOMES = ("config.reloaded", "config.rejected")


class Soak:
    """One run."""

    def __init__(
        self,
        program: Program,
        file: Path,
        start: InForce,
        editor: Editor,
        clients: list[Client | SdkClient],
        load: Load,
        figures: Figures,
        observer: Client,
        *,
        timed: bool,
    ) -> None:
        self.program = program
        self.file = file
        self.in_force = start
        self.editor = editor
        self.clients = clients
        self.load = load
        self.figures = figures
        self.observer = observer
        self.timed = timed
        self.due: Counter[str] = Counter()
        """The notifications that every client must have heard by now."""
        self.is_rejected = False
        self.pids: dict[str, list[int]] = {}
        self._since = 0
        self._saved: bytes | None = start.document.data()

    @property
    def rng(self) -> random.Random:
        return self.editor.rng

    async def step(self) -> None:
        chance = self.rng.random()
        if chance < 0.3:
            await self.broken()
        elif chance < 0.38:
            await self.burst()
        else:
            await self.valid()

    async def valid(self, document: Document | None = None, way: str | None = None) -> None:
        """One valid edit, or what the file said before it was broken."""
        what = "restored"
        if document is None:
            document = self.in_force.document
            if not self.is_rejected or self.rng.random() < 0.7:
                what, document = self.editor.valid(document)
        after, changes = self.in_force.after(document)
        # A file that holds what it held is not looked at, though another edit would try again what has failed.
        news = (changes.is_news or self.is_rejected) and document.data() != self._saved
        self._separators(document)
        async with self._held_call():
            saved, stalled = await self._save(document.data(), way)
            self.figures.edits[what] += 1
            if not news:
                await asyncio.sleep(0.8)
            elif not await self.program.until(lambda: len(self._outcomes()) > stalled, PATIENCE):
                self.figures.wrong(f"{what} is not reported within {PATIENCE} s: {self._difference(document)}")
                return
            seen = await self._listed(after)
        outcomes = self._outcomes()
        if [one["event"] for one in outcomes[stalled:]] != ["config.reloaded"] * news:
            self.figures.wrong(f"{what} ({changes}) is reported as {outcomes}")
        if seen is None:
            return
        if news:
            started = [event["seconds"] for event in self.program.of("upstream.up", since=self._since)]
            aside = max([changes.waits, *started]) if changes.started or changes.failed else 0.0
            took = max(seen, outcomes[-1]["at"]) - saved - aside
            self.figures.in_force.append(took)
            self.figures.reported.append(outcomes[-1]["at"] - saved)
            if self.timed and took > IN_FORCE:
                parts = f"reported after {outcomes[-1]['at'] - saved:.2f} s, seen after {seen - saved:.2f} s"
                load = (
                    f"the reload took {outcomes[-1]['seconds']} s, start-ups {started}, load {os.getloadavg()[0]:.1f}"
                )
                self.figures.wrong(f"{what} is in force after {took:.2f} s, start-up aside: {parts}; {load}")
            self._check_report(what, outcomes[-1], changes)
        self._in_force(after, news=news)
        self.due.update(changes.methods)
        await self._heard(what)
        await self._check_ready(what, changes.kept)

    async def broken(self, broken: Broken | None = None) -> None:
        """An edit that must be refused; a valid one may hide in it."""
        document = self.in_force.document
        if self.rng.random() < 0.5:
            document = self.editor.valid(document, faults=False)[1]
        broken = broken or self.editor.broken(document)
        self.figures.broken[broken.what] += 1
        saved, stalled = await self._save(broken.data)
        if not await self.program.until(lambda: len(self._outcomes()) > stalled, PATIENCE):
            self.figures.wrong(f"{broken.what} is not reported within {PATIENCE} s")
            return
        # Whatever else it might set going would be seen by then: the file is looked at twice a second.
        await asyncio.sleep(self.rng.choice((0.1, 0.1, 0.7)))
        outcomes = self._outcomes()[stalled:]
        if [one["event"] for one in outcomes] != ["config.rejected"]:
            self.figures.wrong(f"{broken.what} is reported as {outcomes}")
        self.figures.rejected.append(outcomes[0]["at"] - saved)
        problems = outcomes[0].get("problems", [])
        if not problems or not all(broken.says.lower() in problem.lower() for problem in problems):
            self.figures.wrong(f"{broken.what} is explained as {problems}")
        if broken.lines is not None:
            first, last = broken.lines
            places = tuple(f"{self.file}:{line}:" for line in range(first, last + 1))
            if not all(problem.startswith(places) for problem in problems):
                self.figures.wrong(f"{broken.what} stands in line {first} to {last}, and is reported as {problems}")
        self.is_rejected = True
        await self._listed(self.in_force)
        await self._heard(broken.what)
        await self._check_ready(broken.what, tuple(one.name for one in self.in_force.running))
        self._since = len(self.program.events)

    async def burst(self) -> None:
        """Several edits in a row, faster than they can be followed: only the last must be in force."""
        document, breaks, edits = self.in_force.document, 0, self.rng.randint(2, 4)
        before = Counter(self.due)
        for _ in range(edits - 1):
            if self.rng.random() < 0.3:
                breaks += 1
                await self._save(self.editor.broken(document).data, in_burst=True)
            else:
                document = self._same_separator(document)
                await self._save(document.data(), in_burst=True)
            await asyncio.sleep(self.rng.uniform(0, 0.15))
        document = self._same_separator(document)
        after, changes = self.in_force.after(document)
        self.figures.edits["burst"] += 1
        saved, _ = await self._save(document.data(), in_burst=True)
        seen = await self._listed(after)
        if seen is None:
            return
        self.figures.in_force.append(seen - saved)
        if self.timed and seen - saved > IN_FORCE + 1:
            self.figures.wrong(f"the last edit of a burst is in force after {seen - saved:.2f} s")
        # How many of them were noticed is open, and so is what came of each: what counts is that it ends.
        await asyncio.sleep(1.0)
        outcomes = Counter(one["event"] for one in self._outcomes())
        if outcomes["config.rejected"] > breaks or outcomes["config.reloaded"] > edits - breaks + 1:
            self.figures.wrong(f"a burst of {edits} edits, {breaks} of them broken, is reported as {outcomes}")
        told = {client.changes[method] - before[method] for client in self.clients for method in changes.methods}
        if changes.methods and (min(told) < 1 or max(told) > outcomes["config.reloaded"]):
            self.figures.wrong(f"a burst with {outcomes} changes {set(changes.methods)}, and is told {told} times")
        for method in CHANGED:
            self.due[method] = self.clients[0].changes[method]
        self._in_force(after, news=True)
        await self._heard("a burst")
        await self._check_ready("a burst", ())

    async def calm(self) -> None:
        """Nothing more comes: no late report, no late notification."""
        await asyncio.sleep(1.5)
        if self._outcomes():
            self.figures.wrong(f"reported late: {self._outcomes()}")
        await self._heard("the end")

    # Parts

    def _difference(self, document: Document) -> str:
        return "; ".join(difflib.unified_diff(self.in_force.document.lines()[0], document.lines()[0], n=0, lineterm=""))

    def _same_separator(self, document: Document) -> Document:
        return replace(self.editor.valid(document, faults=False)[1], separator=document.separator)

    def _separators(self, document: Document) -> None:
        self.load.separators = list(dict.fromkeys([self.in_force.document.separator, document.separator]))

    async def _save(self, data: bytes | None, way: str | None = None, *, in_burst: bool = False) -> tuple[float, int]:
        """When it was saved; and how many reports of half-written files may come first, because the writer was held up."""
        # What was reported since the last edit belongs to nothing.
        if not in_burst and (late := self._outcomes()):
            self.figures.wrong(f"reported late: {late}")
        self._saved = data
        if data is None:
            self.figures.ways["removed"] += 1
            self.file.unlink()
            return time.time(), 0
        way = way or self.rng.choice(list(WAYS))
        self.figures.ways[way] += 1
        pause = await asyncio.to_thread(WAYS[way], self.file, data, self.rng)
        saved = time.time()
        if pause < PAUSE or not data:
            return saved, 0
        # Then this edit proves nothing, unless the mesh has taken no notice.
        await asyncio.sleep(0.2)
        return saved, max(0, len(self._outcomes()) - 1)

    def _outcomes(self) -> list[dict[str, Any]]:
        return self.program.of(*OUTCOMES, since=self._since)

    def _in_force(self, after: InForce, *, news: bool) -> None:
        self.in_force = after
        self._separators(after.document)
        if news:
            self.is_rejected = False
        self._since = len(self.program.events)

    async def _listed(self, wanted: InForce) -> float | None:
        """When every listing was as it must be, for a client of each era."""
        deadline = time.monotonic() + PATIENCE
        left = [(client, kind) for client in (self.observer, self.load.clients["legacy"]) for kind in KINDS]
        while True:
            listed = await asyncio.gather(*(client.listed(kind) for client, kind in left))
            wrong = [(*one, found) for one, found in zip(left, listed, strict=True) if found != wanted.listing(one[1])]
            if not wrong:
                return time.time()
            if time.monotonic() > deadline:
                for client, kind, found in wrong:
                    self.figures.wrong(f"{client.era}: {kind} are {found} instead of {wanted.listing(kind)}")
                return None
            left = [(client, kind) for client, kind, _ in wrong]
            await asyncio.sleep(0.02)

    async def _heard(self, what: str) -> None:
        """Every client has heard what is due, and nothing else."""
        deadline = time.monotonic() + PATIENCE
        for client in self.clients:
            while client.changes != self.due and time.monotonic() < deadline and client.is_listening:
                if any(client.changes[method] > self.due[method] for method in CHANGED):
                    break
                await asyncio.sleep(0.01)
            if client.changes != self.due:
                said = {method: client.changes[method] - self.due[method] for method in CHANGED}
                self.figures.wrong(f"after {what}, {client} has heard too much or too little: {said}")
                client.changes = Counter(self.due)
            if not client.is_listening:
                self.figures.wrong(f"{client} listens no more")
                client.is_listening = True
            if isinstance(client, Client) and client.strays:
                self.figures.wrong(f"{client} heard what was not asked for: {client.strays}")
                client.strays.clear()

    async def _check_ready(self, what: str, kept: tuple[str, ...]) -> None:
        _, body = await self.program.ready(self.observer.http)
        upstreams = body["upstreams"]
        wanted = {one.name: "down" if one.fault else "up" for one in self.in_force.running}
        seen = {name: one["state"] for name, one in upstreams.items()}
        if list(seen.items()) != list(wanted.items()):
            self.figures.wrong(f"after {what}, upstreams are {seen} instead of {wanted}")
        pids = {name: one.get("pids", []) for name, one in upstreams.items() if one["state"] == "up"}
        for name in kept:
            # There may be more: a session of its own has a process of its own.
            if name in pids and not set(self.pids.get(name, ())) <= set(pids[name]):
                self.figures.wrong(f"after {what}, processes of {name} are {pids[name]}, not {self.pids[name]}")
        self.pids = pids

    def _check_report(self, what: str, report: dict[str, Any], changes: Any) -> None:
        said = {key: list(report[key]) for key in ("kept", "started", "failed")}
        wanted = {"kept": changes.kept, "started": changes.started, "failed": changes.failed}
        for key, names in wanted.items():
            if sorted(said[key]) != sorted(names):
                self.figures.wrong(f"{what}: {key} is {said[key]} and should be {names}")
        if set(report["retired"]) & set(changes.failed):
            self.figures.wrong(
                f"{what}: retired is {report['retired']}, though {changes.failed} go on with their old specs"
            )

    @contextlib.asynccontextmanager
    async def _held_call(self) -> AsyncIterator[None]:
        """Now and then, a call that is in flight during the edit, at an upstream that the edit may end."""
        ours = [
            one
            for one in self.in_force.running
            if one.name in NAMES and not one.web and not one.fault and one.shown("tools", "_")
        ]
        if not ours or self.rng.random() < 0.6:
            yield
            return
        one = self.rng.choice(ours)
        name = one.shown("tools", self.in_force.document.separator)[0][0]
        era = self.rng.choice(("legacy", "modern"))
        params = {"name": name, "arguments": {"hold": True, "tag": "held"}}
        before = set(commands(self.program.pid))
        call = asyncio.create_task(self.load.clients[era].request("tools/call", params))
        await asyncio.sleep(0.05)
        pids = {*self.pids.get(one.name, []), *(set(commands(self.program.pid)) - before)}
        try:
            yield
        finally:
            # Again and again, since a process of its own may still be starting for the call.
            for _ in range(int(PATIENCE / 0.05)):
                for pid in pids:
                    if is_alive(pid):
                        os.kill(pid, signal.SIGUSR1)
                await asyncio.wait({call}, timeout=0.05)
                if call.done():
                    break
            call.cancel()
            self.figures.held += 1
            try:
                answer = await call
                if wrong := unless(answer["structuredContent"]["label"], f"s{one.serial}"):
                    self.figures.wrong(f"a call held at {one.name}: {wrong}")
            except (Refused, httpx2.HTTPError, asyncio.CancelledError) as error:
                self.figures.wrong(f"a call held at {one.name} over an edit: {error!r}")
