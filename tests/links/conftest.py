"""The tests of links have a server whose every byte the test decides, and run on both event loops."""

from tests.kit.loops import anyio_backend
from tests.kit.raw_server import server

__all__ = ["anyio_backend", "server"]
