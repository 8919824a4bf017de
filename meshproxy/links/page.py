"""`Page`: one page of a listing, taken apart so that a definition that cannot be used costs itself alone. Place: links; no I/O."""

from typing import Any, NamedTuple

from meshproxy.kinds import KindSpec
from meshproxy.limits import MAX_DEFINITION, MAX_DEFINITION_DEPTH, check_size
from meshproxy.wire.codec import JsonError, Raw, loads, opened, outline

__all__ = ["Page", "read_page"]


class Page(NamedTuple):
    """What an upstream answered to a listing.

    Attributes:
        items: its definitions, decoded, and whatever else stands among them.
        refused: those that go beyond a limit: what each is called, and why it cannot be used.
        rest: the other members of the page.
    """

    items: list[Any]
    refused: list[tuple[str, str]]
    rest: dict[str, Any]


def read_page(result: Raw, spec: KindSpec) -> Page | None:
    """The page in the result of a listing of `spec`; None if there is no array of definitions in it."""
    try:
        members = outline(result)
        listed = _list(members.pop(spec.items)) if isinstance(members, dict) else members
        rest = {key: loads(item) for key, item in members.items()} if isinstance(members, dict) else {}
    except (KeyError, *JsonError):
        return None
    if not isinstance(members, dict) or not isinstance(listed, list):
        return None
    page = Page([], [], rest)
    for item in listed:
        try:
            check_size(len(item), MAX_DEFINITION)
            page.items.append(loads(item, MAX_DEFINITION_DEPTH))
        except JsonError as error:
            page.refused.append((_name(item, spec), str(error)))
    return page


def _list(value: Raw) -> Any:
    # A list that was never made is null in Go.
    return [] if bytes(value).strip() == b"null" else outline(value)


def _name(item: Raw, spec: KindSpec) -> str:
    """What a definition that cannot be used is called; "" if that cannot be read either."""
    try:
        members = outline(item)
        name = opened(members.get(spec.key)) if isinstance(members, dict) else ""
    except JsonError:
        return ""
    return name if isinstance(name, str) else ""
