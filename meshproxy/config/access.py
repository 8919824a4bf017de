"""`server.auth`, `access` and `profiles`: who may come in and use what, as the file says it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from meshproxy.config.condition import compiled
from meshproxy.config.frozen import FrozenMapping
from meshproxy.config.sections import Renaming, Section, Selection, refusal
from meshproxy.config.values import Flag, Grace, Name, Url
from meshproxy.http.loopback import is_loopback

__all__ = ["AuthConfig", "JwtConfig", "KeyConfig", "Profile", "Profiles", "Rule", "Who", "digests_of"]

_HASH: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_PROFILE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def digests_of(text: str) -> tuple[bytes, ...]:
    """The hashes in a text, one a line; what stands behind a # is a comment.

    Raises:
        ValueError: a line holds something else, or there is no hash.
    """
    found = []
    for line in text.splitlines():
        if written := line.partition("#")[0].strip():
            match = _HASH.fullmatch(written)
            if match is None:
                # The line is not shown: it may be a key, and not its hash.
                raise ValueError("must be sha256: and 64 hexadecimal digits; `meshproxy key new` prints it")
            found.append(bytes.fromhex(match[1]))
    if not found:
        raise ValueError("holds no hash; `meshproxy key new` prints one")
    return tuple(found)


def _hash(text: str) -> str:
    digests_of(text)
    return text


def _condition(text: str) -> str:
    compiled(text)
    return text


def _moment(value: Any) -> Any:
    """A day or a moment as seconds since 1970. A day lasts to its end, in UTC."""
    if not isinstance(value, str):
        raise ValueError("must be a day such as 2027-06-30 or a time such as 2027-06-30T12:00:00Z")
    try:
        if _DATE.fullmatch(value):
            day = datetime.fromisoformat(value).date() + timedelta(days=1)
            moment = datetime.combine(day, time(), UTC)
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a day such as 2027-06-30 or a time such as 2027-06-30T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, as in 2027-06-30T12:00:00Z")
    return moment.timestamp()


Moment = Annotated[
    float,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["2027-06-30", "2027-06-30T12:00:00Z"]}),
]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)]


class KeyConfig(Section):
    """A key that clients show: only its hash stands here."""

    name: Name = Field(description="The name of the principal, for rules, the log and `meshproxy key revoke`.")
    hash: Annotated[str, AfterValidator(_hash)] = Field(
        description="sha256: and the hash of the key in hexadecimal, as `meshproxy key new` prints it; several, one a line, as from ${file:keys.txt}, "
        "are keys of one principal.",
        repr=False,
    )
    rights: Annotated[tuple[Literal["use", "view", "admin"], ...], Field(strict=False)] = Field(
        default=("use",),
        description="use: MCP. view: read the status. admin: act on the mesh, and all that view may.",
    )
    profiles: Words | None = Field(
        default=None, description="The only profiles whose addresses the key opens. Default: every address."
    )
    groups: Words = Field(default=(), description="Groups that rules may name.")
    expires: Moment | None = Field(
        default=None, description="The last day of the key, in UTC, or the moment of its end. Default: it has none."
    )

    @property
    def digests(self) -> tuple[bytes, ...]:
        """The SHA-256 hashes, 32 bytes each."""
        return digests_of(self.hash)


class JwtConfig(Section):
    """An identity provider whose access tokens are accepted."""

    issuer: Url = Field(description="Its issuer, byte for byte as in the claim iss and in its metadata.")
    audience: Annotated[str | Words, Field(union_mode="left_to_right")] = Field(
        description="Whom tokens must be for, by the claim aud: the URL of the mesh, or what the provider calls it; a list admits each. "
        "At a profile's address, the same with /NAME behind it is accepted, too."
    )
    scopes: Words = Field(default=(), description="Scopes that every token needs.")
    groups: str | None = Field(
        default=None,
        description="The claim that holds the subject's groups; dots lead into objects: realm_access.roles.",
    )
    subject: Annotated[str, Field(min_length=1)] = Field(default="sub", description="The claim that names the subject.")
    jwks: Annotated[str, Field(min_length=1)] = Field(
        default="auto",
        description="Where its keys are: auto, as its metadata says; a URL; or a file, relative to this one.",
    )
    algorithms: Annotated[tuple[Algorithm, ...], Field(strict=False)] = Field(
        default=("RS256", "ES256"), description="The signatures that are accepted; no others, whatever a token says."
    )
    leeway: Grace = Field(default=60.0, description="How far its clock may be from this one.")
    implies: FrozenMapping[Words] = Field(
        default_factory=FrozenMapping,
        description="Scopes that a scope includes: {admin: [read, write]}. One includes files:read if it is files in any case.",
    )
    rights: Annotated[tuple[Literal["use", "view", "admin"], ...], Field(strict=False)] = Field(
        default=("use",), description="As those of a key."
    )
    profiles: Words | None = Field(default=None, description="As those of a key.")

    @field_validator("issuer", "jwks")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        if url.startswith("http://") and not is_loopback(urlsplit(url).hostname or ""):
            raise ValueError(
                "must begin with https://, since whoever can change what is fetched there lets in whom he likes"
            )
        return url

    @field_validator("algorithms")
    @classmethod
    def _are_some(cls, algorithms: tuple[str, ...]) -> tuple[str, ...]:
        if not algorithms:
            raise ValueError("cannot be empty; remove the key for RS256 and ES256")
        return algorithms

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom tokens may be for."""
        return (self.audience,) if isinstance(self.audience, str) else self.audience


