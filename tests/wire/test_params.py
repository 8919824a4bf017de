"""Parameters are decoded as far as they are read, and no further."""

import pytest
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.limits import MAX_DEPTH, MAX_IDENTIFIER, MAX_MEMBER
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.messages import check_spelling, params_of, parse


def test_what_the_mesh_reads_is_decoded_and_the_rest_stays_as_it_came() -> None:
    body = b'{"name":"a","arguments":{"x": 1.0},"_meta":{"k":[1]},"other": null}'
    params = params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + body + b"}"))
    assert params["name"] == "a"
    assert params["_meta"] == {"k": [1]}
    assert isinstance(params["arguments"], Raw)
    assert dumps(params["arguments"]) == b'{"x": 1.0}'
    assert dumps(params["other"]) == b"null"


def test_no_parameters_are_an_empty_dictionary() -> None:
    assert params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"ping"}')) == {}


@pytest.mark.parametrize(
    ("params", "meant"),
    [(b"null", {}), (b"[]", {}), (b'{"_meta":null}', {}), (b'{"_meta": null,"name":"a"}', {"name": "a"})],
)
def test_null_and_an_empty_array_are_how_many_languages_write_what_is_absent(
    params: bytes, meant: dict[str, str]
) -> None:
    assert params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"ping","params": ' + params + b"}")) == meant


@pytest.mark.parametrize("params", [b"[1]", b"1", b'"a"', b'{"_meta":1}'])
def test_parameters_or_metadata_that_are_no_object_are_refused(params: bytes) -> None:
    message = parse(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + params + b"}")
    with pytest.raises(RpcError) as refused:
        params_of(message)
    assert refused.value.code == INVALID_PARAMS


def refusal(body: bytes) -> str:
    with pytest.raises(RpcError) as refused:
        params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + body + b"}"))
    assert refused.value.code == INVALID_PARAMS
    return refused.value.message


@pytest.mark.parametrize(
    "key",
    [
        "Name",
        "NAME",
        "nAme",
        "URI",
        "Ref",
        "taskID",
        "ta\u017fk",
        "tas\u212aId",
        "_Meta",
        "Arguments",
        "INPUTRESPONSES",
    ],
)
def test_a_key_that_differs_from_one_of_the_protocols_in_case_alone_is_refused(key: str) -> None:
    """For decoders that ignore case: also by the two letters beyond ASCII that fold to some of it."""
    assert repr(key) in refusal(dumps({"name": "a", key: "b"}))
    assert repr(key) in refusal(dumps({key: "b", "name": "a"}))


def test_a_key_that_is_repeated_counts_once() -> None:
    params = params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","n\\u0061me":"b","Other":1}}'))
    assert dumps(params) == b'{"name":"b","Other":1}'


def test_spelling_is_checked_among_any_known_keys() -> None:
    check_spelling(["type", "x", "Y"], frozenset({"type", "y2"}))
    with pytest.raises(RpcError, match="'TYPE'"):
        check_spelling(["type", "TYPE"], frozenset({"type"}))


def test_what_the_mesh_reads_has_a_size_and_a_depth() -> None:
    long = b'"' + b"x" * MAX_IDENTIFIER + b'"'
    assert refusal(b'{"uri":' + long + b"}") == f"params.uri: it is larger than {MAX_IDENTIFIER} bytes"
    assert "params._meta: it is larger" in refusal(b'{"_meta":{"x":"' + b"x" * MAX_MEMBER + b'"}}')
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert refusal(b'{"_meta":{"x":' + deep + b"}}") == f"params: it is nested deeper than {MAX_DEPTH} levels"
    passing = b'{"_meta":{"x":' + long + b'},"requestState":' + long + b',"arguments":[' + deep + b"," + long + b"]}"
    params = params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + passing + b"}"))
    assert dumps(params) == passing
