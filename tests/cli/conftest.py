"""The program, run to its end, or serving until the test ends it."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving, serve
from tests.kit.waiting import DEADLINE


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """`config(a=upstream("basic"), server={...})`: a config file; what is no section is an upstream."""

    def write(text: str | bytes | None = None, name: str = "mesh.yaml", **sections: Any) -> Path:
        file = tmp_path / name
        if text is None:
            top = {
                key: sections.pop(key)
                for key in ("state", "server", "reload", "defaults", "separator", "cluster")
                if key in sections
            }
            text = yaml.safe_dump({"name": "test", **top, "upstreams": sections}, sort_keys=False)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


@pytest.fixture
def meshproxy() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`meshproxy("check", file)`: the ended process."""

    def run(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        line = [*PROGRAM, *map(str, arguments)]
        options = {"capture_output": True, "text": True, "timeout": DEADLINE, "env": ENVIRONMENT, **options}
        return subprocess.run(line, check=False, **options)

    return run


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    """`serving(file)`: a mesh for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda file, *options: stack.enter_context(serve(file, tmp_path / "log", *options))