class AuthConfig(Section):
    """Who may come in. With this section, even an empty one, a request without a valid credential is refused."""

    keys: Annotated[tuple[KeyConfig, ...], Field(strict=False)] = Field(
        default=(), description="Keys that clients show in Authorization: Bearer; made by `meshproxy key new NAME`."
    )
    jwt: Annotated[tuple[JwtConfig, ...], Field(strict=False)] = Field(
        default=(),
        description="Identity providers whose tokens clients show; the mesh is an OAuth 2.1 resource server.",
    )
    anonymous: Flag = Field(
        default=False, description="true: callers that show no credential come in as the principal anonymous."
    )

    @field_validator("jwt")
    @classmethod
    def _are_of_different_issuers(cls, jwt: tuple[JwtConfig, ...]) -> tuple[JwtConfig, ...]:
        seen: set[str] = set()
        for index, one in enumerate(jwt):
            if one.issuer in seen:
                raise refusal("is there already; put what both say into one entry", index, "issuer")
            seen.add(one.issuer)
        return jwt

    @field_validator("keys")
    @classmethod
    def _are_distinct(cls, keys: tuple[KeyConfig, ...]) -> tuple[KeyConfig, ...]:
        names: Mapping[str, int] = {}
        digests: dict[bytes, str] = {}
        for index, key in enumerate(keys):
            if key.name in names:
                raise refusal(f"another key is called {key.name!r} already; give each its name", index, "name")
            names = {**names, key.name: index}
            for digest in key.digests:
                if (other := digests.setdefault(digest, key.name)) != key.name:
                    raise refusal(f"is the hash of key {other!r} too; make a key for each with key new", index, "hash")
        return keys


class Who(Section):
    """Which principals a rule is about: those that any of these names. All are globs, but for groups and scopes."""

    keys: Words = Field(default=(), description="Names of keys, as globs.")
    groups: Words = Field(default=(), description="Groups, of keys and of tokens.")
    subjects: Words = Field(default=(), description="Subjects of tokens, as globs.")
    scopes: Words = Field(default=(), description="Scopes of tokens.")
    certificates: Words = Field(default=(), description="Names in client certificates, as globs.")

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if not any(getattr(self, key) for key in type(self).model_fields):
            raise refusal("names nobody; write who: any for everybody")
        return self


class Rule(Section):
    """One rule: it decides about what its `deny` or its `allow` matches, if the rest of it holds."""

    who: Annotated[
        Annotated[Literal["any", "anonymous", "local"], Tag("word")] | Annotated[Who, Tag("names")],
        Discriminator(lambda value: "names" if isinstance(value, (dict, Who)) else "word"),
    ] = Field(
        default="any",
        description="Whom it is about: any, anonymous, local (the client over stdio), or keys, groups, subjects, scopes and certificates.",
    )
    allow: Words = Field(default=(), description="Public names or URIs, as globs, that may be seen and used.")
    deny: Words = Field(default=(), description="The same for what may not, even if allow matches it too.")
    kinds: Annotated[tuple[Literal["tools", "resources", "templates", "prompts"], ...], Field(strict=False)] = Field(
        default=("tools", "resources", "templates", "prompts"), description="The kinds that it is about."
    )
    upstreams: Words = Field(default=("*",), description="The upstreams that it is about, as globs.")
    only: Literal["read_only"] | None = Field(
        default=None, description="read_only: of the tools in allow, those whose readOnlyHint is true, and no others."
    )
    confirm: Literal["destructive"] | None = Field(
        default=None,
        description="destructive: before a tool runs that says destructiveHint, or says nothing of it, its caller is asked; one who cannot be asked is refused.",
    )

    when: Annotated[str, AfterValidator(_condition)] | None = Field(
        default=None,
        description="A condition in CEL (needs meshproxy[cel]): the rule decides where it is true. jwt has the claims of the caller's token; mcp.tool, mcp.prompt and mcp.resource have "
        "name, what the upstream calls it, target, the upstream, and arguments, those of a call. Where it cannot be decided, what it is about is forbidden. "
        "With it alone, without allow and deny, the rule allows.",
        examples=["jwt.dept == mcp.tool.target", "mcp.tool.arguments.path.startsWith('/tmp/')"],
    )

    @property
    def globs(self) -> tuple[str, ...]:
        """What it allows."""
        return self.allow or (("*",) if self.when is not None and not self.deny else ())

    @model_validator(mode="after")
    def _decides_something(self) -> Self:
        if not self.allow and not self.deny and self.when is None:
            raise refusal("decides nothing; it needs allow or deny, such as allow: ['docs_*']")
        return self


class Profile(Section):
    """A choice of upstreams and components with an address of its own. Names are those of the mesh, with namespaces."""

    instructions: str | None = Field(
        default=None, description="Advice for the model, in place of the mesh's own; the upstreams' follow."
    )
    upstreams: Words | None = Field(default=None, description="The upstreams in it. Default: all.")
    tools: Renaming = Field(
        default=Renaming(), description="Which tools are in it, and under which names, by public names."
    )
    resources: Selection = Field(default=Selection(), description="Which resources, by public URIs.")
    templates: Selection = Field(default=Selection(), description="Which resource templates, by public URI templates.")
    prompts: Renaming = Field(default=Renaming(), description="Which prompts, and under which names, by public names.")


class Profiles(FrozenMapping[Profile]):
    """Profiles by name."""

    __slots__ = ()

    @classmethod
    def accepted(cls, source: Any) -> Any:  # noqa: ARG003  # only the generic base needs it
        return dict[ProfileName, Profile]


def _profile_name(name: str) -> str:
    if not _PROFILE.fullmatch(name):
        raise ValueError("names an address, so it may have ASCII letters, digits, _, - and . only")
    return name


ProfileName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_profile_name)]
