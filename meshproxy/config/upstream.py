"""One upstream as the file says it: `UpstreamSpec`, and the defaults that it shares with the others.

Two specs are equal if and only if nothing about the running upstream differs: values are compared as they are after interpolation, and
`connection` and `view` split what needs a new connection from what only changes how the upstream is shown. Neither a
repr nor a display shows a secret.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from meshproxy.config.frozen import SecretMapping
from meshproxy.config.login import AuthSetting, HeadersFromCommand
from meshproxy.config.secrecy import secrets_of_arguments, secrets_of_header, secrets_of_url, secrets_of_variable
from meshproxy.config.secrets import HIDDEN, Scrubber, shown_arguments, without_secrets
from meshproxy.config.sections import Breaker, Limits, Renaming, Retry, Section, Selection, Timeouts, refusal
from meshproxy.config.values import (
    Argument,
    Flag,
    HeaderName,
    HeaderValue,
    Name,
    Namespace,
    OneHeaderEach,
    Pinning,
    Program,
    Size,
    Transport,
    UnlessOff,
    Url,
    Variable,
)
from meshproxy.errors import Problem
from meshproxy.limits import KEPT_STDERR
from meshproxy.naming import default_namespace

COMMAND_KEYS: Final = ("command", "args", "env", "cwd")
OF_COMMANDS: Final = (*COMMAND_KEYS, "stderr")
"""What has a meaning for a command alone, be it how it is run or how it is watched."""
URL_KEYS: Final = ("url", "urls", "transport", "headers", "forward_headers", "auth")
VIEW_KEYS: Final = ("namespace", "required", "when_down", "tools", "resources", "templates", "prompts", "pin")
LIVE_KEYS: Final = ("limits", "breaker", "retry", "stderr")
CONNECTION_KEYS: Final = (*COMMAND_KEYS, *URL_KEYS, "start", "session", "timeouts")
RENAMED_KEYS: Final = ("tools", "resources", "prompts")

_TWICE: Final = "auth says what Authorization is; remove it here, or remove auth"


@dataclass(frozen=True)
class ConfigSource:
    """Where a config came from."""

    path: Path | None = None
    digest: str = ""
    """Of the file and the files that it refers to, as in `watch.content_digest`."""
    files: tuple[Path, ...] = ()
    """The file and the files that it refers to."""
    warnings: tuple[Problem, ...] = ()
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By upstream: line and column of its name, for what is found wrong with it when it runs."""
    rules: tuple[int, ...] = ()
    """The lines of the rules of `access`."""

    def problem(self, name: str, message: str) -> Problem:
        """Something wrong with the upstream `name`."""
        line, column = self.places.get(name, (None, None))
        return Problem(str(self.path or ""), line, column, f"upstreams.{name}", message)


