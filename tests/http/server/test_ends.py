"""Who waits for whom, and every way in which either side may leave."""

import asyncio
import contextlib
import gc
import os
import socket
from typing import Any

import pytest
from meshproxy.http import server_connection, server_turns
from meshproxy.http.server_connection import Connection
from meshproxy.http.server_turns import HIGH_WATER
from tests.kit.processes import descriptors
from tests.kit.raw_client import Client, Receive, Scope, Send, body_of, echo, get, post, respond, served, small
from tests.kit.waiting import DEADLINE, eventually, within

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_traceback")]


async def test_a_body_that_is_there_and_nobody_reads_stands_in_nobodys_way() -> None:
    async with served(small) as service:
        client = await service.dial()
        for _ in range(3):
            response = await client.ask(post(b"x" * 1000))
            assert "connection" not in response.headers
        assert service.connection._waiting == 0


async def test_a_client_that_still_sends_what_nobody_reads_sees_its_answer_and_no_reset() -> None:
    async with served(small) as service:
        client = await service.dial()
        data = post(b"x" * 20_000_000)
        await client.send(data[:1000])
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (200, "close")
        await client.send(data[1000:])
        assert await client.rest() == b""
        client.socket.close()
        await service.idle()


async def test_a_client_that_never_stops_sending_is_left_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_turns, "LINGER", 0.05)
    async with served(small, keep_alive=0.1) as service:
        client = await service.dial()
        await client.send(post(b"x" * 1000)[:-1])
        await eventually(lambda: bool(service.server.connections))
        with contextlib.suppress(ConnectionError):
            while service.server.connections:
                await client.send(b"x" * 1000)
                await asyncio.sleep(0)
        await service.idle()


async def test_an_application_waits_for_a_client_that_does_not_read() -> None:
    sent = 0
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
            sent += 50_000
        await send({"type": "http.response.body"})
        done.set()

    async with served(app) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(get())
        await eventually(lambda: bool(service.server.connections) and service.connection.room is not None)
        seen = -1
        while seen != sent:
            seen = sent
            await asyncio.sleep(0.01)
        assert sent < 20_000_000
        assert service.connection.transport.get_write_buffer_size() < 200_000
        assert len((await client.response()).body) == 50_000_000
        await within(done.wait())


async def test_a_client_that_reads_none_of_its_answers_gets_no_more_of_them() -> None:
    began = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal began
        began += 1
        await respond(send, b"x" * 1_000_000)

    async with served(app) as service:
        client = await service.dial(receive_buffer=10_000)
        await client.send(get() * 100)
        await eventually(lambda: bool(service.server.connections) and service.connection.room is not None)
        seen = -1
        while seen != began:
            seen = began
            await asyncio.sleep(0.01)
        assert began < 20
        assert service.connection.transport.get_write_buffer_size() < 2_000_000
        for _ in range(100):
            assert len((await client.response()).body) == 1_000_000
        assert (await client.ask(get())).status == 200


async def test_a_client_is_made_to_wait_for_an_application_that_does_not_read() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send, b"%d" % len(await body_of(receive)))

    async with served(app) as service:
        client = await service.dial()
        sending = asyncio.ensure_future(client.send(post(b"x" * 20_000_000) + post(b"x" * 3_000_000) + get()))
        await eventually(lambda: bool(service.server.connections) and service.connection._is_held)
        assert service.connection._waiting < 2 * HIGH_WATER
        gate.set()
        for size in (b"20000000", b"3000000", b"0"):
            assert (await client.response()).body == size
        await sending
        assert service.connection._waiting == 0
        assert not service.connection._is_held


