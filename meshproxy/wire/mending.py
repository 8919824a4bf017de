"""What a peer meant with a message that `parse` refuses. Place: wire, pure.

Servers in many languages are a little wrong in the same few ways, and what they mean is plain. The rules are here and nowhere else, and they are
asked only once the strict way has failed, so that they cost nobody else anything. What is mended goes through `parse` again: it is as
strict with what comes out of here as with anything.

Source: JSON-RPC 2.0, sections 4 and 5; RFC 8259, section 8.1; 2025-03-26 basic, "Batching".
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from meshproxy.errors import RpcError
from meshproxy.http.sse import SseParser
from meshproxy.wire.codec import JsonError, Raw, dumps, loads, members, shallow_list
from meshproxy.wire.messages import Answer, Message, parse, result_alone

__all__ = ["Mended", "answer_meant", "mend", "own_id", "result_meant"]


class Mended(NamedTuple):
    """What was meant, in its order, and what was wrong with it."""

    messages: tuple[Message, ...]
    faults: tuple[str, ...]


def mend(data: bytes, error: RpcError) -> Mended:
    """Read what `parse` refused with `error`.

    Raises:
        RpcError: nobody can know what was meant: `error` itself, whose data is `{"id": id}` if it is the answer to that request.
    """
    faults: list[str] = []
    try:
        messages = [message for one in _parts(_text(data, faults), faults) for message in _messages(one, faults)]
    except (*JsonError, RecursionError, RpcError):
        raise _about(data, error) from None
    if not messages:
        raise error
    return Mended(tuple(messages), tuple(dict.fromkeys(faults)))


def answer_meant(data: bytes, error: RpcError) -> Answer | None:
    """As `mend`, of a client, whose requests have to be right: its answer to a question of ours; None if it is none."""
    try:
        meant = mend(data, error).messages
    except RpcError:
        return None
    only = meant[0] if len(meant) == 1 else None
    return only if isinstance(only, Answer) else None


def result_meant(unread: Raw) -> Raw:
    """As `result_alone`, of an answer that may be a little wrong."""
    try:
        return result_alone(unread)
    except RpcError:
        meant = _result_in(b'{"jsonrpc":"2.0","id":0,"result":%b}' % bytes(unread))
        if meant is None:
            raise
        return meant


def _result_in(answer: bytes) -> Raw | None:
    try:
        parse(answer)
    except RpcError as error:
        try:
            (message,) = mend(answer, error).messages
        except RpcError:
            return None
        return message.outcome if isinstance(message, Answer) and isinstance(message.outcome, Raw) else None
    # Nothing is wrong with it but that it has a member twice.
    return None


def own_id(message_id: Any) -> int | None:
    """Which id of ours is meant by one that came back: ours are whole numbers, and some peers write them as texts. None for none of ours."""
    if type(message_id) is int:
        return message_id
    return int(message_id) if isinstance(message_id, str) and _NUMBER.fullmatch(message_id) else None


_NUMBER: Final = re.compile(r"\d{1,15}", re.ASCII)
_EVENTS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_ANSWER: Final = re.compile(rb'\s*\{[^{\[]*?"id"\s*:\s*"?(\d{1,15})"?\s*[,}].*?"(?:result|error)"', re.DOTALL)
_LOOKED_AT: Final = 1024
"""Bytes at the beginning of an answer that cannot be read, in which its id and its outcome are looked for."""


def _text(data: bytes, faults: list[str]) -> bytes:
    """The same in UTF-8. Characters of ASCII are never lost by this, so that its structure stays."""
    try:
        data.decode()
    except UnicodeDecodeError:
        faults.append("it is not in UTF-8: what are no characters there are replaced")
        return data.decode("utf-8", "replace").encode()
    return data


def _parts(data: bytes, faults: list[str]) -> list[bytes]:
    """One text, or the events of a stream that came as one."""
    if not data.lstrip().startswith(_EVENTS):
        return [data]
    faults.append("it is an event stream, and its content type does not say so")
    return [event.data for event in SseParser().feed(data + b"\n\n") if event.event == "message"]


def _messages(data: bytes, faults: list[str]) -> list[Message]:
    try:
        return [parse(data)]
    except RpcError:
        pass
    data = _strict(data, faults)
    items = shallow_list(data) if data.lstrip().startswith(b"[") else [data]
    return [parse(dumps(_mended(members(item), faults))) for item in items]


def _strict(data: bytes, faults: list[str]) -> bytes:
    """The same as JSON: Python writes numbers that JSON does not have, and who writes JSON by hand forgets to escape."""
    try:
        loads(data)
    except JsonError:
        found: list[str] = []
        value = json.loads(
            data, strict=False, parse_constant=found.append, parse_float=_spelled, object_pairs_hook=_object
        )
        faults.append(f"{found[0]} is no JSON: it is null" if found else "a text has control characters in it")
        return dumps(value)
    return data


def _object(found: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object, each of which must be there once: which of two is meant, nobody can know."""
    fields = dict(found)
    if len(fields) < len(found):
        raise ValueError("a member is there twice")
    return fields


