"""The examples in configs/ can be served as they are, and editors know their schema."""

from pathlib import Path

import pytest
from meshproxy.config.load import load
from tests.kit.places import ROOT

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_an_example_loads_without_a_warning(config: Path) -> None:
    # The reference shows a variable without a default; the others need nothing.
    environment = {"HOME": "/home/me"} | ({"DOCS_TOKEN": "t"} if config.stem == "reference" else {})
    loaded = load(config, environment)
    assert loaded.upstreams
    assert not loaded.source.warnings


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_an_example_names_the_schema(config: Path) -> None:
    first = config.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../schemas/mesh.schema.json"
    assert (config.parent / first.partition("=")[2]).exists()
