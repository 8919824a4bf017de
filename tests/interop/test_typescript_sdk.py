"""The clients of the TypeScript SDK, of both of its packages, work with the mesh; see `tests/node/interact.mjs`."""

import json
import subprocess
from pathlib import Path

import pytest
from tests.interop.conftest import SAW
from tests.kit.node import NODE, needs_node
from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE

pytestmark = needs_node


@pytest.mark.parametrize(("sdk", "era"), [("sdk", "legacy"), ("client", "legacy"), ("client", "modern")])
def test_a_client_does_everything_and_sees_what_the_upstream_says(
    target: list[str], tmp_path: Path, sdk: str, era: str
) -> None:
    line = [NODE, str(ROOT / "tests" / "node" / "interact.mjs"), sdk, era, str(tmp_path / "held"), *target]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=2 * DEADLINE, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == SAW
