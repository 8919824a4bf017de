"""Whatever JSON an upstream sends arrives equal, but for names, URIs and hop-by-hop `_meta`; numbers to the digit, and escapes to the character."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from typing import Any

import anyio.from_thread
import httpx2
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from meshproxy.links.target import Command
from meshproxy.naming import public_uri
from meshproxy.serving.channel import Channel
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.upstream.client import ProxyClient
from meshproxy.upstream.provider import ProxyProvider
from tests.fidelity.peers import ABLE, CLIENT, LEGACY, META, MODERN
from tests.fidelity.scripted import App
from tests.kit.places import ROOT
from tests.kit.processes import children
from tests.kit.sockets import QuietServer, listener
from tests.kit.waiting import DEADLINE

Json = Any

NAMESPACE = "up"
EXAMPLES = 30
ERAS = ("legacy", "modern")


# JSON as text, spelled in every way that JSON allows.


@dataclass(frozen=True)
class Number:
    """A number, by its spelling."""

    spelling: str


def decoded(text: str) -> Json:
    return json.loads(text, parse_int=Number, parse_float=Number)


def _escaped(text: str) -> str:
    """Each character as `\\uXXXX`; those beyond the first plane as the pair that they are."""
    units = text.encode("utf-16-be", "surrogatepass")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'


texts = st.text(st.characters(exclude_categories=[]), max_size=8)
plain = st.text(max_size=12)
strings = st.one_of(
    plain.map(lambda text: json.dumps(text, ensure_ascii=False)),
    plain.map(json.dumps),
    texts.map(_escaped),
    st.integers(1, 2000).map(lambda n: json.dumps("hügé " * n, ensure_ascii=False)),
    st.sampled_from(['"\\ud83d\\ude00"', '"\\ud83d"', '"\\/\\b\\f\\u0000"', '"\u2028\u2029"', '"%"', '"uri"']),
)
numbers = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
    st.sampled_from(["-0", "0.10", "1E400", "-1e-400", "12345678901234567890123", "1.00000000000000000001", "1e+2"]),
)
scalars = st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings)
blanks = st.sampled_from(["", "", "", " ", "\n", "\t  "])


def _array(items: list[str], blank: str) -> str:
    return f"[{blank}{f'{blank},'.join(items)}{blank}]"


def _object(members: dict[str, str], blank: str) -> str:
    spelled = (f"{json.dumps(key)}{blank}:{blank}{value}" for key, value in members.items())
    return f"{{{blank}{f',{blank}'.join(spelled)}{blank}}}"


def objects(values: st.SearchStrategy[str], **known: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects with some members of known keys, and others of any."""
    others = st.dictionaries(plain.filter(lambda key: key not in RESERVED), values, max_size=3)
    named = st.fixed_dictionaries({}, optional=known)
    return st.builds(lambda one, other, blank: _object({**other, **one}, blank), named, others, blanks)


# What is of one connection alone, or decides what becomes of the rest.
RESERVED = {
    *("resultType", "ttlMs", "cacheScope", "inputRequests", "requestState", "_meta", "content", "structuredContent"),
    *(
        "taskId",
        "progressToken",
        "level",
        "uri",
        "type",
        "resource",
        "ui",
        "ui/resourceUri",
        "mode",
        "tools",
        "toolChoice",
    ),
}
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(_array, st.lists(inner, max_size=3), blanks),
        st.builds(_object, st.dictionaries(plain, inner, max_size=3), blanks),
    ),
    max_leaves=8,
)
uris = st.one_of(
    st.sampled_from(["a://b/c", "file:///x", "urn:isbn:1", "https://e.x/", "mesh://up/a", "", "ä b"]).map(json.dumps),
    anything,
)
blocks = st.one_of(
    objects(
        anything,
        type=st.sampled_from(['"text"', '"resource_link"', '"resource"', '"image"', '"holo"', '"resource\\u005flink"']),
        uri=uris,
        resource=objects(anything, uri=uris),
    ),
    anything,
)
metas = objects(anything, ui=objects(anything, resourceUri=uris), **{"ui/resourceUri": uris})
results = objects(
    anything,
    content=st.one_of(st.builds(_array, st.lists(blocks, max_size=3), blanks), anything),
    structuredContent=anything,
    isError=anything,
    _meta=metas,
)
errors = st.builds(
    lambda code, message, data: _object({"code": str(code), "message": message} | ({"data": data} if data else {}), ""),
    st.integers(-40000, 40000).filter(lambda code: code not in (-32020, -32022, -32042, -32002)),
    plain.map(json.dumps),
    st.one_of(st.none(), anything),
)
finals = st.one_of(
    results.map('"result":{}'.format), results.map('"result":{}'.format), errors.map('"error":{}'.format)
)
lines = objects(anything, data=anything, logger=strings).map(
    lambda params: _notification("message", _with(params, level='"error"'))
)
steps = objects(anything, progress=numbers, message=strings).map(
    lambda params: _notification("progress", _with(params, progressToken="%TOKEN%"))
)
questions = st.one_of(
    st.tuples(st.just("sampling/createMessage"), objects(anything, maxTokens=numbers)),
    st.tuples(st.just("elicitation/create"), objects(anything, message=strings, requestedSchema=anything)),
)


