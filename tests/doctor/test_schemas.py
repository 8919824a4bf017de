"""Which schemas a model's provider refuses, and which it takes."""

from typing import Any

import pytest
from meshproxy.doctor.schemas import refusals

Json = dict[str, Any]


def with_property(schema: Any, **more: Any) -> Json:
    return {"type": "object", "properties": {"a": schema}, **more}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        with_property({"type": "array", "items": {}}),
        with_property({"type": "array", "prefixItems": [{"type": "string"}]}),
        with_property({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        with_property({"$ref": "#/$defs/one~1two"}, **{"$defs": {"one/two": {"type": "string"}}}),
        with_property({"$ref": "#here"}, **{"$defs": {"x": {"$anchor": "here"}}}),
        with_property({"$ref": "#"}),
        with_property({"$ref": "#/$defs/x/anyOf/0"}, **{"$defs": {"x": {"anyOf": [{"type": "string"}]}}}),
        with_property(True),
        # What only looks like a schema is data.
        with_property({"type": "object", "default": {"type": "array"}, "examples": [{"$ref": "nowhere"}]}),
    ],
    ids=str,
)
def test_what_models_take_is_no_finding(schema: Json) -> None:
    assert list(refusals(schema)) == []


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "is no object"),
        ({}, "has no type: object at its top"),
        ({"type": "object", "oneOf": [{}], "allOf": [{}]}, "has oneOf and allOf at its top"),
        (
            with_property({"type": "array"}),
            "has an array without items, which OpenAI and Gemini refuse, at #/properties/a",
        ),
        (with_property({"type": ["array", "null"]}), "has an array without items"),
        (with_property({"items": {"type": "array"}, "type": "array"}), "at #/properties/a/items"),
        (with_property({"anyOf": [{"type": "array"}]}), "at #/properties/a/anyOf/0"),
        (with_property({"enum": []}), "has an enum without a value at #/properties/a"),
        (with_property({"$ref": "https://example.com/x.json"}), "refers to another document"),
        (with_property({"$ref": "#/$defs/x"}), "refers to #/$defs/x, which is not there, at #/properties/a"),
        (with_property({"$ref": "#x"}), "refers to #x, which is not there"),
        (with_property({"$ref": "#/properties/b/0"}, required=["b"]), "which is not there"),
        ({"type": "object", "properties": {"user id": {}}}, "at #: 'user id'"),
        ({"type": "object", "properties": {"x" * 65: {}}}, "has a property whose name Anthropic refuses"),
        (with_property({"type": "integer", "exclusiveMinimum": True}), "at #/properties/a/exclusiveMinimum"),
        (with_property({"type": "text"}), "is no valid JSON Schema (2020-12)"),
        ({"type": "object", "required": "a"}, "is no valid JSON Schema (2020-12)"),
    ],
    ids=str,
)
def test_what_they_refuse_is_said_with_its_place(schema: Any, why: str) -> None:
    [found] = list(refusals(schema))
    assert why in found


def test_each_rule_is_said_once_however_often_it_is_broken() -> None:
    schema = {"type": "object", "properties": {name: {"type": "array"} for name in "abc"}}
    assert len(list(refusals(schema))) == 1
