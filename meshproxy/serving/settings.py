"""What an endpoint may be told. Place: serving."""

from dataclasses import dataclass

__all__ = ["HttpSettings"]


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How HTTP is served.

    Attributes:
        host: what the port is bound to; it decides which names are allowed without being listed (`Guard`).
        path: of the endpoint.
        public_url: what stands before the path for clients; "" if they say so themselves.
        allowed_hosts: `Host` values that are allowed besides.
        allowed_origins: `Origin` values that are.
        max_body: bytes of a request.
        max_sessions: how many legacy sessions may be open at once.
        session_idle_timeout: seconds after which a session without a request or an open stream ends; None for never.
        retry_ms: how soon a client is told to come back after its stream ended.
        max_buffer: bytes that may wait for one client, and bytes of the past that are kept for one session's resumption.
        max_events: how many events of the past are kept for one session.
        keepalive: seconds of silence after which a stream says that it lives.
    """

    host: str = "127.0.0.1"
    path: str = "/mcp"
    public_url: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body: int = 4 * 1024 * 1024
    max_sessions: int = 10_000
    session_idle_timeout: float | None = 1800.0
    retry_ms: int = 1000
    max_buffer: int = 8 * 1024 * 1024
    max_events: int = 16_384
    keepalive: float = 15.0
