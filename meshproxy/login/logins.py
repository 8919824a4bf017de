"""`Logins`: the credentials of all upstreams of one mesh, and what must not be seen of them. Place: login, on top of the room."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from meshproxy.config.login import ClientCredentials, HeadersFromCommand
from meshproxy.config.secrets import Scrubber
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.login.login import Login
from meshproxy.login.vault import Vault

__all__ = ["Logins", "command_for"]

REMEMBERED: Final = 12
"""Texts of each upstream that are concealed: those in force, and those before, which may still be under way."""


def command_for(upstream: str, file: Path | None) -> str:
    """What a person runs to log in."""
    where = f" {shlex.quote(str(file))}" if file is not None else ""
    return f"meshproxy auth login {shlex.quote(upstream)}{where}"


class Logins:
    """Makes the credentials of upstreams.

    Args:
        directory: the state directory; None to keep nothing over a restart.
        file: the config.
    """

    def __init__(self, directory: Path | None = None, file: Path | None = None) -> None:
        self.vault = Vault(directory)
        self._file = file
        self._secrets: dict[str, list[str]] = {}
        self._scrubber = Scrubber()

    def of(self, spec: UpstreamSpec) -> Login | None:
        """The credentials of an upstream; None if it has none of this kind."""
        auth, url = spec.auth, str(spec.url)
        if auth is None:
            return None
        conceal = partial(self.conceal, spec.name)
        if isinstance(auth, ClientCredentials):
            from meshproxy.login.machine import MachineLogin  # noqa: PLC0415  # only what is configured is imported

            return MachineLogin(spec.name, url, auth, conceal)
        if isinstance(auth, HeadersFromCommand):
            directory = None if self._file is None else str(self._file.parent)
            from meshproxy.login.command import CommandLogin  # noqa: PLC0415

            return CommandLogin(spec.name, url, auth, directory, conceal)
        from meshproxy.login.person import PersonLogin  # noqa: PLC0415

        return PersonLogin(spec.name, url, auth, self.vault, command_for(spec.name, self._file), conceal)

    def conceal(self, upstream: str, texts: list[str]) -> None:
        """Have these texts appear nowhere from now on."""
        known = self._secrets.setdefault(upstream, [])
        fresh = [text for text in texts if text not in known]
        if fresh:
            known += fresh
            del known[:-REMEMBERED]
            self._scrubber = Scrubber(text for texts in self._secrets.values() for text in texts)

    def scrub(self, text: str) -> str:
        """A text without them."""
        return self._scrubber.scrub(text)

    def scrubbing(self, other: Callable[[str], str]) -> Callable[[str], str]:
        """Takes out of a text what another does, and these."""
        return lambda text: self.scrub(other(text))
