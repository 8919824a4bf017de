"""Seals open for whom they were made, and for nobody who changed anything about them."""

from typing import Any

import pytest
from meshproxy.errors import INVALID_PARAMS, RpcError
from meshproxy.relay.seal import Sealer


@pytest.mark.parametrize("payload", [b"", b"a state", b"a longer state", b"a state, longer yet"])
def test_a_seal_opens_to_what_was_sealed(payload: bytes) -> None:
    sealer = Sealer()
    assert sealer.open(sealer.seal(payload, b"me"), b"me") == payload


@pytest.mark.parametrize("payload", [b"1", b"12", b"123"])
@pytest.mark.parametrize("change", ["{}x", "x{}", "{}-tampered", "{}=", "{} ", "{}\n", "\u00e9{}"])
def test_a_seal_has_one_spelling_whatever_the_padding(payload: bytes, change: str) -> None:
    sealer = Sealer()
    refused(sealer, change.format(sealer.seal(payload, b"me")), b"me")


def test_every_changed_character_is_noticed() -> None:
    sealer = Sealer()
    sealed = sealer.seal(b"12", b"me")
    for place, character in enumerate(sealed):
        refused(sealer, f"{sealed[:place]}{'A' if character != 'A' else 'B'}{sealed[place + 1 :]}", b"me")


def test_a_seal_is_bound_and_expires() -> None:
    sealer = Sealer()
    refused(sealer, sealer.seal(b"state", b"me"), b"you")
    refused(Sealer(), sealer.seal(b"state", b"me"), b"me")
    sealer.ttl = -2
    refused(sealer, sealer.seal(b"state", b"me"), b"me")


@pytest.mark.parametrize("sealed", ["", "no", 1, None, ["state"], {}])
def test_what_is_no_seal_is_refused(sealed: Any) -> None:
    refused(Sealer(), sealed, b"me")


def refused(sealer: Sealer, sealed: Any, binding: bytes) -> None:
    with pytest.raises(RpcError) as raised:
        sealer.open(sealed, binding)
    assert raised.value.code == INVALID_PARAMS
