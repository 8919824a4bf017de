"""Standard input and output: one message a line, whichever era opens it, and nothing else on the line."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from meshproxy.serving.channel import Channel
from meshproxy.wire.codec import Raw
from tests.kit.echo import EchoHandler
from tests.kit.messages import CLIENT, call, modern, request, text_of
from tests.kit.places import ROOT
from tests.kit.waiting import within

pytestmark = pytest.mark.anyio

INITIALIZE = request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}, 0)
LIMIT = 64 * 1024 * 1024


class Program:
    """A server in a process of its own, and both ends of the line to it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin = process.stdin
        self.stdout = process.stdout

    def write(self, *messages: Any) -> None:
        self.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def read(self) -> Any:
        return json.loads(await within(self.stdout.readline()))

    async def ask(self, message: Any) -> Any:
        self.write(message)
        return await self.read()

    async def end(self) -> int:
        """Close its input; what it exits with."""
        self.stdin.close()
        return await within(self.process.wait())


@asynccontextmanager
async def program(*arguments: str, stdin: Any = asyncio.subprocess.PIPE, stdout: Any = asyncio.subprocess.PIPE) -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.serving.stdio_server", *arguments),
        cwd=ROOT,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        limit=LIMIT,
    )
    try:
        yield Program(process) if stdin == stdout == asyncio.subprocess.PIPE else process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def initialized() -> AsyncIterator[Program]:
    async with program() as running:
        assert (await running.ask(INITIALIZE))["result"]["serverInfo"]["name"] == "echo"
        running.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield running


async def test_a_handshake_opens_a_legacy_connection() -> None:
    async with initialized() as running:
        assert text_of(await running.ask(call("echo", text="hi"))) == "hi"
        enveloped, _ = modern(call("echo", id=2, text="hi"))
        assert (await running.ask(enveloped))["error"]["code"] == -32600
        assert (await running.ask(INITIALIZE))["error"]["message"].endswith("initialized already")
        whoami = json.loads(text_of(await running.ask(call("whoami"))))
        assert whoami["version"] == "2025-11-25"
        assert whoami["client"] == CLIENT
        assert whoami["header"] is None
        assert await running.end() == 0


async def test_an_envelope_opens_a_modern_connection() -> None:
    async with program() as running:
        discover, _ = modern(request("server/discover"))
        assert (await running.ask(discover))["result"]["supportedVersions"] == ["2026-07-28"]
        enveloped, _ = modern(call("echo", text="hi"))
        assert text_of(await running.ask(enveloped)) == "hi"
        assert (await running.ask(INITIALIZE))["error"]["code"] == -32022
        assert (await running.ask(call("echo")))["error"]["code"] == -32602
        asked, _ = modern(call("ask"))
        assert "cannot be asked" in (await running.ask(asked))["error"]["message"]
        assert await running.end() == 0


async def test_before_initialize_only_ping_is_answered() -> None:
    async with program() as running:
        running.write(
            {"jsonrpc": "2.0", "method": "notifications/initialized"}, {"jsonrpc": "2.0", "id": 1, "result": {}}
        )
        assert await running.ask(request("ping", id="p")) == {"jsonrpc": "2.0", "id": "p", "result": {}}
        assert "initialize first" in (await running.ask(call("echo")))["error"]["message"]
        assert (await running.ask(request("initialize", {})))["error"]["code"] == -32602
        assert "result" in await running.ask(INITIALIZE)


async def test_what_is_sent_along_with_initialize_waits_for_it() -> None:
    async with program() as running:
        running.write(INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call("whoami", id=1))
        assert (await running.read())["id"] == 0
        assert json.loads(text_of(await running.read()))["version"] == "2025-11-25"


async def test_what_is_no_message_is_answered_with_an_error_and_the_connection_goes_on() -> None:
    async with initialized() as running:
        for line, code in ((b"nonsense", -32700), (b"[]", -32600), (b'{"jsonrpc":"1.0","id":1,"method":"x"}', -32600)):
            running.stdin.write(b"\n \n" + line + b"\r\n")
            assert (await running.read())["error"]["code"] == code
        assert (await running.ask(request("tools/call", [])))["error"]["code"] == -32602
        running.write({"jsonrpc": "2.0", "method": "notifications/x", "params": [1]})
        running.write({"jsonrpc": "2.0", "method": "notifications/broken"})
        assert (await running.ask(call("crash")))["error"] == {"code": -32603, "message": "Internal error"}


async def test_a_byte_order_mark_says_nothing_and_other_encodings_are_refused() -> None:
    async with program() as running:
        running.stdin.write(b"\xef\xbb\xbf")
        assert (await running.ask(INITIALIZE))["result"]["serverInfo"]["name"] == "echo"
        line = json.dumps(call("echo", text="Größe"), ensure_ascii=False)
        running.stdin.write(line.encode("latin-1") + b"\r\n")
        assert (await running.read())["error"]["message"] == "Parse error: it is not in UTF-8"
        running.stdin.write(line.encode() + b"\r\n")
        assert text_of(await running.read()) == "Größe"


async def test_requests_run_side_by_side_and_a_cancelled_one_is_not_answered() -> None:
    async with initialized() as running:
        running.write(call("slow", id="s"))
        assert text_of(await running.ask(call("echo", id=2, text="while"))) == "while"
        assert "in use" in (await running.ask(call("echo", id="s")))["error"]["message"]
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s"}}
        running.write(cancelled, cancelled)
        assert text_of(await running.ask(call("echo", id=3, text="after"))) == "after"
        # At once, before it has begun.
        running.write(call("slow", id=9), {**cancelled, "params": {"requestId": 9}}, call("echo", id=10, text="after"))
        assert text_of(await running.read()) == "after"


