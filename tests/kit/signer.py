"""The keys of an identity provider, and the tokens that it signs with them."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

Json = dict[str, Any]


class Signer:
    """See the module.

    Attributes:
        kid: the id of its key, of which it has one at a time.
        key: the private one.
        published: its key set, as whoever asks is told it.
    """

    def __init__(self) -> None:
        self.rotate("one")

    def rotate(self, kid: str, *, curve: bool = False) -> None:
        """Have another key, and no other."""
        self.kid = kid
        self.key: Any = ec.generate_private_key(ec.SECP256R1()) if curve else rsa.generate_private_key(65537, 2048)
        self.published: list[Any] = [self.public]

    @property
    def public(self) -> Json:
        """The public key (RFC 7517)."""
        algorithm = RSAAlgorithm if isinstance(self.key, rsa.RSAPrivateKey) else ECAlgorithm
        return {**json.loads(algorithm.to_jwk(self.key.public_key())), "kid": self.kid, "use": "sig"}

    @property
    def pem(self) -> bytes:
        """The public key as text, which HMAC would take for a secret."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, form)

    def sign(self, claims: Json, *, headers: Json | None = None, key: Any = None, alg: str = "RS256") -> str:
        """A token that says this, with the id of the key unless `headers` have another."""
        return jwt.encode(claims, key or self.key, alg, headers={"kid": self.kid, **(headers or {})})

    def token(
        self,
        issuer: str,
        subject: str,
        *,
        headers: Json | None = None,
        key: Any = None,
        alg: str = "RS256",
        **other: Any,
    ) -> str:
        """One that is all right for a mesh whose audience is `mesh`, but for what is said otherwise; a claim of None is left out."""
        usual = {"iss": issuer, "sub": subject, "aud": "mesh", "exp": int(time.time()) + 300, "scope": "mcp"}
        claims = {name: value for name, value in {**usual, **other}.items() if value is not None}
        return self.sign(claims, headers=headers, key=key, alg=alg)
