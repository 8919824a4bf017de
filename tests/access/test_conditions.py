"""Conditions of rules, in CEL: what is told before a call, what for each, and what becomes of one that cannot be decided."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from meshproxy.access.rules import Facts, Rules, Verdict
from meshproxy.config.access import Rule
from meshproxy.config.condition import claims_of, compiled, kinds_of
from meshproxy.kinds import Kind
from meshproxy.relay.principal import Principal
from tests.access.conftest import ADA, Guard, Guarded, key, mesh_of
from tests.kit.authority import Authority, authority
from tests.kit.light import light
from tests.kit.messages import frames, heads, modern, request

Json = dict[str, Any]


def rules(*written: Json) -> Rules:
    return Rules([Rule(**rule) for rule in written])


def token(**claims: Any) -> Principal:
    return Principal("token", "ada", claims=claims)


def tool(public: str = "a_find", upstream: str = "a", kind: Kind = Kind.TOOL) -> Facts:
    return Facts(kind, public, upstream, public.removeprefix(f"{upstream}_"))


def decided(these: Rules, who: Principal, facts: Facts, arguments: Json | None = None) -> Verdict:
    return these.decide(these.about(who), facts, arguments)


def test_a_rule_of_a_condition_alone_allows_what_it_is_true_of_and_is_about_nothing_else() -> None:
    these = rules({"when": "jwt.dept == mcp.tool.target"})
    assert decided(these, token(dept="a"), tool()) == Verdict(allowed=True, rule=0)
    assert decided(these, token(dept="b"), tool()) == Verdict(allowed=False)
    # It names a tool, so it says nothing of prompts.
    assert decided(these, token(dept="a"), tool(kind=Kind.PROMPT)) == Verdict(allowed=False)


def test_where_it_is_false_the_next_rule_decides() -> None:
    these = rules({"deny": ["*"], "when": "jwt.is_guest"}, {"allow": ["*"]})
    assert decided(these, token(is_guest=True), tool()) == Verdict(allowed=False, rule=0)
    assert decided(these, token(is_guest=False), tool()) == Verdict(allowed=True, rule=1)


@pytest.mark.parametrize("written", [{"allow": ["*"]}, {"deny": ["*"]}, {}])
@pytest.mark.parametrize("when", ["jwt.dept == 'a'", "jwt.sub", "1", "jwt.sub > 3", "jwt.sub + 1 == 2"])
def test_what_cannot_be_decided_is_forbidden_whatever_the_rule_would_say(written: Json, when: str) -> None:
    these = rules({**written, "when": when}, {"allow": ["*"]})
    assert decided(these, token(sub="ada"), tool()) == Verdict(allowed=False, rule=0, failed=True)


def test_the_names_are_those_of_the_upstream_and_claims_may_have_any_name() -> None:
    these = rules({"when": 'mcp.tool.name == "find" && mcp.tool.target == "a" && "x" in jwt["https://x/groups"]'})
    assert decided(these, token(**{"https://x/groups": ["x"]}), tool()).allowed
    these = rules({"when": "mcp.resource.name.startsWith('r://') && mcp.resource.target == 'a'"})
    assert decided(these, token(), Facts(Kind.RESOURCE, "r://a/1", "a", "r://1")).allowed
    assert decided(these, token(), Facts(Kind.TEMPLATE, "r://a/{x}", "a", "r://{x}")).allowed
    assert not decided(these, token(), tool()).allowed


SMALL = "mcp.tool.arguments.n < 10"


@pytest.mark.parametrize(
    ("written", "small", "large", "is_listed"),
    [
        ([{"when": SMALL}], True, False, True),
        ([{"when": SMALL, "deny": ["*"]}, {"allow": ["*"]}], False, True, True),
        ([{"when": SMALL, "deny": ["*"]}], False, False, False),
        ([{"when": SMALL, "deny": ["*"]}, {"when": "mcp.tool.arguments.n > 20"}], False, True, True),
        ([{"when": SMALL, "allow": ["other"]}], False, False, False),
        ([{"deny": ["a_*"]}, {"when": SMALL}], False, False, False),
        ([{"when": SMALL, "only": "read_only"}], False, False, False),
        ([{"allow": ["a_*"]}, {"when": SMALL, "deny": ["*"]}], True, True, True),
    ],
)
def test_what_arguments_decide_is_there_unless_no_arguments_would_do(
    written: list[Json],
    small: bool,  # noqa: FBT001
    large: bool,  # noqa: FBT001
    is_listed: bool,  # noqa: FBT001
) -> None:
    these = rules(*written)
    assert decided(these, token(), tool()).allowed is is_listed
    assert decided(these, token(), tool(), {"n": 3}).allowed is small
    assert decided(these, token(), tool(), {"n": 30}).allowed is large
    if is_listed and small is not large:
        assert decided(these, token(), tool()).by_call
        assert not decided(these, token(), tool(), {}).allowed


def test_those_whose_claims_are_the_same_as_far_as_rules_look_at_them_are_one_class() -> None:
    these = rules({"when": "jwt.dept == 'a' && jwt['x-y'] == 1"})
    assert these.about(token(dept="a", jti="1")) == these.about(token(dept="a", jti="2"))
    assert these.about(token(dept="a")) != these.about(token(dept="b"))
    these = rules({"when": "size(jwt) > 1"})
    assert these.about(token(dept="a", jti="1")) != these.about(token(dept="a", jti="2"))
    these = rules({"who": {"keys": ["x"]}, "when": "jwt.dept == 'a'"})
    assert these.about(token(dept="a")) == these.about(token(dept="b"))


@pytest.mark.parametrize(
    ("text", "claims", "kinds"),
    [
        ("jwt.a == jwt['b'] && jwt . c", {"a", "b", "c"}, None),
        ("'jwt' in jwt.a", None, None),
        ("jwt['a\\\\'] == 1", None, None),
        ("mcp.tool.name == 'x'", set(), {"tools"}),
        ("mcp.tool.name == 'x' || mcp.prompt.name == 'x'", set(), {"tools", "prompts"}),
        ("mcp.resource.name == 'x'", set(), {"resources", "templates"}),
        ("mcp['tool'].name == 'x' || mcp.prompt.name == 'x'", set(), None),
        ("has(mcp.tool) || jwt.a", {"a"}, {"tools"}),
    ],
)
def test_what_a_condition_looks_at_is_seen_in_its_text(text: str, claims: set | None, kinds: set | None) -> None:
    assert (claims_of(text), kinds_of(text)) == (claims, kinds)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("jwt.dept ==", "is no CEL expression: mismatched input '<EOF>' at column 12"),
        ("jwt.dept =\n 'x'", "is no CEL expression: token recognition error at: '= "),
        ("", "is no CEL expression"),
        ("tool.name == 'x'", "knows jwt and mcp, such as jwt.sub and mcp.tool.name, and not tool"),
        ("open(jwt.sub)", "uses functions that CEL does not have: open"),
    ],
)
async def test_what_does_not_compile_is_an_error_of_the_config_with_its_place(
    guarded: Guard, when: str, said: str
) -> None:
    async with guarded(mesh_of(key("ada", ADA))) as mesh:
        told = await mesh.edit(mesh_of(key("ada", ADA), access=[{"allow": ["*"]}, {"who": "any", "when": when}]))
        assert told["event"] == "config.rejected"
        assert "access[1].when" in str(told) or "access.1.when" in str(told)
        assert said in str(told).replace("\\\\", "")
        assert await mesh.status(ADA) == 200


def test_names_that_an_expression_binds_itself_are_known() -> None:
    assert compiled("[1, 2].exists(n, n == 1) && jwt.groups.all(g, g.startsWith('x'))")


def test_without_the_library_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel", None)
    with pytest.raises(ValueError, match=r"pip install 'meshproxy\[cel\]'"):
        Rule(when="jwt.never_compiled_before")


def test_a_mesh_without_conditions_does_not_load_the_library() -> None:
    import subprocess

    program = "import sys; from meshproxy.access.access import Access; from meshproxy.config.access import Rule; Rule(allow=['*']); print('cel' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
async def idp() -> AsyncIterator[Authority]:
    async with authority() as issuer:
        yield issuer


OFFER = {"a": light("--tools", "find,drop", "--prompts", "plan"), "b": light("--tools", "find")}


def guarded_by(issuer: Authority, *access: Json) -> str:
    entry = {"issuer": issuer.issuer, "audience": "mesh"}
    return mesh_of(auth={"jwt": [entry]}, upstreams=OFFER, access=list(access))


async def names(mesh: Guarded, secret: str) -> list[str]:
    return [tool["name"] for tool in (await mesh.modern(secret, "tools/list"))["result"]["tools"]]


@pytest.mark.anyio
async def test_each_sees_and_uses_what_its_claims_allow(guarded: Guard, idp: Authority) -> None:
    async with guarded(guarded_by(idp, {"when": "jwt.dept == mcp.tool.target"})) as mesh:
        one, other, none = idp.token(dept="a"), idp.token(dept="b"), idp.token()
        assert await names(mesh, one) == ["a_find", "a_drop"]
        assert await names(mesh, other) == ["b_find"]
        assert await names(mesh, none) == []
        assert "result" in await mesh.modern(other, "tools/call", name="b_find")
        refused = await mesh.modern(other, "tools/call", name="a_find")
        assert refused["error"]["message"] == "Unknown tool: a_find"
        (told,) = mesh.journal.of("access.condition_failed")
        assert (told["when"], told["reason"]) == ("jwt.dept == mcp.tool.target", "KeyError")


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_rule_on_arguments_hides_nothing_and_refuses_the_call(guarded: Guard, idp: Authority, era: str) -> None:
    access = [
        {"when": "mcp.tool.arguments.path.startsWith('/tmp/')", "allow": ["a_*"]},
        {"when": "mcp.prompt.arguments.of == 'x'"},
        {"allow": ["b_*"]},
    ]
    async with guarded(guarded_by(idp, *access)) as mesh:
        secret = idp.token()
        session = await mesh.open(secret) if era == "legacy" else {}

        async def ask(method: str, **params: Any) -> Json:
            if era == "legacy":
                return await mesh.legacy(secret, session, method, **params)
            return await mesh.modern(secret, method, **params)

        assert [tool["name"] for tool in (await ask("tools/list"))["result"]["tools"]] == ["a_find", "a_drop", "b_find"]
        assert "result" in await ask("tools/call", name="a_find", arguments={"path": "/tmp/x"})
        for arguments in ({"path": "/etc/x"}, {"path": 3}, {}, None):
            refused = await ask("tools/call", name="a_find", **({} if arguments is None else {"arguments": arguments}))
            assert refused["error"]["code"] == -32602
            assert "do not allow these arguments" in refused["error"]["message"]
        assert "result" in await ask("tools/call", name="b_find", arguments={"path": "/etc/x"})
        assert "result" in await ask("prompts/get", name="a_plan", arguments={"of": "x"})
        assert "error" in await ask("prompts/get", name="a_plan", arguments={"of": "y"})


@pytest.mark.anyio
async def test_who_agrees_is_asked_for_those_arguments_alone_that_a_rule_names(guarded: Guard) -> None:
    access = [{"when": "mcp.tool.arguments.tag > 5", "allow": ["*"], "confirm": "destructive"}, {"allow": ["*"]}]
    async with guarded(mesh_of(key("ada", ADA), upstreams=OFFER, access=access)) as mesh:
        assert "result" in await mesh.modern(ADA, "tools/call", name="a_drop", arguments={"tag": 1})
        refused = await mesh.modern(ADA, "tools/call", name="a_drop", arguments={"tag": 9})
        assert refused["error"]["code"] == -32021
        session = await mesh.open(ADA, elicitation={})
        message = request("tools/call", {"name": "a_drop", "arguments": {"tag": 9}}, 7)
        shown = heads(**session, authorization=f"Bearer {ADA}")
        async with mesh.http.stream("POST", mesh.base + "/mcp", json=message, headers=shown) as stream:
            heard = frames(stream)
            question = await anext(heard)
            assert question["method"] == "elicitation/create"
            answer = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
            assert (await mesh.send(answer, ADA, **session)).status_code == 202
            assert (await anext(heard))["result"]["structuredContent"]["tag"] == 9


@pytest.mark.anyio
async def test_an_edit_of_a_condition_is_in_force_at_once(guarded: Guard, idp: Authority) -> None:
    secret = idp.token(dept="a")
    async with guarded(guarded_by(idp, {"when": "jwt.dept == 'a'"})) as mesh:
        assert len(await names(mesh, secret)) == 3
        await mesh.edit(guarded_by(idp, {"when": "jwt.dept == 'b'"}))
        assert await names(mesh, secret) == []


@pytest.mark.anyio
async def test_arguments_as_deep_as_they_may_be_do_no_harm(guarded: Guard) -> None:
    access = [{"when": "has(mcp.tool.arguments.x)"}]
    deep: Any = 1
    for _ in range(100):
        deep = {"x": deep}
    async with guarded(mesh_of(key("ada", ADA), upstreams=OFFER, access=access)) as mesh:
        assert "result" in await mesh.modern(ADA, "tools/call", name="a_find", arguments=deep)
        message, headers = modern(request("tools/call", {"name": "a_find", "arguments": {"x": 2**70}}))
        assert (await mesh.send(message, ADA, **headers)).status_code in (200, 400)
        assert await mesh.status(ADA) == 200
