"""Many clients with interactive calls in flight at once: nobody gets another's message, with every way to share an upstream."""

from collections.abc import Callable

import pytest
from meshproxy.upstream import attribution
from tests.fidelity.isolation import SETTINGS, Setting, endure
from tests.kit.running import Running

pytestmark = pytest.mark.anyio

CLIENTS, ROUNDS = 8, 2


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
async def test_each_question_reaches_the_client_whose_call_raised_it(
    shared_server: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, setting: Setting
) -> None:
    if setting.may_refuse:
        # Those that are refused are refused after this time: it is short for them alone, or a busy machine would have others refused.
        monkeypatch.setattr(attribution, "HOLD", 0.2)
    url = ""
    if setting.transport != "stdio":
        url = shared_server("basic", transport=setting.transport.split()[0], era=setting.era).url
    tally = await endure(setting, url, CLIENTS, ROUNDS, ROUNDS)
    assert (tally.strays, tally.failures) == ({}, [])
    assert tally.answered + tally.refused == tally.calls == CLIENTS * ROUNDS
    assert tally.refused == 0 or setting.may_refuse
