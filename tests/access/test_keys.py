"""Keys: who shows one comes in as its principal, wherever the key is looked at, and an edit changes that at once."""

import asyncio

import pytest
from meshproxy.access.keys import PREFIX, KeyRing, hash_of, new_key
from meshproxy.config.access import KeyConfig
from meshproxy.http.sse import SseParser
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
from tests.kit.messages import heads, modern, request

pytestmark = pytest.mark.anyio


def test_a_key_has_256_random_bits_behind_its_prefix() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert {(one[: len(PREFIX)], len(one)) for one in keys} == {("mesh_", 5 + 43)}


def test_several_hashes_one_a_line_are_keys_of_one_principal() -> None:
    ring = KeyRing([KeyConfig(name="team", hash=f"# ours\n{hash_of('a')}  # Ada's\n\n{hash_of('b')}\n")])
    first, second = (ring.find(bytes.fromhex(hash_of(one)[7:])) for one in "ab")
    assert first is second is ring.named("team")
    assert ring.find(bytes.fromhex(hash_of("c")[7:])) is None


async def test_a_request_without_a_credential_is_told_how_to_show_one(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        message, headers = modern(request("tools/list", {}))
        response = await mesh.send(message, None, **headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer realm="meshproxy"'
        assert response.headers["cache-control"] == "no-store"
        assert response.json()["error"]["message"].startswith("Unauthorized: send a credential")
        assert await mesh.status(ADA) == 200


async def test_a_key_that_nobody_has_is_refused_with_the_error_that_says_so(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        message, headers = modern(request("tools/list", {}))
        for wrong in (BOB, ADA + "x", ADA[:-1], hash_of(ADA).removeprefix("sha256:")):
            response = await mesh.send(message, wrong, **headers)
            assert response.status_code == 401
            assert 'error="invalid_token"' in response.headers["www-authenticate"]
            assert wrong not in response.text


@pytest.mark.parametrize(
    ("shown", "status"),
    [("Basic YTpi", 401), ("Bearer", 400), ("Bearer a b", 400), (f"bEARER {ADA}", 200), (ADA, 401)],
)
async def test_r6_what_is_malformed_is_told_from_what_is_wrong(guarded: Guard, shown: str, status: int) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        message, headers = modern(request("tools/list", {}))
        response = await mesh.send(message, None, authorization=shown, **headers)
        assert response.status_code == status
        assert ('error="invalid_request"' in response.headers.get("www-authenticate", "")) == (status == 400)


async def test_r8_a_credential_in_the_query_is_never_used(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        message, headers = modern(request("tools/list", {}))
        response = await mesh.send(message, None, f"/mcp?access_token={ADA}", **headers)
        assert response.status_code == 400
        assert 'error="invalid_request"' in response.headers["www-authenticate"]
        # Nor does one that is right in its place make up for it.
        assert (await mesh.send(message, ADA, f"/mcp?access_token={ADA}", **headers)).status_code == 400
        assert (await mesh.send(message, None, f"/mcp?access%5Ftoken={ADA}", **headers)).status_code == 401


async def test_two_authorization_headers_are_none(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB))) as mesh:
        message, headers = modern(request("tools/list", {}))
        fields = [*heads(**headers).items(), ("authorization", f"Bearer {ADA}"), ("authorization", f"Bearer {BOB}")]
        response = await mesh.http.post(mesh.base + "/mcp", json=message, headers=fields)
        assert response.status_code == 400
        assert 'error="invalid_request"' in response.headers["www-authenticate"]


async def test_every_request_is_asked_in_both_eras_and_by_every_method_of_http(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        session = await mesh.open(ADA)
        assert await mesh.status(ADA, session) == 200
        for secret in (None, BOB):
            assert await mesh.status(secret, session) == 401
            shown = heads(**session) | ({} if secret is None else {"authorization": f"Bearer {secret}"})
            assert (await mesh.http.get(mesh.base + "/mcp", headers=shown)).status_code == 401
            assert (await mesh.http.delete(mesh.base + "/mcp", headers=shown)).status_code == 401
        assert await mesh.status(ADA, session) == 200


async def test_what_asks_before_it_shows_anything_is_let_pass(guarded: Guard) -> None:
    """A preflight has no credentials (Fetch, 3.2.2)."""
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        origin = {"origin": "http://localhost:1", "access-control-request-method": "POST"}
        assert (await mesh.http.options(mesh.base + "/mcp", headers=origin)).status_code == 204
        message, headers = modern(request("tools/list", {}))
        refused = await mesh.send(message, None, origin="http://localhost:1", **headers)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "http://localhost:1"


async def test_a_key_ends_with_its_last_day(guarded: Guard) -> None:
    text = mesh_of(key("ada", ADA, expires="2001-01-01"), key("bob", BOB, expires="2901-01-01"))
    async with guarded(text) as mesh:
        assert await mesh.status(ADA) == 401
        assert await mesh.status(BOB) == 200


async def test_a_connection_that_showed_a_key_is_refused_when_the_key_has_ended(
    guarded: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000_000_000.0
    monkeypatch.setattr("meshproxy.relay.principal.time.time", lambda: now)
    async with guarded(mesh_of(key("ada", ADA, expires="2001-09-09T01:46:41Z"))) as mesh:
        assert [await mesh.status(ADA) for _ in range(3)] == [200, 200, 200]
        now += 1
        assert await mesh.status(ADA) == 401


async def test_a_key_without_the_right_to_use_the_mesh_is_forbidden_to(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA, rights=["view", "admin"]))) as mesh:
        message, headers = modern(request("tools/list", {}))
        response = await mesh.send(message, ADA, **headers)
        assert response.status_code == 403
        assert "www-authenticate" not in response.headers


async def test_anonymous_callers_come_in_where_they_may_and_wrong_credentials_never(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA), auth={"anonymous": True})) as mesh:
        assert await mesh.status(None) == 200
        assert await mesh.status(BOB) == 401
        session = await mesh.open(None)
        assert await mesh.status(ADA, session) == 404


