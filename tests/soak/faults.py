"""What goes wrong with upstreams, and clients that come and go: `./scripts/soak faults [--rounds 10]`.

- `killed`: a program is killed while calls run: they end with an error that says that they may have been carried out, calls meanwhile fail
  at once with one that says that they may be retried, and it is up again by itself
- `hung`: an upstream that does not answer a call costs that call its deadline, and the others nothing
- `restarted`: an HTTP server that comes back has forgotten its sessions: they are opened anew unseen, and no call is made twice
- `crowd`: thirty clients that connect, call and leave, politely or not, over and over, leave nothing behind
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx2
from tests.kit.places import ROOT
from tests.kit.processes import is_alive
from tests.kit.running import command
from tests.kit.waiting import eventually
from tests.soak.clients import Client, Refused, http_client
from tests.soak.documents import LIGHT
from tests.soak.program import PATIENCE, Program, serving

Json = dict[str, Any]
ERAS = ("legacy", "modern")


class Scene:
    """A mesh with upstreams, its clients, and what is found."""

    def __init__(self, program: Program, folder: Path, http: httpx2.AsyncClient, name: str) -> None:
        self.program = program
        self.folder = folder
        self.http = http
        self.name = name
        self.violations: list[str] = []
        self.seconds: dict[str, list[float]] = {}
        self.facts: dict[str, Any] = {}

    def wrong(self, text: str) -> None:
        self.violations.append(f"{self.name}: {text}")

    async def client(self, era: str) -> Client:
        client = Client(self.program.url, era, self.http)
        await client.open()
        return client

    async def timed(self, what: str, work: Coroutine[Any, Any, Any]) -> Any:
        """The result, or what it was refused with."""
        begun = time.monotonic()
        try:
            return await asyncio.wait_for(work, PATIENCE)
        except (Refused, httpx2.HTTPError) as error:
            return error
        except TimeoutError as error:
            self.wrong(f"{what}: no answer in {PATIENCE} s")
            return error
        finally:
            self.seconds.setdefault(what, []).append(time.monotonic() - begun)

    async def up(self, upstream: str) -> Json:
        async def state() -> Json | None:
            one = (await self.program.ready(self.http))[1]["upstreams"][upstream]
            return one if one["state"] == "up" else None

        return dict(await eventually(state))

    def report(self) -> None:
        print(self.name)
        for what, found in self.seconds.items():
            print(f"  {what:36} {len(found)}: median {statistics.median(found):.3f} s, most {max(found):.3f} s")
        for what, fact in self.facts.items():
            print(f"  {what:36} {fact}")


@contextlib.asynccontextmanager
async def scene(name: str, upstreams: Json, **sections: Any) -> AsyncIterator[Scene]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        http = await stack.enter_async_context(http_client())
        file = folder / "mesh.yaml"
        file.write_text(json.dumps({**sections, "upstreams": upstreams}))
        program = await stack.enter_async_context(serving(file, folder))
        found = Scene(program, folder, http, name)
        for upstream in upstreams:
            await found.up(upstream)
        yield found
        state = await program.look(http)
        status, seconds = await program.end(PATIENCE)
        found.seconds["end after SIGTERM"] = [seconds]
        if status != 0:
            found.wrong(f"it ends with status {status}")
        if left := [pid for pid in state.children if is_alive(pid)]:
            found.wrong(f"processes are left: {left}")
        for event in program.read():
            if event["level"] == "error" or "exception" in event:
                found.wrong(f"logged: {event}")


def light(label: str, *arguments: str, **keys: Any) -> Json:
    return {"command": sys.executable, "args": ["-IS", LIGHT, "--label", label, *arguments], **keys}


def call(client: Client, name: str, **arguments: Any) -> Coroutine[Any, Any, Json]:
    return client.request("tools/call", {"name": name, "arguments": arguments})


def is_lost(answer: Any, upstream: str) -> bool:
    return isinstance(answer, Refused) and answer.data.get("upstream") == upstream and answer.data["retryable"] is False


def is_unavailable(answer: Any, upstream: str) -> bool:
    return isinstance(answer, Refused) and answer.data.get("upstream") == upstream and answer.data["retryable"] is True


class Bystanders:
    """Calls to an upstream that nothing is wrong with, in both eras, all the while."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    async def __aenter__(self) -> None:
        clients = [await self.scene.client(era) for era in ERAS]
        self._tasks = [asyncio.create_task(self._run(client)) for client in clients]

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def _run(self, client: Client) -> None:
        while True:
            answer = await self.scene.timed(f"{client.era}: calls to the other", call(client, "well_echo"))
            if isinstance(answer, Exception) or answer["structuredContent"]["label"] != "well":
                self.scene.wrong(f"{client.era}: a call to the other: {answer!r}")
            await asyncio.sleep(0.02)


