"""Listing asks an upstream for every kind that it promises, page by page, and knows when to stop."""

import asyncio
from typing import Any

import pytest
from meshproxy.catalog.catalog import EMPTY, Catalog
from meshproxy.errors import AnswerLost, RpcError, UpstreamUnavailable
from meshproxy.kinds import Kind
from meshproxy.upstream import listing
from meshproxy.upstream.listing import list_catalog, list_kind
from meshproxy.wire.codec import Raw
from tests.kit.waiting import DEADLINE
from tests.kit.wires import Gate, Wire

pytestmark = pytest.mark.anyio


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
    gates = [Gate({items: [{"x": 1}]}) for items in ("tools", "resources", "resourceTemplates", "prompts")]
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
    wire = Wire(tools__list={"tools": [{"name": "a"}], "ttlMs": 5, "cacheScope": "public"})
    assert await tools(wire) == (({"name": "a"},), 5, False)
    assert [method for method, _ in wire.sent] == ["tools/list"]
    assert await tools(Wire(capabilities={})) == ((), 0, True)


async def test_what_is_not_promised_is_not_asked_for() -> None:
    wire = Wire(capabilities={"tools": {}, "prompts": True}, tools__list={"tools": []})
    wire.server |= {"instructions": 3}
    catalog = await listed(wire)
    assert [method for method, _ in wire.sent] == ["tools/list"]
    assert catalog.instructions is None
    # Nothing is known of how long the others may be kept, or by whom.
    assert catalog.private == frozenset(Kind)


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


async def test_a_listing_whose_cursor_comes_again_never_ends_and_is_given_up() -> None:
    wire = Wire(
        capabilities={"tools": {}},
        tools__list=Pages({"tools": [], "nextCursor": "1"}, {"tools": [], "nextCursor": "1"}),
    )
    with pytest.raises(UpstreamUnavailable, match="never ends: a page repeats the cursor '1'"):
        await tools(wire)
    assert len(wire.sent) == 2


async def test_a_listing_of_too_many_pages_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_PAGES", 3)
    count = iter(range(100))
    wire = Wire(capabilities={"tools": {}}, tools__list=lambda *_: {"tools": [], "nextCursor": str(next(count))})
    with pytest.raises(UpstreamUnavailable, match="more than 3 pages"):
        await tools(wire)


@pytest.mark.parametrize("page", [{}, {"tools": None}, {"tools": {}}, [], 3, Raw(b"{")])
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
        (lambda *_: {"prompts": [], "nextCursor": "1"}, "its listing of prompts never ends"),
        (Gate(), "did not list its prompts within 0.05 s"),
    ],
)
async def test_a_kind_that_cannot_be_listed_costs_the_others_nothing(answer: Any, reason: str) -> None:
    capabilities = {"tools": {}, "prompts": {}}
    wire = Wire(capabilities=capabilities, tools__list={"tools": [{"name": "t"}], "ttlMs": 5}, prompts__list=answer)
    catalog = await listed(wire, 0.05)
    assert catalog[Kind.TOOL] == ({"name": "t"},)
    assert catalog[Kind.PROMPT] == ()
    assert list(catalog.failed) == [Kind.PROMPT]
    assert catalog.failed[Kind.PROMPT].startswith(reason)
    # What was known before stays, and is not for others to keep.
    before = Catalog({kind: ({"name": "old"},) for kind in Kind})
    again = await listed(wire, 0.05, before)
    assert again.definitions == {Kind.TOOL: ({"name": "t"},), Kind.PROMPT: ({"name": "old"},)}
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
    assert gate.cancelled.is_set()


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
