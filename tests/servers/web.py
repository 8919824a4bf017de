"""An HTTP server that is no MCP server: a page, `--status` and `--type` for every request."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tests.servers.run import listen, parser

PAGE = "<!doctype html><title>Our shop</title><h1>Welcome</h1>"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--status", type=int, default=200)
    options.add_argument("--type", default="text/html")
    options.add_argument("--body", default=PAGE)
    options.add_argument("--location", help="where a redirect leads")
    chosen = options.parse_args()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {"location": chosen.location} if chosen.location else None
            response = Response(chosen.body, status_code=chosen.status, media_type=chosen.type, headers=headers)
            await response(scope, receive, send)

    listen(app, chosen)


if __name__ == "__main__":
    main()
