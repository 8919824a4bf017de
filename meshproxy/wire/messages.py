"""JSON-RPC 2.0 messages as bytes: read the envelope once, write it around payloads that stay closed."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from meshproxy.errors import INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, RpcError
from meshproxy.http.numbered import Numbered
from meshproxy.limits import MAX_IDENTIFIER, MAX_MEMBER, LimitError, check_size
from meshproxy.wire.codec import RAW, JsonError, Raw, dumps, loads, mapping, members, opened, outline, shallow, whole
from meshproxy.wire.envelope import Envelope
from meshproxy.wire.memo import remember
from meshproxy.wire.message import Answer, Id, Message, Notification, Request

__all__ = [
    "READ",
    "Answer",
    "Id",
    "Message",
    "Notification",
    "Request",
    "check_spelling",
    "closed_params",
    "encode_error",
    "encode_notification",
    "encode_request",
    "encode_result",
    "params_of",
    "parse",
    "parse_answer",
    "result_alone",
    "result_pieces",
    "unread_result",
]

_UNSET: Final = msgspec.UNSET

_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_RESULT_HEAD: Final = b'{"jsonrpc":"2.0","id":'
_VERSION: Final = "2.0"
_SMALL: Final = 4096
_BOM: Final = b"\xef\xbb\xbf"
_ANSWER: Final = Numbered(b'{"jsonrpc":"2.0","id":', b',"result":{', 15)
_ANSWER_SPACED: Final = Numbered(b'{"jsonrpc": "2.0", "id": ', b', "result": {', 15)
"""How nearly all answers begin, with the id for the number."""
READ: Final = frozenset(
    {
        "_meta",
        "capabilities",
        "clientInfo",
        "cursor",
        "level",
        "name",
        "notifications",
        "protocolVersion",
        "reason",
        "ref",
        "requestId",
        "requestState",
        "taskId",
        "uri",
    }
)
"""The members that the mesh itself reads, small all of them. What is not here stays closed: `arguments`, `inputResponses`, ..."""


_LARGE: Final = frozenset({"_meta", "capabilities", "clientInfo", "notifications", "requestState"})
"""Those of `READ` that name nothing, and may be larger for it."""
_CLOSED: Final = frozenset({"argument", "arguments", "context", "inputResponses", "task"})
"""The other members that the protocol defines and the mesh has a hand in."""
_FOLDED: Final = frozenset(key.casefold() for key in READ | _CLOSED)
_NONE: Final = (b"null", b"[]")


def parse(data: bytes) -> Message:
    """Read one message. A byte order mark before it says nothing (RFC 8259, 8.1).

    Raises:
        RpcError: -32700 if `data` is no JSON in UTF-8, -32600 if it is no single JSON-RPC 2.0 message. Its `data` is
            `{"id": id}` where the id could be read, so that the answer can carry it.
    """
    if not data.isascii():
        data = _checked(data)
    try:
        envelope = _decode_envelope(data)
    except (msgspec.DecodeError, RecursionError) as error:
        # Not necessarily broken: `msgspec` is stricter than JSON and goes less deep, and the reason decides between two codes.
        envelope = _lenient(data, error)
    message_id = envelope.id
    if envelope.jsonrpc != _VERSION:
        raise _refused("the member 'jsonrpc' must be \"2.0\"", message_id)
    method = envelope.method
    if method is _UNSET:
        if message_id is _UNSET or (message_id is None and envelope.error is _UNSET):
            raise _refused("a message needs a 'method', or an 'id' with a 'result' or an 'error'", None)
        if (envelope.result is _UNSET) == (envelope.error is _UNSET):
            raise _refused("an answer needs either a 'result' or an 'error'", message_id)
        return Answer(message_id, _error_in(envelope.error) if envelope.result is _UNSET else envelope.result)
    if message_id is _UNSET:
        return Notification(method, envelope.params)
    if message_id is None:
        raise _refused("a request id must be a string or an integer, not null", None)
    return Request(message_id, method, envelope.params)


def parse_answer(data: bytes, is_relayed: Callable[[int], bool], start: int = 0) -> Message:
    """As `parse`, for the side that asks, of a message that begins at `start`. The result of a request that `is_relayed` is not read: whoever relays it does.

    Reading JSON only to find its end is most of what a large answer costs, and it need not be done twice. An answer that does not begin as
    most do is read at once. A result that was not read is whatever stood between the answer's head and its last byte. It must not be sent to
    anybody before a decoder has found that it is exactly one JSON value, see `result_alone`.

    Raises:
        RpcError: see `parse`.
    """
    found = unread_result(data, start)
    return parse(data[start:]) if found is None or not is_relayed(found[0]) else Answer(found[0], found[1])


def unread_result(data: bytes, start: int = 0) -> tuple[int, Raw] | None:
    """The id and the result of an answer that begins as most do, at `start`, as `parse_answer` finds them; None for what wants a closer look."""
    found = _ANSWER.measure(data, start) or _ANSWER_SPACED.measure(data, start)
    if found is None or not data.endswith(b"}") or not (data.isascii() or _is_text(data)):
        return None
    begin = found[0] - 1
    # A copy of something small is cheaper than a view.
    return found[1], RAW(data[begin:-1]) if len(data) <= _SMALL else RAW(memoryview(data)[begin:-1])


def _is_text(data: bytes) -> bool:
    """Whether it is in UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked(data: bytes) -> bytes:
    """`data` without a byte order mark. It has other bytes than those of ASCII, and what leaves the mesh must be UTF-8: decoders do not look at what they leave closed."""
    if not _is_text(data):
        raise RpcError(PARSE_ERROR, "Parse error: it is not in UTF-8")
    return data.removeprefix(_BOM)


