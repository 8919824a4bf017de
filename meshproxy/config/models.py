"""A whole config file as frozen objects: `MeshConfig` and its sections.

Made by `load`, or by hand in Python: `MeshConfig(upstreams={"docs": {"url": "https://docs.example.com/mcp"}})`. Unknown keys and
wrong types raise pydantic's ValidationError. The descriptions are the ones that an editor shows, through `schema`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from meshproxy.config.access import AuthConfig, Profiles, Rule
from meshproxy.config.cluster import ClusterConfig
from meshproxy.config.frozen import FrozenMapping
from meshproxy.config.login import TokenExchange
from meshproxy.config.observe import ObserveConfig
from meshproxy.config.secrets import Scrubber
from meshproxy.config.sections import Renaming, Section, Timeouts, refusal
from meshproxy.config.upstream import ConfigSource, Provenance, UpstreamDefaults, UpstreamSpec
from meshproxy.config.values import (
    Count,
    Deadline,
    Duration,
    Flag,
    Grace,
    Listen,
    Name,
    Port,
    Size,
    State,
    UnlessFalse,
    Url,
    UrlPath,
    Workers,
)
from meshproxy.http.loopback import is_loopback

__all__ = [
    "ConfigSource",
    "MeshConfig",
    "ReloadConfig",
    "Renaming",
    "ServerConfig",
    "Timeouts",
    "UpstreamDefaults",
    "UpstreamSpec",
    "Upstreams",
]


class TlsConfig(Section):
    """Encrypted connections. The files are followed: what replaces them, or an edit that names others, is taken up without a start."""

    certificate: Annotated[str, Field(min_length=1)] = Field(
        description="The file with the certificate chain, PEM, relative to this file."
    )
    key: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="The file with its key, PEM. Default: the certificate's."
    )
    client_ca: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="A file with authorities, PEM: clients that show a certificate of theirs come in as the principal that it names, and a request without a "
        "valid credential is refused.",
    )


class MetricsConfig(Section):
    """Where metrics are read."""

    listen: Listen | None = Field(
        default=None,
        description="An address of its own for /metrics, as 127.0.0.1:9464: whoever reaches it may read them. Default: none, they are read at server.port.",
    )


def _or_not(schema: dict[str, Any]) -> None:
    """A section may be written as true, or false, too."""
    schema["anyOf"] = [{"type": "boolean"}, schema["anyOf"][0]]
    schema["default"] = True


class ServerConfig(Section):
    """The endpoint: but for `auth` and the files of `tls`, it stays as it is until the mesh is started again."""

    auth: AuthConfig | None = Field(
        default=None,
        description="Who may come in; without it, whoever reaches the port may. An edit is in force at once.",
    )
    allow_unauthenticated: Flag = Field(
        default=False,
        description="true: without auth, whoever can reach host may use the mesh, and with it every upstream.",
    )
    tls: TlsConfig | None = Field(default=None, description="Serve https. Default: http, in the clear.")
    public_url: Url | None = Field(
        default=None,
        description="Where clients find the mesh, without path: https://mesh.example.com. Its metadata says so, and its host is an allowed one.",
    )
    host: Annotated[str, Field(min_length=1)] = Field(
        default="127.0.0.1",
        description="Address to listen on. Anything but this machine alone needs auth, or allow_unauthenticated: true.",
    )
    port: Port = Field(default=8000, description="TCP port to listen on; 0 takes any free one.")
    path: UrlPath = Field(default="/mcp", description="Path of the MCP endpoint.")
    allowed_hosts: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(),
        description="More Host header values to accept. The names of this machine are accepted when it listens on loopback.",
    )
    allowed_origins: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(),
        description="Origins of web pages that may call it from a browser (CORS), such as https://app.example.com; with any port unless "
        "one is named. Those of this machine may when it listens on loopback.",
    )
    page: Flag = Field(
        default=True,
        description="Serve the web page at /. Without auth it is for this machine alone; with auth it asks for a key with the right view or admin.",
    )
    max_body: Size = Field(default=4 * 1024**2, description="Largest request body: a size such as 4MiB.")
    max_sessions: Count = Field(
        default=10_000,
        description="Most client sessions open at once. If there are more, those that were left behind are closed first, then those of the "
        "address that has the most.",
    )
    session_idle_timeout: Deadline = Field(
        default=1800.0, description="Close a client session that has been silent for this long."
    )
    metrics: Annotated[MetricsConfig | None, UnlessFalse] = Field(
        default=MetricsConfig(),
        description="GET /metrics, in the format of Prometheus: for the right view where there is auth, else for this machine alone. false for none, or a section.",
        json_schema_extra=_or_not,
    )
    workers: Workers = Field(
        default=1,
        description="Processes that share the port; auto is one for each core that the mesh may use. Each has upstreams of its own; docs/scale.md says what that means.",
    )
    list_grace: Grace = Field(
        default=3.0, description="During start-up, how long a listing waits for upstreams that are still starting."
    )

    @field_validator("public_url")
    @classmethod
    def _has_no_path(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).path.strip("/"):
            raise ValueError("has a path; write what stands before it, and the path under server.path")
        return None if url is None else url.rstrip("/")

    @field_validator("host")
    @classmethod
    def _is_private_or_says_so(cls, host: str, info: ValidationInfo) -> str:
        # True if one of the others is itself refused: one thing at a time.
        tls = info.data.get("tls")
        is_asked = info.data.get("auth", True) is not None or (tls is not None and tls.client_ca is not None)
        is_asked = is_asked or info.data.get("allow_unauthenticated", True)
        if not is_asked and not is_loopback(host):
            raise ValueError(
                f"{host} can be reached from other machines, and nothing asks who calls; listen on 127.0.0.1, make keys with "
                "`meshproxy key new` for server.auth, or set server.allow_unauthenticated: true if something in front of it asks"
            )
        return host


class ReloadConfig(Section):
    """How the mesh follows edits of its file."""

    watch: Flag = Field(default=True, description="Follow edits of this file. SIGHUP reloads it in any case.")
    drain_timeout: Duration = Field(
        default=30.0, description="How long running calls of a removed or changed upstream may take to end."
    )


class Upstreams(FrozenMapping[UpstreamSpec]):
    """Upstreams by name, in the file's order, which decides who wins a name that two of them offer."""

    __slots__ = ()

    @classmethod
    def accepted(cls, source: Any) -> Any:  # noqa: ARG003  # only the generic base needs it
        return dict[Name, UpstreamSpec]