@dataclass(frozen=True)
class Provenance:
    """What `load` hands to the models beside the values, as pydantic's validation context."""

    source: ConfigSource
    written: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By upstream: its values as they may be shown."""
    given: Mapping[str, tuple[Any, Any]] = field(default_factory=dict, repr=False)
    """By upstream: its values as they are written, and with what references stand for."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """By upstream, and of all under "": what came from `${file:}`, and from variables whose name says that it is a secret."""
    scrubber: Scrubber | None = None
    """Of the config before, whose secrets may be the same."""


class Environment(SecretMapping):
    """Variables for a process."""

    __slots__ = ()

    @classmethod
    def accepted(cls, source: Any) -> Any:  # noqa: ARG003  # only the generic base needs it
        return dict[Variable, Argument]


class Headers(SecretMapping):
    """HTTP request headers, named as they are written."""

    __slots__ = ()

    @classmethod
    def accepted(cls, source: Any) -> Any:  # noqa: ARG003  # only the generic base needs it
        return Annotated[dict[HeaderName, HeaderValue], OneHeaderEach]


def _or_off(schema: dict[str, Any]) -> None:
    """A section that may be `off` instead."""
    schema["anyOf"] = [{"enum": ["off", False]}, *(choice for choice in schema["anyOf"] if "$ref" in choice)]
    schema["default"] = "off"


class UpstreamDefaults(Section):
    """What can be said of every upstream, and so once for all, in `defaults`."""

    env: Environment = Field(
        default_factory=Environment,
        description="Environment variables for the process, added to the few safe ones that it inherits (such as HOME and PATH). "
        "Values are not shown; those that are secrets, by name or by look, are kept out of the log. Quote numbers and booleans.",
    )
    cwd: Program | None = Field(
        default=None,
        description="Working directory of the process, relative to this file. Default: this file's directory.",
    )
    transport: Annotated[Literal["streamable-http", "sse", "stdio"], Transport] = Field(
        default="streamable-http",
        description="How to talk to a url: streamable-http, or sse for servers of the 2024-11-05 protocol. A command always speaks stdio.",
    )
    headers: Headers = Field(
        default_factory=Headers,
        description="HTTP headers sent with every request to the url. Values are secrets; refer to them: Bearer ${TOKEN}.",
    )
    forward_headers: Annotated[tuple[HeaderName, ...], Field(strict=False)] = Field(
        default=(),
        description="Names of HTTP headers that each caller brings himself: his calls, and what else is his, go to this upstream with them. "
        "What headers has under such a name goes with what the mesh asks, as when it lists.",
    )
    namespace: Namespace = Field(
        default="",
        description="Put before the names of this upstream's components. Default: the upstream's name, with _ for what is no ASCII letter, "
        'digit, _ or -, and with a hash behind it if the name has letters beyond ASCII. "" serves them without a prefix.',
    )
    enabled: Flag = Field(default=True, description="false: as if the upstream were not in the file.")
    required: Flag = Field(
        default=False, description="true: starting and reloading fail if this upstream cannot be started."
    )
    start: Literal["eager", "lazy"] = Field(
        default="eager", description="When to start or connect: eager, at once; lazy, at first use."
    )
    when_down: Literal["keep", "hide"] = Field(
        default="keep", description="Whether its last known components stay listed while it is down: keep, or hide."
    )
    session: Literal["auto", "isolated", "shared"] = Field(
        default="auto",
        description="isolated: a session of its own for each client; shared: one for all; auto: isolated for a url, and for a command "
        "shared until the upstream shows that it talks to its callers.",
    )
    timeouts: Timeouts = Field(
        default=Timeouts(), description="Deadlines: durations such as 30s, 5m, 250ms, 1h30m, or never."
    )
    pin: Pinning = Field(
        default="off",
        description="What happens if a definition changes that was pinned in mesh.lock, beside this file, when it was first seen: off, nothing; warn, it is logged; "
        "block, the component is not offered either until `meshproxy pins approve`. A change takes effect at once.",
    )
    stderr: Size = Field(
        default=KEPT_STDERR,
        description="Of a command: how much of what it wrote to standard error last is kept. A change takes effect at once.",
    )
    limits: Limits = Field(default=Limits(), description="How much may be asked of it. A change takes effect at once.")
    breaker: Annotated[Breaker | None, UnlessOff] = Field(
        default=None,
        description="off, or when it is left in peace because its calls fail: {failures: 5, pause: 30s}. A change takes effect at once.",
        json_schema_extra=_or_off,
    )
    retry: Retry = Field(
        default=Retry(),
        description="How often what is safe to repeat is repeated if its answer is lost. A change takes effect at once.",
    )
    tools: Renaming = Field(default=Renaming(), description="Which tools are served, and under which names.")
    resources: Renaming = Field(default=Renaming(), description="Which resources are served, by URI.")
    # Without new names: what a client makes of a new template could not be led back to what it would be at the upstream.
    templates: Selection = Field(
        default=Selection(), description="Which resource templates are served, by URI template."
    )
    prompts: Renaming = Field(default=Renaming(), description="Which prompts are served, and under which names.")


class UpstreamSpec(UpstreamDefaults):
    """One upstream: a program to start (`command`) or a server to connect to (`url`). Its name is its identity across reloads."""

    name: Name = Field(description="Its name in the file.")
    command: Program | None = Field(
        default=None,
        description="The program to start, which speaks MCP on stdin and stdout. With a slash: relative to cwd.",
    )
    args: Annotated[tuple[Argument, ...], Field(strict=False)] = Field(
        default=(), description="Arguments of the command. Quote numbers."
    )
    url: Url | None = Field(default=None, description="Where the server is: http:// or https://.")
    urls: Annotated[tuple[Url, ...], Field(strict=False)] = Field(
        default=(),
        description="In place of url: where the replicas of one server are. The least busy one is taken, a session stays with its own, and one that "
        "cannot be reached rests while the others do its work.",
        json_schema_extra={"minItems": 1},
    )
    auth: AuthSetting

    _written: Mapping[str, Any] | None = PrivateAttr(None)
    _given: tuple[Any, Any] | None = PrivateAttr(None)
    _referred: tuple[str, ...] = PrivateAttr(())
    _secrets: tuple[str, ...] = PrivateAttr(())

    @field_validator("urls")
    @classmethod
    def _are_some(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if not urls:
            raise ValueError("needs at least one URL")
        return urls

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        if isinstance(data, dict):
            data = dict(data)
            if isinstance(name := data.get("name"), str):
                data.setdefault("namespace", default_namespace(name))
            if data.get("command") is not None:
                data.setdefault("transport", "stdio")
        return data

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        given = {key for key in self.model_fields_set if getattr(self, key) is not None}
        for key, message in conflicts(given, self.transport if "transport" in given else None):
            raise refusal(message, *filter(None, [key]))
        return self

    @model_validator(mode="after")
    def _shows_one_credential(self) -> Self:
        if self.auth is None or isinstance(self.auth, HeadersFromCommand):
            return self
        for name in self.headers:
            if name.lower() == "authorization":
                raise refusal(_TWICE, "headers", name)
        for at, name in enumerate(self.forward_headers):
            if name.lower() == "authorization":
                raise refusal(_TWICE, "forward_headers", at)
        return self

    def model_post_init(self, context: Any) -> None:
        """Take what `load` knows and the values do not tell: how they are written, and which of them are secrets."""
        if isinstance(context, Provenance):
            self._written = context.written.get(self.name)
            self._given = context.given.get(self.name)
            self._referred = context.secrets.get(self.name, ())
        self._secrets = (
            *self._referred,
            *secrets_of_arguments(self.args),
            *(secret for url in (self.url, *self.urls) for secret in secrets_of_url(url or "")),
            *(secret for name, value in self.env.items() for secret in secrets_of_variable(name, value)),
            *(secret for value in self.headers.values() for secret in secrets_of_header(value)),
            *filter(None, (getattr(self.auth, key, None) for key in ("client_secret", "private_key"))),
        )

    def is_of(self, written: Any, values: Any, referred: tuple[str, ...]) -> bool:
        """Whether it is what `load` would make of an upstream that is written so, with these values and these secrets in what it refers to."""
        if self._given is None or self._referred != referred:
            return False
        return is_same(self._given[0], written) and is_same(self._given[1], values)

    @property
    def address(self) -> str:
        """The URL that stands for the server where one is needed, as for its logins; "" for a command."""
        return self.url or next(iter(self.urls), "")

    @property
    def connection(self) -> tuple[Any, ...]:
        """What the process or connection depends on: a spec that differs in it needs a new one. Hashable."""
        return tuple(getattr(self, key) for key in CONNECTION_KEYS)

    @property
    def view(self) -> tuple[Any, ...]:
        """What only changes how the upstream is shown: a spec that differs in nothing else keeps its connection. Hashable."""
        return tuple(getattr(self, key) for key in VIEW_KEYS)

    @property
    def live(self) -> tuple[Any, ...]:
        """What limits and repeats calls, and how much is kept: it is in force at once, and costs no connection either. Hashable."""
        return tuple(getattr(self, key) for key in LIVE_KEYS)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear anywhere, for a `Scrubber`."""
        return self._secrets

    def display(self) -> dict[str, Any]:
        """What was set, as it may be shown: references as they are written, and no secret."""
        if self._written is not None:
            return dict(self._written)
        shown = self.model_dump(exclude_unset=True, exclude={"name"})
        # It was not written in a file, so a dollar is a dollar.
        if self.url is not None:
            shown["url"] = without_secrets(self.url)
        if self.urls:
            shown["urls"] = [without_secrets(url) for url in self.urls]
        if "args" in shown:
            shown["args"] = shown_arguments(self.args, lambda _: HIDDEN, without_secrets)
        return shown

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UpstreamSpec) and self._compared == other._compared

    def __hash__(self) -> int:
        return hash(self._compared)

    @property
    def _compared(self) -> tuple[Any, ...]:
        return (self.name, self.enabled, self.connection, self.view, self.live)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield "name", self.name
        yield from self.display().items()


