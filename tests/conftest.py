"""What every test may use: the event loop that async tests run on."""

import pytest
from hypothesis import settings

# A busy machine is no reason to fail: an example may take as long as its test.
settings.register_profile("meshproxy", deadline=None)
settings.load_profile("meshproxy")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
