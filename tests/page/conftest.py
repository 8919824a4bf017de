"""A mesh with upstreams of every sort, in a process of its own, and Debian's Chromium in front of its page."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, sync_playwright
from tests.kit.light import light
from tests.kit.program import Serving, serve, upstream

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 20_000
"""Milliseconds for what a page is to show: browsers are slow where much else runs."""
Json = dict[str, Any]


def upstreams() -> Json:
    return {
        "trips": upstream("trips", "--era", "legacy"),
        "rounds": upstream("everything"),
        "echo": light("--tools", "echo,other"),
        "broken": light("--dies", "cannot read the token file", required=False),
    }


def document(**keys: Any) -> str:
    return json.dumps({"name": "home", "profiles": {"small": {"upstreams": ["echo"]}}, **keys}, indent=1)


class Visit:
    """One page, and what the browser complained of."""

    def __init__(self, page: Page, mesh: Serving) -> None:
        self.page = page
        self.mesh = mesh
        self.base = mesh.url.removesuffix("/mcp")
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.base, "data:")):
            self.elsewhere.append(request.url)

    def go(self, place: str) -> Page:
        self.page.goto(f"{self.base}/#/{place}")
        return self.page


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
    yield started
    started.close()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("page")
    file = folder / "mesh.yaml"
    file.write_text(document(upstreams=upstreams()))
    with serve(file, folder / "log") as served:
        served.await_settled()
        yield served


@pytest.fixture
def visit(browser: Browser, mesh: Serving) -> Iterator[Visit]:
    """A page in front of the mesh. At the end the browser has complained of nothing, and asked nobody else for anything."""
    with visiting(browser, mesh) as found:
        yield found


@contextlib.contextmanager
def visiting(browser: Browser, mesh: Serving, **settings: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, **settings)
    try:
        found = Visit(context.new_page(), mesh)
        yield found
        assert found.complaints == []
        assert found.elsewhere == []
    finally:
        context.close()


def edited(file: Path, change: Any) -> None:
    """Change the document in a file."""
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value, indent=1))


def digits(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)
