"""Meshes whose upstream is what an `Authority` protects, and people who log in there."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from meshproxy.config.load import load
from meshproxy.config.login import OAuth
from meshproxy.login.common import Common
from meshproxy.login.flow import Flow, answer_of
from meshproxy.login.logins import Logins
from meshproxy.login.vault import Grant, Vault
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from tests.kit.authority import Authority
from tests.kit.clients import Legacy, Modern
from tests.kit.processes import nothing_left
from tests.kit.waiting import eventually

Json = dict[str, Any]
BACK = "http://127.0.0.1:7/callback"


async def log_in(
    there: Authority, state: Path, auth: Json | None = None, name: str = "there", at: Authority | None = None
) -> Grant:
    """What `meshproxy auth login` does, with a person who agrees."""
    flow = Flow(name, there.url, OAuth(**(auth or {})), Vault(state), BACK)
    page = await flow.begin()
    return await flow.finish(answer_of(await (at or there).person(page)))


class Meshed:
    """A mesh with the upstream `there`, and clients of it."""

    def __init__(self, server: FastMCP, mesh: Mesh) -> None:
        self.server = server
        self.mesh = mesh
        self.client = Legacy(server)
        self.modern = Modern(server)

    @property
    def state(self) -> str:
        return str(self.mesh.status()["there"]["phase"])

    @property
    def reason(self) -> str:
        return str(self.mesh.status()["there"].get("reason", ""))

    async def call(self, tool: str = "whoami", **arguments: Any) -> str:
        """The text of a call's answer."""
        result = await self.client.call(f"there_{tool}", **arguments)
        return str(result["content"][0]["text"])

    async def until(self, state: str) -> None:
        await eventually(lambda: self.state == state)


@contextlib.asynccontextmanager
async def meshed(
    there: Authority,
    state: Path | None,
    auth: Any = "oauth",
    *,
    is_alone: bool = True,
    others: Json | None = None,
    common: Common | None = None,
    **keys: Any,
) -> AsyncIterator[Meshed]:
    """A mesh, settled, whose logins are what replicas have in `common`; at the end nothing of it is left, which cannot be told of one that is not alone."""
    file = (state or Path("/nowhere")) / "mesh.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"upstreams": {"there": {"url": there.url, "auth": auth, **keys}, **(others or {})}}))
    async with nothing_left() if is_alone else contextlib.nullcontext():
        config = load(file)
        server = FastMCP(config.name)
        logins = Logins(state, file)
        logins.vault.common = common
        mesh = Mesh(config, server.composite, server.stamp, logins=logins)
        mesh.start()
        try:
            await mesh.settled()
            yield Meshed(server, mesh)
        finally:
            await mesh.aclose()
            await server.aclose()
