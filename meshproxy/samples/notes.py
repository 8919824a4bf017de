"""`notes`: keeps short texts under titles, in memory or, with `NOTES_DIR` set, as files in that folder."""

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, unquote

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError
from pydantic import BaseModel, Field

server = MCPServer(
    "notes", log_level="WARNING", instructions="Search before you write: a note with the same title is replaced."
)

Title = Annotated[str, Field(description="The title of the note", min_length=1, max_length=80)]


class Note(BaseModel):
    """A text under its title."""

    title: str
    text: str


class Store:
    """The notes by title. With a folder, each is a file there whose name is the title, quoted as in a URL."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._notes: dict[str, str] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._notes = {unquote(file.stem): file.read_text("utf-8") for file in sorted(folder.glob("*.txt"))}

    def _file(self, folder: Path, title: str) -> Path:
        return folder / f"{quote(title, safe=' ')}.txt"

    def __setitem__(self, title: str, text: str) -> None:
        if self._folder is not None:
            self._file(self._folder, title).write_text(text, "utf-8")
        self._notes[title] = text

    def __delitem__(self, title: str) -> None:
        del self._notes[title]
        if self._folder is not None:
            self._file(self._folder, title).unlink(missing_ok=True)

    def get(self, title: str) -> str | None:
        return self._notes.get(title)

    def search(self, words: str) -> list[Note]:
        """Those that hold every one of the words, in any case; all for no words."""
        wanted = words.lower().split()
        return [
            Note(title=title, text=text)
            for title, text in self._notes.items()
            if all(word in f"{title}\n{text}".lower() for word in wanted)
        ]


store = Store(Path(folder) if (folder := os.environ.get("NOTES_DIR")) else None)


@server.tool(title="Write a note")
async def write(title: Title, text: str, context: Context) -> str:
    """Keep a text under a title. A note with the same title is replaced."""
    replaced = store.get(title) is not None
    store[title] = text
    await context.notify_resource_updated(f"note://{title}")
    return f"Replaced {title!r}." if replaced else f"Wrote {title!r}."


@server.tool(title="Search the notes")
def search(
    words: Annotated[str, Field(description="Every word must be in the note; none for all notes")] = "",
) -> list[Note]:
    """Find notes by words in their titles and texts."""
    return store.search(words)


@server.tool(title="Delete a note")
def delete(title: Title) -> str:
    """Delete the note with a title."""
    if store.get(title) is None:
        raise ToolError(f"There is no note {title!r}")
    del store[title]
    return f"Deleted {title!r}."


@server.resource("notes://all", title="All notes", mime_type="text/plain")
def everything() -> str:
    """All notes, one after the other."""
    return "\n\n".join(f"# {note.title}\n{note.text}" for note in store.search(""))


@server.resource("note://{title}", title="A note", mime_type="text/plain")
def note(title: str) -> str:
    """The note with a title."""
    text = store.get(title)
    if text is None:
        raise ResourceNotFoundError(f"There is no note {title!r}")
    return text


@server.prompt(title="Summarise the notes")
def summarise(words: str = "") -> str:
    """Summarise the notes that hold some words, or all of them."""
    notes = "\n\n".join(f"# {note.title}\n{note.text}" for note in store.search(words))
    return f"Summarise these notes in a few sentences:\n\n{notes}" if notes else "Say that there are no notes yet."
