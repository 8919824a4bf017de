import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.catalog.rewrite import may_have_links, rewrite_answer, rewrite_definition, rewrite_question
from meshproxy.naming import origin_uri, public_uri
from meshproxy.wire.codec import Raw, dumps, loads, shallow


def public(uri):
    return public_uri("docs", uri)


def origin(uri):
    return origin_uri("docs", uri)


LINK = {"type": "resource_link", "uri": "test://a", "name": "a"}
EMBEDDED = {"type": "resource", "resource": {"uri": "file:///a", "text": "test://a"}}
TEXT = {"type": "text", "text": "test://a", "uri": "test://a"}
APP = {"ui": {"resourceUri": "ui://app", "visibility": ["model"]}, "ui/resourceUri": "ui://app", "uri": "test://a"}

PUBLIC_LINK = {**LINK, "uri": "test://docs/a"}
PUBLIC_EMBEDDED = {"type": "resource", "resource": {"uri": "file://docs/a", "text": "test://a"}}
PUBLIC_APP = {**APP, "ui": {**APP["ui"], "resourceUri": "ui://docs/app"}, "ui/resourceUri": "ui://docs/app"}


def sampling(*blocks):
    return {"messages": [{"role": "user", "content": list(blocks)}, {"role": "user", "content": blocks[0]}]}


def asked(*blocks):
    return {"inputRequests": {"q": {"method": "sampling/createMessage", "params": sampling(*blocks)}}}


def answered(*blocks):
    form = {"action": "accept", "content": {"type": "resource_link", "uri": "test://a"}}
    return {"inputResponses": {"q": {"role": "assistant", "content": list(blocks)}, "form": form, "roots": None}}


# Every place where a link may stand: the same payload at its upstream and in the mesh.
ANSWERS = [
    ("tools/call", {"content": [LINK, TEXT, EMBEDDED]}, {"content": [PUBLIC_LINK, TEXT, PUBLIC_EMBEDDED]}),
    ("tools/call", {"content": [], "_meta": APP}, {"content": [], "_meta": PUBLIC_APP}),
    ("tools/call", asked(LINK, EMBEDDED), asked(PUBLIC_LINK, PUBLIC_EMBEDDED)),
    ("prompts/get", {"messages": [{"content": LINK}]}, {"messages": [{"content": PUBLIC_LINK}]}),
    ("prompts/get", {"messages": [{"content": [EMBEDDED]}]}, {"messages": [{"content": [PUBLIC_EMBEDDED]}]}),
    ("resources/read", {"contents": [{"uri": "urn:x"}]}, {"contents": [{"uri": "mesh://docs/urn:x"}]}),
    ("resources/read", asked(LINK), asked(PUBLIC_LINK)),
    ("tasks/get", {"result": {"content": [LINK]}}, {"result": {"content": [PUBLIC_LINK]}}),
    ("sampling/createMessage", {"content": LINK, "model": "m"}, {"content": PUBLIC_LINK, "model": "m"}),
    (
        "sampling/createMessage",
        {"content": [{"type": "tool_result", "toolUseId": "1", "content": [EMBEDDED]}]},
        {"content": [{"type": "tool_result", "toolUseId": "1", "content": [PUBLIC_EMBEDDED]}]},
    ),
]
QUESTIONS = [
    ("sampling/createMessage", sampling(LINK, EMBEDDED), sampling(PUBLIC_LINK, PUBLIC_EMBEDDED)),
    ("tools/call", {"name": "n", **answered(LINK)}, {"name": "n", **answered(PUBLIC_LINK)}),
    ("prompts/get", answered(EMBEDDED), answered(PUBLIC_EMBEDDED)),
    ("resources/read", answered(LINK), answered(PUBLIC_LINK)),
    ("tasks/update", answered(LINK), answered(PUBLIC_LINK)),
    ("notifications/resources/updated", {"uri": "test://a"}, {"uri": "test://docs/a"}),
    ("notifications/tasks", {"result": {"content": [LINK]}}, {"result": {"content": [PUBLIC_LINK]}}),
]
ROWS = [
    *((rewrite_answer, method, there, here) for method, there, here in ANSWERS),
    *((rewrite_question, method, there, here) for method, there, here in QUESTIONS),
]


