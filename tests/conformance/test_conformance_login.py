"""The official suite's scenarios about OAuth, against the mesh as a client of authorization servers; see `tests.conformance.login`.

Left out are the extensions that the mesh does not have: enterprise-managed authorization, DPoP and workload identity. docs/access.md has the list.
"""

import sys
from pathlib import Path

import pytest
from tests.kit.node import client_conformance, needs_node

pytestmark = needs_node

SCENARIOS = [
    "metadata-default",
    "metadata-var1",
    "metadata-var2",
    "metadata-var3",
    "basic-cimd",
    "scope-from-www-authenticate",
    "scope-from-scopes-supported",
    "scope-omitted-when-undefined",
    "scope-step-up",
    "token-endpoint-auth-basic",
    "token-endpoint-auth-post",
    "token-endpoint-auth-none",
    "pre-registration",
    "offline-access-scope",
    "offline-access-not-supported",
    "authorization-server-migration",
    "iss-supported",
    "iss-not-advertised",
    "client-credentials-jwt",
    "client-credentials-basic",
    "2025-03-26-oauth-metadata-backcompat",
    "2025-03-26-oauth-endpoint-fallback",
]
REFUSALS = [
    "scope-retry-limit",
    "resource-mismatch",
    "iss-supported-missing",
    "iss-wrong-issuer",
    "iss-unexpected",
    "iss-normalized",
    "metadata-issuer-mismatch",
]
"""Those in which a client that goes on has failed."""
BEFORE = ["metadata-default", "scope-step-up"]
"""Scenarios that are run at the revision of the legacy era, too: the wire differs there, and what is asked of a login does not."""


@pytest.mark.parametrize(
    ("scenario", "version"),
    [*((name, None) for name in SCENARIOS + REFUSALS), *((name, "2025-11-25") for name in BEFORE)],
)
def test_the_mesh_logs_in_as_the_suite_wants(tmp_path: Path, scenario: str, version: str | None) -> None:
    checks = client_conformance(
        [sys.executable, "-m", "tests.conformance.login"], f"auth/{scenario}", tmp_path, version
    )
    if scenario in REFUSALS:
        checks.pop("client", None)
    assert {name: status for name, status in checks.items() if not status.startswith(("SUCCESS", "INFO"))} == {}
    assert "SUCCESS" in checks.values()


def test_what_the_suite_has_is_run_or_left_out_on_purpose() -> None:
    import subprocess

    from tests.kit.node import node_command

    listed = subprocess.run(node_command("conformance", "list"), capture_output=True, text=True, check=True).stdout
    has = {line.split()[1].removeprefix("auth/") for line in listed.splitlines() if line.strip().startswith("- auth/")}
    extensions = {"enterprise-managed-authorization", "dpop", "dpop-nonce", "wif-jwt-bearer"}
    assert has == {*SCENARIOS, *REFUSALS, *extensions}