class MeshConfig(Section):
    """A whole config. `defaults` are no part of it: `load` has put them into the upstreams."""

    name: Annotated[str, Field(min_length=1)] = Field(
        default="meshproxy", description="The name by which the mesh introduces itself to clients."
    )
    instructions: str | None = Field(
        default=None, description="Advice for the model, put before the upstreams' own instructions."
    )
    separator: Literal["_", "__", "-", "."] = Field(
        default="_", description="Between the namespace and the name of a tool or prompt."
    )
    state: State = Field(
        default="auto",
        description="Where the mesh keeps what it remembers over a restart: auto, a directory of its own where the platform keeps such; none, nowhere; "
        "or a directory, relative to this file. A change here takes effect when the mesh is started again.",
    )
    server: ServerConfig = Field(
        default=ServerConfig(),
        description="The endpoint. A change here takes effect when the mesh is started again, but for auth.",
    )
    reload: ReloadConfig = Field(default=ReloadConfig(), description="How edits of this file are followed.")
    observe: ObserveConfig = Field(
        default=ObserveConfig(), description="What the mesh tells those who run it. A change takes effect at once."
    )
    access: Annotated[tuple[Rule, ...], Field(strict=False)] | None = Field(
        default=None,
        description="Who may see and use what: the first rule that matches decides, and what none matches is forbidden. Without rules everybody may use everything.",
    )
    cluster: ClusterConfig = Field(
        default=ClusterConfig(),
        description="Several meshes on several machines that serve this file behind one address; docs/scale.md is the guide.",
    )
    profiles: Profiles = Field(
        default_factory=Profiles,
        description="Choices of upstreams and components by name, each at an address of its own: server.path/NAME.",
    )
    upstreams: Upstreams = Field(
        default_factory=Upstreams, description="The MCP servers to merge, by name: 1 to 64 characters each."
    )

    _source: ConfigSource = PrivateAttr(ConfigSource())
    _scrubber: Scrubber = PrivateAttr(Scrubber())

    @model_validator(mode="before")
    @classmethod
    def _name_the_upstreams(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(upstreams := data.get("upstreams"), Mapping):
            named = {
                name: {**upstream, "name": name} if isinstance(upstream, dict) else upstream
                for name, upstream in upstreams.items()
            }
            return {**data, "upstreams": named}
        return data

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        """What profiles and keys refer to is in the file: a slip of the pen there would open or close the wrong thing."""
        for name, profile in self.profiles.items():
            for index, upstream in enumerate(profile.upstreams or ()):
                if upstream not in self.upstreams:
                    raise refusal(f"there is no upstream {upstream!r}", "profiles", name, "upstreams", index)
        auth = self.server.auth
        keys = () if auth is None else [("keys", index, key.profiles) for index, key in enumerate(auth.keys)]
        tokens = () if auth is None else [("jwt", index, jwt.profiles) for index, jwt in enumerate(auth.jwt)]
        for section, index, profiles in (*keys, *tokens):
            for at, wanted in enumerate(profiles or ()):
                if wanted not in self.profiles:
                    where = ("server", "auth", section, index, "profiles", at)
                    raise refusal(f"there is no profile {wanted!r}", *where)
        return self

    @model_validator(mode="after")
    def _passes_no_token_on(self) -> Self:
        """A caller's credential is for the mesh, and must reach nobody else (basic/authorization, "Token Passthrough")."""
        if self.server.auth is not None:
            for name, spec in self.upstreams.items():
                if "authorization" in map(str.lower, spec.forward_headers):
                    message = (
                        "would hand the credentials that callers show the mesh to this upstream; remove authorization"
                    )
                    raise refusal(message, "upstreams", name, "forward_headers")
        return self

    @model_validator(mode="after")
    def _knows_whose_tokens(self) -> Self:
        """What is exchanged is what callers show."""
        auth = self.server.auth
        for name, spec in self.upstreams.items():
            if isinstance(spec.auth, TokenExchange) and (auth is None or not auth.jwt):
                message = "token_exchange needs callers that show tokens: say in server.auth.jwt whose are accepted"
                raise refusal(message, "upstreams", name, "auth")
        return self

    def model_post_init(self, context: Any) -> None:
        """Gather the secrets once, and take from `load` where the config came from."""
        secrets = [*self.cluster.secrets, *(secret for spec in self.upstreams.values() for secret in spec.secrets)]
        before = Scrubber()
        if isinstance(context, Provenance):
            self._source = context.source
            secrets += context.secrets.get("", ())
            before = context.scrubber or before
        self._scrubber = before.of(secrets)

    @property
    def source(self) -> ConfigSource:
        """Where it came from; not part of equality."""
        return self._source

    @property
    def scrubber(self) -> Scrubber:
        """Takes every secret of this config out of a text; not part of equality."""
        return self._scrubber

    @property
    def enabled(self) -> tuple[UpstreamSpec, ...]:
        """The upstreams to run, in the file's order."""
        return tuple(spec for spec in self.upstreams.values() if spec.enabled)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MeshConfig) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[Any, ...]:
        # A tuple, because the order of the upstreams matters and mappings are equal in any.
        return (
            self.name,
            self.instructions,
            self.separator,
            self.state,
            self.server,
            self.reload,
            self.observe,
            self.access,
            self.cluster,
            self.profiles,
            tuple(self.upstreams.values()),
        )
