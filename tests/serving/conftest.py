"""The server under the application: the project's own, or one that the application knows nothing of."""

import pytest
from tests.kit import echo


@pytest.fixture(params=["own", "short", "uvicorn"])
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test on both, and on the project's own also with a handler that begins calls without a task."""
    if request.param == "uvicorn":
        monkeypatch.setattr(echo, "run_app", echo.uvicorn_server)
    monkeypatch.setattr(echo, "begins_calls", request.param == "short")
