"""Bar charts as SVG, written by hand: one bar per contender and era, on a logarithmic scale, with its number beside it."""

import math
from dataclasses import dataclass
from html import escape

COLOURS = {"legacy": "#5b8def", "modern": "#2f5fc4"}
OURS = {"legacy": "#f0a35e", "modern": "#d9772b"}
LABEL, PLOT, BAR, GAP = 190, 430, 15, 12


@dataclass(frozen=True)
class Bar:
    label: str
    values: dict[str, float]
    """By era; what is missing has no bar."""
    ours: bool = False


def chart(title: str, unit: str, bars: list[Bar]) -> str:
    """`unit` follows each number: the ends of the scale are the powers of ten around the values."""
    values = [value for bar in bars for value in bar.values.values() if value > 0]
    low = math.floor(math.log10(min(values, default=1)))
    high = max(math.ceil(math.log10(max(values, default=10))), low + 1)
    parts, y = [], 52
    top = y
    for bar in bars:
        height = BAR * max(len(bar.values), 1)
        parts.append(text(LABEL - 10, y + height / 2 + 4, bar.label, anchor="end", weight="600" if bar.ours else "400"))
        for era, value in bar.values.items():
            width = max((math.log10(value) - low) / (high - low) * PLOT, 1) if value > 0 else 1
            colour = (OURS if bar.ours else COLOURS)[era]
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2" fill="{colour}"/>')
            parts.append(text(LABEL + width + 6, y + BAR - 4, f"{number(value)}{unit} {era}", size=11, colour="#666"))
            y += BAR
        y += GAP
    grid = [
        f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{y - GAP + 4}" stroke="#ddd"/>'
        + text(x, top - 10, f"{number(10.0**power)}{unit}", anchor="middle", size=10, colour="#999")
        for power in range(low, high + 1)
        for x in [LABEL + (power - low) / (high - low) * PLOT]
    ]
    width, height = LABEL + PLOT + 130, y + 6
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif">',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            text(12, 22, title, size=15, weight="600"),
            *grid,
            *parts,
            "</svg>\n",
        ]
    )


def text(
    x: float, y: float, said: str, *, anchor: str = "start", size: int = 12, weight: str = "400", colour: str = "#222"
) -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(said)}</text>'


def number(value: float) -> str:
    """Three digits at most, as people write them."""
    if value >= 100:
        return f"{value:,.0f}"
    if value >= 0.1:
        digits = f"{value:.1f}" if value >= 10 else f"{value:.2f}"
        return digits.rstrip("0").rstrip(".")
    return f"{value:.1g}"