async def killed(rounds: int) -> Scene:
    async with scene("killed", {"ill": light("ill"), "well": light("well")}) as found:
        clients = [await found.client(era) for era in ERAS for _ in range(3)]
        # A first use waits for others, until it is known whether the tool asks questions.
        await call(clients[0], "ill_echo")
        async with Bystanders(found):
            for number in range(rounds):
                pid = (await found.up("ill"))["pids"][0]
                calls = [asyncio.create_task(call(one, "ill_echo", hold=True)) for one in clients]
                await asyncio.sleep(0.1)
                os.kill(pid, signal.SIGKILL)
                answers = await asyncio.gather(
                    *(found.timed("a call in flight ends after the kill", _result(task)) for task in calls)
                )
                if not all(is_lost(answer, "ill") for answer in answers):
                    found.wrong(f"round {number}: calls in flight end with {answers}")
                begun = time.monotonic()
                refused = 0
                while isinstance(
                    answer := await found.timed("a call while it is down", call(clients[0], "ill_echo")), Refused
                ):
                    refused += 1
                    if not is_unavailable(answer, "ill"):
                        found.wrong(f"round {number}: while it is down: {answer!r}, {answer.data}")
                    if [name for name, _ in await clients[1].listed("tools")] != ["ill_echo", "well_echo"]:
                        found.wrong("its tools are not listed while it is down")
                    if time.monotonic() - begun > PATIENCE:
                        found.wrong("it does not come back")
                        break
                    await asyncio.sleep(0.02)
                found.seconds.setdefault("until a call passes again", []).append(time.monotonic() - begun)
        found.facts["pauses before it was started again"] = [
            round(later["at"] - earlier["at"], 2)
            for earlier, later in zip(
                found.program.of("upstream.down"), found.program.of("upstream.up")[2:], strict=False
            )
        ]
        return found


async def _result(task: "asyncio.Task[Json]") -> Json:
    return await task


async def hung(rounds: int) -> Scene:
    slow = light("ill", timeouts={"call": "700ms"})
    async with scene("hung", {"ill": slow, "well": light("well")}) as found:
        clients = [await found.client(era) for era in ERAS]
        pid = (await found.up("ill"))["pids"]
        async with Bystanders(found):
            for _ in range(rounds):
                held = [found.timed("a call that is not answered", call(one, "ill_echo", hold=True)) for one in clients]
                others = [found.timed("another call to the same", call(one, "ill_echo", tag=1)) for one in clients]
                answers = await asyncio.gather(*held, *others)
                if not all(is_lost(answer, "ill") for answer in answers[:2]):
                    found.wrong(f"calls without an answer end with {answers[:2]}")
                if not all(isinstance(answer, dict) for answer in answers[2:]):
                    found.wrong(f"calls beside them end with {answers[2:]}")
        if (await found.up("ill"))["pids"] != pid:
            found.wrong("it was started again, though it answers")
        return found


async def restarted(rounds: int) -> Scene:
    folder = Path(tempfile.mkdtemp())
    server = Server(folder)
    await server.start()
    try:
        upstreams = {"web": {"url": f"http://127.0.0.1:{server.port}/mcp"}, "well": light("well")}
        async with scene("restarted", upstreams) as found:
            clients = [await found.client(era) for era in ERAS for _ in range(2)]
            async with Bystanders(found):
                for number in range(rounds):
                    for client in clients:
                        answer = await found.timed("a call before", call(client, "web_count"))
                        if isinstance(answer, Exception):
                            found.wrong(f"round {number}: a call before: {answer!r}")
                    marker = folder / f"round-{number}"
                    task = asyncio.create_task(call(clients[number % 4], "web_hold", marker=str(marker)))
                    await eventually(
                        lambda marker=marker, task=task: marker.with_suffix(".started").exists() or task.done()
                    )
                    if task.done():
                        found.wrong(f"round {number}: a call that should wait: {task}")
                        continue
                    # Once with a gap, in which the port is closed, and once without.
                    server.kill()
                    answer = await found.timed("a call in flight ends after the kill", _result(task))
                    if not is_lost(answer, "web"):
                        found.wrong(
                            f"round {number}: a call in flight ends with {answer!r} {getattr(answer, 'data', '')}"
                        )
                    marker.with_suffix(".started").unlink(missing_ok=True)
                    if number % 2:
                        answer = await found.timed("a call while it is gone", call(clients[0], "web_count"))
                        if not is_unavailable(answer, "web"):
                            found.wrong(f"round {number}: while it is gone: {answer!r}")
                    await server.start()
                    begun = time.monotonic()
                    await found.up("web")
                    found.seconds.setdefault("up after its restart", []).append(time.monotonic() - begun)
                    first = await asyncio.gather(
                        *(found.timed("the first call afterwards", call(one, "web_count")) for one in clients)
                    )
                    for client, answer in zip(clients, first, strict=True):
                        if isinstance(answer, Exception):
                            found.wrong(f"round {number}: {client.era}: the first call afterwards: {answer!r}")
                    again = await found.timed("the second call afterwards", call(clients[0], "web_count"))
                    if isinstance(again, Exception):
                        found.wrong(f"round {number}: the second call afterwards: {again!r}")
                    else:
                        made = again["structuredContent"]["process"]
                        passed = 1 + sum(isinstance(answer, dict) for answer in first)
                        if made != passed:
                            found.wrong(f"round {number}: {passed} calls were answered, and {made} were carried out")
                    if marker.with_suffix(".started").exists():
                        found.wrong(f"round {number}: the call that was lost was made again")
            return found
    finally:
        server.kill()


