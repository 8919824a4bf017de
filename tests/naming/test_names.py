import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.naming import MAX_NAME, NAMESPACE_PATTERN, default_namespace, may_be_public, public_name

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


@given(NAMESPACES | st.just(""), SEPARATORS, TEXT)
def test_a_name_may_be_public_in_the_namespace_that_it_was_made_in(namespace, separator, origin):
    assert may_be_public(namespace, separator, public_name(namespace, separator, origin))


def test_a_name_that_begins_otherwise_may_not_be_public_in_a_namespace():
    assert not may_be_public("docs", "_", "files_read")
    assert not may_be_public("docs", "_", "docs.search")
    assert not may_be_public("docs", "_", "doc")
    assert may_be_public("", "_", "anything")


def test_ten_thousand_characters_are_shortened_like_any_other_name():
    assert public_name("docs", "_", "x" * 10_000) != public_name("docs", "_", "x" * 10_001)


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("docs", "docs"), ("my docs!", "my_docs_"), ("a.b", "a_b"), ("_", "_"), ("...", "___"), ("x" * 64, "x" * 64)],
)
def test_the_default_namespace_of_an_ascii_name_is_the_name_cleaned(name, namespace):
    assert default_namespace(name) == namespace


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("日本", "ns_7ec6661c"),
        ("中文", "ns_"),
        ("", "ns_"),
        ("naïve", "na_ve_"),
        ("Müller & Söhne", "M_ller_S_hne_"),
        ("日本 docs", "docs_"),
        ("x" * 65, "x" * 55 + "_"),
        ("\ud800", "ns_"),
    ],
)
def test_the_default_namespace_of_another_name_is_what_can_be_read_of_it_and_a_hash(name, namespace):
    assert re.fullmatch(rf"{namespace}(?:[0-9a-f]{{8}})?", default_namespace(name))


@given(TEXT)
def test_any_name_gives_a_namespace_and_a_namespace_gives_itself(name):
    namespace = default_namespace(name)
    assert re.fullmatch(NAMESPACE_PATTERN, namespace)
    assert default_namespace(name) == namespace
    assert default_namespace(namespace) == namespace


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=64))
def test_an_ascii_name_keeps_every_character_that_a_namespace_can_have(name):
    namespace = default_namespace(name)
    assert len(namespace) == len(name)
    assert all(new in (old, "_") for old, new in zip(name, namespace, strict=True))


@given(st.lists(TEXT.filter(lambda name: not name.isascii()), unique=True))
def test_names_that_are_not_ascii_have_a_namespace_each(names):
    assert len({default_namespace(name) for name in names}) == len(names)


@given(st.lists(NAMESPACES, unique=True), st.lists(TEXT.filter(lambda name: not name.isascii()), unique=True))
def test_a_name_that_is_a_namespace_has_none_of_another_script(plain, others):
    assert not {default_namespace(name) for name in plain} & {default_namespace(name) for name in others}


def test_a_default_namespace_is_the_same_in_another_process():
    code = r"from meshproxy.naming import default_namespace; print(default_namespace('\u65e5\u672c'))"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == default_namespace("日本")
