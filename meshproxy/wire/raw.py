"""`Raw`: JSON that nobody has looked at. Place: wire, pure.

It is `msgspec.Raw`, whose stub says that it is a `bytes`. It is not, and a compiler that believes it (see docs/decisions/compiled.md) makes code that
refuses every one.
"""

from typing import TYPE_CHECKING

__all__ = ["Raw"]

if TYPE_CHECKING:

    class Raw:
        """Encoded JSON, by the buffer protocol."""

        def __init__(self, msg: bytes | memoryview | str = b"") -> None: ...
        def __len__(self) -> int: ...
        def __buffer__(self, flags: int, /) -> memoryview: ...
        def copy(self) -> "Raw": ...
else:
    from msgspec import Raw
