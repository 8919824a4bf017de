"""When an upstream is listed again, and asked whether it can be: by its own word, by what is missing, by age, and by doubt."""

import pytest
from meshproxy.supervision import agenda as module
from meshproxy.supervision.agenda import CHECK, DOUBT, RELIST, Agenda
from meshproxy.supervision.pace import GATHER

NOW = 1000.0


def test_one_that_says_what_changes_is_listed_when_it_does() -> None:
    agenda = Agenda(300.0, NOW)
    assert agenda.listing_due(announces=True) is None
    agenda.pace.announced(NOW)
    assert agenda.listing_due(announces=True) == NOW + GATHER
    agenda.begin(NOW + 1)
    assert agenda.listing_due(announces=True) is None


def test_one_that_would_not_say_is_listed_when_its_listing_is_old() -> None:
    agenda = Agenda(300.0, NOW)
    assert agenda.listing_due(announces=False) == NOW + 300
    agenda.ended(NOW + 10, is_whole=True)
    assert agenda.listing_due(announces=False) == NOW + 310
    assert Agenda(None, NOW).listing_due(announces=False) is None


def test_what_is_missing_is_tried_again_with_growing_pauses() -> None:
    agenda = Agenda(None, NOW)
    first, most = RELIST
    for pause in (first, 2 * first, 4 * first):
        agenda.ended(NOW, is_whole=False)
        assert agenda.listing_due(announces=True) == NOW + pause
    for _ in range(10):
        agenda.ended(NOW, is_whole=False)
    assert agenda.relist == most
    agenda.ended(NOW, is_whole=True)
    assert agenda.listing_due(announces=True) is None


def test_one_that_was_not_listed_for_a_while_is_asked_whether_it_can_be() -> None:
    agenda = Agenda(None, NOW)
    assert agenda.check_due() == NOW + CHECK
    agenda.ended(NOW + 5, is_whole=True)
    assert agenda.check_due() == NOW + 5 + CHECK
    agenda.checked(NOW + 50)
    assert agenda.check_due() == NOW + 50 + CHECK


def test_one_that_is_doubted_is_asked_soon_and_not_with_each_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    agenda = Agenda(None, NOW)
    agenda.doubt(NOW + 20)
    assert agenda.check_due() == NOW + 20
    agenda.doubt(NOW + 25)
    assert agenda.check_due() == NOW + 20
    agenda.checked(NOW + 30)
    agenda.doubt(NOW + 30.1)
    assert agenda.check_due() == NOW + 30 + DOUBT
    assert module.CHECK > DOUBT
