"""Runs the matrix and writes `docs/fidelity.md`: ./scripts/fidelity [WORDS]. With words, only the rows that contain one, and no page."""

import sys
import time

import anyio
import structlog
from tests.fidelity.bench import bench
from tests.fidelity.matrix import INTERACTIONS, PAGE, failures, observe, page


async def main(words: list[str]) -> int:
    begun = time.monotonic()
    outcomes = {}
    chosen = [
        row
        for row in INTERACTIONS
        if not words or any(word.lower() in f"{row.group}: {row.name}".lower() for word in words)
    ]
    async with bench() as ready:
        for row in chosen:
            outcomes[row] = await observe(ready, row)
            failed = failures(outcomes[row])
            print(f"{'failed' if failed else 'passed'}  {row.group}: {row.name}")
            for told in failed:
                print(f"        {told}")
    bad = sum(len(failures(found)) for found in outcomes.values())
    print(f"{len(outcomes)} rows, {bad} cells failed, {time.monotonic() - begun:.0f} s")
    if not words and not bad:
        PAGE.write_text(page(outcomes))
        print(f"{PAGE} is written")
    return 1 if bad else 0


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[])
    sys.exit(anyio.run(main, sys.argv[1:]))
