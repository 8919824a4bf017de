"""`Logins`: the credentials of all upstreams of one mesh, and what must not be seen of them. Place: login, on top of the room."""

import shlex
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meshproxy.config.login import ClientCredentials, HeadersFromCommand, OAuth
from meshproxy.config.secrets import Scrubber
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.login.invitations import Invitations
from meshproxy.login.login import Login
from meshproxy.login.vault import Vault

if TYPE_CHECKING:
    from meshproxy.login.exchange import Exchange
    from meshproxy.login.flow import Flow
    from meshproxy.login.person import PersonLogin

__all__ = ["Logins", "command_for", "key_of"]

MOST: Final = 10_000
"""Accounts whose texts are concealed; of more, those whose credentials changed longest ago are open no more."""
ADVICE: Final = "use it again, and log in at the page of the mesh that you are led to"

REMEMBERED: Final = 12
"""Texts of each account at an upstream that are concealed: those in force, and those before, which may still be under way."""


def command_for(upstream: str, file: Path | None) -> str:
    """What a person runs to log in."""
    where = f" {shlex.quote(str(file))}" if file is not None else ""
    return f"meshproxy auth login {shlex.quote(upstream)}{where}"


def key_of(upstream: str, owner: str) -> str:
    """What the secrets of a caller's own account are kept under."""
    return f"{upstream}\n{owner}"


class Logins:
    """Makes the credentials of upstreams.

    Args:
        directory: the state directory; None to keep nothing over a restart.
        file: the config.
        key: what is given to browsers is sealed with it; without one, with one that lasts as long as the process.

    Attributes:
        invitations: the links to the page where callers log in for themselves.
    """

    def __init__(
        self, directory: Path | None = None, file: Path | None = None, key: Callable[[], bytes] | None = None
    ) -> None:
        self.vault = Vault(directory)
        self.invitations = Invitations(key)
        self._file = file
        self._secrets: OrderedDict[str, tuple[list[str], Scrubber]] = OrderedDict()

    def of(self, spec: UpstreamSpec) -> Login | None:
        """The credentials of an upstream; None if it has none of this kind."""
        auth, url = spec.auth, spec.address
        if auth is None:
            return None
        conceal = partial(self.conceal, spec.name)
        if isinstance(auth, ClientCredentials):
            from meshproxy.login.machine import MachineLogin  # noqa: PLC0415  # only what is configured is imported

            return MachineLogin(spec.name, url, auth, conceal, self.vault.common)
        if isinstance(auth, HeadersFromCommand):
            directory = None if self._file is None else str(self._file.parent)
            from meshproxy.login.command import CommandLogin  # noqa: PLC0415

            return CommandLogin(spec.name, url, auth, directory, conceal)
        return self.of_caller(spec, "")

    def of_caller(self, spec: UpstreamSpec, owner: str) -> "PersonLogin":
        """The credentials of one principal's own account at an upstream, as `auth: {type: oauth, per: caller}` says; those of the mesh for nobody in particular."""
        from meshproxy.login.person import PersonLogin  # noqa: PLC0415

        auth = spec.auth
        if not isinstance(auth, OAuth):
            raise TypeError("nobody logs in there")
        conceal = partial(self.conceal, key_of(spec.name, owner) if owner else spec.name)
        advice = ADVICE if owner else self._advice(spec)
        return PersonLogin(spec.name, spec.address, auth, self.vault.of(owner), advice, conceal)

    def flow(self, spec: UpstreamSpec, owner: str, redirect_uri: str) -> "Flow":
        """An attempt of a principal to log in with his own account."""
        from meshproxy.login.flow import Flow  # noqa: PLC0415

        if not isinstance(spec.auth, OAuth):
            raise TypeError("nobody logs in there")
        return Flow(spec.name, str(spec.url), spec.auth, self.vault.of(owner), redirect_uri)

    def _advice(self, spec: UpstreamSpec) -> str:
        where = "" if self.vault.folder is not None else "set state to a directory or auto, where it can be kept, and "
        return f"{where}run {command_for(spec.name, self._file)}"

    def exchanging(self, spec: UpstreamSpec) -> "Exchange":
        """Whoever exchanges callers' tokens for those of an upstream, as `auth: {type: token_exchange}` says."""
        from meshproxy.login.exchange import Exchange  # noqa: PLC0415

        return Exchange(spec, self.conceal)

    def conceal(self, key: str, texts: list[str]) -> None:
        """Have these texts appear nowhere from now on; `key` says whose they are."""
        known, _ = self._secrets.get(key, ([], None))
        fresh = [text for text in texts if text not in known]
        if fresh:
            known = [*known, *fresh][-REMEMBERED:]
            # One for each: many callers may have accounts of their own, and each of their tokens changes by itself.
            self._secrets[key] = known, Scrubber(known)
            self._secrets.move_to_end(key)
            if len(self._secrets) > MOST:
                self._secrets.popitem(last=False)

    def scrub(self, text: str) -> str:
        """A text without them."""
        for _, scrubber in list(self._secrets.values()):
            text = scrubber.scrub(text)
        return text

    def scrubbing(self, other: Callable[[str], str]) -> Callable[[str], str]:
        """Takes out of a text what another does, and these."""
        return lambda text: self.scrub(other(text))
