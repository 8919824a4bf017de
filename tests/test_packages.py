"""What is given away is complete: the source archive and the wheel have the license, and CI runs the Pythons that they name."""

import email
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from tests.kit.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LICENSE = (ROOT / "LICENSE").read_bytes()


def build(source: Path, target: str, folder: Path) -> Path:
    """An archive of the project in `source`, made in `folder`."""
    line = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(line, cwd=source, check=True, capture_output=True)
    [made] = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(folder, filter="data")
    [unpacked] = folder.iterdir()
    return unpacked


def test_the_source_archive_has_the_license_and_what_its_readme_links_to(source: Path) -> None:
    assert (source / "LICENSE").read_bytes() == LICENSE
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (source / "README.md").read_text())
    assert not [path for path in linked if not (source / path).exists()]
    assert not list(source.glob("tests/node/node_modules"))
    assert not list(source.glob("**/*.so"))


def test_a_wheel_that_is_made_of_the_source_archive_has_the_license_and_says_which_it_is(
    source: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(build(source, "wheel", tmp_path)) as wheel:
        about = f"meshproxy-{PROJECT['version']}.dist-info"
        assert wheel.read(f"{about}/licenses/LICENSE") == LICENSE
        metadata = email.message_from_bytes(wheel.read(f"{about}/METADATA"))
        assert metadata["License-Expression"] == "Apache-2.0"
        assert metadata["License-File"] == "LICENSE"
        assert {name.split("/")[0] for name in wheel.namelist()} == {"meshproxy", about}
        assert "meshproxy/py.typed" in wheel.namelist()


def test_every_python_that_the_package_names_is_run_in_ci() -> None:
    named = {
        name.rpartition(" ")[2]
        for name in PROJECT["classifiers"]
        if name.startswith("Programming Language :: Python :: 3.")
    }
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    [gate] = [step["with"]["python-version"] for step in jobs["gate"]["steps"] if "with" in step]
    assert {gate, *jobs["tests"]["strategy"]["matrix"]["python"]} == named
    assert PROJECT["requires-python"] == f">={min(named, key=lambda version: tuple(map(int, version.split('.'))))}"
