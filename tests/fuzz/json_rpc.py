"""Messages of clients and of upstreams: whatever comes is understood or refused, and no answer goes where nobody asked."""

import asyncio
import contextlib
import json
from typing import Any, Self

from hypothesis import strategies as st
from meshproxy.errors import RpcError
from meshproxy.serving.channel import Channel
from meshproxy.wire.mending import mend
from meshproxy.wire.messages import parse
from tests.fuzz.mutation import mutated
from tests.kit.echo import EchoHandler
from tests.kit.messages import CLIENT, call, modern, request

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_ID = st.one_of(st.integers(-3, 10), st.text(max_size=3), _JSON)
_METHOD = st.sampled_from(
    [
        "initialize",
        "ping",
        "tools/call",
        "tools/list",
        "notifications/initialized",
        "notifications/cancelled",
        "subscriptions/listen",
        "server/discover",
        "x",
        "",
    ]
)
_MEMBER = st.one_of(
    st.tuples(st.just("method"), st.one_of(_METHOD, _JSON)),
    st.tuples(st.just("id"), _ID),
    st.tuples(st.sampled_from(["params", "result", "error", "jsonrpc", "Method", "ID"]), _JSON),
    st.tuples(
        st.just("params"),
        st.builds(
            lambda name, arguments: {"name": name, "arguments": arguments},
            st.sampled_from(["echo", "fail", "x"]),
            _JSON,
        ),
    ),
)


def _spelled(members: list[tuple[str, Any]]) -> bytes:
    # Members may come twice.
    return (
        "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in [("jsonrpc", "2.0"), *members]) + "}"
    ).encode()


_MESSAGE = st.one_of(
    st.lists(_MEMBER, max_size=5).map(_spelled),
    st.builds(lambda method, number, params: json.dumps(request(method, params, number)).encode(), _METHOD, _ID, _JSON),
    st.just(json.dumps(call("echo", 5, text="x")).encode()),
)


class Target:
    """A channel survives any messages, answers each id at most as often as it was asked, and says nothing of its own insides."""

    examples = 150

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.close()

    def strategy(self) -> st.SearchStrategy[Any]:
        return st.tuples(st.booleans(), st.lists(mutated("json-rpc", _MESSAGE), min_size=1, max_size=4))

    def check(self, example: tuple[bool, list[bytes]]) -> None:
        is_modern, messages = example
        for message in messages:
            try:
                parse(message)
            except RpcError as error:
                with contextlib.suppress(RpcError):
                    mend(message, error)
        self._runner.run(self._talk(messages, is_modern=is_modern))

    async def _talk(self, messages: list[bytes], *, is_modern: bool) -> None:
        said: list[bytes] = []
        channel = Channel(EchoHandler(), said.append)
        hello = request(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}, "hello"
        )
        opening = modern(request("server/discover", {}, "hello"))[0] if is_modern else hello
        for message in (json.dumps(opening).encode(), *messages):
            channel.received(message)
            await asyncio.sleep(0)
        await channel.aclose()
        assert not channel._running
        for line in said:
            answer = json.loads(line)
            assert b"\n" not in line
            assert b"Traceback" not in line
            assert b"a secret of the implementation" not in line
            assert answer["jsonrpc"] == "2.0"
            assert ("result" in answer) != ("error" in answer) or "method" in answer
