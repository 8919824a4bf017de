"""Reads, and never answers: on stdio, or over HTTP, where it accepts connections and says nothing on them."""

import anyio
import anyio.abc
from starlette.types import Receive, Scope, Send
from tests.servers.run import listen, parser


async def app(scope: Scope, receive: Receive, _send: Send) -> None:
    if scope["type"] == "http":
        while (await receive())["type"] != "http.disconnect":
            pass


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    if options.transport == "stdio":
        # Deaf even to the end of its input, so that it must be terminated.
        anyio.run(anyio.sleep_forever)
    else:
        listen(app, options)


if __name__ == "__main__":
    main()
