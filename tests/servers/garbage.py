"""Prints what is no MCP on stdout: before it behaves like `basic`, or, with `--only`, instead."""

import os
import sys

from tests.servers import basic
from tests.servers.run import parser, run

GARBAGE = b'Welcome to our server!\n{"not": "json-rpc"}\n[]\n{"jsonrpc": "2.0", "id": 99, "result": {}}\n\xff\xfe\n\n{unfinished\n'


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", action="store_true")
    chosen = options.parse_args()
    os.write(1, GARBAGE)
    if chosen.only:
        while sys.stdin.buffer.readline():
            os.write(1, GARBAGE)
    else:
        run(basic.kit("garbage").server(), chosen)


if __name__ == "__main__":
    main()
