"""`ClusterConfig`: replicas, as a config has them. Pure models."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from meshproxy.cluster.store_url import StoreUrl
from meshproxy.config.secrecy import secrets_of_url
from meshproxy.config.sections import Section, refusal
from meshproxy.config.values import REFERENCE_SCHEMA, Listen

__all__ = ["ClusterConfig"]

SHORTEST_KEY: Final = 32
"""Characters. Whoever reaches the private address can try keys without asking anybody, so there must be more than anybody can try."""


def _listed(value: Any) -> Any:
    """One key, or several."""
    return (value,) if isinstance(value, str) else value


_KEY_SCHEMA: Final = {"type": "string", "minLength": SHORTEST_KEY}
Keys = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    Field(strict=False),
    WithJsonSchema(
        {
            "anyOf": [
                _KEY_SCHEMA,
                REFERENCE_SCHEMA,
                {"type": "array", "minItems": 1, "items": {"anyOf": [_KEY_SCHEMA, REFERENCE_SCHEMA]}},
            ]
        }
    ),
]


class ClusterConfig(Section):
    """Replicas: several meshes that serve this file behind one address. But for `key`, a change here takes effect when the mesh is started again."""

    url: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        repr=False,
        description="Redis or Valkey, for what replicas share: redis://HOST:6379/0, redis+sentinel://HOST,HOST/SERVICE or redis+cluster://HOST,HOST, with rediss for TLS. Limits hold over all of them, "
        "a token of an upstream is refreshed once for all, a key that is taken out of one file is refused by all, and they find each other there. Needs key, and meshproxy[cluster].",
    )
    listen: Listen | None = Field(
        default=None,
        description="A private address, as 10.0.0.5:7946: the other replicas hand over there what is this one's. Only who has the key is let in.",
    )
    advertise: Literal["auto"] | Listen = Field(
        default="auto",
        description="The address by which the others reach listen, as 10.0.0.5:7946; auto is that of listen, or, if that is every address of the machine, the one from which this replica greets them.",
    )
    peers: Annotated[tuple[Listen, ...], Field(strict=False)] = Field(
        default=(),
        description="Where the others listen, as mesh-peers:7946. A name may stand for any number of them, as that of a headless service does, and is looked up all the time; "
        "this one may be among them. Whoever greets with the key is known from then on, listed or not.",
    )
    key: Keys = Field(
        default=(),
        repr=False,
        description="What all replicas share, at least 32 characters: a reference such as ${file:/run/secrets/cluster-key}, or several, as a list or one a line. The first is used, and the others are taken, "
        "so that a key can be replaced. An edit is in force at once.",
        json_schema_extra={"default": None},
    )

    @field_validator("key")
    @classmethod
    def _are_long_enough(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        keys = tuple(line.strip() for key in keys for line in key.splitlines() if line.strip())
        if any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(
                f"a key has at least {SHORTEST_KEY} characters that nobody can guess; make one with: openssl rand -base64 32"
            )
        return keys

    @field_validator("url")
    @classmethod
    def _is_a_store(cls, url: str | None) -> str | None:
        if url is not None:
            StoreUrl.parse(url)
        return url

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must appear nowhere."""
        return (*self.key, *(secrets_of_url(self.url) if self.url is not None else ()))

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.url is not None and not self.key:
            raise refusal(
                "needs cluster.key, which encrypts what nobody else may read there; make one with: openssl rand -base64 32",
                "url",
            )
        if self.listen is None:
            for key, is_there in (("peers", self.peers), ("advertise", self.advertise != "auto")):
                if is_there:
                    raise refusal("needs cluster.listen: the address at which the others find this replica", key)
        elif not self.key:
            raise refusal(
                "needs cluster.key: what all replicas share and nobody else has; make one with: openssl rand -base64 32",
                "listen",
            )
        return self
