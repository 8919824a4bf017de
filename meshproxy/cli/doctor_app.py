"""`meshproxy doctor` as the user sees it: argument, options and help. What it does is imported when it runs."""

# ruff: noqa: D301, FBT002 - \b is typer's own mark for a paragraph that stays as it is, and an option is a parameter with a default

from typing import Annotated, Any

import typer

from meshproxy.cli.options import AsJson, module_of

__all__ = ["doctor"]


def doctor(
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", show_default=False, help="The config; else the machine alone is looked at."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe: take rights from others, remove what is stale.")
    ] = False,
    as_json: AsJson = False,
) -> Any:
    """Say what is wrong with this machine and with a config, each with its remedy.

    Looks at commands and versions, ports, certificates, variables, names, schemas and what they cost a model, at who else can read secrets, at what a mesh that was
    killed has left, and at the clock. The upstreams of FILE are started or connected to and listed, as by `check --connect`, and ended again.

    Exits with 0 if nothing is wrong or --fix has mended it all, with 10 if something is, and with 2 if FILE could not be served.

    \b
    Examples:
      meshproxy doctor
      meshproxy doctor mesh.yaml
      meshproxy doctor mesh.yaml --fix
    """
    return module_of("doctor").doctor(file, fix=fix, as_json=as_json)