class Server:
    """A legacy HTTP server that keeps its port when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        line = command(
            "basic", "--transport", "http", "--era", "legacy", "--ready-file", str(ready), "--port", str(self.port)
        )
        null = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*line, cwd=ROOT, stdin=null, stdout=null, stderr=null)
        await eventually(ready.exists)
        self.port = int(ready.read_text().split(":")[2].split("/")[0])

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


async def crowd(rounds: int) -> Scene:
    folder = Path(tempfile.mkdtemp())
    server = Server(folder)
    await server.start()
    upstreams = {
        "web": {"url": f"http://127.0.0.1:{server.port}/mcp"},
        "alone": light("alone", session="isolated"),
        "well": light("well"),
    }
    try:
        async with scene("crowd", upstreams, server={"session_idle_timeout": "3s"}) as found:
            first = await found.client("legacy")
            await found.timed("one call", call(first, "well_echo"))
            before = await found.program.look(found.http)
            outcomes: Counter[str] = Counter()

            async def visitor(number: int) -> None:
                for turn in range(rounds):
                    kind = (number + turn) % 4
                    era = "modern" if kind == 0 else "legacy"
                    # A connection pool of its own, as another program has.
                    async with http_client() as http:
                        client = Client(found.program.url, era, http)
                        await client.open()
                        if kind != 1:
                            await client.listen()
                        names = [name for name, _ in await client.listed("tools")]
                        if "well_echo" not in names or "alone_echo" not in names:
                            found.wrong(f"listed are {names}")
                        # One of them is not answered before the client is gone.
                        name = "alone_echo" if kind == 2 else "web_count"
                        answer = await found.timed(f"{era}: a call", call(client, name))
                        outcomes[type(answer).__name__] += 1
                        if isinstance(answer, Exception):
                            found.wrong(f"a visitor's call of {name}: {answer!r}")
                        if kind == 3:
                            held = asyncio.create_task(call(client, "well_echo", hold=True))
                            await asyncio.sleep(0.05)
                            held.cancel()
                            await asyncio.wait({held})
                            # And it leaves without a word.
                            client._session = {}
                        await client.close()

            begun = time.monotonic()
            await asyncio.gather(*(visitor(number) for number in range(30)))
            found.seconds["all visits"] = [time.monotonic() - begun]
            found.facts["visits"] = 30 * rounds

            async def calm() -> bool:
                state = await found.program.look(found.http)
                growth = state.growth(before)
                found.facts["left over"] = growth
                return growth["processes"] <= 0 and not growth["descriptors"] and not growth["tasks"]

            begun = time.monotonic()
            with contextlib.suppress(TimeoutError):
                await eventually(calm)
            found.seconds["until nothing is left of them"] = [time.monotonic() - begun]
            growth = found.facts["left over"]
            if growth["processes"] > 0 or growth["descriptors"] or growth["tasks"]:
                found.wrong(f"left over: {growth}")
            _, body = await found.program.ready(found.http)
            found.facts["sessions at upstreams"] = {name: one["sessions"] for name, one in body["upstreams"].items()}
            await found.timed("one call", call(await found.client("legacy"), "well_echo"))
            return found
    finally:
        server.kill()


SCENES: dict[str, Callable[[int], Coroutine[Any, Any, Scene]]] = {
    "killed": killed,
    "hung": hung,
    "restarted": restarted,
    "crowd": crowd,
}


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak faults", description="What goes wrong with upstreams.")
    options.add_argument("scene", nargs="*", help=f"of {', '.join(SCENES)}; by default all")
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args(arguments)
    violations = []
    for name in chosen.scene or SCENES:
        # Whoever is killed again and again is started again with growing pauses.
        found = asyncio.run(SCENES[name](min(chosen.rounds, 5) if name == "killed" else chosen.rounds))
        found.report()
        violations += found.violations
    for violation in violations:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