@pytest.mark.parametrize(
    "form", [lambda value: Raw(dumps(value)), lambda value: shallow(dumps(value)), lambda value: value]
)
@pytest.mark.parametrize(("rewrite", "method", "there", "here"), ROWS)
def test_a_link_is_rewritten_wherever_it_stands_and_in_either_direction(rewrite, method, there, here, form):
    before = dumps(there)
    assert loads(dumps(rewrite(method, form(there), public))) == here
    assert loads(dumps(rewrite(method, form(here), origin))) == there
    assert dumps(there) == before  # nothing is changed in place


@pytest.mark.parametrize("opened", [True, False])
def test_a_definition_keeps_everything_but_the_link_to_its_app(opened):
    definition = {"name": "draw", "uri": "test://a", "_meta": APP if opened else Raw(dumps(APP)), "inputSchema": {}}
    rewritten = rewrite_definition(definition, public)
    assert loads(dumps(rewritten)) == {**definition, "_meta": PUBLIC_APP}
    assert definition["_meta"] is not rewritten["_meta"]


def test_a_definition_without_an_app_is_the_same_object():
    definition = {"name": "draw", "_meta": {"vendor": 1}}
    assert rewrite_definition(definition, public) is definition


@pytest.mark.parametrize(
    ("method", "result"),
    [
        ("tools/call", {"structuredContent": {"content": [LINK]}, "content": [TEXT]}),
        ("tools/call", {"content": [], "resource": LINK}),
        ("tools/call", {"content": [{"type": "video", "resource": {"uri": "test://a"}}]}),
        ("tools/call", {"content": [{"type": "resource_link", "uri": "https://a/b"}]}),
        ("tools/call", {"inputRequests": {"q": {"method": "elicitation/create", "params": sampling(LINK)}}}),
        ("tools/list", {"tools": [{"_meta": APP}]}),
        ("roots/list", {"roots": [{"uri": "file:///home"}]}),
    ],
)
@pytest.mark.parametrize(
    "form", [lambda value: Raw(dumps(value)), lambda value: shallow(dumps(value)), lambda value: value]
)
def test_what_is_no_link_of_the_protocol_is_the_same_object(method, result, form):
    payload = form(result)
    assert rewrite_answer(method, payload, public) is payload


MALFORMED = rb"""
null
[]
"resource_link"
{}
{"content":null}
{"content":[null,1,"resource",[]]}
{"content":[{"type":"resource_link"}]}
{"content":[{"type":["resource"]}]}
{"content":[{"type":"resource_link","uri":7}]}
{"content":[{"type":"resource","resource":"test://a"}]}
{"messages":{"content":{"type":"resource_link","uri":"test://a"}}}
{"contents":{"uri":"test://a"}}
{"_meta":{"ui":"ui://resource","ui/resourceUri":null}}
{"inputRequests":["resource"]}
{"inputResponses":{"resource":null}}
{"resource
""".split(b"\n")[1:-1]
NOT_UTF_8 = [b'{"content":[{"type":"resource_link","uri":"\xff"}]}', b'{"content":[{"type":"resource\xff"}]}']


@pytest.mark.parametrize("text", [*MALFORMED, *NOT_UTF_8])
def test_a_malformed_payload_passes_as_it_is(text):
    raw = Raw(text)
    for method in ("tools/call", "prompts/get", "resources/read", "sampling/createMessage"):
        assert rewrite_answer(method, raw, public) is raw
        assert rewrite_question(method, raw, public) is raw


def test_a_block_by_itself_is_content_of_a_message_but_not_of_a_tool_result():
    raw = Raw(dumps({"content": LINK}))
    assert rewrite_answer("tools/call", raw, public) is raw
    assert loads(rewrite_answer("sampling/createMessage", raw, public)) == {"content": PUBLIC_LINK}


