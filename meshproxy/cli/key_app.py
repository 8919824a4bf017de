"""`meshproxy key` as the user sees it: names, arguments, options and help. What each does is in `keys`, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

import importlib
from typing import Annotated, Any

import typer

__all__ = ["key_app"]

key_app = typer.Typer(
    name="key",
    help="Make, list and revoke the keys of those who may come in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Config = Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The config, YAML.")]
KeyName = Annotated[
    str, typer.Argument(metavar="NAME", show_default=False, help="The name of the key, which is its principal's.")
]


def _keys() -> Any:
    importlib.import_module("meshproxy.observe.logs")
    return importlib.import_module("meshproxy.cli.keys")


@key_app.command()
def new(
    name: KeyName,
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", show_default=False, help="The config, YAML, that the key is added to."),
    ] = None,
    rights: Annotated[
        str | None,
        typer.Option(metavar="RIGHTS", show_default=False, help="Some of use, view, admin, apart by commas; else use."),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(metavar="PROFILE", show_default=False, help="The only profile that it opens. Can be repeated."),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", show_default=False, help="A group of it. Can be repeated.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="SPAN", show_default=False, help="When it ends: 90d, 12h, 4w, 1y, or a day: 2027-06-30."),
    ] = None,
) -> Any:
    """Make a key, print it once, and put its hash into FILE, or print the line for it.

    The key goes to stdout, and everything else to stderr. Only the hash is kept: a key that was lost is made anew.

    \b
    Examples:
      meshproxy key new ci mesh.yaml --expires 90d
      meshproxy key new ada mesh.yaml --group dev --rights use,view
      meshproxy key new ci
    """
    return _keys().new(
        name,
        file,
        rights=[right.strip() for right in rights.split(",")] if rights else [],
        profiles=profile or [],
        groups=group or [],
        expires=expires,
    )


@key_app.command("list")
def list_(
    file: Config,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> Any:
    """List the keys of a config: their names, rights, groups, profiles and ends."""
    return _keys().list_(file, as_json=as_json)


@key_app.command()
def revoke(name: KeyName, file: Config) -> Any:
    """Take a key out of FILE. A mesh that serves FILE refuses it as soon as it has read the edit, and ends its sessions."""
    return _keys().revoke(name, file)
