"""`ReceivingLink`: a link whose upstream says things by itself, and whose those are. Place: links, under the links of every way.

Source: basic/utilities/progress and cancellation of all revisions; 2025-11-25 basic/utilities/tasks, "Associating Task-Related Messages".
"""

import asyncio
from abc import abstractmethod
from functools import partial
from typing import Any

import structlog

from meshproxy.links.call import Call
from meshproxy.links.envelope import whose_progress
from meshproxy.links.link import Link
from meshproxy.links.listener import Listener
from meshproxy.links.questions import Questions
from meshproxy.wire.codec import JsonError, opened
from meshproxy.wire.messages import Notification, Request, closed_params

__all__ = ["ReceivingLink"]

log = structlog.get_logger(__name__)


class ReceivingLink(Link):
    """See the module. `call` is everywhere the one that a message came with; None where the way does not tell."""

    _listener: Listener
    _questions: Questions

    def on_notification(self, message: Notification, call: Call | None) -> None:
        """Hand a notification to whom it is for."""
        method = message.method
        try:
            params = closed_params(message)
        except JsonError:
            log.warning("upstream.garbage", upstream=self.upstream, reason=f"the params of {method} are no object")
            return
        try:
            if method == "notifications/progress":
                whose = whose_progress(self.calls, params)
                if whose is not None:
                    whose.on_notification(method, params)
            elif method == "notifications/cancelled":
                self._on_cancelled(opened(params.get("requestId")))
            elif self.tasks is not None and self.tasks.take(method, params):
                pass
            elif call is not None:
                call.on_notification(method, params)
            else:
                self._on_unowned(method, params)
        except Exception:
            # One receiver's defect must cost nobody else a connection or an answer.
            log.exception("upstream.notification_failed", upstream=self.upstream, method=method)

    def on_request(self, message: Request, call: Call | None) -> asyncio.Task[None] | None:
        """Have a question answered. The task that does it, if there is one and it ends with the call."""
        of_task = self.tasks.answerer(message.params) if self.tasks is not None else None
        if of_task is not None:
            # It may come with any call, and outlives it.
            self._questions.ask(message, of_task)
            return None
        answerer = partial(self._listener.on_request, self) if call is None else call.on_request
        return self._questions.ask(message, answerer)

    @abstractmethod
    def _on_cancelled(self, request_id: Any) -> None:
        """The upstream gives up what has this id, which may be anything: a question of its own, or what this way has besides."""

    def _on_unowned(self, method: str, params: dict[str, Any]) -> None:
        """A notification has come of which only what is in it could tell whose it is."""
        self._listener.on_notification(self, method, params)
