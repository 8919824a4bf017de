"""Tokens of an identity provider: the rules of basic/authorization for a resource server, by their numbers R1 to R9."""

import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from meshproxy.access import issuer as issuers
from meshproxy.access.issuer import metadata_urls
from tests.access.conftest import ADA, Guard, Guarded, key, mesh_of
from tests.kit.authority import Authority, authority
from tests.kit.light import light
from tests.kit.messages import heads, modern, request
from tests.kit.signer import Signer

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
WELL_KNOWN = "/.well-known/oauth-protected-resource"


@pytest.fixture
async def idp() -> AsyncIterator[Authority]:
    async with authority() as issuer:
        yield issuer


def protected(issuer: Authority, *keys: Json, top: Json | None = None, **facts: Any) -> str:
    """A mesh that takes the tokens of an issuer."""
    entry = {"issuer": issuer.issuer, "audience": "mesh", "scopes": ["mcp"], "groups": "realm.roles", **facts}
    return mesh_of(*keys, auth={"jwt": [entry]}, **(top or {}))


async def challenge(mesh: Guarded, secret: str | None, path: str = "/mcp", **headers: str) -> tuple[int, str]:
    message, heads = modern(request("tools/list", {}))
    response = await mesh.send(message, secret, path, **heads, **headers)
    return response.status_code, response.headers.get("www-authenticate", "")


async def test_a_token_of_the_issuer_comes_in_as_its_subject_in_both_eras(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp)) as mesh:
        token = idp.token()
        assert await mesh.status(token) == 200
        session = await mesh.open(token)
        assert await mesh.status(token, session) == 200
        # What is verified is remembered: the keys were asked for once.
        assert len(idp.told("/keys")) == 1
        # The next token of the same subject goes on with the session, and that of another does not.
        assert await mesh.status(idp.token(exp=int(time.time()) + 900), session) == 200
        assert await mesh.status(idp.token("bob"), session) == 404
        (told,) = mesh.journal.of("access.not_its_own")
        assert told["principal"] == f"token:{idp.issuer}#bob"


async def test_r1_and_r2_metadata_is_at_both_places_and_for_each_profile(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp, top={"profiles": {"p": {}}})) as mesh:
        for path, resource in (("/mcp", "/mcp"), ("", "/mcp"), ("/mcp/p", "/mcp/p")):
            found = (await mesh.http.get(mesh.base + WELL_KNOWN + path)).json()
            assert found == {
                "resource": mesh.base + resource,
                "authorization_servers": [idp.issuer],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["mcp"],
            }
        assert (await mesh.http.get(mesh.base + WELL_KNOWN + "/elsewhere")).status_code == 404
        for path in ("/mcp", "/mcp/p"):
            status, told = await challenge(mesh, None, path)
            assert status == 401
            assert f'resource_metadata="{mesh.base}{WELL_KNOWN}{path}"' in told


async def test_r3_the_challenge_names_the_scopes_that_are_needed(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp, scopes=["mcp", "tools"])) as mesh:
        for secret in (None, "made.up.token"):
            status, told = await challenge(mesh, secret)
            assert status == 401
            assert 'scope="mcp tools"' in told


def unsigned(issuer: Authority) -> str:
    parts = [
        {"alg": "none", "kid": issuer.signer.kid},
        {"iss": issuer.issuer, "sub": "ada", "aud": "mesh", "exp": int(time.time()) + 99},
    ]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def hmac(issuer: Authority) -> str:
    """Signed with the public key as if it was a secret (RFC 8725, 2.1)."""
    parts = [
        {"alg": "HS256", "kid": issuer.signer.kid},
        {"iss": issuer.issuer, "sub": "ada", "aud": "mesh", "exp": int(time.time()) + 99},
    ]
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    import hashlib
    import hmac as mac

    return (
        signed + b"." + base64.urlsafe_b64encode(mac.digest(issuer.signer.pem, signed, hashlib.sha256)).rstrip(b"=")
    ).decode()