def _error_in(error: Any) -> RpcError:
    """The error of an answer. What is malformed in it is taken for an invalid answer, which is an error, too."""
    body = mapping(error)
    if body is None:
        return RpcError(INVALID_REQUEST, "the peer answered with neither a result nor an error")
    code, message = opened(body.get("code")), opened(body.get("message"))
    return RpcError(
        code if isinstance(code, int) and not isinstance(code, bool) else INVALID_REQUEST,
        message if isinstance(message, str) else "",
        body.get("data"),
    )


def result_alone(unread: Raw) -> Raw:
    """The result of an answer whose end `parse_answer` took for the result's own, and which had more members behind it.

    An answer that repeats a member is refused. Which of the two a client would take is the client's choice, so that an upstream could name
    another request, and answer it.

    Raises:
        RpcError: -32603, there is no such answer.
    """
    data = b'{"jsonrpc":"2.0","id":0,"result":%b}' % bytes(unread)
    try:
        names = [name for name, _ in members(data)]
        answer = parse(data)
    except (*JsonError, RpcError):
        raise RpcError(INTERNAL_ERROR, "the upstream's answer cannot be read") from None
    if len(set(names)) < len(names) or not isinstance(answer, Answer) or not isinstance(answer.outcome, Raw):
        raise RpcError(INTERNAL_ERROR, "the upstream's answer cannot be read: it has a member twice, or two outcomes")
    return answer.outcome


def _lenient(data: bytes, error: Exception) -> Envelope:
    """What `msgspec` refuses. Of what is nested deeper than it goes, the payload is not proven to be JSON: whoever opens it finds that out."""
    try:
        found = _members_of(data)
        plain = {key: whole(found[key]) for key in ("jsonrpc", "id", "method") if key in found}
    except JsonError as reason:
        raise RpcError(PARSE_ERROR, f"Parse error: {reason if isinstance(error, RecursionError) else error}") from None
    message_id = plain.get("id", _UNSET)
    if message_id is not _UNSET and message_id is not None and type(message_id) not in (int, str):
        raise _refused("a request id must be a string or an integer", None)
    method = plain.get("method", _UNSET)
    if method is not _UNSET and not isinstance(method, str):
        raise _refused("the member 'method' must be a string", message_id)
    closed = {key: found[key] for key in ("params", "result", "error") if key in found}
    return Envelope(jsonrpc=plain.get("jsonrpc", _UNSET), id=message_id, method=method, **closed)


def _members_of(data: bytes) -> dict[str, Any]:
    """The members of a message, closed.

    Raises:
        JsonError: it is no JSON.
        RpcError: -32600, it is no object.
    """
    if data.lstrip()[:1] not in (b"{", b"["):
        whole(data)
        raise _refused("a message is a JSON object", None)
    found = outline(data)
    if isinstance(found, list):
        raise _refused("batches are not supported: send one message at a time", None)
    return found


