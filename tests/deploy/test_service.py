"""The unit for systemd is one that systemd takes, and leaves the mesh little to do harm with."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.kit.places import ROOT

UNIT = ROOT / "deploy/systemd/meshproxy.service"
EXPOSURE = 1.5
"""The most of systemd's own measure, from 0 to 10; up to 2 is what it calls OK."""
ANALYZE = shutil.which("systemd-analyze")


def told(*arguments: str) -> "subprocess.CompletedProcess[str]":
    if ANALYZE is None:
        pytest.skip("there is no systemd here")
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


def test_systemd_takes_it(tmp_path: Path) -> None:
    # It looks for the programs too; those are not installed here.
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", UNIT.read_text(), flags=re.MULTILINE))
    run = told("verify", "--man=no", str(unit))
    about_it = [line for line in run.stderr.splitlines() if UNIT.name in line]
    assert about_it == []


def test_it_exposes_little() -> None:
    run = told("security", "--offline=true", "--no-pager", str(UNIT))
    if "unrecognized option" in run.stderr:
        pytest.skip("this systemd cannot look at a unit that does not run")
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", run.stdout)
    assert found, run.stdout + run.stderr
    assert float(found[1]) <= EXPOSURE


def test_what_it_says_of_the_command_line_is_so() -> None:
    text = UNIT.read_text()
    assert re.search(r"^ExecReload=/bin/kill -HUP \$MAINPID$", text, re.MULTILINE)
    assert re.search(r"^ExecStart=\S+/meshproxy serve /etc/meshproxy/mesh.yaml --log-format json$", text, re.MULTILINE)
