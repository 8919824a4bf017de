import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.frozen import FrozenMapping
from meshproxy.config.models import MeshConfig, ServerConfig, Timeouts, UpstreamSpec
from meshproxy.config.sections import Renaming
from meshproxy.config.upstream import CONNECTION_KEYS, LIVE_KEYS, VIEW_KEYS, Environment, Headers
from meshproxy.naming import default_namespace
from pydantic import ValidationError

COMMAND = {"name": "a", "command": "x"}
URL = {"name": "a", "url": "http://a/"}
URLS = {"name": "a", "urls": ["http://a/"]}


@given(st.text(min_size=1, max_size=64))
def test_an_upstream_has_the_namespace_that_its_name_alone_decides(name):
    spec = UpstreamSpec(name=name, url="http://a/")
    assert spec.namespace == default_namespace(name)
    assert UpstreamSpec(name=name, url="http://a/", namespace=spec.namespace) == spec


def test_a_namespace_that_cannot_be_is_refused_with_one_that_can():
    with pytest.raises(ValidationError, match=f"write {default_namespace('日本')}"):
        UpstreamSpec(name="a", url="http://a/", namespace="日本")
    assert UpstreamSpec(name="日本", url="http://a/", namespace="").namespace == ""


def test_an_upstream_made_in_python_has_the_same_defaults_as_one_in_a_file(loaded, tmp_path):
    config = loaded("upstreams: {my docs!: {url: 'http://a/'}, b: {command: npx, args: [x]}}")
    made = MeshConfig(
        upstreams={"my docs!": {"url": "http://a/"}, "b": {"command": "npx", "args": ["x"], "cwd": str(tmp_path)}}
    )
    assert made == config
    assert hash(made) == hash(config)
    assert made.enabled[0].namespace == "my_docs_"
    assert made.source.path is None
    assert UpstreamSpec(name="my docs!", url="http://a/") == config.enabled[0]


CHANGES = [
    (COMMAND, "connection", {"command": "y"}),
    (COMMAND, "connection", {"args": ["-v"]}),
    (COMMAND, "connection", {"env": {"A": "b"}}),
    (COMMAND, "connection", {"cwd": "/"}),
    (URL, "connection", {"auth": "oauth"}),
    (URL, "connection", {"url": "http://b/"}),
    (URLS, "connection", {"urls": ["http://a/", "http://c/"]}),
    (URL, "connection", {"transport": "sse"}),
    (URL, "connection", {"headers": {"A": "b"}}),
    (URL, "connection", {"forward_headers": ["A"]}),
    (COMMAND, "connection", {"session": "shared"}),
    (COMMAND, "connection", {"start": "lazy"}),
    (COMMAND, "connection", {"timeouts": {"call": "1s"}}),
    (COMMAND, "view", {"namespace": "b"}),
    (COMMAND, "view", {"required": True}),
    (COMMAND, "view", {"when_down": "hide"}),
    (COMMAND, "view", {"tools": {"include": ["x"]}}),
    (COMMAND, "view", {"resources": {"exclude": ["x"]}}),
    (COMMAND, "view", {"templates": {"include": ["x"]}}),
    (COMMAND, "view", {"prompts": {"rename": {"x": "y"}}}),
    (COMMAND, "view", {"pin": "block"}),
    (COMMAND, "live", {"limits": {"concurrency": 8}}),
    (COMMAND, "live", {"breaker": {}}),
    (URL, "live", {"retry": {"reads": 0}}),
    (COMMAND, "live", {"stderr": 1000}),
]


@pytest.mark.parametrize(("base", "part", "change"), CHANGES)
def test_a_change_of_a_key_is_one_of_the_connection_or_of_the_view_or_is_live_and_not_of_two(base, part, change):
    one, other = UpstreamSpec(**base), UpstreamSpec(**{**base, **change})
    assert one != other
    assert (one.connection != other.connection) == (part == "connection")
    assert (one.view != other.view) == (part == "view")
    assert (one.live != other.live) == (part == "live")
    assert UpstreamSpec(**{**base, **change}) == other
    assert hash(UpstreamSpec(**{**base, **change})) == hash(other)
    assert len({one.connection, other.connection, one.view, other.view, one.live, other.live}) == 4


def test_every_key_belongs_to_the_connection_or_to_the_view_or_is_live():
    assert {*CONNECTION_KEYS, *VIEW_KEYS, *LIVE_KEYS, "name", "enabled"} == set(UpstreamSpec.model_fields)
    assert len({*CONNECTION_KEYS, *VIEW_KEYS, *LIVE_KEYS}) == len([*CONNECTION_KEYS, *VIEW_KEYS, *LIVE_KEYS])
    tested = {key for _, _, change in CHANGES for key in change}
    assert tested == {*CONNECTION_KEYS, *VIEW_KEYS, *LIVE_KEYS}


def test_how_a_value_is_written_makes_no_difference_and_what_it_stands_for_does(loaded):
    text = "upstreams: {a: {url: 'http://a/', headers: {A: '%s'}}}"
    one = loaded(text % "${A}", A="x").upstreams["a"]
    assert one == loaded(text % "x").upstreams["a"]
    assert one != loaded(text % "${A}", A="y").upstreams["a"]
    assert one != UpstreamSpec(name="b", url="http://a/", headers={"A": "x"})
    assert one != "a"
    assert loaded("upstreams: {}") != "a"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs command .* or url"),
        ({"command": "x", "url": "http://x"}, "exclude each other"),
        ({"url": "http://x", "args": []}, "args is for upstreams with command"),
        ({"command": "x", "urll": "y"}, "urll"),
        ({"command": 1}, "command"),
        ({"command": "x", "timeouts": {"call": "soon"}}, "not a duration"),
    ],
)
def test_an_upstream_made_in_python_is_checked_too(values, message):
    with pytest.raises(ValidationError, match=message):
        UpstreamSpec(name="a", **values)


