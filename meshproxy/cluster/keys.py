"""`Keys`: what the replicas of one endpoint share and nobody else has, and what is made of it. Place: cluster, at its bottom.

Of a key in the config comes a key for each purpose, and a certificate (X.509, Ed25519) that is the same to the bit wherever it is made. So whoever has the key can show it and knows it, and TLS 1.3 with both
sides' certificates keeps everybody else out, and from reading along, without files that have to be handed out or that expire.
"""

import hashlib
import os
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from meshproxy.http.server_tls import LiveTls

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Keys"]

_SALT: Final = b"meshproxy cluster 1"
_COST: Final = 2**14
"""What trying a key costs (RFC 7914): some 40 ms and 16 MiB. Whoever reaches the private address is shown a certificate, which one may try keys against."""
_NAME: Final = "meshproxy cluster"
_BEGIN, _END = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""It lasts as long as its key (RFC 5280, 4.1.2.5)."""


class Keys:
    """The first of `texts` is used, and all of them are taken.

    Attributes:
        tls: what a server is served with whose clients have one of the keys.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._client = _context(ssl.PROTOCOL_TLS_CLIENT, self._texts)
        self.tls = LiveTls(_context(ssl.PROTOCOL_TLS_SERVER, self._texts))

    def __repr__(self) -> str:
        return f"<Keys {len(self._texts)}>"

    def take(self, texts: Sequence[str]) -> bool:
        """Go by these from now on; whether they are others than before. Connections that were opened by one that is gone end."""
        if tuple(texts) == self._texts:
            return False
        self._texts = tuple(texts)
        self._client = _context(ssl.PROTOCOL_TLS_CLIENT, self._texts)
        self.tls.use(_context(ssl.PROTOCOL_TLS_SERVER, self._texts))
        return True

    def client(self) -> ssl.SSLContext:
        """What a connection to another replica begins with now; see `meshproxy.http.client.HttpClient`."""
        return self._client

    def for_(self, purpose: bytes) -> list[bytes]:
        """Keys of 32 bytes for one purpose: the first is used, and all of them are taken."""
        return [_derived(text, purpose) for text in self._texts]


@lru_cache(maxsize=16)
def _root(text: str) -> bytes:
    return hashlib.scrypt(text.encode(), salt=_SALT, n=_COST, r=8, p=1, dklen=32)


def _derived(text: str, purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, key=_root(text), digest_size=32).digest()


def _context(protocol: int, texts: Sequence[str]) -> ssl.SSLContext:
    """Shows the certificate of the first key, and takes those of all of them and no others, whatever they are called."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # needs 20 ms, and few meshes need it
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    keys = [Ed25519PrivateKey.from_private_bytes(_derived(text, b"certificate")) for text in texts]
    certificates = [_certificate(key) for key in keys]
    context.load_verify_locations(cadata=b"".join(dict.fromkeys(certificates)))
    private = keys[0].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _load(context, ssl.DER_cert_to_PEM_cert(certificates[0]).encode() + private)
    return context


def _certificate(key: "Ed25519PrivateKey") -> bytes:
    """DER. Everything in it is of the key, and so is its signature (RFC 8032), so that each replica makes the same one. Each has a name of its own, by which OpenSSL finds it among several."""
    from cryptography import x509  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    public = key.public_key()
    mark = hashlib.blake2b(public.public_bytes_raw(), digest_size=8).hexdigest()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"{_NAME} {mark}")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
    builder = builder.serial_number(1).not_valid_before(_BEGIN).not_valid_after(_END)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, None).public_bytes(Encoding.DER)


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Have a context show a certificate. OpenSSL takes it from a file alone: one in memory, where the system has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # this user's alone, and gone with the block
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
