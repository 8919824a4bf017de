"""A snapshot is all listings and all routes of one version of the mesh, and they agree."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.catalog.catalog import Catalog, Filter, Mount
from meshproxy.catalog.snapshot import INSTRUCTIONS_LIMIT, Member, Snapshot, build_snapshot
from meshproxy.kinds import KINDS, Kind
from meshproxy.wire.protocol import EXTENSION_UI, Era


@dataclass(frozen=True)
class Upstream:
    """A source of which nothing is asked here."""

    name: str

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        context: Any = None,
        mount: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        raise AssertionError


def catalog(**keys: Any) -> Catalog:
    """`catalog(tools=["a"], resources=["x://y"], instructions="...")`; a definition may be given whole."""
    definitions = {}
    for kind, spec in KINDS.items():
        given_ones = keys.pop(spec.plural, ())
        definitions[kind] = tuple(item if isinstance(item, dict) else {spec.key: item} for item in given_ones)
    return Catalog(definitions, **keys)


def member(
    name: str, offered: Catalog | None, namespace: str | None = None, *, is_up: bool = True, **mount: Any
) -> Member:
    placed = Mount(name, name if namespace is None else namespace, **mount)
    return Member(placed, Upstream(name), offered, is_up)


def listed(snapshot: Snapshot, kind: Kind, era: Era = Era.MODERN) -> list[str]:
    return [item[KINDS[kind].key] for item in json.loads(snapshot.listing(kind, era))]


def leads(snapshot: Snapshot, uri: str) -> tuple[str, str] | None:
    route = snapshot.resolve_uri(uri)
    return (route.source.name, route.origin) if route else None


# Any upstreams at all

NAMES = st.sampled_from(["a", "b", "a_b", "b_a", "x y", "ü"])
URIS = st.sampled_from(["x://a", "x://b/a", "file:///a", "urn:a", "http://h/a", "HTTPS://h/b"])
TEMPLATES = st.sampled_from(["x://{a}", "file:///{+a}", "urn:{a}", "https://h/{a}"])
TASKS = st.sampled_from(
    [{}, {}, {"execution": {"taskSupport": "required"}}, {"execution": {"taskSupport": "optional"}}]
)
GLOBS = st.lists(st.sampled_from(["*", "a*", "*b", "x://*", "http*"]), max_size=2).map(tuple)


@st.composite
def members(draw: st.DrawFn) -> tuple[Member, ...]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        definitions = {}
        filters = {}
        for kind, keys in ((Kind.TOOL, NAMES), (Kind.PROMPT, NAMES), (Kind.RESOURCE, URIS), (Kind.TEMPLATE, TEMPLATES)):
            items = draw(st.lists(st.tuples(keys, TASKS, st.integers(0, 2)), max_size=4))
            definitions[kind] = tuple(
                {KINDS[kind].key: key, "title": f"{number} {title}", **task} for key, task, title in items
            )
            if draw(st.booleans()):
                rename = draw(st.dictionaries(keys, keys, max_size=1)) if kind is not Kind.TEMPLATE else {}
                filters[kind] = Filter(draw(GLOBS) or ("*",), draw(GLOBS), rename)
        made.append(
            member(
                f"u{number}",
                draw(st.sampled_from([Catalog(definitions), Catalog(definitions), None])),
                draw(st.sampled_from(["", "a", "b", "n"])),
                is_up=draw(st.booleans()),
                filters=filters,
                hide_when_down=draw(st.booleans()),
                separator=draw(st.sampled_from(["_", "-"])),
            )
        )
    return tuple(made)


@given(members())
def test_listing_and_look_up_agree(upstreams: tuple[Member, ...]) -> None:
    snapshot = build_snapshot(upstreams)
    for kind in Kind:
        for era in Era:
            keys = listed(snapshot, kind, era)
            assert keys == list(snapshot.routes[kind])
            assert len(keys) == len(set(keys))
        for key in keys:
            route = snapshot.find(kind, key)
            assert route is not None
            assert route.component is not None
            assert (route.component.public, route.component.origin) == (key, route.origin)
            if kind is Kind.RESOURCE:
                assert snapshot.resolve_uri(key) is route
            if kind is Kind.TEMPLATE:
                assert snapshot.resolve_template(key) is route
    assert snapshot.find(Kind.TOOL, "nobody's") is None


@given(members())
def test_every_admitted_component_is_served_or_the_first_upstream_has_its_name(upstreams: tuple[Member, ...]) -> None:
    snapshot = build_snapshot(upstreams)
    for kind, spec in KINDS.items():
        owners: dict[str, Any] = {}
        lost = []
        for one in upstreams:
            if one.catalog is None or (one.mount.hide_when_down and not one.is_up):
                continue
            chosen = one.mount.filter(kind)
            for definition in one.catalog[kind]:
                origin = definition[spec.key]
                if not any(fnmatchcase(origin, glob) for glob in chosen.include):
                    continue
                if any(fnmatchcase(origin, glob) for glob in chosen.exclude):
                    continue
                public = one.mount.public_key(kind, origin, by_uri=spec.by_uri)
                first = owners.setdefault(public, (one, origin))
                is_fetched = spec.by_uri and origin.lower().startswith("http")
                if first != (one, origin) and not (origin == first[1] and (first[0] is one or is_fetched)):
                    lost.append((kind, public, first[0].mount.name, one.mount.name))
        assert {key: (route.source, route.origin) for key, route in snapshot.routes[kind].items()} == {
            key: (one.source, origin) for key, (one, origin) in owners.items()
        }
        assert [(c.kind, c.public, c.winner, c.loser) for c in snapshot.collisions if c.kind is kind] == lost


@given(members())
def test_the_same_members_make_an_equal_snapshot_and_are_not_changed(upstreams: tuple[Member, ...]) -> None:
    before = [(one.mount, None if one.catalog is None else dict(one.catalog.definitions)) for one in upstreams]
    texts = repr(upstreams)
    first, second = build_snapshot(upstreams), build_snapshot(list(upstreams))
    assert first == second
    assert first.changed_kinds(second) == ()
    for kind in Kind:
        for era in Era:
            assert first.listing(kind, era) == second.listing(kind, era)
    assert repr(upstreams) == texts
    assert [(one.mount, None if one.catalog is None else dict(one.catalog.definitions)) for one in upstreams] == before


@given(members(), members())
def test_the_kinds_that_changed_are_those_whose_listing_differs(
    before: tuple[Member, ...], after: tuple[Member, ...]
) -> None:
    old, new = build_snapshot(before), build_snapshot(after)
    assert set(new.changed_kinds(old)) == {
        kind for kind in Kind if json.loads(old.listing(kind, Era.MODERN)) != json.loads(new.listing(kind, Era.MODERN))
    }
    assert set(new.changed_kinds(old)) == set(old.changed_kinds(new))


@given(members(), st.data())
def test_a_snapshot_that_follows_another_is_the_same_as_one_made_from_nothing(
    upstreams: tuple[Member, ...], data: st.DataObject
) -> None:
    now = build_snapshot(upstreams)
    for _ in range(2):
        upstreams = tuple(data.draw(st.permutations(upstreams))[: data.draw(st.integers(0, len(upstreams)))])
        upstreams += data.draw(members())
        fresh, now = build_snapshot(upstreams), build_snapshot(upstreams, now)
        assert now == fresh
        assert all(now.listing(kind, era) == fresh.listing(kind, era) for kind in Kind for era in Era)


@given(members(), URIS | TEMPLATES)
def test_a_uri_that_an_upstream_with_a_namespace_of_its_own_mentions_leads_back_to_it(
    upstreams: tuple[Member, ...], uri: str
) -> None:
    snapshot = build_snapshot([*upstreams, member("own", catalog())])
    public = Mount("own", "own").public(uri)
    if public != uri:
        assert leads(snapshot, public) == ("own", uri)


# In particular


def test_an_upstream_that_changes_makes_no_work_for_the_others() -> None:
    first, second = member("a", catalog(tools=["t"])), member("b", catalog(tools=["t"]))
    before = build_snapshot([first, second])
    after = build_snapshot([replace(first, is_up=False), replace(second, catalog=catalog(tools=["u"]))], before)
    assert listed(after, Kind.TOOL) == ["a_t", "b_u"]
    # Each caller looks a tool up in the same route as before, and its definition is encoded no more.
    assert after.find(Kind.TOOL, "a_t") is before.find(Kind.TOOL, "a_t")
    assert after.parts[0] is before.parts[0]
    assert after.parts[1] is not before.parts[1]
    # Another place in the mesh is another name.
    moved = build_snapshot([replace(first, mount=Mount("a", "c")), second], before)
    assert listed(moved, Kind.TOOL) == ["c_t", "b_t"]


def test_an_empty_mesh_lists_nothing_and_knows_nothing() -> None:
    snapshot = Snapshot()
    assert [snapshot.listing(kind, Era.LEGACY) for kind in Kind] == [b"[]"] * 4
    assert snapshot.find(Kind.TOOL, "a") is None
    assert snapshot.resolve_uri("x://a/b") is None
    assert snapshot.instructions(None) is None
    assert snapshot.caching(Kind.TOOL) == (0, False)
    assert snapshot.extensions == {}


def test_what_is_kept_with_a_snapshot_is_not_kept_with_the_next() -> None:
    first, second = build_snapshot([]), build_snapshot([])
    first.answers["asked"] = "said"
    assert first.answers == {"asked": "said"}
    assert second.answers == {}


def test_a_listing_is_encoded_once() -> None:
    snapshot = build_snapshot([member("a", catalog(tools=["t"]))])
    assert snapshot.listing(Kind.TOOL, Era.LEGACY) is snapshot.listing(Kind.TOOL, Era.LEGACY)


@pytest.mark.parametrize("broken", [{}, {"name": 3}, {"name": None}])
def test_a_component_that_nobody_can_use_is_left_out(broken: dict[str, Any]) -> None:
    assert listed(build_snapshot([member("a", catalog(tools=[broken, "good"]))]), Kind.TOOL) == ["a_good"]


def test_a_definition_is_listed_as_it_came_but_for_its_key_and_the_links_in_its_metadata() -> None:
    tool = {
        "name": "t",
        "title": None,
        "x-vendor": {"uri": "x://y"},
        "_meta": {"ui": {"resourceUri": "ui://w", "kept": 1}, "ui/resourceUri": "ui://w"},
    }
    (shown,) = json.loads(build_snapshot([member("a", catalog(tools=[tool]))]).listing(Kind.TOOL, Era.MODERN))
    assert shown == tool | {
        "name": "a_t",
        "_meta": {"ui": {"resourceUri": "ui://a/w", "kept": 1}, "ui/resourceUri": "ui://a/w"},
    }
    (shown,) = json.loads(build_snapshot([member("a", catalog(tools=[tool]), "")]).listing(Kind.TOOL, Era.MODERN))
    assert shown == tool


@pytest.mark.parametrize(
    ("schema", "eras"), [({"type": "object"}, [*Era]), ({"type": "array"}, [Era.MODERN]), ("odd", [*Era])]
)
def test_the_legacy_era_has_output_schemas_of_objects_alone(schema: Any, eras: list[Era]) -> None:
    tool = {"name": "t", "outputSchema": schema, "execution": {"taskSupport": "optional"}}
    snapshot = build_snapshot([member("a", catalog(tools=[tool]))])
    for era in Era:
        (shown,) = json.loads(snapshot.listing(Kind.TOOL, era))
        assert ("outputSchema" in shown) == (era in eras)
        assert "execution" not in shown
    assert "execution" in tool


def test_a_tool_that_needs_a_task_is_listed_as_any_other_and_its_route_says_so() -> None:
    tools = [{"name": support, "execution": {"taskSupport": support}} for support in ("required", "optional", "odd")]
    snapshot = build_snapshot([member("a", catalog(tools=[*tools, {"name": "odder", "execution": "required"}]))])
    for era in Era:
        listed = json.loads(snapshot.listing(Kind.TOOL, era))
        assert listed == [{"name": f"a_{name}"} for name in ("required", "optional", "odd", "odder")]
    assert [route.origin for route in snapshot.routes[Kind.TOOL].values() if route.needs_task] == ["required"]


def test_what_every_client_can_fetch_collides_with_nothing() -> None:
    uris, templates = ["http://h/a", "HTTPS://h/b", "x://c"], ["https://h/{d}"]
    offered = catalog(resources=uris, templates=templates)
    snapshot = build_snapshot([member("a", offered), member("b", offered)])
    assert snapshot.collisions == ()
    assert listed(snapshot, Kind.RESOURCE) == ["http://h/a", "HTTPS://h/b", "x://a/c", "x://b/c"]
    assert leads(snapshot, "http://h/a") == ("a", "http://h/a")
    assert leads(snapshot, "https://h/else") == ("a", "https://h/else")


def test_what_an_upstream_lists_twice_is_listed_once_and_no_collision() -> None:
    snapshot = build_snapshot([member("a", catalog(tools=["t", {"name": "t", "title": "again"}]))])
    assert listed(snapshot, Kind.TOOL) == ["a_t"]
    assert snapshot.collisions == ()


def test_a_collision_says_how_to_end_it() -> None:
    rename = {Kind.TOOL: Filter(rename={"s": "t"})}
    upstreams = [
        member("a", catalog(tools=["t"]), "n"),
        member("b", catalog(tools=["t"]), "n"),
        member("c", catalog(tools=["t", "s"]), "c", filters=rename),
    ]
    first, second = build_snapshot(upstreams).collisions
    assert str(first) == (
        "tool 'n_t' of upstream 'b' is hidden by that of 'a': give one of them another namespace, or rename or exclude it"
    )
    assert (second.public, second.winner, second.loser) == ("c_t", "c", "c")


def test_a_down_upstream_stays_listed_or_not_as_its_mount_says() -> None:
    down = [
        member("keep", catalog(tools=["t"]), is_up=False),
        member("hide", catalog(tools=["t"]), is_up=False, hide_when_down=True),
    ]
    assert listed(build_snapshot(down), Kind.TOOL) == ["keep_t"]
    assert listed(build_snapshot([replace(one, is_up=True) for one in down]), Kind.TOOL) == ["keep_t", "hide_t"]


def test_a_uri_leads_by_its_listing_then_by_a_template_then_by_its_namespace_then_to_the_one_without() -> None:
    snapshot = build_snapshot(
        [
            member("a", catalog(resources=["x://y"], templates=["x://t/{v}"])),
            member("b", catalog(resources=["x://b/1"], templates=["x://c/{v}"]), ""),
            member("a2", catalog(resources=["x://late"]), "a"),
        ]
    )
    assert leads(snapshot, "x://a/y") == ("a", "x://y")
    assert leads(snapshot, "x://a/t/1") == ("a", "x://t/1")
    assert leads(snapshot, "x://a/unlisted") == ("a", "x://unlisted")
    assert leads(snapshot, "x://a/late") == ("a2", "x://late")
    assert leads(snapshot, "x://c/1") == ("b", "x://c/1")
    assert leads(snapshot, "x://else") == ("b", "x://else")
    assert leads(snapshot, "no uri") == ("b", "no uri")
    route = snapshot.resolve_template("x://a/t/{v}")
    assert route is not None
    assert route.origin == "x://t/{v}"


def test_what_an_upstream_may_not_show_cannot_be_had_by_its_uri_either() -> None:
    resources = {Kind.RESOURCE: Filter(include=("x://open/*",), exclude=("*secret*",))}
    offered = catalog(templates=["x://t/{+v}"])
    for namespace in ("a", ""):
        snapshot = build_snapshot([member("a", offered, namespace, filters=resources)])
        public = Mount("a", namespace).public
        assert leads(snapshot, public("x://open/1")) == ("a", "x://open/1")
        assert leads(snapshot, public("x://else")) is None
        assert leads(snapshot, public("x://open/secret")) is None
        # A template is an offer of its own, and what is excluded is so for it as well.
        assert leads(snapshot, public("x://t/1")) == ("a", "x://t/1")
        assert leads(snapshot, public("x://t/secret")) is None


def test_a_renamed_resource_is_found_by_its_new_uri_listed_or_not() -> None:
    renames = {Kind.RESOURCE: Filter(exclude=("*secret",), rename={"x://y": "w://z", "x://secret": "w://s"})}
    offers = [catalog(resources=["x://y"]), catalog(templates=["w://{v}"]), catalog(), None]
    for namespace in ("a", ""):
        for offered in offers:
            snapshot = build_snapshot([member("a", offered, namespace, filters=renames)])
            public = Mount("a", namespace).public
            assert leads(snapshot, public("w://z")) == leads(snapshot, public("x://y")) == ("a", "x://y")
            assert leads(snapshot, public("w://s")) is None


def test_a_link_to_a_renamed_resource_in_a_definition_is_to_its_new_uri() -> None:
    renames = {Kind.RESOURCE: Filter(rename={"ui://w": "ui://v"})}
    tool = {"name": "t", "_meta": {"ui": {"resourceUri": "ui://w"}}}
    for namespace in ("a", ""):
        snapshot = build_snapshot([member("a", catalog(tools=[tool]), namespace, filters=renames)])
        (shown,) = json.loads(snapshot.listing(Kind.TOOL, Era.MODERN))
        assert shown["_meta"] == {"ui": {"resourceUri": Mount("a", namespace).public("ui://v")}}


def test_caching_is_as_long_as_the_shortest_and_public_if_all_are() -> None:
    def offered(ttl: int, private: set[Kind]) -> Catalog:
        return catalog(ttl={Kind.TOOL: ttl}, private=frozenset(private))

    both = build_snapshot([member("a", offered(5, set())), member("b", offered(3, set())), member("c", None)])
    assert both.caching(Kind.TOOL) == (3, True)
    assert both.caching(Kind.PROMPT) == (0, True)
    assert build_snapshot([member("a", offered(5, {Kind.TOOL})), member("b", offered(5, set()))]).caching(
        Kind.TOOL
    ) == (5, False)


def test_extensions_that_the_mesh_knows_pass_with_the_first_upstreams_settings() -> None:
    def offered(extensions: Any) -> Catalog:
        return catalog(capabilities={"extensions": extensions})

    upstreams = [
        member("a", catalog()),
        member("b", offered({EXTENSION_UI: {"first": 1}, "vendor/other": {}})),
        member("c", offered({EXTENSION_UI: {"second": 1}})),
        member("d", offered("odd")),
        member("e", None),
    ]
    assert build_snapshot(upstreams).extensions == {EXTENSION_UI: {"first": 1}}


def test_instructions_are_the_meshs_own_and_then_a_section_for_each_upstream() -> None:
    words = [
        member("a", catalog(instructions="Do A.")),
        member("b", catalog()),
        member("c", catalog(instructions="Do C."), ""),
    ]
    assert build_snapshot(words).instructions("First.") == "First.\n\n## a\n\nDo A.\n\n## c\n\nDo C."
    alone = member("a", catalog(instructions="x" * (INSTRUCTIONS_LIMIT + 1)), "")
    assert build_snapshot([alone, member("e", None)]).instructions(None) == f"## a\n\n{'x' * INSTRUCTIONS_LIMIT}"
    only = build_snapshot([member("a", catalog(instructions="Do A."), "")])
    assert only.instructions(None) == "Do A."
    assert build_snapshot([member("a", catalog())]).instructions(None) is None


def test_a_tools_annotated_arguments_are_known_to_its_route() -> None:
    schema = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
    snapshot = build_snapshot([member("a", catalog(tools=[{"name": "t", "inputSchema": schema}, "plain"]))])
    annotated, plain = snapshot.find(Kind.TOOL, "a_t"), snapshot.find(Kind.TOOL, "a_plain")
    assert annotated is not None
    assert annotated.headers
    assert plain is not None
    assert not plain.headers
    assert snapshot.annotated == {"a_t": schema}


def test_a_snapshot_came_through_every_mesh_that_its_upstreams_name() -> None:
    snapshot = build_snapshot(
        [
            member("a", catalog(trail=frozenset({"1", "2"}))),
            member("b", catalog(trail=frozenset({"2", "3"}))),
            member("c", catalog()),
            member("d", None),
        ]
    )
    assert snapshot.trail == {"1", "2", "3"}
    assert Snapshot().trail == frozenset()


def test_a_snapshot_with_something_that_is_each_visitors_own_says_so() -> None:
    common = member("docs", catalog(tools=["search"]))
    assert not build_snapshot([common]).is_personal
    snapshot = build_snapshot([common, replace(member("own", None), own=lambda _: common)])
    assert snapshot.is_personal
    # Nobody sees it as it is, so nothing of that one is in it.
    assert list(snapshot.routes[Kind.TOOL]) == ["docs_search"]
