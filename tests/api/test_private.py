"""Who may use `/api`: this machine where nobody is asked who he is, else whoever has the right; and no page of another site."""

import asyncio

import pytest
from meshproxy.access.access import Entrance
from meshproxy.access.keys import hash_of, new_key
from meshproxy.serving.doors import Doors
from meshproxy.serving.private import Private
from meshproxy.serving.security import Guard
from tests.api.conftest import RunApi
from tests.kit.light import document, light

pytestmark = pytest.mark.anyio
KEYS = {rights: new_key() for rights in ("use", "view", "admin")}


def keyed() -> str:
    keys = [{"name": f"of-{right}", "hash": hash_of(key), "rights": [right]} for right, key in KEYS.items()]
    return document({"a": light()}, server={"auth": {"keys": keys}})


@pytest.mark.parametrize(
    ("right", "reads", "acts"), [(None, 401, 401), ("use", 403, 403), ("view", 200, 403), ("admin", 200, 200)]
)
async def test_reading_needs_the_right_view_and_acting_admin(
    operated: RunApi, right: str | None, reads: int, acts: int
) -> None:
    async with operated(keyed()) as mesh:
        key = None if right is None else KEYS[right]
        for path in ("/api/status", "/api/catalog", "/api/calls", "/api/edits", "/api/logs/a", "/api/clients"):
            assert (await mesh.get(path, key)).status_code == reads
        for path in ("/api/reload", "/api/upstreams/a/restart"):
            assert (await mesh.post(path, key)).status_code == acts
        missing = await mesh.get("/api/nothing", key)
        assert missing.status_code == (404 if reads == 200 else reads)


async def test_an_edit_of_the_keys_is_in_force_at_once(operated: RunApi) -> None:
    async with operated(keyed()) as mesh:
        assert (await mesh.get("/api/status", KEYS["view"])).status_code == 200
        mesh.file.write_text(keyed().replace('"view"', '"use"'))
        assert (await mesh.post("/api/reload", KEYS["admin"])).json()["outcome"] == "applied"
        assert (await mesh.get("/api/status", KEYS["view"])).status_code == 403


async def test_a_key_in_the_query_is_no_key(operated: RunApi) -> None:
    async with operated(keyed()) as mesh:
        assert (await mesh.get(f"/api/status?access_token={KEYS['admin']}")).status_code == 401


STRANGE = [
    ({"host": ""}, 400),
    ({"host": "evil.test"}, 421),
    ({"origin": "http://evil.test"}, 403),
    ({"origin": "http://localhost:1"}, 403),
    ({"origin": "null"}, 403),
    ({"sec-fetch-site": "cross-site"}, 403),
    ({"sec-fetch-site": "same-site"}, 403),
    ({"x-forwarded-for": "192.0.2.1"}, 403),
    ({"forwarded": "for=192.0.2.1"}, 403),
    ({"x-meshproxy": None}, 403),
]


@pytest.mark.parametrize(("headers", "status"), STRANGE)
async def test_a_page_of_another_site_and_who_comes_through_a_proxy_can_do_nothing(
    operated: RunApi, headers: dict[str, str | None], status: int
) -> None:
    async with operated(document({"a": light()})) as mesh:
        sent = {name: value for name, value in {"x-meshproxy": "1", **headers}.items() if value is not None}
        answer = await mesh.http.post(f"{mesh.url}/api/reload", headers=sent)
        assert answer.status_code == status
        assert "access-control-allow-origin" not in answer.headers
        assert list(mesh.mesh.edits) == []


async def test_the_page_of_this_very_origin_may(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh:
        headers = {"origin": mesh.url, "sec-fetch-site": "same-origin"}
        assert (await mesh.post("/api/reload", **headers)).status_code == 200


async def test_a_browser_that_asks_for_another_site_is_not_told_that_it_may(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh:
        asked = {
            "origin": "http://localhost:1",
            "access-control-request-method": "POST",
            "access-control-request-headers": "x-meshproxy",
        }
        answer = await mesh.http.options(f"{mesh.url}/api/reload", headers=asked)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("client", "host", "here"),
    [
        ("127.0.0.1", "localhost:8000", True),
        ("::1", "[::1]:8000", True),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("192.0.2.1", "127.0.0.1:8000", False),
        ("127.0.0.1", "mesh.example.com", False),
        ("", "localhost", False),
    ],
)
def test_from_here_is_what_a_client_of_this_machine_asks_by_a_name_of_this_machine(
    client: str, host: str, *, here: bool
) -> None:
    private = Private(Guard("0.0.0.0"), Doors(Entrance(), "/mcp"))
    scope = {"client": (client, 1) if client else None, "headers": [(b"host", host.encode())], "method": "GET"}
    assert private.is_from_here(scope) is here
    refusal = asyncio.run(private.refusal(scope, "view"))
    assert (refusal is None) is here
    assert here or "meshproxy key new" in refusal.message
