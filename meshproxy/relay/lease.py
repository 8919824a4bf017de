"""`Lease`: a link, lent to one call. Place: relay, under `call`; `meshproxy.upstream.lanes` decides who gets which."""

from collections.abc import Callable

from meshproxy.links.link import Link
from meshproxy.relay.downstream import Downstream

__all__ = ["Lease"]


class Lease:
    """A link, for one call.

    Attributes:
        link: what carries the call.
        owner: the downstream whose own link it is; None where others may use it.
        given: to be called when the upstream has answered; None where nobody needs to know, or it has been.
        on_asked: to be called when the upstream asks something within the call; None where nobody needs to know.
    """

    __slots__ = ("given", "link", "on_asked", "owner")

    def __init__(self, link: Link, owner: Downstream | None = None, given: Callable[[], None] | None = None) -> None:
        self.link = link
        self.owner = owner
        self.on_asked: Callable[[], None] | None = None
        self.given = given

    def give(self) -> None:
        """The upstream has answered: the call needs the link no longer. Idempotent."""
        given, self.given = self.given, None
        self.on_asked = None
        if given is not None:
            given()
