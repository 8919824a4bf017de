"""What several workers count is one reading."""

from meshproxy.cluster.readings import merged

ONE = """# HELP calls Calls.
# TYPE calls counter
calls_total{upstream="a b",tool="{x}"} 1 # {trace_id="7"} 1
calls_total 2
# HELP up It is.
# TYPE up gauge
up 1
# EOF
"""


def test_each_sample_says_whose_it_is_and_each_metric_is_described_once() -> None:
    assert (
        merged({"0": ONE, "1": ONE.replace("up 1", "up 0")})
        == """# HELP calls Calls.
# TYPE calls counter
calls_total{worker="0",upstream="a b",tool="{x}"} 1 # {trace_id="7"} 1
calls_total{worker="0"} 2
calls_total{worker="1",upstream="a b",tool="{x}"} 1 # {trace_id="7"} 1
calls_total{worker="1"} 2
# HELP up It is.
# TYPE up gauge
up{worker="0"} 1
up{worker="1"} 0
# EOF
"""
    )


def test_a_sample_without_labels_may_have_an_exemplar() -> None:
    assert merged({"0": 'x 1 # {a="b"} 1'}) == 'x{worker="0"} 1 # {a="b"} 1\n'
