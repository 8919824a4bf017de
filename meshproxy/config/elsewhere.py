"""What references stand for that is asked of somebody else: what a command prints, and what the platform's keyring keeps. Place: config, under `env`.

No error quotes what was printed or kept.
"""

import contextlib
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["kept_in_keyring", "printed_by"]

PATIENCE: Final = 60.0
"""Seconds that a command has: it may ask its user for a fingerprint."""
_MOST: Final = 1 << 20
"""Bytes that it may print."""


def printed_by(line: str, directory: Path) -> str:
    """What a command prints on its standard output, without the line breaks at its end. No shell runs it; it runs in `directory`.

    Raises:
        ValueError: it cannot be run, fails, takes too long, or prints what is no text.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        raise ValueError("the command has a quote without an end") from None
    if not words:
        raise ValueError("names no command")
    try:
        process = subprocess.Popen(  # noqa: S603  # the user's own command, from the user's own file
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds a NUL character"
        raise ValueError(f"{words[0]} cannot be started: {reason}") from None
    with process:
        try:
            printed, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise ValueError(f"{words[0]} took longer than {PATIENCE:g} s") from None
        finally:
            # What it started goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise ValueError(f"{words[0]} ended with status {process.returncode}; run it to see why")
    if len(printed) > _MOST:
        raise ValueError(f"{words[0]} printed more than {_MOST} bytes")
    try:
        return printed.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"{words[0]} printed what is not UTF-8 text") from None


def kept_in_keyring(name: str) -> str:
    """What the platform's keyring keeps under `service/name`.

    Raises:
        ValueError: it keeps nothing there, or cannot be asked.
    """
    service, slash, user = name.strip().rpartition("/")
    if not slash or not service or not user:
        raise ValueError("must be a service and a name, apart by a slash: ${keyring:service/name}")
    try:
        import keyring  # noqa: PLC0415  # an extra
        from keyring.errors import KeyringError  # noqa: PLC0415
    except ImportError:
        raise ValueError("needs the package keyring; install meshproxy[keyring]") from None
    try:
        found = keyring.get_password(service, user)
    except (KeyringError, RuntimeError, OSError):
        raise ValueError(
            "the platform's keyring cannot be asked; unlock it, or see what `keyring diagnose` says"
        ) from None
    if found is None:
        raise ValueError(f"the keyring keeps nothing there; put it in with: keyring set {service} {user}")
    return str(found)
