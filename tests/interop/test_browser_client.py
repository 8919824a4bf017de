"""A client in a browser, on a page of another origin: Debian's Chromium and the TypeScript SDK, against a real mesh."""

import contextlib
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.kit.node import needs_node, node_command
from tests.kit.places import ROOT
from tests.kit.program import PROGRAM, serve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    needs_node,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (on Debian: apt-get install chromium)"),
]

PATIENCE = 60.0
"""Seconds for a visit, which starts a browser."""
PAGE = b'<!doctype html><title>A client</title><script type="module" src="/page.js"></script>'
SEEN = {"unknown": [404, True], "large": [413, True], "media": [415, True]}


class Site:
    """A web site with one page, which tells what it saw."""

    def __init__(self, script: bytes) -> None:
        told: queue.Queue[Any] = queue.Queue()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_script = self.path == "/page.js"
                self.send_response(200)
                self.send_header("content-type", "text/javascript" if is_script else "text/html")
                self.end_headers()
                self.wfile.write(script if is_script else PAGE)

            def do_POST(self) -> None:
                told.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.told = told
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    script = tmp_path_factory.mktemp("page") / "page.js"
    line = node_command("rolldown", str(ROOT / "tests/node/page.mjs"), "--file", str(script), "--platform", "browser")
    ended = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=ROOT / "tests/node")
    assert ended.returncode == 0, ended.stderr
    found = Site(script.read_bytes())
    with found.server:
        serving = threading.Thread(target=found.server.serve_forever)
        serving.start()
        yield found
        found.server.shutdown()
        serving.join()


@contextlib.contextmanager
def visited(url: str, profile: Path) -> Iterator[None]:
    """A browser that looks at a page, for as long as the block lasts. Every name leads to this machine."""
    line = [
        *(
            str(CHROMIUM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ),
        *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"),
        *("--host-resolver-rules=MAP *.test 127.0.0.1", url),
    ]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mesh")
    document = {
        "server": {"allowed_origins": ["http://app.test"], "max_body": 100_000},
        "upstreams": {"clock": {"command": PROGRAM[0], "args": [*PROGRAM[1:], "sample", "clock"]}},
    }
    (folder / "mesh.yaml").write_text(json.dumps(document))
    with serve(folder / "mesh.yaml", folder / "log") as served:
        served.await_settled()
        yield served.url


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_page_of_an_allowed_origin_is_a_client_like_any_other_and_learns_why_it_is_refused(
    site: Site, mesh: str, tmp_path: Path, era: str
) -> None:
    page = f"http://app.test:{site.server.server_port}/?mesh={mesh}&era={era}"
    with visited(page, tmp_path):
        seen = site.told.get(timeout=PATIENCE)
    assert "clock_now" in seen.pop("tools")
    assert seen == {"called": True, "session": era == "legacy", **SEEN}


def test_a_page_of_another_origin_gets_nothing(site: Site, mesh: str, tmp_path: Path) -> None:
    page = f"http://evil.test:{site.server.server_port}/?mesh={mesh}&era=legacy"
    with visited(page, tmp_path):
        seen = site.told.get(timeout=PATIENCE)
    assert seen.keys() == {"error"}
    assert "Failed to fetch" in seen["error"]
