import copy
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.secrets import Scrubber, header_secrets, shown_secret, shown_text, shown_url, url_password

secrets = st.lists(st.text(alphabet="abcde", min_size=4, max_size=8), max_size=5)


@given(secrets, st.text(alphabet="abcdef ", max_size=60))
def test_no_secret_is_left_in_a_scrubbed_text(hidden, text):
    clean = Scrubber(hidden).scrub(text)
    assert not [secret for secret in hidden if secret in clean]


@given(secrets, st.text(alphabet="abcdef ", max_size=60))
def test_what_is_no_secret_stays(hidden, text):
    clean = Scrubber(hidden).scrub(text)
    if not any(secret in text for secret in hidden):
        assert clean == text
    # What is left are pieces of the text, in order.
    at = 0
    for piece in clean.split("***"):
        at = text.index(piece, at) + len(piece)


def test_secrets_that_overlap_are_hidden_whole():
    assert Scrubber(["abcd", "cdefgh", "abcdef"]).scrub("1 abcdefgh 2 abcd 3") == "1 *** 2 *** 3"


def test_short_and_ordinary_texts_are_not_scrubbed():
    assert (
        Scrubber(["1", "abc", "info", "TRUE", "production", ""]).scrub("1 abc info TRUE production")
        == "1 abc info TRUE production"
    )
    assert not Scrubber(["1", "abc", "info"])


def test_encoded_secrets_are_hidden():
    secret = 'pä"ss/w\\ord &1'
    scrub = Scrubber([secret]).scrub
    for form in (
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        quote(secret),
        quote(secret, safe=""),
    ):
        assert "***" in scrub(form)
        assert "ss" not in scrub(form)


def test_each_line_of_a_long_secret_is_hidden():
    assert (
        Scrubber(["-----BEGIN KEY-----\nMIIabc\n  indented\n"]).scrub("read MIIabc and indented") == "read *** and ***"
    )


def test_scrubbers_add_up_and_tell_nothing_about_themselves():
    one, two = Scrubber(["secret-one"]), Scrubber(["secret-two"])
    both = one | two
    assert both.scrub("secret-one secret-two") == "*** ***"
    assert both | one is both
    assert both
    assert not Scrubber()
    assert "secret" not in repr(both)
    assert copy.deepcopy(both).scrub("secret-one") == "***"
    assert pickle.loads(pickle.dumps(both)).scrub("secret-one") == "***"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Bearer ${TOKEN}", "Bearer ${TOKEN}"),
        ("${file:token}", "${file:token}"),
        ("literal", "***"),
        ("Bearer literal", "***"),
        ("${USER}:${PASS}", "${USER}:${PASS}"),
        ("postgres://me:hunter2@${HOST}/db", "***${HOST}***"),
        ("${TOKEN:-fallback}", "${TOKEN:-***}"),
        ("Bearer a$$b${X}", "***${X}"),
        ("${unclosed secret", "***"),
        ("", ""),
    ],
)
def test_a_secret_is_shown_by_its_references(written, shown):
    assert shown_secret(written) == shown


def test_other_values_are_shown_as_written_less_secret_defaults():
    assert shown_text("${HOME:-/root}/$$x ${API_KEY:-hunter2}") == "${HOME:-/root}/$$x ${API_KEY:-***}"


def test_a_literal_password_in_a_url_is_not_shown():
    assert shown_url("https://me:hunter2@host/mcp") == "https://me:***@host/mcp"
    assert shown_url("https://me:${PASS}@host/mcp") == "https://me:${PASS}@host/mcp"
    assert shown_url("https://host/mcp") == "https://host/mcp"
    assert url_password("http://[") is None


def test_the_credentials_of_a_header_are_secret_without_their_scheme_too():
    assert header_secrets("Bearer abc.def") == ("Bearer abc.def", "abc.def")
    assert header_secrets("abc.def") == ("abc.def",)
