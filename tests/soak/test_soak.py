"""The short form of `./scripts/soak reload`: the same checks, but for those of times."""

import pytest
from tests.soak.reload import run

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", [1, 2])
async def test_edits_under_load_are_followed_and_touch_nobody_else(seed: int) -> None:
    figures = await run(8, seed, small=True, timed=False)
    assert figures.violations == []
    assert sum(figures.edits.values()) + sum(figures.broken.values()) >= 8
    assert all(figures.latencies.values())
