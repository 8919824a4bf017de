"""An edit is in force everywhere or nowhere, whatever comes first."""

from meshproxy.cluster.ballot import Ballot, Told
from meshproxy.cluster.lines import Lines, line_of


def ballot(*workers: int) -> Ballot:
    found = Ballot("old")
    for worker in workers:
        assert found.holds(worker, "old") == []
    return found


def test_an_edit_for_which_all_are_ready_is_agreed_to() -> None:
    votes = ballot(0, 1)
    assert votes.ready(0, "new") == []
    assert votes.in_force == "old"
    assert votes.ready(1, "new") == [Told(0, "agreed", "new"), Told(1, "agreed", "new")]
    assert votes.in_force == "new"


def test_an_edit_that_one_refuses_is_refused_to_all_whoever_comes_first() -> None:
    votes = ballot(0, 1, 2)
    votes.ready(0, "new")
    assert votes.refuses(1, "new", ["why"]) == [Told(0, "refused", "new", ["why"])]
    assert votes.ready(2, "new") == [Told(2, "refused", "new", ["why"])]
    assert votes.in_force == "old"


def test_what_was_refused_may_pass_when_all_read_it_again() -> None:
    votes = ballot(0, 1)
    votes.refuses(0, "new", [])
    votes.again()
    votes.ready(0, "new")
    assert len(votes.ready(1, "new")) == 2


def test_a_newer_edit_takes_the_place_of_an_older_one() -> None:
    votes = ballot(0, 1)
    votes.ready(0, "new")
    votes.ready(0, "newer")
    assert votes.ready(1, "new") == []
    assert len(votes.ready(1, "newer")) == 2


def test_nobody_waits_for_a_worker_that_is_gone() -> None:
    votes = ballot(0, 1)
    votes.ready(0, "new")
    assert votes.left(1) == [Told(0, "agreed", "new")]
    assert votes.left(5) == []


def test_an_edit_that_changes_nothing_for_one_is_no_hindrance() -> None:
    votes = ballot(0, 1)
    votes.ready(0, "new")
    assert votes.holds(1, "new") == [Told(0, "agreed", "new")]


def test_a_worker_that_comes_later_gets_what_the_others_have_or_leaves() -> None:
    votes = ballot(0)
    votes.ready(0, "new")
    assert votes.in_force == "new"
    assert votes.holds(1, "old") == []
    assert votes.ready(1, "new") == [Told(1, "agreed", "new")]
    assert votes.holds(2, "old") == []
    assert votes.refuses(2, "new", []) == [Told(2, "leave", "new")]
    # One that has it already, and cannot read it once more, keeps it.
    assert votes.refuses(0, "new", []) == []


def test_what_is_said_comes_whole_in_whatever_pieces() -> None:
    lines, data = Lines(), line_of("ready", digest="a") + line_of("settled")
    found = [said for place in range(len(data)) for said in lines.feed(data[place : place + 1])]
    assert found == [{"said": "ready", "digest": "a"}, {"said": "settled"}]
