"""How metrics are written down: Prometheus' text format 0.0.4, and OpenMetrics 1.0. Place: observe, pure.

A `Writer` gathers lines. Both formats are nearly the same: in OpenMetrics the head of a counter goes without `_total`, and a last line says that it is the end.
"""

from collections.abc import Mapping
from typing import Final, Literal

from meshproxy.observe.histogram import Histogram

__all__ = ["OPEN_METRICS", "TEXT", "Writer", "wants_open_metrics"]

TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS: Final = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Type = Literal["counter", "gauge", "histogram"]
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def wants_open_metrics(accept: str) -> bool:
    """Whether a reader takes OpenMetrics, and likes it no less than the other; a quality of zero is no."""
    qualities = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in qualities:
            quality = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
            try:
                qualities[kind] = max(qualities[kind], float(quality))
            except ValueError:
                continue
    return 0.0 < qualities["application/openmetrics-text"] >= qualities["text/plain"]


class Writer:
    """One reading."""

    def __init__(self, *, open_metrics: bool) -> None:
        self.content_type = OPEN_METRICS if open_metrics else TEXT
        self._is_open = open_metrics
        self._lines: list[str] = []

    def family(self, name: str, kind: Type, about: str) -> None:
        """Begin a metric; `name` is without `_total`, which a counter's samples bear."""
        headed = f"{name}_total" if kind == "counter" and not self._is_open else name
        text = about.replace("\\", "\\\\").replace("\n", "\\n")
        if self._is_open:
            text = text.replace('"', '\\"')
        self._lines += (f"# HELP {headed} {text}", f"# TYPE {headed} {kind}")

    def sample(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """One value of it. Labels that are empty are left out, which means the same."""
        text = _labels(labels or {})
        self._lines.append(f"{name}{{{text}}} {_number(value)}" if text else f"{name} {_number(value)}")

    def histogram(self, name: str, found: Histogram, labels: Mapping[str, str]) -> None:
        """All values of a histogram."""
        text = _labels(labels)
        inner = f"{text}," if text else ""
        below = 0
        for bound, count in zip(found.bounds, found.counts, strict=False):
            below += count
            self._lines.append(f'{name}_bucket{{{inner}le="{bound}"}} {below}')
        below += found.counts[-1]
        outer = f"{{{text}}}" if text else ""
        self._lines += (
            f'{name}_bucket{{{inner}le="+Inf"}} {below}',
            f"{name}_sum{outer} {_number(found.total)}",
            f"{name}_count{outer} {below}",
        )

    def taken(self) -> bytes:
        """What was written since this was asked last."""
        lines, self._lines = self._lines, []
        return "".join(f"{line}\n" for line in lines).encode()

    def end(self) -> bytes:
        """The same, and the end."""
        if self._is_open:
            self._lines.append("# EOF")
        return self.taken()


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items() if value)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
