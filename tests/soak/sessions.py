"""Sessions and calls by the thousand with faults on: `./scripts/soak sessions [--sessions 10000] [--calls 1000000] [--clients 24] [--calm]`.

Clients connect, call and leave, one after the other, over and over: of each three sessions one is ended, one is abandoned, and one is cut off in the
middle of a call; each second client is of the modern era. They call four upstreams of the mesh of `tests/chaos`, and meanwhile another one of the ten
goes through one fault after the other, with an edit in each. Each answer is checked. After four thousand sessions (or half of them, if that is less), and once more at the end, all are
made to pause, and what the mesh holds is looked at: memory, tasks, descriptors and processes must be what they were.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from bench.connection import Broken, Connection
from tests.chaos.faults import CASES
from tests.chaos.ward import Violation, Ward, ward
from tests.kit.waiting import eventually
from tests.soak.chaos import settled
from tests.soak.clients import CLIENT, ENVELOPE, LEGACY, MODERN
from tests.soak.program import State

Json = dict[str, Any]
TOOLS = (("bench_pipe_echo", "text"), ("light_legacy_echo", "tag"), ("light_modern_echo", "tag"))
SDK = ("sdk_web_echo", "text")
"""A call of it in each session: its server keeps a session for each of the mesh's."""
IDLE = 10
"""Seconds after which the mesh forgets what was abandoned."""
WARM = 4000
"""Sessions after which everything has been used that is kept for use, and as many were abandoned at once as ever will be: the heap grows until then."""
GROWTH = 1.05
LEFT = 4


class Load:
    """The clients, how far they are, and what was wrong."""

    def __init__(self, url: str, calls_each: int) -> None:
        host, port = url.split("/")[2].split(":")
        self.host, self.port = host, int(port)
        self.calls_each = calls_each
        self.sessions = self.calls = 0
        self.violations: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    async def until(self, sessions: int, clients: int) -> None:
        """So many sessions in all, by so many clients at once."""
        await asyncio.gather(*(self._client(sessions) for _ in range(clients)))

    async def _client(self, sessions: int) -> None:
        while self.sessions < sessions:
            self.sessions += 1
            number = self.sessions
            try:
                await self._session(number)
            except (Broken, OSError, TimeoutError) as error:
                self.violations.append(f"session {number}: {error!r}")

    async def _session(self, number: int) -> None:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, self.host, self.port)
        try:
            if number % 2:
                for _ in range(self.calls_each):
                    await self._call(connection, TOOLS[next(self._numbers) % len(TOOLS)], None)
                return
            params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
            await connection.ask(self._post("initialize", params, ""))
            session = f"mcp-session-id: {connection.headers[b'mcp-session-id'].decode()}\r\n"
            session += f"mcp-protocol-version: {LEGACY}\r\n"
            await self._call(connection, SDK, session)
            for _ in range(self.calls_each - 1):
                await self._call(connection, TOOLS[next(self._numbers) % len(TOOLS)], session)
            if number % 6 == 0:
                await connection.ask(f"DELETE /mcp HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n{session}\r\n".encode())
            elif number % 6 == 2:
                params = {"name": "light_legacy_echo", "arguments": {"hold": True}}
                assert connection.transport is not None
                connection.transport.write(self._post("tools/call", params, session))
                await asyncio.sleep(0)
            self.outcomes[("ended", "cut off", "abandoned")[number % 6 // 2]] += 1
        finally:
            if connection.transport is not None:
                connection.transport.abort()

    async def _call(self, connection: Connection, tool: tuple[str, str], session: str | None) -> None:
        name, argument = tool
        tag = f"tag-{next(self._numbers)}-"
        params: Json = {"name": name, "arguments": {argument: tag}}
        if session is None:
            params["_meta"] = ENVELOPE
            session = f"mcp-protocol-version: {MODERN}\r\nmcp-method: tools/call\r\nmcp-name: {name}\r\n"
        status, body = await connection.ask(self._post("tools/call", params, session))
        self.calls += 1
        if status != 200 or tag.encode() not in body or b'"result"' not in body[:60]:
            self.violations.append(f"{name} {tag}: HTTP {status} {body[:300]!r}")

    def _post(self, method: str, params: Json, fields: str) -> bytes:
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}).encode()
        head = (
            f"POST /mcp HTTP/1.1\r\nhost: {self.host}:{self.port}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\ncontent-length: {len(body)}\r\n{fields}\r\n"
        )
        return head.encode() + body


