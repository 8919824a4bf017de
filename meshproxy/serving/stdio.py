"""MCP over standard input and output, for one client that started this process. Place: serving.

Source: basic/transports, "stdio": one message a line, and nothing else on standard output. So the real descriptors are taken away
for as long as it is served: what prints by mistake ends up on standard error, and what reads gets nothing.
"""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Final, cast

import structlog

from meshproxy.errors import INVALID_REQUEST, RpcError
from meshproxy.limits import MAX_LINE
from meshproxy.links.lines import Lines, LineTooLong
from meshproxy.links.pipe_end import PipeEnd
from meshproxy.relay.handler import Handler
from meshproxy.serving.channel import Channel
from meshproxy.wire.messages import encode_error

__all__ = ["serve_stdio"]

log = structlog.get_logger(__name__)

_MAX_BUFFER: Final = 8 * 1024 * 1024
_GRACE: Final = 1.0
"""Seconds that requests have to be answered after the client closed its end, so that a script can pipe them in."""
_FLUSH: Final = 5.0
"""Seconds that the client has to read what is left for it at the end."""
_AHEAD: Final = 1024 * 1024
"""Bytes that may wait for the client before nothing more is read from it."""
_CHUNK: Final = 256 * 1024


async def serve_stdio(
    handler: Handler,
    reader_fd: int = 0,
    writer_fd: int = 1,
    *,
    max_line: int = MAX_LINE,
    max_buffer: int = _MAX_BUFFER,
) -> None:
    """Serve until the client closes its end, stops reading, or is more than `max_buffer` bytes behind with notifications.

    `max_line` bounds a message, in bytes.
    """
    with _taken(reader_fd, writer_fd) as (source, sink):
        ended = asyncio.Event()
        writer = await _open_writer(sink, ended, max_buffer)
        channel = Channel(handler, writer.send, writer.say)
        reader = _Reader(channel, ended, max_line)
        writer.on_pressure = reader.pause
        close_reader = await _open_reader(source, reader)
        try:
            await ended.wait()
            await channel.aclose(0.0 if writer.lost else _GRACE)
        finally:
            # After an orderly end this has nothing left to do; cancelled, it ends what still runs.
            await channel.aclose()
            close_reader()
            await writer.aclose()


class _Reader(asyncio.Protocol):
    """Cuts what comes into messages, and stops reading while the client does not read what it is sent."""

    def __init__(self, channel: Channel, ended: asyncio.Event, max_line: int) -> None:
        self._channel = channel
        self._ended = ended
        self._lines = Lines(max_line)
        self._max_line = max_line
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asked with isinstance: uvloop's transports are not asyncio's.
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._ended.is_set():
            return
        try:
            lines = self._lines.feed(data)
        except LineTooLong:
            reason = f"a message is larger than {self._max_line} bytes"
            self._channel.send(encode_error(None, RpcError(INVALID_REQUEST, f"Invalid request: {reason}")))
            log.error("stdio.message_too_large", limit=self._max_line)
            self._ended.set()
            return
        for line in lines:
            self._channel.received(line)

    def eof_received(self) -> None:
        self._ended.set()

    def connection_lost(self, exc: Exception | None) -> None:  # asyncio's signature
        self._ended.set()

    def pause(self, pressed: bool) -> None:  # noqa: FBT001  # one of two states, told by the only caller
        if self._transport is not None and not self._transport.is_closing():
            if pressed:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()


class _Writer(asyncio.BaseProtocol):
    """Sends messages in order without ever waiting; `lost` is set when the client does not take them any more."""

    def __init__(self, ended: asyncio.Event, max_buffer: int) -> None:
        self._ended = ended
        self._max_buffer = max_buffer
        self._transport: asyncio.WriteTransport | None = None
        self._gone = asyncio.Event()
        self.lost = False
        self.on_pressure: Callable[[bool], None] = lambda pressed: None  # noqa: ARG005  # until there is a reader

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.set_write_buffer_limits(high=_AHEAD)

    def connection_lost(self, exc: Exception | None) -> None:  # asyncio's signature
        self._lose()
        self._gone.set()

    def pause_writing(self) -> None:
        self.on_pressure(True)

    def resume_writing(self) -> None:
        self.on_pressure(False)

    def send(self, message: bytes) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(message + b"\n")

    def say(self, message: bytes) -> None:
        """Send what the client did not ask for; if too much waits already, it is as good as gone."""
        if self._transport is not None and self._transport.get_write_buffer_size() > self._max_buffer and not self.lost:
            log.error("stdio.client_too_slow", waiting_bytes=self._max_buffer)
            self._lose()
            self._transport.abort()
        self.send(message)

    async def aclose(self) -> None:
        """Wait until the client has what was sent, but not for ever."""
        if self._transport is not None:
            self._transport.close()
            try:
                await asyncio.wait_for(self._gone.wait(), _FLUSH)
            except TimeoutError:
                self._transport.abort()

    def _lose(self) -> None:
        self.lost = True
        self._ended.set()


class _FileWriter(_Writer):
    """The same for what is never full: a regular file."""

    def __init__(self, file: IO[bytes], ended: asyncio.Event) -> None:
        super().__init__(ended, 0)
        self._file = file

    def send(self, message: bytes) -> None:
        rest = memoryview(message + b"\n")
        try:
            while rest and not self.lost:
                rest = rest[self._file.write(rest) or 0 :]
        except OSError as error:
            log.error("stdio.write_failed", reason=str(error))
            self._lose()


@contextmanager
def _taken(reader_fd: int, writer_fd: int) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The files behind both descriptors, which meanwhile lead to nothing and to standard error."""
    sys.stdout.flush()
    source = os.fdopen(os.dup(reader_fd), "rb", buffering=0)
    sink = os.fdopen(os.dup(writer_fd), "wb", buffering=0)
    # A mode is a property of what a shell may share with us, not of our descriptor alone.
    modes = [(file, os.get_blocking(file.fileno())) for file in (source, sink)] if os.name == "posix" else []
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, reader_fd)
    os.close(nothing)
    os.dup2(2, writer_fd)
    try:
        yield source, sink
    finally:
        sys.stdout.flush()
        for file, blocking in modes:
            os.set_blocking(file.fileno(), blocking)
        os.dup2(source.fileno(), reader_fd)
        os.dup2(sink.fileno(), writer_fd)
        source.close()
        sink.close()


def _is_pollable(file: IO[bytes]) -> bool:
    """Whether an event loop can wait for it: not for a file, a device that is no terminal, or anything on Windows."""
    mode = os.fstat(file.fileno()).st_mode
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty())


async def _open_writer(sink: IO[bytes], ended: asyncio.Event, max_buffer: int) -> _Writer:
    if not _is_pollable(sink):
        return _FileWriter(sink, ended)
    writer = _Writer(ended, max_buffer)
    await asyncio.get_running_loop().connect_write_pipe(lambda: writer, PipeEnd(os.dup(sink.fileno())))
    return writer


async def _open_reader(source: IO[bytes], reader: _Reader) -> Callable[[], None]:
    """Begin to read; the answer ends that."""
    loop = asyncio.get_running_loop()
    if _is_pollable(source):
        transport, _ = await loop.connect_read_pipe(lambda: reader, PipeEnd(os.dup(source.fileno())))
        return transport.close
    fd = os.dup(source.fileno())

    def read() -> None:
        # The loop may end before what is read does.
        with suppress(RuntimeError), os.fdopen(fd, "rb", buffering=0) as own:
            while data := own.read(_CHUNK):
                loop.call_soon_threadsafe(reader.data_received, data)
            loop.call_soon_threadsafe(reader.eof_received)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return lambda: None
