"""The server under the application: the project's own, or one that the application knows nothing of."""

import pytest
from tests.serving import kit


@pytest.fixture(params=["own", "short", "uvicorn"])
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test on both, and on the project's own also with a handler that begins calls without a task."""
    if request.param == "uvicorn":
        monkeypatch.setattr(kit, "run_app", kit.uvicorn_server)
    monkeypatch.setattr(kit, "begins_calls", request.param == "short")
