import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from meshproxy.naming import TemplateMatcher, expanded
from tests.naming.rfc6570 import TEMPLATES, VALUES, expand

# RFC 6570, section 3.2: the RFC's own values and expansions.
RFC_VALUES = {
    "count": ["one", "two", "three"],
    "dom": ["example", "com"],
    "hello": "Hello World!",
    "half": "50%",
    "var": "value",
    "who": "fred",
    "base": "http://example.com/home/",
    "path": "/foo/bar",
    "list": ["red", "green", "blue"],
    "keys": {"semi": ";", "dot": ".", "comma": ","},
    "v": "6",
    "x": "1024",
    "y": "768",
    "empty": "",
}
RFC_EXPANSIONS = [
    ("{hello}", "Hello%20World%21"),
    ("O{empty}X", "OX"),
    ("O{undef}X", "OX"),
    ("map?{x,y}", "map?1024,768"),
    ("{var:3}", "val"),
    ("{list*}", "red,green,blue"),
    ("{keys}", "semi,%3B,dot,.,comma,%2C"),
    ("{keys*}", "semi=%3B,dot=.,comma=%2C"),
    ("{+base}index", "http://example.com/home/index"),
    ("{+half}", "50%25"),
    ("{+path:6}/here", "/foo/b/here"),
    ("{+keys*}", "semi=;,dot=.,comma=,"),
    ("X{#x,hello}", "X#1024,Hello%20World!"),
    ("X{.dom*}", "X.example.com"),
    ("X{.keys*}", "X.semi=%3B.dot=..comma=%2C"),
    ("{/var,x}/here", "/value/1024/here"),
    ("{/list*,path:4}", "/red/green/blue/%2Ffoo"),
    ("{;x,y,empty}", ";x=1024;y=768;empty"),
    ("{;keys*}", ";semi=%3B;dot=.;comma=%2C"),
    ("{?x,y,empty}", "?x=1024&y=768&empty="),
    ("{?keys}", "?keys=semi,%3B,dot,.,comma,%2C"),
    ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
    ("{&var:3}", "&var=val"),
    ("{&list*}", "&list=red&list=green&list=blue"),
]


@pytest.mark.parametrize(("template", "expansion"), RFC_EXPANSIONS)
def test_the_examples_of_the_rfc_match(template, expansion):
    assert expand(template, RFC_VALUES) == expansion  # the tests' own expander is right
    assert TemplateMatcher(template).matches(expansion)


@given(TEMPLATES, VALUES)
@example("{+a}-{b}", {"a": "p/-q/", "b": "r"})
@example("é{a}", {"a": "é"})
@example("%{a}", {"a": "41"})
def test_whatever_a_template_expands_to_matches_it(template, values):
    assert TemplateMatcher(template).matches(expand(template, values))


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://user/{id}", "test://user/a b"),
        ("test://user/{id}", "test://user/é@example.com"),
        ("test://user/é/{id}", "test://user/é/1"),
        ("test://user/é/{id}", "test://user/%C3%A9/1"),
        ("test://files/{path*}", "test://files/a/b/c"),
        ("test://{}", "test://x"),
        ("test://{=x}", "test://x"),
        ("test://{unclosed", "test://{unclosed"),
        ("test://user/{id}", "test://user/"),
        ("test://log{?from,to}", "test://log?to=/x"),
    ],
)
def test_what_is_nearly_an_expansion_matches(template, uri):
    assert TemplateMatcher(template).matches(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://user/{id}", "test://user"),
        ("test://user/{id}", "test://users/1"),
        ("test://user/{id}", "test://user/1/posts"),
        ("test://user/{id}/posts", "test://user/1/likes"),
        ("test://user/{id}", "test://user/1?x=y"),
        ("test://log{?q}", "test://logs"),
        ("test://log{?q}", "test://log&q=1"),
        ("test://log{/day}", "test://log/1/2"),
        ("test://log", "test://log2"),
        ("{a}x", "\ud800/x"),
    ],
)
def test_what_is_no_expansion_does_not_match(template, uri):
    assert not TemplateMatcher(template).matches(uri)


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_text_may_be_asked_about(template, uri):
    matcher = TemplateMatcher(template)
    assert matcher.matches(uri) in {True, False}
    assert repr(matcher) == f"TemplateMatcher({template!r})"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "template", ["{+a}" * 100 + "!", "{+a}x" * 90 + "!", "{a}{b}{/c*}{?d}{#e}x" * 18, "{a*}/" * 90]
)
def test_a_long_uri_does_not_make_a_template_with_many_variables_backtrack(template):
    assert not TemplateMatcher(template).matches("x" * 1990 + "?")


def test_a_uri_too_long_for_its_template_does_not_match():
    matcher = TemplateMatcher("{+a}{+b}")
    assert matcher.matches("x" * 100_000)
    assert not matcher.matches("x" * 100_001)


@pytest.mark.parametrize(("template", "expansion"), [(t, e) for t, e in RFC_EXPANSIONS if "keys" not in t])
def test_the_examples_of_the_rfc_are_expanded(template, expansion):
    assert expanded(template, RFC_VALUES) == expansion


@given(TEMPLATES, VALUES)
def test_every_expression_is_expanded_as_the_rfc_says(template, values):
    texts = {name: value for name, value in values.items() if not isinstance(value, dict)}
    for expression in re.findall(r"\{[^{}]*\}", template):
        assert expanded(expression, texts) == expand(expression, texts)


@given(TEMPLATES, VALUES)
def test_what_is_expanded_leads_back_to_its_template(template, values):
    texts = {name: value for name, value in values.items() if not isinstance(value, dict)}
    assert TemplateMatcher(template).matches(expanded(template, texts))


def test_values_are_written_as_texts_and_what_has_none_is_left_out():
    assert expanded("x://{n}/{?a,b,c*}", {"n": 1, "a": None, "c": (True, 2)}) == "x://1/?c=True&c=2"
    assert expanded("x://{}{", {}) == "x://{"