def _notification(name: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"notifications/{name}","params":{params}}}'


def _with(spelled: str, **members: str) -> str:
    """An object with more members, which come first."""
    more = ",".join(f'"{key}":{value}' for key, value in members.items())
    rest = spelled.strip()[1:]
    return f"{{{more}{'' if rest.strip() == '}' else ','}{rest}"


# What is to arrive.


def expected(text: str, downstream: str, upstream: str) -> Json:
    """A result as a client of `downstream` is to get it."""
    result = decoded(text)
    for block in result["content"] if isinstance(result.get("content"), list) else ():
        if isinstance(block, dict) and block.get("type") == "resource_link":
            _publish(block, "uri")
        elif isinstance(block, dict) and block.get("type") == "resource" and isinstance(block.get("resource"), dict):
            _publish(block["resource"], "uri")
    meta = result.get("_meta")
    if meta is not None:
        _publish(meta, "ui/resourceUri")
        if isinstance(meta.get("ui"), dict):
            _publish(meta["ui"], "resourceUri")
    crosses = downstream == "legacy" and upstream == "modern"
    if crosses and not isinstance(result.get("structuredContent", {}), dict):
        # There it is an object or nothing.
        del result["structuredContent"]
    return without_connection(result)


def _publish(holder: Json, key: str) -> None:
    if isinstance(holder.get(key), str):
        holder[key] = public_uri(NAMESPACE, holder[key])


def without_connection(result: Json) -> Json:
    """A result without what its connection adds."""
    rest = {key: value for key, value in result.items() if key not in ("resultType", "ttlMs", "cacheScope")}
    if isinstance(meta := rest.get("_meta"), dict):
        meta.pop(f"{META}serverInfo", None)
        if not meta:
            del rest["_meta"]
    return rest


# Clients that keep the text.


class Ways:
    """A mesh in front of each upstream, and a way to call it from each side."""

    def __init__(self, servers: dict[tuple[str, str], FastMCP], http: httpx2.AsyncClient, urls: dict[Any, str]) -> None:
        self._servers = servers
        self._http = http
        self._urls = urls
        self._numbers = count(1)

    async def converse(self, way: "Way", script: Json, answer: str) -> list[Json]:
        """Call the tool, answering any question with `answer`: every message that came, decoded, the last one the answer."""
        async with asyncio.timeout(DEADLINE):
            talk = self._over_http if way.wire == "http" else self._over_lines
            params = {"name": f"{NAMESPACE}_play", "arguments": script}
            heard = await talk(way, params, answer)
            result = heard[-1].get("result")
            if isinstance(result, dict) and result.get("resultType") == "input_required":
                key, question = next(iter(result["inputRequests"].items()))
                heard[-1] = question
                responses = f'"inputResponses":{{{json.dumps(key)}:{answer}}}'
                if "requestState" in result:
                    responses += f',"requestState":{json.dumps(result["requestState"])}'
                heard += await talk(way, params, answer, responses)
            return heard

    def _spelled(self, way: "Way", params: Json, responses: str) -> tuple[int, bytes]:
        number = next(self._numbers)
        meta: Json = {"progressToken": "mine"}
        if way.downstream == "modern":
            meta |= {f"{META}protocolVersion": MODERN, f"{META}clientInfo": CLIENT, f"{META}clientCapabilities": ABLE}
            meta[f"{META}logLevel"] = "debug"
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params | {"_meta": meta}}
        text = json.dumps(message)
        return number, (text[:-2] + (f",{responses}" if responses else "") + "}}").encode()

    async def _over_http(self, way: "Way", params: Json, answer: str, responses: str = "") -> list[Json]:
        _, body = self._spelled(way, params, responses)
        url = self._urls[way.upstream, way.transport]
        headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if way.downstream == "modern":
            headers |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": params["name"]}
        else:
            headers["mcp-session-id"] = await self._session(url, headers)
        heard: list[Json] = []
        async with self._http.stream("POST", url, content=body, headers=headers) as response:
            async for text in _texts(response):
                message = decoded(text)
                heard.append(message)
                if "method" in message and "id" in message:
                    asked = message["id"].spelling
                    answered = f'{{"jsonrpc":"2.0","id":{asked},"result":{answer}}}'
                    await self._http.post(url, content=answered.encode(), headers=headers)
        return heard

    async def _session(self, url: str, headers: dict[str, str]) -> str:
        if (known := self._urls.get(("session", url))) is None:
            opening = {"protocolVersion": LEGACY, "capabilities": ABLE, "clientInfo": CLIENT}
            message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening}
            response = await self._http.post(url, json=message, headers=headers)
            known = self._urls["session", url] = response.headers["mcp-session-id"]
        return known

    async def _over_lines(self, way: "Way", params: Json, answer: str, responses: str = "") -> list[Json]:
        number, body = self._spelled(way, params, responses)
        heard: list[Json] = []
        ended = asyncio.Event()

        def received(line: bytes) -> None:
            assert b"\n" not in line
            message = decoded(line.decode())
            identity = message.get("id")
            if identity == Number("0"):
                return
            heard.append(message)
            if "method" in message and identity is not None:
                answered = f'{{"jsonrpc":"2.0","id":{identity.spelling},"result":{answer}}}'
                asyncio.get_running_loop().call_soon(channel.received, answered.encode())
            elif identity == Number(str(number)):
                ended.set()

        channel = Channel(self._servers[way.upstream, way.transport], received)
        if way.downstream == "legacy":
            opening = {"protocolVersion": LEGACY, "capabilities": ABLE, "clientInfo": CLIENT}
            channel.received(
                json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening}).encode()
            )
        channel.received(body)
        await ended.wait()
        await channel.aclose()
        return heard


