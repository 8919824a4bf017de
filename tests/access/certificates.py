"""Certificate authorities, and meshes and clients that go by them."""

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.kit.light import document, light
from tests.kit.messages import heads, modern, request
from tests.kit.waiting import DEADLINE


class Ca:
    """A certificate authority that signs what it is asked to."""

    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key.public_key(), [], is_ca=True)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, common: str, *alternatives: x509.GeneralName) -> bytes:
        """A certificate and its key, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        certificate = self._sign(name, key.public_key(), alternatives)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + secret

    def _sign(self, name: x509.Name, public: Any, alternatives: Any, *, is_ca: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        if is_ca:
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                False,
            )
            builder = builder.add_extension(
                x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False),
                critical=True,
            )
        return builder.sign(self.key, hashes.SHA256())


CA, OTHER = Ca("ours"), Ca("theirs")
LOCALHOST = x509.DNSName("localhost")


def client(tmp_path: Path, certificate: bytes = b"", ca: Ca = CA) -> httpx2.Client:
    context = ssl.create_default_context(cadata=ca.pem.decode())
    if certificate:
        file = tmp_path / "client.pem"
        file.write_bytes(certificate)
        context.load_cert_chain(file)
    return httpx2.Client(verify=context, timeout=DEADLINE)


def ask(http: httpx2.Client, url: str, method: str = "tools/list", secret: str = "", **params: Any) -> httpx2.Response:
    message, headers = modern(request(method, params))
    shown = {"authorization": f"Bearer {secret}"} if secret else {}
    return http.post(url.replace("127.0.0.1", "localhost"), json=message, headers=heads(**headers, **shown))


def config(tmp_path: Path, server: dict[str, Any], **top: Any) -> Path:
    file = tmp_path / "mesh.yaml"
    (tmp_path / "server.pem").write_bytes(CA.issue("first", LOCALHOST))
    (tmp_path / "ca.pem").write_bytes(CA.pem)
    file.write_text(document({"a": light("--tools", "echo,drop")}, server=server, **top))
    return file
