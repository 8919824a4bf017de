"""`Feed`: messages to a program, a line each. Place: links, under `process`."""

import asyncio

from meshproxy.wire.codec import on_one_line

__all__ = ["Feed"]


class Feed:
    """The program's standard input.

    Attributes:
        transport: where its lines go; None before there is one.
    """

    __slots__ = ("transport",)

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None

    def write(self, message: bytes, request_id: int | None = None) -> None:  # whose failure it would be
        """Let a message leave; it is lost if the program takes no more, which its end tells."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(on_one_line(message) + b"\n")