def conflicts(given: Collection[str], transport: object = None) -> Iterator[tuple[str, str]]:
    """Which of an upstream's keys do not go together: pairs of a key ("" for none) and what is wrong with it."""
    if "command" in given and "url" in given:
        yield "url", "command and url exclude each other; an upstream is started or connected to, so remove one of them"
        return
    if "urls" in given and (other := next((key for key in ("command", "url") if key in given), None)):
        yield (
            "urls",
            f"{other} and urls exclude each other; write all of one server's replicas under urls, or remove urls",
        )
        return
    if not {"command", "url", "urls"}.intersection(given):
        yield "", "needs command (a program to start) or url (a server to connect to)"
        return
    way = "urls" if "urls" in given else "url"
    here, there, others = ("command", "url", URL_KEYS) if "command" in given else (way, "command", OF_COMMANDS)
    for key in others:
        if key in given and not (key == "transport" and transport == "stdio"):
            yield key, f"{key} is for upstreams with {there}, and this one has {here}; remove {key}"
    if here != "command" and transport == "stdio":
        yield "transport", f"stdio is for upstreams with command, and this one has {here}; use streamable-http or sse"
    if here == "urls" and transport == "sse":
        yield "transport", "sse is for one url: its sessions are connections; use url, or streamable-http"


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of a file are one, their types and the order of their keys included: 1 is not true, and what was referred to is not text."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)
