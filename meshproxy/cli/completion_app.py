"""`meshproxy completion`: what a shell has to be told once, so that it completes the commands."""

# ruff: noqa: D301 - \b is typer's own mark for a paragraph that stays as it is

import importlib
from typing import Annotated, Any, Literal

import typer

from meshproxy.cli.completing import VARIABLE

__all__ = ["completion"]


def completion(
    shell: Annotated[
        Literal["bash", "zsh", "fish"],
        typer.Argument(metavar="bash|zsh|fish", show_default=False, help="The shell that is to complete."),
    ],
) -> int:
    """Print what makes a shell complete commands, options, and the names of upstreams, tools and keys.

    Names are those of the file that the command is about, or of mesh.yaml. What upstreams offer is known once the mesh has run. Nothing is started for it.

    \b
    Once, for
      bash  echo 'eval "$(meshproxy completion bash)"' >> ~/.bashrc
      zsh   echo 'eval "$(meshproxy completion zsh)"' >> ~/.zshrc     (after compinit)
      fish  meshproxy completion fish > ~/.config/fish/completions/meshproxy.fish
    """
    machinery: Any = importlib.import_module("typer.completion")
    typer.echo(machinery.get_completion_script(prog_name="meshproxy", complete_var=VARIABLE, shell=shell))
    return 0
