"""What the tests of HTTP/1.1 and of links share: a server whose every byte the test decides."""

from collections.abc import AsyncIterator

import pytest
from tests.kit.raw_server import RawServer


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    await raw.start()
    yield raw
    await raw.stop()
