"""Reload under load: `./scripts/soak reload [--edits 200] [--seed N]`.

A mesh serves upstreams that no edit touches, and clients of both eras call them twenty times a second each, while a script edits the file:
valid edits and broken ones, saved in every way. What must hold:

- no call to an untouched upstream fails, or is answered by another one; its process and its sessions stay
- a valid edit is in force within `IN_FORCE` seconds of its save, the start-up of upstreams aside: reported, and seen by a listing
- a broken one is reported once, with its line, and changes nothing
- each connected client hears of each kind whose listing changed once, and of no other
- a call in flight at an upstream that is removed or changed gets its answer
- at the end no process, task or file descriptor is left over
"""

import argparse
import asyncio
import contextlib
import difflib
import itertools
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
from tests.soak.clients import CHANGED, Client, Refused, SdkClient, http_client
from tests.soak.documents import KINDS, Components, Document, InForce, Upstream
from tests.soak.edits import NAMES, Broken, Editor
from tests.soak.program import Program, children, is_alive, serving
from tests.soak.saving import WAYS
from tests.support import ROOT, listening

IN_FORCE = 2.0
"""Seconds from the save of an edit, the start-up of upstreams aside."""
PATIENCE = 20.0
"""Seconds after which something that does not happen is given up."""
PAUSE = 0.025
"""Seconds between two pieces of a file from which on its writer may be taken to be done."""
EVERY = 0.05
"""Seconds between two calls of an era."""
OUTCOMES = ("config.reloaded", "config.rejected")
EXPECTED_ERRORS = {"config.rejected"}
BENCH = ROOT / "bench" / "upstream.py"


@dataclass
class Figures:
    """What was measured, and what was wrong."""

    violations: list[str] = field(default_factory=list)
    edits: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    in_force: list[float] = field(default_factory=list)
    reported: list[float] = field(default_factory=list)
    rejected: list[float] = field(default_factory=list)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {"legacy": [], "modern": []})
    retried: int = 0
    held: int = 0
    announced: Counter[str] = field(default_factory=Counter)
    lines: dict[str, str] = field(default_factory=dict)

    def wrong(self, text: str) -> None:
        self.violations.append(text)
        print(f"  VIOLATION: {text}", file=sys.stderr, flush=True)

    def summary(self) -> str:
        rows = [("edits", f"{sum(self.edits.values())} valid or neutral, {sum(self.broken.values())} broken")]
        rows += [("  valid", _counts(self.edits)), ("  broken", _counts(self.broken)), ("  saved", _counts(self.ways))]
        rows += [("in force after", _spread(self.in_force)), ("reported after", _spread(self.reported))]
        rows += [("rejected after", _spread(self.rejected))]
        rows += [(f"calls, {era}", _spread(found)) for era, found in self.latencies.items()]
        rows += [("  under another separator", str(self.retried)), ("calls held over an edit", str(self.held))]
        rows += [("list_changed per client", _counts(self.announced)), *self.lines.items()]
        rows += [("violations", str(len(self.violations)))]
        return "\n".join(f"{name:28} {text}" for name, text in rows)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name.removeprefix('notifications/')} {count}" for name, count in counter.most_common())


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"{len(ordered)}: median {statistics.median(ordered):.3f} s, p99 {p99:.3f} s, most {ordered[-1]:.3f} s"


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
            return _unless(answer["contents"][0]["text"], f"s{one.serial}")
        if one.web is None and turn == 5:
            answer = await self._named(client, "prompts/get", one, "prompts", 0)
            return _unless(answer["messages"][0]["content"]["text"], f"s{one.serial}")
        if one.web is None:
            answer = await self._named(client, "tools/call", one, "tools", 0, arguments={"tag": tag})
            seen = answer["structuredContent"]
            self.pids.setdefault(one.name, seen["pid"])
            seen.pop("answers")
            return _unless(seen, {"pid": self.pids[one.name], "label": f"s{one.serial}", "tag": tag})
        tools = [name for name, _ in one.shown("tools", "_")]
        if "gamma_count" in tools and turn in (2, 6):
            answer = await self._named(client, "tools/call", one, "tools", tools.index("gamma_count"), arguments={})
            count = answer["structuredContent"]["session"]
            before, self._sessions[era] = self._sessions.get(era, count - 1), count
            # In the modern era there is no session.
            return _unless(count, before + 1) if era == "legacy" else None
        answer = await self._named(client, "tools/call", one, "tools", 0, arguments={"text": tag})
        return _unless(answer["content"][0]["text"], tag)

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


