"""Headers that repeat the body: written and read alike here and by the SDK, and refused where they disagree."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound
from meshproxy.errors import HEADER_MISMATCH, INVALID_PARAMS, UNSUPPORTED_VERSION
from meshproxy.wire.headers import (
    check_agreement,
    check_envelope,
    decode_header_value,
    encode_header_value,
    find_invalid_annotation,
    param_header_map,
    param_headers,
    unsupported_version,
    validate_param_headers,
)
from meshproxy.wire.protocol import LATEST_MODERN, META_CAPABILITIES, META_VERSION

META = {META_VERSION: LATEST_MODERN, META_CAPABILITIES: {}}


def annotated(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@given(st.text())
def test_a_header_value_comes_back_as_it_was_and_as_the_sdk_writes_it(value: str) -> None:
    encoded = encode_header_value(value)
    assert decode_header_value(encoded) == value
    assert encoded == inbound.encode_header_value(value)


@given(st.text(st.characters(codec="ascii")) | st.from_regex(r"=\?base64\?[!-~]*\?=", fullmatch=True))
def test_a_header_value_is_read_as_the_sdk_reads_it(value: str) -> None:
    assert decode_header_value(value) == inbound.decode_header_value(value)


@pytest.mark.parametrize("value", ["=?base64?!?=", "=?base64?YR==?=", "=?base64?/w==?=", "=?base64?\xff?="])
def test_a_malformed_base64_value_equals_nothing(value: str) -> None:
    assert decode_header_value(value) is None


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (None, None),
        ({}, None),
        (annotated(a={"type": "string", "x-mcp-header": "A"}, b=1), None),
        (annotated(a=annotated(b={"type": "integer", "x-mcp-header": "A"})), None),
        ({"default": {"x-mcp-header": 1}, "enum": [{"x-mcp-header": 1}]}, None),
        ({"allOf": 1, "$defs": 1, "properties": 1}, None),
        ({"x-mcp-header": "A"}, "reached"),
        ({"items": {"x-mcp-header": "A", "type": "string"}}, "reached"),
        ({"allOf": [{"x-mcp-header": "A", "type": "string"}]}, "reached"),
        ({"$defs": {"a": {"x-mcp-header": "A", "type": "string"}}}, "reached"),
        ({"not": annotated(a={"x-mcp-header": "A", "type": "string"})}, "reached"),
        (annotated(a={"type": "string", "x-mcp-header": ""}), "token"),
        (annotated(a={"type": "string", "x-mcp-header": "a b"}), "token"),
        (annotated(a={"type": "string", "x-mcp-header": 1}), "token"),
        (annotated(a={"type": "number", "x-mcp-header": "A"}), "only for"),
        (annotated(a={"type": ["string"], "x-mcp-header": "A"}), "only for"),
        (annotated(a={"x-mcp-header": "A"}), "only for"),
        (annotated(a={"type": "string", "x-mcp-header": "A"}, b={"type": "string", "x-mcp-header": "a"}), "taken"),
    ],
)
def test_an_annotation_is_valid_where_the_sdk_says_so(schema: Any, problem: str | None) -> None:
    found = find_invalid_annotation(schema)
    assert (found is None) == (inbound.find_invalid_x_mcp_header(schema) is None)
    assert problem is None if found is None else problem is not None and problem in found
    if problem is not None:
        assert param_header_map(schema) == {}
        assert validate_param_headers(schema, {}, []) is None


SCHEMA = annotated(
    region={"type": "string", "x-mcp-header": "Region"},
    count={"type": "integer", "x-mcp-header": "Count"},
    dry={"type": "boolean", "x-mcp-header": "Dry"},
    deep=annotated(er={"type": "string", "x-mcp-header": "Deeper"}),
)


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, {}),
        (None, {}),
        ({"region": None, "deep": 1}, {}),
        ({"region": "eu", "count": 3, "dry": True}, {"Region": "eu", "Count": "3", "Dry": "true"}),
        ({"dry": False, "deep": {"er": "ü"}}, {"Dry": "false", "Deeper": "=?base64?w7w=?="}),
        ({"region": ["eu"], "count": 10**5000}, {}),
    ],
)
def test_annotated_arguments_become_headers_that_validate(arguments: Any, headers: dict[str, str]) -> None:
    made = param_headers(param_header_map(SCHEMA), arguments)
    assert made == {f"Mcp-Param-{token}": value for token, value in headers.items()}
    if arguments is not None:
        assert made == inbound.mcp_param_headers(inbound.x_mcp_header_map(SCHEMA), arguments)
    assert validate_param_headers(SCHEMA, arguments, [(name.lower(), value) for name, value in made.items()]) is None


@pytest.mark.parametrize(
    ("arguments", "headers", "problem"),
    [
        ({"region": "eu"}, [], "missing"),
        ({}, [("mcp-param-region", "eu")], "absent"),
        ({"region": None}, [("mcp-param-region", "eu")], "absent"),
        ({"region": "eu"}, [("mcp-param-region", "us")], "match"),
        ({"region": "eu"}, [("mcp-param-region", "=?base64?!?=")], "malformed"),
        ({"region": "eu"}, [("mcp-param-region", "eu")] * 2, "more than once"),
        ({"region": "42"}, [("mcp-param-region", "42.0")], "match"),
        ({"region": "eu"}, [("mcp-param-region", "eu"), ("mcp-param-other", "1"), ("mcp-param-other", "2")], None),
        ({"count": 42}, [("mcp-param-count", "42.0")], None),
        ({"count": 42.0}, [("mcp-param-count", "42")], None),
        ({"count": 42}, [("mcp-param-count", "43")], "match"),
        ({"count": 42.5}, [("mcp-param-count", "42")], "match"),
        ({"count": 42}, [("mcp-param-count", "4.2e1")], "match"),
        ({"count": 42}, [("mcp-param-count", "1" * 5000)], "match"),
        ({"dry": True}, [("mcp-param-dry", "1")], "match"),
    ],
)
def test_headers_and_arguments_agree_or_the_call_is_refused(
    arguments: Any, headers: list[tuple[str, str]], problem: str | None
) -> None:
    error = validate_param_headers(SCHEMA, arguments, headers)
    if problem is None:
        assert error is None
    else:
        assert error is not None
        assert error.code == HEADER_MISMATCH
        assert problem in error.message


@pytest.mark.parametrize(
    ("method", "params", "headers", "code", "problem"),
    [
        ("tools/list", {"_meta": META}, (LATEST_MODERN, "tools/list", None), None, ""),
        ("tools/call", {"_meta": META, "name": "a"}, (LATEST_MODERN, "tools/call", "a"), None, ""),
        ("tools/call", {"_meta": META, "name": "ü"}, (LATEST_MODERN, "tools/call", "=?base64?w7w=?="), None, ""),
        ("tools/call", {"_meta": META}, (LATEST_MODERN, "tools/call", None), None, ""),
        ("resources/read", {"_meta": META, "uri": "a:b"}, (LATEST_MODERN, "resources/read", "a:b"), None, ""),
        ("tools/call", {"_meta": META, "name": "a"}, (LATEST_MODERN, "tools/call", None), HEADER_MISMATCH, "mcp-name"),
        ("tools/call", {"_meta": META, "name": "a"}, (LATEST_MODERN, "tools/call", "A"), HEADER_MISMATCH, "mcp-name"),
        ("tools/list", {"_meta": META}, (LATEST_MODERN, None, None), HEADER_MISMATCH, "missing"),
        ("tools/list", {"_meta": META}, (LATEST_MODERN, "TOOLS/LIST", None), HEADER_MISMATCH, "mcp-method"),
        ("tools/list", {"_meta": META}, ("2030-01-01", "tools/list", None), HEADER_MISMATCH, "mcp-protocol-version"),
        ("tools/list", {"_meta": META}, (None, "tools/list", None), HEADER_MISMATCH, "mcp-protocol-version"),
        ("tools/list", {}, (LATEST_MODERN, "tools/list", None), INVALID_PARAMS, META_VERSION),
        ("tools/list", {"_meta": 1}, (LATEST_MODERN, "tools/list", None), INVALID_PARAMS, META_CAPABILITIES),
        (
            "tools/list",
            {"_meta": {META_VERSION: LATEST_MODERN}},
            (LATEST_MODERN, "tools/list", None),
            INVALID_PARAMS,
            "clientC",
        ),
        (
            "tools/list",
            {"_meta": {**META, META_CAPABILITIES: 1}},
            (LATEST_MODERN, "tools/list", None),
            INVALID_PARAMS,
            "object",
        ),
        (
            "tools/list",
            {"_meta": {**META, META_VERSION: "2030-01-01"}},
            ("2030-01-01", "tools/list", None),
            UNSUPPORTED_VERSION,
            "",
        ),
    ],
)
def test_a_modern_request_is_checked_in_the_order_of_the_specification(
    method: str,
    params: dict[str, Any],
    headers: tuple[str | None, str | None, str | None],
    code: int | None,
    problem: str,
) -> None:
    error = check_agreement(method, params, *headers)
    assert (error.code if error is not None else None) == code
    assert error is None or problem in error.message
    names = ("mcp-protocol-version", "mcp-method", "mcp-name")
    sdk = inbound.classify_inbound_request(
        {"method": method, "params": params},
        headers={name: value for name, value in zip(names, headers, strict=True) if value is not None},
    )
    if problem != "object":  # the SDK leaves that to its models, which refuse it alike
        assert getattr(sdk, "code", None) == code


def test_an_envelope_without_headers_is_checked_alike() -> None:
    assert check_envelope(META) is None
    missing, foreign = check_envelope({}), check_envelope({**META, META_VERSION: "2024-11-05"})
    assert missing is not None
    assert missing.code == INVALID_PARAMS
    assert foreign is not None
    assert foreign.code == UNSUPPORTED_VERSION
    assert foreign.data == {"supported": [LATEST_MODERN], "requested": "2024-11-05"}
    number = unsupported_version(20260728)
    assert number is not None
    assert number.code == INVALID_PARAMS
