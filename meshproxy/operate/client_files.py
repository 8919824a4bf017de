"""The text of a client's file with servers put in or taken out, and nothing else changed. Place: operate; pure."""

from typing import Any

from meshproxy.config.draft import Draft
from meshproxy.config.jsonc import is_json
from meshproxy.operate.client import Client
from meshproxy.operate.toml import with_table, without_table

__all__ = ["listed_in", "rewritten"]


def listed_in(tree: dict[str, Any], client: Client) -> dict[str, Any]:
    """The servers of a client's file, by name."""
    section: Any = tree
    for key in client.section:
        section = section.get(key) if isinstance(section, dict) else None
    if isinstance(section, list):
        return {str(one.get("name")): one for one in section if isinstance(one, dict)}
    return {str(name): one for name, one in section.items()} if isinstance(section, dict) else {}


def rewritten(text: str, suffix: str, client: Client, gone: list[str], name: str | None, entry: dict[str, Any]) -> str:
    """The text without the servers `gone`, and with `entry` under `name` unless that is None. `suffix` is the end of the file's name.

    Raises:
        UneditableError: an edit by the line cannot come to that.
        ValueError: the same, of TOML.
    """
    if suffix == ".toml":
        for one in gone:
            text = without_table(text, client.section[0], one)
        return text if name is None else with_table(text, client.section[0], name, entry)
    draft = Draft(text, is_json=is_json(text, suffix) or (not text.strip() and suffix.startswith(".json")))
    for one in gone:
        place: Any = one
        if client.listed:
            section = draft.tree[client.section[0]]
            place = next(
                index for index, each in enumerate(section) if isinstance(each, dict) and each.get("name") == one
            )
        draft.remove((*client.section, place))
    if name is not None:
        if client.listed and draft.has(*client.section):
            draft.append(client.section, entry)
        elif client.listed:
            draft.put(client.section, [entry])
        else:
            draft.put((*client.section, name), entry)
    return draft.text