BAD: dict[str, Any] = {
    "another audience": lambda idp: idp.token(aud="other"),
    "no audience": lambda idp: idp.token(aud=None),
    "another issuer": lambda idp: idp.token(iss="https://elsewhere.example.com"),
    "expired": lambda idp: idp.token(exp=int(time.time()) - 61),
    "no expiry": lambda idp: idp.token(exp=None),
    "not yet": lambda idp: idp.token(nbf=int(time.time()) + 120),
    "no subject": lambda idp: idp.token(sub=None),
    "alg none": unsigned,
    "hmac with the public key": hmac,
    "an algorithm that is not in the list": lambda idp: idp.token(alg="RS512"),
    "an unknown key": lambda idp: idp.token(headers={"kid": "two"}),
    "another key under a known id": lambda idp: idp.token(key=Signer().key),
    "a changed payload": lambda idp: "{0}.{2}.{1}".format(*idp.token().split(".")),
    "no token": lambda _idp: "a.b.c",
    "a key id that is no text": lambda idp: ".".join(["eyJhbGciOiJSUzI1NiIsImtpZCI6MX0", *idp.token().split(".")[1:]]),
}


@pytest.mark.parametrize("name", BAD)
async def test_r4_a_token_that_is_not_all_right_is_401(guarded: Guard, idp: Authority, name: str) -> None:
    async with guarded(protected(idp)) as mesh:
        assert await mesh.status(idp.token()) == 200
        token = BAD[name](idp)
        status, told = await challenge(mesh, token)
        assert status == 401
        assert 'error="invalid_token"' in told
        assert "resource_metadata=" in told
        assert token not in told


async def test_r4_a_token_is_good_until_it_expires_on_connections_that_are_open_too(
    guarded: Guard, idp: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with guarded(protected(idp, leeway="0s")) as mesh:
        token = idp.token(exp=int(time.time()) + 100)
        assert [await mesh.status(token) for _ in range(2)] == [200, 200]
        later = time.time() + 101
        monkeypatch.setattr("time.time", lambda: later)
        assert await mesh.status(token) == 401


async def test_r4_a_token_for_a_profile_is_good_at_its_address_alone(guarded: Guard, idp: Authority) -> None:
    top = {"profiles": {"p": {}, "q": {}}}
    async with guarded(protected(idp, audience="https://mesh.example.com/mcp", top=top)) as mesh:
        for audience, good in (("", ["/mcp", "/mcp/p", "/mcp/q"]), ("/p", ["/mcp/p"])):
            token = idp.token(aud=["x", f"https://mesh.example.com/mcp{audience}"])
            for path in ("/mcp", "/mcp/p", "/mcp/q"):
                assert await mesh.status(token, path=path) == (200 if path in good else 401)


async def test_r5_the_token_reaches_no_upstream(guarded: Guard, idp: Authority, tmp_path: Any) -> None:
    journal = tmp_path / "journal"
    upstream = {"a": light("--journal", str(journal))}
    async with guarded(protected(idp, top={"upstreams": upstream})) as mesh:
        token = idp.token()
        assert "result" in await mesh.modern(token, "tools/call", name="a_echo")
        assert token not in journal.read_text()


async def test_r6_too_little_is_403_with_all_scopes_that_are_needed(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp, scopes=["mcp", "tools"])) as mesh:
        for scope in ("mcp", "", None, "mcp-tools tool"):
            status, told = await challenge(mesh, idp.token(scope=scope))
            assert status == 403
            assert 'error="insufficient_scope"' in told
            assert 'scope="mcp tools"' in told
            assert "resource_metadata=" in told
        assert await mesh.status(idp.token(scope="tools mcp other")) == 200
        assert await mesh.status(idp.token(scope=None, scp=["tools", "mcp"])) == 200


async def test_r7_a_broader_scope_implies_the_narrower(guarded: Guard, idp: Authority) -> None:
    text = protected(idp, scopes=["mcp:read", "admin.tools"], implies={"all": ["half", "admin"], "half": ["mcp"]})
    async with guarded(text) as mesh:
        for scope, status in (
            ("mcp admin", 200),
            ("mcp:read admin.tools", 200),
            ("all", 200),
            ("half", 403),
            ("mcp:readx admin", 403),
        ):
            assert await mesh.status(idp.token(scope=scope)) == status


async def test_r8_a_token_in_the_query_is_not_used(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp)) as mesh:
        status, told = await challenge(mesh, None, f"/mcp?access_token={idp.token()}")
        assert status == 400
        assert 'error="invalid_request"' in told


