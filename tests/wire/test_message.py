"""The three messages as values."""

from meshproxy.wire.codec import Raw
from meshproxy.wire.message import Answer, Notification, Request

RESULT = Raw(b"{}")


def test_messages_that_say_the_same_are_equal() -> None:
    assert Request(1, "a", {"x": RESULT}) == Request(1, "a", {"x": RESULT}) != Request(2, "a", {"x": RESULT})
    assert Notification("a") == Notification("a") != Notification("b")
    assert Answer(1, RESULT) == Answer(1, RESULT) != Answer(2, RESULT)
    assert Request(1, "a") != Notification("a") != Answer(1, RESULT) != Request(1, "a")
    for message in (Request(1, "a"), Notification("a"), Answer(1, RESULT)):
        assert {message: message}[message] is message


def test_a_message_is_shown_as_it_is_made() -> None:
    assert repr(Request("7", "a", {})) == "Request('7', 'a', {})"
    assert repr(Notification("a", {})) == "Notification('a', {})"
    assert repr(Answer(7, RESULT)).startswith("Answer(7, ")
