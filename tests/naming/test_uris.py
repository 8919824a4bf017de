import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from meshproxy.naming import NAMESPACE_PATTERN, origin_uri, public_uri, split_uri
from pydantic import AnyUrl
from tests.naming.rfc6570 import TEMPLATES, VALUES, expand

NAMESPACES = st.from_regex(NAMESPACE_PATTERN, fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
SCHEMES = st.sampled_from(
    ["file", "ui", "test", "a+b.c-1", "mesh", "Mesh", "urn", "http", "HTTPS", "FILE", "", "1x", "ü"]
)
URIS = TEXT | st.builds(
    lambda scheme, colon, rest: scheme + colon + rest,
    SCHEMES,
    st.sampled_from([":", "://", ":/", ":///", ":////", "//", ""]),
    TEXT | st.sampled_from(["a/b", "ns/a", "/ns/a", "%41", "%", "{+path}", "mesh://ns/urn:x"]),
)

SPELLINGS = [
    ("ui://app/main.html", "ui://docs/app/main.html"),
    ("file:///a/b", "file://docs/a/b"),
    ("FILE:///", "FILE://docs/"),
    ("file://host/a", "file://docs//host/a"),
    ("file:////a", "file://docs////a"),
    ("file://", "file://docs//"),
    ("file:///{path}", "file://docs///{path}"),
    ("file://{+path}", "file://docs//{+path}"),
    ("test://static", "test://docs/static"),
    ("test:///a", "test://docs//a"),
    ("test://", "test://docs/"),
    ("test://{id}{?q*}", "test://docs/{id}{?q*}"),
    ("urn:isbn:1", "mesh://docs/urn:isbn:1"),
    ("mailto:a@b?x=y://z", "mesh://docs/mailto:a@b?x=y://z"),
    ("hello world", "mesh://docs/hello world"),
    ("", "mesh://docs/"),
    ("1x://a", "mesh://docs/1x://a"),
    ("{scheme}://x", "mesh://docs/{scheme}://x"),
    ("{+path}", "mesh://docs/{+path}"),
    ("http{s}://x", "mesh://docs/http{s}://x"),
    ("mesh://inner/urn:isbn:1", "mesh://docs/mesh://inner/urn:isbn:1"),
    ("Mesh:x", "mesh://docs/Mesh:x"),
]


@pytest.mark.parametrize(("origin", "public"), SPELLINGS)
def test_a_uri_has_one_public_spelling_and_comes_back_from_it(origin, public):
    assert public_uri("docs", origin) == public
    assert split_uri(public) == ("docs", origin)
    assert origin_uri("docs", public) == origin


@pytest.mark.parametrize("uri", ["http://a/b", "https://docs/b", "HTTPS://docs/b", "http:a", "https://{host}/{path}"])
def test_what_clients_may_fetch_stays_as_it_is(uri):
    assert public_uri("docs", uri) == uri
    assert split_uri(uri) is None
    assert origin_uri("docs", uri) == uri


@pytest.mark.parametrize("uri", ["", "x", "urn:isbn:1", "ui://docs", "ui:///docs/x", "ui://a.b/x", "1x://docs/x"])
def test_what_has_no_place_for_a_namespace_has_none(uri):
    assert split_uri(uri) is None


def test_a_uri_of_another_namespace_is_left_alone():
    assert origin_uri("docs", "ui://files/x") == "ui://files/x"


@given(URIS)
def test_an_upstream_without_a_namespace_keeps_its_uris(uri):
    assert public_uri("", uri) == uri
    assert origin_uri("", uri) == uri


@given(NAMESPACES, URIS)
@example("ns", "file:////ns//x")
@example("ns", "mesh://ns/")
def test_any_uri_comes_back_from_its_public_form(namespace, uri):
    public = public_uri(namespace, uri)
    assert origin_uri(namespace, public) == uri
    assert split_uri(public) == (None if public == uri else (namespace, uri))


@given(st.lists(NAMESPACES, max_size=5), URIS)
def test_a_mesh_of_meshes_comes_back_one_namespace_at_a_time(namespaces, uri):
    public = uri
    for namespace in namespaces:
        public = public_uri(namespace, public)
    for namespace in reversed(namespaces):
        public = origin_uri(namespace, public)
    assert public == uri


@given(NAMESPACES, st.lists(URIS, unique=True))
def test_different_uris_of_one_upstream_stay_different(namespace, uris):
    assert len({public_uri(namespace, uri) for uri in uris}) == len(uris)


@given(NAMESPACES, TEMPLATES)
def test_any_template_comes_back_from_its_public_form(namespace, template):
    assert origin_uri(namespace, public_uri(namespace, template)) == template


@given(NAMESPACES, TEMPLATES, VALUES)
@example("ns", "file:///{+path}", {"path": "/etc/hosts"})
@example("ns", "file://{+path}", {"path": "/etc/hosts"})
@example("ns", "x:{+path}", {"path": "//host/p"})
@example("ns", "{+path}", {"path": "https://host/%41"})
@example("ns", "mesh:{/a,b*}", {"a": "", "b": ["x", "y"]})
def test_an_expansion_of_the_public_template_maps_back_to_the_expansion_of_the_origins(namespace, template, values):
    assert origin_uri(namespace, expand(public_uri(namespace, template), values)) == expand(template, values)


@pytest.mark.parametrize(
    "uri",
    [
        *("file:///a/b.txt", "file:///", "file:///a//b", "ui://app/main.html", "test://static/x?y=z#f", "test:///a//b"),
        *("urn:isbn:1", "mailto:a@b", "note+v1.2://x", "mesh://inner/urn:isbn:1", "git://host:22/x"),
    ],
)
@pytest.mark.parametrize("namespace", ["docs", "my_docs", "my-docs", "d0cs"])
def test_a_client_that_normalises_urls_reads_what_it_would_read_directly(namespace, uri):
    """The Python SDK before 2.0 sends `AnyUrl` for each URI; see the rule for `file`."""
    assert origin_uri(namespace, str(AnyUrl(public_uri(namespace, uri)))) == str(AnyUrl(uri))


@pytest.mark.parametrize("template", ["file:///{+path}", "file://{+path}"])
def test_a_client_that_normalises_urls_reads_the_file_that_a_template_gives(template):
    values = {"path": "notes/a.txt" if template == "file:///{+path}" else "/notes/a.txt"}
    sent = str(AnyUrl(expand(public_uri("docs", template), values)))
    assert origin_uri("docs", sent) == "file:///notes/a.txt"
