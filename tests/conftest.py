"""What every test may use: the event loop, real servers, and a check that it left no process behind."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from tests.kit.journal import Journal
from tests.kit.processes import SHARED, children
from tests.kit.running import Running, listening


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.kit.groups import Grouped  # pytest-xdist may be switched off

    return Grouped(config, log)


# How fast a machine is says nothing about a property.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Callable[..., Running]]:
    """`shared_server("basic", transport="http", era="legacy")`: a server that the session's tests share, made once.

    For tests that leave it as they found it; the others use `own_server`.
    """
    with contextlib.ExitStack() as stack:

        @cache
        def start(name: str, *arguments: str, transport: str = "http", era: str = "dual") -> Running:
            running = stack.enter_context(listening(name, *arguments, transport=transport, era=era))
            SHARED.add(running.process.pid)
            return running

        yield start


@pytest.fixture
def own_server() -> Iterator[Callable[..., Running]]:
    """The same for one test alone."""
    with contextlib.ExitStack() as stack:

        def start(name: str, *arguments: str, transport: str = "http", era: str = "dual") -> Running:
            return stack.enter_context(listening(name, *arguments, transport=transport, era=era))

        yield start


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    """A process that a test started ends with it; a moment is given to those that are ending."""
    before = children().keys()
    yield
    deadline = time.monotonic() + 5
    while left := {pid: line for pid, line in children().items() if pid not in before}:
        if time.monotonic() > deadline:
            pytest.fail(f"processes are left over: {left}")
        time.sleep(0.01)


@pytest.fixture
def journal() -> Iterator[Journal]:
    before = structlog.get_config()
    kept = Journal()
    structlog.configure(processors=[kept], cache_logger_on_first_use=False)
    yield kept
    structlog.configure(**before)
