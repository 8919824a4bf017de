"""Everything that reads bytes from outside, by the name that it has in `./scripts/soak fuzz`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, Self

from hypothesis import strategies as st
from tests.fuzz import config_text, event_streams, http_requests, http_responses, json_rpc, names

__all__ = ["TARGETS", "Target"]


class Target(Protocol, AbstractContextManager[Any]):
    """What is fed, with what, and what has to hold.

    Attributes:
        examples: how many of them a short run tries.
    """

    examples: int

    def __enter__(self) -> Self: ...

    def strategy(self) -> st.SearchStrategy[Any]: ...

    def check(self, example: Any) -> None: ...


TARGETS: Final[Mapping[str, Callable[[], Target]]] = {
    "config-text": config_text.Target,
    "event-streams": event_streams.Target,
    "http-requests": http_requests.Target,
    "http-responses": http_responses.Target,
    "json-rpc": json_rpc.Target,
    "names": names.Target,
}
