"""Values as they are written into a config file: YAML in a block or in brackets, and JSON. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from meshproxy.config.document import resolve

__all__ = ["as_block", "as_flow", "as_json", "scalar"]

_PLAIN: Final = re.compile(r"-{0,2}[A-Za-z_./][\w./+@=:-]*(?<!:)|[0-9]+(?:ms|s|m|h)", re.ASCII)
_WIDTH: Final = 100
_FLOW_KEYS: Final = ("env", "headers")


def scalar(value: Any, quote: str = "") -> str:
    """A scalar of YAML, in the quotes that are asked for if it can be, and else in none if it needs none."""
    if not isinstance(value, str):
        return json.dumps(value)
    if quote == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if quote != '"' and _PLAIN.fullmatch(value) and isinstance(resolve(value), str):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def as_flow(value: Any) -> str:
    """A value in brackets, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {as_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(as_flow, value)) + "]"
    return scalar(value)


def as_json(key: str | None, value: Any, step: str, indent: str) -> str:
    """A member or, without a key, an element of JSON: on several lines if there is a step to indent by."""
    text = json.dumps(value, ensure_ascii=False, indent=step or None)
    text = text.replace("\n", f"\n{indent}")
    return text if key is None else f"{json.dumps(key, ensure_ascii=False)}: {text}"


def as_block(key: str, value: Any, indent: str, step: str = "  ") -> list[str]:
    """The lines of a key and its value in a block of YAML, without their ends. What is short stands in brackets."""
    head = f"{indent}{scalar(key)}:"
    if not isinstance(value, Mapping) or not value:
        return [f"{head} {as_flow(value)}"]
    flow = f"{head} {as_flow(value)}"
    if key in _FLOW_KEYS and len(flow) <= _WIDTH:
        return [flow]
    return [head, *(line for inner, one in value.items() for line in as_block(inner, one, indent + step, step))]
