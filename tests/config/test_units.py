import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.config.units import (
    LARGEST,
    LONGEST,
    MOST_OFTEN,
    Rate,
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@given(st.integers(0, int(LONGEST) * 1000))
def test_a_duration_written_to_the_millisecond_reads_back_the_same(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(1, LARGEST))
def test_a_size_reads_back_the_same(size):
    assert parse_size(format_size(size)) == size


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.text(), max_size=2))
def test_anything_is_a_duration_or_a_value_error(value):
    try:
        seconds = parse_duration(value)
    except ValueError:
        return
    assert seconds is None or 0 <= seconds <= LONGEST


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.text(), max_size=2))
def test_anything_is_a_size_or_a_value_error(value):
    try:
        size = parse_size(value)
    except ValueError:
        return
    assert 1 <= size <= LARGEST


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30.0),
        ("5m", 300.0),
        ("250ms", 0.25),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        ("1.5h", 5400.0),
        ("1.1s", 1.1),
        ("0s", 0.0),
        ("30", 30.0),
        ("2.5", 2.5),
        (30, 30.0),
        (0.5, 0.5),
        (0, 0.0),
        ("never", None),
    ],
)
def test_durations_are_read_as_people_write_them(written, seconds):
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "s", "5 minutes", "5x", "-5s", "30m1h", "5s5s", "1e3", "٣s", "Never", "1h 30m", "1_0s"),
        *(-1, -0.5, float("nan"), float("inf"), 10**400, "9999999d", True, None, [], {}),
    ],
)
def test_what_is_no_duration_is_refused_with_a_sentence(written):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("4MiB", 4 * 1024**2),
        ("64kB", 64000),
        ("64KB", 64000),
        ("1GiB", 1024**3),
        ("1.5KiB", 1536),
        ("10B", 10),
        ("10", 10),
        (1, 1),
        ("1 MB", 10**6),
    ],
)
def test_sizes_are_read_as_people_write_them(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize(
    "written", ["", "4M", "4mib", "MiB", "-1", "4 4MiB", 0, -1, 1.5, True, None, [], "9999999999GiB", 2**60]
)
def test_what_is_no_size_is_refused_with_a_sentence(written):
    with pytest.raises(ValueError, match="size"):
        parse_size(written)


@given(st.builds(Rate, st.integers(1, MOST_OFTEN), st.sampled_from([1.0, 60.0, 3600.0])) | st.none())
def test_a_rate_reads_back_the_same(rate):
    assert parse_rate(format_rate(rate)) == rate


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.lists(st.text(), max_size=2))
def test_anything_is_a_rate_or_a_value_error(value):
    try:
        rate = parse_rate(value)
    except ValueError:
        return
    assert rate is None or 1 <= rate.times <= MOST_OFTEN


def test_rates_are_in_a_second_a_minute_or_an_hour():
    assert [parse_rate(text) for text in ("100/s", "30 / m", "1000/h", "none")] == [
        Rate(100, 1.0),
        Rate(30, 60.0),
        Rate(1000, 3600.0),
        None,
    ]
    for wrong in ("1.5/s", "/s", "5", "5/ms", "0/s", "1000001/s", "-1/s", "٣/s"):
        with pytest.raises(ValueError, match="rate"):
            parse_rate(wrong)
