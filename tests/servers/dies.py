"""Exits at once, with a reason on stderr."""

import argparse
import sys


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--status", type=int, default=3)
    options.add_argument("--reason", default="no licence found in /etc/licence")
    chosen = options.parse_args()
    print(chosen.reason, file=sys.stderr)
    sys.exit(chosen.status)


if __name__ == "__main__":
    main()
