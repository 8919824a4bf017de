"""A server with what a form has to be made for: nested objects, lists, enums, defaults and alternatives; and with calls that talk, ask and take their time.

What the page is tested with, and what its pictures show. Run as `python -m tests.servers.trips`; `--wait SECONDS` is how long a search takes.
"""

import asyncio
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import AudioContent, Completion, ImageContent, ResourceLink, TextContent
from pydantic import BaseModel, Field
from tests.servers.conformance import AUDIO, IMAGE
from tests.servers.run import parser, run

CITIES = ["Amsterdam", "Antwerp", "Athens", "Berlin", "Bern", "Vienna"]


class Address(BaseModel):
    """Where somebody lives."""

    street: str
    city: str = "Berlin"


class Traveller(BaseModel):
    """Who travels."""

    name: str = Field(description="As in the passport")
    age: int | None = Field(default=None, ge=0, le=130)
    address: Address


class Train(BaseModel):
    """By rail."""

    by: Literal["train"] = "train"
    seat: Literal["window", "aisle"] = "window"


class Bike(BaseModel):
    """By bicycle."""

    by: Literal["bike"] = "bike"
    gears: int = 7


class Trip(BaseModel):
    """What was booked."""

    number: str
    travellers: list[str]
    stops: list[str]
    by: str
    extras: list[str]


class Consent(BaseModel):
    """What is asked before something is paid."""

    agree: bool = Field(default=False, description="Pay now")
    note: str = Field(default="", description="For the receipt")


def server(wait: float) -> MCPServer[Any]:
    """The server; a search takes `wait` seconds."""
    made: MCPServer[Any] = MCPServer("trips", instructions="Book trips by rail and by bicycle.", log_level="CRITICAL")

    @made.tool(title="Book a trip")
    async def book(
        travellers: Annotated[list[Traveller], Field(description="Everybody who comes along", min_length=1)],
        stops: Annotated[list[str], Field(description="Cities, in order")],
        way: Annotated[Train | Bike, Field(discriminator="by", description="How to get there")],
        extras: list[Literal["breakfast", "insurance", "lounge"]] = [],  # noqa: B006
        flexible: bool = False,  # noqa: FBT001, FBT002
    ) -> Trip:
        """Book a trip for one or more travellers.

        The answer has the number of the booking.
        """
        detail = way.seat if isinstance(way, Train) else f"{way.gears} gears"
        return Trip(
            number=f"T{len(stops)}{len(travellers)}{'F' if flexible else ''}",
            travellers=[f"{one.name} of {one.address.city}" for one in travellers],
            stops=stops,
            by=f"{way.by}, {detail}",
            extras=list(extras),
        )

    @made.tool(title="Search for connections", structured_output=False)
    async def search(to: str, ctx: Context) -> list[TextContent | ResourceLink]:
        """Search all timetables, which takes a while, and says how far it is."""
        for step in range(1, 5):
            await ctx.info(f"timetable {step} of 4")
            await ctx.report_progress(step, 4, f"timetable {step}")
            await asyncio.sleep(wait / 4)
        link = ResourceLink(type="resource_link", name="timetable", uri="trips://timetable/berlin")
        return [TextContent(type="text", text=f"3 connections to {to}"), link]

    @made.tool(title="Pay for a trip")
    async def pay(number: str, ctx: Context) -> str:
        """Pay, once somebody has agreed."""
        answer = await ctx.elicit(f"Pay 120 EUR for {number}?", Consent)
        agreed = answer.action == "accept" and answer.data.agree
        return f"{number} is paid: {answer.data.note}" if agreed else f"{number} is not paid"

    @made.tool(title="Show a postcard", structured_output=False)
    def postcard() -> list[ImageContent | AudioContent]:
        """A picture, and how it sounds there."""
        return [
            ImageContent.model_validate(IMAGE),
            AudioContent.model_validate(AUDIO),
        ]

    @made.tool(title="Cancel a trip")
    def cancel(number: str) -> str:
        """Cancel a booking."""
        raise ValueError(f"there is no trip {number}")

    @made.resource("trips://timetable/{city}")
    def timetable(city: str) -> str:
        """Departures of a city."""
        return f"{city}: 08:12, 10:12, 12:12"

    @made.resource("trips://rules", mime_type="application/json")
    def rules() -> str:
        """What holds for every trip."""
        return '{"refund": "until the day before", "bikes": true}'

    @made.prompt(title="Plan a weekend")
    def weekend(city: str, budget: str = "200 EUR") -> str:
        """Plan two days somewhere."""
        return f"Plan a weekend in {city} for {budget}."

    @made.completion()
    async def complete(_ref: Any, argument: Any, _context: Any) -> Completion:
        return Completion(values=[city for city in CITIES if city.lower().startswith(argument.value.lower())])

    return made


if __name__ == "__main__":
    arguments = parser(__doc__ or "")
    arguments.add_argument("--wait", type=float, default=0.4)
    given = arguments.parse_args()
    run(server(given.wait)._lowlevel_server, given)
