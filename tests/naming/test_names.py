import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.naming import MAX_NAME, NAMESPACE_PATTERN, public_name, sanitize_namespace

TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
NAMESPACES = st.from_regex(NAMESPACE_PATTERN, fullmatch=True)
SEPARATORS = st.sampled_from(["_", "__", "-", "."])


def test_a_public_name_is_the_namespace_the_separator_and_the_origin():
    assert public_name("docs", "_", "search") == "docs_search"
    assert public_name("docs", ".", "get-page.v2") == "docs.get-page.v2"


def test_an_upstream_without_a_namespace_keeps_its_names():
    assert public_name("", "_", "search") == "search"


def test_a_name_of_64_characters_stays_and_one_of_65_is_cut_and_hashed():
    assert public_name("a", "_", "x" * 62) == "a_" + "x" * 62
    shortened = public_name("a", "_", "x" * 63)
    assert re.fullmatch(r"a_x{53}_[0-9a-f]{8}", shortened)


def test_a_name_outside_the_alphabet_is_cleaned_and_hashed():
    assert re.fullmatch(r"docs_get_page_[0-9a-f]{8}", public_name("docs", "_", "get/page"))
    assert re.fullmatch(r"_[0-9a-f]{8}", public_name("", "_", ""))


def test_origins_that_clean_to_the_same_text_keep_different_names():
    assert len({public_name("docs", "_", f"get{sign}page") for sign in "/ :é\U0001f600\ud800"}) == 6


def test_the_separator_means_nothing_without_a_namespace():
    assert public_name("", "_", "a b") == public_name("", ".", "a b")


def test_a_shortened_name_is_the_same_in_another_process():
    code = r"from meshproxy.naming import public_name; print(public_name('docs', '_', '\ud800' + 'x' * 99))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == public_name("docs", "_", "\ud800" + "x" * 99)


@given(TEXT, TEXT, TEXT)
def test_any_text_gives_a_name_within_the_alphabet_and_the_length(namespace, separator, origin):
    name = public_name(namespace, separator, origin)
    assert re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{MAX_NAME}}}", name)
    assert name == public_name(namespace, separator, origin)


@given(NAMESPACES, SEPARATORS, st.lists(TEXT, unique=True))
def test_different_origins_of_one_upstream_have_different_names(namespace, separator, origins):
    assert len({public_name(namespace, separator, origin) for origin in origins}) == len(origins)


def test_ten_thousand_characters_are_shortened_like_any_other_name():
    assert public_name("docs", "_", "x" * 10_000) != public_name("docs", "_", "x" * 10_001)


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("docs", "docs"), ("my docs!", "my_docs_"), ("a.b", "a_b"), ("_", "_"), ("x" * 65, "x" * 64), ("naïve", "na_ve")],
)
def test_a_default_namespace_is_the_name_cleaned(name, namespace):
    assert sanitize_namespace(name) == namespace


@given(TEXT)
def test_any_name_gives_a_namespace_and_a_namespace_gives_itself(name):
    namespace = sanitize_namespace(name)
    assert re.fullmatch(NAMESPACE_PATTERN, namespace)
    assert sanitize_namespace(namespace) == namespace


def test_names_of_which_nothing_is_left_are_told_apart():
    assert sanitize_namespace("日本") != sanitize_namespace("中文")
    assert re.fullmatch(r"ns_[0-9a-f]{8}", sanitize_namespace(""))
