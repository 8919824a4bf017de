"""`ServerTls`: the certificate of an HTTP server, followed on disk, and the names in those of its clients. Place: http."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

__all__ = ["ServerTls", "name_in"]

POLL: Final = 2.0
"""Seconds between two looks at the files."""
_NAMES: Final = ("URI", "DNS", "email")
"""What names a client, before the common name of its subject (RFC 6125, 6.4.4; SPIFFE has a URI)."""


class ServerTls:
    """A TLS context whose files may be replaced while it is used: connections that are open keep what they began with.

    Args:
        certificate: the chain, PEM, the server's own first.
        key: its key, PEM, without a passphrase; None if it is in the same file.
        client_ca: the authorities, PEM, whose clients are known by their certificates; None to ask for none.

    Attributes:
        context: to be served with.

    Raises:
        ValueError: a file cannot be used; says which, and why.
    """

    def __init__(self, certificate: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._files = (certificate, key, client_ca)
        self._seen = self._look()
        self.context = self._made()

    def refresh(self) -> bool:
        """Take up what was replaced; whether anything was.

        Raises:
            ValueError: it cannot be used; what was in use stays so.
        """
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        # Tried where it does no harm: what is half-way replaced would be a certificate without its key.
        self._made()
        certificate, key, client_ca = self._files
        self.context.load_cert_chain(certificate, key, password="")
        if client_ca is not None:
            self.context.load_verify_locations(client_ca)
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

    def _made(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
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


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
