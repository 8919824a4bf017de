"""A browser behind the mesh: Playwright's server drives Debian's Chromium, and the page that a client has opened stays open between its calls.

It is the server for whose sake clients have state: what it keeps is in the process, and it asks for roots and logs on the way.
"""

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp_types import ListRootsResult, Root
from tests.kit.node import needs_node, node_command
from tests.kit.program import serve
from tests.kit.sdk import connected

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.anyio,
    needs_node,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (on Debian: apt-get install chromium)"),
]

PATIENCE = 60.0
"""Seconds for a visit, which starts a browser."""
PAGE = b"""<!doctype html><title>A shop</title><h1>A shop</h1>
<button onclick="n += 1; say()">Buy</button><p id="told"></p>
<script>let n = 0; function say() { told.textContent = "bought " + n; console.log("the cart has " + n) } say()</script>"""


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """A page with a button, on the loopback interface."""

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


@pytest.fixture(params=["auto", "isolated", "shared"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A mesh with the browser as its upstream `web`, shared in each way that there is."""
    browser = {
        "browserName": "chromium",
        "isolated": True,
        "launchOptions": {
            "executablePath": CHROMIUM,
            "headless": True,
            # Chromium's sandbox does not work for root.
            "chromiumSandbox": os.geteuid() != 0,
            "args": ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"],
        },
    }
    settings = tmp_path / "playwright.json"
    settings.write_text(json.dumps({"browser": browser, "outputDir": str(tmp_path / "output")}))
    command, *arguments = node_command("playwright-mcp", "--config", str(settings))
    web = {"command": command, "args": arguments, "session": request.param}
    file = tmp_path / "mesh.yaml"
    file.write_text(json.dumps({"server": {"list_grace": "20s"}, "upstreams": {"web": web}}))
    return file


async def rooted(_context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///here", name="here")])


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_page_stays_open_between_the_calls_of_a_client(
    config: Path, shop: str, tmp_path: Path, mode: str
) -> None:
    with serve(config, tmp_path / "log") as mesh:
        async with connected(mesh.url, mode=mode, list_roots_callback=rooted, deadline=PATIENCE) as client:

            async def call(tool: str, **arguments: Any) -> str:
                result = await client.call_tool(f"web_browser_{tool}", arguments)
                assert not result.is_error, result
                return str(result.content[0].text)

            assert "A shop" in await call("navigate", url=shop)
            assert "the cart has 0" in await call("console_messages", level="info")
            for bought in (1, 2):
                shown = await call("snapshot")
                assert f"bought {bought - 1}" in shown
                button = re.search(r'button "Buy".*?\[ref=(\w+)\]', shown)
                assert button is not None, shown
                await call("click", element="the button", target=button[1])
            assert "bought 2" in await call("snapshot")
            assert "the cart has 2" in await call("console_messages", level="info")
            await call("close")
