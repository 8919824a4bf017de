"""How an HTTP exchange with an upstream can fail. Place: http, below the client.

    TransportError          `sent`: whether the server may have seen the request
    ├── ConnectFailed       there is no connection, so nothing was sent
    ├── ConnectionLost      it ended before the answer did
    ├── TransportTimeout    the answer did not come in time
    ├── BadResponse         what came is not HTTP, or not what may come
    └── BodyTooLarge        the body is larger than the bound

``sent=False`` is certain: such a request may be sent again. ``sent=True`` means "perhaps", and whether to send again is the
caller's decision, who knows if the request is idempotent. No message holds credentials, a path or a query of the URL.
"""

__all__ = ["BadResponse", "BodyTooLarge", "ConnectFailed", "ConnectionLost", "TransportError", "TransportTimeout"]


class TransportError(Exception):
    """Base class; what is raised is always one of the subclasses."""

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectFailed(TransportError):
    """No connection could be made: name, network, proxy or TLS."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class ConnectionLost(TransportError):
    """The connection ended before the response did."""


class TransportTimeout(TransportError):
    """The time for connecting, or for the answer, has passed."""


class BadResponse(TransportError):
    """The peer broke HTTP, used what was not asked for, or the consumer of the body refused it (then ``__cause__`` says why)."""


class BodyTooLarge(TransportError):
    """The body, decoded, is larger than the client's ``max_body``."""
