"""Is `basic`, but does not start before the file `--go` is there, or before `--seconds` have passed."""

import time
from pathlib import Path

from tests.servers import basic
from tests.servers.run import parser, run


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--go", type=Path)
    options.add_argument("--seconds", type=float, default=0.0)
    chosen = options.parse_args()
    time.sleep(chosen.seconds)
    while chosen.go and not chosen.go.exists():
        time.sleep(0.01)
    run(basic.kit("slow_start").server(), chosen)


if __name__ == "__main__":
    main()
