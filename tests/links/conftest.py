"""Links are tested against the raw server that the tests of the HTTP client have, and on the same two event loops."""

from tests.http.conftest import server

__all__ = ["server"]