async def test_the_client_can_be_asked_within_a_request() -> None:
    async with initialized() as running:
        question = await running.ask(call("ask", id="a"))
        assert question["method"] == "roots/list"
        # As structs in many languages are spelled.
        answer = await running.ask({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": [1]}, "error": None})
        assert answer["id"] == "a"
        assert json.loads(text_of(answer)) == {"roots": [1]}


async def test_a_listener_hears_until_it_cancels() -> None:
    async with program() as running:
        listen, _ = modern(request("subscriptions/listen", {}, "l"))
        assert (await running.ask(listen))["method"] == "notifications/subscriptions/acknowledged"
        running.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
        enveloped, _ = modern(call("echo", id=2, text="on"))
        assert text_of(await running.ask(enveloped)) == "on"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_ten_thousand_progress_notifications_arrive_complete_and_in_order(era: str) -> None:
    async with program() as running:
        message = call("progress", steps=10_000, meta={"progressToken": "t"})
        if era == "legacy":
            await running.ask(INITIALIZE)
        else:
            message, _ = modern(message)
        running.write(message)
        steps = [(await running.read())["params"]["progress"] for _ in range(10_000)]
        assert steps == list(range(10_000))
        assert text_of(await running.read()) == "done"


async def test_five_megabytes_arrive_whole_both_ways() -> None:
    async with initialized() as running:
        assert text_of(await running.ask(call("big", size=5_000_000))) == "x" * 5_000_000
        assert text_of(await running.ask(call("echo", text="y" * 5_000_000))) == "y" * 5_000_000


async def test_a_message_that_is_too_large_ends_the_connection_with_an_error() -> None:
    async with program("100000") as running:
        await running.ask(INITIALIZE)
        running.stdin.write(b"x" * 150_000)
        assert "larger than 100000 bytes" in (await running.read())["error"]["message"]
        assert await within(running.process.wait()) == 0


async def test_a_print_does_not_reach_the_client() -> None:
    async with initialized() as running:
        assert text_of(await running.ask(call("loud"))) == "printed"
        assert await running.end() == 0
        assert running.process.stderr is not None
        assert b"this is no message" in await within(running.process.stderr.read())


async def test_a_client_that_leaves_ends_the_server_whatever_it_does() -> None:
    async with initialized() as running:
        running.write(call("slow"))
        assert await running.end() == 0


async def test_a_client_that_reads_no_more_ends_the_server() -> None:
    async with initialized() as running:
        running.stdout._transport.close()  # type: ignore[attr-defined]  # there is no public way to close this end alone
        running.write(call("big", size=1_000_000))
        assert await within(running.process.wait()) == 0


async def test_a_slow_reader_gets_everything_in_the_end() -> None:
    async with initialized() as running:
        for number in range(100):
            running.write(call("big", id=number, size=200_000))
        # All of it is far more than pipes hold: the server stops reading until this end reads.
        sizes = [len(text_of(await running.read())) for _ in range(100)]
        assert sizes == [200_000] * 100


async def test_requests_can_be_piped_in_from_a_file_and_answers_out_to_one(tmp_path: Path) -> None:
    source, sink = tmp_path / "in", tmp_path / "out"
    messages = [INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call("echo", text="hi")]
    source.write_text("\n".join(json.dumps(message) for message in messages) + "\n")
    with source.open("rb") as stdin, sink.open("wb") as stdout:
        async with program(stdin=stdin, stdout=stdout) as process:
            assert await within(process.wait()) == 0
    answers = [json.loads(line) for line in sink.read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1]
    assert text_of(answers[1]) == "hi"


async def test_without_any_input_it_ends_at_once() -> None:
    nothing = asyncio.subprocess.DEVNULL
    async with program(stdin=nothing, stdout=nothing) as process:
        assert await within(process.wait()) == 0


async def test_a_client_that_does_not_read_its_notifications_ends_the_server() -> None:
    progress = call("progress", steps=200_000, meta={"progressToken": "t"})
    messages = [INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, progress]
    # Of a pipe that asyncio makes, asyncio reads many megabytes before anybody asks for them.
    unread, stdout = os.pipe()
    try:
        async with program(stdout=stdout) as process:
            process.stdin.write("".join(json.dumps(message) + "\n" for message in messages).encode())
            assert await within(process.wait()) == 0
    finally:
        os.close(unread)
        os.close(stdout)


async def test_a_payload_with_line_ends_of_its_own_leaves_on_one_line() -> None:
    class Pretty(EchoHandler):
        async def on_request(self, context: Any, method: str, params: dict[str, Any]) -> Any:
            return Raw(b'{\r\n  "text": "a\\nb"\n}')

    sent: asyncio.Queue[bytes] = asyncio.Queue()
    channel = Channel(Pretty(), sent.put_nowait)
    channel.received(json.dumps(request("ping")).encode())
    assert await within(sent.get()) == b'{"jsonrpc":"2.0","id":1,"result":{    "text": "a\\nb" }}'
    await channel.aclose()
    channel.received(json.dumps(request("ping")).encode())
    assert sent.empty()