def _refused(reason: str, message_id: Any) -> RpcError:
    known = isinstance(message_id, int | str)
    return RpcError(INVALID_REQUEST, f"Invalid request: {reason}", {"id": message_id} if known else None)


def encode_result(message_id: Id, result: Raw | bytes | dict[str, Any]) -> bytes:
    """The answer to request `message_id`: `result` is spliced in as it is when it is encoded already."""
    return b"".join(result_pieces(message_id, result))


def result_pieces(message_id: Id, result: Raw | bytes | dict[str, Any]) -> list[Any]:
    """The same in pieces, each of them bytes or a `Raw`, for whoever can send it without copying what may be large."""
    if isinstance(result, (RAW, bytes)):
        return [_RESULT_HEAD, dumps(message_id), b',"result":', result, b"}"]
    return [dumps({"jsonrpc": _VERSION, "id": message_id, "result": result})]


def encode_error(message_id: Id | None, error: RpcError) -> bytes:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return b'%b%b,"error":%b}' % (_RESULT_HEAD, dumps(message_id), dumps(body))


def encode_request(message_id: Id, method: str, params: Any = None) -> bytes:
    """A request; `params` is a shallow dictionary, `Raw`, or None for no member at all."""
    request: dict[str, Any] = {"jsonrpc": _VERSION, "id": message_id, "method": method}
    if params is not None:
        request["params"] = params
    return dumps(request)


def encode_notification(method: str, params: Any = None) -> bytes:
    if params is None:
        return b'{"jsonrpc":"2.0","method":%b}' % dumps(method)
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (dumps(method), dumps(params))


def closed_params(message: Request | Notification) -> dict[str, Any]:
    """The parameters of a request or a notification as a shallow dictionary. Null is none of them, and so is `[]`, as PHP writes what is empty.

    Raises:
        JsonError: they are no object.
    """
    given = message.params
    if isinstance(given, dict):
        return given
    if not isinstance(given, RAW):
        return {}
    try:
        return shallow(given)
    except JsonError:
        if bytes(given) in _NONE:
            return {}
        raise


def params_of(message: Request | Notification) -> dict[str, Any]:
    """The parameters of a request or a notification: a shallow dictionary whose `READ` members are decoded.

    A message without parameters has an empty dictionary. A member that is repeated counts as it came last, here, once: what is sent on is
    made of this dictionary. Its `_meta` is not to be changed: clients send the same with each request, and it is decoded once.

    Raises:
        RpcError: -32602, they are no object, or their `_meta` is none; one that is read goes beyond a limit; or the name of one differs from
            that of another in its case alone, see `check_spelling`.
    """
    where = "params"
    try:
        params = closed_params(message)
        for key in params:
            if key in READ:
                value = params[key]
                if len(value) > MAX_IDENTIFIER:
                    where = f"params.{key}"
                    check_size(len(value), MAX_MEMBER if key in _LARGE else MAX_IDENTIFIER)
                params[key] = _meta_of(bytes(value)) if key == "_meta" and len(value) <= _USUAL else loads(value)
            elif key not in _CLOSED and key.casefold() in _FOLDED:
                raise _misspelt(key)
    except LimitError as error:
        raise RpcError(INVALID_PARAMS, f"{where}: {error}") from None
    except JsonError:
        raise RpcError(INVALID_PARAMS, "params must be an object") from None
    if "_meta" in params and not isinstance(params["_meta"], dict):
        if params["_meta"] is not None:
            raise RpcError(INVALID_PARAMS, "params._meta must be an object")
        del params["_meta"]
    return params


_metas: Final[dict[bytes, Any]] = {}
_USUAL: Final = 1024
"""Bytes of a `_meta` that is worth remembering."""


def _meta_of(data: bytes) -> Any:
    found = _metas.get(data)
    return remember(_metas, data, loads(data)) if found is None else found


def check_spelling(keys: Iterable[str], known: frozenset[str]) -> None:
    """Refuse keys that are not among the `known` ones and differ from one of them in case alone.

    JSON tells them apart, and so does the mesh. But there are decoders that do not (that of Go's standard library, for one), and to an
    upstream with one of those the second is the first: it would be asked for something else than what was looked up, and was not excluded.

    Raises:
        RpcError: -32602, with the key.
    """
    for key in keys:
        if key not in known and key.casefold() in known:
            raise _misspelt(key)


def _misspelt(key: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"the parameter {key[:64]!r} differs from one of the protocol's in case alone")
