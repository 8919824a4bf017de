"""Handlers that do nothing, for tests of what stands in front of one."""

from typing import Any


class Nobody:
    """A handler of which nothing is asked."""

    def answer(self, *_: Any) -> None:
        raise AssertionError

    def on_notification(self, *_: Any) -> None:
        raise AssertionError

    def annotated_schema(self, visitor: Any, tool: str) -> None:
        raise AssertionError


class Quiet(Nobody):
    """A handler that hears notifications, and of which nothing else is asked."""

    def on_notification(self, *_: object) -> None:
        pass
