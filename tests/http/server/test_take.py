"""A request that came whole is offered to the application, which may answer it without a task."""

import asyncio

import pytest
from meshproxy.http.server_request import Head, Request
from tests.kit.raw_client import Client, Receive, Scope, Send, chunked, get, post, respond, served
from tests.kit.waiting import eventually, within

pytestmark = pytest.mark.anyio


class Quick:
    """Begins what is posted to `/short`; `offered` has what it was offered, and `begun` what it has to answer."""

    def __init__(self) -> None:
        self.offered: list[tuple[Head, bytes]] = []
        self.begun: list[tuple[bytes, Request]] = []
        self.gone = 0

    def take(self, head: Head, body: bytes, request: Request) -> bool:
        self.offered.append((head, body))
        if head.scope["path"] != "/short":
            return False
        self.begun.append((body, request))
        request.on_gone = self._on_gone
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["touched"] = True
        message = await receive()
        await respond(send, b"long " + message["body"])

    def _on_gone(self) -> None:
        self.gone += 1

    async def answer(self, number: int = 1, answer: bytes = b"{}", status: int = 200) -> Request:
        await eventually(lambda: len(self.begun) >= number)
        body, request = self.begun[number - 1]
        request.answer(status, answer or body)
        return request


def short(body: bytes, *lines: str) -> bytes:
    return post(body, *lines, target="/short")


async def test_what_was_begun_is_answered_and_the_next_with_its_head_need_not_be_parsed() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        for number, body in enumerate((b"first", b"another", b"x" * 5000), 1):
            await client.send(short(body))
            await quick.answer(number, b"")
            response = await client.response()
            assert (response.status, response.body) == (200, body)
            assert response.headers["content-type"] == "application/json"
            assert "date" in response.headers
        heads = [head for head, _ in quick.offered]
        assert heads[0] is heads[1] is heads[2]
        assert not service.server.tasks


async def test_what_is_declined_runs_as_any_other_whether_its_head_was_known_or_not() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        assert (await client.ask(post(b"a", target="/long"))).body == b"long a"
        await client.send(short(b"b"))
        await quick.answer()
        await client.response()
        quick.take = lambda *_: False  # type: ignore[method-assign]
        service.server.take = quick.take
        assert (await client.ask(short(b"c"))).body == b"long c"
        # The application may change its scope, and must not change another's.
        assert "touched" not in quick.offered[-1][0].scope
        assert (await client.ask(short(b"d"))).body == b"long d"


@pytest.mark.parametrize(
    "data",
    [short(b"hello")[:-2], short(b"hello").replace(b"HTTP/1.1", b"HTTP/1.0")],
    ids=["in pieces", "of an older version"],
)
async def test_only_a_whole_request_of_this_version_is_begun(data: bytes) -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        assert (await client.ask(data)).body.startswith(b"long hel")
        assert not quick.offered


async def test_a_begun_request_is_whole_when_its_body_came_in_chunks() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(chunked(b"hel", b"lo").replace(b"POST / ", b"POST /short "))
        await quick.answer(1, b"")
        assert (await client.response()).body == b"hello"


async def test_what_a_client_sends_ahead_waits_for_its_turn() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1") + short(b"2") + get("/long"))
        await quick.answer(1, b"one")
        assert (await client.response()).body == b"one"
        assert (await client.response()).body == b"long 2"
        assert (await client.response()).body == b"long "


async def test_a_familiar_request_with_another_behind_it_is_left_to_the_parser() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1"))
        await quick.answer(1)
        await client.response()
        await client.send(short(b"2") + get("/long"))
        await quick.answer(2, b"two")
        assert (await client.response()).body == b"two"
        assert (await client.response()).body == b"long "


async def test_a_connection_that_is_to_be_closed_is_closed_after_the_answer() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1", "Connection: close"))
        await quick.answer(1, b"one")
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"one", "close")
        assert await client.rest() == b""


async def test_the_answer_comes_before_the_refusal_of_what_followed() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1") + b"no request at all\r\n\r\n")
        await quick.answer(1, b"one")
        assert (await client.response()).body == b"one"
        assert (await client.response()).status == 400
        assert await client.rest() == b""


async def test_a_client_that_leaves_is_noticed_at_once_and_its_answer_goes_nowhere() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1"))
        await eventually(lambda: bool(quick.begun))
        client.reset()
        await eventually(lambda: quick.gone == 1)
        await quick.answer()
        await service.idle()
        assert quick.gone == 1


async def test_a_client_that_leaves_after_its_answer_is_nobodys_business() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1"))
        request = await quick.answer()
        await client.response()
        request.answer(200, b"twice")
        client.reset()
        await service.idle()
        assert quick.gone == 0


async def test_a_server_that_closes_answers_what_was_begun() -> None:
    quick = Quick()
    async with served(quick) as service:
        client = await service.dial()
        await client.send(short(b"1"))
        await eventually(lambda: bool(quick.begun))
        service.server.stop_accepting()
        await quick.answer(1, b"last")
        response = await client.response()
        assert (response.body, response.headers["connection"]) == (b"last", "close")
        assert await client.rest() == b""


async def test_a_large_answer_arrives_whole_and_its_reader_is_waited_for() -> None:
    quick = Quick()
    async with served(quick, send_buffer=4096) as service:
        client = await service.dial(4096)
        await client.send(short(b"1"))
        await quick.answer(1, b"x" * 3_000_000)
        await eventually(lambda: service.connection.room is not None)
        # What comes while it does not read waits until it has read.
        await client.send(short(b"2"))
        assert (await client.response()).body == b"x" * 3_000_000
        assert (await client.response()).body == b"long 2"


async def many(client: Client, quick: Quick, first: int) -> None:
    for number in range(first, first + 20):
        await client.send(short(b"%d" % number))
        assert (await client.response()).body == b"%d" % number


async def test_many_connections_have_their_own_heads() -> None:
    class Echo(Quick):
        def take(self, head: Head, body: bytes, request: Request) -> bool:
            asyncio.get_running_loop().call_soon(request.answer, 200, body)
            return True

    quick = Echo()
    async with served(quick) as service:
        clients = [await service.dial() for _ in range(10)]
        await within(asyncio.gather(*(many(client, quick, 100 * index) for index, client in enumerate(clients))))
