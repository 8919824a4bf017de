"""`Slots`: who may call an upstream now, where it takes so many calls at one time, and in which order the others follow. Pure. Place: guard.

Calls are of parties, and a slot that is given back goes to the party that has the fewest, of several to the one whose last turn is longest ago; within a party,
first come, first served. Whoever is new takes the turn that was the last one when he came, and goes before the one that had it. So somebody with two hundred
calls delays the first call of somebody else until one slot is given back, be there eight or one; those who call much share what is left in equal parts
(max-min fairness); and nobody who waits is passed by for ever.

Each step costs the logarithm of how many parties wait.
"""

from heapq import heapify, heappop, heappush
from typing import Final

__all__ = ["Slots"]

_FEW: Final = 64
"""Places of a heap that are not worth tidying."""


class _Party:
    """Whose calls run and wait. `turn` is when it was its turn last, and `place` where it waits among those who have the same."""

    __slots__ = ("key", "place", "running", "turn", "waiting")

    def __init__(self, key: object, turn: int) -> None:
        self.key = key
        self.running = 0
        self.turn = turn
        self.place = 0
        self.waiting: dict[object, None] = {}


class Slots:
    """The slots of one upstream.

    Attributes:
        most: how many there are; None for any number. It may be changed at any time, and `next` asked then.
        queue: how many items may wait.
        running: how many are taken.
        others: how many more calls are in flight that have taken none, because there was no bound when they began.
        waiting: how many items wait.
    """

    __slots__ = ("_heap", "_parties", "_place", "_turn", "most", "others", "queue", "running", "waiting")

    def __init__(self, most: int | None, queue: int) -> None:
        self.most = most
        self.queue = queue
        self.running = 0
        self.others = 0
        self.waiting = 0
        self._parties: dict[object, _Party] = {}
        self._heap: list[tuple[int, int, int, _Party]] = []
        self._turn = 0
        self._place = 0

    @property
    def is_full(self) -> bool:
        """Whether there is neither a slot nor a place to wait for one."""
        return self.waiting >= self.queue and (self.waiting > 0 or not self._is_room())

    def take(self, key: object) -> bool:
        """Take a slot for the party `key`, if there is one and nobody waits for it."""
        if self.waiting or not self._is_room():
            return False
        self._taken(self._party(key))
        return True

    def wait(self, key: object, item: object) -> None:
        """Let `item` of the party `key` wait for a slot, where there is place (`is_full`). Items differ from each other."""
        party = self._party(key)
        is_first = not party.waiting
        party.waiting[item] = None
        self.waiting += 1
        if is_first:
            self._queue(party)

    def leave(self, key: object, item: object) -> bool:
        """Give the place of a waiting item up; false if it does not wait."""
        party = self._parties.get(key)
        if party is None or item not in party.waiting:
            return False
        del party.waiting[item]
        self.waiting -= 1
        self._tidy(party)
        return True

    def free(self, key: object) -> None:
        """Give a slot of the party `key` back. `next` says who gets it."""
        self.running -= 1
        party = self._parties[key]
        party.running -= 1
        if party.waiting:
            self._push(party)
        else:
            self._tidy(party)

    def next(self) -> object:
        """The item that has a slot from now on; None if none waits or there is no room for it."""
        while self._heap and self._is_room():
            running, _, place, party = heappop(self._heap)
            if not party.waiting or running != party.running or place != party.place:
                continue  # what was so, and is not any more
            item = next(iter(party.waiting))
            del party.waiting[item]
            self.waiting -= 1
            self._taken(party)
            if party.waiting:
                self._queue(party)
            return item
        return None

    def _is_room(self) -> bool:
        most = self.most
        return most is None or self.running + self.others < most

    def _party(self, key: object) -> _Party:
        party = self._parties.get(key)
        if party is None:
            party = self._parties[key] = _Party(key, self._turn)
        return party

    def _taken(self, party: _Party) -> None:
        self.running += 1
        party.running += 1
        # Even numbers are for those who have had no turn yet.
        self._turn += 2
        party.turn = self._turn + 1

    def _queue(self, party: _Party) -> None:
        """It waits from now on."""
        self._place += 1
        party.place = self._place
        self._push(party)

    def _push(self, party: _Party) -> None:
        heap = self._heap
        if len(heap) > _FEW and len(heap) > 4 * len(self._parties):
            # Those who come and leave would leave their traces behind for as long as no slot is given back.
            heap[:] = [
                (other.running, other.turn, other.place, other) for other in self._parties.values() if other.waiting
            ]
            heapify(heap)
        heappush(heap, (party.running, party.turn, party.place, party))

    def _tidy(self, party: _Party) -> None:
        """Forget a party that neither calls nor waits."""
        if not party.running and not party.waiting:
            del self._parties[party.key]
