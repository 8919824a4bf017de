"""Listing asks an upstream for every kind that it promises, page by page, and knows when to stop."""

import asyncio
import re
from typing import Any

import pytest
from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.kinds import KINDS, Kind
from meshproxy.links import listing
from meshproxy.links.listing import list_catalog, list_kind
from meshproxy.links.trail import META_TRAIL, check_trail, meta_of, trail_in
from meshproxy.wire.codec import Raw
from meshproxy.wire.protocol import Era
from structlog.testing import capture_logs
from tests.kit.journal import Journal
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Gate, Wire

pytestmark = pytest.mark.anyio


OBJECT = {"type": "object"}


def tool(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT, **members}


def said(output: str) -> str:
    """What was logged, without its colours and padding."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


class Heading(Wire):
    """A wire that repeats arguments in headers, or not."""

    repeats = True

    @property
    def repeats_parameters(self) -> bool:
        return self.repeats


class Pages:
    """The pages of one listing, by cursor."""

    def __init__(self, *pages: Any) -> None:
        self.pages = pages

    def __call__(self, params: dict[str, Any], _call: Any) -> Any:
        return self.pages[int(params.get("cursor") or 0)]


async def listed(wire: Wire, timeout: float | None = DEADLINE, before: Catalog = EMPTY) -> Catalog:
    async with asyncio.timeout(DEADLINE):
        return await list_catalog(wire, timeout, before)


async def tools(wire: Wire, timeout: float | None = DEADLINE) -> Any:
    async with asyncio.timeout(DEADLINE):
        return await list_kind(wire, Kind.TOOL, timeout)


async def test_every_kind_that_is_promised_is_listed_at_once() -> None:
    gates = [Gate({spec.items: [{spec.key: "k"}]}) for spec in KINDS.values()]
    names = ["tools__list", "resources__list", "resources__templates__list", "prompts__list"]
    wire = Wire(**dict(zip(names, gates, strict=True)))
    wire.server |= {"instructions": "Do as you like."}
    listing_all = asyncio.create_task(listed(wire))
    for gate in gates:
        await gate.entered.wait()
    for gate in gates:
        gate.open.set()
    catalog = await listing_all
    assert catalog.counts() == dict.fromkeys(Kind, 1)
    assert catalog.capabilities == wire.capabilities
    assert catalog.instructions == "Do as you like."
    assert all(params == {} for _, params in wire.sent)


async def test_one_kind_is_listed_alone() -> None:
    wire = Wire(tools__list={"tools": [tool("a")], "ttlMs": 5, "cacheScope": "public"})
    assert await tools(wire) == ((tool("a"),), 5, False, frozenset())
    assert [method for method, _ in wire.sent] == ["tools/list"]
    assert await tools(Wire(capabilities={"prompts": {}})) == ((), 0, True, frozenset())


async def test_a_listing_came_through_the_meshes_that_its_pages_name_or_else_those_that_its_server_names() -> None:
    wire = Wire(tools__list={"tools": [], "_meta": {META_TRAIL: ["inner", "beyond"]}})
    wire.server |= {"_meta": {META_TRAIL: ["inner"]}}
    assert (await listed(wire)).trail == {"inner", "beyond"}
    wire = Wire(tools__list={"tools": []})
    wire.server |= {"_meta": {META_TRAIL: ["inner"]}}
    assert (await listed(wire)).trail == {"inner"}


@pytest.mark.parametrize(
    "said", [None, "mesh", [META_TRAIL], {}, {META_TRAIL: "mesh"}, {META_TRAIL: [1, None, "x" * 65]}]
)
def test_whoever_says_nothing_of_meshes_came_through_none(said: Any) -> None:
    assert trail_in({"_meta": said}) == frozenset()


def test_a_trail_of_any_length_is_kept_within_bounds() -> None:
    assert len(trail_in({"_meta": {META_TRAIL: [str(number) for number in range(1000)]}})) == 64
    said = meta_of("own", (str(number) for number in range(1000)))[META_TRAIL]
    assert (said[0], len(said)) == ("own", 64)


def test_only_the_own_name_leads_back_and_trying_again_does_not_help() -> None:
    check_trail("docs", "own", frozenset({"other"}))
    with pytest.raises(UpstreamUnavailable, match="it lists this mesh itself") as raised:
        check_trail("docs", "own", frozenset({"own", "other"}))
    assert raised.value.is_lasting


async def test_what_is_not_promised_is_not_asked_for() -> None:
    wire = Wire(capabilities={"tools": {}, "prompts": True}, tools__list={"tools": []})
    wire.server |= {"instructions": 3}
    catalog = await listed(wire)
    assert [method for method, _ in wire.sent] == ["tools/list"]
    assert catalog.instructions is None
    # Nothing is known of how long the others may be kept, or by whom.
    assert catalog.private == frozenset(Kind)


@pytest.mark.parametrize("capabilities", [{}, {"logging": {}}, {"tools": None}])
async def test_who_promises_nothing_is_asked_for_everything_and_nothing_is_missed(
    capabilities: dict[str, Any], journal: Journal
) -> None:
    wire = Wire(
        capabilities=capabilities,
        tools__list={"tools": [tool("a")]},
        prompts__list={"prompts": []},
        resources__list=RpcError(-32603, "it broke"),
        resources__templates__list=Gate(),
    )
    catalog = await listed(wire, 0.05)
    assert catalog.definitions == {Kind.TOOL: (tool("a"),)}
    assert catalog.failed == {}
    (said,) = journal.of("upstream.mended")
    assert said["reason"] == "its capabilities do not say that it has tools"
    assert (await tools(wire)).definitions == (tool("a"),)


async def test_who_promises_nothing_and_has_nothing_is_as_it_says(journal: Journal) -> None:
    catalog = await listed(Wire(capabilities={}))
    assert (catalog.definitions, catalog.failed) == ({}, {})
    assert journal.all == []


async def test_all_pages_are_one_listing_in_their_order() -> None:
    pages = Pages(
        {"tools": [{"name": "a"}, "odd", {"name": "b"}], "nextCursor": "1"},
        {"tools": [], "nextCursor": "2"},
        {"tools": [{"name": "c"}], "nextCursor": None},
    )
    wire = Wire(capabilities={"tools": {}}, tools__list=pages)
    assert [tool["name"] for tool in (await listed(wire))[Kind.TOOL]] == ["a", "b", "c"]
    assert wire.of("tools/list") == [{}, {"cursor": "1"}, {"cursor": "2"}]


async def test_an_empty_cursor_is_a_cursor() -> None:
    answers = iter([{"tools": [{"name": "a"}], "nextCursor": ""}, {"tools": [{"name": "b"}]}])
    wire = Wire(capabilities={"tools": {}}, tools__list=lambda *_: next(answers))
    assert len((await listed(wire))[Kind.TOOL]) == 2
    assert wire.of("tools/list") == [{}, {"cursor": ""}]


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        # The cursor is not looked at, or the empty one is none.
        ([{"tools": [tool("a"), tool("b")], "nextCursor": "1"}] * 2, "a page repeats the cursor '1'"),
        ([{"tools": [tool("a"), tool("b")], "nextCursor": ""}] * 2, "a page repeats the cursor ''"),
        ([{"tools": [tool("a")], "nextCursor": "1"}, {"tools": [tool("b")], "nextCursor": ""}] * 2, "repeats the cursor '1'"),
        ([{"tools": [], "nextCursor": "1"}, {"tools": [tool("a"), tool("b")], "nextCursor": "1"}], "repeats the cursor '1'"),
        ([{"tools": [tool("a"), tool("b")], "nextCursor": str(number)} for number in range(9)], "nothing that was not listed before"),
        ([{"tools": [tool("ab"[number % 2])], "nextCursor": str(number)} for number in range(9)], "nothing that was not listed before"),
    ],
)  # fmt: skip
async def test_a_listing_that_never_ends_is_cut_off_and_what_was_listed_is_kept(
    pages: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(pages)
    wire = Wire(capabilities={"tools": {}}, tools__list=lambda *_: next(answers))
    catalog = await listed(wire)
    assert [item["name"] for item in catalog[Kind.TOOL]] == ["a", "b"]
    assert catalog.failed == {}
    assert len(wire.sent) <= 3
    (line,) = said(capsys.readouterr().out).splitlines()
    assert "upstream.listing_cut_off" in line
    assert "kind=tools" in line
    assert reason in line


async def test_a_listing_of_too_many_pages_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 3)
    count = iter(range(100))
    wire = Wire(
        capabilities={"tools": {}},
        tools__list=lambda *_: {"tools": [tool(f"t{(number := next(count))}")], "nextCursor": str(number)},
    )
    assert len((await listed(wire))[Kind.TOOL]) == 3
    assert "it has more than 3 pages" in capsys.readouterr().out


async def test_an_empty_cursor_that_is_refused_was_none() -> None:
    answers = iter([{"tools": [tool("a")], "nextCursor": ""}, RpcError(-32602, "Invalid cursor")])
    catalog = await listed(Wire(capabilities={"tools": {}}, tools__list=lambda *_: next(answers)))
    assert catalog[Kind.TOOL] == (tool("a"),)
    assert catalog.failed == {}


async def test_a_list_that_is_null_is_empty_and_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    answers = {spec.list_method.replace("/", "__"): {spec.items: None} for spec in KINDS.values()}
    catalog = await listed(Wire(**answers))
    assert catalog.counts() == dict.fromkeys(Kind, 0)
    assert catalog.failed == {}
    assert capsys.readouterr().out == ""


async def test_a_definition_that_clients_would_refuse_the_listing_for_is_mended_or_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = [
        tool("a"),
        {"name": "b"},
        tool("c", inputSchema="odd"),
        7,
        *({"name": f"d{number}"} for number in range(9)),
    ]
    wire = Wire(capabilities={"tools": {}}, tools__list={"tools": items})
    for _ in range(3):
        catalog = await listed(wire)
    assert [item["name"] for item in catalog[Kind.TOOL]] == ["a", "b", *(f"d{number}" for number in range(9))]
    assert catalog[Kind.TOOL][1] == tool("b")
    # Each fault is said once, however many components have it, and however often they are listed.
    mended, left_out, odd = sorted(said(capsys.readouterr().out).splitlines(), key=lambda line: "left_out" in line)
    assert "tool.mended" in mended
    assert "count=10 names=['b', 'd0', 'd1', 'd2', 'd3'] reason='inputSchema is missing' upstream=up" in mended
    assert "count=1 names=['c'] reason='inputSchema is a string and not an object'" in left_out
    assert "count=1 names=['?'] reason='it is a number and no object'" in odd


async def test_what_is_listed_twice_counts_once_as_it_came_first() -> None:
    wire = Wire(
        capabilities={"tools": {}}, tools__list={"tools": [tool("a", title="1"), tool("b"), tool("a", title="2")]}
    )
    assert (await listed(wire))[Kind.TOOL] == (tool("a", title="1"), tool("b"))


@pytest.mark.parametrize("era", Era)
async def test_a_tool_whose_annotations_make_no_header_is_left_out_where_headers_are_sent(era: Era) -> None:
    annotated = {"type": "object", "properties": {"a": {"type": "object", "x-mcp-header": "A"}}}
    wire = Heading(capabilities={"tools": {}}, tools__list={"tools": [tool("a", inputSchema=annotated), tool("b")]})
    wire.repeats = era is Era.MODERN
    assert [item["name"] for item in (await listed(wire))[Kind.TOOL]] == (["b"] if wire.repeats else ["a", "b"])


@pytest.mark.parametrize("page", [{}, {"tools": {}}, {"tools": "none"}, None, [], 3, Raw(b"{")])
async def test_an_answer_that_is_no_listing_is_said_to_be_none(page: Any) -> None:
    wire = Wire(capabilities={"tools": {}}, tools__list=page)
    with pytest.raises(UpstreamUnavailable, match="tools/list holds no list of tools"):
        await tools(wire)


async def test_resources_without_templates_are_no_fault() -> None:
    wire = Wire(
        capabilities={"resources": {}},
        resources__list={"resources": [{"uri": "x://y"}]},
        resources__templates__list=RpcError(-32601, "Method not found"),
    )
    catalog = await listed(wire)
    assert catalog.counts()[Kind.RESOURCE] == 1
    assert catalog[Kind.TEMPLATE] == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (RpcError(-32603, "it broke"), "it broke"),
        ({"prompts": "none"}, "its answer to prompts/list holds no list of prompts"),
        (Gate, "did not list its prompts within 0.05 s"),
    ],
)
async def test_a_kind_that_cannot_be_listed_costs_the_others_nothing(answer: Any, reason: str) -> None:
    capabilities = {"tools": {}, "prompts": {}}
    answer = Gate() if answer is Gate else answer
    wire = Wire(capabilities=capabilities, tools__list={"tools": [tool("t")], "ttlMs": 5}, prompts__list=answer)
    catalog = await listed(wire, 0.05)
    assert catalog[Kind.TOOL] == (tool("t"),)
    assert catalog[Kind.PROMPT] == ()
    assert list(catalog.failed) == [Kind.PROMPT]
    assert catalog.failed[Kind.PROMPT].startswith(reason)
    # What was known before stays, and is not for others to keep.
    before = Catalog({kind: ({"name": "old"},) for kind in Kind})
    again = await listed(wire, 0.05, before)
    assert again.definitions == {Kind.TOOL: (tool("t"),), Kind.PROMPT: ({"name": "old"},)}
    assert again.ttl == {Kind.TOOL: 5}
    assert Kind.PROMPT in again.private


async def test_a_listing_that_is_cut_off_says_so_whatever_came_before() -> None:
    gate = Gate()
    wire = Wire(capabilities={"tools": {}, "prompts": {}}, tools__list={"tools": []}, prompts__list=gate)
    listing_all = asyncio.create_task(listed(wire))
    await gate.entered.wait()
    wire.close("it died")
    with pytest.raises(AnswerLost, match="it died"):
        await listing_all


async def test_another_refusal_is_the_upstreams_own() -> None:
    wire = Wire(capabilities={"tools": {}}, tools__list=RpcError(-32603, "it broke"))
    with pytest.raises(RpcError, match="it broke"):
        await tools(wire)


async def test_an_upstream_that_does_not_list_in_time_is_given_up() -> None:
    gate = Gate()
    wire = Wire(capabilities={"tools": {}}, tools__list=gate)
    with pytest.raises(UpstreamUnavailable, match=r"within 0\.05 s"):
        await tools(wire, 0.05)
    await asyncio.wait_for(gate.cancelled.wait(), DEADLINE)


@pytest.mark.parametrize(
    ("pages", "ttl"),
    [
        ([{"ttlMs": 5}, {"ttlMs": 3}, {"ttlMs": 4}], 3),
        ([{"ttlMs": 5}, {}], 0),
        ([{}, {"ttlMs": 5}], 0),
        ([{"ttlMs": "odd"}, {"ttlMs": 5}], 0),
        ([{"ttlMs": 5}, {"ttlMs": "odd"}], 0),
        ([{"ttlMs": -5}], 0),
        ([{"ttlMs": True}], 0),
        ([{}], 0),
    ],
)
async def test_a_listing_is_kept_as_long_as_its_first_page_to_go_stale(pages: list[dict[str, Any]], ttl: int) -> None:
    last = len(pages) - 1
    made = [
        {"tools": [], **page, **({"nextCursor": str(number + 1)} if number < last else {})}
        for number, page in enumerate(pages)
    ]
    catalog = await listed(Wire(capabilities={"tools": {}}, tools__list=Pages(*made)))
    assert catalog.ttl[Kind.TOOL] == ttl


@pytest.mark.parametrize(
    ("scopes", "is_private"),
    [
        (["public"], False),
        (["public", "public"], False),
        (["public", "private"], True),
        (["public", None], True),
        ([None], True),
    ],
)
async def test_a_listing_is_public_only_if_every_page_is(scopes: list[str | None], *, is_private: bool) -> None:
    last = len(scopes) - 1
    made: list[dict[str, Any]] = [
        {"tools": [], "cacheScope": scope, **({"nextCursor": str(number + 1)} if number < last else {})}
        for number, scope in enumerate(scopes)
    ]
    catalog = await listed(Wire(capabilities={"tools": {}}, tools__list=Pages(*made)))
    assert (Kind.TOOL in catalog.private) == is_private


async def test_a_definition_beyond_a_limit_is_named_in_the_log() -> None:
    deep = b'{"name":"deep","inputSchema":' + b"[" * 2000 + b"]" * 2000 + b"}"
    wire = Wire(capabilities={"tools": {}}, tools__list=Raw(b'{"tools":[{"name":"good"},' + deep + b"]}"))
    with capture_logs() as logs:
        catalog = await listed(wire)
    assert [tool["name"] for tool in catalog[Kind.TOOL]] == ["good"]
    assert not catalog.failed
    [said] = [entry for entry in logs if entry["event"] == "tool.left_out"]
    assert (said["log_level"], said["upstream"], said["names"]) == ("warning", "up", ["deep"])
    assert "nested deeper" in said["reason"]


async def test_of_a_listing_as_much_is_read_as_anybody_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_LISTED", 3)
    pages = Pages(
        *(
            {"tools": [{"name": f"{page}{number}"} for number in range(2)], "nextCursor": str(page + 1)}
            for page in range(3)
        )
    )
    wire = Wire(capabilities={"tools": {}}, tools__list=pages)
    assert [tool["name"] for tool in (await listed(wire))[Kind.TOOL]] == ["00", "01", "10"]
    assert len(wire.sent) == 2
