"""What the mesh tells those who run it: the section `observe` of a config. Place: config."""

from typing import Annotated, Literal

from pydantic import Field

from meshproxy.config.sections import Section
from meshproxy.config.values import Places, Size

__all__ = ["AccessLogConfig", "Arguments", "AuditConfig", "CallsConfig", "ObserveConfig"]

Arguments = Literal["none", "keys", "all"]


class CallsConfig(Section):
    """The calls that are remembered, for the page and `meshproxy calls`, in memory alone."""

    keep: Places = Field(default=1000, description="How many requests that have ended are remembered; 0 for none.")
    arguments: Arguments = Field(
        default="none",
        description="What is remembered of their arguments: none; keys, the names alone; or all, without what the config holds as a secret.",
    )


class AuditConfig(Section):
    """The audit log: who used what, and what the mesh decided, in a file that only grows."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="The file, relative to this one; made if it is not there, in a directory that is. JSON, a line for each call and each decision."
    )
    arguments: Arguments = Field(
        default="none",
        description="What is kept of their arguments: none; keys, the names alone; or all, without what is or looks like a secret.",
    )
    size: Size = Field(default=64 * 1024**2, description="When a file is put aside, as FILE.1, and a new one begun.")
    keep: Places = Field(default=5, description="How many of those put aside stay.")


class AccessLogConfig(Section):
    """The access log: a line for each request of a client, in a file of its own."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="The file, relative to this one; made if it is not there, in a directory that is. JSON, a line for each request, without its arguments."
    )
    size: Size = Field(default=64 * 1024**2, description="When a file is put aside, as FILE.1, and a new one begun.")
    keep: Places = Field(default=5, description="How many of those put aside stay.")


class ObserveConfig(Section):
    """What is watched, and who is told."""

    audit: AuditConfig | None = Field(
        default=None, description="The audit log: {file: audit.jsonl}. Default: there is none."
    )
    access_log: AccessLogConfig | None = Field(
        default=None, description="The access log: {file: access.jsonl}. Default: there is none."
    )
    calls: CallsConfig = Field(default=CallsConfig(), description="The calls that are remembered.")
    traces: Literal["auto", "off"] = Field(
        default="auto",
        description="auto: calls are traced if OTEL_* says where to, which needs meshproxy[otel]; off: they are not.",
    )
