"""Parameters are decoded as far as they are read, and no further."""

import pytest
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.messages import parse
from meshproxy.wire.params import params_of


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
    ("params", "meant"), [(b"null", {}), (b'{"_meta":null}', {}), (b'{"_meta": null,"name":"a"}', {"name": "a"})]
)
def test_null_is_how_many_languages_write_what_is_absent(params: bytes, meant: dict[str, str]) -> None:
    assert params_of(parse(b'{"jsonrpc":"2.0","id":1,"method":"ping","params": ' + params + b"}")) == meant


@pytest.mark.parametrize("params", [b"[]", b"1", b'"a"', b'{"_meta":1}'])
def test_parameters_or_metadata_that_are_no_object_are_refused(params: bytes) -> None:
    message = parse(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + params + b"}")
    with pytest.raises(RpcError) as refused:
        params_of(message)
    assert refused.value.code == INVALID_PARAMS
