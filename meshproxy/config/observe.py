"""What the mesh tells those who run it: the section `observe` of a config. Place: config."""

from typing import Literal

from pydantic import Field

from meshproxy.config.upstream import Section
from meshproxy.config.values import Places

__all__ = ["Arguments", "CallsConfig", "ObserveConfig"]

Arguments = Literal["none", "keys", "all"]


class CallsConfig(Section):
    """The calls that are remembered, for the page and `meshproxy calls`, in memory alone."""

    keep: Places = Field(default=1000, description="How many requests that have ended are remembered; 0 for none.")
    arguments: Arguments = Field(
        default="none",
        description="What is remembered of their arguments: none; keys, the names alone; or all, without what the config holds as a secret.",
    )


class ObserveConfig(Section):
    """What is watched, and who is told."""

    calls: CallsConfig = Field(default=CallsConfig(), description="The calls that are remembered.")
