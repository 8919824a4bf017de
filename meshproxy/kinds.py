"""The four kinds of component, one row each: the only place that spells them out.

Everything else is written once for all kinds and reads its differences here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a component is."""

    TOOL = "tool"
    RESOURCE = "resource"
    TEMPLATE = "template"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class KindSpec:
    """What the protocol calls a kind.

    Attributes:
        kind: the kind.
        plural: its word in the config file and on the command line.
        list_method: the request that lists it.
        items: the key of the array in that request's result.
        key: the field of a definition that identifies a component: a name or a URI.
        use_method: the request that uses one component.
        use_key: the parameter of that request that names the component.
        capability: the server capability that its methods need.
        changed: the notification that says that its listing changed.
        by_uri: whether `key` is a URI (or a template of one) rather than a name.
    """

    kind: Kind
    plural: str
    list_method: str
    items: str
    key: str
    use_method: str
    use_key: str
    capability: str
    changed: str
    by_uri: bool


KINDS: Final[dict[Kind, KindSpec]] = {
    spec.kind: spec
    for spec in (
        KindSpec(
            kind=Kind.TOOL,
            plural="tools",
            list_method="tools/list",
            items="tools",
            key="name",
            use_method="tools/call",
            use_key="name",
            capability="tools",
            changed="notifications/tools/list_changed",
            by_uri=False,
        ),
        KindSpec(
            kind=Kind.RESOURCE,
            plural="resources",
            list_method="resources/list",
            items="resources",
            key="uri",
            use_method="resources/read",
            use_key="uri",
            capability="resources",
            changed="notifications/resources/list_changed",
            by_uri=True,
        ),
        KindSpec(
            kind=Kind.TEMPLATE,
            plural="templates",
            list_method="resources/templates/list",
            items="resourceTemplates",
            key="uriTemplate",
            use_method="resources/read",
            use_key="uri",
            capability="resources",
            changed="notifications/resources/list_changed",
            by_uri=True,
        ),
        KindSpec(
            kind=Kind.PROMPT,
            plural="prompts",
            list_method="prompts/list",
            items="prompts",
            key="name",
            use_method="prompts/get",
            use_key="name",
            capability="prompts",
            changed="notifications/prompts/list_changed",
            by_uri=False,
        ),
    )
}

BY_LIST_METHOD: Final = {spec.list_method: spec for spec in KINDS.values()}
BY_CHANGED: Final[dict[str, tuple[KindSpec, ...]]] = {
    changed: tuple(spec for spec in KINDS.values() if spec.changed == changed)
    for changed in dict.fromkeys(spec.changed for spec in KINDS.values())
}
"""Which listings a `list_changed` is about: resources and templates share theirs."""
