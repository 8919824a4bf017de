"""`Annex`: what an endpoint serves beside MCP, of which it knows nothing: the API, the page. Place: serving, pure.

The endpoint asks it for a path that is none of its own, and hands the request over as it came, with what tells who may have it.
"""

from typing import Protocol

from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.serving.private import Private

__all__ = ["Annex"]


class Annex(Protocol):
    """Something that is served at paths of its own."""

    def has(self, path: str) -> bool:
        """Whether a path is one of its own."""
        ...

    async def serve(self, scope: Scope, receive: Receive, send: Send, private: Private) -> None:
        """Answer a request for one of them, whoever it comes from: it decides by `private`."""
        ...
