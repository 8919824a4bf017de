"""Whose a request is, by what its client sends back in it. Place: cluster; pure.

What is kept in one process: sessions (`Mcp-Session-Id`), and with them their streams, their events and what their client answers; calls that wait for their caller (`requestState`);
tasks of programs (`taskId`); the pages on which people log in, and the way back to those (`/login/`, `state`).
"""

import re
from typing import Any, Final
from urllib.parse import parse_qs

from meshproxy.cluster.home import home_of
from meshproxy.http.stream import Scope
from meshproxy.wire.codec import JsonError, loads

__all__ = ["home_in_body", "home_in_head"]

SESSION: Final = b"mcp-session-id"
PAGES: Final = "/login/"
_TELLING: Final = re.compile(rb'"(?:requestState|taskIds?)"|\\u')
"""What a body has that may name a home: one of these members, or a spelling that could be one."""


def home_in_head(scope: Scope) -> tuple[str, bool]:
    """The home that the head of a request names, "" for none or ours; and whether its body has nothing to say about it."""
    for name, value in scope["headers"]:
        if name == SESSION:
            return home_of(value.strip().decode("latin-1")), True
    path: str = scope["path"]
    query: bytes = scope["query_string"]
    if path.startswith(PAGES) and (home := home_of(path[len(PAGES) :])):
        return home, True
    if b"state=" in query:
        states = parse_qs(query.decode("latin-1")).get("state", ())
        return next(filter(None, map(home_of, states)), ""), True
    return "", scope["method"] != "POST"


def home_in_body(body: bytes) -> str:
    """The home that a message of the modern era names; "" for none or ours."""
    if _TELLING.search(body) is None:
        return ""
    try:
        params = loads(body).get("params")
        for name in ("requestState", "taskId"):
            if isinstance(text := params.get(name), str):
                return home_of(text)
        return next(filter(None, map(home_of, _listened(params))), "")
    except (*JsonError, AttributeError):
        # No object, or none in it: whoever answers it will say what is wrong.
        return ""


def _listened(params: Any) -> list[str]:
    """The tasks of which a `subscriptions/listen` wants to hear (SEP-2663)."""
    wanted = params.get("notifications")
    tasks = wanted.get("taskIds") if isinstance(wanted, dict) else None
    return [text for text in tasks if isinstance(text, str)] if isinstance(tasks, list) else []
