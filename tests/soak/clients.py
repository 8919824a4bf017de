"""Clients of both eras that see every message: they check each answer, and count each `list_changed`."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from meshproxy.http.sse import SseParser

Json = dict[str, Any]

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"
CLIENT = {"name": "soak", "version": "1"}
ENVELOPE = {META + "protocolVersion": MODERN, META + "clientCapabilities": {}, META + "clientInfo": CLIENT}
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
CHANGED = tuple(f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources"))
FLAGS = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")
LISTS = {
    "tools": ("tools/list", "tools", "name"),
    "prompts": ("prompts/list", "prompts", "name"),
    "resources": ("resources/list", "resources", "uri"),
    "templates": ("resources/templates/list", "resourceTemplates", "uriTemplate"),
}


class Refused(Exception):
    """A JSON-RPC error, or an HTTP status that carries none."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(f"{error.get('code')} {error.get('message')} (HTTP {status})")
        self.status = status
        self.code = error.get("code")
        self.data = error.get("data") or {}


def http_client() -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx2.AsyncClient(timeout=httpx2.Timeout(60, read=None), limits=limits, trust_env=False)


class Client:
    """One client of the mesh, legacy with a session of its own.

    `changes` counts the `list_changed` notifications by method, and `strays` are the other messages on its listening stream.
    """

    def __init__(self, url: str, era: str, http: httpx2.AsyncClient) -> None:
        self.url = url
        self.era = era
        self.changes: Counter[str] = Counter()
        self.strays: list[Json] = []
        self.is_listening = False
        self.endings: list[str] = []
        self.http = http
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self._listener: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self.era == "modern":
            return
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
        answer = await self.http.post(self.url, json=self._message("initialize", params), headers=self._headers("", {}))
        answer.raise_for_status()
        self._session = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": LEGACY}
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        (await self.http.post(self.url, json=told, headers=self._headers("", {}))).raise_for_status()

    async def listen(self) -> None:
        """Hear of changes from now on, until `close` or the mesh's end."""
        heard = asyncio.Event()
        self._listener = asyncio.create_task(self._listen(heard))
        waiting = asyncio.create_task(heard.wait())
        await asyncio.wait({self._listener, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not heard.is_set():
            raise RuntimeError(f"no listening stream: {self.endings}")

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
        if self._session:
            with contextlib.suppress(httpx2.HTTPError):
                await self.http.delete(self.url, headers=self._session)

    async def request(self, method: str, params: Json | None = None) -> Json:
        """One request and its result.

        Raises:
            Refused: it was answered with an error.
            httpx2.HTTPError: it was not answered.
        """
        message = self._message(method, params or {})
        async with self.http.stream(
            "POST", self.url, json=message, headers=self._headers(method, message["params"])
        ) as answer:
            async for came in messages(answer):
                if came.get("id") == message["id"] and "method" not in came:
                    if "error" in came:
                        raise Refused(answer.status_code, came["error"])
                    return dict(came["result"])
                self.strays.append(came)
            raise Refused(answer.status_code, {"message": "no answer"})

    async def listed(self, kind: str) -> list[tuple[str, str | None]]:
        """Names, or URIs, and descriptions."""
        method, items, key = LISTS[kind]
        found: list[Json] = []
        cursor: Json = {}
        while True:
            page = await self.request(method, cursor)
            found += page[items]
            if "nextCursor" not in page:
                return [(item[key], item.get("description")) for item in found]
            cursor = {"cursor": page["nextCursor"]}

    async def _listen(self, heard: asyncio.Event) -> None:
        try:
            if self.era == "legacy":
                headers = {**self._session, "Accept": "text/event-stream"}
                stream = self.http.stream("GET", self.url, headers=headers)
            else:
                message = self._message("subscriptions/listen", {"notifications": dict.fromkeys(FLAGS, True)})
                headers = self._headers(message["method"], message["params"])
                stream = self.http.stream("POST", self.url, json=message, headers=headers)
            async with stream as answer:
                if answer.status_code != 200:
                    self.endings.append(f"HTTP {answer.status_code}")
                    return
                if self.era == "legacy":
                    self.is_listening = True
                    heard.set()
                async for came in messages(answer):
                    method = came.get("method")
                    if method in CHANGED:
                        self.changes[method] += 1
                    elif method == "notifications/subscriptions/acknowledged":
                        self.is_listening = True
                        heard.set()
                    elif "result" not in came:
                        self.strays.append(came)
            self.endings.append("ended")
        except httpx2.HTTPError as error:
            self.endings.append(repr(error))
        finally:
            self.is_listening = False

    def _message(self, method: str, params: Json) -> Json:
        if self.era == "modern":
            params = {**params, "_meta": ENVELOPE}
        return {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}

    def _headers(self, method: str, params: Json) -> dict[str, str]:
        headers = {"Accept": "application/json, text/event-stream", **self._session}
        if self.era == "modern":
            headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
            if method in NAMED:
                headers["Mcp-Name"] = params[NAMED[method]]
        return headers


async def messages(answer: httpx2.Response) -> AsyncIterator[Json]:
    """The JSON-RPC messages of an HTTP answer, be it JSON or an event stream."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        parser = SseParser()
        async for chunk in answer.aiter_bytes():
            for event in parser.feed(chunk):
                yield json.loads(event.data)
    else:
        body = await answer.aread()
        if body:
            yield json.loads(body)


class SdkClient:
    """A client of the Python SDK that listens, to hold that what others' clients hear is what ours do."""

    def __init__(self, url: str, era: str) -> None:
        self.url = url
        self.era = era
        self.changes: Counter[str] = Counter()
        self.is_listening = False
        self._task: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._names: asyncio.Future[list[str]] | None = None

    async def open(self) -> None:
        heard = asyncio.Event()
        self._task = asyncio.create_task(self._run(heard))
        waiting = asyncio.create_task(heard.wait())
        await asyncio.wait({self._task, waiting}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not heard.is_set():
            self._task.cancel()
            raise RuntimeError(f"the SDK's {self.era} client does not connect: {self._task}")

    async def close(self) -> None:
        self._over.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=10)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, heard: asyncio.Event) -> None:
        from mcp import Client as Sdk

        async def on_message(message: Any) -> None:
            method = getattr(message, "method", None)
            if method in CHANGED:
                self.changes[method] += 1

        if self.era == "legacy":
            async with Sdk(self.url, mode="legacy", message_handler=on_message) as client:
                await client.list_tools()
                self.is_listening = True
                heard.set()
                await self._over.wait()
        else:
            async with (
                Sdk(self.url, mode=MODERN) as client,
                client.listen(
                    tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True
                ) as events,
            ):
                self.is_listening = True
                heard.set()
                over = asyncio.create_task(self._over.wait())
                listening = asyncio.create_task(self._count(events))
                await asyncio.wait({over, listening}, return_when=asyncio.FIRST_COMPLETED)
                for task in (over, listening):
                    task.cancel()
        self.is_listening = False

    async def _count(self, events: Any) -> None:
        methods = dict(zip(("Tools", "Prompts", "Resources"), CHANGED, strict=True))
        async for event in events:
            for word, method in methods.items():
                if type(event).__name__.startswith(word):
                    self.changes[method] += 1