def test_beside_a_link_every_byte_stays():
    before = rb'{"x":1.0e5,"content":[{"type":"text","text":"\u00e9\/ \ud800","n":1E400},{"uri":"a://b","type":"resource_link","z":null,"k":-0}]}'
    after = rb'{"x":1.0e5,"content":[{"type":"text","text":"\u00e9\/ \ud800","n":1E400},{"uri":"a://docs/b","type":"resource_link","z":null,"k":-0}]}'
    assert bytes(rewrite_answer("tools/call", Raw(before), public)) == after


def test_escapes_do_not_hide_a_link():
    before = rb'{"content":[{"typ\u0065":"r\u0065source_link","\u0075ri":"a:\/\/b"}]}'
    assert loads(rewrite_answer("tools/call", Raw(before), public))["content"][0]["uri"] == "a://docs/b"


def test_a_uri_with_a_lone_surrogate_is_rewritten_beside_numbers_that_stay():
    before = rb'{"contents":[{"uri":"a://\ud800","n":1E400}]}'
    assert (
        bytes(rewrite_answer("resources/read", Raw(before), public))
        == rb'{"contents":[{"uri":"a://docs/\ud800","n":1E400}]}'
    )


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text() | st.sampled_from(
    ["uri", "type", "resource", "text", "content", "_meta", "ui", "resourceUri", "test://a"]
)
JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)
METHODS = st.sampled_from(sorted({method for _, method, _, _ in ROWS}))
KEYS = st.sampled_from(["content", "messages", "contents", "_meta", "inputRequests", "inputResponses", "result", "uri"])
PAYLOADS = st.dictionaries(KEYS | WORDS, JSON)
BLOCKS = st.builds(
    lambda extra, block: {**extra, **block},
    st.dictionaries(st.text(), JSON, max_size=3),
    st.sampled_from([LINK, EMBEDDED, {"type": "text", "text": "test://a"}, {"type": "novel", "uri": "test://a"}]),
)


@given(METHODS, PAYLOADS)
def test_bytes_without_links_to_change_come_out_as_they_went_in(method, payload):
    raw = Raw(json.dumps(payload, ensure_ascii=False, indent=1).encode("utf-8"))
    assert rewrite_answer(method, raw, str) is raw  # a mapping that keeps every URI
    assert rewrite_question(method, raw, str) is raw


@given(METHODS, PAYLOADS)
def test_any_json_goes_to_the_mesh_and_back_unchanged(method, payload):
    raw = Raw(json.dumps(payload).encode())
    for rewrite in (rewrite_answer, rewrite_question):
        assert json.loads(bytes(rewrite(method, rewrite(method, raw, public), origin))) == payload


@given(st.lists(BLOCKS), PAYLOADS.filter(lambda payload: not {"_meta", "inputRequests"} & payload.keys()))
def test_of_random_content_only_the_links_change(blocks, extra):
    payload = {**extra, "content": blocks}
    rewritten = json.loads(bytes(rewrite_answer("tools/call", Raw(json.dumps(payload).encode()), public)))
    assert {**rewritten, "content": blocks} == payload
    for before, after in zip(blocks, rewritten["content"], strict=True):
        if before["type"] == "resource_link":
            assert after == {**before, "uri": "test://docs/a"}
        elif before["type"] == "resource":
            assert after == {**before, "resource": PUBLIC_EMBEDDED["resource"]}
        else:
            assert after == before


def test_a_megabyte_beside_a_link_is_not_decoded():
    blob = "A" * 2**20
    payload = {"contents": [{"uri": "test://a", "blob": blob}]}
    rewritten = shallow(rewrite_answer("resources/read", Raw(msgspec.json.encode(payload)), public))
    assert loads(rewritten["contents"]) == [{"uri": "test://docs/a", "blob": blob}]


def test_only_a_meta_that_may_name_a_resource_may_have_links() -> None:
    assert may_have_links(b'{"ui":{"resourceUri":"ui://a"}}')
    assert may_have_links(b'{"ui":{"r\\u0065sourceUri":"ui://a"}}')
    assert not may_have_links(b'{"io.modelcontextprotocol/serverInfo":{"name":"s"}}')