async def test_two_authorization_headers_are_none_though_each_token_would_be_good(
    guarded: Guard, idp: Authority
) -> None:
    async with guarded(protected(idp)) as mesh:
        message, headers = modern(request("tools/list", {}))
        shown = [
            *heads(**headers).items(),
            *(("authorization", f"Bearer {idp.token(name)}") for name in ("ada", "bob")),
        ]
        response = await mesh.http.post(mesh.base + "/mcp", json=message, headers=shown)
        assert response.status_code == 400
        told = response.headers["www-authenticate"]
        assert 'error="invalid_request"' in told
        assert "resource_metadata=" in told


@pytest.mark.parametrize("url", ["issuer", "jwks"])
def test_r9_nothing_is_fetched_in_the_clear(url: str) -> None:
    from meshproxy.config.access import JwtConfig

    given = {"issuer": "https://x.example.com", "audience": "mesh", "jwks": "auto", url: "http://x.example.com/y"}
    with pytest.raises(ValueError, match="must begin with https"):
        JwtConfig(**given)


async def test_groups_and_subjects_are_what_rules_go_by(guarded: Guard, idp: Authority) -> None:
    rules = [
        {"who": {"groups": ["dev"]}, "allow": ["a_echo"]},
        {"who": {"subjects": ["bob*"]}, "allow": ["a_write"]},
        {"who": {"scopes": ["all:tools"]}, "allow": ["*"]},
    ]
    async with guarded(protected(idp, top={"access": rules})) as mesh:
        for token, seen in (
            (idp.token(realm={"roles": ["ops", "dev"]}), ["a_echo"]),
            (idp.token("bob@example.com"), ["a_write"]),
            (idp.token(scope="mcp all"), ["a_echo", "a_write"]),
            (idp.token(realm={"roles": "dev"}), ["a_echo"]),
            (idp.token(realm="dev"), []),
        ):
            tools = (await mesh.modern(token, "tools/list"))["result"]["tools"]
            assert [tool["name"] for tool in tools] == seen


@pytest.mark.parametrize(
    ("path", "places"),
    [
        (
            "",
            {
                "oauth": "/.well-known/oauth-authorization-server",
                "openid": "/.well-known/openid-configuration",
            },
        ),
        (
            "/realms/x",
            {
                "oauth": "/.well-known/oauth-authorization-server/realms/x",
                "openid": "/.well-known/openid-configuration/realms/x",
                "openid-behind": "/realms/x/.well-known/openid-configuration",
            },
        ),
    ],
)
async def test_metadata_is_found_in_every_form(guarded: Guard, path: str, places: dict[str, str]) -> None:
    async with authority(path=path) as issuer:
        assert list(metadata_urls(issuer.issuer)) == [issuer.origin + place for place in places.values()]
        for issuer.knobs.metadata_at in places:
            async with guarded(protected(issuer)) as mesh:
                assert await mesh.status(issuer.token()) == 200


async def test_metadata_of_another_issuer_is_not_used(guarded: Guard, idp: Authority) -> None:
    idp.knobs.issuer = "https://evil.example.com"
    async with guarded(protected(idp)) as mesh:
        message, headers = modern(request("tools/list", {}))
        response = await mesh.send(message, idp.token(), **headers)
        assert (response.status_code, response.headers["retry-after"]) == (503, "10")
        (told,) = mesh.journal.of("issuer.keys_not_had")
        assert "evil.example.com" in told["reason"]


