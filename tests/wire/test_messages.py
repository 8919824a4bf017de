"""JSON-RPC messages are read once, and written around payloads that stay closed."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.errors import INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RpcError
from meshproxy.wire.codec import Raw, dumps, loads, opened
from meshproxy.wire.message import id_in
from meshproxy.wire.messages import (
    Answer,
    Message,
    Notification,
    Request,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    params_of,
    parse,
    parse_answer,
    result_alone,
)

IDS = st.integers(-(2**63), 2**64 - 1) | st.text(st.characters(exclude_categories=("Cs",)))
PAYLOADS = st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3))


@given(IDS, st.text(max_size=20), PAYLOADS)
def test_what_is_written_is_read(message_id: int | str, method: str, payload: dict[str, Any]) -> None:
    request = parse(encode_request(message_id, method, payload))
    assert isinstance(request, Request)
    assert all(isinstance(value, Raw) for value in request.params.values())
    assert (request.id, request.method, loads(dumps(request.params))) == (message_id, method, payload)
    assert parse(encode_request(message_id, method)) == Request(message_id, method, msgspec.UNSET)

    told = parse(encode_notification(method, payload))
    assert isinstance(told, Notification)
    assert (told.method, loads(dumps(told.params))) == (method, payload)
    assert parse(encode_notification(method)) == Notification(method, msgspec.UNSET)

    answer = parse(encode_result(message_id, payload))
    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Raw)
    assert (answer.id, loads(answer.outcome)) == (message_id, payload)

    refusal = parse(encode_error(message_id, RpcError(-1, method, payload or None)))
    assert isinstance(refusal, Answer)
    assert refusal.id == message_id
    error = error_of(refusal)
    assert (error.code, error.message, opened(error.data)) == (-1, method, payload or None)


def error_of(message: Message) -> RpcError:
    assert isinstance(message, Answer)
    assert isinstance(message.outcome, RpcError)
    return message.outcome


def parts(message: Message) -> Any:
    """What can be compared of a message: two errors that say the same are not equal."""
    if isinstance(message, Answer) and isinstance(message.outcome, RpcError):
        error = message.outcome
        return message.id, error.code, error.message, error.data
    return message


def test_a_result_that_is_encoded_already_is_spliced_in() -> None:
    for result in (Raw(b'{"a": 1.0}'), b'{"a": 1.0}'):
        assert encode_result("x", result) == b'{"jsonrpc":"2.0","id":"x","result":{"a": 1.0}}'


def test_an_error_without_a_request_has_the_id_null() -> None:
    assert error_of(parse(encode_error(None, RpcError(PARSE_ERROR, "x")))).code == PARSE_ERROR
    assert b'"id":null' in encode_error(None, RpcError(PARSE_ERROR, "x"))


@pytest.mark.parametrize("value", [rb'"\ud800"', rb'["\ud800",1E400,-0,1.0e5, "\/"]'])
def test_a_payload_keeps_its_spelling_even_if_it_holds_what_only_some_parsers_read(value: bytes) -> None:
    asked = parse(b'{"jsonrpc":"2.0","id":1,"method":"m","params": {"x": %b} }' % value)
    assert isinstance(asked, Request)
    assert bytes(asked.params) == b'{"x": %b}' % value  # type: ignore[call-overload]
    answered = parse(b'{"jsonrpc":"2.0","id":1,"result": {"x": %b} }' % value)
    assert isinstance(answered, Answer)
    assert bytes(answered.outcome) == b'{"x": %b}' % value  # type: ignore[call-overload]
    refused = error_of(parse(b'{"jsonrpc":"2.0","id":1,"error": {"code":1,"data": %b} }' % value))
    assert bytes(refused.data) == value


def refused(data: bytes) -> RpcError:
    with pytest.raises(RpcError) as error:
        parse(data)
    return error.value


@pytest.mark.parametrize("data", [b"", b"{", b"nul", b'{"jsonrpc":"2.0",}', b'"\xff"', b"[" * 100_000])
def test_what_is_no_json_is_a_parse_error(data: bytes) -> None:
    assert refused(data).code == PARSE_ERROR


@pytest.mark.parametrize(
    ("message", "known"),
    [
        ("[]", None),
        ("1", None),
        ('[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None),
        ('{"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"1.0","id":"a","method":"ping"}', "a"),
        ('{"jsonrpc":2,"id":1,"method":"ping"}', 1),
        ('{"jsonrpc":"2.0"}', None),
        ('{"jsonrpc":"2.0","result":{}}', None),
        ('{"jsonrpc":"2.0","id":null,"result":{}}', None),
        ('{"jsonrpc":"2.0","id":null,"method":"ping"}', None),
        ('{"jsonrpc":"2.0","id":7}', 7),
        ('{"jsonrpc":"2.0","id":7,"result":{},"error":{}}', 7),
        ('{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None),
        ('{"jsonrpc":"2.0","id":true,"method":"ping"}', None),
        ('{"jsonrpc":"2.0","id":[],"method":"ping"}', None),
        ('{"jsonrpc":"2.0","id":1,"method":2}', 1),
    ],
)
def test_what_is_no_message_is_an_invalid_request_that_keeps_its_id(message: str, known: int | str | None) -> None:
    error = refused(message.encode())
    assert error.code == INVALID_REQUEST
    assert error.message.startswith("Invalid request: ")
    assert error.data == (None if known is None else {"id": known})


def test_a_message_that_only_a_lenient_parser_reads_is_checked_like_any_other() -> None:
    odd = r'"params":{"x":"\ud800"}'
    assert parse(f'{{"jsonrpc":"2.0","id":1,"method":"m",{odd}}}'.encode()).id == 1
    assert isinstance(parse(f'{{"jsonrpc":"2.0","method":"m",{odd}}}'.encode()), Notification)
    assert refused(f'{{"jsonrpc":"2.0","id":null,"method":"m",{odd}}}'.encode()).code == INVALID_REQUEST
    assert refused(f'{{"id":1,"method":"m",{odd}}}'.encode()).data == {"id": 1}


@pytest.mark.parametrize(
    ("error", "code", "message", "data"),
    [
        ({"code": -1, "message": "m", "data": [1]}, -1, "m", [1]),
        ({"code": True, "message": 2}, INVALID_REQUEST, "", None),
        ({}, INVALID_REQUEST, "", None),
        ("text", INVALID_REQUEST, "the peer answered with neither a result nor an error", None),
        (None, INVALID_REQUEST, "the peer answered with neither a result nor an error", None),
    ],
)
def test_a_malformed_error_is_still_an_error(error: Any, code: int, message: str, data: Any) -> None:
    found = error_of(parse(json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode()))
    assert (found.code, found.message, opened(found.data)) == (code, message, data)


ANSWERS = [
    b'{"jsonrpc":"2.0","id":7,"result":{"a":1.0}}',
    b'{"jsonrpc": "2.0", "id": 7, "result": {"a":1.0}}',
    b'{"jsonrpc":"2.0","id":7,"result":{}}',
]
OTHERS = [
    b'{"id":7,"jsonrpc":"2.0","result":{"a":1.0}}',
    b'{"jsonrpc":"2.0","id":7,"result":{"a":1.0}} ',
    b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"no"}}',
    b'{"jsonrpc":"2.0","id":"7","result":{"a":1.0}}',
    b'{"jsonrpc":"2.0","id":7,"result":[1]}',
    b'{"jsonrpc":"2.0","id":7,"method":"ping"}',
    b'{"jsonrpc":"2.0","method":"notifications/x","params":{"id":7}}',
]


@pytest.mark.parametrize("data", ANSWERS)
def test_the_result_of_a_relayed_request_is_found_without_being_read(data: bytes) -> None:
    asked: list[int] = []
    message = parse_answer(data, lambda request_id: not asked.append(request_id))
    read = parse(data)
    assert asked == [7]
    assert isinstance(message, Answer)
    assert isinstance(read, Answer)
    assert message.id == read.id
    assert bytes(message.outcome) == bytes(read.outcome)  # type: ignore[call-overload]
    assert parse_answer(data[:-2] + b"!}", lambda _: True).id == 7


@pytest.mark.parametrize("data", [*ANSWERS, *OTHERS])
@pytest.mark.parametrize("is_relayed", [False, True])
def test_whatever_else_arrives_is_read_at_once(data: bytes, is_relayed: bool) -> None:  # noqa: FBT001  # a parameter of the table
    if data in ANSWERS:
        is_relayed = False
    assert parts(parse_answer(data, lambda _: is_relayed)) == parts(parse(data))


def test_an_answer_to_nobody_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RpcError):
        parse_answer(b'{"jsonrpc":"2.0","id":7,"result":{nonsense}}', lambda _: False)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_message_in_another_encoding_than_utf_8_is_refused(encoding: str) -> None:
    with pytest.raises(RpcError) as refused:
        parse('{"jsonrpc":"2.0","id":7,"method":"ping"}'.encode(encoding))
    assert refused.value.code == PARSE_ERROR


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "message", [b'{"jsonrpc":"2.0","id":1,"method":"ping"}', b'{"jsonrpc":"2.0","id":1,"result":{"a":"\xc3\xb6"}}']
)
def test_a_byte_order_mark_says_nothing(message: bytes) -> None:
    assert parse(MARK + message) == parse(message)
    assert parse_answer(MARK + message, lambda _: True) == parse(message)
    # There is one such mark, and it comes first.
    for wrong in (MARK + MARK + message, message + MARK, MARK):
        with pytest.raises(RpcError) as refused:
            parse(wrong)
        assert refused.value.code == PARSE_ERROR


@pytest.mark.parametrize("text", [b"Gr\xf6\xdfe", b"\xed\xa0\x80", b"\xc3", b"\xff\xfe"])
@pytest.mark.parametrize(
    ("head", "tail"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":"', b'"}}'),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":"', b'"}}'),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"', b'"}}'),
        (b'{"jsonrpc":"2.0","method":"m","params":{"', b'":1}}'),
        (b'{"jsonrpc":"2.0","method":"m","other":"', b'"}'),
    ],
)
def test_what_is_not_in_utf_8_is_refused_wherever_it_stands(head: bytes, text: bytes, tail: bytes) -> None:
    for read in (parse, lambda data: parse_answer(data, lambda _: True)):
        assert read(head + "Größe 漢字 \U0001f600".encode() + tail)
        with pytest.raises(RpcError) as refused:
            read(head + text + tail)
        assert (refused.value.code, refused.value.message) == (PARSE_ERROR, "Parse error: it is not in UTF-8")


def test_a_message_deeper_than_a_decoder_goes_is_taken_apart_and_its_payload_refused_by_who_opens_it() -> None:
    deep = b"[" * 50_000 + b"]" * 50_000
    asked = parse(b'{"params":{"arguments":' + deep + b'},"id":7,"jsonrpc":"2.0","method":"tools/call"}')
    assert (asked.id, asked.method) == (7, "tools/call")
    with pytest.raises(RpcError, match="params: it is nested deeper") as refused:
        params_of(asked)
    assert refused.value.code == INVALID_PARAMS
    answered = parse(b'{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"m","data":' + deep + b"}}")
    assert error_of(answered).code == INVALID_REQUEST
    with pytest.raises(RpcError, match="cannot be read"):
        result_alone(Raw(b'{"content":' + deep + b"}"))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[" * 50_000 + b"]" * 50_000, INVALID_REQUEST),
        (b"[" * 50_000, INVALID_REQUEST),
        (b'{"a":' * 50_000, PARSE_ERROR),
        (b'{"id":' * 50_000 + b"1" + b"}" * 50_000, PARSE_ERROR),
        (b'{"a":' * 5_000_000, PARSE_ERROR),
    ],
)
def test_brackets_alone_are_no_message(data: bytes, code: int) -> None:
    with pytest.raises(RpcError) as refused:
        parse(data)
    assert refused.value.code in (code, PARSE_ERROR)
    assert "recursion" not in refused.value.message


def test_true_names_no_id_although_it_is_equal_to_one() -> None:
    assert [id_in(value) for value in (1, "1", 0, "")] == [1, "1", 0, ""]
    assert [id_in(value) for value in (True, False, None, 1.0, [], {})] == [None] * 6
