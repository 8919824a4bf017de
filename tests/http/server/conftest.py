"""Every test here runs on both event loops, and ends in no traceback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from meshproxy.http.server_connection import Connection
from structlog.testing import capture_logs


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """What is logged; a test that does not ask for it wants nothing to be."""
    with capture_logs() as logs:
        yield logs  # type: ignore[misc]


@pytest.fixture
async def no_traceback(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[None]:
    """Nothing that a client does ends in the event loop's handler of exceptions, or in the log."""
    loop, seen = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: seen.append(context))
    with contextlib.nullcontext([]) if "events" in request.fixturenames else capture_logs() as logged:
        yield
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert not seen
    assert not logged


@pytest.fixture
def read_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all reads of all servers, as they happen."""
    sizes: list[int] = []
    real = Connection.data_received

    def data_received(self: Connection, data: bytes) -> None:
        sizes.append(len(data))
        real(self, data)

    monkeypatch.setattr(Connection, "data_received", data_received)
    return sizes
