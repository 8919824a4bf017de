"""What it costs that a request comes to another process than its home, and that replicas greet each other. Black box: the program, in processes.

A call, a listing and a ping each come to their home and to another process in turns, in slices of a fraction of a second, so that the moods of the machine fall on both. CPU is that of the mesh's processes alone, by the kernel's clocks.
"""

import asyncio
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

from bench.arena import Arena, Running
from bench.calls import Calls
from bench.connection import Connection, EventStream
from bench.contenders import CONTENDERS, Contender, Upstreams, serve_mesh
from bench.ground import Ground, say
from bench.load import Client
from bench.processes import free_port, tree

CLIENTS = 8
TOOLS = 1000
"""Tools of the listing: as many as that which is published has."""
KEY = "a-key-of-a-measurement-that-is-long-enough"
STREAMS = 300
GREETED = 100
REST = 4.0
"""Seconds after which what begins has begun."""
KINDS = ("small", "list")


def contender(name: str, **sections: object) -> Contender:
    """The mesh with these sections of its config."""

    def command(ground: Ground, directory: Path, upstreams: Upstreams, port: int) -> list[str]:
        file = directory / "mesh.yaml"
        file.write_text(json.dumps({"upstreams": upstreams, **sections}))
        return serve_mesh(file, port)

    return replace(CONTENDERS["meshproxy"], name=name, command=command)


def cpu(pid: int) -> float:
    """Seconds of one process."""
    return time.clock_gettime((~pid << 3) | 2)


def rss(pid: int) -> int:
    """Bytes of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def connect(url: str, kind: type[Connection] = Connection) -> Connection:
    calls = Calls(url, "file", "", modern=False)
    return (await asyncio.get_running_loop().create_connection(kind, calls.host, calls.port))[1]


async def at_worker(url: str, number: int) -> Connection:
    """A connection that this worker has taken: the system chooses, so that it takes a few attempts."""
    where = url.removesuffix("/mcp")
    while True:
        connection = await connect(url)
        calls = Calls(f"{where}/readyz", "file", "", modern=False)
        _, body = await connection.ask(calls.get("*/*"))
        if json.loads(body)["worker"] == number:
            return connection
        connection.transport.close()


class Side:
    """Clients whose sessions have one home, and whose connections end there (`home`) or at another process (`entry`)."""

    def __init__(self, url: str, home: list[Connection], entry: list[Connection]) -> None:
        self.url = url
        self.ways = {"home": home, "entry": entry}
        self.clients: dict[tuple[str, str], list[Client]] = {}

    async def open(self) -> None:
        for number in range(len(self.ways["home"])):
            opener = Client(Calls(self.url, "small", "bench_echo", modern=False), self.ways["home"][number])
            headers = await opener.session()
            for kind in KINDS:
                for way, connections in self.ways.items():
                    calls = Calls(self.url, kind, "bench_echo", modern=False)
                    client = Client(calls, connections[number])
                    client.heads = [calls.head(headers)]
                    await client.call(client.heads[0])
                    self.clients.setdefault((kind, way), []).append(client)

    async def slice_of(self, kind: str, way: str, pids: list[int], seconds: float) -> dict:
        """Calls, and microseconds of each process per call."""
        before = [cpu(pid) for pid in pids]
        deadline = time.perf_counter() + seconds
        clients = self.clients[kind, way]
        await asyncio.gather(*(client.run(deadline) for client in clients))
        errors = [error for client in clients for error in client.errors]
        if errors:
            raise RuntimeError(f"{kind} by {way}: {errors[0]}")
        calls = sum(len(client.times) for client in clients)
        return {"calls": calls, "cpu": [(cpu(pid) - old) / calls * 1e6 for pid, old in zip(pids, before, strict=True)]}


async def compared(side: Side, pids: list[int], rounds: int, seconds: float) -> dict:
    """By kind: the median over the rounds of what a call costs at its home, and of what it costs more by way of another process, in hundredths of the former."""
    await side.open()
    found: dict = {}
    for kind in KINDS:
        samples: list[dict[str, dict]] = []
        for number in range(rounds):
            order = ("home", "entry") if number % 2 else ("entry", "home")
            samples.append({way: await side.slice_of(kind, way, pids, seconds) for way in order})
        homes = [sum(sample["home"]["cpu"]) for sample in samples]
        ratios = [sum(sample["entry"]["cpu"]) / home for sample, home in zip(samples, homes, strict=True)]
        parts = [max(sample["home"]["cpu"]) for sample in samples]
        # At its home a call costs the home alone: whichever process that is has nearly all of it.
        home = max(range(len(pids)), key=lambda index: sum(sample["home"]["cpu"][index] for sample in samples))
        there = [sample["entry"]["cpu"][home] / part for sample, part in zip(samples, parts, strict=True)]
        found[kind] = {
            "us_at_home": round(statistics.median(homes), 1),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_of_home": round(statistics.median(there), 3),
            "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
            "calls": sum(sample[way]["calls"] for sample in samples for way in sample),
        }
        say(f"  {kind}: {found[kind]}")
    return found


def pair(arena: Arena) -> list[Running]:
    """Two replicas on this machine, which know each other."""
    ports = [free_port(), free_port()]
    peers = [f"127.0.0.1:{port}" for port in ports]
    upstreams = arena.http(["bench"], tools=TOOLS, options=("--legacy",))
    meshes = []
    for port in ports:
        cluster = {"listen": f"127.0.0.1:{port}", "peers": peers, "key": KEY}
        meshes.append(arena.start(contender("replica", cluster=cluster), upstreams))
    for mesh in meshes:
        arena.wait_for_tool(mesh)
    return meshes


def by_socket(rounds: int, seconds: float) -> dict:
    """Two workers of one machine."""
    say("hand-over to another worker, over a Unix socket")
    with Arena(ready_ground()) as arena:
        upstreams = arena.http(["bench"], tools=TOOLS)
        mesh = arena.start(contender("workers", server={"workers": 2}), upstreams)
        arena.wait_for_tool(mesh)
        pids = [pid for pid in tree(mesh.pid) if pid != mesh.pid]

        async def run() -> dict:
            first = [await at_worker(mesh.url, 0) for _ in range(CLIENTS)]
            second = [await at_worker(mesh.url, 1) for _ in range(CLIENTS)]
            return await compared(Side(mesh.url, first, second), pids, rounds, seconds)

        return asyncio.run(run())


def by_network(rounds: int, seconds: float) -> dict:
    """Two replicas: TLS over TCP; and what a session's event stream takes, at its home and by way of the other."""
    say("hand-over to another replica, by TLS over TCP")
    with Arena(ready_ground()) as arena:
        home, entry = pair(arena)
        pids = [home.pid, entry.pid]

        async def run() -> dict:
            first = [await connect(home.url) for _ in range(CLIENTS)]
            second = [await connect(entry.url) for _ in range(CLIENTS)]
            calls = await compared(Side(home.url, first, second), pids, rounds, seconds)
            streams = {way: await held(home, mesh, pids) for way, mesh in (("home", home), ("entry", entry))}
            return {**calls, "streams": streams}

        return asyncio.run(run())


