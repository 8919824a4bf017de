"""Names and URIs of any characters, from origin to public and back."""

from typing import Any, Self

from hypothesis import strategies as st
from meshproxy.naming import TemplateMatcher, default_namespace, origin_uri, public_name, public_uri, split_uri
from meshproxy.naming.names import may_be_public
from tests.fuzz.mutation import mutated

_PART = st.sampled_from(
    [
        "file",
        "mesh",
        "http",
        "docs",
        "a",
        "",
        "x y",
        "\x1b[2J",
        "\u202e",
        "日本",
        "{id}",
        "{+path}",
        "{",
        "}",
        "%2F",
        "..",
        "?q=1",
        "#f",
        "\0",
    ]
)
_URI = st.builds(
    lambda scheme, joint, parts: f"{scheme}{joint}{'/'.join(parts)}",
    _PART, st.sampled_from(["://", ":", ":///", "", "://docs/", ":////"]), st.lists(_PART, max_size=4),
)  # fmt: skip


class Target:
    """Any text goes in, nothing raises, and what comes back from a public URI is what went into it."""

    examples = 300

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def strategy(self) -> st.SearchStrategy[Any]:
        text = st.one_of(
            _URI,
            st.text(max_size=40),
            mutated("names", st.just(b"docs")).map(lambda data: data.decode("utf-8", "replace")),
        )
        return st.tuples(text, text, st.sampled_from(["_", "__", "-", "."]))

    def check(self, example: tuple[str, str, str]) -> None:
        text, other, separator = example
        namespace = default_namespace(other)
        public = public_name(namespace, separator, text)
        assert may_be_public(namespace, separator, public)
        assert public == public_name(namespace, separator, text)
        if namespace:
            uri = public_uri(namespace, text)
            assert origin_uri(namespace, uri) == text
            split = split_uri(uri)
            assert split is None or split[0] == namespace
        origin_uri(namespace, text)
        split_uri(text)
        TemplateMatcher(text).matches(other)
