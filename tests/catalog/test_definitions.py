"""A listed definition is made such that strict clients can take it, with as little changed as can be, or it is left out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import ListPromptsResult, ListResourcesResult, ListResourceTemplatesResult, ListToolsResult
from mcp_types import _v2025_11_25 as legacy
from mcp_types import _v2026_07_28 as modern
from meshproxy.catalog.definitions import check_definition, with_object_schemas
from meshproxy.kinds import KINDS, Kind

OBJECT = {"type": "object"}

WHOLE: dict[Kind, dict[str, Any]] = {
    Kind.TOOL: {
        "name": "t",
        "title": "T",
        "description": "what it does",
        "icons": [{"src": "https://h/i", "mimeType": "image/png", "sizes": ["any"], "theme": "dark"}],
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": True},
            "required": ["a"],
            "anyOf": [{"required": ["a"]}],
        },
        "outputSchema": {"type": "object", "properties": {}},
        "annotations": {"title": "A", "readOnlyHint": True, "x-vendor": None},
        "execution": {"taskSupport": "optional"},
        "_meta": {"any": None},
        "x-vendor": None,
    },
    Kind.RESOURCE: {
        "uri": "x://y",
        "name": "y",
        "size": 3,
        "mimeType": "text/plain",
        "annotations": {
            "audience": ["user", "assistant"],
            "priority": 0.5,
            "lastModified": "2026-01-31T09:00:00.5+01:00",
        },
    },
    Kind.TEMPLATE: {
        "uriTemplate": "x://{y}",
        "name": "",
        "annotations": {"priority": 1, "lastModified": "2026-01-31T09:00Z"},
    },
    Kind.PROMPT: {"name": "p", "arguments": [{"name": "a", "title": "A", "description": "d", "required": False}]},
}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_right_is_the_same_object(kind: Kind) -> None:
    checked = check_definition(kind, WHOLE[kind])
    assert checked.definition is WHOLE[kind]
    assert checked.faults == ()


def mended(kind: Kind, **members: Any) -> Any:
    """The sound members of a definition with these in it, and what is said of them."""
    key = KINDS[kind].key
    given = {
        key: "k",
        **({"name": "k"} if key != "name" else {}),
        **({"inputSchema": OBJECT} if kind is Kind.TOOL else {}),
    }
    definition, faults = check_definition(kind, {**given, **members})
    return definition and {name: value for name, value in definition.items() if given.get(name) != value}, list(faults)


@pytest.mark.parametrize(
    ("members", "left", "faults"),
    [
        # The schema of the arguments, which are an object anyway.
        ({"inputSchema": {}}, {}, ["inputSchema.type is missing"]),
        ({"inputSchema": None}, {}, ["inputSchema is null"]),
        ({"inputSchema": []}, {}, ["inputSchema is an array"]),
        ({"inputSchema": {"type": None}}, {}, ["inputSchema.type is null and not object"]),
        ({"inputSchema": {"type": ["object", "null"]}}, {}, ["inputSchema.type is an array and not object"]),
        (
            {"inputSchema": {"anyOf": [OBJECT, OBJECT]}},
            {"inputSchema": {"anyOf": [OBJECT, OBJECT], "type": "object"}},
            ["inputSchema.type is missing"],
        ),
        (
            {"inputSchema": {**OBJECT, "properties": []}},
            {"inputSchema": {**OBJECT, "properties": {}}},
            ["inputSchema.properties is an array and not an object"],
        ),
        ({"inputSchema": {**OBJECT, "properties": None}}, {}, ["inputSchema.properties is null and not an object"]),
        (
            {"inputSchema": {**OBJECT, "properties": {"a": {}, "required": ["a"], "b": None}}},
            {"inputSchema": {**OBJECT, "properties": {"a": {}}}},
            [
                "inputSchema.properties.required is an array and not a schema",
                "inputSchema.properties.b is null and not a schema",
            ],
        ),
        ({"inputSchema": {**OBJECT, "required": None}}, {}, ["inputSchema.required is null and not an array"]),
        (
            {"inputSchema": {**OBJECT, "required": ["a", 3]}},
            {"inputSchema": {**OBJECT, "required": ["a"]}},
            ["an item of inputSchema.required is a number and not a string"],
        ),
        ({"inputSchema": {**OBJECT, "$schema": 7}}, {}, ["inputSchema.$schema is a number and not a string"]),
        # What may be absent.
        ({"description": 5}, {}, ["description is a number and not a string"]),
        ({"title": None, "icons": None}, {}, ["title is null and not a string", "icons is null and not an array"]),
        ({"icons": [{"src": "a"}, {}, 3]}, {"icons": [{"src": "a"}]}, ["an item of icons.src is missing", "an item of icons is a number and not an object"]),
        ({"icons": [{"src": "a", "theme": "auto"}]}, {"icons": [{"src": "a"}]}, ["an item of icons.theme is a string and not light or dark"]),
        ({"annotations": []}, {}, ["annotations is an array and not an object"]),
        ({"annotations": {"title": "A", "readOnlyHint": "yes"}}, {"annotations": {"title": "A"}}, ["annotations.readOnlyHint is a string and not true or false"]),
        ({"outputSchema": None}, {}, ["outputSchema is null and not an object"]),
        ({"outputSchema": True}, {}, ["outputSchema is true and not an object"]),
        ({"outputSchema": {"type": "array"}}, {"outputSchema": {"type": "array"}}, []),
        ({"outputSchema": {**OBJECT, "properties": []}}, {"outputSchema": {**OBJECT, "properties": {}}}, ["outputSchema.properties is an array and not an object"]),
        ({"_meta": ""}, {}, ["_meta is an empty string and not an object"]),
    ],
)  # fmt: skip
def test_a_part_of_a_tool_that_is_wrong_costs_that_part(
    members: dict[str, Any], left: dict[str, Any], faults: list[str]
) -> None:
    assert mended(Kind.TOOL, **members) == (left, faults)


@pytest.mark.parametrize(
    ("kind", "members", "left", "faults"),
    [
        (Kind.RESOURCE, {"name": None}, {}, ["name is null and not a string"]),
        (Kind.TEMPLATE, {"name": 3}, {}, ["name is a number and not a string"]),
        (Kind.RESOURCE, {"size": 1.5}, {}, ["size is a number and not a whole number"]),
        (Kind.RESOURCE, {"annotations": {"audience": "user"}}, {"annotations": {}}, ["annotations.audience is a string and not an array"]),
        (Kind.RESOURCE, {"annotations": {"audience": ["user", "system"]}}, {"annotations": {"audience": ["user"]}}, ["an item of annotations.audience is a string and not user or assistant"]),
        (Kind.RESOURCE, {"annotations": {"priority": 7}}, {"annotations": {}}, ["annotations.priority is a number and not a number from 0 to 1"]),
        (Kind.RESOURCE, {"annotations": {"lastModified": "2026-01-31"}}, {"annotations": {}}, ["annotations.lastModified is a string and not a time with its offset"]),
        (Kind.RESOURCE, {"annotations": {"lastModified": "2026-02-31T09:00:00Z"}}, {"annotations": {}}, ["annotations.lastModified is a string and not a time with its offset"]),
        (Kind.PROMPT, {"arguments": None}, {}, ["arguments is null and not an array"]),
        (Kind.PROMPT, {"arguments": {}}, {}, ["arguments is an object and not an array"]),
        (Kind.PROMPT, {"arguments": [{"name": "a", "required": "no"}, {"description": "d"}]}, {"arguments": [{"name": "a"}]}, ["an item of arguments.required is a string and not true or false", "an item of arguments.name is missing"]),
    ],
)  # fmt: skip
def test_a_part_of_another_definition_that_is_wrong_costs_that_part(
    kind: Kind, members: dict[str, Any], left: dict[str, Any], faults: list[str]
) -> None:
    assert mended(kind, **members) == (left, faults)


def test_what_is_not_named_is_named_as_it_is_identified() -> None:
    assert check_definition(Kind.RESOURCE, {"uri": "x://y"}) == (
        {"uri": "x://y", "name": "x://y"},
        ("name is missing",),
    )
    assert check_definition(Kind.TEMPLATE, {"name": [], "uriTemplate": "x://{y}"}).definition == {
        "uriTemplate": "x://{y}",
        "name": "x://{y}",
    }
    assert check_definition(Kind.TOOL, {"name": "t"}) == (
        {"name": "t", "inputSchema": OBJECT},
        ("inputSchema is missing",),
    )


@pytest.mark.parametrize(
    ("kind", "definition", "reason"),
    [
        (Kind.TOOL, "t", "it is a string and no object"),
        (Kind.TOOL, {"inputSchema": OBJECT}, "name is missing"),
        (Kind.PROMPT, {"name": 3}, "name is a number and not a string"),
        (Kind.RESOURCE, {"name": "y"}, "uri is missing"),
        (Kind.TEMPLATE, {"name": "y", "uriTemplate": False}, "uriTemplate is false and not a string"),
        (Kind.TOOL, {"name": "t", "inputSchema": "{}"}, "inputSchema is a string and not an object"),
        (
            Kind.TOOL,
            {"name": "t", "inputSchema": {"type": "string"}},
            "inputSchema is the schema of something else than an object: its type is 'string'",
        ),
    ],
)
def test_what_cannot_be_put_right_is_left_out(kind: Kind, definition: Any, reason: str) -> None:
    checked = check_definition(kind, definition)
    assert checked.definition is None
    assert checked.faults[-1] == reason


def test_true_and_false_are_schemas_that_can_be_spelled_as_objects() -> None:
    schema = {"properties": {"a": True, "b": False, "c": {"type": "string"}}}
    assert with_object_schemas(schema) == {"properties": {"a": {}, "b": {"not": {}}, "c": {"type": "string"}}}
    for sound in ({}, {"properties": {"c": {}}}, {"properties": 3}):
        assert with_object_schemas(sound) is sound


MODELS: dict[Kind, tuple[Any, ...]] = {
    Kind.TOOL: (ListToolsResult, legacy.ListToolsResult, modern.ListToolsResult),
    Kind.RESOURCE: (ListResourcesResult, legacy.ListResourcesResult, modern.ListResourcesResult),
    Kind.TEMPLATE: (
        ListResourceTemplatesResult,
        legacy.ListResourceTemplatesResult,
        modern.ListResourceTemplatesResult,
    ),
    Kind.PROMPT: (ListPromptsResult, legacy.ListPromptsResult, modern.ListPromptsResult),
}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.just(0.5), st.sampled_from(["", "a", "object", "user"])
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(sorted({
    "name", "src", "sizes", "theme", "type", "properties", "required", "audience", "priority", "lastModified", "title",
    "readOnlyHint", "$schema", "description",
})), inner, max_size=4), max_leaves=6)  # fmt: skip


@given(st.data(), st.sampled_from(list(Kind)))
def test_whatever_is_listed_is_taken_by_the_clients_of_the_sdk(data: st.DataObject, kind: Kind) -> None:
    members = sorted({*WHOLE[kind], "title", "description", "icons", "annotations", "_meta", KINDS[kind].key})
    definition = data.draw(st.dictionaries(st.sampled_from(members), VALUES, max_size=6)) | {KINDS[kind].key: "k"}
    sound = check_definition(kind, definition).definition
    if sound is not None:
        # A legacy listing has no schema of anything but an object, which the snapshot sees to, and a mesh lists no `execution`.
        shown = {key: value for key, value in sound.items() if key != "execution"}
        if shown.get("outputSchema", {}).get("type") != "object":
            shown.pop("outputSchema", None)
        page = {KINDS[kind].items: [shown], "ttlMs": 0, "cacheScope": "private", "resultType": "complete"}
        for model in MODELS[kind]:
            model.model_validate(page, by_name=False)
