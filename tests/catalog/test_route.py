"""Where a public name leads, and what changes on the way to one who sees it."""

from typing import Any

from meshproxy.catalog.catalog import Mount
from meshproxy.catalog.component import ProxyTool
from meshproxy.catalog.route import Route


class Source:
    name = "up"
    completes = False

    async def request(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


SOURCE = Source()


def tool(public: str) -> ProxyTool:
    return ProxyTool(definition={"name": "echo"}, source=SOURCE, origin="echo", public=public)


def route(**changes: Any) -> Route:
    return Route(SOURCE, "echo", Mount("up", "up"), tool("up_echo"), {("a",): "X"}, needs_task=True, **changes)


def deny(_arguments: Any) -> tuple[bool, bool]:
    return False, False


def test_routes_that_lead_to_the_same_are_equal() -> None:
    assert route() == route()
    assert hash(route()) == hash(route())
    assert route() != route(confirm=True)
    assert route() != "echo"
    assert repr(route()) == "<Route to 'echo' of 'up'>"


def test_what_is_changed_for_one_who_sees_it_leaves_everything_else() -> None:
    judged = route(confirm=True).judged(deny)
    assert judged == route(confirm=True, judge=deny)
    assert judged.called(tool("e")) == Route(
        SOURCE, "echo", Mount("up", "up"), tool("e"), {("a",): "X"}, needs_task=True, confirm=True, judge=deny
    )
    assert route(judge=deny).confirmed() == route(judge=deny, confirm=True)


def test_a_uri_of_no_component_leads_there_by_its_namespace() -> None:
    found = Route(SOURCE, "x://y", Mount("up", "up"))
    assert (found.component, found.headers, found.needs_task, found.confirm, found.judge) == (
        None,
        {},
        False,
        False,
        None,
    )
