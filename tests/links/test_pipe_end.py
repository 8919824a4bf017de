"""A pipe that an event loop takes over, on both loops."""

import asyncio
import os
from typing import Any

import pytest
from meshproxy.links.pipe_end import PipeEnd
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


class Contended(PipeEnd):
    """Another thread opens a file as soon as this is closed."""

    opened = -1

    def close(self) -> None:
        super().close()
        if self.opened < 0:
            self.opened = os.open(os.devnull, os.O_RDONLY)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("kind", ["reader", "writer"])
async def test_what_another_thread_opens_while_a_pipe_is_closed_stays_open(kind: str) -> None:
    source, sink = os.pipe()
    ours, theirs = (source, sink) if kind == "reader" else (sink, source)
    end = Contended(ours)
    loop = asyncio.get_running_loop()
    connect: Any = loop.connect_read_pipe if kind == "reader" else loop.connect_write_pipe
    transport, _ = await connect(asyncio.Protocol, end)
    transport.close()
    await eventually(lambda: end.opened >= 0)
    for _ in range(10):
        await asyncio.sleep(0)
    try:
        assert is_open(end.opened)
        assert end.opened == ours or not is_open(ours)
    finally:
        os.close(theirs)
        os.close(end.opened)


async def test_that_of_a_file_is_taken_from_it() -> None:
    source, sink = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as file, os.fdopen(sink, "wb", buffering=0) as other:
        end = PipeEnd.of(file)
        assert file.closed
        other.write(b"x")
        assert os.read(end.fileno(), 1) == b"x"
        os.close(end.fileno())
