"""The load client: a process of its own that calls as fast as it is answered, and checks every answer.

It reads one JSON job a line from stdin and answers each with one JSON line on stdout. A *load* is a set of clients, each with a
keep-alive connection and, in the legacy era, a session; a client sends its next request when the last one is answered.

    {"op": "open", "load": L, "url": U, "era": "legacy"|"modern"|"sse", "clients": 16, "call": C, "name": T, "sessions": 0, "credential": K}
    {"op": "open", "load": L, "argv": [...], "log": FILE, "era": E, "clients": 16, "call": C, "name": T}   over pipes: `bench.pipes`
    {"op": "ready", "load": L, "warm": true}     fresh connections and a call on each session, so that a run is nothing but calls
    {"op": "run", "load": L, "seconds": S, "rate": 0}    calls, errors, seconds, latencies in milliseconds; `rate` calls a second, 0 for as many as are answered
    {"op": "hold", "load": L, "count": N, "calls": 1, "stream": true}    N more sessions, called so often, their event stream left open
    {"op": "close", "load": L}

`call` is one of `bench.calls.KINDS`: `small` (an answer of about 200 bytes), `large` (64 kB), `file` (GET the URL) and so on. With `sessions`, the
clients take turns over that many sessions. `sse` is the legacy era over the transport of 2024.
"""

import asyncio
import contextlib
import sys
import time

import msgspec
import uvloop
from bench.calls import INITIALIZE, INITIALIZED, Calls, encode
from bench.connection import PATIENCE, Broken, Connection, EventStream
from bench.pipes import Pipes, summary


class Client:
    """Sends its next request as soon as the last one is answered, until the deadline."""

    def __init__(self, calls: Calls, connection: Connection) -> None:
        self.calls, self.connection = calls, connection
        self.heads: list[bytes] = []
        self.turn = self.number = 0
        self.errors: list[str] = []
        self.times: list[float] = []
        self.sent = self.ended = self.deadline = 0.0
        self.pause = 0.0
        """Seconds from one request to the next, if the answer is there; 0 for no pause."""
        self.done: asyncio.Future | None = None
        self.opened: list[str] = []

    async def open(self) -> None:
        """Before anything else; the sessions are opened by the load."""

    async def session(self) -> str:
        """Shake hands; the headers that further requests of this session carry."""
        calls, connection = self.calls, self.connection
        status, answer = await connection.ask(calls.post("", len(INITIALIZE)) + INITIALIZE)
        if status != 200 or b'"protocolVersion"' not in answer:
            raise Broken(f"initialize: {status} {answer[:200]!r}")
        headers = f"MCP-Protocol-Version: {msgspec.json.decode(answer)['result']['protocolVersion']}\r\n"
        if b"mcp-session-id" in connection.headers:
            headers += f"Mcp-Session-Id: {connection.headers[b'mcp-session-id'].decode()}\r\n"
        status, answer = await connection.ask(calls.post(headers, len(INITIALIZED)) + INITIALIZED)
        if status not in (200, 202, 204):
            raise Broken(f"initialized: {status} {answer[:200]!r}")
        self.opened.append(headers)
        return headers

    async def end(self) -> None:
        """End the sessions; a server may refuse that (2025-11-25, "Session Management")."""
        for headers in self.opened:
            await self.connection.ask(self.calls.end(headers))

    async def call(self, head: bytes) -> None:
        """One call outside of a run."""
        body = self.calls.body()
        number = self.calls.number
        self.calls.check(number, *await self.connection.ask(head + body))

    async def run(self, deadline: float) -> None:
        self.errors, self.times, self.deadline = [], [], deadline
        self.done = asyncio.get_running_loop().create_future()
        self.connection.receive, self.connection.lost = self.receive, self.lost
        if self.connection.transport is None:
            self.lost()
        else:
            self.send()
        try:
            await asyncio.wait_for(self.done, deadline - time.perf_counter() + PATIENCE)
        except TimeoutError:
            self.errors.append("no answer")
            self.ended = time.perf_counter()

    def send(self) -> None:
        request = self.heads[self.turn] + self.calls.body()
        self.turn = (self.turn + 1) % len(self.heads)
        self.number = self.calls.number
        self.sent = time.perf_counter()
        self.connection.transport.write(request)

    def receive(self, status: int, body: bytes) -> None:
        now = time.perf_counter()
        try:
            self.calls.check(self.number, status, body)
            self.times.append(now - self.sent)
        except Broken as error:
            self.errors.append(str(error))
        if now < self.deadline and self.connection.transport is not None and len(self.errors) < 100:
            if self.pause and (left := self.sent + self.pause - now) > 0:
                asyncio.get_running_loop().call_later(left, self.resume)
            else:
                self.send()
        else:
            self.finish(now)

    def resume(self) -> None:
        now = time.perf_counter()
        if now >= self.deadline:
            self.finish(now)
        elif self.connection.transport is not None:
            self.send()

    def lost(self) -> None:
        if self.done is not None and not self.done.done():
            self.errors.append("the connection was closed")
            self.finish(time.perf_counter())

    def finish(self, now: float) -> None:
        self.ended = now
        if self.done is not None and not self.done.done():
            self.done.set_result(None)


