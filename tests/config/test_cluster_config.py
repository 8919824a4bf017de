"""`cluster`: what is refused of it, and that its key shows nowhere."""

from pathlib import Path

import pytest
import yaml
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.errors import ConfigError
from meshproxy.mesh.plan import plan

KEY = "nobody-guesses-this-0123456789-and-more"
UPSTREAMS = {"a": {"url": "http://127.0.0.1:1/mcp"}}


def loaded(folder: Path, cluster: object) -> MeshConfig:
    file = folder / "mesh.yaml"
    file.write_text(yaml.safe_dump({"cluster": cluster, "upstreams": UPSTREAMS}))
    return load(file, {"CLUSTER_KEY": KEY})


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"listen": "127.0.0.1:7946"}, "cluster.listen: needs cluster.key: what all replicas share"),
        ({"listen": "127.0.0.1", "key": KEY}, "cluster.listen: must be a host and a port"),
        ({"listen": "127.0.0.1:1", "key": "short"}, "a key has at least 32 characters that nobody can guess"),
        ({"listen": "127.0.0.1:1", "key": [KEY, "short"]}, "make one with: openssl rand -base64 32"),
        ({"peers": ["a:1"]}, "cluster.peers: needs cluster.listen"),
        ({"advertise": "a:1"}, "cluster.advertise: needs cluster.listen"),
        ({"listen": "127.0.0.1:1", "key": KEY, "peers": ["a"]}, "must be a host and a port"),
        ({"listen": "127.0.0.1:1", "key": KEY, "peer": ["a:1"]}, "cluster.peer: unknown key; did you mean 'peers'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy_and_without_the_key(tmp_path, cluster, said) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, cluster)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("empty", [None, {}])
def test_without_a_key_of_it_there_is_no_cluster(tmp_path, empty) -> None:
    assert loaded(tmp_path, empty).cluster.listen is None


def test_a_key_may_be_a_reference_or_several_and_is_a_secret(tmp_path) -> None:
    (tmp_path / "key").write_text(f"{KEY}-of-a-file\n")
    config = loaded(tmp_path, {"listen": "127.0.0.1:7946", "key": ["${CLUSTER_KEY}", "${file:key}"]})
    assert config.cluster.key == (KEY, f"{KEY}-of-a-file")
    assert config.scrubber.scrub(f"it is {KEY}-of-a-file, or {KEY}") == "it is ***, or ***"
    assert KEY not in repr(config)


def test_several_keys_may_stand_in_one_file_a_line_each(tmp_path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n\n{KEY[::-1]}\n")
    config = loaded(tmp_path, {"listen": "127.0.0.1:7946", "key": "${file:keys}"})
    assert config.cluster.key == (KEY, KEY[::-1])


def test_a_key_that_stands_in_the_file_is_a_secret_too(tmp_path) -> None:
    config = loaded(tmp_path, {"key": KEY})
    assert config.scrubber.scrub(f"it is {KEY}") == "it is ***"


def test_an_edit_of_the_key_is_live_and_one_of_an_address_is_not(tmp_path) -> None:
    cluster = {"listen": "127.0.0.1:7946", "key": KEY}
    before = loaded(tmp_path, cluster)
    another_key = loaded(tmp_path, {**cluster, "key": [KEY[::-1], KEY]})
    assert before != another_key
    assert plan({}, before, another_key).restart_required == ()
    moved = loaded(tmp_path, {**cluster, "listen": "127.0.0.1:7947"})
    assert plan({}, before, moved).restart_required == ("cluster",)