async def test_a_client_that_leaves_is_told_of_and_gets_nothing_more(events: list[Any]) -> None:
    told: list[str] = []
    started = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        if scope["path"] == "/begun":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        started.set()
        told.extend([(await receive())["type"] for _ in range(2)])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        await send({"type": "http.response.body", "body": b"x"})
        told.append(scope["path"])

    async with served(app) as service:
        for path in ("/", "/begun"):
            for leave in (Client.reset, lambda client: client.socket.close()):
                client = await service.dial()
                started.clear()
                told.clear()
                await client.send(get(path) * 3)
                await within(started.wait())
                leave(client)
                await eventually(lambda: len(told) == 3)
                assert told == ["http.disconnect", "http.disconnect", path]
                await service.idle()
    assert not events


async def test_an_application_that_does_not_listen_is_not_held_up_by_a_client_that_left() -> None:
    blocked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})
            if connection.room is not None:
                blocked.set()
        await send({"type": "http.response.body"})

    async with served(app) as service:
        client = await service.dial(receive_buffer=10_000)
        await eventually(lambda: bool(service.server.connections))
        connection = service.connection
        await client.send(get())
        await eventually(lambda: connection.room is not None)
        client.reset()
        await service.idle()


async def test_a_body_that_came_whole_is_given_even_if_its_client_is_gone() -> None:
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bodies.append(await body_of(receive))
        await respond(send)

    async with served(app) as service:
        client = await service.dial()
        await client.send(post(b"x" * 1000))
        client.socket.close()
        await eventually(lambda: bool(bodies))
        await service.idle()
    assert bodies == [b"x" * 1000]


async def test_a_request_that_stops_in_its_body_is_given_no_end() -> None:
    messages: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        messages.append(await receive())

    async with served(app) as service:
        client = await service.dial()
        await client.send(post(b"x" * 1000)[:-1])
        client.socket.shutdown(socket.SHUT_WR)
        assert await client.rest() == b""
        await service.idle()
    assert messages[0] == {"type": "http.request", "body": b"x" * 999, "more_body": True}
    assert messages[1] == {"type": "http.disconnect"}


async def test_a_client_that_closes_its_side_after_its_requests_gets_the_answers() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send, scope["path"].encode())

    async with served(app) as service:
        client = await service.dial()
        await client.send(get("/1") + get("/2"))
        client.socket.shutdown(socket.SHUT_WR)
        await eventually(lambda: bool(service.server.connections) and service.connection._timer is not None)
        gate.set()
        for path in (b"/1", b"/2"):
            assert (await client.response()).body == path
        assert await client.rest() == b""
        await service.idle()


async def test_a_client_that_closed_its_side_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_connection, "HALF_CLOSED", 0.01)
    told: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_of(receive)
        told.append((await receive())["type"])

    async with served(app) as service:
        client = await service.dial()
        await client.send(get())
        client.socket.shutdown(socket.SHUT_WR)
        assert await client.rest() == b""
        await service.idle()
        assert told == ["http.disconnect"]


async def test_what_runs_is_answered_and_flushed_before_the_end_and_nothing_new_is_taken() -> None:
    gate = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await gate.wait()
        await respond(send, b"x" * 5_000_000)

    async with served(app) as service:
        idle, half, busy = [await service.dial() for _ in range(3)]
        await half.send(get()[:-2])
        await busy.send(get() * 2)
        await eventually(lambda: len(service.server.connections) == 3 and len(service.server.tasks) == 1)
        service.server.stop_accepting()
        service.server.stop_accepting()
        for client in (idle, half):
            assert await client.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await service.dial()
        ending = asyncio.ensure_future(service.server.aclose(DEADLINE))
        gate.set()
        response = await busy.response()
        assert (len(response.body), response.headers["connection"]) == (5_000_000, "close")
        assert await busy.rest() == b""
        await within(ending)
        assert not service.server.connections
        assert not service.server.tasks