class StreamClient(Client):
    """Speaks the transport of 2024: requests are posted, and answers come on an event stream of the session."""

    stream: EventStream
    missing: int
    """What this call still lacks: the answer, the acceptance of the post, or both."""

    async def open(self) -> None:
        calls = self.calls
        loop = asyncio.get_running_loop()
        _, self.stream = await loop.create_connection(EventStream, calls.host, calls.port)
        self.stream.transport.write(calls.get("text/event-stream"))
        self.endpoint = (await self.stream.next()).decode()

    async def session(self) -> str:
        await self.post(calls_body=INITIALIZE)
        await self.connection.ask(self.calls.post("", len(INITIALIZED), self.endpoint) + INITIALIZED)
        return ""

    async def post(self, calls_body: bytes) -> bytes:
        said = asyncio.ensure_future(self.stream.next())
        await asyncio.sleep(0)
        await self.connection.ask(self.calls.post("", len(calls_body), self.endpoint) + calls_body)
        return await said

    async def call(self, head: bytes) -> None:
        body = self.calls.body()
        number = self.calls.number
        self.calls.check(number, 200, await self.post(body))

    async def run(self, deadline: float) -> None:
        length = len(self.calls.body())
        self.heads = [self.calls.post("", length, self.endpoint)]
        self.stream.event, self.stream.lost = self.answered, self.lost
        await super().run(deadline)

    def send(self) -> None:
        self.missing = 2
        super().send()

    def receive(self, status: int, body: bytes) -> None:
        if status not in (200, 202):
            self.errors.append(f"status {status}: {body[:200]!r}")
        self.part()

    def answered(self, data: bytes) -> None:
        if b'"method"' in data[:60]:
            return
        try:
            self.calls.check(self.number, 200, data)
            self.times.append(time.perf_counter() - self.sent)
        except Broken as error:
            self.errors.append(str(error))
        self.part()

    def part(self) -> None:
        self.missing -= 1
        if not self.missing:
            now = time.perf_counter()
            if now < self.deadline and len(self.errors) < 100:
                self.send()
            else:
                self.finish(now)


class Load:
    """So many clients of one endpoint."""

    def __init__(self, job: dict) -> None:
        self.sessions = job["era"] != "modern" and job["call"] != "file"
        self.calls = Calls(
            job["url"],
            job["call"],
            job.get("name", ""),
            modern=job["era"] == "modern",
            credential=job.get("credential", ""),
        )
        self.kind = StreamClient if job["era"] == "sse" else Client
        self.count, self.wanted = job["clients"], job.get("sessions") or job["clients"]
        self.clients: list[Client] = []
        self.holders: list[Client] = []
        self.held: list[Connection] = []

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, self.calls.host, self.calls.port))[1]

    async def open(self) -> dict:
        for _ in range(self.count):
            client = self.kind(self.calls, await self.connect())
            self.clients.append(client)
            await client.open()
        for index in range(self.wanted):
            client = self.clients[index % self.count]
            client.heads.append(self.calls.head(await client.session() if self.sessions else ""))
        return {}

    async def ready(self, *, warm: bool) -> None:
        """New connections, since a server may close one that was idle, and a call on every session."""
        for client in self.clients:
            client.connection.lost = None
            if client.connection.transport is not None:
                client.connection.transport.close()
            client.connection = await self.connect()
        if warm:
            await asyncio.gather(*(self.warm(client) for client in self.clients))

    async def warm(self, client: Client) -> None:
        for head in client.heads:
            await client.call(head)

    async def run(self, seconds: float, rate: float = 0.0) -> dict:
        for client in self.clients:
            client.pause = self.count / rate if rate else 0.0
        began = time.perf_counter()
        await asyncio.gather(*(client.run(began + seconds) for client in self.clients))
        times = [spell for client in self.clients for spell in client.times]
        errors = [error for client in self.clients for error in client.errors]
        seconds = max(client.ended for client in self.clients) - began
        return summary(times, errors, seconds) | {"tools": self.calls.tools, "bytes": self.calls.size}

    async def hold(self, count: int, calls: int, *, stream: bool) -> None:
        """More sessions, called so often, and then left alone."""
        client = self.kind(self.calls, await self.connect())
        self.holders.append(client)
        for _ in range(count):
            headers = await client.session()
            for _ in range(calls):
                await client.call(self.calls.head(headers))
            if stream:
                listener = await self.connect()
                listener.transport.write(self.calls.get("text/event-stream", headers))
                self.held.append(listener)

    async def close(self) -> None:
        for client in [*self.clients, *self.holders]:
            with contextlib.suppress(Broken):
                client.connection.lost = None
                client.connection = await self.connect()
                await client.end()
        for connection in [client.connection for client in [*self.clients, *self.holders]] + self.held:
            connection.lost = None
            if connection.transport is not None:
                connection.transport.abort()


async def work(loads: dict[str, Load | Pipes], job: dict) -> dict:
    name = job["load"]
    match job["op"]:
        case "open":
            loads[name] = Pipes(job) if "argv" in job else Load(job)
            return await loads[name].open()
        case "ready":
            await loads[name].ready(warm=job["warm"])
            return {"tools": loads[name].calls.tools}
        case "run":
            return await loads[name].run(job["seconds"], job.get("rate", 0.0))
        case "hold":
            await loads[name].hold(job["count"], job["calls"], stream=job.get("stream", False))
        case "close":
            await loads.pop(name).close()
    return {}


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    loads: dict[str, Load | Pipes] = {}
    while line := await reader.readline():
        try:
            answer = await work(loads, msgspec.json.decode(line))
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(encode(answer).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
