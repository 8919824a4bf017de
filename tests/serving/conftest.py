"""The server under the application: the project's own, or one that the application knows nothing of."""

import pytest
from tests.kit import echo


@pytest.fixture(params=["own", "uvicorn"])
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test on both."""
    if request.param == "uvicorn":
        monkeypatch.setattr(echo, "run_app", echo.uvicorn_server)