async def test_what_does_not_end_in_its_grace_is_ended() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * 20_000_000, "more_body": scope["path"] == "/held"})
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with served(app) as service:
        for path in ("/held", "/sent"):
            client = await service.dial(receive_buffer=10_000)
            await client.send(get(path))
        await eventually(lambda: len(service.server.tasks) == 2)
        before = descriptors()
        await within(service.server.aclose(0.01))
        assert cancelled.is_set()
        assert not service.server.connections
        assert not service.server.tasks
        await asyncio.sleep(0)
        assert len(before.keys() - descriptors().keys()) >= 3 or not before
        await within(service.server.aclose(0.01))


async def test_an_end_that_is_cancelled_still_closes_everything() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with served(app) as service:
        client = await service.dial()
        await client.send(get())
        await eventually(lambda: bool(service.server.tasks))
        ending = asyncio.ensure_future(service.server.aclose(DEADLINE))
        await asyncio.sleep(0)
        ending.cancel()
        await service.idle()
        assert await client.rest() == b""


async def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    async with served(small) as service:
        client = await service.dial()
        assert (await client.ask(get())).status == 200
        accepted = service.connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_thousands_of_connections_leave_nothing_behind() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            if not message["more_body"]:
                await respond(send)

    async with served(app) as service:
        client = await service.dial()
        assert (await client.ask(get())).status == 200
        before = descriptors()
        gc.collect()
        gc.disable()  # what is left is left for good, and not until somebody looks
        try:
            for number in range(40):
                clients = [await service.dial() for _ in range(50)]
                for client in clients:
                    await client.send((get(), b"\0", post(b"x" * 10)[:-1], get()[:-1], b"")[number % 5])
                for client in clients:
                    if number % 5 < 2:
                        await client.response()
                    client.reset() if number % 2 else client.socket.close()
                await eventually(lambda: len(service.server.connections) == 1)
            await eventually(lambda: not service.server.tasks)
            await asyncio.sleep(0)
            left = sum(type(found) is Connection for found in gc.get_objects())
        finally:
            gc.enable()
        assert left == 1
        assert descriptors().keys() == before.keys()


async def test_a_connection_that_comes_during_the_end_is_not_served() -> None:
    async with served(echo) as service:
        service.server.is_deaf = True
        client = await service.dial()
        assert await client.rest() == b""


async def test_whoever_comes_while_clients_go_over_is_answered_for_the_last_time() -> None:
    async with served(echo) as service:
        kept, idle = await service.dial(), await service.dial()
        assert "connection" not in (await kept.ask(get())).headers
        leaving = asyncio.ensure_future(service.server.leave(DEADLINE, is_relieved=False))
        await eventually(lambda: service.server.is_closing)
        fresh = await service.dial()
        for client in (kept, fresh, idle):
            answer = await client.ask(get())
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        await within(leaving)
        with pytest.raises(ConnectionRefusedError):
            await service.dial()


async def test_connections_that_wait_when_the_last_ones_are_taken_are_answered() -> None:
    async with served(echo) as service:
        [listener] = service.server._servers[0].sockets
        # The loop is not let turn, so that it has taken none of them yet.
        waiting = [socket.create_connection(listener.getsockname(), timeout=DEADLINE) for _ in range(5)]
        leaving = asyncio.ensure_future(service.server.leave(0.0, is_relieved=False))
        for one in waiting:
            one.sendall(get())
        await within(leaving)
        for one in waiting:
            with one:
                assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


async def test_who_is_relieved_at_its_port_takes_no_connection_of_those_who_relieve() -> None:
    async with served(echo) as service:
        [listener] = service.server._servers[0].sockets
        place, others = listener.getsockname(), socket.socket(fileno=os.dup(listener.fileno()))
        kept = await service.dial()
        assert (await kept.ask(get())).status == 200
        leaving = asyncio.ensure_future(service.server.leave(DEADLINE, is_relieved=True))
        await asyncio.sleep(0)
        with socket.create_connection(place, timeout=DEADLINE), others:
            others.settimeout(DEADLINE)
            taken, _ = others.accept()
            taken.close()
        assert (await kept.ask(get())).headers["connection"] == "close"
        await within(leaving)
