"""Rules: the first that is about the principal and matches the component decides."""

import pytest
from meshproxy.access.rules import FREE, Facts, Rules, Verdict
from meshproxy.config.access import Rule
from meshproxy.kinds import Kind
from meshproxy.relay.principal import ANONYMOUS, LOCAL, Principal

ADA = Principal("key", "ada", groups=frozenset({"dev"}))
EVE = Principal("token", "eve@example.com", scopes=frozenset({"mcp:read"}))
BOX = Principal("certificate", "box.example.com")


def rules(*written: dict) -> Rules:
    return Rules([Rule(**rule) for rule in written])


def decided(these: Rules, principal: Principal, public: str, kind: Kind = Kind.TOOL, **hints: object) -> Verdict:
    definition = {"annotations": hints} if hints else {}
    return these.decide(these.about(principal), Facts(kind, public, public.partition("_")[0], public, definition))


def test_without_rules_everything_is_allowed_and_with_none_nothing() -> None:
    assert decided(FREE, ADA, "a_t") == Verdict(allowed=True)
    assert decided(rules(), ADA, "a_t") == Verdict(allowed=False)


@pytest.mark.parametrize(
    ("who", "whom"),
    [
        ("any", [ADA, EVE, BOX, ANONYMOUS.principal, LOCAL.principal]),
        ("anonymous", [ANONYMOUS.principal]),
        ("local", [LOCAL.principal]),
        ({"keys": ["a?a"]}, [ADA]),
        ({"keys": ["eve*", "box*"]}, []),
        ({"groups": ["ops", "dev"]}, [ADA]),
        ({"subjects": ["*@example.com"]}, [EVE]),
        ({"scopes": ["mcp:read"]}, [EVE]),
        ({"certificates": ["*.example.com"]}, [BOX]),
        ({"keys": ["ada"], "scopes": ["mcp:read"]}, [ADA, EVE]),
    ],
)
def test_a_rule_is_about_whom_it_names(who: object, whom: list[Principal]) -> None:
    these = rules({"who": who, "allow": ["*"]})
    everybody = [ADA, EVE, BOX, ANONYMOUS.principal, LOCAL.principal]
    assert [one for one in everybody if decided(these, one, "a_t").allowed] == whom


def test_the_first_rule_that_matches_decides_and_deny_comes_before_allow() -> None:
    these = rules({"allow": ["a_*"], "deny": ["*_drop"]}, {"allow": ["*_drop", "b_*"]}, {"deny": ["*"]})
    assert decided(these, ADA, "a_find") == Verdict(allowed=True, rule=0)
    assert decided(these, ADA, "a_drop") == Verdict(allowed=False, rule=0)
    assert decided(these, ADA, "b_x") == Verdict(allowed=True, rule=1)
    assert decided(these, ADA, "c_x") == Verdict(allowed=False, rule=2)


def test_a_rule_is_about_its_kinds_and_upstreams_alone() -> None:
    these = rules({"kinds": ["prompts"], "upstreams": ["a*"], "allow": ["*"]})
    assert decided(these, ADA, "a_p", Kind.PROMPT).allowed
    assert not decided(these, ADA, "a_p").allowed
    assert not decided(these, ADA, "b_p", Kind.PROMPT).allowed


def test_read_only_admits_tools_that_say_so_and_no_others() -> None:
    these = rules({"allow": ["*"], "only": "read_only"}, {"allow": ["*"]})
    assert decided(these, ADA, "a_t", readOnlyHint=True).allowed
    for hints in (
        {},
        {"readOnlyHint": False},
        {"readOnlyHint": "true"},
        {"readOnlyHint": 1},
        {"destructiveHint": False},
    ):
        assert decided(these, ADA, "a_t", **hints) == Verdict(allowed=False, rule=0)
    assert decided(these, ADA, "a_p", Kind.PROMPT).allowed
    assert decided(these, ADA, "r://a/1", Kind.RESOURCE).allowed


def test_annotations_that_are_no_object_say_nothing() -> None:
    these = rules({"allow": ["*"], "only": "read_only"})
    facts = Facts(Kind.TOOL, "a_t", "a", "t", {"annotations": ["readOnlyHint"]})
    assert not these.decide(these.about(ADA), facts).allowed


def test_what_may_destroy_is_confirmed() -> None:
    these = rules({"allow": ["*"], "confirm": "destructive"})
    assert decided(these, ADA, "a_t").confirm
    assert decided(these, ADA, "a_t", destructiveHint=True).confirm
    assert decided(these, ADA, "a_t", readOnlyHint=False).confirm
    assert not decided(these, ADA, "a_t", destructiveHint=False).confirm
    assert not decided(these, ADA, "a_t", readOnlyHint=True).confirm
    assert not decided(these, ADA, "a_p", Kind.PROMPT).confirm


def test_an_expansion_goes_by_the_rules_for_its_template_too() -> None:
    facts = Facts(Kind.RESOURCE, "t://a/5", "a", "t://5", {}, "t://a/{id}")
    for rule, allowed in (
        ({"allow": ["t://a/{id}"]}, True),
        ({"allow": ["t://a/?"]}, True),
        ({"allow": ["*"], "deny": ["t://a/{id}"]}, False),
        ({"allow": ["*"], "kinds": ["templates"]}, True),
        ({"allow": ["*"], "kinds": ["prompts"]}, False),
    ):
        these = rules(rule)
        assert these.decide(these.about(ADA), facts).allowed is allowed
