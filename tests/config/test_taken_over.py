"""A config that is loaded after another one: what is the same is not made again, and what differs in anything is."""

import pytest
from meshproxy.config.load import load
from meshproxy.errors import ConfigError

TEXT = """
defaults: {timeouts: {call: 1m}}
upstreams:
  a: {url: "http://a/", headers: {X-Key: "${KEY}"}, limits: {concurrency: 1}}
  b: {command: ./x, args: ["--token", "b-secret-b"]}
"""
ENVIRON = {"KEY": "a-secret-a", "OTHER_KEY": "a-secret-a"}


@pytest.fixture
def loaded_after(tmp_path):
    def load_after(before, text, environ=ENVIRON):
        file = tmp_path / "mesh.yaml"
        file.write_text(text)
        return load(file, environ, before=before)

    return load_after


def kept(old, new):
    return [name for name in new.upstreams if new.upstreams[name] is old.upstreams.get(name)]


def test_what_is_written_the_same_is_taken_over_wherever_it_stands(loaded_after):
    old = loaded_after(None, TEXT)
    new = loaded_after(old, TEXT.replace("upstreams:", "# a comment\nupstreams:\n  c: {url: 'http://c/'}"))
    assert kept(old, new) == ["a", "b"]
    assert [spec.name for spec in new.enabled] == ["c", "a", "b"]
    assert new.source.places["a"] == (6, 3)


@pytest.mark.parametrize(
    ("old_text", "new_text", "left"),
    [
        ('"http://a/"', '"http://a/b"', ["b"]),
        ("${KEY}", "${OTHER_KEY}", ["b"]),
        ("call: 1m", "call: 2m", []),
        ("./x", "./y", ["a"]),
        ("concurrency: 1", "concurrency: 2", ["b"]),
    ],
)
def test_what_differs_is_made_anew(loaded_after, old_text, new_text, left):
    old = loaded_after(None, TEXT)
    new = loaded_after(old, TEXT.replace(old_text, new_text))
    assert kept(old, new) == left
    alone = loaded_after(None, TEXT.replace(old_text, new_text))
    assert new == alone
    assert [spec.display() for spec in new.enabled] == [spec.display() for spec in alone.enabled]


def test_a_reference_that_stands_for_something_else_makes_another_spec(loaded_after):
    old = loaded_after(None, TEXT)
    new = loaded_after(old, TEXT, {"KEY": "another-one"})
    assert kept(old, new) == ["b"]
    assert new.upstreams["a"].headers["X-Key"] == "another-one"
    assert new.scrubber.scrub("another-one, a-secret-a and b-secret-b") == "***, a-secret-a and ***"


def test_what_was_a_number_is_refused_as_a_boolean_or_a_text_that_is_equal_to_it(loaded_after):
    old = loaded_after(None, TEXT)
    for other in ("true", "'1'", "1.0"):
        with pytest.raises(ConfigError, match=r"mesh.yaml:4:.* upstreams.a.limits.concurrency:"):
            loaded_after(old, TEXT.replace("concurrency: 1", f"concurrency: {other}"))


def test_what_is_wrong_elsewhere_is_found_in_what_was_taken_over(loaded_after):
    text = TEXT.replace("limits:", "forward_headers: [Authorization], limits:")
    old = loaded_after(None, text)
    server = "server: {auth: {keys: [{name: k, hash: 'sha256:" + "0" * 64 + "'}]}}\n"
    with pytest.raises(ConfigError, match=r"mesh.yaml:5:.* upstreams.a.forward_headers: would hand the credentials"):
        loaded_after(old, server + text)


def test_the_secrets_of_what_was_taken_over_stay_hidden(loaded_after):
    old = loaded_after(None, TEXT)
    new = loaded_after(old, TEXT.replace("concurrency: 1", "concurrency: 2"))
    assert new.scrubber is old.scrubber
    new = loaded_after(new, TEXT + "  c: {url: 'http://c/', headers: {A: c-secret-c}}\n")
    assert new.scrubber.scrub("a-secret-a b-secret-b c-secret-c") == "*** *** ***"
    assert (old.scrubber | new.scrubber).scrub("a-secret-a b-secret-b c-secret-c") == "*** *** ***"
    last = loaded_after(new, "upstreams: {a: {url: 'http://a/'}}")
    assert last.scrubber.scrub("a-secret-a") == "a-secret-a"
