"""Who gives way when all places of sessions are taken, and to whom."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.relay.principal import ANONYMOUS, LOCAL, Principal
from meshproxy.serving.places import ABANDONED, SUPERSEDED, gives_way, holder_of

NOW = 10_000.0


@dataclass(eq=False)
class Held:
    """A session, as far as it matters."""

    holder: str = "10.0.0.1"
    quiet: float = 0.0
    is_new: bool = False
    idle: bool = True
    running: dict[int, object] = field(default_factory=dict)
    client: dict[str, Any] = field(default_factory=lambda: {"name": "agent", "version": "1"})

    @property
    def touched(self) -> float:
        return NOW - self.quiet


def yielding(*sessions: Held, to: str = "10.0.0.1") -> Held | None:
    return gives_way(sessions, Counter(session.holder for session in sessions), to, NOW)


def test_a_session_that_was_never_used_goes_first_and_the_oldest_of_them() -> None:
    newer, older = Held(is_new=True, quiet=ABANDONED), Held(is_new=True, quiet=ABANDONED + 1)
    assert yielding(Held(quiet=9000), Held(quiet=9000), newer, older) is older


def test_a_session_that_was_opened_just_now_or_is_in_use_does_not_go() -> None:
    assert yielding(Held(is_new=True, quiet=ABANDONED - 1)) is None
    assert yielding(Held(is_new=True, quiet=ABANDONED, idle=False, running={1: 1})) is None
    assert yielding() is None


def test_of_the_sessions_that_a_client_opened_one_after_the_other_the_last_one_stays() -> None:
    sessions = [Held(quiet=SUPERSEDED + 100 - number) for number in range(78)]
    assert yielding(*sessions) is sessions[0]
    assert yielding(*sessions[:-2], sessions[-1]) is sessions[0]
    assert yielding(sessions[-1]) is None


def test_a_session_with_a_stream_or_of_another_client_is_not_taken_for_left_behind() -> None:
    streaming = Held(quiet=SUPERSEDED, idle=False)
    other = Held(quiet=SUPERSEDED, client={"name": "other"})
    assert yielding(streaming, other, Held()) is None


def test_whoever_holds_the_most_places_gives_way_to_who_holds_fewer() -> None:
    greedy = [Held(quiet=ABANDONED + number, idle=False, client={"name": str(number)}) for number in range(3)]
    assert yielding(*greedy, to="10.0.0.2") is greedy[2]
    assert yielding(*greedy) is None
    working = [Held(quiet=ABANDONED, idle=False, running={1: 1}) for _ in range(3)]
    assert yielding(*working, to="10.0.0.2") is None
    assert yielding(*greedy[:1], to="10.0.0.2") is None


@pytest.mark.parametrize(
    ("address", "holder"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_a_holder_is_an_address_or_the_network_that_one_machine_has(address: str, holder: str) -> None:
    assert holder_of(ANONYMOUS.principal, address) == holder
    assert holder_of(LOCAL.principal, address) == holder


def test_whoever_says_who_he_is_has_his_places_wherever_he_comes_from() -> None:
    key = Principal("key", "ci")
    assert holder_of(key, "10.0.0.1") == holder_of(key, "10.0.0.2") == key.identity


HELD = st.builds(
    Held,
    holder=st.sampled_from(["a", "b", "c"]),
    quiet=st.sampled_from([0.0, ABANDONED, SUPERSEDED, 5000.0]),
    is_new=st.booleans(),
    idle=st.booleans(),
    running=st.sampled_from([{}, {1: 1}]),
)


@given(st.lists(HELD, max_size=12), st.sampled_from(["a", "b", "d"]))
def test_what_gives_way_has_no_request_and_is_never_the_place_of_who_has_less(sessions: list[Held], to: str) -> None:
    found = yielding(*sessions, to=to)
    if found is None:
        return
    count = Counter(session.holder for session in sessions)
    left_behind = found.idle and (found.is_new or sum(one.client == found.client for one in sessions) > 1)
    assert left_behind or (not found.running and count[found.holder] > count[to] + 1)
