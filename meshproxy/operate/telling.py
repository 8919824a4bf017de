"""How a person has each known client use the mesh: a line, an entry of a file, or a link. Place: operate; pure.

The entries are those that `meshproxy connect` writes. A key is never in any of them: where the mesh asks for one, its place is.
"""

from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from meshproxy.http.loopback import is_loopback
from meshproxy.operate.client import Client, Entry
from meshproxy.operate.client_files import rewritten
from meshproxy.operate.clients import CLIENTS, OTHER

__all__ = ["PLACEHOLDER", "told"]

PLACEHOLDER: Final = "YOUR_KEY"
"""What stands where the caller's key goes."""

Way = dict[str, Any]


def told(name: str, url: str, *, needs_key: bool) -> list[dict[str, Any]]:
    """For each client, by title: its id and title, and its ways, each with a kind (`command`, `file` or `link`), a text to copy or to open, a note, and the place of a file."""
    headers = {"Authorization": f"Bearer {PLACEHOLDER}"} if needs_key else {}
    entry = Entry(url, headers, "npx", _bridge(url, headers))
    clients = sorted(CLIENTS.values(), key=lambda client: client.title.lower())
    return [
        {"id": client.key, "title": client.title, "ways": _ways(client, name, entry)} for client in (*clients, OTHER)
    ]


def _ways(client: Client, name: str, entry: Entry) -> list[Way]:
    ways: list[Way] = []
    if client.link is not None and (link := client.link(name, entry)):
        ways.append({"kind": "link", "text": link, "note": f"Opens {client.title}, which asks."})
    if client.line is not None:
        ways.append({"kind": "command", "text": client.line(name, entry), "note": client.line_note})
    written = client.write(name, replace(entry, is_program=client.only_programs))
    suffix = client.shown[client.shown.rindex(".") :]
    text = rewritten("", suffix, client, [], name, written).rstrip("\n")
    ways.append({"kind": "file", "place": client.shown, "text": text, "note": client.file_note})
    return ways


def _bridge(url: str, headers: dict[str, str]) -> tuple[str, ...]:
    """The arguments of npx for a client that starts programs only, wherever the mesh is."""
    parts = urlsplit(url)
    is_plain = parts.scheme == "http" and not is_loopback(parts.hostname or "")
    options = [word for name, value in headers.items() for word in ("--header", f"{name}: {value}")]
    return ("-y", "mcp-remote", url, *options, *(["--allow-http"] if is_plain else []))
