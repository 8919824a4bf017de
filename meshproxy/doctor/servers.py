"""Servers elsewhere: whether their certificates last, and whether their clocks say what ours does. Place: doctor.

Each server of an upstream at a URL, and each issuer of tokens, is asked for nothing but its headers, once. One that cannot be reached is no finding of this module: where it
is an upstream, its state says so.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from meshproxy.config.models import MeshConfig
from meshproxy.doctor.certificates import lifetime
from meshproxy.doctor.finding import Finding
from meshproxy.http.dial import default_tls

__all__ = ["asked"]

_PATIENCE: Final = 5.0
"""Seconds for each of them, all at once."""
_APART: Final = 60.0
"""Seconds between two clocks that tokens and certificates put up with."""
_MOST: Final = 65_536
"""Bytes of a head."""


async def asked(config: MeshConfig) -> list[Finding]:
    """What is found at all of them."""
    origins = sorted({origin for origin in _origins(config) if origin is not None})
    found = await asyncio.gather(*(_ask(*origin) for origin in origins))
    return [finding for findings in found for finding in findings]


def _origins(config: MeshConfig) -> Iterable[tuple[str, str, int] | None]:
    for spec in config.enabled:
        for url in (spec.url, *spec.urls):
            yield _origin(url)
    auth = config.server.auth
    for jwt in () if auth is None else auth.jwt:
        yield _origin(jwt.issuer)


def _origin(url: str | None) -> tuple[str, str, int] | None:
    parts = urlsplit(url or "")
    if not parts.hostname:
        return None
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


async def _ask(scheme: str, host: str, port: int) -> list[Finding]:
    place = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    tls = default_tls() if scheme == "https" else None
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_MOST)
            try:
                findings = list(_certificate(place, writer))
                writer.write(f"HEAD / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                return [*findings, *_clock(place, await reader.readuntil(b"\r\n\r\n"))]
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except ssl.SSLCertVerificationError as error:
        remedy = "have its owner mend it, or let SSL_CERT_FILE name the authority that it is from"
        return [Finding("certificate", place, f"its certificate cannot be verified: {error.verify_message}", remedy)]
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, UnicodeError):
        return []


def _certificate(place: str, writer: asyncio.StreamWriter) -> Iterable[Finding]:
    certificate = writer.get_extra_info("peercert") or {}
    if "notAfter" in certificate:
        end = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
        yield from lifetime(place, "its certificate", None, end, "tell whoever runs that server")


def _clock(place: str, head: bytes) -> Iterable[Finding]:
    """What its `Date` says (RFC 9110, 6.6.1)."""
    dates = [line.partition(b":")[2] for line in head.splitlines() if line.lower().startswith(b"date:")]
    try:
        theirs = parsedate_to_datetime(dates[0].decode("ascii").strip())
    except (IndexError, ValueError):
        return
    apart = (datetime.now(UTC) - theirs.replace(tzinfo=theirs.tzinfo or UTC)).total_seconds()
    if abs(apart) > _APART:
        what = f"this machine's clock is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} that server's"
        remedy = "set the clock by NTP (timedatectl set-ntp true): tokens and certificates go by it"
        yield Finding("clock", place, what, remedy)
