"""The command line: `meshproxy serve`, `check`, `list`, `call` and `schema`. On top of all rooms, and imported by none."""

from meshproxy.cli.entry import main

__all__ = ["main"]
