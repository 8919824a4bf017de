"""Event streams of the legacy era: the standalone one, priming, resumption, polling, and clients that do not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from meshproxy.errors import RpcError
from meshproxy.http.sse import SseParser
from tests.kit.echo import TLS, EchoHandler, Served, served
from tests.kit.journal import Journal
from tests.kit.messages import call, frames, heads, messages_in, request, text_of
from tests.kit.waiting import eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("each_server")]


@asynccontextmanager
async def got(server: Served, session: dict[str, str], **headers: str) -> AsyncIterator[httpx2.Response]:
    """The answer to a GET."""
    async with server.http.stream("GET", server.url, headers=heads(**session, **headers)) as response:
        yield response


async def events(response: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    """The id and the data of each event, of those without data too."""
    text = ""
    async for chunk in response.aiter_text():
        text += chunk
        while "\n\n" in text:
            event, text = text.split("\n\n", 1)
            fields = dict(line.split(": ", 1) for line in event.split("\n") if not line.startswith(":"))
            yield fields.get("id", ""), fields.get("data", "")


async def test_a_client_that_names_streams_first_can_resume_a_silent_call_from_its_start() -> None:
    async with served() as server:
        headers = await server.open()
        asked = heads(**headers | {"accept": "text/event-stream, application/json"})
        body = json.dumps(call("slow")).encode()
        async with server.http.stream("POST", server.url, content=body, headers=asked) as response:
            place, data = await anext(events(response))
            assert data == ""
        server.handler.gate.set()
        async with got(server, headers, last_event_id=place) as resumed:
            assert text_of(await anext(frames(resumed))) == "slow"


async def test_what_belongs_to_no_request_comes_on_the_stream_of_a_get() -> None:
    async with served() as server:
        headers = await server.open("2025-06-18")
        async with got(server, headers) as stream:  # the head comes before there is anything to say
            assert stream.headers["content-type"] == "text/event-stream"
            server.handler.downstreams[0].notify("notifications/tools/list_changed", None)
            assert await anext(frames(stream)) == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}


async def test_what_was_said_before_the_get_waits_for_it_and_of_too_much_the_oldest_goes() -> None:
    async with served() as server:
        headers = await server.open()
        for number in range(150):
            server.handler.downstreams[0].notify("notifications/message", {"data": number})
        async with got(server, headers) as stream:
            said = frames(stream)
            assert [(await anext(said))["params"]["data"] for _ in range(100)] == list(range(50, 150))


async def test_a_question_that_belongs_to_no_request_waits_a_moment_for_the_get() -> None:
    async with served() as server:
        headers = await server.open()
        asked = asyncio.ensure_future(server.handler.downstreams[0].send_raw_request("roots/list", None))
        async with got(server, headers) as stream:
            question = await anext(frames(stream))
            await server.post({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}}, **headers)
            assert sorted(await within(asked)) == ["roots"]


async def test_a_question_that_nobody_can_hear_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.serving.session._GRACE", 0.01)
    async with served() as server:
        headers = await server.open()
        downstream = server.handler.downstreams[0]
        with pytest.raises(RpcError, match="cannot be asked"):
            await downstream.send_raw_request("roots/list", None)
        await server.http.delete(server.url, headers=heads(**headers))
        with pytest.raises(RpcError, match="cannot be asked"):
            await downstream.ask(lambda _: None, "roots/list", None)  # type: ignore[attr-defined]
        downstream.notify("notifications/message", None)


async def test_the_end_of_a_session_ends_its_questions() -> None:
    async with served() as server:
        headers = await server.open()
        async with got(server, headers) as stream:
            asked = asyncio.ensure_future(server.handler.downstreams[0].send_raw_request("roots/list", None))
            await anext(frames(stream))
            await server.http.delete(server.url, headers=heads(**headers))
            with pytest.raises(RpcError, match="session has ended"):
                await within(asked)


async def test_a_session_has_one_standalone_stream() -> None:
    async with served() as server:
        headers = await server.open()
        async with got(server, headers), got(server, headers) as second:
            assert second.status_code == 409
        await eventually(lambda: server.handler.downstreams[0].standalone is None)  # type: ignore[attr-defined]
        async with got(server, headers) as third:
            assert third.status_code == 200


async def test_from_2025_11_25_on_a_stream_begins_with_an_event_to_resume_from() -> None:
    async with served(retry_ms=750) as server:
        headers = await server.open("2025-11-25")
        response = await server.post(call("progress", steps=1, meta={"progressToken": 1}), **headers)
        first, *_ = response.text.split("\n\n")
        assert first == "id: 1-1\nevent: message\nretry: 750\ndata: "
        async with got(server, headers) as stream:
            key, data = await anext(events(stream))
            assert key.startswith("0-")
            assert data == ""


async def test_before_2025_11_25_no_event_is_empty_but_each_has_an_id() -> None:
    async with served() as server:
        headers = await server.open("2025-06-18")
        response = await server.post(call("progress", steps=1, meta={"progressToken": 1}), **headers)
        assert response.text.startswith("id: 1-1\nevent: message\ndata: {")
        assert len(messages_in(response.text)) == 2


@pytest.mark.parametrize("last", ["nonsense", "0-99", "9-1", "1-9"])
async def test_an_event_that_was_never_said_is_no_place_to_resume_from(last: str) -> None:
    async with served() as server:
        headers = await server.open()
        async with got(server, headers) as stream:
            await anext(events(stream))
        response = await server.http.get(server.url, headers=heads(**headers, last_event_id=last))
        assert response.status_code == 400
        assert "Last-Event-ID" in response.text


async def test_a_standalone_stream_that_broke_goes_on_where_it_was_left() -> None:
    async with served() as server:
        headers = await server.open()
        downstream = server.handler.downstreams[0]
        async with got(server, headers) as stream:
            said = events(stream)
            await anext(said)
            for number in range(3):
                downstream.notify("notifications/message", {"data": number})
            first, _ = await anext(said)
        await eventually(lambda: downstream.standalone is None)  # type: ignore[attr-defined]
        downstream.notify("notifications/message", {"data": 3})
        async with got(server, headers, last_event_id=first) as stream:
            said = events(stream)
            downstream.notify("notifications/message", {"data": 4})
            missed = [json.loads((await anext(said))[1])["params"]["data"] for _ in range(4)]
            assert missed == [1, 2, 3, 4]


async def test_resuming_replaces_a_connection_that_only_looks_alive() -> None:
    async with served() as server:
        headers = await server.open()
        downstream = server.handler.downstreams[0]
        async with got(server, headers) as first:
            old = events(first)
            last, _ = await anext(old)
            async with got(server, headers, last_event_id=last) as second:
                downstream.notify("notifications/message", {"data": 1})
                assert json.loads((await anext(events(second)))[1])["params"] == {"data": 1}
                assert [event async for event in old] == []
                downstream.notify("notifications/message", {"data": 2})
        await eventually(lambda: downstream.standalone is None)  # type: ignore[attr-defined]


async def test_a_requests_stream_that_broke_goes_on_over_a_get_and_ends_with_the_answer() -> None:
    class Talking(EchoHandler):
        async def _slow(self, context: Any, arguments: dict[str, Any]) -> str:
            context.notify("notifications/message", {"data": "before"})
            await self._hold(context)
            context.notify("notifications/message", {"data": "after"})
            return "slow"

    async with served(Talking()) as server:
        headers = await server.open()
        async with (
            httpx2.AsyncClient(verify=TLS) as leaving,
            leaving.stream("POST", server.url, json=call("slow"), headers=heads(**headers)) as stream,
        ):
            said = events(stream)
            last, _ = await anext(said)
            await anext(said)
        await within(server.handler.started.wait())
        async with got(server, headers, last_event_id=last) as stream:
            said = events(stream)
            assert json.loads((await anext(said))[1])["params"] == {"data": "before"}
            server.handler.gate.set()
            rest = [json.loads(data) async for _, data in said]
        assert rest[0]["params"] == {"data": "after"}
        assert text_of(rest[1]) == "slow"
        assert not server.handler.cancelled.is_set()
        # Once more, now that the request is answered and its stream has ended.
        async with got(server, headers, last_event_id=last) as stream:
            again = [json.loads(data) async for _, data in events(stream)]
        assert again[1:] == rest


async def test_a_server_can_let_its_client_poll() -> None:
    async with served() as server:
        headers = await server.open()
        response = await within(server.post(call("poll"), **headers))
        assert response.headers["content-type"] == "text/event-stream"
        parser = SseParser()
        assert parser.feed(response.content) == []
        assert parser.last_event_id == "1-1"
        assert parser.retry == 1000
        async with got(server, headers, last_event_id="1-1") as stream:
            server.handler.gate.set()
            said = [frame async for frame in frames(stream)]
        assert said[0]["params"]["data"] == "while you were away"
        assert text_of(said[1]) == "polled"


async def test_a_polled_answer_waits_for_its_client() -> None:
    async with served() as server:
        headers = await server.open()
        await within(server.post(call("poll"), **headers))
        server.handler.gate.set()
        await within(server.handler.finished.wait())
        await eventually(lambda: server.app.statistics()["legacy_requests"] == 0)
        async with got(server, headers, last_event_id="1-1") as stream:
            said = [frame async for frame in frames(stream)]
        assert text_of(said[-1]) == "polled"


async def test_an_older_client_is_not_made_to_poll() -> None:
    async with served() as server:
        headers = await server.open("2025-06-18")
        server.handler.gate.set()
        response = await within(server.post(call("poll"), **headers))
        assert [message.get("method", "answer") for message in messages_in(response.text)] == [
            "notifications/message",
            "answer",
        ]


async def test_a_silent_request_gets_a_stream_that_says_that_it_lives() -> None:
    async with served(keepalive=0.02) as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("slow"), headers=heads(**headers)) as stream:
            chunks = stream.aiter_text()
            text = ""
            while text.count(": keep-alive\n\n") < 2:
                text += await within(anext(chunks))
            server.handler.gate.set()
            async for chunk in chunks:
                text += chunk
        assert text_of(messages_in(text)[-1]) == "slow"


async def test_a_client_that_does_not_read_is_cut_off_and_can_come_back_for_what_is_kept() -> None:
    class Flooding(EchoHandler):
        async def _slow(self, context: Any, arguments: dict[str, Any]) -> str:
            for number in range(400):
                context.notify("notifications/message", {"data": number, "padding": "x" * 50_000})
                await asyncio.sleep(0)
            await self._hold(context)
            return "slow"

    async with served(Flooding(), max_buffer=1_000_000) as server:
        headers = await server.open()
        body = json.dumps(call("slow")).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**16)
        lines = [b"POST /mcp HTTP/1.1", b"Host: localhost", b"Content-Length: %d" % len(body)]
        lines += [f"{name}: {value}".encode() for name, value in heads(**headers).items()]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await within(server.handler.started.wait())
        context = server.handler.contexts[0]
        assert context.stream.ended  # type: ignore[attr-defined]
        assert not server.handler.cancelled.is_set()
        server.handler.gate.set()
        await eventually(lambda: server.app.statistics()["legacy_requests"] == 0)
        async with got(server, headers, last_event_id="1-1") as stream:
            said = [frame async for frame in frames(stream)]
        assert text_of(said[-1]) == "slow"
        assert [frame["params"]["data"] for frame in said[:-1]] == list(range(400 - len(said) + 1, 400))
        assert 10 < len(said) < 25
        writer.close()
        del reader


async def test_a_standalone_stream_that_is_not_read_is_cut_off(journal: Journal) -> None:
    async with served(max_buffer=1_000_000) as server:
        headers = await server.open()
        downstream = server.handler.downstreams[0]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**16)
        lines = [b"GET /mcp HTTP/1.1", b"Host: localhost"]
        lines += [f"{name}: {value}".encode() for name, value in heads(**headers).items()]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        await eventually(lambda: downstream.standalone is not None)  # type: ignore[attr-defined]
        stream = downstream.standalone  # type: ignore[attr-defined]
        for _ in range(1000):
            downstream.notify("notifications/message", {"padding": "x" * 50_000})
            await asyncio.sleep(0)
            if stream.ended:
                break
        assert stream.ended
        assert len(journal.of("client.too_slow")) == 1
        writer.close()
        async with got(server, headers) as again:
            assert again.status_code == 200
        del reader


async def test_what_nobody_came_back_for_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshproxy.serving.session._SWEEP", 0.005)
    monkeypatch.setattr("meshproxy.serving.session._MEMORY", 0.01)
    async with served(session_idle_timeout=None) as server:
        headers = await server.open()
        await server.post(call("progress", steps=5, meta={"progressToken": 1}), **headers)
        session: Any = server.handler.downstreams[0]
        await eventually(lambda: len(session.events) == 0)
        response = await server.http.get(server.url, headers=heads(**headers, last_event_id="1-1"))
        assert response.status_code == 400
        assert "Nothing is left" in response.text


async def test_a_get_needs_to_accept_event_streams() -> None:
    async with served() as server:
        headers = await server.open()
        response = await server.http.get(server.url, headers=heads(**{**headers, "accept": "application/json"}))
        assert response.status_code == 406


async def test_closing_the_application_ends_streams_and_requests_and_refuses_new_ones() -> None:
    async with served() as server:
        headers = await server.open()
        slow = asyncio.ensure_future(server.post(call("slow"), **headers))
        await within(server.handler.started.wait())
        async with got(server, headers) as stream:
            await server.app.aclose()
            assert [frame async for frame in frames(stream)] == []
        assert (await within(slow)).json()["error"]["code"] == -32800
        response = await server.post(request("ping"))
        assert response.status_code == 503
        assert response.headers["retry-after"]


async def test_draining_takes_no_new_request_and_lets_the_others_end() -> None:
    async with served() as server:
        headers = await server.open()
        async with server.http.stream("POST", server.url, json=call("ask"), headers=heads(**headers)) as stream:
            said = frames(stream)
            question = await anext(said)
            draining = asyncio.ensure_future(server.app.drain(60))
            await eventually(lambda: server.app._legacy.posts.is_shut)
            assert (await server.post(call("echo"), **headers)).status_code == 503
            assert (
                await server.post({"jsonrpc": "2.0", "id": question["id"], "result": {}}, **headers)
            ).status_code == 202
            assert text_of(await anext(said)) == "{}"
        await within(draining)


async def test_draining_does_not_wait_for_ever() -> None:
    async with served() as server:
        headers = await server.open()
        slow = asyncio.ensure_future(server.post(call("slow"), **headers))
        await within(server.handler.started.wait())
        await within(server.app.drain(0.01))
        assert (await within(slow)).json()["error"]["code"] == -32800
