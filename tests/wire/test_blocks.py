import pytest
from meshproxy.wire.codec import Raw, is_object, is_text


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (b'{"type":"text","text":"a"}', True),
        (b'{"type": "text", "text": "a"}', True),
        (b'{"text":"a","type":"text"}', True),
        (b'{"text": "a", "type": "text"}', True),
        (rb'{"type":"resource_link","uri":"a:b","name":"\"type\":\"text"}', False),
        (b'{"resource":{"uri":"a:b"},"x":{"type":"text"}}', False),
        (b'{"type":"resource_link","uri":"a:b"}', False),
        (b"[]", False),
        (b'{"type":"text","text":"' + b"a" * 10_000 + b'"}', True),
        (b'{"text":"' + b"a" * 10_000 + b'","type":"text"}', True),
        (b'{"type":"image","data":"' + b"a" * 10_000 + b'"}', False),
    ],
)
def test_a_text_is_known_by_how_it_begins_or_ends(block: bytes, told: object) -> None:
    assert is_text(Raw(block)) is told


@pytest.mark.parametrize(
    ("value", "told"),
    [(Raw(b'{"a":1}'), True), (Raw(b"[1]"), False), (Raw(b"1"), False), ({}, True), ([], False), ("{", False)],
)
def test_an_object_is_known_closed_or_decoded(value: object, told: object) -> None:
    assert is_object(value) is told
