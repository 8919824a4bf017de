"""`Rules`: what a principal may do with a component, by the `access` section. Place: access.

The first rule that is about the principal and matches the component decides; what none matches is forbidden. Whom a rule is about depends on the principal
alone, so principals whom the same rules are about are of one class, and have one view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from meshproxy.access.scopes import covers
from meshproxy.config.access import Rule, Who
from meshproxy.kinds import KINDS, Kind
from meshproxy.relay.principal import Principal

__all__ = ["ALLOWED", "FREE", "Facts", "Rules", "Verdict"]


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
    """

    allowed: bool
    rule: int | None = None
    confirm: bool = False


ALLOWED: Final = Verdict(allowed=True)
_FORBIDDEN: Final = Verdict(allowed=False)


@dataclass(frozen=True)
class Rules:
    """The rules of one config, in their order; None is that there are none, and everything is allowed."""

    rules: Sequence[Rule] | None = None
    _kinds: tuple[frozenset[Kind], ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        kinds = {KINDS[kind].plural: kind for kind in Kind}
        object.__setattr__(
            self, "_kinds", tuple(frozenset(kinds[word] for word in rule.kinds) for rule in self.rules or ())
        )

    def about(self, principal: Principal) -> tuple[int, ...]:
        """The numbers of the rules that are about a principal: its class."""
        return tuple(number for number, rule in enumerate(self.rules or ()) if _is_about(rule.who, principal))

    def decide(self, numbers: tuple[int, ...], facts: Facts) -> Verdict:
        """What the rules with these numbers, which are about the principal, say of a component."""
        if self.rules is None:
            return ALLOWED
        for number in numbers:
            rule = self.rules[number]
            kinds = self._kinds[number]
            is_of_kind = facts.kind in kinds or (facts.template is not None and Kind.TEMPLATE in kinds)
            if not is_of_kind or not _matches(facts.upstream, rule.upstreams):
                continue
            if facts.match(rule.deny):
                return Verdict(allowed=False, rule=number)
            if facts.match(rule.allow):
                allowed = rule.only is None or facts.is_read_only
                return Verdict(allowed, number, confirm=allowed and rule.confirm is not None and facts.may_destroy)
        return _FORBIDDEN


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
