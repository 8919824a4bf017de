"""`auth: {type: oauth, per: caller}`: each caller has an account of his own at the upstream, and nothing there is another's."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from meshproxy.errors import MISSING_CLIENT_CAPABILITY, URL_ELICITATION_REQUIRED, RpcError
from tests.access.conftest import ADA, BOB, Caller, Guard, Guarded, Json, key, mesh_of
from tests.kit.authority import authority
from tests.kit.clients import Client, Legacy, Modern, visitor
from tests.kit.light import light
from tests.kit.people import People
from tests.kit.waiting import DEADLINE, eventually

pytestmark = pytest.mark.anyio

ERAS = pytest.mark.parametrize("era", ["legacy", "modern"])
FORMS: Json = {"elicitation": {"form": {}}}


@pytest.fixture
async def people() -> AsyncIterator[People]:
    async with authority(People) as found:
        yield found


def owned(people: People, **upstream: Any) -> str:
    there = {"url": people.url, "auth": {"type": "oauth", "per": "caller"}, **upstream}
    return mesh_of(key("ada", ADA), key("bob", BOB), upstreams={"there": there, "plain": light("--tools", "echo")})


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=DEADLINE, follow_redirects=False) as found:
        yield found


async def agree(window: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """Open the page, and press the button."""
    page = await window.get(url)
    assert page.status_code == 200, page.text
    (check,) = re.findall(r'name="check" value="([^"]+)"', page.text)
    origin = url.partition("/login/")[0]
    return await window.post(url, data={"check": check}, headers={"origin": origin, "sec-fetch-site": "same-origin"})


def leads_to(response: httpx2.Response) -> str:
    (page,) = re.findall(r'content="0;url=([^"]+)"', response.text)
    return unescape(page)


async def log_in(people: People, url: str, who: str, window: httpx2.AsyncClient | None = None) -> httpx2.Response:
    """What somebody does in a browser: the last page."""
    async with browser() if window is None else contextlib.nullcontext(window) as used:
        sent = await agree(used, url)
        assert sent.status_code == 200, sent.text
        people.browser = who
        return await used.get(await people.person(leads_to(sent)))


async def invited(mesh: Guarded, secret: str = ADA) -> str:
    """The URL of a page for whoever has this key."""
    answer = await Caller(mesh, secret, "legacy").ask("tools/call", name="there_login", arguments={})
    assert answer["error"]["code"] == URL_ELICITATION_REQUIRED
    (question,) = answer["error"]["data"]["elicitations"]
    assert question["mode"] == "url"
    return str(question["url"])


def client(mesh: Guarded, era: str, name: str, people: People, **answers: Any) -> Client:
    """A client in this process that takes URLs, whose user logs in where he is sent to."""

    async def go(params: Json) -> Json:
        assert params["mode"] == "url"
        done = await log_in(people, params["url"], name)
        assert done.status_code == 200, done.text
        return {"action": "accept"}

    made: Client = (Legacy if era == "legacy" else Modern)(mesh.server, answers={"elicitation/create": go, **answers})
    made.visitor = visitor(name)
    if isinstance(made, Legacy):
        made.session.visitor = made.visitor
    return made


@ERAS
async def test_a_caller_logs_in_by_the_url_that_his_client_is_sent_to_and_sees_what_is_his(
    guarded: Guard, people: People, era: str
) -> None:
    people.offers = {"ada": ["adas"], "bob": ["bobs"]}
    async with guarded(owned(people)) as mesh:
        ada, bob = (client(mesh, era, name, people) for name in ("ada", "bob"))
        assert await ada.names() == ["there_login", "plain_echo"]
        welcomed = await ada.call("there_login")
        assert welcomed["content"][0]["text"].startswith("You are logged in at there with your own account")
        assert await ada.names() == ["there_whoami", "there_adas", "there_login", "plain_echo"]
        assert await bob.names() == ["there_login", "plain_echo"]
        await bob.call("there_login")
        assert await bob.names() == ["there_whoami", "there_bobs", "there_login", "plain_echo"]
        for one, name in ((ada, "ada"), (bob, "bob"), (ada, "ada")):
            assert (await one.call("there_whoami"))["content"][0]["text"] == name
        with pytest.raises(RpcError, match="Unknown tool: there_adas"):
            await bob.call("there_adas")
        assert people.mixed == []


@ERAS
async def test_a_call_whose_login_has_ended_goes_on_when_its_caller_has_logged_in_again_and_costs_nobody_else_anything(
    guarded: Guard, people: People, era: str
) -> None:
    async with guarded(owned(people)) as mesh:
        ada, bob = (client(mesh, era, name, people) for name in ("ada", "bob"))
        await ada.call("there_login")
        people.end()
        await bob.call("there_login")
        begun = len(people.grants("authorization_code"))
        mine, his = await asyncio.gather(ada.call("there_whoami"), bob.call("there_whoami"))
        assert (mine["content"][0]["text"], his["content"][0]["text"]) == ("ada", "bob")
        assert len(people.grants("authorization_code")) == begun + 1
        if era == "legacy":
            (number,) = {params["elicitationId"] for _, params in ada.asked.all[-1:]}
            assert ("notifications/elicitation/complete", {"elicitationId": number}) in ada.heard.all


@ERAS
async def test_over_http_nothing_of_one_principal_is_used_for_another(guarded: Guard, people: People, era: str) -> None:
    people.offers = {"ada": ["adas"], "bob": ["bobs"]}
    async with guarded(owned(people)) as mesh:
        for secret, name in ((ADA, "ada"), (BOB, "bob")):
            done = await log_in(people, await invited(mesh, secret), name)
            assert "You are logged in at there" in done.text
        callers = [Caller(mesh, ADA, era), Caller(mesh, BOB, era)]
        found = await asyncio.gather(*(callers[number % 2].who() for number in range(40)))
        assert found == ["ada", "bob"] * 20
        for caller, name in zip(callers, ("ada", "bob"), strict=True):
            assert await caller.tools() == ["there_whoami", f"there_{name}s", "there_login", "plain_echo"]
        # Connections and sessions of the upstream were each one person's.
        assert people.mixed == []
        assert len({request.peer for request in people.told("/mcp")}) >= 2
        if era == "modern":
            answer = await mesh.modern(ADA, "tools/list")
            assert answer["result"]["cacheScope"] == "private"


async def test_a_client_that_takes_no_urls_is_told_where_its_user_has_to_go(guarded: Guard, people: People) -> None:
    async with guarded(owned(people)) as mesh:
        for era, code in (("legacy", URL_ELICITATION_REQUIRED), ("modern", MISSING_CLIENT_CAPABILITY)):
            ada = client(mesh, era, "ada", people)
            ada.capabilities = FORMS
            if isinstance(ada, Legacy):
                ada.session.capabilities = FORMS
            with pytest.raises(
                RpcError, match=rf"there wants you to log in with your own account: {mesh.base}/login/"
            ) as told:
                await ada.call("there_login")
            assert told.value.code == code
        data = told.value.data
        assert data["requiredCapabilities"] == {"elicitation": {"url": {}}}


async def test_a_client_that_was_told_by_an_error_hears_when_the_page_is_done_with(
    guarded: Guard, people: People
) -> None:
    async with guarded(owned(people)) as mesh:
        ada = client(mesh, "legacy", "ada", people)
        assert isinstance(ada, Legacy)
        ada.session.capabilities = FORMS
        with pytest.raises(RpcError) as told:
            await ada.call("there_login")
        (question,) = told.value.data["elicitations"]
        await log_in(people, question["url"], "ada")
        assert ("notifications/elicitation/complete", {"elicitationId": question["elicitationId"]}) in ada.heard.all
        assert (await ada.call("there_whoami"))["content"][0]["text"] == "ada"
        # And what is listed has changed for him.
        await eventually(lambda: ("notifications/tools/list_changed", {}) in ada.heard.all)


@ERAS
async def test_who_does_not_want_to_log_in_is_told_that_nothing_was_done(
    guarded: Guard, people: People, era: str
) -> None:
    async with guarded(owned(people)) as mesh:
        ada = client(mesh, era, "ada", people, **{"elicitation/create": lambda _: {"action": "decline"}})
        answer = await ada.call("there_login")
        assert answer["isError"]
        assert answer["content"][0]["text"] == "Nothing was done: the user did not want to log in."


async def test_the_page_says_who_asks_for_what_and_can_be_neither_framed_nor_kept(
    guarded: Guard, people: People
) -> None:
    async with guarded(owned(people)) as mesh, browser() as window:
        page = await window.get(await invited(mesh))
        assert "<b>ada (a key of this mesh), by test,</b> asks to use your account at <b>there</b>" in page.text or (
            "<b>ada (a key of this mesh)" in page.text
        )
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["cache-control"] == "no-store"
        cookie = page.headers["set-cookie"]
        assert "HttpOnly; SameSite=Lax" in cookie
        # Looking at it does nothing: mail programs and chats look at links, too.
        assert not people.told("/authorize")
        assert not people.told("/register")


async def test_a_login_is_begun_by_the_form_of_the_page_alone(guarded: Guard, people: People) -> None:
    async with guarded(owned(people)) as mesh, browser() as window:
        url = await invited(mesh)
        page = await window.get(url)
        (check,) = re.findall(r'name="check" value="([^"]+)"', page.text)
        refused = [
            await window.post(url, data={"check": "x"}, headers={"origin": mesh.base}),
            await window.post(url, data={"check": check}, headers={"origin": "https://elsewhere.example"}),
            await window.post(url, data={"check": check}, headers={"sec-fetch-site": "cross-site"}),
        ]
        async with browser() as other:
            refused.append(await other.post(url, data={"check": check}, headers={"origin": mesh.base}))
        assert [response.status_code for response in refused] == [403] * 4
        assert not people.told("/register")


async def test_a_link_is_good_in_one_browser_and_a_state_once(guarded: Guard, people: People) -> None:
    async with guarded(owned(people)) as mesh, browser() as window, browser() as thief:
        url = await invited(mesh)
        sent = await agree(window, url)
        back = await people.person(leads_to(sent))
        # Neither the page nor what the authorization server said is of use elsewhere.
        assert (await thief.get(url)).status_code == 403
        assert (await thief.get(back)).status_code == 403
        assert not people.tokens
        assert (await window.get(back)).status_code == 200
        assert (await window.get(back)).status_code == 404
        assert (await window.get(url)).status_code == 410
        assert len(people.grants("authorization_code")) == 1


async def test_the_link_of_another_principal_is_refused_and_logged_once(guarded: Guard, people: People) -> None:
    async with guarded(owned(people)) as mesh, browser() as window:
        await log_in(people, await invited(mesh), "ada", window)
        his = await invited(mesh, BOB)
        for _ in range(3):
            refused = await window.get(his)
            assert refused.status_code == 403
            assert "This link is for somebody else" in refused.text
        # So it is by whoever shows another's key.
        async with browser() as other:
            assert (await other.get(his, headers={"authorization": f"Bearer {ADA}"})).status_code == 403
        (told,) = mesh.journal.of("access.not_its_own")
        assert (told["what"], told["principal"], told["owner"]) == ("login link", "key:ada", "key:bob")
        assert "result" in await Caller(mesh, ADA, "modern").ask("tools/call", name="there_whoami", arguments={})


async def test_a_login_that_is_refused_says_so_on_the_page_and_to_the_call(guarded: Guard, people: People) -> None:
    async def refuses(params: Json) -> Json:
        async with browser() as window:
            sent = await agree(window, params["url"])
            state = re.findall(r"state=([^&]+)", leads_to(sent))[0]
            done = await window.get(f"{mesh.base}/login/callback?state={state}&error=access_denied")
            assert (done.status_code, "access_denied" in done.text) == (400, True)
        return {"action": "accept"}

    async with guarded(owned(people)) as mesh:
        ada = client(mesh, "legacy", "ada", people, **{"elicitation/create": refuses})
        answer = await ada.call("there_login")
        assert answer["isError"]
        assert "the login was refused: access_denied" in answer["content"][0]["text"]


async def test_whoever_says_not_who_he_is_has_no_account_and_is_told_so(guarded: Guard, people: People) -> None:
    text = owned(people).replace('"keys": [', '"anonymous": true, "keys": [')
    async with guarded(text) as mesh:
        answer = await mesh.modern(None, "tools/call", name="there_login", arguments={})
        assert "nobody has said who this one is" in answer["error"]["message"]
        assert not people.requests


async def test_a_login_of_ones_own_is_kept_over_a_restart_for_its_principal_alone(
    tmp_path: Path, people: People
) -> None:
    from meshproxy.config.load import load
    from meshproxy.login.logins import Logins

    file = tmp_path / "mesh.yaml"
    file.write_text(owned(people))
    spec = load(file).upstreams["there"]
    logins = Logins(tmp_path, file)
    flow = logins.flow(spec, "key:ada", "http://127.0.0.1:7/login/callback")
    from meshproxy.login.flow import answer_of

    await flow.finish(answer_of(await people.person(await flow.begin())))
    again = Logins(tmp_path, file).vault
    assert again.of("key:ada").read("there", people.url).grant is not None
    assert again.of("key:bob").read("there", people.url).grant is None
    assert again.read("there", people.url).grant is None
