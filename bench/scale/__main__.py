"""How many replicas a load needs, what their store carries, and where it breaks first, from measured costs.

./scripts/bench --scale             print the tables, in seconds
./scripts/bench --scale --measure   measure anew what nothing else measures
./scripts/bench --scale --publish   write the tables into docs/how-far.md, too
"""

import argparse
import sys

from bench.ground import ROOT
from bench.scale.costs import measured
from bench.scale.table import BEGIN, END, text

PAGE = ROOT / "docs" / "how-far.md"


def main() -> int:
    options = argparse.ArgumentParser(prog="scripts/bench --scale", description=__doc__.splitlines()[0])
    options.add_argument("--measure", action="store_true", help="measure hand-overs, greetings and the store first")
    options.add_argument("--publish", action="store_true", help="write the tables into docs/how-far.md, too")
    asked = options.parse_args()
    if asked.measure:
        from bench.processes import unwind_on_signals
        from bench.scale.measure import measure

        unwind_on_signals()
        measure()
    told = text(measured())
    if asked.publish:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{rest.partition(END)[2]}")
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
