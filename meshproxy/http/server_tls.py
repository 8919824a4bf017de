"""`LiveTls` and `ServerTls`: the certificate of an HTTP server, and whose clients it takes at their certificates' word; both may change while it serves. Place: http.

The authorities of a context can only grow, and a session that was begun under one is resumed without a look at its certificate. So each change makes a
context of its own, with tickets of its own, and connections that are open keep the one that they began with.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["LiveTls", "ServerTls", "name_in", "shown_by"]

POLL: Final = 2.0
"""Seconds between two looks at the files."""
_NAMES: Final = ("URI", "DNS", "email")
"""What names a client, before the common name of its subject (RFC 6125, 6.4.4; SPIFFE has a URI)."""


class _Latest(ssl.SSLContext):
    """What a listening socket is given once: each connection that it accepts begins with the context that is the latest then."""

    latest: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.latest.wrap_bio(*args, **kwargs)


class LiveTls:
    """A TLS context that may be replaced by another while it is used; `made` is the first.

    Attributes:
        context: to be served with.
        authorities: those in force, DER.
    """

    def __init__(self, made: ssl.SSLContext) -> None:
        self.context = _Latest(ssl.PROTOCOL_TLS_SERVER)
        self._listeners: list[Callable[[], None]] = []
        self.context.latest = made
        self.authorities = frozenset(made.get_ca_certs(binary_form=True))

    @property
    def latest(self) -> ssl.SSLContext:
        """What a connection begins with that is accepted now."""
        return self.context.latest

    def on_authorities(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `authorities` are others than before."""
        self._listeners.append(callback)

    def use(self, made: ssl.SSLContext) -> None:
        """Begin connections with this context from now on."""
        before = self.authorities
        self.context.latest = made
        self.authorities = frozenset(made.get_ca_certs(binary_form=True))
        if before != self.authorities:
            for callback in self._listeners:
                callback()


class ServerTls(LiveTls):
    """One that is made of files, which may be replaced, and what they hold.

    Args:
        certificate: the chain, PEM, the server's own first.
        key: its key, PEM, without a passphrase; None if it is in the same file.
        client_ca: the authorities, PEM, whose clients are known by their certificates; None to ask for none.

    Raises:
        ValueError: a file cannot be used; says which, and why.
    """

    def __init__(self, certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._files = (certificate, key, client_ca)
        self._seen = self._look()
        super().__init__(_made(self._files))

    def take(self, certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> bool:
        """Go by these files from now on; whether that are others than before.

        Raises:
            ValueError: they cannot be used; what was in use stays so.
        """
        files = (certificate, key, client_ca)
        if files == self._files:
            return False
        made = _made(files)
        self._files = files
        self._seen = self._look()
        self.use(made)
        return True

    def refresh(self) -> bool:
        """Take up what was replaced; whether anything was.

        Raises:
            ValueError: it cannot be used; what was in use stays so.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        self.use(_made(self._files))
        return True

    async def follow(self, told: Callable[[str | None], None]) -> None:
        """Take up replacements for ever. `told` hears of each: None, or why it cannot be used."""
        while True:
            await asyncio.sleep(POLL)
            try:
                if self.refresh():
                    told(None)
            except ValueError as error:
                told(str(error))

    def _look(self) -> tuple[Any, ...]:
        found = []
        for file in self._files:
            try:
                stat = file.stat() if file is not None else None
            except OSError:
                stat = None
            found.append(stat and (stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return tuple(found)


def name_in(certificate: Any) -> str | None:
    """Whom a client's certificate, as `ssl` gives it, is of: its first alternative name, else its common name."""
    if not isinstance(certificate, dict):
        return None
    alternatives = certificate.get("subjectAltName", ())
    for sort in _NAMES:
        for kind, value in alternatives:
            if kind == sort:
                return str(value)
    names = [value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"]
    return str(names[0]) if names else None


def shown_by(transport: asyncio.BaseTransport) -> tuple[str | None, bytes | None]:
    """Whom the certificate names that a connection's client showed, and the authority that vouches for it; None and None if it showed none."""
    name = name_in(transport.get_extra_info("peercert"))
    return name, None if name is None else _authority_of(transport.get_extra_info("ssl_object"))


def _authority_of(session: Any) -> bytes:
    """The authority, DER, that vouched for the client of an `ssl.SSLObject`; empty where that is not told: of a session that was resumed."""
    inner = getattr(session, "_sslobj", None)  # what `SSLObject.get_verified_chain` is called before Python 3.13
    look = getattr(inner, "get_verified_chain", None)
    chain = None if look is None else look()
    return bytes(ssl.PEM_cert_to_DER_cert(chain[-1].public_bytes())) if chain else b""


def _made(files: tuple[Path, Path | None, Path | None]) -> ssl.SSLContext:
    certificate, key, client_ca = files
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # With a password given, OpenSSL asks nobody for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise ValueError(f"the certificate {certificate} and its key cannot be used: {_reason(error)}") from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise ValueError(f"the authorities in {client_ca} cannot be used: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
