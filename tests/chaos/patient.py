"""`Patient`: the one upstream of the mesh that falls ill, over either wire, and what can be done to it from outside."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.kit.places import ROOT
from tests.kit.processes import SHARED, is_alive
from tests.kit.waiting import eventually

Json = dict[str, Any]
ILL = str(ROOT / "tests" / "servers" / "ill.py")


class Wire:
    """A TCP connection's way to a server, which can be cut: nothing passes any more, and neither end is told."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self._is_cut = False
        self._cut: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take connections, at the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and end those that there are."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Nothing passes any more: not over what there is, and not over what comes until `mend`."""
        self._is_cut = True

    def mend(self) -> None:
        """What is connected from now on passes. What was cut is not mended by that."""
        self._is_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        ends: list[asyncio.StreamWriter] = [writer]
        try:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
                ends.append(far_writer)
                ways = [
                    asyncio.create_task(self._carry(reader, far_writer)),
                    asyncio.create_task(self._carry(far_reader, writer)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.wait(ways)
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_cut = False
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                # A connection over which nothing has passed once is dead, whatever becomes of the way.
                is_cut = is_cut or self._is_cut
                if not is_cut:
                    writer.write(data)
                    await writer.drain()
            if is_cut:
                await asyncio.Event().wait()


class Patient:
    """An upstream of a mesh.

    Attributes:
        name: in the config.
        kind: `pipe` for a command, `web` for a URL.
        deadline: its `timeouts.call`.
        serial: a change of it makes the mesh take another provider.
    """

    def __init__(self, name: str, kind: str, folder: Path) -> None:
        self.name = name
        self.kind = kind
        self.serial = 0
        self.deadline = "1m"
        self.wire = Wire()
        self._mood = folder / f"{name}.mood"
        self._ledger = folder / f"{name}.ledger"
        self._ready = folder / f"{name}.ready"
        self._process: asyncio.subprocess.Process | None = None
        self.pids: tuple[int, ...] = ()
        """Of a command's processes, as the mesh told when it was asked last."""

    def keys(self) -> Json:
        """As the file says it."""
        common = {
            "timeouts": {"connect": "2s", "list": "2s", "call": self.deadline, "shutdown": "1s"},
            "limits": {"result": "2MiB"},
        }
        if self.kind == "web":
            url = f"http://127.0.0.1:{self.wire.port}/mcp"
            return {"url": url, "headers": {"x-serial": f"number {self.serial}"}, **common}
        files = ["--mood", str(self._mood), "--ledger", str(self._ledger)]
        return {"command": sys.executable, "args": ["-IS", ILL, *files], "env": {"SERIAL": str(self.serial)}, **common}

    async def start(self) -> None:
        """Serve, if it is a server of its own."""
        if self.kind != "web":
            return
        if self._process is None or self._process.returncode is not None:
            self._ready.unlink(missing_ok=True)
            line = [ILL, "--mood", str(self._mood), "--ledger", str(self._ledger), "--http", "0"]
            null = asyncio.subprocess.DEVNULL
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-IS", *line, "--ready", str(self._ready), stdin=null, stderr=null
            )
            SHARED.add(self._process.pid)
            await eventually(self._ready.exists)
            self.wire.target = int(self._ready.read_text())
        await self.wire.open()

    async def stop(self) -> None:
        """End it for good."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await self.wire.close()

    async def kill(self) -> None:
        """SIGKILL; a server of its own is gone until it is started again, and its port refuses connections."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
            await self.wire.close()

    async def gone(self) -> None:
        """Wait until none of the command's processes runs that the mesh has told of."""
        await eventually(lambda: not any(map(is_alive, self.pids)))

    def signal(self, number: int) -> None:
        """To each of its processes that there still is."""
        pids = self.pids if self._process is None else (self._process.pid,)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def feels(self, at: str, do: str) -> None:
        """From now on it does this at this stage, instead of what it should."""
        part = self._mood.with_suffix(".part")
        part.write_text(json.dumps({"at": at, "do": do}))
        part.rename(self._mood)

    def is_well(self) -> None:
        self._mood.unlink(missing_ok=True)

    def carried_out(self) -> Counter[str]:
        """How often each call was carried out, by its tag."""
        return Counter(self._ledger.read_text().split("\n")[:-1] if self._ledger.exists() else ())
