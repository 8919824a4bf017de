"""`meshproxy list`: what a mesh offers, by kind."""

import shutil
import sys
from collections.abc import Sequence

import typer

from meshproxy.cli.entry import note
from meshproxy.cli.headers import headers_of
from meshproxy.cli.peer import Peer, asked
from meshproxy.cli.summary import how_many
from meshproxy.cli.text import one_line, show, show_json
from meshproxy.kinds import KINDS, KindSpec
from meshproxy.observe.spelling import named
from meshproxy.wire.codec import loads
from meshproxy.wire.protocol import Era


def show_listing(target: str, plural: str | None, *, headers: Sequence[str], as_json: bool) -> int:
    """List a file or a URL; 1 if an upstream, or a kind of one, is missing from it."""
    kinds = [spec for spec in KINDS.values() if plural in (None, spec.plural)]

    async def question(peer: Peer) -> int:
        await peer.settled()
        listings = {spec: loads(peer.server.composite.snapshot.listing(spec.kind, Era.MODERN)) for spec in kinds}
        if as_json:
            found = {spec.items: items for spec, items in listings.items()}
            show_json(found)
        else:
            _show(listings)
        for line in (*peer.failures, *map(str, peer.server.composite.snapshot.collisions)):
            note(f"warning: {line}")
        return 1 if peer.failures else 0

    return asked(target, headers_of(headers), question)


def _show(listings: dict[KindSpec, list[dict[str, object]]]) -> None:
    shown = {spec: items for spec, items in listings.items() if items} or listings
    for index, (spec, items) in enumerate(shown.items()):
        if index:
            show()
        typer.echo(typer.style(how_many(len(items), spec), bold=True))
        width = min(max((len(str(item[spec.key])) for item in items), default=0), 48)
        for item in items:
            about = one_line(item.get("description") or item.get("title") or (item.get("name") if spec.by_uri else ""))
            show(_cut(f"  {named(str(item[spec.key])):{width}}  {about}".rstrip()))


def _cut(line: str) -> str:
    """A line that fits a terminal; whole, for a pipe."""
    room = shutil.get_terminal_size().columns
    return line if len(line) <= room or not sys.stdout.isatty() else f"{line[: room - 1]}…"
