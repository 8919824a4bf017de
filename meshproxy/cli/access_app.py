"""`meshproxy key` and `meshproxy why` as the user sees it: names, arguments, options and help. What each does is in modules of their own, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any

import typer

from meshproxy.cli.completing import components, keys
from meshproxy.cli.options import AsJson, Headers, module_of

__all__ = ["key_app", "why"]

key_app = typer.Typer(
    name="key",
    help="Make, list and revoke the keys of those who may come in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Config = Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The config, YAML.")]
KeyName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", show_default=False, autocompletion=keys, help="The name of the key, which is its principal's."
    ),
]


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
    return module_of("keys").new(
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
    as_json: AsJson = False,
) -> Any:
    """List the keys of a config: their names, rights, groups, profiles and ends."""
    return module_of("keys").list_(file, as_json=as_json)


@key_app.command()
def revoke(name: KeyName, file: Config) -> Any:
    """Take a key out of FILE. A mesh that serves FILE refuses it as soon as it has read the edit, and ends its sessions."""
    return module_of("keys").revoke(name, file)


def why(
    principal: Annotated[
        str,
        typer.Argument(
            metavar="PRINCIPAL",
            show_default=False,
            autocompletion=keys,
            help="The name of a key, token:SUBJECT, certificate:NAME, anonymous or local.",
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", show_default=False, autocompletion=components, help="The public name or URI of a component."
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL", show_default=False, help="The config, YAML or JSON, or the URL of a mesh that runs."
        ),
    ],
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", show_default=False, help="A group of a token. Can be repeated.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="SCOPE", show_default=False, help="A scope of a token. Can be repeated.")
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", show_default=False, help="A claim of a token, for conditions. Can be repeated."
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(metavar="PROFILE", show_default=False, help="At the address of this profile.")
    ] = "",
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Say whether a principal may use a component, and which rule decides, with its line.

    The upstreams of FILE are started and listed, since rules may go by what a tool says of itself; the mesh at a URL says it by what it has listed, to whoever has the right
    admin. Exits with 0 if it may be used, and with 1 if not.

    \b
    Examples:
      meshproxy why ada docs_search mesh.yaml
      meshproxy why token:ada@example.com files_write mesh.yaml --group dev --profile research
      meshproxy why token:ada docs_search mesh.yaml --claim dept=docs
      meshproxy why ada docs_search https://mesh.example.com --header "Authorization: Bearer $KEY"
    """
    return module_of("why").why(
        principal,
        name,
        target,
        groups=group or [],
        scopes=scope or [],
        claims=claim or [],
        profile=profile,
        headers=header or [],
        as_json=as_json,
    )
