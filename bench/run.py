"""The benchmark: every contender side by side in one run, one table, and the raw numbers that it was made from.

    ./scripts/bench [--quick] [--only hop,kinds,listing,memory,scale,start,reload,profile] [--contenders nginx,meshproxy,...] [--publish]

Results go to bench/out/: raw.json, table.md and the pictures. `--publish` also puts them into docs/.
"""

import argparse
import json
import re
import sys
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from bench.contenders import CONTENDERS
from bench.ground import ROOT, Ground, say
from bench.measures.plan import FULL, QUICK
from bench.processes import unwind_on_signals
from bench.table import Report

MEASURES = ("hop", "kinds", "listing", "memory", "scale", "start", "reload", "profile")
BY_NAME = ("access", "workers")
"""Those that are measured only if they are asked for, and are in no table."""
OUT = ROOT / "bench" / "out"
PAGE = ROOT / "docs" / "performance.md"
PUBLISHED = ROOT / "docs" / "performance"
BETWEEN = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def main() -> None:
    unwind_on_signals()
    options = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer and shorter rounds, without 64 clients")
    options.add_argument("--only", default=",".join(MEASURES), help=f"some of {', '.join(MEASURES + BY_NAME)}")
    options.add_argument("--contenders", default=",".join(CONTENDERS), help=f"some of {', '.join(CONTENDERS)}")
    options.add_argument(
        "--publish", action="store_true", help="put the table, the pictures and the raw numbers into docs/"
    )
    options.add_argument("--table", metavar="RAW", help="measure nothing: make the table again from this raw file")
    asked = options.parse_args()
    if asked.table:
        raw = json.loads(Path(asked.table).read_text())
    else:
        raw = measure(
            split(options, asked.only, MEASURES + BY_NAME),
            split(options, asked.contenders, CONTENDERS),
            quick=asked.quick,
        )
    report = Report(raw)
    write(OUT, raw, report)
    if asked.publish:
        publish(raw, report)
    print(report.markdown())
    sys.exit(1 if report.problems() else 0)


def split(options: argparse.ArgumentParser, given: str, known) -> list[str]:
    unknown = set(given.split(",")) - set(known)
    if unknown:
        options.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return [name for name in known if name in given.split(",")]


def measure(measures: list[str], wanted: list[str], *, quick: bool) -> dict:
    effort = QUICK if quick else FULL
    ground = Ground()
    ground.prepare(set(wanted))
    if not (ROOT / ".venv" / "bin" / "meshproxy").exists():
        ground.missing["meshproxy"] = "it is not installed in .venv"
    raw: dict = {"effort": asdict(effort), "rounds": effort.rounds}
    for name in measures:
        say(f"{name}:")
        began = time.monotonic()
        raw[name] = import_module(f"bench.measures.{name}").measure(ground, wanted, effort)
        say(f"  took {time.monotonic() - began:.0f} s")
        raw |= {"versions": ground.versions, "missing": ground.missing}
        write(OUT, raw, None)
    return raw


def write(place: Path, raw: dict, report: Report | None) -> None:
    place.mkdir(parents=True, exist_ok=True)
    (place / "raw.json").write_text(json.dumps(raw, indent=1) + "\n")
    if report is not None:
        (place / "table.md").write_text(report.markdown())
        draw(place, report)


def draw(place: Path, report: Report) -> None:
    for name, picture in report.pictures().items():
        (place / name).write_text(picture)


def publish(raw: dict, report: Report) -> None:
    PUBLISHED.mkdir(exist_ok=True)
    (PUBLISHED / "raw.json").write_text(json.dumps(raw, separators=(",", ":")) + "\n")
    draw(PUBLISHED, report)
    PAGE.write_text(BETWEEN.sub(lambda _: report.markdown(), PAGE.read_text()))


if __name__ == "__main__":
    main()
