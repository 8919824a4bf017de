"""npm packages that tests run, and the official conformance suite, which is one of them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.kit.places import ROOT

NODE_MODULES = ROOT / "tests" / "node" / "node_modules"
NODE = next((str(path) for path in [NODE_MODULES / ".bin" / "node"] if path.exists()), shutil.which("node") or "node")
"""The Node that is locked with the packages, or else the machine's."""
needs_node = pytest.mark.skipif(
    not NODE_MODULES.exists(), reason="the npm packages are not there; ./scripts/test installs them where there is npm"
)


def node_command(package: str, *arguments: str) -> list[str]:
    """The command line of a program of an npm package from `tests/node`, by the name of the program."""
    return [NODE, str((NODE_MODULES / ".bin" / package).resolve()), *arguments]


def conformance(url: str, version: str | None, folder: Path) -> dict[str, str]:
    """Run the official suite against a server at one revision, or each scenario at its own if there is none.

    Returns the status of each check by `scenario/check`, numbered where a check comes more than once: `SUCCESS`, `FAILURE`,
    `WARNING`, `INFO` or `SKIPPED`, followed by the reason if it is none of the first.
    """
    revision = ["--spec-version", version] if version else []
    return _suite(["server", "--url", url, "--suite", "all", *revision], folder)


def client_conformance(program: list[str], scenario: str, folder: Path, version: str | None = None) -> dict[str, str]:
    """Run one scenario of the official suite against a client, which is started with the scenario's URL as its last argument; without a revision at its newest.

    Returns what `conformance` does. A client that fails is a check that failed: `client`.
    """
    line = ["client", "--command", " ".join(program), "--scenario", scenario]
    line += ["--spec-version", version] if version else []
    return _suite(line, folder)


def _suite(line: list[str], folder: Path) -> dict[str, str]:
    line = node_command("conformance", *line, "-o", str(folder), "--timeout", "30000")
    ended = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    found: dict[str, str] = {}
    for checks in sorted(folder.glob("**/checks.json")):
        scenario = re.sub(r"^server-|-\d{4}-\d\d-\d\dT.*$", "", checks.parent.name)
        for number, check in enumerate(json.loads(checks.read_text())):
            key = f"{scenario}/{check['id']}"
            key = key if key not in found else f"{key}#{number}"
            found[key] = check["status"] + (f": {reason}" if (reason := check.get("errorMessage")) else "")
            if check["status"] == "FAILURE":
                found[key] += f" {json.dumps(check.get('details'))}"
    assert found, f"the suite reports nothing: {ended.stdout}{ended.stderr}"
    if "CLIENT EXITED WITH ERROR" in ended.stdout + ended.stderr:
        found["client"] = f"FAILURE: {ended.stdout}{ended.stderr}"
    return found
