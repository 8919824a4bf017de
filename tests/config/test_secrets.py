import copy
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.secrets import Scrubber, shown_arguments, shown_secret, shown_text, without_secrets

secrets = st.lists(st.text(alphabet="abcde", min_size=6, max_size=9), max_size=5)


@given(secrets, st.text(alphabet="abcdef ", max_size=80))
def test_no_secret_is_left_in_a_scrubbed_text(hidden, text):
    clean = Scrubber(hidden).scrub(text)
    assert not [secret for secret in hidden if secret in clean]


@given(secrets, st.text(alphabet="abcdef ", max_size=80))
def test_what_is_no_secret_stays(hidden, text):
    clean = Scrubber(hidden).scrub(text)
    if not any(secret in text for secret in hidden):
        assert clean == text
    # What is left are pieces of the text, in order.
    at = 0
    for piece in clean.split("***"):
        at = text.index(piece, at) + len(piece)


def test_secrets_that_overlap_are_hidden_whole():
    assert Scrubber(["abcdef", "efghij", "abcdefgh"]).scrub("1 abcdefghij 2 abcdef 3") == "1 *** 2 *** 3"


@given(st.integers(0, 40), st.sampled_from(["", " and more", "\N{HORIZONTAL ELLIPSIS}"]))
def test_of_a_secret_that_was_cut_the_beginning_is_hidden(length, rest):
    texts = Scrubber(["s3cret-of-many-letters", "s3cret-other"])
    cut = "of s3cret-of-many-letters and"[:length]
    clean = texts.scrub(f"{cut}\N{HORIZONTAL ELLIPSIS}{rest}")
    assert "s3cret" not in clean
    assert clean.endswith(f"\N{HORIZONTAL ELLIPSIS}{rest}")


def test_an_ellipsis_behind_what_is_no_beginning_changes_nothing():
    texts = Scrubber(["s3cret-of-many-letters"])
    for text in (
        "s3cret or so\N{HORIZONTAL ELLIPSIS}",
        "\N{HORIZONTAL ELLIPSIS}s3cret",
        "s3cre\N{HORIZONTAL ELLIPSIS}",
    ):
        assert texts.scrub(text) == text
    assert Scrubber().scrub("s3cret\N{HORIZONTAL ELLIPSIS}") == "s3cret\N{HORIZONTAL ELLIPSIS}"


def test_short_and_ordinary_texts_are_not_scrubbed():
    ordinary = ["1", "abc", "files", "stdio", "TRUE", "Production", "application/json", ""]
    text = " ".join(ordinary)
    assert Scrubber(ordinary).scrub(text) == text
    assert not Scrubber(ordinary)
    assert Scrubber(["sixsix"]).scrub("sixsix sevense") == "*** sevense"


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


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://me:hunter2@host/mcp", "https://me:***@host/mcp"),
        ("https://me:a$$b@host/mcp", "https://me:***@host/mcp"),
        ("https://me:p@host/p", "https://me:***@host/p"),
        ("https://me:${PASS}@host/mcp", "https://me:${PASS}@host/mcp"),
        ("https://${USER}:hunter2@host/mcp", "https://${USER}:***@host/mcp"),
        (
            "https://host/mcp?apiKey=abc&x=${TOKEN}&token=${TOKEN}",
            "https://host/mcp?apiKey=***&x=${TOKEN}&token=${TOKEN}",
        ),
        ("${URL:-https://me:hunter2@host}/mcp", "${URL:-https://me:***@host}/mcp"),
        ("${API_KEY:-hunter2}", "${API_KEY:-***}"),
        ("https://host/mcp", "https://host/mcp"),
        ("http://[", "http://["),
    ],
)
def test_a_text_is_shown_less_the_secrets_in_it(written, shown):
    assert shown_text(written) == shown


def test_a_command_line_is_shown_less_its_secrets():
    written = [
        "-y",
        "--api-key",
        "hunter2",
        "--token",
        "${TOKEN}",
        "--password=x",
        "-H",
        "Authorization: Bearer abc",
        "--key",
        "-v",
    ]
    shown = [
        "-y",
        "--api-key",
        "***",
        "--token",
        "${TOKEN}",
        "--password=***",
        "-H",
        "Authorization: Bearer ***",
        "--key",
        "-v",
    ]
    assert shown_arguments(written) == shown
    assert shown_arguments([]) == []


@given(st.text(max_size=60))
def test_nothing_is_hidden_where_there_is_nothing_to_hide_and_hiding_twice_hides_no_more(text):
    shown = without_secrets(text)
    assert without_secrets(shown) == shown or "***" in shown
    if "***" not in shown:
        assert shown == text