def _spelled(number: str) -> Raw:
    return Raw(number.encode())


def _mended(found: Sequence[tuple[str, Any]], faults: list[str]) -> dict[str, Any]:
    """The members of a message, by the rules for what kind of message it is meant to be."""
    fields = _object(found)
    values: dict[str, Any] = {key: loads(fields[key]) for key in ("jsonrpc", "id", "method") if key in fields}
    if "method" not in fields and {"result", "error"} & fields.keys():
        rules = _OF_ANSWERS
    elif isinstance(values.get("method"), str) and values["method"].startswith("notifications/"):
        rules = _OF_NOTIFICATIONS
    else:
        # A request without a version may as well be a line of a log that tells of one.
        return fields
    for rule, fault in rules:
        if rule(fields, values):
            faults.append(fault)
    return fields


def _names_no_version(fields: dict[str, Any], values: dict[str, Any]) -> bool:
    if values.get("jsonrpc") == "2.0":
        return False
    fields["jsonrpc"] = "2.0"
    return True


def _has_a_null_outcome(fields: dict[str, Any], _: dict[str, Any]) -> bool:
    """Mend an answer with both a result and an error, one of them null, as structs of Go, Java and C# are written."""
    for absent, present in (("error", "result"), ("result", "error")):
        if absent in fields and present in fields and bytes(fields[absent]) == b"null":
            del fields[absent]
            return True
    return False


def _has_a_broken_number(fields: dict[str, Any], values: dict[str, Any]) -> bool:
    """Mend an id that was written as 1.0, as languages do in which every number is a float."""
    named = values.get("id")
    if not isinstance(named, float) or not named.is_integer():
        return False
    fields["id"] = int(named)
    return True


def _has_a_null_id(fields: dict[str, Any], values: dict[str, Any]) -> bool:
    """Mend a notification with an id that is null, as JSON-RPC 1 wrote them."""
    if "id" not in fields or values["id"] is not None:
        return False
    del fields["id"]
    return True


_Rule = tuple[Callable[[dict[str, Any], dict[str, Any]], bool], str]
_VERSION: Final[_Rule] = (_names_no_version, "it does not say that it is JSON-RPC 2.0")
_OF_ANSWERS: Final[tuple[_Rule, ...]] = (
    _VERSION,
    (_has_a_null_outcome, "an answer has a result and an error, one of which is null"),
    (_has_a_broken_number, "an answer has the id of its request as a number with a fraction"),
)
_OF_NOTIFICATIONS: Final[tuple[_Rule, ...]] = (_VERSION, (_has_a_null_id, "a notification has an id, which is null"))


def _about(data: bytes, error: RpcError) -> RpcError:
    """`error`, with the id of the request that it is the answer to, if that can be seen: then nobody need wait for another."""
    found = _ANSWER.match(data[:_LOOKED_AT]) if error.data is None else None
    return error if found is None else RpcError(error.code, error.message, {"id": int(found[1])})
