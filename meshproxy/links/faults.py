"""`Faults`: what an upstream does wrong and is forgiven, said in the log once. Place: links, above `meshproxy.wire.mending`.

Each upstream's endpoint has one for as long as it lives, so that a fault in every message, or in every session, is one line.
"""

from typing import Any, Final

import structlog

from meshproxy.errors import RpcError
from meshproxy.wire.mending import mend, own_id
from meshproxy.wire.messages import Answer, Message

log = structlog.get_logger(__name__)

AS_MEANT: Final = "what it sends is taken as it is meant"
LIMIT: Final = 20
"""Different faults of one upstream that are said; what has so many is known to be faulty."""


class Faults:
    """The faults of one upstream that have been said."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self._said: set[str] = set()

    def say(self, event: str, consequence: str, **facts: Any) -> None:
        """Warn of a fault, and say what came of it, unless that has been said in the same words."""
        words = f"{event} {consequence} {facts}"
        if words in self._said or len(self._said) == LIMIT:
            return
        self._said.add(words)
        if len(self._said) == LIMIT:
            consequence += "; more faults of this upstream are not logged"
        log.warning(event, upstream=self.upstream, **facts, consequence=consequence)

    def messages(self, data: bytes, error: RpcError) -> tuple[Message, ...]:
        """What was meant with something that was refused with `error` when it was read. Raises as `mend`."""
        messages, faults = mend(data, error)
        for fault in faults:
            self.say("upstream.mended", AS_MEANT, reason=fault)
        return messages

    def answered(self, answer: Answer) -> int | None:
        """Which of our requests is meant by the id of an answer that is none of ours as it is written; None for none."""
        request_id = own_id(answer.id)
        if request_id is not None:
            self.say("upstream.mended", AS_MEANT, reason="an answer has the id of its request as a text")
        return request_id
