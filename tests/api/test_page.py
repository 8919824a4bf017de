"""The page is served from the mesh itself, to whom it is for, and with a policy that lets nothing else run."""

import re
from pathlib import Path

import pytest
from meshproxy.access.keys import hash_of, new_key
from tests.api.conftest import RunApi
from tests.kit.light import document, light

pytestmark = pytest.mark.anyio
FILES = Path(__file__).parents[2] / "meshproxy" / "page"


async def test_the_page_and_its_files_are_there_for_this_machine(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh:
        page = await mesh.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        for name in re.findall(r'(?:src|href)="(/page/[^"]+)"', page.text):
            found = await mesh.get(name)
            assert found.status_code == 200
            assert (await mesh.get(name, **{"if-none-match": found.headers["etag"]})).status_code == 304
        for name in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/none.js", "/page/vendor"):
            assert (await mesh.get(name)).status_code == 404
        assert (await mesh.post("/")).status_code == 405


async def test_it_is_not_there_for_other_machines_nor_by_other_names(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh:
        assert (await mesh.get("/", **{"x-forwarded-for": "192.0.2.1"})).status_code == 403
        assert (await mesh.get("/", host="evil.test")).status_code == 421


async def test_where_a_key_is_asked_for_the_files_are_there_for_everybody_and_nothing_else_is(operated: RunApi) -> None:
    keys = [{"name": "a", "hash": hash_of(new_key())}]
    async with operated(document({"a": light()}, server={"auth": {"keys": keys}})) as mesh:
        assert (await mesh.get("/", **{"x-forwarded-for": "192.0.2.1"})).status_code == 200
        assert (await mesh.get("/api/status")).status_code == 401


def test_nothing_in_the_files_is_inline_or_from_elsewhere() -> None:
    page = (FILES / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=|style=", page)
    for file in FILES.glob("*.js"):
        for imported in re.findall(r'from "([^"]+)"', file.read_text()):
            assert imported.startswith("./"), f"{file.name} imports {imported}"
            assert (FILES / imported).is_file()
    for file in (*FILES.glob("*.js"), *FILES.glob("*.css"), FILES / "index.html"):
        assert not re.findall(r"(?:src|href|url\()\W{0,2}https?:", file.read_text())
