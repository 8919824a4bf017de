"""Whatever clients and upstreams make up, there are only so many series."""

import pytest
from meshproxy.errors import UpstreamBusy
from meshproxy.observe.lag import Lag
from meshproxy.observe.metrics import MAX_ERRORS, MAX_NAMES, MAX_SERIES, OTHER, Family, Metrics
from meshproxy.observe.process import usage
from meshproxy.observe.record import Record
from tests.kit.waiting import eventually


def ended(name: str = "n_t", upstream: str = "up", method: str = "tools/call", error: str = "") -> Record:
    record = Record(method, {}, 10.0)
    record.name, record.upstream, record.error = name, upstream, error
    record.origin = name.removeprefix("n_")
    record.is_offered = bool(upstream)
    record.sent, record.answered, record.ended = (10.25 if upstream else 0.0), 10.75 if upstream else 0.0, 11.0
    record.outcome = "error" if error else "success"
    return record


def kinds(family: Family) -> dict[tuple[str, str, str, str], int]:
    return {
        (series.upstream, series.method, series.name, error): found.count
        for series in family
        for error, found in series.ended.items()
    }


def test_a_call_is_counted_at_the_mesh_and_at_its_upstream() -> None:
    metrics = Metrics()
    for record in (ended(), ended(), ended(error="tool_error"), ended(method="resources/read", name="r://x")):
        metrics.take(record, {})
    assert kinds(metrics.served) == {
        ("", "tools/call", "n_t", ""): 2,
        ("", "tools/call", "n_t", "tool_error"): 1,
        ("", "resources/read", "", ""): 1,
    }
    assert kinds(metrics.carried) == {
        ("up", "tools/call", "t", ""): 2,
        ("up", "tools/call", "t", "tool_error"): 1,
        ("up", "resources/read", "", ""): 1,
    }
    [first, *_] = metrics.carried
    assert first.ended[""].total == 1.0
    [served, *_] = metrics.served
    assert served.outcomes == {"success": 2, "error": 1}


def test_what_clients_make_up_makes_no_series() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.take(ended(f"tool {number}", upstream="", error="-32602"), {})
        metrics.take(ended("", upstream="", method=f"made/up/{number}", error="-32601"), {})
        metrics.take(ended(f"r://{number}", method="resources/read"), {})
    assert kinds(metrics.served) == {
        ("", "tools/call", "", "-32602"): 10_000,
        ("", OTHER, "", "-32601"): 10_000,
        ("", "resources/read", "", ""): 10_000,
    }


def test_names_and_upstreams_beyond_the_bound_are_one() -> None:
    metrics = Metrics()
    for number in range(MAX_NAMES + 500):
        metrics.take(ended(f"n_{number}"), {})
        metrics.take(ended("", upstream=f"u{number}", method="resources/read"), {})
    served = kinds(metrics.served)
    assert len(served) == MAX_NAMES + 2
    assert served["", "tools/call", OTHER, ""] == 500
    carried = kinds(metrics.carried)
    assert carried["up", "tools/call", OTHER, ""] == 500
    assert carried[OTHER, "resources/read", "", ""] == 501
    assert sum(carried.values()) == 2 * (MAX_NAMES + 500)


def test_errors_beyond_the_bound_are_one() -> None:
    metrics = Metrics()
    for name in range(100):
        for number in range(100):
            metrics.take(ended(f"n_{name}", error=str(-number - 1)), {})
    served = kinds(metrics.served)
    assert {error for *_, error in served} == {str(-number - 1) for number in range(MAX_ERRORS)} | {OTHER}
    assert len(served) <= MAX_SERIES + 100
    assert sum(served.values()) == 10_000


def test_sessions_with_upstreams_beyond_the_bound_are_one() -> None:
    metrics = Metrics()
    for number in range(MAX_NAMES + 3):
        metrics.end_session(f"u{number}", 2.0)
    metrics.end_session("u0", 3.0)
    assert len(metrics.client_sessions) == MAX_NAMES + 1
    assert (metrics.client_sessions["u0"].count, metrics.client_sessions["u0"].total) == (2, 5.0)
    assert metrics.client_sessions[OTHER].count == 3


def test_what_a_limit_holds_back_is_counted_by_the_limit() -> None:
    metrics = Metrics()
    for number in range(MAX_NAMES + 1):
        record = ended(upstream=f"u{number}", error="UpstreamBusy")
        record.sent = 0.0
        metrics.take(record, UpstreamBusy(f"u{number}", "it is", "limits.rate"))
    assert metrics.limited["u0", "limits.rate"] == 1
    assert metrics.limited[OTHER, "limits.rate"] == 1
    assert kinds(metrics.carried) == {}


@pytest.mark.anyio
async def test_the_lag_of_the_loop_is_looked_at_until_it_is_stopped() -> None:
    lag = Lag()
    lag.start()
    await eventually(lambda: lag.late.count)
    lag.stop()
    lag.stop()
    assert lag._timer is None


def test_this_process_is_known() -> None:
    found = usage()
    assert found["process_cpu_seconds"] > 0
    assert found["process_resident_memory_bytes"] > 1_000_000
    assert found["process_open_fds"] > 2
