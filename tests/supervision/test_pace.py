"""How soon an upstream is listed again that says that its listings changed, by a clock of the test's own."""

from meshproxy.supervision.pace import BUSY, CALM, GATHER, IDLE_TALK, Pace


class Clock:
    """Lists when it is due, and counts."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now = 100.0
        self.listings: list[float] = []

    def run(self, until: float, *, every: float, is_news: bool) -> None:
        """Say that something changed `every` so many seconds, and list when it is due; a listing takes no time."""
        said = self.now
        while (now := min(said, said if self.pace.due is None else self.pace.due)) < until:
            if self.pace.due is not None and self.pace.due <= now:
                self.pace.begin()
                self.listings.append(now)
                self.pace.ended(now, is_news=is_news)
            else:
                self.pace.announced(now)
                said += every
        self.now = until


def test_the_first_change_is_read_at_once_but_for_a_moment() -> None:
    pace = Pace()
    assert pace.due is None
    for now in (10.0, 10.01, 10.04):
        pace.announced(now)
    assert pace.due == 10.0 + GATHER
    pace.begin()
    assert pace.due is None


def test_changes_that_are_far_apart_are_each_read_at_once() -> None:
    clock = Clock()
    clock.run(130, every=3 * CALM, is_news=True)
    assert clock.listings == [100 + 3 * CALM * number + GATHER for number in range(10)]


def test_what_changes_all_the_time_is_read_about_once_a_second() -> None:
    clock = Clock()
    clock.run(200, every=0.01, is_news=True)
    gaps = [after - before for before, after in zip(clock.listings, clock.listings[1:], strict=False)]
    assert max(gaps) <= BUSY + 0.02
    assert 90 <= len(clock.listings) <= 110


def test_one_that_never_stops_saying_so_for_nothing_is_read_seldom_and_a_change_is_found_all_the_same() -> None:
    clock = Clock()
    clock.run(200, every=0.3, is_news=False)
    assert len([at for at in clock.listings if at < 105]) <= 8
    assert len(clock.listings) <= 8 + 100 / IDLE_TALK
    assert clock.pace.is_idle_talk
    before = len(clock.listings)
    clock.run(200 + IDLE_TALK + 1, every=0.3, is_news=True)
    assert len(clock.listings) > before
    assert not clock.pace.is_idle_talk


def test_one_that_has_calmed_down_is_taken_at_its_word_again() -> None:
    clock = Clock()
    clock.run(200, every=0.3, is_news=False)
    clock.run(200 + IDLE_TALK + 1, every=1000.0, is_news=False)
    clock.now += 2 * IDLE_TALK + 1
    clock.pace.announced(clock.now)
    assert clock.pace.due == clock.now + GATHER


def test_what_is_said_during_a_listing_waits_for_the_next_one() -> None:
    pace = Pace()
    pace.announced(1.0)
    pace.begin()
    pace.announced(1.1)
    pace.ended(5.0, is_news=False)
    assert pace.due == 5.0 + 2 * GATHER
