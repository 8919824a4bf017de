"""How servers spell messages that are a little wrong, by what is wrong: from a message to its bytes. Needs nothing but Python, since `scripted` has it too."""

import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
WORD = "Größe"
"""What every answer has in it that is spelled here, so that encodings differ."""


def plain(message: Json) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()


def _of_answers(change: Callable[[Json], Json]) -> Callable[[Json], bytes]:
    return lambda message: plain(message if "method" in message else change(message))


def _told(message: Json) -> bytes:
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "first"}}
    return plain(message) if "method" in message else b"[" + plain(note) + b", " + plain(message) + b"]"


def _both(message: Json) -> Json:
    return {**message, "error" if "result" in message else "result": None}


SPELLINGS: dict[str, Callable[[Json], bytes]] = {
    "a byte order mark before it": lambda message: b"\xef\xbb\xbf" + plain(message),
    "blanks around it": lambda message: b" \t" + plain(message) + b" \r",
    "its members in another order": lambda message: plain(dict(reversed(message.items()))),
    "its id as a text": _of_answers(lambda message: {**message, "id": str(message["id"])}),
    "its id with a fraction": _of_answers(lambda message: {**message, "id": float(message["id"])}),
    "the other outcome, too, which is null": _of_answers(_both),
    "no version": _of_answers(lambda message: {key: value for key, value in message.items() if key != "jsonrpc"}),
    "version 1.0": _of_answers(lambda message: {**message, "jsonrpc": "1.0"}),
    "members of its own": lambda message: plain({**message, "time": None, "params": {}}),
    "another encoding": lambda message: json.dumps(message, ensure_ascii=False).encode("latin-1"),
    "company": _told,
}


def half(message: Json) -> bytes:
    """An answer that breaks off in the middle, if it has a word in it."""
    whole = plain(message)
    return whole[: whole.index(b"content") + 9] if WORD.encode() in whole else whole


HALF = "half of it"
UNSAID = {
    "a byte order mark before it",
    "blanks around it",
    "its members in another order",
    "members of its own",
    "company",
}
"""What is no fault, or none that anybody need be told of."""
