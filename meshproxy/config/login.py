"""`upstreams.*.auth`: how the mesh gets in at an upstream, as the file says it."""

import shlex
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from meshproxy.config.values import Argument, Grace, Port, Url

__all__ = [
    "AUTH_KEYS",
    "AuthSetting",
    "ClientCredentials",
    "HeadersFromCommand",
    "OAuth",
    "Signing",
    "TokenExchange",
    "UpstreamAuth",
    "kind_of",
]


class _Auth(BaseModel):
    """Strict, frozen, and silent about its values when it refuses them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    @property
    def is_each_callers(self) -> bool:
        """Whether each caller has an account of his own there, and nothing is shared between two of them."""
        return False


def _https(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or parts.path in ("", "/"):
        raise ValueError("must be an https URL with a path, which is the client id at the same time")
    return value


def _scope(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or any(mark in value for mark in ' "\\'):
        raise ValueError("must be scopes of visible ASCII characters, one an entry")
    return value


def _scopes(value: Any) -> Any:
    """Scopes as a list, or in one text with spaces, as servers write them."""
    return value.split() if isinstance(value, str) else value


def _arguments(value: Any) -> Any:
    """A command line as a list, or in one text, which is taken apart as a shell would without running one."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            raise ValueError("has a quote without an end; write the command as a list") from None
    return value


Scopes = Annotated[
    tuple[Annotated[str, AfterValidator(_scope)], ...],
    BeforeValidator(_scopes),
    Field(strict=False),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
CommandLine = Annotated[
    tuple[Argument, ...],
    BeforeValidator(_arguments),
    Field(strict=False, min_length=1),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}, "minItems": 1}, {"type": "string"}]}),
]
Secret = Annotated[str, Field(min_length=1)]


class _Granted(_Auth):
    """What all that get tokens from an authorization server have."""

    client_id: str | None = Field(
        default=None,
        min_length=1,
        description="Who the mesh is to the authorization server, if that was arranged there.",
    )
    client_secret: Secret | None = Field(
        default=None, description="The secret of client_id; refer to it: ${LINEAR_SECRET}.", repr=False
    )
    scopes: Scopes = Field(
        default=(),
        description="What to ask for, beside what the upstream itself wants. Default: what the upstream says that it takes.",
    )
    issuer: Url | None = Field(
        default=None, description="The authorization server, for an upstream that does not name it."
    )
    resource: Url | None = Field(
        default=None,
        description="What tokens are for, if that is not what the upstream says of itself (RFC 8707).",
    )


class OAuth(_Granted):
    """A person logs in once, with `meshproxy auth login NAME` or each for himself, and tokens are refreshed from then on."""

    type: Literal["oauth"] = Field(default="oauth", description="Log in with meshproxy auth login NAME.")
    per: Literal["mesh", "caller"] = Field(
        default="mesh",
        description="Whose account it is. mesh: one for the mesh, with meshproxy auth login NAME. caller: each principal's own; who calls without one is sent to "
        "a page of the mesh where he logs in.",
    )
    client_metadata_url: Annotated[Url, AfterValidator(_https)] | None = Field(
        default=None,
        description="The https URL of a client metadata document of yours, for servers that take one in place of a registration.",
    )
    redirect_port: Port | None = Field(
        default=None,
        description="The port of http://127.0.0.1:PORT/callback, where the browser comes back to; as registered. Default: a free one.",
    )

    @property
    def is_each_callers(self) -> bool:
        return self.per == "caller"

    @model_validator(mode="after")
    def _has_a_client(self) -> "OAuth":
        if self.client_secret is not None and self.client_id is None:
            raise ValueError("client_secret needs the client_id that it belongs to")
        if self.client_id is not None and self.client_metadata_url is not None:
            raise ValueError("client_id and client_metadata_url exclude each other; remove one of them")
        return self


