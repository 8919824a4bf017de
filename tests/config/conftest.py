import json

import pytest
from meshproxy.config.load import load
from meshproxy.errors import ConfigError


@pytest.fixture
def loaded(tmp_path):
    """`loaded(text, VAR="value")`: the config that a file with this text, or this JSON, is."""

    def write_and_load(text, **environ):
        path = tmp_path / "mesh.yaml"
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return load(path, environ)

    return write_and_load


@pytest.fixture
def refused(loaded, tmp_path):
    """`refused(text)`: the problems of a file that cannot be loaded, one line each, without the directory."""

    def lines(text, **environ):
        with pytest.raises(ConfigError) as caught:
            loaded(text, **environ)
        assert str(caught.value) == "\n".join(map(str, caught.value.problems))
        return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).split("\n")]

    return lines