def _unless(seen: Any, wanted: Any) -> str | None:
    return None if seen == wanted else f"{seen!r} instead of {wanted!r}"


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
        before = set(children(self.program.pid))
        call = asyncio.create_task(self.load.clients[era].request("tools/call", params))
        await asyncio.sleep(0.05)
        pids = {*self.pids.get(one.name, []), *(set(children(self.program.pid)) - before)}
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
                if wrong := _unless(answer["structuredContent"]["label"], f"s{one.serial}"):
                    self.figures.wrong(f"a call held at {one.name}: {wrong}")
            except (Refused, httpx2.HTTPError, asyncio.CancelledError) as error:
                self.figures.wrong(f"a call held at {one.name} over an edit: {error!r}")


async def _web_offers(url: str, http: httpx2.AsyncClient) -> Components:
    client = Client(url, "legacy", http)
    await client.open()
    offered = {}
    for kind in KINDS:
        try:
            offered[kind] = tuple(await client.listed(kind))
        except Refused:
            offered[kind] = ()
    await client.close()
    return offered


@contextlib.contextmanager
def _bench_server(tools: int) -> Any:
    line = [sys.executable, str(BENCH), "--tools", str(tools)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/mcp"
        finally:
            process.kill()


async def run(edits: int, seed: int, *, small: bool = False, timed: bool = True) -> Figures:
    """`edits` random edits. `small` leaves the SDK out, which takes seconds to start; without `timed`, no time is a violation."""
    figures = Figures()
    rng = random.Random(seed)
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_client())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        webs = [
            (url, await _web_offers(url, http))
            for url in [stack.enter_context(_bench_server(count)) for count in (2, 3, 5)]
        ]
        fixed = [
            Upstream("alpha", 1, (2, 1, 1, 1), namespace="alpha"),
            Upstream("beta", 2, (1, 2, 2, 0), era="modern", namespace=""),
            Upstream("delta", 4, web=webs[0], namespace="delta"),
        ]
        if not small:
            # A session of each of our sessions, which must outlive every edit.
            url = stack.enter_context(listening("basic", era="legacy")).url
            # It says so when the mesh is gone before it.
            logging.getLogger("mcp").setLevel(logging.CRITICAL)
            web = (url, await _web_offers(url, http))
            fixed.append(Upstream("gamma", 3, web=web, namespace="gamma", exclude=("background",)))
        file = folder / "config" / "mesh.yaml"
        file.parent.mkdir()
        base = Document((*fixed, Upstream("amber", 10, (2, 1, 0, 0), namespace="amber")))
        file.write_bytes(base.data())
        start, _ = InForce(Document(()), ()).after(base)
        program = await stack.enter_async_context(serving(file, folder))
        load = Load(program.url, tuple(fixed), http, figures)
        observer = Client(program.url, "modern", http)
        clients: list[Client | SdkClient] = [Client(program.url, era, http) for era in ("legacy", "modern") * 2]
        if not small:
            clients += [SdkClient(program.url, era) for era in ("legacy", "modern")]
        for client in (*clients, *load.clients.values()):
            await client.open()
            stack.push_async_callback(client.close)
        # From here on clients hear of what comes up, so all of it must be up.
        settled = await program.until(lambda: len(program.of("upstream.up")) == len(base.upstreams), PATIENCE)
        if not settled:
            raise RuntimeError(f"upstreams do not come up: {program.read()}")
        for client in clients:
            if isinstance(client, Client):
                await client.listen()
        await asyncio.sleep(0.2)
        for client in clients:
            client.changes.clear()
        soak = Soak(program, file, start, Editor(rng, webs), clients, load, figures, observer, timed=timed)
        soak._since = len(program.read())
        await soak._check_ready("the start", ())
        calling = asyncio.create_task(load.run())
        try:
            await asyncio.sleep(0.5)
            before = await program.look()
            for number in range(edits):
                await soak.step()
                if calling.done():
                    calling.result()
                if number % 20 == 19:
                    print(f"  {number + 1} edits, {len(figures.violations)} violations", file=sys.stderr, flush=True)
            await soak.valid(base)
            await soak.calm()
            # What drains may take a moment.
            state = await _calmed(program, before)
        finally:
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling
        figures.announced = Counter(soak.due)
        await _check_end(program, soak, before, state, figures)
    return figures


