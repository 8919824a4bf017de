"""The project's own server and transports: a `FastMCP` over HTTP, with the conformance server in the same process behind it."""

import asyncio
import sys
from typing import Any

from meshproxy import FastMCP, ProxyClient, ProxyProvider
from meshproxy.serving.server import listen, run, serve_http, url_of
from tests.servers.conformance import kit
from tests.servers.run import announce, parser


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    sockets = listen("127.0.0.1", options.port)

    async def serve(stopping: asyncio.Event) -> None:
        server = FastMCP("in-process")
        server.add_provider(ProxyProvider(ProxyClient(kit().server())))
        app = server.http_app()
        async with server:
            announce(options, url_of(sockets, "127.0.0.1", app.settings.path))
            ended: Any = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
            ended.add_done_callback(lambda _: stopping.set())
            await serve_http(app, sockets, stopping, before_drain=server.end_streams)

    run(serve)


if __name__ == "__main__":
    main()
