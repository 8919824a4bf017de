"""The data of an error loses the secrets in it, and stays JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.secrets import Scrubber
from meshproxy.errors import AnswerLost, RpcError
from meshproxy.wire.codec import Raw, dumps
from meshproxy.wire.scrubbing import scrubbed, without_secrets

SCRUB = Scrubber(["12345678", 'quo"ted-secret', "schl\u00fcssel", "}]secret"]).scrub


@pytest.mark.parametrize(
    ("data", "clean"),
    [
        (b'{"account":123456789,"a":1.0}', b'{"account":"***9","a":1.0}'),
        (b'[12345678.5,"x12345678x",true,null]', b'["***.5","x***x",true,null]'),
        (rb'{"quo\"ted-secret":["quo\"ted-secret"]}', b'{"***":["***"]}'),
        (rb'"schl\u00fcssel"', b'"***"'),
        (b'[1,[2,{"a":"}]secret"}]]', b'[1,[2,{"a":"***"}]]'),
        (b"[" * 200 + b"12345678" + b"]" * 200, b"null"),
    ],
)
def test_a_secret_is_taken_out_wherever_it_stands(data: bytes, clean: bytes) -> None:
    assert dumps(scrubbed(Raw(data), SCRUB)) == clean


@pytest.mark.parametrize("data", [None, Raw(b'{"a": 1.0}'), {"a": Raw(b"[ 1 ]")}, "x", Raw(b"[" * 200 + b"]" * 200)])
def test_what_has_no_secret_in_it_stays_as_it_came(data: Any) -> None:
    assert scrubbed(data, SCRUB) is data


@given(
    st.recursive(
        st.sampled_from(["12345678", 'a quo"ted-secret', 12345678, -112345678.5, 1, None, "}]secret"]), st.lists
    )
)
def test_what_is_left_is_one_value_without_secrets(data: Any) -> None:
    clean = dumps(scrubbed(data, SCRUB))
    assert json.loads(clean) is None or clean
    assert SCRUB(clean.decode()) == clean.decode()


def test_an_error_keeps_its_kind_and_loses_its_secrets() -> None:
    lost = without_secrets(AnswerLost("up", "it said 12345678"), SCRUB)
    assert isinstance(lost, AnswerLost)
    assert (lost.upstream, lost.reason) == ("up", "it said ***")
    told = without_secrets(RpcError(-1, "12345678!", {"why": ["12345678"]}), SCRUB)
    assert isinstance(told, RpcError)
    assert (told.code, told.message, told.data) == (-1, "***!", {"why": ["***"]})
