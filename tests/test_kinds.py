"""The table of kinds is whole, and the ways into it agree."""

from meshproxy.kinds import BY_CHANGED, BY_LIST_METHOD, KINDS, Kind


def test_every_kind_has_one_row_in_the_order_of_the_kinds() -> None:
    assert [spec.kind for spec in KINDS.values()] == list(KINDS) == list(Kind)


def test_what_tells_kinds_apart_is_unique_to_each() -> None:
    for column in ("plural", "list_method", "items", "kind"):
        assert len({getattr(spec, column) for spec in KINDS.values()}) == len(Kind)


def test_a_kind_is_found_by_the_method_that_lists_it() -> None:
    assert {method: spec.kind for method, spec in BY_LIST_METHOD.items()} == {
        spec.list_method: kind for kind, spec in KINDS.items()
    }


def test_resources_and_templates_share_what_says_that_they_changed() -> None:
    assert {changed: [spec.kind for spec in specs] for changed, specs in BY_CHANGED.items()} == {
        "notifications/tools/list_changed": [Kind.TOOL],
        "notifications/resources/list_changed": [Kind.RESOURCE, Kind.TEMPLATE],
        "notifications/prompts/list_changed": [Kind.PROMPT],
    }


def test_only_a_kind_that_is_found_by_its_uri_is_used_by_its_uri() -> None:
    for spec in KINDS.values():
        assert spec.by_uri == (spec.use_key == "uri") == spec.key.startswith("uri")
