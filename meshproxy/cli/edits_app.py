"""The commands that edit a config, as the user sees them: names, arguments, options and help. What each does is in `edits`, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any, Literal

import typer

from meshproxy.cli.options import AsJson, DryRun, Upstream, module_of

__all__ = ["add", "disable", "enable", "remove", "rename"]

Config = Annotated[str, typer.Argument(metavar="[FILE]", help="The config, YAML or JSON.")]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="What the upstream is to be called.")],
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND...|URL", show_default=False, help="The program with its arguments, or where the server is."
        ),
    ],
    into: Annotated[
        str, typer.Option("--into", metavar="FILE", help="The config that it goes into; it is made if there is none.")
    ] = "mesh.yaml",
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME=VALUE", show_default=False, help="A variable for the program. Can be repeated."
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="'NAME: VALUE'", show_default=False, help="An HTTP header for the URL. Can be repeated."
        ),
    ] = None,
    cwd: Annotated[
        str | None, typer.Option(metavar="DIRECTORY", show_default=False, help="Where the program runs.")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default=False, help="What stands before its names; else its name."),
    ] = None,
    transport: Annotated[
        Literal["streamable-http", "sse"] | None,
        typer.Option(show_default=False, help="How to talk to the URL; else streamable-http."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Any:
    """Add an upstream to a config.

    Options of meshproxy stand before NAME; all that follows it is the upstream's. The rest of the file stays as it is, comments and order included, and what could not be served is
    not written. FILE.bak is the file as it was before.

    \b
    Examples:
      meshproxy add files npx -y @modelcontextprotocol/server-filesystem /home/me/notes
      meshproxy add docs https://docs.example.com/mcp
      meshproxy add --header 'Authorization: Bearer ${DOCS_TOKEN}' --dry-run docs https://docs.example.com/mcp
    """
    return module_of("edits").add(
        name,
        what,
        into,
        env=env or [],
        header=header or [],
        cwd=cwd,
        namespace=namespace,
        transport=transport,
        dry_run=dry_run,
        as_json=as_json,
    )


def remove(name: Upstream, file: Config = "mesh.yaml", dry_run: DryRun = False, as_json: AsJson = False) -> Any:
    """Take an upstream out of a config, and out of the profiles that name it. The rest of the file stays as it is."""
    return module_of("edits").remove(name, file, dry_run=dry_run, as_json=as_json)


def enable(name: Upstream, file: Config = "mesh.yaml", dry_run: DryRun = False, as_json: AsJson = False) -> Any:
    """Have an upstream served that was disabled. The rest of the file stays as it is."""
    return module_of("edits").switch(name, file, on=True, dry_run=dry_run, as_json=as_json)


def disable(name: Upstream, file: Config = "mesh.yaml", dry_run: DryRun = False, as_json: AsJson = False) -> Any:
    """Have an upstream not served any more, and keep its entry. The rest of the file stays as it is."""
    return module_of("edits").switch(name, file, on=False, dry_run=dry_run, as_json=as_json)


def rename(
    old: Upstream,
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False, help="What it is to be called.")],
    file: Config = "mesh.yaml",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Any:
    """Give an upstream another name, in profiles too. Says which rules and patterns are about the old one."""
    return module_of("edits").rename(old, new, file, dry_run=dry_run, as_json=as_json)
