"""`meshproxy auth` as the user sees it: names, arguments, options and help. What each does is in `auth`, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any

import typer

from meshproxy.cli.options import AsJson, Upstream, module_of

__all__ = ["auth_app"]

auth_app = typer.Typer(
    name="auth",
    help="Log in at upstreams that want it, see where one is logged in, and log out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Config = Annotated[str, typer.Argument(metavar="[FILE]", help="The config, YAML or JSON.")]


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
    return module_of("auth").login(name, file, browser=not (no_browser or manual), manual=manual)


@auth_app.command()
def status(
    file: Config = "mesh.yaml",
    as_json: AsJson = False,
) -> Any:
    """Say of each upstream with `auth` whether somebody is logged in, where, until when and for what."""
    return module_of("auth").status(file, as_json=as_json)


@auth_app.command()
def logout(name: Upstream, file: Config = "mesh.yaml") -> Any:
    """Forget the tokens of an upstream, and have them revoked where its authorization server does that. A mesh that serves FILE stops using them."""
    return module_of("auth").logout(name, file)