async def _calmed(program: Program, before: Any) -> Any:
    for _ in range(40):
        state = await program.look()
        growth = state.growth(before)
        if growth["processes"] <= 0 and sum(growth["tasks"].values()) <= 4 and not growth["descriptors"]:
            break
        await asyncio.sleep(0.25)
    return state


async def _check_end(program: Program, soak: Soak, before: Any, state: Any, figures: Figures) -> None:
    growth = state.growth(before)
    figures.lines["descriptors"] = f"{sum(before.descriptors.values())} -> {sum(state.descriptors.values())}"
    figures.lines["tasks"] = f"{sum(before.tasks.values())} -> {sum(state.tasks.values())}"
    figures.lines["threads"] = f"{before.threads} -> {state.threads}"
    figures.lines["memory"] = f"{before.megabytes:.1f} -> {state.megabytes:.1f} MB"
    # A file that is just being read, and the tasks of calls that run.
    if sum(growth["descriptors"].values()) > 1 or sum(growth["tasks"].values()) > 4 or growth["processes"] > 0:
        figures.wrong(f"left over: {growth}")
    wanted = sorted(pid for pids in soak.pids.values() for pid in pids)
    if list(state.children) != wanted:
        figures.wrong(f"the processes of the mesh are {state.children}, and the upstreams' are {wanted}")
    status, seconds = await program.end(PATIENCE)
    figures.lines["end after SIGTERM"] = f"{seconds:.2f} s, status {status}"
    if status != 0 or (soak.timed and seconds > 5):
        figures.wrong(f"SIGTERM ends it after {seconds:.1f} s with status {status}")
    if left := [pid for pid in state.children if is_alive(pid)]:
        figures.wrong(f"processes are left: {left}")
    events = program.read()
    figures.lines["events"] = _counts(Counter(event["event"] for event in events))
    for event in events:
        if (event["level"] == "error" and event["event"] not in EXPECTED_ERRORS) or "exception" in event:
            figures.wrong(f"logged: {event}")
        if event["event"] in ("upstream.drain_timeout", "client.too_slow", "upstream.listing_failed"):
            figures.wrong(f"logged: {event}")


Main = Callable[[], Awaitable[int]]


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak reload", description="Edits under load.")
    options.add_argument("--edits", type=int, default=200)
    options.add_argument("--seed", type=int, default=None, help="of the random edits; by default another one each time")
    options.add_argument("--small", action="store_true", help="without the SDK's servers and clients")
    chosen = options.parse_args(arguments)
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"reload: {chosen.edits} edits, seed {seed}", file=sys.stderr, flush=True)
    figures = asyncio.run(run(chosen.edits, seed, small=chosen.small))
    print(f"{'seed':28} {seed}\n{figures.summary()}")
    print(f"{'load of the machine':28} {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    for violation in figures.violations:
        print(f"VIOLATION: {violation}")
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
