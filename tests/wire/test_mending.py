"""What a peer meant with a message that is refused as it is; and what nobody can know is refused all the more."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.errors import RpcError
from meshproxy.wire.codec import Raw, loads
from meshproxy.wire.mending import Mended, answer_meant, mend, own_id, result_meant
from meshproxy.wire.messages import Answer, Message, Notification, Request, parse

ANSWER = '"jsonrpc":"2.0","id":1,"result":{"a": 1.50}'


def mended(data: bytes | str) -> Mended:
    data = data.encode() if isinstance(data, str) else data
    with pytest.raises(RpcError) as refused:
        parse(data)
    return mend(data, refused.value)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ('{%s,"error":null}', "an answer has a result and an error, one of which is null"),
        ('{"id":1,"result":{"a": 1.50}}', "it does not say that it is JSON-RPC 2.0"),
        ('{"jsonrpc":2.0,"id":1,"result":{"a": 1.50}}', "it does not say that it is JSON-RPC 2.0"),
        ('{"jsonrpc":"2.0","id":1.0,"result":{"a": 1.50}}', "an answer has the id of its request as a number with a fraction"),
        ("event: message\ndata: {%s}\n\n", "it is an event stream, and its content type does not say so"),
        ("\ndata: {%s}", "it is an event stream, and its content type does not say so"),
        ("[{%s}]", None),
    ],
)  # fmt: skip
def test_an_answer_is_taken_as_it_is_meant(data: str, fault: str | None) -> None:
    (message,), faults = mended(data.replace("%s", ANSWER))
    # What is beside the fault stays as it came.
    assert (message.id, bytes(message.outcome)) == (1, b'{"a": 1.50}')  # type: ignore[call-overload]
    assert faults == (() if fault is None else (fault,))


def test_several_faults_are_told_each_once() -> None:
    one = '{"id":1.0,"result":{},"error":null}'
    messages, faults = mended(f"[{one}, {one}]")
    assert len(messages) == 2
    assert faults == (
        "it does not say that it is JSON-RPC 2.0",
        "an answer has a result and an error, one of which is null",
        "an answer has the id of its request as a number with a fraction",
    )


def test_an_error_beside_a_null_result_is_the_outcome() -> None:
    (message,), _ = mended('{"jsonrpc":"2.0","id":1,"result":null,"error":{"code":-7,"message":"no"}}')
    assert message.outcome.code == -7
    (message,), _ = mended('{"jsonrpc":"2.0","id":1,"result":null,"error":null}')
    assert loads(message.outcome) is None  # type: ignore[arg-type]


def test_what_is_no_character_is_replaced_and_the_rest_is_kept() -> None:
    (message,), faults = mended('{"jsonrpc":"2.0","id":1,"result":{"a":"Größe","b":"\\n"}}'.encode("latin-1"))
    assert loads(message.outcome) == {"a": "Gr\ufffd\ufffde", "b": "\n"}  # type: ignore[arg-type]
    assert faults == ("it is not in UTF-8: what are no characters there are replaced",)


@pytest.mark.parametrize(
    ("text", "meant", "fault"),
    [
        ("[NaN, -Infinity, 1.0e400, 12345678901234567890123]", "[null,null,1.0e400,12345678901234567890123]", "NaN is no JSON: it is null"),
        ('"a\tb"', '"a\\tb"', "a text has control characters in it"),
    ],
)  # fmt: skip
def test_what_only_lax_parsers_read_is_read(text: str, meant: str, fault: str) -> None:
    (message,), faults = mended('{"jsonrpc":"2.0","id":1,"result":{"a":%s}}'.replace("%s", text))
    assert bytes(message.outcome) == '{"a":%s}'.replace("%s", meant).encode()  # type: ignore[call-overload]
    assert faults == (fault,)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ('{"method":"notifications/x","params":{}}', "it does not say that it is JSON-RPC 2.0"),
        ('{"jsonrpc":"2.0","id":null,"method":"notifications/x"}', "a notification has an id, which is null"),
    ],
)
def test_a_notification_is_taken_as_it_is_meant(data: str, fault: str) -> None:
    (message,), faults = mended(data)
    assert message == Notification("notifications/x", message.params)
    assert faults == (fault,)


def test_all_of_a_batch_is_read_in_its_order() -> None:
    note = '{"jsonrpc":"2.0","method":"notifications/x"}'
    question = '{"jsonrpc":"2.0","id":"q","method":"ping"}'
    messages, faults = mended(f" [{note},{{{ANSWER}}},{question}]")
    told, answer, asked = messages
    assert (told, asked) == (Notification("notifications/x"), Request("q", "ping"))
    assert isinstance(answer, Answer)
    assert answer.id == 1
    assert faults == ()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "hello",
        "[]",
        "[[{%s}]]",
        "[{%s}, 3]",
        "data: hello",
        ": only a comment",
        # Lines of a log that tells of messages.
        '{"level":"info","method":"tools/call","id":3}',
        '{"level":"info","msg":"answered"}',
        '{"id":1.5,"result":{}}',
        '{"id":[1],"result":{}}',
        # Two outcomes, or two of anything: whose client takes which, nobody knows.
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}',
        '{"id":1,"result":{},"id":2}',
        '{"id":1,"result":{},"result":{},"error":null}',
        '{"jsonrpc":"2.0","id":1,"result":{"a":NaN},"id":2}',
        "[" * 100_000,
        '{"id":1,"result":' + "[" * 100_000,
        '{"id":1,"result":' + "[" * 100_000 + "NaN" + "]" * 100_000 + "}",
    ],
    ids=lambda data: data[:40],
)  # fmt: skip
def test_what_nobody_can_know_is_refused_as_before(data: str) -> None:
    data = data.replace("%s", ANSWER)
    with pytest.raises(RpcError) as before:
        parse(data.encode())
    with pytest.raises(RpcError) as refused:
        mended(data)
    assert (refused.value.code, refused.value.message) == (before.value.code, before.value.message)


@pytest.mark.parametrize(
    ("data", "about"),
    [
        ('{"jsonrpc":"2.0","id":7,"result":{"content":[', {"id": 7}),
        (' {"id": "7", "error": {', {"id": 7}),
        ('{"jsonrpc":"2.0","id":7,"result":{}} and more', {"id": 7}),
        ('{"jsonrpc":"2.0","id":7}', {"id": 7}),
        ('{"jsonrpc":"2.0","params":{"id":7},"result":', None),
        ('answering {"id":7,"result":', None),
        ('{"id":7,"method":"x","params":{', None),
    ],
)
def test_an_answer_that_cannot_be_read_says_whose_it_is_if_that_can_be_seen(data: str, about: Any) -> None:
    with pytest.raises(RpcError) as refused:
        mended(data)
    assert refused.value.data == about


def test_a_clients_answer_is_taken_as_it_is_meant_and_nothing_else() -> None:
    def meant(data: bytes) -> Answer | None:
        with pytest.raises(RpcError) as refused:
            parse(data)
        return answer_meant(data, refused.value)

    message = meant(b'{"jsonrpc":"2.0","id":1,"result":{},"error":null}')
    assert message is not None
    assert message.id == 1
    for wrong in (
        b'{"jsonrpc":"2.0","id":null,"method":"notifications/x"}',
        b"[]",
        b"hello",
        b'{"id":1,"method":"ping"}',
    ):
        assert meant(wrong) is None


def test_the_result_of_a_relayed_answer_is_what_stands_before_a_null_error() -> None:
    assert bytes(result_meant(Raw(b'{"a": 1.0}'))) == b'{"a": 1.0}'  # type: ignore[call-overload]
    assert bytes(result_meant(Raw(b'{"a": 1.0},"error":null'))) == b'{"a": 1.0}'  # type: ignore[call-overload]
    assert loads(result_meant(Raw(b'{"a": NaN}'))) == {"a": None}
    for wrong in (
        b'{},"id":77',
        b'{},"error":{}',
        b'{},"result":{}',
        b'{},"error":null,"id":77',
        b"{",
        b"{}}",
        b'null,"error":{"code":1,"message":"m"}',
    ):
        with pytest.raises(RpcError):
            result_meant(Raw(wrong))


@pytest.mark.parametrize(
    ("given", "meant"),
    [(1, 1), ("1", 1), ("001", 1), (True, None), (None, None), ("x", None), ("-1", None), ("", None), ("\u0661", None), ("1" * 16, None)],
)  # fmt: skip
def test_an_id_of_ours_may_come_back_as_a_text(given: Any, meant: int | None) -> None:
    assert own_id(given) == meant


@given(st.binary(max_size=60) | st.from_regex(rb'[\[{"idresult:,null1.0}\] ]{0,40}', fullmatch=True))
def test_anything_is_a_message_or_refused(data: bytes) -> None:
    try:
        parse(data)
    except RpcError as error:
        try:
            messages, faults = mend(data, error)
        except RpcError:
            return
        assert messages
        assert all(isinstance(message, Message) for message in messages)
        assert all(isinstance(fault, str) for fault in faults)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_a_result_is_the_same_beside_a_null_error(value: Any) -> None:
    spelled = json.dumps(value)
    (message,), _ = (
        mended(f'{{"jsonrpc":"2.0","id":1,"result":{spelled},"error":null}}') if value is not None else ((None,), ())
    )
    assert message is None or loads(message.outcome) == value
