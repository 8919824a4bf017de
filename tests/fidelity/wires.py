"""How the peers' messages travel: `HttpWire` and `LineWire`."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
from tests.fidelity.peers import Json, Peer, Refused, Reply, Wire


class HttpWire(Wire):
    """Streamable HTTP, either era, by the peer's."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url
        self._session: str | None = None
        self._standing: asyncio.Task[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def _headers(self, more: Mapping[str, str] = {}) -> dict[str, str]:
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if self.peer.era == "modern" or self._session is not None:
            headers["mcp-protocol-version"] = self.peer.version
        if self._session is not None:
            headers["mcp-session-id"] = self._session
        return headers | dict(more)

    async def request(self, number: int, method: str, params: Json, headers: Mapping[str, str]) -> Reply:
        reply = Reply()
        body = json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()
        sent = self._headers(headers)
        async with self._http.stream("POST", self._url, content=body, headers=sent) as response:
            reply.status = response.status_code
            if method == "initialize":
                self._session = response.headers.get("mcp-session-id")
            async for message in _messages(response):
                if message.get("id") == number and "method" not in message:
                    return self.peer.settle(reply, message)
                self._came(message, reply)
        raise AssertionError(f"{method} was not answered: status {reply.status}")

    async def notify(self, method: str, params: Json | None = None) -> None:
        message = {"jsonrpc": "2.0", "method": method} | ({"params": params} if params is not None else {})
        await self._post(message)

    async def abandon(self, number: int, task: "asyncio.Task[Reply]") -> None:
        if self.peer.era == "legacy":
            await self.notify("notifications/cancelled", {"requestId": number, "reason": "test"})
        task.cancel()
        await asyncio.wait({task})

    async def listen(self) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._standing = asyncio.ensure_future(self._stand(opened))
        await opened

    async def _stand(self, opened: "asyncio.Future[None]") -> None:
        headers = self._headers({"accept": "text/event-stream"})
        async with self._http.stream("GET", self._url, headers=headers, timeout=None) as response:
            opened.set_result(None)
            async for message in _messages(response):
                self._came(message, None)

    def _came(self, message: Json, reply: Reply | None) -> None:
        params = message.get("params") or {}
        if "id" not in message:
            self.peer.notified(message["method"], params, reply)
            return
        task = asyncio.ensure_future(self._answer(message["id"], message["method"], params, reply))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, number: Any, method: str, params: Json, reply: Reply | None) -> None:
        await self._post(await _answered(self.peer, number, method, params, reply))

    async def _post(self, message: Json) -> None:
        response = await self._http.post(self._url, content=json.dumps(message).encode(), headers=self._headers())
        assert response.status_code == 202, response.text

    async def aclose(self) -> None:
        tasks = {*self._answering, *([self._standing] if self._standing else [])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._session is not None:
            await self._http.delete(self._url, headers=self._headers())


class LineWire(Wire):
    """One message a line, over a pair of streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._reading = asyncio.ensure_future(self._read(reader))
        self._open: dict[Any, tuple[Reply, asyncio.Future[Reply]]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def request(self, number: int, method: str, params: Json, headers: Mapping[str, str]) -> Reply:
        ended: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[number] = (Reply(), ended)
        try:
            self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            return await ended
        finally:
            del self._open[number]

    async def notify(self, method: str, params: Json | None = None) -> None:
        self._send({"jsonrpc": "2.0", "method": method} | ({"params": params} if params is not None else {}))

    async def abandon(self, number: int, task: "asyncio.Task[Reply]") -> None:
        await self.notify("notifications/cancelled", {"requestId": number, "reason": "test"})
        task.cancel()
        await asyncio.wait({task})

    def _send(self, message: Json) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def listen(self) -> None:
        """Everything comes anyway."""

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            number, method = message.get("id"), message.get("method")
            if method is None:
                if number in self._open:
                    reply, ended = self._open[number]
                    ended.set_result(self.peer.settle(reply, message))
                continue
            # Nothing here says which request it belongs to: it is of the oldest that is open.
            reply_or_none = next((reply for reply, ended in self._open.values() if not ended.done()), None)
            params = message.get("params") or {}
            if number is None:
                self.peer.notified(method, params, reply_or_none)
            else:
                task = asyncio.ensure_future(self._answer(number, method, params, reply_or_none))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)

    async def _answer(self, number: Any, method: str, params: Json, reply: Reply | None) -> None:
        self._send(await _answered(self.peer, number, method, params, reply))

    async def aclose(self) -> None:
        self._writer.close()
        tasks = {self._reading, *self._answering}
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _answered(peer: Peer, number: Any, method: str, params: Json, reply: Reply | None) -> Json:
    try:
        return {"jsonrpc": "2.0", "id": number, "result": await peer.answer(method, params, reply)}
    except Refused as refused:
        return {"jsonrpc": "2.0", "id": number, "error": refused.error}


async def _messages(response: httpx2.Response) -> AsyncIterator[Json]:
    """The messages of a response: one as JSON, or any number as events."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        body = await response.aread()
        assert response.headers.get("content-type") == "application/json", (response.status_code, body)
        yield json.loads(body)
        return
    rest = bytearray()
    async for chunk in response.aiter_raw():
        if rest[-1:] == b"\r" and chunk[:1] == b"\n":
            del rest[-1:]
        rest += chunk.replace(b"\r\n", b"\n")
        while (end := rest.find(b"\n\n")) >= 0:
            event, rest = bytes(rest[:end]), rest[end + 2 :]
            data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if data:
                yield json.loads(data)
