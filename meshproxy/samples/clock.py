"""`clock`: what time it is somewhere, and what a time is elsewhere."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS
from pydantic import BaseModel, Field

server = MCPServer("clock", log_level="WARNING", instructions="Time zones are IANA names such as Europe/Paris.")

ZoneName = Annotated[str, Field(description="An IANA time zone, such as Europe/Paris or UTC")]


class Moment(BaseModel):
    """A moment as the clocks of one zone show it."""

    timezone: str
    time: str = Field(description="ISO 8601, with the offset from UTC")
    weekday: str


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # OSError: the name is that of a folder of the database, such as Europe.
        near = [known for known in sorted(available_timezones()) if name.lower().replace(" ", "_") in known.lower()]
        hint = f"did you mean {', '.join(near[:5])}?" if near else "it should be an IANA name such as Europe/Paris"
        # Not a tool's error alone: resources and prompts name zones too.
        raise MCPError(INVALID_PARAMS, f"There is no time zone {name!r}; {hint}") from None


def moment(time: datetime) -> Moment:
    return Moment(timezone=str(time.tzinfo), time=time.isoformat(timespec="seconds"), weekday=f"{time:%A}")


@server.tool(title="The time now")
def now(timezone: ZoneName = "UTC") -> Moment:
    """Tell what time it is now in a time zone."""
    return moment(datetime.now(zone(timezone)))


@server.tool(title="A time elsewhere")
def convert(
    time: Annotated[str, Field(description="ISO 8601, such as 2026-01-31T14:00; without an offset, as in `source`")],
    target: ZoneName,
    source: ZoneName = "UTC",
) -> Moment:
    """Tell what a time of one zone is in another."""
    try:
        given = datetime.fromisoformat(time)
    except ValueError as error:
        raise ToolError(f"{time!r} is no ISO 8601 time: {error}") from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=zone(source))
    return moment(given.astimezone(zone(target)))


@server.resource("clock://zones", title="All time zones", mime_type="text/plain")
def zones() -> str:
    """The names of all time zones, one a line."""
    return "\n".join(sorted(available_timezones()))


@server.resource("clock://now/{+timezone}", title="The time now in a zone", mime_type="text/plain")
def now_in(timezone: str) -> str:
    """What time it is now in a time zone."""
    return now(timezone).time


@server.prompt(title="Plan a meeting")
def plan_meeting(zones: str) -> str:
    """Find a time that suits people in several time zones, given as a list with commas."""
    times = "\n".join(f"- {name.strip()}: {now(name.strip()).time}" for name in zones.split(","))
    return f"It is now:\n{times}\n\nPropose three times next week that fall within working hours for everybody."
