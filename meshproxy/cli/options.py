"""What several commands have in common as the user sees them: options, arguments, and how the module of a command is come by. Place: cli, under the `*_app` modules."""

import importlib
from typing import Annotated, Any

import typer

from meshproxy.cli.completing import upstreams

__all__ = ["AsJson", "DryRun", "Headers", "Upstream", "module_of"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, as a diff, and change nothing.")]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'NAME: VALUE'",
        show_default=False,
        help="An HTTP header for the requests to a mesh that runs, as in 'Authorization: Bearer ...'. Can be repeated.",
    ),
]
Upstream = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=upstreams, help="The upstream, as the config calls it."
    ),
]


def module_of(name: str) -> Any:
    """That of a command, imported when it runs. The log's comes first, since it decides what structlog brings along."""
    importlib.import_module("meshproxy.observe.logs")
    return importlib.import_module(f"meshproxy.cli.{name}")
