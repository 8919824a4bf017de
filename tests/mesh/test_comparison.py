"""What `meshproxy plan` says of two configs by their fingerprints is what a reload goes by, and shows neither's secrets."""

import json
from pathlib import Path
from typing import Any

import pytest
from meshproxy.config.fingerprint import fingerprints
from meshproxy.config.load import load
from meshproxy.mesh.comparison import compared
from meshproxy.mesh.plan import plan

Json = dict[str, Any]
KEY = b"0123456789abcdef"
BASE: Json = {
    "name": "m",
    "profiles": {"p": {"upstreams": ["a"]}},
    "upstreams": {
        "a": {"command": "x", "env": {"TOKEN": "hunter22-hunter22"}},
        "b": {"url": "https://b.example.com/mcp", "headers": {"Authorization": "Bearer hunter33-hunter33"}},
        "c": {"command": "y", "enabled": False},
    },
}
AUTH = {"type": "client_credentials", "client_id": "i", "client_secret": "hunter44-hunter44", "issuer": "https://c"}


def edited(**changes: Any) -> Json:
    """The base with other values, each at its path of keys apart by two underscores; None takes away."""
    tree: Json = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *way, last = path.split("__")
        at = tree
        for step in way:
            at = at.setdefault(step, {})
        if value is None:
            del at[last]
        else:
            at[last] = value
    return tree


EDITS: dict[str, Json] = {
    "nothing": edited(),
    "a secret": edited(upstreams__a__env={"TOKEN": "hunter55-hunter55"}),
    "a header": edited(upstreams__b__headers={"Authorization": "Bearer hunter66-hunter66"}),
    "a login": edited(upstreams__b__headers=None, upstreams__b__auth=AUTH),
    "another login": edited(
        upstreams__b__headers=None, upstreams__b__auth={**AUTH, "client_secret": "hunter77-hunter77"}
    ),
    "a view": edited(upstreams__a__namespace="z"),
    "a filter": edited(upstreams__a__tools={"exclude": ["x"]}),
    "a limit": edited(upstreams__a__limits={"concurrency": 3}),
    "one less": edited(upstreams__b=None),
    "one more": edited(upstreams__d={"command": "z"}),
    "one on": edited(upstreams__c__enabled=True),
    "what is off": edited(upstreams__c__command="z"),
    "the order": {**BASE, "upstreams": dict(reversed(BASE["upstreams"].items()))},
    "the name": edited(name="n"),
    "the port": edited(server={"port": 9000}),
    "the words": edited(instructions="Be brief."),
    "a profile": edited(profiles__q={"upstreams": ["b"]}),
    "rules": edited(access=[{"who": "any", "allow": ["*"]}]),
    "no rules that forbid all": edited(access=[]),
    "the log": edited(observe={"access_log": {"file": "x"}}),
    "keys": edited(server={"auth": {"keys": [{"name": "k", "hash": f"sha256:{'0' * 64}"}]}}),
}


def config(folder: Path, name: str) -> Any:
    file = folder / f"{name.replace(' ', '-')}.json"
    file.write_text(json.dumps(EDITS[name]))
    return load(file)


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("before", ["nothing", "a login"])
def test_it_is_what_a_reload_goes_by(tmp_path: Path, before: str, name: str) -> None:
    old, new = config(tmp_path, before), config(tmp_path, name)
    found = compared(fingerprints(old, KEY), fingerprints(new, KEY))
    todo = plan({spec.name: spec for spec in old.enabled}, old, new)
    assert found["keep"] == list(todo.keep)
    assert {*found["start"], *found["change"]} == {*todo.start}
    assert {*found["retire"], *found["change"]} == {*todo.retire}
    assert found["restart_required"] == list(todo.restart_required)
    assert found["differs"] == (old != new)


def test_what_only_shows_or_limits_is_told_apart(tmp_path: Path) -> None:
    def against_base(name: str) -> Json:
        return compared(fingerprints(config(tmp_path, "nothing"), KEY), fingerprints(config(tmp_path, name), KEY))

    assert against_base("a view")["show"] == against_base("a filter")["show"] == ["a"]
    assert against_base("a limit")["limit"] == ["a"]
    assert against_base("keys")["live"] == ["server.auth"]
    assert against_base("rules")["live"] == ["access"]


def test_no_secret_is_told_and_each_key_makes_other_digests(tmp_path: Path) -> None:
    one = json.dumps(fingerprints(config(tmp_path, "a login"), KEY))
    assert "hunter" not in one
    other = fingerprints(config(tmp_path, "a login"), b"another key")
    assert not {*json.loads(one)["sections"].values()} & {*other["sections"].values()}
