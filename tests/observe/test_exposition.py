"""Both formats are written as their readers want them."""

import pytest
from meshproxy.observe.exposition import OPEN_METRICS, TEXT, Writer, wants_open_metrics
from meshproxy.observe.histogram import Histogram

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (PROMETHEUS, True),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=much", False),
    ],
)
def test_a_reader_gets_the_format_that_it_likes_best(accept: str, expected: bool) -> None:  # noqa: FBT001
    assert wants_open_metrics(accept) is expected
    assert Writer(open_metrics=expected).content_type == (OPEN_METRICS if expected else TEXT)


@pytest.mark.parametrize(("is_open", "headed", "end"), [(False, "calls_total", ""), (True, "calls", "# EOF\n")])
def test_a_counter_is_headed_by_what_each_format_calls_it(is_open: bool, headed: str, end: str) -> None:  # noqa: FBT001
    writer = Writer(open_metrics=is_open)
    writer.family("calls", "counter", 'Calls, "all"\nof \\ them.')
    writer.sample("calls_total", 2.0, {"a": 'x"\\\n', "b": ""})
    writer.sample("calls_total", 0.5)
    quote = '\\"' if is_open else '"'
    assert writer.taken().decode() == (
        f"# HELP {headed} Calls, {quote}all{quote}\\nof \\\\ them.\n# TYPE {headed} counter\n"
        'calls_total{a="x\\"\\\\\\n"} 2\ncalls_total 0.5\n'
    )
    assert writer.end().decode() == end


@pytest.mark.parametrize(("labels", "inner", "outer"), [({}, "", ""), ({"a": "b"}, 'a="b",', '{a="b"}')])
def test_buckets_are_cumulative(labels: dict[str, str], inner: str, outer: str) -> None:
    found = Histogram((0.5, 2.0))
    for seconds in (0.25, 1.0, 5.0):
        found.add(seconds)
    writer = Writer(open_metrics=False)
    writer.histogram("h", found, labels)
    assert writer.taken().decode() == (
        f'h_bucket{{{inner}le="0.5"}} 1\nh_bucket{{{inner}le="2.0"}} 2\nh_bucket{{{inner}le="+Inf"}} 3\n'
        f"h_sum{outer} 6.25\nh_count{outer} 3\n"
    )
