"""`RelayCall`: one request on its way up, and the way back of everything that the upstream says meanwhile.

It was made for one request of one downstream, so it need not look for one.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from meshproxy.catalog.catalog import Mount
from meshproxy.relay.asking import ask
from meshproxy.relay.capabilities import bridged
from meshproxy.relay.downstream import RequestContext
from meshproxy.relay.elicitations import Elicitations
from meshproxy.relay.handlers import Handlers
from meshproxy.wire.protocol import Era

DEFAULT_LEVEL: Final = "info"
_NOBODY: Final[Mapping[str, str]] = {}

Elsewhere = Callable[[str, dict[str, Any]], None]


class RelayCall:
    """The `Call` (see `meshproxy.links.link`) of a downstream's request.

    `elsewhere` takes the notifications that came on this call's stream and are about something else: a listing, a resource. `elicitations`
    remembers which pages its caller was sent to. `on_asked` may be set to hear of each question.
    """

    __slots__ = (
        "context",
        "elicitations",
        "elsewhere",
        "handlers",
        "headers",
        "mount",
        "on_asked",
        "owner",
        "timeout",
        "wants_progress",
    )

    def __init__(
        self,
        context: RequestContext,
        mount: Mount,
        handlers: Handlers,
        elsewhere: Elsewhere,
        timeout: float | None,
        headers: Mapping[str, str] = _NOBODY,
        elicitations: Elicitations | None = None,
    ) -> None:
        downstream = context.downstream
        self.context = context
        self.mount = mount
        self.handlers = handlers
        self.elsewhere = elsewhere
        self.timeout = timeout
        self.headers = headers
        self.elicitations = elicitations
        self.on_asked: Callable[[], None] | None = None
        self.owner: object = downstream.key
        self.wants_progress = context.progress_token is not None

    @property
    def capabilities(self) -> dict[str, Any]:
        """What its caller can do, as far as the mesh can carry it."""
        return bridged(self.context.downstream)

    @property
    def log_level(self) -> str | None:
        """A legacy client that never set a level is not silent: it leaves the choice to the server, and this is ours."""
        downstream = self.context.downstream
        return downstream.log_level or (DEFAULT_LEVEL if downstream.era is Era.LEGACY else None)

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        if method == "notifications/progress":
            self.handlers.progress(self.context, params)
        elif method == "notifications/message":
            self.handlers.log(self.context, params)
        elif method == "notifications/elicitation/complete" and self._was_asked(params):
            self.context.notify(method, params)
        else:
            self.elsewhere(method, params)

    def on_request(self, method: str, params: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]:
        return ask(self, method, params)

    def on_stream_ended(self) -> None:
        # A server that does so wants no connections that are held open for long: the client's was one, too, and it may come back likewise.
        self.context.close_stream()

    def _was_asked(self, params: Mapping[str, Any]) -> bool:
        """Whether a page that is done with is one that this call's client was sent to."""
        return self.elicitations is not None and self.elicitations.owner(params) is self.context.downstream