async def _texts(response: httpx2.Response) -> AsyncIterator[str]:
    body = (await response.aread() if "json" in response.headers["content-type"] else b"").decode()
    if body:
        yield body
        return
    rest = b""
    async for chunk in response.aiter_raw():
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            data = [line[5:].strip(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
            if any(data):
                yield b"\n".join(data).decode()


@dataclass(frozen=True)
class Way:
    downstream: str
    wire: str
    upstream: str
    transport: str

    def __str__(self) -> str:
        return f"{self.downstream} over {self.wire} to {self.upstream} over {self.transport}"


WAYS = [Way(*way) for way in product(ERAS, ("http", "lines"), ERAS, ("http", "stdio"))]


@contextlib.asynccontextmanager
async def _ways() -> AsyncIterator[Ways]:
    async with contextlib.AsyncExitStack() as stack:

        async def served(app: Any) -> str:
            sock = listener()
            server = QuietServer(
                uvicorn.Config(
                    app,
                    interface="asgi3",
                    log_level="critical",
                    http="httptools",
                    lifespan="off",
                    # Or a connection is closed in the very step in which it is used again, now and then, and nobody can tell whether the call was carried out.
                    timeout_keep_alive=10 * DEADLINE,
                )
            )
            task = asyncio.ensure_future(server.serve(sockets=[sock]))
            stack.push_async_callback(lambda: task)
            stack.callback(setattr, server, "should_exit", True)
            return f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"

        http = httpx2.AsyncClient(timeout=DEADLINE, trust_env=False)
        urls: dict[Any, str] = {}
        servers: dict[tuple[str, str], FastMCP] = {}
        for era, transport in product(ERAS, ("http", "stdio")):
            target: Any = await served(App(era)) if transport == "http" else None
            line = [sys.executable, "-m", "tests.fidelity.scripted", era]
            client = ProxyClient(target or Command(line[0], line[1:], cwd=str(ROOT)), name=transport)
            servers[era, transport] = server = FastMCP(list_grace=DEADLINE)
            server.add_provider(ProxyProvider(client), namespace=NAMESPACE)
            await stack.enter_async_context(server)
            app = server.http_app()
            stack.push_async_callback(app.aclose)
            urls[era, transport] = await served(app)
        await stack.enter_async_context(http)
        for mounted in [server.composite.mounted[0] for server in servers.values()]:
            await mounted.provider.settled()
        yield Ways(servers, http, urls)


@pytest.fixture(scope="module")
def ways() -> Iterator[Any]:
    """The event loop of all runs is in a thread of its own, since a property is tested by a plain function."""
    before = children().keys()
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(_ways()) as ready:
        yield lambda *arguments: portal.call(partial(ready.converse, *arguments))
    assert {pid: line for pid, line in children().items() if pid not in before} == {}


@pytest.fixture(autouse=True)
def no_process_is_left() -> None:
    """The upstreams stay from test to test; whether any is left in the end is looked at there."""


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_what_an_upstream_sends_arrives_equal_but_for_names_uris_and_hop_by_hop_meta(ways: Any, way: Way) -> None:
    @settings(max_examples=EXAMPLES)
    @given(st.lists(st.one_of(lines, steps), max_size=2), st.one_of(st.none(), questions), finals, results)
    def holds(before: list[str], asked: Any, final: str, answer: str) -> None:
        heard = ways(way, {"before": before, "ask": asked, "final": final}, answer)
        told = [decoded(text.replace("%TOKEN%", '"mine"')) for text in before]
        assert heard[: len(told)] == told
        if asked is not None:
            question = heard[len(told)]
            assert (question["method"], question["params"]) == (asked[0], decoded(asked[1]))
        ended = heard[-1]
        assert len(heard) == len(told) + (asked is not None) + 1
        if final.startswith('"error"'):
            assert ended["error"] == decoded(f"{{{final}}}")["error"]
        else:
            assert "result" in ended, ended
            assert without_connection(ended["result"]) == expected(
                final.removeprefix('"result":'), way.downstream, way.upstream
            )

    holds()
