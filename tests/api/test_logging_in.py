"""A person logs in at an upstream from the page: what brings the browser back is good once, and for that login alone."""

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.api.conftest import RunApi
from tests.kit.authority import authority
from tests.kit.light import document, light
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_login_that_the_page_began_ends_where_the_browser_comes_back(operated: RunApi) -> None:
    async with authority() as there:
        text = document({"there": {"url": there.url, "auth": "oauth"}, "plain": light()})
        async with operated(text, keeps=True) as mesh:
            assert (await mesh.status())["upstreams"]["there"]["state"] == "needs login"
            begun = await mesh.post("/api/upstreams/there/login")
            assert begun.status_code == 200, begun.text
            page = begun.json()["url"]
            (redirect,) = parse_qs(urlsplit(page).query)["redirect_uri"]
            assert redirect == f"{mesh.url}/api/login"

            forged = await mesh.get(f"/api/login?{urlencode({'state': 'x' * 43, 'code': 'y'})}")
            assert forged.status_code == 404
            back = await there.person(page)
            came = await mesh.http.get(back)
            assert (came.status_code, "logged in at there" in came.text) == (200, True)
            assert "frame-ancestors 'none'" in came.headers["content-security-policy"]
            assert (await mesh.http.get(back)).status_code == 404
            await eventually(lambda: mesh.mesh.status()["there"]["state"] == "up")


@pytest.mark.parametrize(
    ("upstream", "words"),
    [
        (light(), "nobody logs in"),
        (
            {"url": "http://127.0.0.1:9/mcp", "auth": {"type": "oauth", "client_id": "x"}},
            "comes back to another address",
        ),
    ],
)
async def test_where_nobody_can_log_in_so_it_is_said_why(operated: RunApi, upstream, words: str) -> None:
    async with operated(document({"there": upstream}), keeps=True) as mesh:
        answer = await mesh.post("/api/upstreams/there/login")
        assert answer.status_code == 409
        assert words in answer.json()["error"]


async def test_where_nothing_is_kept_no_login_is_begun(operated: RunApi) -> None:
    async with operated(document({"there": {"url": "http://127.0.0.1:9/mcp", "auth": "oauth"}})) as mesh:
        answer = await mesh.post("/api/upstreams/there/login")
        assert (answer.status_code, "state" in answer.json()["error"]) == (409, True)
