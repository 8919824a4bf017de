"""`Ward`: a real mesh of ten upstreams, clients of both eras in front of it, and what must hold while one of the ten is ill.

Eight upstreams are never ill: servers of the SDK, of FastMCP, of npm where it is installed, and fixtures, over both wires and in both eras.
The other two are patients, one a command and the other a URL; while one of them is ill the other is among the nine that are not. A guest that does not
count comes and goes with each edit.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import httpx2
from tests.chaos.faults import ANSWERED, LOST, UNAVAILABLE, Fault
from tests.chaos.patient import Patient
from tests.chaos.visitors import Visitor
from tests.kit.node import NODE_MODULES, node_command
from tests.kit.places import ROOT
from tests.kit.processes import SHARED, is_alive
from tests.kit.program import upstream
from tests.kit.running import listening
from tests.kit.waiting import eventually
from tests.soak.clients import Client, Refused, http_client
from tests.soak.documents import LIGHT
from tests.soak.program import Program, serving

Json = dict[str, Any]
ERAS = ("legacy", "modern")
BENCH = str(ROOT / "bench" / "upstream.py")
PATIENCE = 20.0


class Violation(Exception):
    """Something that must hold does not."""


def light(name: str, **keys: Any) -> Json:
    return {"command": sys.executable, "args": ["-IS", LIGHT, "--label", name], **keys}


def healthy(stack: contextlib.AsyncExitStack) -> tuple[Json, dict[str, tuple[str, str]]]:
    """The upstreams that are never ill, and for each a tool that says a text, and the argument that takes it."""
    sdk = stack.enter_context(listening("basic"))
    fast = stack.enter_context(listening("everything_fastmcp"))
    SHARED.update({sdk.process.pid, fast.process.pid})
    bench = {"command": sys.executable, "args": [BENCH, "--stdio"]}
    upstreams = {
        "sdk_pipe": upstream("everything", "--era", "legacy"),
        "sdk_web": {"url": sdk.url},
        "fast_web": {"url": fast.url},
        "light_legacy": light("a"),
        "light_modern": light("b") | {"args": ["-IS", LIGHT, "--era", "modern"]},
        "light_apart": light("c", session="isolated"),
        "bench_pipe": bench,
        "npm_pipe": bench,
    }
    echoes = dict.fromkeys(upstreams, ("echo", "text"))
    echoes |= dict.fromkeys(("light_legacy", "light_modern", "light_apart"), ("echo", "tag"))
    echoes |= {"sdk_pipe": ("put", "value"), "fast_web": ("put", "value")}
    if NODE_MODULES.exists():
        command, *arguments = node_command("mcp-server-everything", "stdio")
        upstreams["npm_pipe"] = {"command": command, "args": arguments}
        echoes["npm_pipe"] = ("echo", "message")
    return upstreams, echoes


class Ward:
    """See above.

    Attributes:
        sections: those of the file that are not `upstreams`.
        rounds: how often all the others are called while a fault lasts, before an edit; afterwards they are called once more.
        seconds: how long each call to an upstream that is not ill took.
    """

    def __init__(
        self, upstreams: Json, echoes: dict[str, tuple[str, str]], patients: list[Patient], file: Path
    ) -> None:
        self.patients = {patient.kind: patient for patient in patients}
        self.file = file
        self.echoes = echoes | {patient.name: ("echo", "tag") for patient in patients}
        self.sections: Json = {}
        self.edits = 0
        self.rounds = 1
        self.seconds: list[float] = []
        self._upstreams = upstreams
        self._tags = itertools.count(1)
        self._guest = 0

    async def open(self, program: Program, http: httpx2.AsyncClient) -> None:
        """Take up work with a mesh that serves the file."""
        self.program, self.http = program, http
        await self.reopen()
        for name in self.echoes:
            await self.up(name)

    async def reopen(self) -> None:
        """Take other clients, of new sessions."""
        self.clients = {era: Client(self.program.url, era, self.http) for era in ERAS}
        for client in self.clients.values():
            await client.open()

    def write(self) -> None:
        """The file as it has to be now."""
        text = json.dumps({**self.sections, "upstreams": self._upstreams | self._sick() | self._visitor()}, indent=1)
        part = self.file.with_suffix(".part")
        part.write_text(text)
        part.rename(self.file)

    async def edit(self) -> None:
        """Another guest, and whatever else has changed, until it is in force."""
        since = len(self.program.read())
        self.begin_edit()
        done = await self.program.until(
            lambda: self.program.of("config.reloaded", "config.rejected", since=since), PATIENCE
        )
        if not done or done[0]["event"] != "config.reloaded":
            raise Violation(f"an edit is not in force: {done}")
        self.edits += 1

    def begin_edit(self) -> None:
        """The same, and wait for nothing."""
        self._guest += 1
        self.write()

    async def admit(self, patient: Patient, fault: Fault) -> None:
        """Have the mesh take a patient that it knows nothing of yet, and that is well so far."""
        patient.deadline = fault.deadline
        patient.serial += 1
        await self.edit()
        await self.up(patient.name)
        for era in ERAS:
            await self.echo(era, patient.name)
        await self._look_for(patient)

    async def up(self, name: str) -> Json:
        """What `/readyz` says of it, once it is up."""

        async def state() -> Json | None:
            found = (await self.program.ready(self.http))[1]["upstreams"].get(name, {})
            return found if found.get("state") == "up" else None

        return dict(await eventually(state))

    async def ordeal(self, fault: Fault, patient: Patient) -> float:
        """One fault, from before it strikes until it is over: the seconds after which all was well again.

        Raises:
            Violation: something that must hold does not.
        """
        await self._look_for(patient)
        before = patient.pids
        held = {era: self._begin(era, patient, "hold") for era in ERAS if fault.interrupts}
        await eventually(lambda: all(tag in patient.carried_out() for tag, _ in held.values()))
        try:
            await fault.strike(patient)
            called = {era: self._begin(era, patient, "echo") for era in ERAS}
            # While it lasts, nobody else notices.
            for _ in range(self.rounds):
                await self.others(patient)
            await self.edit()
            await self.others(patient)
            for era, (tag, task) in held.items():
                self.judge(await task, (LOST,), f"{era}: a call that was under way", patient, tag)
            for era, (tag, task) in called.items():
                self.judge(await task, fault.ends, f"{era}: a call", patient, tag)
        finally:
            await fault.heal(patient)
        took = await self._is_back(patient)
        twice = {tag: count for tag, count in patient.carried_out().items() if count > 1}
        if twice:
            raise Violation(f"calls were carried out more than once: {twice}")
        if left := [pid for pid in before if pid not in patient.pids and is_alive(pid)]:
            raise Violation(f"processes of before are left: {left}")
        return took

    async def suffer(self, visitor: Visitor) -> None:
        """Clients that misbehave, from before they come until they are gone.

        Raises:
            Violation: anybody else has noticed.
        """
        await visitor.come()
        try:
            for _ in range(self.rounds):
                await self.others()
            await self.edit()
            await self.others()
        finally:
            await visitor.leave()
        await self.others()

    async def forget(self) -> None:
        """The state directory cannot be written to, and then can be again.

        Raises:
            Violation: anybody has noticed, or the log does not say so once.
        """
        place, away = self.file.parent / "state", self.file.parent / "away"
        since = len(self.program.read())
        place.rename(away)
        # Whoever may do anything is not kept out by a mode: so it is no directory at all.
        place.write_text("no directory")
        for patient in self.patients.values():
            patient.serial += 1
        await self.edit()
        await self.others()
        said = await self.program.until(lambda: self.program.of("state.unusable", since=since), PATIENCE)
        place.unlink()
        away.rename(place)
        for patient in self.patients.values():
            patient.serial += 1
        await self.edit()
        await self.others()
        usable = await self.program.until(lambda: self.program.of("state.usable", since=since), PATIENCE)
        if not usable or len(said) != 1:
            raise Violation(f"of its state directory the log says {said} and {usable}")

    async def others(self, patient: Patient | None = None) -> None:
        """A call to each upstream that is not ill, and a listing, in both eras."""
        names = [name for name in self.echoes if patient is None or name != patient.name]
        works = [self.echo(era, name) for era in ERAS for name in names]
        works += [self._listed(era, names) for era in ERAS]
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*works)

    async def echo(self, era: str, name: str) -> None:
        """One call that must be answered."""
        tag = f"{era}-{next(self._tags)}"
        begun = time.monotonic()
        try:
            answer = await self._call(era, name, self.echoes[name][0], tag)
        except (Refused, httpx2.HTTPError) as error:
            raise Violation(f"{era}: a call to {name}, which is well: {error!r}") from None
        self.seconds.append(time.monotonic() - begun)
        if answer.get("isError") or tag not in json.dumps(answer["content"]):
            raise Violation(f"{era}: a call to {name}, which is well, is answered with {answer}")

    def judge(self, outcome: Json | Exception, allowed: Any, what: str, patient: Patient, tag: str) -> None:
        """Hold that a call to the one that is ill ended as it may, and that an error says what it has to."""
        if isinstance(outcome, dict):
            ended = ANSWERED if tag in json.dumps(outcome["content"]) else f"answered with {outcome}"
        elif isinstance(outcome, Refused):
            text, data = outcome.args[0], outcome.data
            ended = UNAVAILABLE if data.get("retryable") else LOST
            remedy = "may be retried" if ended == UNAVAILABLE else "not repeated"
            if data.get("upstream") != patient.name or repr(patient.name) not in text:
                raise Violation(f"{what} ends with an error that does not name the upstream: {text} {data}")
            if not data.get("reason") or data["reason"] not in text or remedy not in text or "Traceback" in text:
                raise Violation(f"{what} ends with an error that lacks its cause or what to do: {text} {data}")
        else:
            ended = repr(outcome)
        if ended not in allowed:
            raise Violation(f"{what} ends as {ended}, and not as {allowed}: {outcome!r}")

    def _begin(self, era: str, patient: Patient, tool: str) -> "tuple[str, asyncio.Task[Json | Exception]]":
        tag = f"{tool}-{era}-{next(self._tags)}"

        async def call() -> Json | Exception:
            try:
                async with asyncio.timeout(PATIENCE):
                    return await self._call(era, patient.name, tool, tag)
            except (Refused, httpx2.HTTPError, TimeoutError) as error:
                return error

        return tag, asyncio.create_task(call())

    async def _call(self, era: str, name: str, tool: str, tag: str) -> Json:
        arguments = {self.echoes[name][1]: tag, **({"key": "k"} if tool == "put" else {})}
        return await self.clients[era].request("tools/call", {"name": f"{name}_{tool}", "arguments": arguments})

    async def _listed(self, era: str, names: list[str]) -> None:
        listed = {name for name, _ in await self.clients[era].listed("tools")}
        if missing := {f"{name}_{self.echoes[name][0]}" for name in names} - listed:
            raise Violation(f"{era}: {missing} are not listed")

    async def _is_back(self, patient: Patient) -> float:
        """Call until calls pass in both eras."""
        begun = time.monotonic()
        for era in ERAS:
            while True:
                tag, task = self._begin(era, patient, "echo")
                outcome = await task
                if isinstance(outcome, dict):
                    self.judge(outcome, (ANSWERED,), f"{era}: the first call afterwards", patient, tag)
                    break
                self.judge(outcome, (LOST, UNAVAILABLE), f"{era}: a call afterwards", patient, tag)
                if time.monotonic() - begun > 2 * PATIENCE:
                    raise Violation(f"{era}: it is not back after {2 * PATIENCE:g} s: {outcome!r}")
                await asyncio.sleep(0.05)
        await self._look_for(patient)
        return time.monotonic() - begun

    async def _look_for(self, patient: Patient) -> None:
        if patient.kind == "pipe":
            patient.pids = tuple((await self.up(patient.name))["pids"])

    def _sick(self) -> Json:
        return {patient.name: patient.keys() for patient in self.patients.values()}

    def _visitor(self) -> Json:
        return {"guest": light(f"guest {self._guest}")}


@contextlib.asynccontextmanager
async def ward(
    folder: Path, *, writes: Path | None = None, expected: Collection[str] = (), **sections: Any
) -> AsyncIterator[Ward]:
    """A ward with everybody up, with these sections in the file. At the end the mesh leaves nothing behind and has logged no error.

    The mesh's log and state are where it `writes`, by default in the folder, too. `expected` are events that may be errors.
    """
    async with contextlib.AsyncExitStack() as stack:
        upstreams, echoes = healthy(stack)
        patients = [Patient(f"ill_{kind}", kind, folder) for kind in ("pipe", "web")]
        for patient in patients:
            stack.push_async_callback(patient.stop)
            await patient.start()
        file = folder / "mesh.yaml"
        found = Ward(upstreams, echoes, patients, file)
        found.sections = sections
        found.write()
        http = await stack.enter_async_context(http_client())
        program = await stack.enter_async_context(serving(file, writes or folder))
        await found.open(program, http)
        yield found
        state = await program.look(http)
        status, _ = await program.end(PATIENCE)
        if status != 0:
            raise Violation(f"the mesh ends with status {status}")
        if left := [pid for pid in state.children if is_alive(pid)]:
            raise Violation(f"processes are left: {left}")
        for event in program.read():
            if (event["level"] == "error" and event["event"] not in expected) or "exception" in event:
                raise Violation(f"logged: {event}")