class Signing(_Granted):
    """What all have that may show themselves by a signature."""

    private_key: Secret | None = Field(
        default=None,
        description="In place of a secret: the PEM of the key that signs who the mesh is (RFC 7523); ${file:key.pem}.",
        repr=False,
    )
    key_id: str | None = Field(
        default=None, min_length=1, description="The kid of private_key, if the server wants it."
    )
    algorithm: Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"] | None = Field(
        default=None, description="How private_key signs. Default: RS256, ES256 or EdDSA, as the key is."
    )


class ClientCredentials(Signing):
    """The mesh itself is the client, and no person logs in (OAuth 2.1, 4.2)."""

    type: Literal["client_credentials"] = Field(description="The mesh gets tokens by itself, as a client of its own.")

    @model_validator(mode="after")
    def _has_a_client(self) -> "ClientCredentials":
        if self.client_id is None:
            raise ValueError("client_credentials needs a client_id")
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("client_credentials needs client_secret or private_key, and not both")
        return self


class TokenExchange(Signing):
    """The token that a caller shows the mesh is exchanged for one that is good at the upstream (RFC 8693), and never passed on."""

    type: Literal["token_exchange"] = Field(
        description="Each caller's own token, of server.auth.jwt, is exchanged for one that is for the upstream."
    )
    audience: str | None = Field(
        default=None,
        min_length=1,
        description="What the authorization server calls the upstream, if it wants to hear that beside the resource.",
    )

    @property
    def is_each_callers(self) -> bool:
        return True

    @model_validator(mode="after")
    def _has_a_client(self) -> "TokenExchange":
        if self.client_id is None:
            raise ValueError("token_exchange needs the client_id of the mesh at the authorization server")
        if self.client_secret is not None and self.private_key is not None:
            raise ValueError("client_secret and private_key exclude each other; remove one of them")
        return self


class HeadersFromCommand(_Auth):
    """Headers that a command prints."""

    type: Literal["headers"] = Field(
        description="A command prints the headers, as a JSON object on its standard output."
    )
    command: CommandLine = Field(
        description="The command, which is run at each connection and when the upstream refuses what it printed before. No shell runs it."
    )
    timeout: Grace = Field(default=10.0, description="How long the command may take.")


UpstreamAuth = OAuth | ClientCredentials | TokenExchange | HeadersFromCommand
_KINDS: Final[dict[str, type[_Auth]]] = {
    "oauth": OAuth,
    "client_credentials": ClientCredentials,
    "token_exchange": TokenExchange,
    "headers": HeadersFromCommand,
}
AUTH_KEYS: Final = {kind: tuple(model.model_fields) for kind, model in _KINDS.items()}
"""The keys of each kind."""


def kind_of(value: Any) -> Any:
    """`auth` as a mapping, also where it is one word; None for `none`."""
    if value is None or value == "none":
        return None
    if value == "oauth":
        return {"type": "oauth"}
    if isinstance(value, _Auth):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be oauth, none, or a mapping with a type")
    kind = value.get("type", "oauth")
    if kind not in _KINDS:
        raise ValueError(f"type must be one of {', '.join(_KINDS)}")
    if foreign := [key for key in value if key not in AUTH_KEYS[kind]]:
        raise ValueError(f"{', '.join(map(str, foreign))} is not for type {kind}; it has {', '.join(AUTH_KEYS[kind])}")
    if kind == "headers" and "command" not in value:
        raise ValueError("type headers needs a command")
    return {**value, "type": kind}


def _schema(schema: dict[str, Any]) -> None:
    """One word may stand for the mapping."""
    schema["anyOf"] = [
        {"enum": ["oauth", "none"]},
        *(choice for choice in schema["anyOf"] if choice != {"type": "null"}),
    ]
    schema["default"] = "none"


AuthSetting = Annotated[
    Annotated[UpstreamAuth, Field(discriminator="type")] | None,
    BeforeValidator(kind_of),
    Field(
        default=None,
        description="How the mesh gets in there: oauth, to log in with meshproxy auth login; client_credentials; token_exchange; headers from a command; or none.",
        json_schema_extra=_schema,
    ),
]
