"""`python -m tests.serving.stdio_server`: the kit's handler on standard input and output, with a print to disturb it."""

import asyncio
import sys

from meshproxy.serving.stdio import serve_stdio
from tests.kit.echo import EchoHandler


class Chatty(EchoHandler):
    async def _loud(self, context, arguments):  # type: ignore[no-untyped-def]  # the kit's signature
        print("this is no message")
        return "printed"


if __name__ == "__main__":
    limits = {"max_line": int(sys.argv[1])} if len(sys.argv) > 1 else {}
    asyncio.run(serve_stdio(Chatty(), **limits))
