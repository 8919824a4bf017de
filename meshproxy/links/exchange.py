"""`Exchange`: one POST of streamable HTTP and what comes back on it, sorted as it arrives.

Nothing here waits: the events of an answer are taken apart in ``data_received``, so that a call wakes its task once, with its answer.
What arrives on the stream of a request belongs to that request (2025-11-25 basic/transports, "Sending Messages to the Server").
"""

import asyncio
from typing import Any, Protocol

import structlog

from meshproxy.config.units import format_size
from meshproxy.errors import AnswerTooLarge, RpcError
from meshproxy.http.response import Response
from meshproxy.http.sse import SseParser
from meshproxy.http.transport_errors import TransportError
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.faults import Faults
from meshproxy.wire.messages import Answer, Message, Notification, Request, parse_answer

log = structlog.get_logger(__name__)


class Inbox(Protocol):
    """The link, as its exchanges see it."""

    upstream: str
    faults: Faults
    max_event: int

    def on_notification(self, message: Notification, call: Call | None) -> None:
        """A notification on the stream of a call; of None, on a stream of nobody's."""
        ...

    def on_question(self, message: Request, exchange: "Exchange") -> None:
        """A question, likewise."""
        ...


class Exchange:
    """One stream, or one body, and the answer to a request in it.

    Attributes:
        request_id: of the request; 0 for a stream without one.
        call: whose it is.
        method: what was asked.
        params: with what, without what the link adds.
        head: the header lines that it was sent with.
        deadline: when it is given up, in the loop's time; None for never.
        has_session: whether it was sent within a session.
        answer: the answer, once it has come.
        response: the last HTTP response, once its head has come.
        last_event_id: where to resume, if the upstream can; None if it has not said so.
        retry: milliseconds that it asks to wait before that; None if it has not said so.
        questions: the tasks that answer what was asked on this stream.
    """

    __slots__ = (
        "_inbox",
        "_parser",
        "answer",
        "call",
        "deadline",
        "has_session",
        "head",
        "method",
        "params",
        "questions",
        "request_id",
        "response",
    )

    def __init__(
        self,
        inbox: Inbox,
        request_id: int,
        call: Call | None,
        method: str = "",
        params: dict[str, Any] | None = None,
        head: bytes = b"",
        deadline: float | None = None,
        *,
        has_session: bool = False,
    ) -> None:
        self._inbox = inbox
        self._parser: SseParser | None = None
        self.request_id = request_id
        self.call = call
        self.method = method
        self.params: dict[str, Any] = {} if params is None else params
        self.head = head
        self.deadline = deadline
        self.has_session = has_session
        self.answer: Answer | None = None
        self.response: Response | None = None
        self.questions: tuple[asyncio.Task[None], ...] = ()

    @property
    def last_event_id(self) -> str | None:
        return None if self._parser is None else self._parser.last_event_id

    @property
    def retry(self) -> int | None:
        return None if self._parser is None else self._parser.retry

    def on_head(self, response: Response) -> None:
        """The head of the answer is there: an event stream is taken apart as it comes, anything else is read whole."""
        self.response = response
        if is_stream(response):
            before = self._parser
            parser = self._parser = SseParser(min(self.max_result, self._inbox.max_event))
            if before is not None:
                parser.last_event_id, parser.retry = before.last_event_id, before.retry
            response.on_data(self._on_data, self._on_end)
        elif response.status == 200 and self.is_limited:
            response.bound(self.max_result)

    @property
    def max_result(self) -> int:
        """Bytes that the answer may have."""
        call = self.call
        return MAX_MESSAGE if call is None else call.max_result

    @property
    def is_limited(self) -> bool:
        """Whether that is less than any message may have."""
        return self.max_result < self._inbox.max_event

    def too_large(self) -> AnswerTooLarge:
        """How the call ends whose answer has more."""
        return AnswerTooLarge.than(self._inbox.upstream, format_size(self.max_result))

    def _on_data(self, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        for event in parser.feed(data):
            if event.event == "message":
                self._take(event.data)
                if self.answer is not None:
                    # The rest of the stream can only be its end.
                    if self.response is not None:
                        self.response.release()
                    return

    def _on_end(self, error: TransportError | None) -> None:
        """`HttpClient.request` returns or raises now, which says it all."""

    @property
    def is_a_clients(self) -> bool:
        """Whether it is a client's call, and nothing that the mesh itself asks."""
        return self.call is not None and self.call.owner is not None

    def is_relayed(self, request_id: int) -> bool:
        """Whether the result of a request will be read by whoever relays it."""
        return self.call is not None and request_id == self.request_id

    def _take(self, data: bytes) -> None:
        try:
            message = parse_answer(data, self.is_relayed)
        except RpcError as error:
            self._take_mended(data, error)
            return
        self._sort(message)

    def _take_mended(self, data: bytes, error: RpcError) -> None:
        """Take what was meant with an event that cannot be read as it is."""
        try:
            messages = self._inbox.faults.messages(data, error)
        except RpcError as hopeless:
            if isinstance(hopeless.data, dict) and hopeless.data.get("id") == self.request_id:
                # This closes the stream: there will be no other answer.
                raise ValueError(f"its answer cannot be read: {hopeless.message}") from None
            log.warning("upstream.garbage", upstream=self._inbox.upstream, reason=hopeless.message)
            return
        for message in messages:
            self._sort(message)

    def answer_in(self, data: bytes, start: int = 0) -> Answer | None:
        """The answer in a body that is no event stream, which begins at `start`; None if there is none."""
        try:
            message = parse_answer(data, self.is_relayed, start)
        except RpcError as error:
            return self._mended_in(data[start:], error)
        return message if isinstance(message, Answer) else None

    def _mended_in(self, body: bytes, error: RpcError) -> Answer | None:
        try:
            messages = self._inbox.faults.messages(body, error)
        except RpcError:
            return None
        first = messages[0]
        if len(messages) == 1 and isinstance(first, Answer):
            return first
        for message in messages:
            self._sort(message)
        return self.answer

    def _sort(self, message: Message) -> None:
        if isinstance(message, Answer):
            if message.id == self.request_id or (type(message.id) is not int and self._is_meant(message)):
                self.answer = message
        elif isinstance(message, Notification):
            self._inbox.on_notification(message, self.call)
        else:
            self._inbox.on_question(message, self)

    def _is_meant(self, answer: Answer) -> bool:
        """Whether an answer is to this request although its id is none of ours. An error has none if its server did not keep it."""
        if answer.id is None:
            return self.request_id != 0
        return self._inbox.faults.answered(answer) == self.request_id


def is_stream(response: Response) -> bool:
    """Whether a response is an event stream to be listened to. One that is a refusal as well is let go."""
    if not response.is_event_stream:
        return False
    if response.status != 200:
        response.release()
        return False
    return True