async def held(home: Running, entry: Running, pids: list[int]) -> dict:
    """Bytes and descriptors of a session that has called and listens, per session, at its home and where its stream comes in."""
    warm = await listening(home, entry, 50)
    before = [(rss(pid), descriptors(pid)) for pid in pids]
    streams = await listening(home, entry, STREAMS)
    await asyncio.sleep(1)
    after = [(rss(pid), descriptors(pid)) for pid in pids]
    for stream in [*warm, *streams]:
        stream.transport.abort()
    await asyncio.sleep(1)
    told = [
        {"bytes": round((new[0] - old[0]) / STREAMS), "descriptors": round((new[1] - old[1]) / STREAMS, 2)}
        for old, new in zip(before, after, strict=True)
    ]
    say(f"  a stream: {told}")
    return dict(zip(("at_home", "at_entry"), told, strict=True))


async def listening(home: Running, entry: Running, count: int) -> list[Connection]:
    calls = Calls(home.url, "small", "bench_echo", modern=False)
    opener = Client(calls, await connect(home.url))
    found = []
    for _ in range(count):
        headers = await opener.session()
        await opener.call(calls.head(headers))
        stream = await connect(entry.url, EventStream)
        stream.transport.write(Calls(entry.url, "small", "", modern=False).get("text/event-stream", headers))
        found.append(stream)
    opener.connection.lost = None
    opener.connection.transport.close()
    return found


def greetings(seconds: float) -> dict:
    """What one greeting costs who sends it and who answers it: one replica is given the other a hundred times, by as many addresses of this machine."""
    say("greetings")
    with Arena(ready_ground()) as arena:
        port, own = free_port(), free_port()
        upstreams = arena.http(["bench"])
        many = [f"127.0.1.{number}:{port}" for number in range(1, GREETED + 1)]
        told = arena.start(contender("told", cluster={"listen": f"0.0.0.0:{port}", "key": KEY}), upstreams)
        time.sleep(REST)
        alone = cost_of_rest([told], seconds)
        weights = [(rss(told.pid), descriptors(told.pid))]
        cluster = {"listen": f"127.0.0.1:{own}", "peers": many, "key": KEY}
        greeter = arena.start(contender("greeter", cluster=cluster), upstreams)
        time.sleep(REST)
        both = cost_of_rest([told, greeter], seconds)
        weights.append((rss(told.pid), descriptors(told.pid)))
        found = {
            "us_sent": round((both[1] - alone[0]) / GREETED * 1e6, 1),
            "us_answered": round((both[0] - alone[0]) / GREETED * 1e6, 1),
            "us_of_rest": round(alone[0] * 1e6),
            "bytes": round((weights[1][0] - weights[0][0]) / GREETED),
            "descriptors": round((weights[1][1] - weights[0][1]) / GREETED, 2),
        }
        say(f"  {found}")
        return found


def cost_of_rest(meshes: list[Running], seconds: float) -> list[float]:
    """Seconds of CPU a second of each, when nobody calls."""
    before = [cpu(mesh.pid) for mesh in meshes]
    time.sleep(seconds)
    return [(cpu(mesh.pid) - old) / seconds for mesh, old in zip(meshes, before, strict=True)]


def ready_ground() -> Ground:
    ground = Ground()
    ground.prepare({"python"})
    return ground
