"""`meshproxy auth` as the user sees it: names, arguments, options and help. What each does is in `auth`, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

import importlib
from typing import Annotated, Any

import typer

from meshproxy.cli.completing import upstreams

__all__ = ["auth_app"]

auth_app = typer.Typer(
    name="auth",
    help="Log in at upstreams that want it, see where one is logged in, and log out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Upstream = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=upstreams, help="The upstream, as the config calls it."
    ),
]
Config = Annotated[str, typer.Argument(metavar="[FILE]", help="The config, YAML or JSON.")]


def _auth() -> Any:
    importlib.import_module("meshproxy.observe.logs")
    return importlib.import_module("meshproxy.cli.auth")


@auth_app.command()
def login(
    name: Upstream,
    file: Config = "mesh.yaml",
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Open no browser: print the page, to be opened on this machine.")
    ] = False,
    manual: Annotated[
        bool,
        typer.Option(
            "--manual",
            help="For a machine without a browser: log in on another one, and paste the address that it ends at.",
        ),
    ] = False,
) -> Any:
    """Log in at an upstream with `auth: oauth`. A mesh that serves FILE uses it at once.

    The page to log in at goes to stdout, and everything else to stderr. The tokens are kept in the state directory, and refreshed from then on.

    \b
    Examples:
      meshproxy auth login linear
      meshproxy auth login linear mesh.yaml --manual
    """
    return _auth().login(name, file, browser=not (no_browser or manual), manual=manual)


@auth_app.command()
def status(
    file: Config = "mesh.yaml",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> Any:
    """Say of each upstream with `auth` whether somebody is logged in, where, until when and for what."""
    return _auth().status(file, as_json=as_json)


@auth_app.command()
def logout(name: Upstream, file: Config = "mesh.yaml") -> Any:
    """Forget the tokens of an upstream, and have them revoked where its authorization server does that. A mesh that serves FILE stops using them."""
    return _auth().logout(name, file)
