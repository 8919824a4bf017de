"""Trees of items, put together and shown. Pure."""

from typing import Any

from meshproxy.config.document import Item
from meshproxy.config.problems import SECRET_SECTIONS
from meshproxy.config.secrecy import is_telling
from meshproxy.config.secrets import shown_arguments, shown_secret, shown_text

__all__ = ["merged", "shown"]


def merged(below: Item, above: Item) -> Item:
    """Two mappings in one, key by key; where both have a value that is no mapping, `above` has it."""
    keys = dict(below.mapping)
    for key, item in above.mapping.items():
        under = keys.get(key)
        both = under is not None and isinstance(under.value, dict) and isinstance(item.value, dict)
        keys[key] = merged(under, item) if under is not None and both else item
    return above.with_value(keys)


def shown(item: Item, section: str = "") -> Any:
    """An upstream's values as they may be shown."""
    if isinstance(item.value, dict):
        return {
            key: shown(child, "headers" if section == "auth" and is_telling(key) else section or key)
            for key, child in item.value.items()
        }
    if isinstance(item.value, list):
        if section == "args":
            # What is no text is refused, and never shown.
            return shown_arguments([child.value for child in item.value if isinstance(child.value, str)])
        return [shown(child, section) for child in item.value]
    if not isinstance(item.value, str):
        return item.value
    if section in SECRET_SECTIONS:
        return shown_secret(item.value)
    return shown_text(item.value)