def test_no_repr_dump_display_or_error_shows_a_secret(loaded, tmp_path):
    (tmp_path / "token").write_text("s3cret-file")
    text = """
instructions: "${file:token}"
upstreams:
  a:
    url: https://me:s3cret-password@host/?key=${KEY}
    headers: {Authorization: "Bearer ${TOKEN}", X: s3cret-literal, Y: "${file:token}", Z: "${NONE:-s3cret-default}"}
  b: {command: x, args: ["--token=${TOKEN}", "--file=${file:token}"], env: {A: "${TOKEN}", B: s3cret-literal}}
  c: {command: x, args: ["${TOKEN}"], env: {A: "${TOKEN}"}, disabled: true}
"""
    config = loaded(text, TOKEN="s3cret-token", KEY="s3cret-key")
    a, b, _ = config.upstreams.values()
    assert a.headers["Authorization"] == "Bearer s3cret-token"
    assert b.args == ("--token=s3cret-token", "--file=s3cret-file")
    shown = [
        f"{spec!r} {spec} {spec.display()} {spec.headers!r} {spec.env} {spec.model_dump()['headers']}"
        for spec in config.upstreams.values()
    ]
    for told in [*shown, repr(config.upstreams), repr(config.source), repr(config.scrubber), repr(config.server)]:
        assert "s3cret" not in told
    assert "s3cret" not in str(config).replace("instructions='s3cret-file'", "")
    assert a.display()["headers"] == {
        "Authorization": "Bearer ${TOKEN}",
        "X": "***",
        "Y": "${file:token}",
        "Z": "${NONE:-***}",
    }
    assert a.display()["url"] == "https://me:***@host/?key=${KEY}"
    assert b.display()["args"] == ["--token=${TOKEN}", "--file=${file:token}"]
    said = "401 for Bearer s3cret-token (s3cret-token) s3cret-literal s3cret-file s3cret-default s3cret-password s3cret-key"
    assert "s3cret" not in config.scrubber.scrub(said)


def test_an_upstream_made_in_python_shows_no_secret_either():
    a = UpstreamSpec(name="a", url="https://me:s3cret@host/", headers={"A": "Bearer s3cret"})
    b = UpstreamSpec(
        name="b", command="x", args=("y z", "--token", "s3cret", "--key=s3cret"), env={"A_KEY": "s3cret", "B": "files"}
    )
    assert "s3cret" not in f"{a!r} {b!r} {a.display()} {b.display()}"
    assert b.display()["args"] == ["y z", "--token", "***", "--key=***"]
    assert set(a.secrets) == {"Bearer s3cret", "s3cret", "", base64.b64encode(b"me:s3cret").decode()}
    assert set(b.secrets) == {"s3cret"}
    with pytest.raises(ValidationError) as caught:
        UpstreamSpec(name="a", url="https://a/", headers={"A": "s3cret\n"}, session="s3cret")
    assert "s3cret" not in str(caught.value)


def test_nothing_of_a_config_can_be_changed(loaded):
    config = loaded("upstreams: {a: {command: x, env: {A: b}}}")
    spec = config.upstreams["a"]
    for change in (
        lambda: setattr(config, "name", "x"),
        lambda: setattr(spec, "command", "y"),
        lambda: setattr(spec.timeouts, "call", 1.0),
        lambda: spec.env.__setitem__("A", "c"),
        lambda: config.upstreams.__setitem__("b", spec),
    ):
        with pytest.raises((ValidationError, AttributeError)):
            change()


def test_mappings_are_equal_and_hash_alike_in_any_order():
    one, other = FrozenMapping({"a": "1", "b": "2"}), FrozenMapping({"b": "2", "a": "1"})
    assert one == other == {"a": "1", "b": "2"}
    assert hash(one) == hash(other)
    assert len(one) == 2
    assert repr(one) == "{'a': '1', 'b': '2'}"
    assert repr(Environment({"a": "1"})) == repr(Headers({"a": "1"})) == "{'a': '***'}"
    assert pickle.loads(pickle.dumps(one)) == one
    assert UpstreamSpec(**COMMAND, env=Environment({"A": "b"})) == UpstreamSpec(**COMMAND, env={"A": "b"})


def test_dumps_show_what_is_no_secret():
    assert Renaming(rename={"a": "b"}).model_dump()["rename"] == {"a": "b"}
    assert Timeouts(call="1m").model_dump()["call"] == 60.0


@pytest.mark.parametrize("host", ["127.9.9.9", "[::1]", "LocalHost", "::ffff:127.0.0.1", "mesh.localhost."])
def test_an_endpoint_that_only_this_machine_reaches_needs_no_permission(host):
    assert ServerConfig(host=host, allow_unauthenticated=False).host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "::ffff:10.0.0.1", "[localhost]"]
)
def test_an_endpoint_that_others_reach_needs_permission(host):
    assert ServerConfig(host=host, allow_unauthenticated=True).host == host
    with pytest.raises(ValidationError, match="allow_unauthenticated"):
        ServerConfig(host=host, allow_unauthenticated=False)
