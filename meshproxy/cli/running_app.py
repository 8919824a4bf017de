"""The commands about a mesh that runs, as the user sees them: names, arguments, options and help. What each does is in `running`, imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any, Literal

import typer

from meshproxy.cli.completing import upstreams
from meshproxy.cli.options import AsJson, Headers, Upstream, module_of

__all__ = ["calls", "logs", "reload", "restart", "status"]

At = Annotated[
    str, typer.Argument(metavar="[URL|FILE]", help="A mesh that runs, or the config that says where it does.")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is new, until interrupted.")]


def status(
    target: At = "mesh.yaml",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second, until interrupted.")] = False,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Show how a mesh is that runs, and each of its upstreams.

    Exits with 0 if it is ready, with 1 if a required upstream is not up, or the mesh cannot be reached. Where server.auth is in the
    config it needs a key with the right view.

    \b
    Examples:
      meshproxy status
      meshproxy status http://127.0.0.1:8000 --watch
      meshproxy status https://mesh.example.com --header "Authorization: Bearer $KEY" --json
    """
    return module_of("running").status(target, watch=watch, headers=header or [], as_json=as_json)


def calls(
    target: At = "mesh.yaml",
    follow: Follow = False,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=0, max=1000, help="How many of the last ones.")] = 20,
    upstream: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, autocompletion=upstreams, help="Only those of this upstream."),
    ] = None,
    outcome: Annotated[
        Literal["success", "failure", "error", "denied"] | None,
        typer.Option(show_default=False, help="Only those that ended so."),
    ] = None,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Show the last calls of a mesh that runs: who asked, what became of it, how long it took.

    With --json each is one line, an object as GET /api/calls has it. Times are in seconds.

    \b
    Examples:
      meshproxy calls --follow
      meshproxy calls http://127.0.0.1:8000 --outcome error --limit 100 --json
    """
    return module_of("running").calls(
        target, follow=follow, limit=limit, upstream=upstream, outcome=outcome, headers=header or [], as_json=as_json
    )


def logs(
    name: Upstream,
    target: At = "mesh.yaml",
    follow: Follow = False,
    header: Headers = None,
    as_json: AsJson = False,
) -> Any:
    """Show what an upstream's program wrote to standard error last.

    With --json each line is a text in JSON.
    """
    return module_of("running").logs(name, target, follow=follow, headers=header or [], as_json=as_json)


def restart(name: Upstream, target: At = "mesh.yaml", header: Headers = None, as_json: AsJson = False) -> Any:
    """Start an upstream of a mesh that runs anew.

    The new one is started before the old one is let go, which has reload.drain_timeout for its running calls. If the new one does not start, the old
    one stays, and the command exits with 1. Where server.auth is in the config it needs a key with the right admin.
    """
    return module_of("running").restart(name, target, headers=header or [], as_json=as_json)


def reload(target: At = "mesh.yaml", header: Headers = None, as_json: AsJson = False) -> Any:
    """Have a mesh that runs read its file again, and say what became of it.

    Exits with 1 if the file was rejected. Where server.auth is in the config it needs a key with the right admin.
    """
    return module_of("running").reload(target, headers=header or [], as_json=as_json)
