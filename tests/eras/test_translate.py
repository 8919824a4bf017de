"""Between eras a result gains and loses what the era adds, and keeps the rest as it is spelled."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.eras.translate import ServerSignature, opened_result, outgoing, result_type, to_legacy, without_hop_meta
from meshproxy.errors import INTERNAL_ERROR, RpcError
from meshproxy.wire.codec import Raw, dumps, loads, shallow
from meshproxy.wire.protocol import (
    EXTENSION_TASKS,
    META_CAPABILITIES,
    META_CLIENT,
    META_LOG_LEVEL,
    META_PROGRESS,
    META_SERVER,
    META_SUBSCRIPTION,
    META_VERSION,
)

INFO = {"name": "mesh", "version": "1"}
STAMP = ServerSignature(INFO)
SCALARS = st.none() | st.integers() | st.text(max_size=3)
KEYS = st.sampled_from(["content", "_meta", "resultType", "ttlMs", "cacheScope", "x"])
RESULTS = st.dictionaries(
    KEYS, SCALARS | st.dictionaries(st.sampled_from(["k", META_SERVER, META_SUBSCRIPTION]), SCALARS)
)


@given(RESULTS, st.booleans(), st.sampled_from([None, 1]), st.sampled_from(["tools/call", "prompts/get"]))
def test_a_legacy_result_becomes_a_modern_one(
    result: dict[str, Any],
    cacheable: bool,  # noqa: FBT001  # hypothesis fills arguments by their place
    indent: int | None,
    method: str,
) -> None:
    _, read = opened_result(method, Raw(json.dumps(result, indent=indent).encode()))
    stamped = loads(dumps(STAMP.into({**read, "resultType": "complete"}, cacheable=cacheable)))
    assert stamped["resultType"] == "complete"
    meta = result.get("_meta") if isinstance(result.get("_meta"), dict) else {}
    kept = {key: value for key, value in (meta or {}).items() if key not in (META_SERVER, META_SUBSCRIPTION)}
    assert stamped["_meta"] == {**kept, META_SERVER: INFO}
    if cacheable:
        assert stamped["ttlMs"] == result.get("ttlMs", 0)
        assert stamped["cacheScope"] == result.get("cacheScope", "private")
    own = {"resultType", "_meta", *(("ttlMs", "cacheScope") if cacheable else ())}
    assert {key: value for key, value in stamped.items() if key not in own} == {
        key: value for key, value in result.items() if key not in own
    }


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"a":1.0e5}',
        b'{"content":[{"type":"text","text":"\\u00e9"},{"type": "text"},3],"isError":null}',
        b'{"structuredContent":[1.0],"_meta":{"b":"\\u00e9"},"resultType":"complete"}',
        b'{"content":"not a list","isError":1.0}',
        b'{"content":[],"vendor":{"x":1.0}}',
        b'{"content":[{"type":"text","text":"\\ud800"}]}',
    ],
)
def test_what_is_read_of_a_result_keeps_the_spelling_of_the_rest(method: str, text: bytes) -> None:
    alone, read = opened_result(method, Raw(text))
    assert bytes(alone) == dumps(read) == text


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
def test_members_that_follow_a_result_in_its_answer_are_not_part_of_it(method: str) -> None:
    alone, read = opened_result(method, Raw(b'{"content":[]} ,"x":{"y":1}'))
    assert bytes(alone).strip() == dumps(read) == b'{"content":[]}'


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
@pytest.mark.parametrize(
    "behind",
    [
        b',"id":77,"result":{"content":[]}',
        b',"result":{"content":[]}',
        b',"id":77',
        b',"\\u0069d":77',
        b',"jsonrpc":"2.0"',
        b',"x":1,"x":2',
        b',"error":{"code":1,"message":"no"}',
    ],
)
def test_an_answer_that_has_a_member_twice_or_two_outcomes_is_refused(method: str, behind: bytes) -> None:
    with pytest.raises(RpcError, match="cannot be read") as refused:
        opened_result(method, Raw(b'{"content":[]}' + behind))
    assert refused.value.code == INTERNAL_ERROR


@pytest.mark.parametrize("method", ["tools/call", "prompts/get"])
@pytest.mark.parametrize("text", [b"[]", b"3", b'{"content":[]', b'{"content":[]}}', b"{content}"])
def test_a_result_that_is_no_object_is_an_error_and_goes_nowhere(method: str, text: bytes) -> None:
    with pytest.raises(RpcError, match="cannot be read") as refused:
        opened_result(method, Raw(text))
    assert refused.value.code == INTERNAL_ERROR


def test_a_modern_result_loses_what_its_era_added() -> None:
    result = shallow(
        b'{"content":[1.0],"structuredContent":{"a": 1.0},"resultType":"complete","ttlMs":5,"cacheScope":"public",'
        b'"_meta":{"io.modelcontextprotocol/serverInfo":{},"k": 1.0}}'
    )
    assert to_legacy(result) == {
        "content": Raw(b"[1.0]"),
        "structuredContent": Raw(b'{"a": 1.0}'),
        "_meta": {"k": Raw(b"1.0")},
    }


@pytest.mark.parametrize("structured", [b"[1]", b"3", b"null", b'"x"'])
def test_structured_content_that_is_no_object_does_not_exist_in_the_legacy_era(structured: bytes) -> None:
    assert to_legacy(shallow(b'{"content":[],"structuredContent":%b}' % structured)) == {"content": Raw(b"[]")}
    assert to_legacy({"structuredContent": [1]}) == {}
    assert to_legacy({"structuredContent": {"a": 1}}) == {"structuredContent": {"a": 1}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"_meta": {"k": 1}}, {"_meta": {"k": 1}}),
        ({"_meta": {META_SERVER: {}, "k": 1}}, {"_meta": {"k": 1}}),
        ({"_meta": {META_SUBSCRIPTION: 1}}, {}),
        ({"_meta": 3}, {"_meta": 3}),
    ],
)
def test_metadata_of_a_connection_stays_on_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert without_hop_meta(dict(before)) == after


def test_what_goes_up_is_renamed_and_loses_what_belongs_to_the_other_connection() -> None:
    arguments = Raw(b'{"a": 1.0}')
    meta = {META_VERSION: "v", META_CAPABILITIES: {}, META_CLIENT: {}, META_LOG_LEVEL: "info", META_PROGRESS: 1}
    params = {
        "name": "ns_t",
        "arguments": arguments,
        "task": {"ttl": 1},
        "x": None,
        "_meta": {**meta, "traceparent": "t"},
    }
    before = dict(params)
    assert outgoing(params, {"name": "t"}) == {
        "name": "t",
        "arguments": arguments,
        "x": None,
        "_meta": {"traceparent": "t"},
    }
    assert params == before
    assert outgoing({"_meta": meta}, {}) == {}
    assert outgoing({"_meta": Raw(b'{"progressToken":1,"k":2}')}, {}) == {"_meta": {"k": Raw(b"2")}}
    assert outgoing({"_meta": 3}, {}) == {"_meta": 3}
    assert outgoing({"_meta": {"ProgressToken": 7, "io.ModelContextProtocol/logLevel": "debug", "K": 1}}, {}) == {
        "_meta": {"K": 1}
    }


@pytest.mark.parametrize("capabilities", [{}, {"extensions": {EXTENSION_TASKS: {}}}, {"extensions": Raw(b"{}")}])
def test_a_result_of_a_type_that_its_receiver_does_not_know_is_invalid(capabilities: dict[str, Any]) -> None:
    assert result_type({}, capabilities) == "complete"
    assert result_type({"resultType": Raw(b'"input_required"')}, capabilities) == "input_required"
    for odd in ("odd", Raw(b"3"), None, Raw(b"[]"), {}):
        with pytest.raises(RpcError, match="unknown type") as refused:
            result_type({"resultType": odd}, capabilities)
        assert refused.value.code == INTERNAL_ERROR
    if EXTENSION_TASKS in str(capabilities):
        assert result_type({"resultType": "task"}, capabilities) == "task"
    else:
        with pytest.raises(RpcError, match="unknown type 'task'"):
            result_type({"resultType": "task"}, capabilities)
