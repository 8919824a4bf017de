"""The sections that an upstream's part of a config has: how long, how much and how often, and what of it is served. Pure models."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from meshproxy.config.frozen import FrozenMapping
from meshproxy.config.values import (
    Bound,
    Count,
    Deadline,
    Duration,
    Grace,
    MaybeRate,
    Places,
    Repeats,
    ResultSize,
)
from meshproxy.limits import MAX_MESSAGE


class Section(BaseModel):
    """A mapping in the file: strict, frozen, and silent about its values when it refuses them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Timeouts(Section):
    """Deadlines of one upstream, in seconds; None is no limit."""

    connect: Deadline = Field(default=30.0, description="How long starting or connecting and the handshake may take.")
    list: Deadline = Field(default=15.0, description="How long one listing may take, all pages included.")
    call: Deadline = Field(default=300.0, description="How long one call, read, prompt or completion may take.")
    idle: Duration = Field(
        default=None,
        description="Close a connection that nobody has used for this long; it opens again when it is needed.",
    )
    shutdown: Duration = Field(
        default=5.0, description="How long a process or session may take to end before it is killed."
    )


class Limits(Section):
    """How much may be asked of one upstream. A call that is beyond fails at once, with an error that says when to come again."""

    concurrency: Bound = Field(
        default=None,
        description="Calls in flight at one time, those included that wait for their client's answer; none: any number. Further ones wait in the queue.",
        json_schema_extra={"default": "none"},
    )
    queue: Places = Field(
        default=256,
        description="Calls that may wait for others to end. A place that becomes free goes to the client that has the fewest calls in flight.",
    )
    queue_wait: Grace = Field(default=30.0, description="How long a call waits in the queue before it fails.")
    rate: MaybeRate = Field(
        default=None,
        description="How many calls may begin in a second, minute or hour, such as 100/s, 30/m, 1000/h, and as many at once; or none.",
        json_schema_extra={"default": "none"},
    )
    result: ResultSize = Field(
        default=MAX_MESSAGE,
        description="Largest answer to a call: a larger one is not read to its end, and its call fails.",
    )


class Breaker(Section):
    """When an upstream whose calls fail is left in peace: calls fail at once until the pause is over, and then one of them tries."""

    failures: Count = Field(
        default=5, description="Calls in a row without an answer: a broken connection, a timeout, HTTP 5xx."
    )
    pause: Deadline = Field(default=30.0, description="How long it is left in peace before one call tries it again.")

    @field_validator("pause")
    @classmethod
    def _ends(cls, pause: float | None) -> float:
        if pause is None:
            raise ValueError("never is not possible here; write a duration such as 30s")
        return pause


class Retry(Section):
    """How often calls are repeated whose answer was lost. Nothing else is ever repeated."""

    reads: Repeats = Field(
        default=1, description="Repeats of resources/read, prompts/get and completion/complete, which change nothing."
    )
    idempotent_tools: Repeats = Field(
        default=0, description="Repeats of tools that are annotated with readOnlyHint or idempotentHint."
    )


class Selection(Section):
    """Which components of one kind are served. Patterns match origins: names or URIs at the upstream."""

    include: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=("*",),
        description="Globs (*, ?, [abc]; upper and lower case differ): what matches none of them is not served.",
    )
    exclude: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="Globs: what matches one of them is not served, even if it is included."
    )


class Renaming(Selection):
    """Which components of one kind are served, and under which names. Patterns match origins: names or URIs at the upstream."""

    rename: FrozenMapping[str] = Field(
        default_factory=FrozenMapping,
        description="New names by the name or URI at the upstream, without the namespace.",
    )

    @field_validator("rename")
    @classmethod
    def _names_are_distinct(cls, rename: FrozenMapping[str]) -> FrozenMapping[str]:
        origins: dict[str, str] = {}
        for origin, name in rename.items():
            if not name:
                raise refusal("a new name cannot be empty", origin)
            if (other := origins.setdefault(name, origin)) != origin:
                raise refusal(f"{other!r} is renamed to {name!r} already", origin)
        return rename


def refusal(message: str, *keys: str | int) -> PydanticCustomError:
    """An error of a whole section, at what its keys lead to."""
    return PydanticCustomError("refused", "{message}", {"message": message, "keys": keys})
