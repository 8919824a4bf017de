"""What a call uses is told by what its upstream lists, by nothing that its caller invents, and only so much of it is remembered."""

from meshproxy.limits import MAX_REMEMBERED
from meshproxy.upstream.uses import Uses, use_of


def test_tools_and_prompts_are_told_apart_by_their_names_and_resources_are_not() -> None:
    uses = [use_of(method, {"name": name}) for method in ("tools/call", "prompts/get") for name in ("a", "b")]
    assert len(set(uses)) == 4
    read = [use_of("resources/read", {"uri": uri, "name": name}) for uri, name in (("x://a", "a"), ("x://b", ["b"]))]
    assert read[0] == read[1]


def test_so_much_is_remembered_and_the_newest_always() -> None:
    uses = Uses()
    for number in range(MAX_REMEMBERED + 1):
        uses.remember(number)
        assert number in uses
    assert 0 not in uses
    uses.clear()
    assert MAX_REMEMBERED not in uses
