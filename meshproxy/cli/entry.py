"""`main`: from the command line to an exit status. Whatever goes wrong is told in one line, and never as a traceback.

Statuses: 0, it worked; 1, it failed while it ran; 2, the command line or the config is wrong; 130, interrupted.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from meshproxy.cli.completing import VARIABLE
from meshproxy.cli.init import attend
from meshproxy.cli.streams import have_streams
from meshproxy.errors import ConfigError, MeshError, RpcError
from meshproxy.observe.spelling import told

__all__ = ["Failure", "guarded", "main", "note"]

DEBUG = "MESHPROXY_DEBUG"
"""The environment variable that, if set, shows the traceback of an unexpected error."""


class Failure(MeshError):
    """What ends a command: one line for each thing that is wrong, and the exit status."""

    def __init__(self, *lines: str, status: int = 1) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status


def main() -> None:
    """The entry point of the program `meshproxy`."""
    have_streams()
    attend()
    if VARIABLE in os.environ:
        sys.exit(_complete())
    status = guarded(_run)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Nobody is there any more, a closed terminal for one: what is still buffered goes nowhere, and is no failure.
            _silence(stream)
    sys.exit(status)


def guarded(run: Callable[[], int]) -> int:
    """The exit status of `run`, whatever it raises; see the module."""
    try:
        status = run()
        # Now, and not when the interpreter ends: then a reader who is gone would be a message on stderr.
        sys.stdout.flush()
    except ConfigError as error:
        return _failed(2, *(str(problem) for problem in error.problems))
    except Failure as failure:
        return _failed(failure.status, *failure.lines)
    except RpcError as error:
        return _failed(1, f"{error.message} (code {error.code})")
    except MeshError as error:
        return _failed(1, str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `meshproxy list ... | head`: nobody reads on, which is no error. What is still buffered goes nowhere.
        _silence(sys.stdout)
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return _failed(1, f"unexpected {what} (set {DEBUG}=1 to see where)")
    return status


def note(text: str) -> None:
    """Tell the user something beside the output. What is in it may be somebody else's words."""
    sys.stderr.write(told(text) + "\n")


def _run() -> int:
    import typer  # noqa: PLC0415  # only what runs is imported

    from meshproxy.cli.app import app  # noqa: PLC0415

    try:
        status = app(prog_name="meshproxy", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        raise Failure(f"{message}; see meshproxy --help", status=2) from None
    except typer.Abort:
        return 130
    return int(status or 0)


def _complete() -> int:
    """Answer a shell that asks what there is to complete: the exit status."""
    from typer.core import TyperArgument, TyperOption  # noqa: PLC0415  # as above

    from meshproxy.cli.app import app  # noqa: PLC0415

    # What stands in the line is compared with names and goes nowhere else. To have it checked, Typer would import pydantic, and whoever presses the key waits.
    for parameter in (TyperArgument, TyperOption):
        setattr(parameter, TyperOption.process_value.__name__, _as_it_stands)
    try:
        machinery: Any = importlib.import_module("typer.completion")
        machinery.completion_init()
        app(prog_name="meshproxy", standalone_mode=False)
    except SystemExit as end:
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001  # a line of ours in the midst of what somebody types helps nobody
        return 1
    return 1


def _as_it_stands(_parameter: object, _context: object, value: Any) -> Any:
    return value


def _silence(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failed(status: int, *lines: str) -> int:
    for line in lines:
        note(f"error: {line}")
    return status
