"""An identity provider, as far as a resource server sees it: metadata, keys and tokens. Each misbehaviour is a knob."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.kit.sockets import listener

Json = dict[str, Any]


class Authority:
    """One issuer.

    Attributes:
        documents: what is at each path; where nothing is, it answers 404.
        asked: the paths that were asked for.
        is_down: every request is answered with 500.
    """

    def __init__(self, base: str, path: str = "") -> None:
        self.issuer = base + path
        self.base = base
        self.documents: dict[str, Json] = {}
        self.asked: list[str] = []
        self.is_down = False
        self.keys: dict[str, Any] = {}
        self.rotate("one")

    def metadata(self, path: str, **changes: Any) -> None:
        """Publish metadata at a path and nowhere else."""
        self.documents = {path: {"issuer": self.issuer, "jwks_uri": f"{self.base}/keys", **changes}}
        self._publish()

    def rotate(self, kid: str, *, curve: bool = False) -> None:
        """Have another key, and no other."""
        self.kid = kid
        key = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
        self.keys = {kid: key}
        self._publish()

    def _publish(self) -> None:
        self.documents["/keys"] = {"keys": [public(kid, key) for kid, key in self.keys.items()]}

    def token(
        self, subject: str = "ada", *, headers: Json | None = None, key: Any = None, alg: str = "RS256", **claims: Any
    ) -> str:
        """A token, by default one that is all right for a mesh whose audience is `mesh`; a claim of None is left out."""
        usual = {"iss": self.issuer, "sub": subject, "aud": "mesh", "exp": int(time.time()) + 300, "scope": "mcp"}
        said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode(said, key or self.keys[self.kid], alg, headers={"kid": self.kid, **(headers or {})})

    @property
    def pem(self) -> bytes:
        """The public key as text, which HMAC would take for a secret."""
        return (
            self.keys[self.kid]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split()[1]
                self.asked.append(path)
                found = None if self.is_down else self.documents.get(path)
                status = "500 Down" if self.is_down else "404 Not Found" if found is None else "200 OK"
                body = json.dumps(found or {}).encode()
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()


def public(kid: str, key: Any) -> Json:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@contextlib.asynccontextmanager
async def authority(path: str = "") -> AsyncIterator[Authority]:
    """An issuer on a free port, whose metadata is where RFC 8414 has it first."""
    sock = listener()
    issuer = Authority(f"http://127.0.0.1:{sock.getsockname()[1]}", path)
    issuer.metadata(f"/.well-known/oauth-authorization-server{path}")
    server = await asyncio.start_server(issuer.serve, sock=sock)
    try:
        yield issuer
    finally:
        server.close()
