"""The official suite's scenarios for clients, against the way from the mesh to its upstreams; see `tests.conformance.client`.

Those about OAuth are in `test_conformance_login`. Left out are those about skills, an extension that the mesh does not have.
"""

import sys
from pathlib import Path

import pytest
from tests.kit.node import client_conformance, needs_node

pytestmark = needs_node

UNSENT = "SKIPPED: Client did not send a {} request; Mcp-Method header was not exercised for this method."


@pytest.mark.parametrize(
    ("scenario", "passed"),
    [
        ("initialize", 1),
        ("tools_call", 2),
        ("elicitation-sep1034-client-defaults", 10),
        ("sse-retry", 3),
        ("request-metadata", 8),
        ("sep-2322-client-request-state", 10),
        ("http-standard-headers", 10),
        ("http-custom-headers", 36),
        ("http-invalid-tool-headers", 12),
        ("json-schema-ref-no-deref", 1),
        ("json-schema-2020-12-preservation", 9),
    ],
)
def test_the_mesh_is_the_client_that_the_suite_wants(tmp_path: Path, scenario: str, passed: int) -> None:
    checks = client_conformance([sys.executable, "-m", "tests.conformance.client"], scenario, tmp_path)
    # A modern server is not sent what the modern era does not have.
    unsent = [UNSENT.format(method) for method in ("initialize", "notifications/initialized")]
    statuses = [status for status in checks.values() if status != "INFO" and status not in unsent]
    assert statuses == ["SUCCESS"] * passed
