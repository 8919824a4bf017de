"""`plan` says what a reload has to do, from two configs and what runs. Any sequence of them will do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.mesh.plan import plan

COMMANDS = st.fixed_dictionaries(
    {"command": st.sampled_from(["x", "y"])},
    optional={"args": st.sampled_from([("a",), ("b",)]), "env": st.sampled_from([{"K": "1"}, {"K": "2"}])},
)
URLS = st.fixed_dictionaries(
    {"url": st.sampled_from(["http://x/mcp", "http://y/mcp"])}, optional={"transport": st.just("sse")}
)
SHOWN = st.fixed_dictionaries(
    {},
    optional={
        "namespace": st.sampled_from(["", "n"]),
        "required": st.booleans(),
        "enabled": st.booleans(),
        "tools": st.just({"exclude": ["x"]}),
    },
)
UPSTREAMS = st.dictionaries(st.sampled_from("abcd"), st.tuples(COMMANDS | URLS, SHOWN).map(lambda two: two[0] | two[1]))
CONFIGS = st.builds(
    lambda upstreams, name, port, order: MeshConfig(
        upstreams=dict(sorted(upstreams.items(), reverse=order)), name=name, server={"port": port}
    ),
    UPSTREAMS,
    st.sampled_from(["m", "n"]),
    st.sampled_from([1, 2]),
    st.booleans(),
)


def wanted(config: MeshConfig) -> dict[str, UpstreamSpec]:
    return {spec.name: spec for spec in config.enabled}


@given(st.lists(st.tuples(CONFIGS, st.sets(st.sampled_from("abcd"))), min_size=1, max_size=6))
def test_any_sequence_of_configs_is_planned_so_that_what_runs_is_what_is_wanted(
    edits: list[tuple[MeshConfig, set[str]]],
) -> None:
    config = MeshConfig()
    running: dict[str, UpstreamSpec] = {}
    for new, broken in edits:
        todo = plan(running, config, new)
        keep, start, retire = set(todo.keep), set(todo.start), set(todo.retire)

        # Nothing is forgotten, done twice, or done to what is kept.
        assert keep | start == wanted(new).keys()
        assert keep | retire == running.keys()
        assert not keep & start
        assert not keep & retire
        assert [len(todo.keep), len(todo.start), len(todo.retire)] == [len(keep), len(start), len(retire)]

        # What is equal is kept, and what is kept needs no other connection.
        for name in wanted(new).keys() & running.keys():
            assert (name in keep) == (wanted(new)[name].connection == running[name].connection)
            assert name in keep or wanted(new)[name] != running[name]

        # In the order of the config, and pure.
        assert list(todo.start) == [name for name in wanted(new) if name in start]
        assert todo == plan(dict(running), config, new)

        # Carried out: what could not be started goes on with its old spec.
        running = {
            name: running[name] if name in start & broken & running.keys() else spec
            for name, spec in wanted(new).items()
        }
        config = new
        again = plan(running, config, new)
        assert set(again.start) <= broken
        assert again.restart_required == ()


@given(CONFIGS, CONFIGS)
def test_what_takes_a_restart_is_what_differs_in_the_static_half(old: MeshConfig, new: MeshConfig) -> None:
    required = plan({}, old, new).restart_required
    assert ("name" in required) == (old.name != new.name)
    assert ("server" in required) == (old.server != new.server)
    assert set(required) <= {"name", "server"}


@given(CONFIGS)
def test_the_same_config_changes_nothing(config: MeshConfig) -> None:
    todo = plan(wanted(config), config, config)
    assert (todo.start, todo.retire, todo.restart_required) == ((), (), ())
    assert list(todo.keep) == list(wanted(config))


@pytest.mark.parametrize(
    ("changes", "is_kept"),
    [
        ({"namespace": "other"}, True),
        ({"required": True}, True),
        ({"when_down": "hide"}, True),
        ({"tools": {"rename": {"a": "b"}}}, True),
        ({"args": ["x"]}, False),
        ({"env": {"A": "1"}}, False),
        ({"cwd": "/tmp"}, False),
        ({"session": "isolated"}, False),
        ({"timeouts": {"call": "1s"}}, False),
    ],
)
def test_only_what_a_connection_depends_on_takes_a_new_one(changes: dict[str, Any], *, is_kept: bool) -> None:
    old, new = (MeshConfig(upstreams={"a": {"command": "x", **more}}) for more in ({}, changes))
    todo = plan(wanted(old), old, new)
    assert (todo.keep, todo.start, todo.retire) == ((("a",), (), ()) if is_kept else ((), ("a",), ("a",)))
