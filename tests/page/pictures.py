"""Takes the pictures of the page that the documentation shows: `./scripts/pictures`."""

import json
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright
from tests.kit.places import ROOT
from tests.kit.program import PROGRAM, serve
from tests.page.conftest import CHROMIUM, PATIENCE

INTO = ROOT / "docs" / "pictures"
SIZE = {"width": 1280, "height": 800}
BROKEN = "echo 'it is sealed: run vault operator unseal' >&2; exit 1"
UPSTREAMS = {
    "trips": {"command": "python", "args": ["-m", "tests.servers.trips", "--era", "legacy", "--wait", "0.2"]},
    "notes": {"command": "meshproxy", "args": ["sample", "notes"]},
    "clock": {"command": "meshproxy", "args": ["sample", "clock"]},
    "search": {"url": "http://127.0.0.1:9/mcp"},
    "vault": {"command": "sh", "args": ["-c", BROKEN]},
    "archive": {"command": "meshproxy", "args": ["sample", "notes"], "enabled": False},
}


def called(url: str, name: str, **arguments: str) -> None:
    """A call of another client's."""
    given = [json.dumps(arguments)] if arguments else []
    subprocess.run([*PROGRAM, "call", url, name, *given], check=False, capture_output=True, timeout=PATIENCE / 1000)


def upstreams(page: Page) -> None:
    expect(page.get_by_role("region", name="Upstream vault").locator("pre")).to_contain_text("it is sealed")


def catalog(page: Page) -> None:
    page.get_by_role("textbox", name="number").fill("T21")
    page.get_by_role("button", name="Call").click()
    expect(page.get_by_role("form", name="A question")).to_be_visible()


def calls(page: Page) -> None:
    page.get_by_role("button", name="trips_search").first.click()
    expect(page.locator(".timeline")).to_be_visible()


def edits(page: Page) -> None:
    expect(page.locator(".problem").first).to_be_visible()
    page.locator(".edit summary").nth(1).click()


def connect(page: Page) -> None:
    expect(page.get_by_role("heading", name="Claude Code")).to_be_visible()


PICTURES = {
    "upstreams": ("upstreams/vault", upstreams),
    "catalog": ("catalog/tool/trips_pay", catalog),
    "calls": ("calls", calls),
    "edits": ("edits", edits),
    "connect": ("connect", connect),
}


def main() -> None:
    """Serve a mesh, use it a little, and take them, in the light and the first one in the dark as well."""
    INTO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "mesh.yaml"
        cwd = {"cwd": str(ROOT)}
        written = {name: {**one, **(cwd if "command" in one else {})} for name, one in UPSTREAMS.items()}
        file.write_text(json.dumps({"name": "home", "upstreams": written}, indent=1))
        with serve(file, Path(folder) / "log") as mesh:
            mesh.await_settled()
            for _ in range(3):
                called(mesh.url, "trips_search", to="Berlin")
                called(mesh.url, "clock_now", timezone="UTC")
            called(mesh.url, "trips_cancel", number="T9")
            called(mesh.url, "notes_write", title="Packing", text="Socks")
            good = file.read_text()
            file.write_text(good.replace('"notes": {', '"notes": {\n   "namespace": "memo",'))
            mesh.await_event("config.reloaded")
            file.write_text(good.replace('"command"', '"comand"', 1))
            mesh.await_event("config.rejected")
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for colours in ("light", "dark"):
                page = browser.new_context(viewport=SIZE, color_scheme=colours).new_page()
                for name, (place, ready) in PICTURES.items():
                    if colours == "dark" and name != "upstreams":
                        continue
                    page.goto(f"{mesh.url.removesuffix('/mcp')}/#/{place}")
                    ready(page)
                    page.screenshot(path=INTO / f"{name}{'-dark' if colours == 'dark' else ''}.png")
            browser.close()


if __name__ == "__main__":
    main()
