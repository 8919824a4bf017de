"""Small useful servers that ship with the package, so that a first mesh needs nothing else: `notes` and `clock`.

Programs of their own, made with the SDK: nothing of the mesh imports them but the command that runs them, and they import
nothing of the mesh.
"""

from importlib import import_module
from typing import Final

NAMES: Final = ("clock", "notes")
"""The samples there are; each is a module here whose `server` is the SDK's."""


def run(name: str, transport: str = "stdio", port: int | None = None, *, until_eof: bool = False) -> None:
    """Serve a sample until the client leaves or a signal comes.

    Args:
        name: one of `NAMES`.
        transport: `stdio` or `http`.
        port: with `http`, where to listen on the loopback interface; None or 0 for any free port.
        until_eof: with `http`, also end when standard input does, as a child does that must not outlive its parent.

    Over HTTP the first and only line on stdout is the URL, once the server accepts connections.

    Raises:
        OSError: the port is taken.
    """
    server = import_module(f"meshproxy.samples.{name}").server
    if transport == "stdio":
        server.run("stdio")
    else:
        from meshproxy.samples.http import serve  # noqa: PLC0415  - not needed over stdio, and not cheap

        serve(server, port or 0, until_eof=until_eof)
