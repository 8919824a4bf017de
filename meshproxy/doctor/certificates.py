"""What ends by itself: certificates of the mesh, and keys of its clients. Place: doctor; reads the files of `server.tls`."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from meshproxy.config.models import MeshConfig
from meshproxy.doctor.finding import Finding
from meshproxy.http.server_tls import ServerTls

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["SOON", "ending", "lifetime"]

SOON: Final = 30
"""Days before its end from which on it is said."""
_DAY: Final = 86_400


def ending(config: MeshConfig) -> Iterable[Finding]:
    """What has ended, or soon does, or does not fit."""
    yield from _keys(config)
    tls = config.server.tls
    if tls is None:
        return
    file = config.source.path or Path()
    certificate, key, client_ca = (
        None if name is None else file.parent / name for name in (tls.certificate, tls.key, tls.client_ca)
    )
    assert certificate is not None  # noqa: S101 - the config has one, for the types alone
    try:
        ServerTls(certificate, key, client_ca)
    except ValueError as error:
        yield Finding(
            "certificate", f"{file}: server.tls", str(error), "correct the path, or put PEM files there that fit"
        )
        return
    chain = _certificates(certificate)
    for index, one in enumerate(chain):
        remedy = "have it renewed; the mesh takes up the new file by itself"
        yield from lifetime(
            str(certificate),
            "the certificate" if index == 0 else f"the certificate of {one.subject.rfc4514_string()}",
            one.not_valid_before_utc,
            one.not_valid_after_utc,
            remedy,
        )
    host = urlsplit(config.server.public_url or "").hostname
    if host and chain and not _is_for(chain[0], host):
        what = f"the certificate is not for {host}, which server.public_url says that clients use"
        yield Finding("certificate", str(certificate), what, "get one with that name, or correct server.public_url")
    for one in _certificates(client_ca) if client_ca is not None else ():
        yield from lifetime(
            str(client_ca),
            f"the authority {one.subject.rfc4514_string()}",
            one.not_valid_before_utc,
            one.not_valid_after_utc,
            "put its successor into the file",
        )


def lifetime(place: str, what: str, begin: datetime | None, end: datetime, remedy: str) -> Iterable[Finding]:
    """A finding if something is over, soon will be, or is not yet. Moments know their time zone."""
    now = datetime.now(UTC)
    if begin is not None and now < begin:
        yield Finding(
            "certificate", place, f"{what} is not valid before {_day(begin)}", "see whether the clock is right"
        )
    elif end <= now:
        yield Finding("certificate", place, f"{what} ended on {_day(end)}", remedy)
    elif end - now < timedelta(days=SOON):
        yield Finding("certificate", place, f"{what} ends on {_day(end)}, in {(end - now).days} days", remedy)


def _keys(config: MeshConfig) -> Iterable[Finding]:
    auth = config.server.auth
    for key in () if auth is None else auth.keys:
        if key.expires is not None:
            left = key.expires - time.time()
            when = _day(datetime.fromtimestamp(key.expires, UTC))
            what = f"the key ended on {when}" if left <= 0 else f"the key ends on {when}, in {left // _DAY:.0f} days"
            if left < SOON * _DAY:
                remedy = f"meshproxy key revoke {key.name} {config.source.path}, and key new if it is still needed"
                yield Finding("key", f"{config.source.path}: server.auth.keys, {key.name}", what, remedy)


def _certificates(file: Path) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415  # heavy, and few configs have any

    try:
        return load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError):
        return []


def _is_for(certificate: "Certificate", host: str) -> bool:
    """Whether a certificate names a host (RFC 6125, 6.4: a star stands for one label)."""
    from cryptography import x509  # noqa: PLC0415

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        return host.lower() in known or f"*.{host.lower().partition('.')[2]}" in known


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")
