"""`LoggingIn`: a person logs in at an upstream from the page: the browser goes to the upstream's authorization server, and comes back to `/api/login`. Place: api.

What it does is what `meshproxy auth login` does, with another place to come back to. Coming back needs no credential of the mesh's, since a browser brings none:
it brings the `state` that only whoever began can know, and that is good once.
"""

import time
from collections.abc import Mapping
from typing import Final

from meshproxy.api.answers import ApiError
from meshproxy.config.login import OAuth
from meshproxy.login.fetch import NotNow
from meshproxy.login.flow import LASTS, Flow
from meshproxy.login.logins import command_for
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.vault import VaultError
from meshproxy.mesh.mesh import Mesh

__all__ = ["CALLBACK", "LoggingIn"]

CALLBACK: Final = "/api/login"
MOST: Final = 16
"""Logins that are under way at one time; of more, the oldest is given up."""


class LoggingIn:
    """The logins that are under way."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._vault = mesh.logins.vault
        self._begun: dict[str, tuple[str, Flow, float]] = {}

    async def begin(self, name: str, origin: str) -> str:
        """The page to which the person is sent, to come back to `origin`. Raises `ApiError`."""
        spec = self._mesh.config.upstreams.get(name)
        if spec is None:
            raise ApiError(404, f"there is no upstream {name!r}")
        auth = spec.auth
        if not isinstance(auth, OAuth):
            raise ApiError(409, f"nobody logs in at {name}: set `auth: oauth` of it, if it wants that")
        command = command_for(name, self._mesh.config.source.path)
        if self._vault.folder is None:
            raise ApiError(409, "`state: none` keeps nothing, so no login either; set it to auto, or to a directory")
        if auth.client_id is not None or auth.redirect_port is not None:
            # Its client was registered with a place of its own to come back to.
            raise ApiError(
                409, f"the client that the config names comes back to another address than this: run {command}"
            )
        flow = Flow(name, str(spec.url), auth, self._vault, f"{origin}{CALLBACK}")
        try:
            url = await flow.begin()
        except NotNow as error:
            raise ApiError(502, f"{error}; try again later") from None
        except (LoginFailed, VaultError) as error:
            raise ApiError(502, f"{error}; `{command}` may do better") from None
        now = time.monotonic()
        self._begun = {state: one for state, one in self._begun.items() if now - one[2] < LASTS}
        while len(self._begun) >= MOST:
            del self._begun[next(iter(self._begun))]
        self._begun[flow.state] = (name, flow, now)
        return url

    async def finish(self, answer: Mapping[str, str]) -> str:
        """Take what the browser brings back: the name of the upstream that the mesh is logged in at now. Raises `ApiError`."""
        begun = self._begun.pop(answer.get("state", ""), None)
        if begun is None:
            raise ApiError(404, "no login is under way that this would be the answer to; begin anew")
        name, flow, _ = begun
        try:
            await flow.finish(answer)
        except NotNow as error:
            raise ApiError(502, f"{error}; begin anew later") from None
        except (LoginFailed, VaultError) as error:
            raise ApiError(502, str(error)) from None
        return name
