"""A body in chunks (RFC 9112, 7.1), as far as a chunk came whole and is as plain as nearly all are. Place: http, pure.

Whatever is not, a size with an extension, trailers, a chunk of which a part is still to come, is a parser's business.
"""

from mypy_extensions import i64

__all__ = ["whole_chunk"]

_CRLF = b"\r\n"
_MOST_DIGITS = 8


def whole_chunk(data: bytes, start: i64) -> tuple[int, int] | None:
    """Where the payload of the chunk begins and ends that begins at `start`, and which CRLF follows; an empty one is the last.

    None unless it is there up to that CRLF, and is its size in hexadecimal digits, CRLF, and the payload.
    """
    end: i64 = len(data)
    most: i64 = min(end, start + _MOST_DIGITS)
    place: i64 = start
    size: i64 = 0
    while place < most:
        digit: i64 = data[place]
        if 0x30 <= digit <= 0x39:
            digit -= 0x30
        elif 0x61 <= digit <= 0x66:
            digit -= 0x57
        elif 0x41 <= digit <= 0x46:
            digit -= 0x37
        else:
            break
        size = size * 16 + digit
        place += 1
    begin: i64 = place + 2
    after: i64 = begin + size
    if place == start or after + 2 > end or data[place:begin] != _CRLF or data[after : after + 2] != _CRLF:
        return None
    return begin, after