async def test_no_keys_at_all_open_nothing(guarded: Guard) -> None:
    async with guarded(mesh_of()) as mesh:
        assert await mesh.status(None) == 401
        assert await mesh.status(ADA) == 401


async def test_invariant_12_no_request_after_an_edit_is_served_by_the_old_keys(guarded: Guard) -> None:
    with_ada, with_bob = mesh_of(key("ada", ADA)), mesh_of(key("bob", BOB))
    async with guarded(with_ada) as mesh:
        for _ in range(5):
            assert (await mesh.status(ADA), await mesh.status(BOB)) == (200, 401)
            session = await mesh.open(ADA)
            assert (await mesh.edit(with_bob))["event"] == "config.reloaded"
            # The connections are those that came in before, and their heads are familiar.
            assert (await mesh.status(ADA), await mesh.status(BOB)) == (401, 200)
            assert await mesh.status(ADA, session) == 401
            assert await mesh.status(BOB, session) == 404
            await mesh.edit(with_ada)


async def test_a_session_outlives_edits_that_leave_its_principal(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        session = await mesh.open(ADA)
        await mesh.edit(mesh_of(key("ada", ADA, groups=["dev"]), key("bob", BOB)))
        assert await mesh.status(ADA, session) == 200
        # A new key of the same name is the same principal with another credential.
        await mesh.edit(mesh_of(key("ada", BOB)))
        assert (await mesh.status(ADA, session), await mesh.status(BOB, session)) == (401, 200)


async def test_streams_of_a_key_end_when_it_is_revoked(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB))) as mesh:
        session = await mesh.open(ADA)
        message, headers = modern(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}))
        shown = {"authorization": f"Bearer {ADA}"}
        async with (
            mesh.http.stream("GET", mesh.base + "/mcp", headers=heads(**session, **shown)) as standing,
            mesh.http.stream("POST", mesh.base + "/mcp", json=message, headers=heads(**headers, **shown)) as listening,
        ):
            heard = listening.aiter_bytes()
            assert [event.data for event in SseParser().feed(await anext(heard))]
            reloading = asyncio.ensure_future(mesh.edit(mesh_of(key("bob", BOB))))
            assert b"not valid any more" in b"".join([chunk async for chunk in heard])
            await standing.aread()
            await reloading


async def test_taking_the_section_away_lets_everybody_in(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        session = await mesh.open(ADA)
        await mesh.edit('{"upstreams": {}}')
        assert await mesh.status(None) == 200
        assert await mesh.status(None, session) == 404
