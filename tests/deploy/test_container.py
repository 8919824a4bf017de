"""The container file is without fault by a linter's rules, and what it says of the mesh is so. `./scripts/container` runs its steps."""

import fnmatch
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.places import ROOT

PLACE = ROOT / "deploy/container"
FILE = PLACE / "Dockerfile"
sys.path.insert(0, str(PLACE))
from rehearse import instructions, stages_of  # noqa: E402

SAID = instructions(FILE)


def of(keyword: str) -> list[str]:
    return [rest for each, rest in SAID if each == keyword]


def test_a_linter_finds_nothing_wrong() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("there is no hadolint for this system")
    run = subprocess.run(
        [linter, "--config", PLACE / "hadolint.yaml", FILE], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "")


def test_what_it_copies_is_there_and_gets_into_the_context() -> None:
    kept = [line[1:] for line in (PLACE / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [name for words in map(str.split, of("COPY")) if not words[0].startswith("--from") for name in words[:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        inside = f"{name}/x" if (ROOT / name).is_dir() else name
        assert any(fnmatch.fnmatch(inside, pattern) for pattern in kept), f"{name} is not in the context"


@pytest.mark.parametrize("stage", ["slim", "tools"])
def test_an_image_is_run_by_a_user_without_rights(stage: str) -> None:
    users = [rest for keyword, rest in stages_of(FILE)[stage][1] if keyword == "USER"]
    assert users
    assert not users[-1].startswith(("0", "root"))


def test_the_plain_build_is_the_small_image() -> None:
    assert of("FROM")[-1] == "runtime AS slim"


def test_the_program_is_the_mesh_and_nothing_stands_before_it() -> None:
    [entrypoint], [command] = map(json.loads, of("ENTRYPOINT")), map(json.loads, of("CMD"))
    assert entrypoint == ["meshproxy"]
    assert command[0] == "serve"
    [health] = of("HEALTHCHECK")
    assert "/healthz" in health
