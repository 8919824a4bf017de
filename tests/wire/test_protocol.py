"""The tables of the protocol, and the questions that they answer."""

import pytest
from meshproxy.wire.protocol import (
    LATEST_LEGACY,
    LEGACY_VERSIONS,
    LOG_LEVELS,
    META_CAPABILITIES,
    META_CLIENT,
    META_VERSION,
    MODERN_VERSIONS,
    admits,
    envelope,
    negotiated,
)


@pytest.mark.parametrize("asked", [*MODERN_VERSIONS, "1.0", "", None, 3, ["2025-11-25"]])
def test_a_handshake_that_asks_for_what_is_not_served_ends_at_the_latest(asked: object) -> None:
    assert negotiated(asked) == LATEST_LEGACY


def test_a_handshake_ends_at_the_version_that_it_asks_for() -> None:
    assert [negotiated(version) for version in LEGACY_VERSIONS] == [*LEGACY_VERSIONS]


def test_a_threshold_admits_its_level_and_what_is_more_severe() -> None:
    for place, threshold in enumerate(LOG_LEVELS):
        assert [level for level in LOG_LEVELS if admits(threshold, level)] == [*LOG_LEVELS[place:]]


def test_no_threshold_admits_nothing_and_a_level_that_nobody_knows_passes_any() -> None:
    assert not any(admits(threshold, level) for threshold in (None, "loud") for level in (*LOG_LEVELS, "odd", 3))
    assert all(admits(threshold, level) for threshold in LOG_LEVELS for level in ("odd", 3, None))


def test_the_envelope_says_version_client_and_capabilities() -> None:
    assert envelope("v", {"name": "n"}, {"roots": {}}) == {
        META_VERSION: "v",
        META_CLIENT: {"name": "n"},
        META_CAPABILITIES: {"roots": {}},
    }
