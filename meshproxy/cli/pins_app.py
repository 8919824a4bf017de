"""`meshproxy pins` as the user sees it: names, arguments, options and help. What each does is in a module of its own, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any

import typer

from meshproxy.cli.completing import upstreams
from meshproxy.cli.options import AsJson, module_of

__all__ = ["pins_app"]

pins_app = typer.Typer(
    name="pins",
    help="See and approve what upstreams offer, against what is pinned in mesh.lock.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME ...] [FILE]",
        show_default=False,
        autocompletion=upstreams,
        help="Upstreams, or public names or URIs of components; all, without any. FILE, the config, is mesh.yaml if none is named.",
    ),
]


@pins_app.command("list")
def list_(words: Words = None, as_json: AsJson = False) -> Any:
    """List what is pinned. Nothing is started."""
    return module_of("pins").list_(words or [], as_json=as_json)


@pins_app.command()
def diff(words: Words = None, as_json: AsJson = False) -> Any:
    """Start the pinned upstreams, list them, and show how what they offer differs from what is pinned.

    Exits with 0 if that worked, and with 1 if one of them could not be listed.
    """
    return module_of("pins").diff(words or [], as_json=as_json)


@pins_app.command()
def verify(words: Words = None, as_json: AsJson = False) -> Any:
    """The same, for continuous integration: exits with 1 if anything changed, is new, or could not be listed.

    \b
    Examples:
      meshproxy pins verify
      meshproxy pins verify docs deploy/mesh.yaml --json
    """
    return module_of("pins").verify(words or [], as_json=as_json)


@pins_app.command()
def approve(words: Words = None, as_json: AsJson = False) -> Any:
    """Pin what upstreams offer now, and show how it differs from what was pinned. A mesh that serves FILE offers it at once.

    \b
    Examples:
      meshproxy pins approve docs
      meshproxy pins approve docs_search mesh.yaml
      meshproxy pins approve
    """
    return module_of("pins").approve(words or [], as_json=as_json)
