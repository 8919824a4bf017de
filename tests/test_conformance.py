"""The server that stands for all others in conformance tests passes the official suite itself, on the SDK's transports."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import Running, conformance, needs_node


@needs_node
@pytest.mark.parametrize(("version", "passed"), [("2025-06-18", 56), ("2025-11-25", 84), ("2026-07-28", 152)])
def test_the_conformance_server_passes_every_check_directly(
    shared_server: Callable[..., Running], tmp_path: Path, version: str, passed: int
) -> None:
    checks = conformance(shared_server("conformance").url, version, tmp_path)
    statuses = Counter(status.split(":")[0] for status in checks.values())
    assert not {
        check: status for check, status in checks.items() if status.startswith(("FAILURE", "WARNING", "SKIPPED"))
    }
    assert statuses["SUCCESS"] == passed
