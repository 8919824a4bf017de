"""Content codings that nobody asked for. Place: http, below the client.

The client sends no ``Accept-Encoding`` and hopes for plain bodies; some servers compress all the same (RFC 9110, 12.5.3 lets
them). What the standard library decodes is decoded, incrementally and in bounded pieces.
"""

import zlib
from collections.abc import Iterator

from meshproxy.http.transport_errors import BadResponse

__all__ = ["Inflater"]

_PIECE = 1 << 20
"""Bytes that one step may produce, whatever the ratio of the compression."""


class Inflater:
    """Decodes one body of coding gzip or deflate (RFC 9110, 8.4.1)."""

    def __init__(self, coding: bytes) -> None:
        """Raise `BadResponse` for a coding that is not known here."""
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise BadResponse(
                f"the server answered with content-encoding {coding.decode('latin-1')!r}, which was not asked for; "
                "switch compression off for this server"
            )
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by the header
        self._undecided = coding == b"deflate"
        self._held = b""
        self._used = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes of the body, in pieces of 1 MiB at most."""
        if self._undecided:
            data = self._held = self._held + data
            if len(data) < 2:
                return
            self._undecided = False
            # Many servers send "deflate" without the zlib header that the RFC asks for; RFC 1950, 2.2, tells them apart.
            if data[0] & 15 != 8 or (data[0] << 8 | data[1]) % 31:
                self._inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        while data:
            self._used = True
            try:
                piece = self._inflate.decompress(data, _PIECE)
            except zlib.error as error:
                raise BadResponse(f"the body is not what its content-encoding says: {error}") from error
            if piece:
                yield piece
            if self._inflate.eof:
                data = self._inflate.unused_data
                if data:  # a gzip body may be several members in a row (RFC 1952, 2.2)
                    self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
            else:
                data = self._inflate.unconsumed_tail

    def finished(self) -> bool:
        """Whether the body may end here: it is whole, or there was none."""
        return self._inflate.eof or not (self._used or self._held)
