"""The commands about other programs' files, as the user sees them: names, arguments, options and help. What each does is imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any, Literal

import typer

from meshproxy.cli.options import AsJson, DryRun, Headers, module_of

__all__ = ["connect", "import_", "plan"]


def import_(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIENT|FILE|URL ...]",
            show_default=False,
            help="Whose files, or which; else those of every client that is known.",
        ),
    ] = None,
    into: Annotated[
        str, typer.Option("--into", metavar="FILE", help="The config that they go into; it is made if there is none.")
    ] = "mesh.yaml",
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="URL", show_default=False, help="An MCP registry; what is named is then the name of a server in it."
        ),
    ] = None,
    secrets: Annotated[
        Literal["files", "env"],
        typer.Option(help="Where plain secrets go: files, beside the config; env, variables that you set."),
    ] = "files",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Any:
    """Bring the servers that other programs have configured into a config.

    Knows the files of Claude Desktop, Claude Code, VS Code, Cursor, Windsurf, Codex, Gemini CLI, Zed, Goose, Continue, OpenCode, LM Studio, mcphub, Cline and Roo Code, in your home and in
    this folder, and the server.json of an MCP registry. They are read, and not changed. Doubles are left out, plain secrets become references, and what has no
    counterpart is said. A server that needs a variable that is not set is put in disabled.

    Exits with 0 if something was imported or was there already, and with 1 if nothing was found.

    \b
    Examples:
      meshproxy import --dry-run
      meshproxy import cursor claude-code --into mesh.yaml
      meshproxy import ~/Downloads/mcp.json
      meshproxy import io.github.example/notes --registry https://registry.modelcontextprotocol.io
    """
    return module_of("imports").import_(
        source or [], into, registry=registry, keep=secrets, dry_run=dry_run, as_json=as_json
    )


def connect(
    client: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIENT ...]", show_default=False, help="Which clients; else every one that is on this machine."
        ),
    ] = None,
    file: Annotated[str, typer.Option("--file", metavar="FILE", help="The config of the mesh.")] = "mesh.yaml",
    url: Annotated[
        str | None, typer.Option(metavar="URL", show_default=False, help="Where the mesh is, if not where FILE says.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False, help="What the clients call it; else its name.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header",
            metavar="'NAME: VALUE'",
            show_default=False,
            help="An HTTP header for the clients to send, as in 'Authorization: Bearer ...'. Can be repeated.",
        ),
    ] = None,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Have each client start a mesh of its own, and connect to no address.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take out of the clients' files the servers that the mesh has, too.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Have the clients' files as they were.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> Any:
    """Put the mesh into the files of its clients, and with --undo take it out again.

    The rest of each file stays as it is. What it was is kept in the state directory, and --undo puts back the very bytes; if the file has changed since, the entry alone is
    taken out. A client that can only start programs (Claude Desktop) starts a mesh of FILE over stdio.

    \b
    Examples:
      meshproxy connect --dry-run
      meshproxy connect cursor vscode codex
      meshproxy connect --url https://mesh.example.com/mcp --header 'Authorization: Bearer ...' claude-code
      meshproxy connect --undo
    """
    return module_of("connects").connect(
        client or [],
        file,
        url=url,
        name=name,
        header=header or [],
        stdio=stdio,
        replace=replace,
        undo=undo,
        dry_run=dry_run,
        as_json=as_json,
    )


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The config, YAML or JSON.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URL",
            show_default=False,
            help="The config that is in force, or the URL of a mesh that runs; else there is none.",
        ),
    ] = None,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Say what a reload would do, and do nothing.

    Which upstreams are kept, started, started anew or closed, which sections are in force at once and which at the next start, and which public names appear (+), vanish (-) or lead
    elsewhere (~), as far as the state directory remembers what the upstreams offer. No upstream is started.

    Against a URL the mesh that runs there is asked, which needs a key with the right admin where server.auth is in its config. It is told digests, and tells none of its own.

    Exits with 0 if nothing would change, with 10 if something would, with 2 if a file could not be served, and with 1 if no mesh answers or it refuses.

    \b
    Examples:
      meshproxy plan mesh.yaml --against http://127.0.0.1:8000
      git show HEAD:mesh.yaml > old.yaml; meshproxy plan mesh.yaml --against old.yaml
    """
    return module_of("planning").plan(file, against, headers=header or [], as_json=as_json)
