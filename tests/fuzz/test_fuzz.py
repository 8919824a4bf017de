"""The short form of `./scripts/soak fuzz`: a few hundred examples for each reader of bytes from outside."""

import pytest
from hypothesis import HealthCheck, given, settings
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_from_outside_crash_hang_or_mislead_a_reader(name: str) -> None:
    with TARGETS[name]() as target:

        @settings(max_examples=target.examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(target.strategy())
        def hold(example: object) -> None:
            target.check(example)

        hold()
