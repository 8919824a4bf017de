"""`Rules`: what a principal may do with a component, by the `access` section. Place: access.

The first rule that is about the principal and matches the component decides; what none matches is forbidden. Whom a rule is about depends on the principal
alone, so principals whom the same rules are about are of one class, and have one view. Where rules have conditions on tokens, a class has the same claims, too, as far as they
look at them. A condition on arguments can be decided for a call alone: until then, what it may allow is there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from meshproxy.access.conditions import Condition
from meshproxy.access.scopes import covers
from meshproxy.config.access import Rule, Who
from meshproxy.kinds import KINDS, Kind
from meshproxy.relay.principal import Principal
from meshproxy.wire.codec import dumps

__all__ = ["ALLOWED", "FREE", "Facts", "Rules", "Standing", "Verdict"]


class Facts(NamedTuple):
    """What rules look at of a component.

    Attributes:
        kind: its kind.
        public: its name or URI in the mesh.
        upstream: the name of the upstream that has it.
        origin: its name or URI there.
        definition: as it is listed; empty for what is not.
        template: of a resource that is not listed, the public template that it is an expansion of.
    """

    kind: Kind
    public: str
    upstream: str
    origin: str
    definition: Mapping[str, Any] = {}
    template: str | None = None

    def match(self, globs: Sequence[str]) -> bool:
        """Whether a glob matches its name, or that of its template."""
        return _matches(self.public, globs) or (self.template is not None and _matches(self.template, globs))

    @property
    def is_called(self) -> bool:
        """Whether it is used with arguments."""
        return self.kind in (Kind.TOOL, Kind.PROMPT)

    @property
    def is_read_only(self) -> bool:
        """Whether it is no tool, or one that says it changes nothing. What a tool says is believed only if it is exactly that."""
        return self.kind is not Kind.TOOL or self._hints.get("readOnlyHint") is True

    @property
    def may_destroy(self) -> bool:
        """Whether it is a tool that may change what cannot be brought back; that is so unless it says otherwise (2025-06-18 schema, ToolAnnotations)."""
        return not self.is_read_only and self._hints.get("destructiveHint") is not False

    @property
    def _hints(self) -> Mapping[str, Any]:
        found = self.definition.get("annotations")
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided.

    Attributes:
        allowed: whether the component may be seen and used.
        rule: the number of the rule that decided; None if none matched, or there are none.
        confirm: whether the caller is asked before it is used.
        by_call: the arguments of each call decide; `allowed` says that some may be.
        failed: the condition of the rule could not be decided.
    """

    allowed: bool
    rule: int | None = None
    confirm: bool = False
    by_call: bool = False
    failed: bool = False


ALLOWED: Final = Verdict(allowed=True)
_FORBIDDEN: Final = Verdict(allowed=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """The class of a principal: those of one class may do the same.

    Attributes:
        numbers: the rules that are about it.
        told: the claims that their conditions look at, encoded.
        claims: all claims of whoever was the first of the class.
    """

    numbers: tuple[int, ...]
    told: bytes = b""
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Rules:
    """The rules of one config, in their order; None is that there are none, and everything is allowed."""

    def __init__(self, rules: Sequence[Rule] | None = None) -> None:
        self.rules = rules
        kinds = {KINDS[kind].plural: kind for kind in Kind}
        self._kinds = tuple(frozenset(kinds[word] for word in rule.kinds) for rule in rules or ())
        self._conditions = tuple(None if rule.when is None else Condition(rule.when) for rule in rules or ())

    def about(self, principal: Principal) -> Standing:
        """The class of a principal."""
        numbers = tuple(number for number, rule in enumerate(self.rules or ()) if _is_about(rule.who, principal))
        conditions = [condition for number in numbers if (condition := self._conditions[number]) is not None]
        if not conditions:
            return Standing(numbers)
        claims = principal.claims
        told = {
            name: claims[name]
            for condition in conditions
            for name in (claims if condition.claims is None else condition.claims)
            if name in claims
        }
        return Standing(numbers, bytes(dumps(dict(sorted(told.items())))), claims)

    def decide(self, standing: Standing, facts: Facts, arguments: Mapping[str, Any] | None = None) -> Verdict:
        """What the rules say to a class of a component, and of a call of it if there are `arguments`."""
        if self.rules is None:
            return ALLOWED
        waiting: int | None = None
        may = False
        for number in standing.numbers:
            rule, condition = self.rules[number], self._conditions[number]
            if not self._fits(number, facts) or not _matches(facts.upstream, rule.upstreams):
                continue
            is_denied = facts.match(rule.deny)
            if not is_denied and not facts.match(rule.globs):
                continue
            allowed = not is_denied and (rule.only is None or facts.is_read_only)
            if condition is not None:
                if condition.needs_arguments and arguments is None and facts.is_called:
                    waiting, may = number if waiting is None else waiting, may or allowed
                    continue
                holds = condition.holds(standing.claims, facts.kind, facts.origin, facts.upstream, arguments)
                if holds is None:
                    verdict = Verdict(allowed=False, rule=number, failed=True)
                    break
                if not holds:
                    continue
            verdict = Verdict(allowed, number, confirm=allowed and rule.confirm is not None and facts.may_destroy)
            break
        else:
            verdict = _FORBIDDEN
        if waiting is not None and (verdict.allowed or may):
            return Verdict(allowed=True, rule=waiting, by_call=True)
        return verdict

    def _fits(self, number: int, facts: Facts) -> bool:
        """Whether a rule is about a component's kind."""
        kinds, condition = self._kinds[number], self._conditions[number]
        if condition is not None and not condition.is_about(facts.kind):
            return False
        return facts.kind in kinds or (facts.template is not None and Kind.TEMPLATE in kinds)


FREE: Final = Rules()


def _is_about(who: str | Who, principal: Principal) -> bool:
    if not isinstance(who, Who):
        return who in ("any", principal.kind)
    by_name = {"key": who.keys, "token": who.subjects, "certificate": who.certificates}.get(principal.kind, ())
    return (
        _matches(principal.name, by_name)
        or not principal.groups.isdisjoint(who.groups)
        or any(covers(principal.scopes, scope) for scope in who.scopes)
    )


def _matches(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)
