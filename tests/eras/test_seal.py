"""What is sealed can be opened by whom it was bound to, for as long as it lives, and by nobody else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.eras import seal as sealing
from meshproxy.eras.seal import Sealer, binding_of
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.relay.principal import ANONYMOUS
from meshproxy.wire.codec import Raw
from tests.kit.clients import Context, Modern, visitor
from tests.kit.handlers import Nobody


def refused(sealer: Sealer, sealed: Any, binding: bytes) -> None:
    with pytest.raises(RpcError, match="Invalid or expired requestState") as error:
        sealer.open(sealed, binding)
    assert error.value.code == INVALID_PARAMS


@given(st.binary(), st.binary(), st.binary())
def test_a_seal_is_opened_with_its_binding_alone(payload: bytes, binding: bytes, other: bytes) -> None:
    sealer = Sealer()
    sealed = sealer.seal(payload, binding)
    assert sealer.open(sealed, binding) == payload
    if other != binding:
        refused(sealer, sealed, other)
    refused(Sealer(), sealed, binding)


@given(st.binary(min_size=1), st.data())
def test_a_seal_that_was_changed_anywhere_is_refused(payload: bytes, data: st.DataObject) -> None:
    sealer = Sealer()
    raw = bytearray(urlsafe_b64decode(sealer.seal(payload, b"b")))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    refused(sealer, urlsafe_b64encode(raw).decode(), b"b")
    refused(sealer, urlsafe_b64encode(raw[:place]).decode(), b"b")


@pytest.mark.parametrize("sealed", [None, 3, "", "x", "ü", "====", [], {"a": 1}, "A" * 1000, "\ud800"])
def test_what_was_never_a_seal_is_refused(sealed: Any) -> None:
    refused(Sealer(), sealed, b"")


def test_a_seal_lives_as_long_as_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.5
    monkeypatch.setattr(sealing.time, "monotonic", lambda: now)
    sealer = Sealer(ttl=10)
    sealed = sealer.seal(b"x", b"b")
    now = 1009.9
    assert sealer.open(sealed, b"b") == b"x"
    now = 1010.6
    refused(sealer, sealed, b"b")


def bound(method: str, params: dict[str, Any], principal: str | None = None) -> bytes:
    client = Modern(Nobody())
    client.visitor = ANONYMOUS if principal is None else visitor(principal)
    return binding_of(Context(client, client.caller(), None, {}), method, params)


def test_a_binding_is_of_who_asks_and_for_what() -> None:
    call = {"name": "t", "arguments": Raw(b'{"a":1,"b":[2]}')}
    same = bound("tools/call", call)
    assert bound("tools/call", {**call, "arguments": {"b": [2], "a": 1}}) == same
    assert bound("tools/call", {**call, "arguments": Raw(b'{ "b" : [2] , "a" : 1 }'), "_meta": {"x": 1}}) == same
    others = [
        bound("tools/call", call, "Ada"),
        bound("prompts/get", call),
        bound("tools/call", {**call, "name": "u"}),
        bound("tools/call", {**call, "arguments": {"a": 1, "b": [3]}}),
        bound("tools/call", {"name": "t"}),
        bound("resources/read", {"uri": "x://y"}),
        bound("resources/read", {"uri": "x://z"}),
    ]
    assert len({same, *others}) == len(others) + 1


@pytest.mark.parametrize("arguments", [rb'{"a":"\ud800"}', rb'{"\ud800":1E400}', b"{", b'{"a":36893488147419103232}'])
def test_whatever_the_arguments_are_the_binding_of_a_retry_is_the_same(arguments: bytes) -> None:
    assert bound("tools/call", {"name": "t", "arguments": Raw(arguments)}) == bound(
        "tools/call", {"name": "t", "arguments": Raw(arguments)}
    )
