"""What an upstream offers, and how it stands in the mesh."""

from meshproxy.catalog.catalog import EMPTY, Catalog, Filter, Mount
from meshproxy.kinds import Kind


def test_a_kind_that_was_not_listed_is_empty() -> None:
    catalog = Catalog({Kind.TOOL: ({"name": "a"}, {"name": "b"})})
    assert [item["name"] for item in catalog[Kind.TOOL]] == ["a", "b"]
    assert catalog[Kind.PROMPT] == ()
    assert catalog.counts() == {Kind.TOOL: 2, Kind.RESOURCE: 0, Kind.TEMPLATE: 0, Kind.PROMPT: 0}
    assert EMPTY.counts() == dict.fromkeys(Kind, 0)


def test_a_filter_shows_what_some_include_matches_and_no_exclude_does() -> None:
    chosen = Filter(("get_*", "Put"), ("*_secret",))
    names = ["get_a", "get_secret", "Put", "put", "other"]
    assert [name for name in names if chosen.admits(name)] == ["get_a", "Put"]
    assert [name for name in names if chosen.excludes(name)] == ["get_secret"]
    assert all(Filter().admits(name) for name in names)
    assert not any(Filter(include=()).admits(name) for name in names)


def test_a_name_gets_the_namespace_and_a_uri_gets_it_as_uris_do() -> None:
    mount = Mount("docs", "d", "-")
    assert mount.public_key(Kind.TOOL, "search", by_uri=False) == "d-search"
    assert mount.public_key(Kind.RESOURCE, "x://y", by_uri=True) == "x://d/y"
    assert mount.public_of(Kind.TOOL, "search") == "d-search"
    assert mount.public_of(Kind.PROMPT, "search") == "d-search"
    assert mount.public_of(Kind.RESOURCE, "x://y") == "x://d/y"
    assert mount.public_of(Kind.TEMPLATE, "x://{y}") == "x://d/{y}"
    assert mount.public("x://y") == "x://d/y"
    assert mount.origin("x://d/y") == "x://y"


def test_without_a_namespace_everything_keeps_its_name() -> None:
    mount = Mount("docs")
    assert mount.public_key(Kind.TOOL, "search", by_uri=False) == "search"
    assert mount.public("x://y") == mount.origin("x://y") == "x://y"


def test_a_new_name_is_put_under_the_namespace_as_if_the_upstream_called_it_so() -> None:
    filters = {Kind.TOOL: Filter(rename={"a": "b", "b": "c"}), Kind.RESOURCE: Filter(rename={"x://y": "x://z"})}
    mount = Mount("docs", "d", filters=filters)
    assert mount.public_key(Kind.TOOL, "a", by_uri=False) == "d_b"
    assert mount.public_key(Kind.PROMPT, "a", by_uri=False) == "d_a"
    assert mount.public_key(Kind.RESOURCE, "x://y", by_uri=True) == "x://d/z"
    # Wherever the upstream mentions it, and not only in the listing.
    assert mount.public("x://y") == "x://d/z"
    assert mount.public("x://z") == "x://d/z"


def test_a_new_uri_leads_back_to_the_one_at_the_upstream() -> None:
    mount = Mount("docs", "d", filters={Kind.RESOURCE: Filter(rename={"x://y": "x://z", "http://h/a": "x://a"})})
    for uri in ("x://y", "http://h/a", "x://else"):
        assert mount.origin(mount.public(uri)) == uri
    # What was handed out under the old one, before the config had the new one.
    assert mount.origin("x://d/y") == "x://y"


def test_what_is_withheld_is_not_to_be_had_whatever_the_filters_admit() -> None:
    filters = {Kind.TOOL: Filter(include=("a*",), rename={"ab": "b"})}
    mount = Mount("up", namespace="n", filters=filters)
    less = mount.without({Kind.TOOL: frozenset({"ab"}), Kind.TEMPLATE: frozenset({"file:///{name}"})})
    assert [mount.filter(Kind.TOOL).admits(origin) for origin in ("ab", "ac", "b")] == [True, True, False]
    assert [less.filter(Kind.TOOL).admits(origin) for origin in ("ab", "ac", "b")] == [False, True, False]
    assert less.public_key(Kind.TOOL, "ab", by_uri=False) == mount.public_key(Kind.TOOL, "ab", by_uri=False)
    assert less.withholds("file:///{name}")
    assert less.withholds("file:///x")
    assert not less.withholds("other:///x")
    assert not mount.withholds("file:///x")
