"""`Methods`: who answers which method of the protocol, in each era. Place: serving, under `fastmcp`."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from meshproxy.errors import METHOD_NOT_FOUND, RpcError
from meshproxy.relay.call import Call
from meshproxy.relay.recorder import Recorder
from meshproxy.wire.protocol import TASK_METHODS, Era

__all__ = ["Answer", "Methods"]

Answer: TypeAlias = "Callable[[Call], None]"
"""Ends a call, or hands it on. May raise `RpcError`."""

_FOREIGN: Final[dict[Era, frozenset[str]]] = {
    Era.LEGACY: frozenset({"server/discover", "subscriptions/listen", *TASK_METHODS}),
    Era.MODERN: frozenset({"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}),
}
"""Methods that an era does not have (2026-07-28 changelog)."""


class Methods:
    """The table. `answers` has the methods of both eras; `recorder` is told of each request."""

    __slots__ = ("_dispatch", "_legacy", "_modern", "_recorder")

    def __init__(self, answers: Mapping[str, Answer], recorder: Recorder) -> None:
        self._recorder = recorder
        self._dispatch: Answer = self.dispatch
        self._legacy = _without(answers, _FOREIGN[Era.LEGACY])
        self._modern = _without(answers, _FOREIGN[Era.MODERN])

    def answer(self, call: Call) -> None:
        """See `meshproxy.relay.handler.Handler`."""
        if self._recorder.listeners:
            self._recorder.begin(call)
        call.go(self._dispatch)

    def dispatch(self, call: Call) -> None:
        """Hand a call to who answers its method. Raises `RpcError`: -32601 where nobody does, and what that one raises."""
        answers = self._modern if call.context.downstream.era is Era.MODERN else self._legacy
        answer = answers.get(call.method)
        if answer is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {call.method}")
        answer(call)


def _without(answers: Mapping[str, Answer], foreign: frozenset[str]) -> dict[str, Answer]:
    return {method: answer for method, answer in answers.items() if method not in foreign}
