"""`python -m meshproxy.samples NAME [--http PORT [--until-eof]]`."""

import argparse
import sys

from meshproxy.samples import NAMES, run


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m meshproxy.samples", description="Serve a sample server.")
    options.add_argument("name", choices=NAMES)
    options.add_argument("--http", type=int, metavar="PORT", help="listen on 127.0.0.1; 0 takes a free port")
    options.add_argument("--until-eof", action="store_true", help="with --http: end when standard input does")
    chosen = options.parse_args()
    try:
        run(chosen.name, "stdio" if chosen.http is None else "http", chosen.http, until_eof=chosen.until_eof)
    except OSError as error:
        sys.exit(f"The sample can't listen on port {chosen.http}: {error.strerror}")


if __name__ == "__main__":
    main()
