"""Slots go to those who have the fewest, then to those who have waited longest, and nothing of those who are gone is left."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from meshproxy.guard.slots import Slots


def filled(most: int, *parties: str) -> Slots:
    slots = Slots(most, 1000)
    for party in parties:
        assert slots.take(party)
    return slots


def test_without_a_bound_everybody_has_a_slot() -> None:
    slots = filled(None, *"aabc")  # type: ignore[arg-type]  # None is no bound
    assert not slots.is_full
    assert slots.running == 4


def test_who_comes_later_waits_and_has_the_slot_that_is_given_back() -> None:
    slots = filled(1, "a")
    assert not slots.take("b")
    slots.wait("b", 1)
    slots.free("a")
    assert not slots.take("a"), "somebody waits"
    assert slots.next() == 1
    assert slots.next() is None
    assert (slots.running, slots.waiting) == (1, 0)


def test_a_party_with_many_calls_delays_another_ones_first_by_one_slot() -> None:
    slots = filled(8, *"a" * 8)
    for number in range(192):
        slots.wait("a", number)
    slots.wait("b", "first")
    slots.wait("b", "second")
    slots.free("a")
    assert slots.next() == "first"
    # And from then on they share: b has the next ones, until both have the same.
    slots.free("a")
    assert slots.next() == "second"


def test_a_party_with_many_calls_delays_another_ones_first_by_one_slot_even_if_there_is_but_one() -> None:
    slots = filled(1, "a")
    for number in range(20):
        slots.wait("a", number)
    slots.wait("b", "first")
    slots.free("a")
    assert slots.next() == "first"


def test_those_who_keep_coming_anew_do_not_pass_by_one_who_waits_for_ever() -> None:
    slots = filled(1, "a")
    slots.wait("a", "again")
    served: list[object] = ["a"]
    for number in range(5):
        slots.wait(number, number)
        slots.free("a" if served[-1] == "again" else served[-1])
        served.append(slots.next())
    assert served[1:3] == [0, "again"]


def test_of_those_who_have_as_many_the_one_that_has_waited_longest_is_next() -> None:
    slots = filled(1, "a")
    for party in "bcd":
        slots.wait(party, f"{party}1")
        slots.wait(party, f"{party}2")
    order = []
    for _ in range(6):
        slots.free(order[-1][0] if order else "a")
        order.append(str(slots.next()))
    assert order == ["b1", "c1", "d1", "b2", "c2", "d2"]


def test_a_place_that_is_given_up_is_nobodys() -> None:
    slots = filled(1, "a")
    slots.wait("b", 1)
    slots.wait("b", 2)
    slots.wait("c", 3)
    assert slots.leave("b", 1)
    assert not slots.leave("b", 1)
    assert not slots.leave("nobody", 1)
    slots.free("a")
    assert slots.next() == 2
    assert slots.leave("c", 3)
    slots.free("b")
    assert slots.next() is None
    assert slots._parties == {}


def test_it_is_full_when_so_many_wait() -> None:
    slots = Slots(1, 0)
    assert not slots.is_full
    assert slots.take("a")
    assert slots.is_full
    slots.queue = 1
    assert not slots.is_full
    slots.wait("a", 1)
    assert slots.is_full
    slots.most = 5
    assert slots.is_full, "whoever waits is first"


def test_more_slots_are_given_out_at_once_and_fewer_take_none_back() -> None:
    slots = filled(2, "a", "a")
    for number in range(4):
        slots.wait("b", number)
    slots.most = 4
    assert [slots.next(), slots.next(), slots.next()] == [0, 1, None]
    slots.most = 1
    slots.free("a")
    slots.free("b")
    assert slots.next() is None
    slots.free("b")
    slots.free("a")
    assert slots.next() == 2


def test_calls_that_have_no_slot_count_as_long_as_they_run() -> None:
    slots = Slots(2, 5)
    slots.others = 2
    assert not slots.take("a")
    slots.wait("a", 1)
    assert slots.next() is None
    slots.others = 1
    assert slots.next() == 1


def test_those_who_come_and_leave_leave_nothing_behind() -> None:
    slots = filled(1, "a")
    slots.wait("b", "stays")
    for number in range(5000):
        slots.wait(number, number)
        assert slots.leave(number, number)
    assert len(slots._heap) < 200
    assert len(slots._parties) == 2
    slots.free("a")
    assert slots.next() == "stays"


class Machine(RuleBasedStateMachine):
    """Slots beside a model that looks at everything each time."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(3, 6)
        self.running: list[int] = []
        self.waiting: list[tuple[int, int]] = []
        self.turns: dict[int, int] = {}
        self.places: dict[int, int] = {}
        self.numbers = itertools.count()
        self.place = itertools.count()
        self.turn = 0

    def served(self, party: int) -> None:
        self.running.append(party)
        self.turn += 2
        self.turns[party] = self.turn + 1

    def forget(self) -> None:
        for party in set(self.turns) - {*self.running, *(waiting for waiting, _ in self.waiting)}:
            del self.turns[party]

    def serve(self) -> None:
        while True:
            item = self.slots.next()
            if item is None:
                assert not self.waiting or len(self.running) >= (self.slots.most or 0)
                return
            counts = {party: self.running.count(party) for party, _ in self.waiting}
            party = min(counts, key=lambda each: (counts[each], self.turns[each], self.places[each]))
            first = next(waiting for waiting in self.waiting if waiting[0] == party)
            assert item == first[1]
            self.waiting.remove(first)
            self.served(party)
            self.places[party] = next(self.place)

    @rule(party=st.integers(0, 4))
    def call(self, party: int) -> None:
        is_room = not self.waiting and len(self.running) < (self.slots.most or 0)
        assert self.slots.is_full == (not is_room and len(self.waiting) >= self.slots.queue)
        if self.slots.is_full:
            return
        assert self.slots.take(party) == is_room
        if is_room:
            self.served(party)
            return
        number = next(self.numbers)
        self.slots.wait(party, number)
        if not any(waiting == party for waiting, _ in self.waiting):
            self.turns.setdefault(party, self.turn)
            self.places[party] = next(self.place)
        self.waiting.append((party, number))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        party = data.draw(st.sampled_from(self.running))
        self.running.remove(party)
        self.forget()
        self.slots.free(party)
        self.serve()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        left = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(left)
        self.forget()
        assert self.slots.leave(*left)

    @rule(most=st.integers(1, 5), queue=st.integers(0, 8))
    def edit(self, most: int, queue: int) -> None:
        self.slots.most, self.slots.queue = most, queue
        self.serve()

    @invariant()
    def counts_agree(self) -> None:
        assert self.slots.running == len(self.running)
        assert self.slots.waiting == len(self.waiting)
        assert set(self.slots._parties) == {*self.running, *(party for party, _ in self.waiting)}


TestAgainstAModel = Machine.TestCase
TestAgainstAModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 5))
def test_nobody_who_waits_has_two_fewer_than_somebody_who_is_served(calls: list[int], most: int) -> None:
    slots = Slots(most, 100)
    running: list[int] = []
    waiting: list[int] = []
    for number, party in enumerate(calls):
        if slots.take(party):
            running.append(party)
        else:
            slots.wait(party, (party, number))
            waiting.append(party)
    while running:
        slots.free(running.pop(0))
        item = slots.next()
        if item is not None:
            party = item[0]  # type: ignore[index]  # a pair
            assert all(running.count(party) <= running.count(other) for other in waiting)
            waiting.remove(party)
            running.append(party)
    assert not waiting
