"""K1 to K15 of the rules for a client of OAuth (2026-07-28 basic/authorization), each held against an authorization server that does what a test says."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from meshproxy.config.login import OAuth
from meshproxy.errors import RpcError
from meshproxy.login.challenge import Challenge, bearer
from meshproxy.login.fetch import NotNow
from meshproxy.login.flow import Flow, answer_of
from meshproxy.login.metadata import LoginFailed, canonical, server_places
from meshproxy.login.reach import Reach, zone
from meshproxy.login.vault import Vault
from tests.kit.authority import Authority, authority
from tests.kit.logged_in import BACK, Json, log_in, meshed
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


def flow_of(there: Authority, state: Path, **auth: object) -> Flow:
    return Flow("there", there.url, OAuth.model_validate(auth), Vault(state), BACK)


async def asked_of(there: Authority, state: Path, **auth: object) -> dict[str, str]:
    """What the page to log in at is asked."""
    return dict(parse_qsl(urlsplit(await flow_of(there, state, **auth).begin()).query))


# K1


@pytest.mark.parametrize(
    ("knobs", "places"),
    [
        ({}, ["/.well-known/oauth-protected-resource/mcp"]),
        ({"challenge": "plain"}, ["/.well-known/oauth-protected-resource/mcp"]),
        ({"challenge": None}, ["/.well-known/oauth-protected-resource/mcp"]),
        (
            {"challenge": "plain", "resource_places": ("root",)},
            ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"],
        ),
    ],
)
async def test_k1_the_resource_metadata_is_where_the_challenge_says_else_below_the_path_else_at_the_root(
    tmp_path: Path, knobs: Json, places: list[str]
) -> None:
    async with authority(**knobs) as there:
        await log_in(there, tmp_path)
        assert [one.path for one in there.requests if "protected-resource" in one.path] == places


async def test_k1_what_the_challenge_names_is_asked_and_nothing_else(tmp_path: Path) -> None:
    async with authority() as there:
        there.knobs.challenge = f"{there.origin}/.well-known/elsewhere"
        await log_in(there, tmp_path)
        assert there.told("/.well-known/elsewhere")
        assert not [one for one in there.requests if "protected-resource" in one.path]


async def test_k1_metadata_of_another_resource_is_not_used(tmp_path: Path) -> None:
    for other in ("https://elsewhere.example/mcp", "http://127.0.0.1:1/mcp"):
        async with authority(resource=other) as there:
            with pytest.raises(LoginFailed, match="of another resource"):
                await log_in(there, tmp_path)
            assert not there.told("/token")


async def test_k1_a_server_without_metadata_says_what_to_configure(tmp_path: Path) -> None:
    knobs: dict = {"path": "/elsewhere", "registration": False, "clients": {"mesh": "secret"}}
    async with authority(challenge="plain", resource_places=(), **knobs) as there:
        with pytest.raises(LoginFailed, match=r"set auth\.issuer"):
            await log_in(there, tmp_path)
        auth = {"issuer": there.issuer, "client_id": "mesh", "client_secret": "secret"}
        assert (await log_in(there, tmp_path, auth)).resource == there.url


@pytest.mark.parametrize("place", ["oauth", "nowhere"])
async def test_k1_a_server_of_2025_03_26_is_its_own_authorization_server(tmp_path: Path, place: str) -> None:
    """By its metadata, or else by the places that the revision names."""
    async with authority(challenge="plain", resource_places=(), metadata_at=place) as there:
        assert (await log_in(there, tmp_path)).server.issuer == there.origin
        async with meshed(there, tmp_path) as mesh:
            assert await mesh.call() == "done"


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ("Bearer", Challenge()),
        ('Bearer scope="a b"', Challenge(scope=("a", "b"))),
        ('Basic realm="x", bEARER error="invalid_token", scope=a', Challenge(scope=("a",), error="invalid_token")),
        ('Bearer realm="Bearer, Basic x", resource_metadata="https://a/b"', Challenge("https://a/b")),
        (r'Bearer realm="a\"b", scope="c"', Challenge(scope=("c",))),
        ('Negotiate abc==, Bearer scope="x" , Basic realm="y"', Challenge(scope=("x",))),
        ("Basic realm=x", None),
        ("", None),
    ],
)
def test_k1_a_challenge_is_found_among_others(header: str, challenge: Challenge | None) -> None:
    assert bearer(header) == challenge


# K2, K3


def test_k2_the_places_of_an_issuers_metadata_are_tried_in_order() -> None:
    assert list(server_places("https://a.example/t/1")) == [
        "https://a.example/.well-known/oauth-authorization-server/t/1",
        "https://a.example/.well-known/openid-configuration/t/1",
        "https://a.example/t/1/.well-known/openid-configuration",
    ]
    assert list(server_places("https://a.example")) == [
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize("path", ["", "/tenant"])
@pytest.mark.parametrize("kind", ["oauth", "openid", "openid-behind"])
async def test_k2_each_form_of_metadata_is_found(tmp_path: Path, path: str, kind: str) -> None:
    async with authority(path=path, metadata_at=kind) as there:
        grant = await log_in(there, tmp_path)
        assert grant.server.issuer == there.issuer


async def test_k3_the_slash_of_an_issuer_without_a_path_makes_no_difference(tmp_path: Path) -> None:
    async with authority(says_iss=True) as there:
        there.knobs.issuers = [f"{there.issuer}/"]
        assert (await log_in(there, tmp_path)).server.issuer == there.issuer


@pytest.mark.parametrize("other", ["https://evil.example", "http://127.0.0.1:{port}/tenant", "http://LOCALHOST:{port}"])
async def test_k3_metadata_that_names_another_issuer_is_not_used(tmp_path: Path, other: str) -> None:
    async with authority() as there:
        there.knobs.issuer = other.format(port=urlsplit(there.origin).port)
        with pytest.raises(LoginFailed, match="names another issuer"):
            await log_in(there, tmp_path)
        assert not there.registered


# K4 to K7


async def test_k4_a_client_that_was_configured_comes_first(tmp_path: Path) -> None:
    async with authority(clients={"mine": "s3cret-of-mine"}, documents=True) as there:
        grant = await log_in(there, tmp_path, {"client_id": "mine", "client_secret": "s3cret-of-mine"})
        assert (grant.client.id, grant.client.kind) == ("mine", "configured")
        assert not there.registered


async def test_k4_then_a_metadata_document_where_the_server_takes_it(tmp_path: Path) -> None:
    document = "https://me.example/mesh.json"
    async with authority(documents=True) as there:
        assert (await asked_of(there, tmp_path, client_metadata_url=document))["client_id"] == document
        assert (await log_in(there, tmp_path, {"client_metadata_url": document})).client.kind == "document"
        assert not there.registered
    async with authority(documents=True, methods=["client_secret_basic"]) as there:
        assert (await log_in(there, tmp_path, {"client_metadata_url": document})).client.kind == "registered"


async def test_k4_then_a_registration_and_else_the_error_says_what_to_configure(tmp_path: Path) -> None:
    async with authority() as there:
        assert (await log_in(there, tmp_path)).client.kind == "registered"
    async with authority(registration=False) as there:
        with pytest.raises(LoginFailed, match=r"set auth\.client_id .*http://127\.0\.0\.1:7/callback"):
            await log_in(there, tmp_path)
    async with authority(registration=False, documents=True) as there:
        with pytest.raises(LoginFailed, match=r"auth\.client_metadata_url, or auth\.client_id"):
            await log_in(there, tmp_path)


def test_k5_a_metadata_document_is_an_https_url_with_a_path() -> None:
    for wrong in ("http://me.example/mesh.json", "https://me.example", "https://me.example/"):
        with pytest.raises(ValueError, match="https URL with a path"):
            OAuth(client_metadata_url=wrong)


async def test_k6_a_registration_says_what_kind_of_application_it_is_and_what_it_will_do(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        [wanted] = there.registered.values()
    assert wanted["application_type"] == "native"
    assert wanted["redirect_uris"] == [BACK]
    assert wanted["grant_types"] == ["authorization_code", "refresh_token"]


@pytest.mark.parametrize("why", ["invalid_redirect_uri", "invalid_client_metadata", "access_denied"])
async def test_k6_a_registration_that_is_refused_says_what_to_do_instead(tmp_path: Path, why: str) -> None:
    async with authority(refuses_registration=why) as there:
        with pytest.raises(LoginFailed, match=r"refused to register .*auth\.redirect_port"):
            await log_in(there, tmp_path)


async def test_k6_who_gives_no_refresh_tokens_is_not_asked_for_them(tmp_path: Path) -> None:
    async with authority(grants=["authorization_code"]) as there:
        await log_in(there, tmp_path)
        [wanted] = there.registered.values()
        assert wanted["grant_types"] == ["authorization_code"]
    async with authority(grants=["client_credentials"]) as there:
        with pytest.raises(
            LoginFailed, match=r"\(invalid_client_metadata: grant_types can only contain client_cred.*\)"
        ):
            await log_in(there, tmp_path / "other")


async def test_k7_what_one_issuer_gave_is_never_shown_to_another(tmp_path: Path) -> None:
    async with authority() as first, authority() as second:
        await log_in(first, tmp_path)
        first.knobs.issuers = [second.issuer]
        second.knobs.resource = first.url
        grant = await log_in(first, tmp_path, at=second)
        assert grant.server.issuer == second.issuer
        # It has registered anew, and shown nothing that it had of the first.
        assert len(second.registered) == 1
        shown = " ".join(str(one.headers) + one.body.decode() for one in second.requests)
        assert not [secret for secret in first.secrets if secret in shown]
        record = Vault(tmp_path).read("there", first.url)
        assert set(record.grants) == {first.issuer, second.issuer}


async def test_k7_an_upstream_that_names_another_issuer_needs_a_login_there(tmp_path: Path) -> None:
    """Its tokens should be good, so to have them refreshed would help nobody."""
    async with authority() as first, authority() as second:
        await log_in(first, tmp_path)
        async with meshed(first, tmp_path) as mesh:
            assert await mesh.call() == "done"
            first.knobs.issuers = [second.issuer]
            first.expire()
            with pytest.raises(RpcError, match=f"it takes logins at {second.issuer} now"):
                await mesh.call()
            assert not first.grants("refresh_token")
            await mesh.until("needs login")


# K8 to K11


@pytest.mark.parametrize("methods", [None, [], ["plain"]])
async def test_k8_a_server_that_does_not_promise_s256_is_not_used(tmp_path: Path, methods: list[str] | None) -> None:
    async with authority(pkce=methods) as there:
        with pytest.raises(LoginFailed, match="PKCE with S256"):
            await log_in(there, tmp_path)
        assert not there.registered


async def test_k8_the_challenge_is_of_a_verifier_that_only_the_token_endpoint_sees(tmp_path: Path) -> None:
    async with authority() as there:
        asked = await asked_of(there, tmp_path)
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["code_challenge"]) == 43
        await log_in(there, tmp_path)  # the kit compares them
        [form] = there.grants("authorization_code")
        assert 43 <= len(form["code_verifier"]) <= 128


async def test_k9_the_resource_goes_with_every_request(tmp_path: Path) -> None:
    async with authority() as there:
        assert (await asked_of(there, tmp_path))["resource"] == there.url
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.expire()
            await mesh.call()
        assert {one.form["resource"] for one in there.told("/token")} == {there.url}


@pytest.mark.parametrize(
    ("url", "identifier"),
    [
        ("HTTPS://A.Example:443/mcp/", "https://a.example/mcp"),
        ("https://a.example/", "https://a.example"),
        ("https://a.example:8443/x#part", "https://a.example:8443/x"),
        ("http://[::1]:80/mcp", "http://[::1]/mcp"),
    ],
)
def test_k9_a_resource_has_one_spelling(url: str, identifier: str) -> None:
    assert canonical(url) == identifier


@pytest.mark.parametrize(
    ("says", "iss", "good"),
    [
        (False, "", True),
        (False, None, True),
        (True, None, True),
        (True, "", False),
        (True, "https://evil.example", False),
        (False, "https://evil.example", False),
    ],
)
async def test_k10_the_answer_comes_from_the_server_that_was_asked(
    tmp_path: Path,
    says: bool,  # noqa: FBT001  # a parameter of the test
    iss: str | None,
    good: bool,  # noqa: FBT001
) -> None:
    async with authority(says_iss=says, iss=iss) as there:
        if good:
            await log_in(there, tmp_path)
            return
        with pytest.raises(LoginFailed, match="does not come from the authorization server"):
            await log_in(there, tmp_path)
        assert not there.told("/token")


async def test_k10_an_issuer_is_compared_byte_for_byte_and_anothers_error_is_not_shown(tmp_path: Path) -> None:
    async with authority(says_iss=True) as there:
        flow = flow_of(there, tmp_path)
        await flow.begin()
        answer = {"state": flow.state, "iss": there.issuer + "/", "error": "access_denied", "error_description": "EVIL"}
        with pytest.raises(LoginFailed) as refused:
            await flow.finish(answer)
        assert "EVIL" not in str(refused.value)


async def test_k11_an_answer_is_taken_once_and_with_our_state_alone(tmp_path: Path) -> None:
    async with authority() as there:
        flow = flow_of(there, tmp_path)
        answer = answer_of(await there.person(await flow.begin()))
        with pytest.raises(LoginFailed, match="another login"):
            await flow.finish({**answer, "state": "other"})
        with pytest.raises(LoginFailed, match="answered already"):
            await flow.finish(answer)
        assert not there.told("/token")


# K12, K13, K14


@pytest.mark.parametrize(
    ("knobs", "auth", "scope"),
    [
        ({"wanted": "a b", "scopes_supported": ["a", "b", "c"]}, {}, "a b"),
        ({"scopes_supported": ["a", "c"]}, {}, "a c"),
        ({}, {}, None),
        ({"scopes_supported": ["a", "c"]}, {"scopes": "x"}, "x"),
        ({"wanted": "a"}, {"scopes": "x"}, "a x"),
        ({"wanted": "a", "authorization_scopes": ["offline_access"]}, {}, "a offline_access"),
    ],
)
async def test_k12_the_scopes_are_those_of_the_challenge_else_all_that_are_supported_else_none(
    tmp_path: Path, knobs: Json, auth: Json, scope: str | None
) -> None:
    async with authority(**knobs) as there:
        assert (await asked_of(there, tmp_path, **auth)).get("scope") == scope


async def test_k12_a_call_that_needs_more_fails_alone_and_the_next_login_asks_for_the_union(tmp_path: Path) -> None:
    async with authority(wanted="a", needs={"erase": "b c"}) as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            with pytest.raises(RpcError, match=r"more rights .*\(b c\): run meshproxy auth login there"):
                await mesh.call("erase")
            assert mesh.state == "up"
            assert await mesh.call() == "done"
            assert (await asked_of(there, tmp_path))["scope"] == "a b c"
            await log_in(there, tmp_path)
            await eventually(lambda: _works(mesh.call("erase")))
            assert not Vault(tmp_path).read("there", there.url).wanted


async def _works(call: object) -> bool:
    try:
        return await call == "done"  # type: ignore[misc]
    except RpcError:
        return False


async def test_k12_a_client_of_its_own_asks_for_more_by_itself_and_not_again_in_vain(tmp_path: Path) -> None:
    auth = {"type": "client_credentials", "client_id": "mesh", "client_secret": "s3cret-of-mesh"}
    async with authority(clients={"mesh": "s3cret-of-mesh"}, wanted="a", needs={"erase": "b", "never": "z"}) as there:
        there.knobs.grantable = "a b"
        async with meshed(there, tmp_path, auth) as mesh:
            assert await mesh.call("erase") == "done"
            assert [form.get("scope") for form in there.grants("client_credentials")] == ["a", "a b"]
            for _ in range(3):
                with pytest.raises(RpcError, match="does not give the rights"):
                    await mesh.call("never")
            assert [form.get("scope") for form in there.grants("client_credentials")] == ["a", "a b", "a b z"]
            assert await mesh.call() == "done"


async def test_k13_a_token_goes_to_its_own_server_and_to_no_other(tmp_path: Path) -> None:
    async with authority() as first, authority() as second:
        await log_in(first, tmp_path)
        first.knobs.issuers = [second.issuer]
        async with meshed(first, tmp_path) as mesh:
            assert await mesh.call() == "done"
            assert not second.requests
            # Nor to another URL under the same name.
            assert Vault(tmp_path).read("there", second.url).grant is None


async def test_k14_a_login_without_a_refresh_token_works_until_it_ends(tmp_path: Path) -> None:
    async with authority(gives_refresh=False) as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            assert await mesh.call() == "done"
            there.expire()
            with pytest.raises(RpcError, match="came without a refresh token"):
                await mesh.call()
            await mesh.until("needs login")


async def test_k14_a_refresh_token_that_is_not_replaced_stays(tmp_path: Path) -> None:
    async with authority(rotates=False) as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            for _ in range(2):
                there.expire()
                assert await mesh.call() == "done"
        assert len({form["refresh_token"] for form in there.grants("refresh_token")}) == 1


async def test_k14_a_token_is_refreshed_ahead_of_its_end(tmp_path: Path) -> None:
    async with authority(expires=2) as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path):
            await eventually(lambda: there.grants("refresh_token"))


async def test_k14_a_server_that_is_ill_costs_a_call_and_no_login(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.expire()
            there.knobs.token_status = 503
            with pytest.raises(RpcError, match="cannot be refreshed now"):
                await mesh.call()
            there.knobs.token_status = 200
            await eventually(lambda: _works(mesh.call()))


async def test_k14_two_meshes_that_share_a_login_refresh_it_once(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as one, meshed(there, tmp_path, is_alone=False) as other:
            there.expire()
            assert await asyncio.gather(*(mesh.call() for mesh in (one, other) * 5)) == ["done"] * 10
            assert len(there.grants("refresh_token")) == 1


async def test_k14_a_refreshed_token_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.expire()
            handle, seen = there.handle, []

            async def spying(request: object) -> object:
                seen.append(Vault(tmp_path).read("there", there.url).grant)
                return await handle(request)  # type: ignore[arg-type]

            there.handle = spying  # type: ignore[method-assign,assignment]
            await mesh.call()
            # The last request is the call, with a token that was known to the disk when it came.
            assert there.requests[-1].headers["authorization"] == f"Bearer {seen[-1].access_token}"


async def test_k14_a_token_that_has_ended_while_the_mesh_was_away_is_refreshed_first(tmp_path: Path) -> None:
    async with authority() as there:
        grant = await log_in(there, tmp_path)
        vault = Vault(tmp_path)
        record = vault.read("there", there.url)
        await vault.write(record.with_grant(msgspec.structs.replace(grant, expires=time.time() - 5)))
        there.requests.clear()
        async with meshed(there, tmp_path):
            assert [one.path for one in there.requests][:2] == ["/token", "/mcp"]


# K15


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("93.184.216.34", "global"),
        ("2606:2800:220:1::1", "global"),
        ("10.0.0.1", "private"),
        ("192.168.1.1", "private"),
        ("172.16.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd00::1", "private"),
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("::7f00:1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("0.0.0.0", "none"),
        ("224.0.0.1", "none"),
        ("nobody", "none"),
    ],
)
def test_k15_it_is_known_where_an_address_is(address: str, where: str) -> None:
    assert zone(address) == where


@pytest.mark.parametrize(
    ("url", "permitted"),
    [
        ("https://93.184.216.34/mcp", {"global"}),
        ("https://10.1.2.3/mcp", {"global", "private"}),
        ("http://127.0.0.1:1/mcp", {"global", "private", "loopback"}),
        ("http://169.254.1.1/mcp", {"global", "link-local"}),
    ],
)
async def test_k15_a_login_leads_where_the_upstream_is_and_no_further_in(url: str, permitted: set[str]) -> None:
    reach = Reach([url])
    await reach.look()
    places = {"global": "1.1.1.1", "private": "10.0.0.1", "loopback": "127.0.0.1", "link-local": "169.254.169.254"}
    assert {name for name, address in places.items() if reach.permits(address)} == permitted


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/x"])
async def test_k15_what_the_challenge_names_is_not_asked_where_it_must_not_be(tmp_path: Path, where: str) -> None:
    async with authority(challenge=where) as there:
        with pytest.raises(NotNow, match="must not be connected to"):
            await log_in(there, tmp_path)


async def test_k15_no_redirect_is_followed(tmp_path: Path) -> None:
    async with authority() as there, authority() as inside:
        there.knobs.redirects = f"{inside.origin}/.well-known/oauth-protected-resource/mcp"
        with contextlib.suppress(LoginFailed):
            await log_in(there, tmp_path)
        assert not inside.requests


async def test_k15_nothing_is_asked_in_the_clear_but_where_the_upstream_is_spoken_to_so(tmp_path: Path) -> None:
    flow = Flow("there", "https://mcp.example/mcp", OAuth(), Vault(tmp_path), BACK)
    for url in (
        "http://login.example/x",
        "ftp://login.example/x",
        "https://user@login.example/",
        "https://a b/",
        "//x",
    ):
        with pytest.raises(LoginFailed):
            flow.fetch.check(url)
    flow.fetch.check("https://login.example/x")
    flow.fetch.check("http://127.0.0.1:8080/x")


# What must not be seen


async def test_invariant_11_no_credential_of_an_upstream_reaches_a_caller_or_a_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with authority(methods=["client_secret_basic"]) as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.expire()
            await mesh.call()
            there.end()
            with pytest.raises(RpcError) as refused:
                await mesh.call()
            status = (
                json.dumps(mesh.mesh.status()) + repr(mesh.mesh._providers) + mesh.mesh.scrub(" ".join(there.secrets))
            )
        seen = str(refused.value) + str(refused.value.data) + status + "".join(capfd.readouterr())
        assert len(there.secrets) >= 5
        assert not [secret for secret in there.secrets if secret in seen]