class Faults:
    """One fault after the other, until it is told to pause."""

    def __init__(self, found: Ward) -> None:
        self.struck = 0
        self.violations: list[str] = []
        self._found = found
        self._cases = itertools.cycle(CASES)
        self._goes_on = True

    async def run(self) -> None:
        self._goes_on = True
        while self._goes_on:
            fault, kind = next(self._cases)
            patient = self._found.patients[kind]
            try:
                await self._found.admit(patient, fault)
                await self._found.ordeal(fault, patient)
            except (Violation, TimeoutError) as error:
                self.violations.append(f"{fault.name}, {kind}: {error!r}")
            self.struck += 1

    def pause(self) -> None:
        self._goes_on = False


async def looked_at(found: Ward) -> State:
    """What the mesh holds once nobody calls, and what was abandoned is forgotten."""
    for patient in found.patients.values():
        patient.is_well()
    await found.edit()
    await settled(found)
    await found.others()
    # Until then nothing that was abandoned need have been forgotten, and two looks in a row would be the same.
    await asyncio.sleep(2 * IDLE)
    state = await found.program.look(found.http)

    async def is_calm() -> bool:
        """Whether nothing becomes less any more."""
        nonlocal state
        await asyncio.sleep(IDLE)
        before, state = state, await found.program.look(found.http)
        return (
            sum(before.tasks.values()) <= sum(state.tasks.values())
            and before.descriptors == state.descriptors
            and len(before.children) <= len(state.children)
        )

    await eventually(is_calm, within=120)
    return state


async def run(sessions: int, calls: int, clients: int, *, calm: bool) -> int:
    violations: list[str] = []
    states = []
    with tempfile.TemporaryDirectory() as folder:
        async with ward(Path(folder), server={"session_idle_timeout": f"{IDLE}s"}) as found:
            load, faults = Load(found.program.url, max(2, calls // sessions)), Faults(found)
            seconds = 0.0
            for until in (min(WARM, sessions // 2), sessions):
                # What it had may have been idle for too long.
                await found.reopen()
                ailing = None if calm else asyncio.create_task(faults.run())
                begun = time.monotonic()
                await load.until(until, clients)
                seconds += time.monotonic() - begun
                if ailing is not None:
                    faults.pause()
                    await ailing
                # Its own session may have been idle as long as the others.
                await found.reopen()
                states.append(await looked_at(found))
                print(f"  {load.sessions} sessions, {load.calls} calls", file=sys.stderr, flush=True)
        violations += load.violations + faults.violations
    before, after = states
    growth = after.growth(before)
    print(f"  sessions, and how those of the legacy era ended   {load.sessions}: {dict(load.outcomes)}")
    print(f"  calls, all answered as they should                {load.calls} in {seconds:.0f} s")
    print(f"  faults, each with an edit                         {faults.struck}")
    print(f"  memory                                            {before.megabytes:.1f} -> {after.megabytes:.1f} MB")
    print(f"  tasks       {sum(before.tasks.values())} -> {sum(after.tasks.values())}  {growth['tasks']}")
    print(
        f"  descriptors {sum(before.descriptors.values())} -> {sum(after.descriptors.values())}  {growth['descriptors']}"
    )
    print(f"  processes                                         {len(before.children)} -> {len(after.children)}")
    print(f"  load of the machine                               {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores")
    if after.megabytes > before.megabytes * GROWTH:
        violations.append(f"memory grows from {before.megabytes:.1f} to {after.megabytes:.1f} MB")
    left = (sum(growth["tasks"].values()), sum(growth["descriptors"].values()), growth["processes"])
    if max(left[:2]) > LEFT or left[2] > 0:
        violations.append(f"left over: {growth}")
    for violation in violations[:20]:
        print(f"VIOLATION: {violation}")
    print("violations", len(violations))
    return 1 if violations else 0


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="./scripts/soak sessions", description="Sessions by the thousand.")
    options.add_argument("--sessions", type=int, default=10_000)
    options.add_argument("--calls", type=int, default=1_000_000, help="in all sessions together")
    options.add_argument("--clients", type=int, default=24, help="at once")
    options.add_argument("--calm", action="store_true", help="without faults")
    chosen = options.parse_args(arguments)
    return uvloop.run(run(chosen.sessions, chosen.calls, chosen.clients, calm=chosen.calm))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