async def test_keys_that_are_rotated_are_fetched_and_unknown_ones_seldom(
    guarded: Guard, idp: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with guarded(protected(idp)) as mesh:
        old = idp.token()
        assert await mesh.status(old) == 200
        idp.signer.rotate("two")
        for _ in range(3):
            assert await mesh.status(idp.token(exp=int(time.time()) + 500)) == 401
        assert len(idp.told("/keys")) == 1
        monkeypatch.setattr(issuers, "SELDOM", 0.0)
        assert await mesh.status(idp.token()) == 200
        assert len(idp.told("/keys")) == 2
        # A token that was verified is remembered; another one of the old key is not believed any more.
        idp.signer.rotate("three", curve=True)
        assert await mesh.status(idp.token(alg="ES256")) == 200


async def test_an_issuer_that_is_down_costs_nobody_whose_key_is_known(
    guarded: Guard, idp: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuers, "SELDOM", 0.0)
    async with guarded(protected(idp, key("ci", ADA))) as mesh:
        idp.knobs.is_down = True
        assert await mesh.status(idp.token()) == 503
        assert await mesh.status(ADA) == 200
        idp.knobs.is_down = False
        assert await mesh.status(idp.token()) == 200
        idp.knobs.is_down = True
        monkeypatch.setattr(issuers, "OLD", 0.0)
        assert [await mesh.status(idp.token(f"s{n}")) for n in range(3)] == [200, 200, 200]
        assert len(mesh.journal.of("issuer.keys_not_had")) in (1, 2)


async def test_keys_may_be_at_a_url_or_in_a_file(guarded: Guard, idp: Authority, tmp_path: Any) -> None:
    idp.knobs.metadata_at = "nowhere"
    (tmp_path / "keys.json").write_text(json.dumps({"keys": idp.signer.published}))
    for where in (f"{idp.origin}/keys", "keys.json"):
        async with guarded(protected(idp, jwks=where)) as mesh:
            assert await mesh.status(idp.token()) == 200


async def test_keys_that_nobody_can_use_are_left_out(guarded: Guard, idp: Authority) -> None:
    mine = idp.signer.public
    idp.signer.published = [
        3,
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one"},
        {"kty": "new"},
        {**mine, "use": "enc"},
        mine,
    ]
    async with guarded(protected(idp)) as mesh:
        assert await mesh.status(idp.token()) == 200


async def test_a_key_without_an_id_is_taken_where_it_is_the_only_one(guarded: Guard, idp: Authority) -> None:
    idp.signer.published = [{name: value for name, value in idp.signer.public.items() if name != "kid"}]
    async with guarded(protected(idp)) as mesh:
        claims = {"iss": idp.issuer, "sub": "ada", "aud": "mesh", "exp": int(time.time()) + 99, "scope": "mcp"}
        assert await mesh.status(jwt.encode(claims, idp.signer.key, "RS256")) == 200


async def test_an_edit_that_takes_an_issuer_away_ends_what_its_tokens_opened(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp, key("ci", ADA))) as mesh:
        token = idp.token()
        session = await mesh.open(token)
        await mesh.edit(protected(idp, key("ci", ADA), key("x", "mesh_x")))
        assert await mesh.status(token, session) == 200
        assert len(idp.told("/keys")) == 1
        await mesh.edit(mesh_of(key("ci", ADA)))
        assert await mesh.status(token, session) == 401
        await mesh.edit(protected(idp, key("ci", ADA)))
        assert await mesh.status(token, session) == 404


async def test_an_edit_of_what_tokens_are_good_for_leaves_the_sessions_of_those_that_still_are(
    guarded: Guard, idp: Authority
) -> None:
    async with guarded(protected(idp)) as mesh:
        token, other = idp.token(scope="mcp tools"), idp.token("bob")
        session, lost = await mesh.open(token), await mesh.open(other)
        await mesh.edit(protected(idp, scopes=["tools"], rights=["use", "view"]))
        assert await mesh.status(token, session) == 200
        # Whoever lacks the scope that is needed now is told so, and his session is over.
        assert await mesh.status(other, lost) == 403
        assert await mesh.status(idp.token("bob", scope="tools"), lost) == 404
        await mesh.edit(protected(idp, scopes=["tools"], audience=["mesh", "other"]))
        assert await mesh.status(token, session) == 404
        # Nothing of this was about the keys.
        assert len(idp.told("/keys")) == 1


async def test_what_is_behind_the_mesh_is_told_to_those_who_may_view_it(guarded: Guard, idp: Authority) -> None:
    async with guarded(protected(idp, key("ci", ADA, rights=["admin"]))) as mesh:
        assert mesh.app._doors.may({"headers": [(b"authorization", f"Bearer {ADA}".encode())]}, "view")
        assert not mesh.app._doors.may({"headers": [(b"authorization", f"Bearer {idp.token()}".encode())]}, "view")
        assert not mesh.app._doors.may({"headers": []}, "view")
