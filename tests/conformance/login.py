"""`python -m tests.conformance.login URL`: the mesh as the client of OAuth that the official suite tests.

The suite serves what a scenario protects at the URL. Here it is the only upstream of a mesh in this process, with `auth`; a person logs in whenever the mesh says
that somebody has to, and agrees to every page. Behind that are the mesh's own login, vault and links.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2
from meshproxy.config.load import load
from meshproxy.config.login import OAuth
from meshproxy.errors import RpcError
from meshproxy.login.fetch import NotNow
from meshproxy.login.flow import Flow, answer_of
from meshproxy.login.logins import Logins
from meshproxy.login.metadata import LoginFailed
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from tests.kit.clients import Modern
from tests.kit.waiting import eventually

Json = dict[str, Any]

SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
CONTEXT: Json = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
BACK = "http://127.0.0.1:7/callback"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""Of the client, as the suite knows it."""
PATIENCE = 3
"""How often the person does what the mesh asks for, before he gives up."""


def auth_of(context: Json) -> Json:
    """What a user would write who was given these credentials."""
    client = {key: context[key] for key in ("client_id", "client_secret") if key in context}
    if "private_key_pem" in context:
        return {
            "type": "client_credentials",
            **client,
            "private_key": context["private_key_pem"],
            "algorithm": context["signing_algorithm"],
        }
    if SCENARIO.startswith("auth/client-credentials"):
        return {"type": "client_credentials", **client}
    return {"type": "oauth", **client} if client else {"type": "oauth", "client_metadata_url": DOCUMENT}


class Person:
    """Somebody who logs in where the mesh says so."""

    def __init__(self, mesh: Mesh, server: FastMCP, logins: Logins, url: str, auth: Json) -> None:
        self._mesh = mesh
        self._client = Modern(server)
        self._logins = logins
        self._url = url
        self._auth = auth

    @property
    def _phase(self) -> str:
        return str(self._mesh.status()["there"]["phase"])

    @property
    def _reason(self) -> str:
        return str(self._mesh.status()["there"].get("reason", ""))

    async def log_in(self) -> None:
        reason = self._reason
        flow = Flow("there", self._url, OAuth(**self._auth), self._logins.vault, BACK)
        page = await flow.begin()
        async with httpx2.AsyncClient(follow_redirects=False) as browser:
            answer = await browser.get(page)
        await flow.finish(answer_of(answer.headers["location"]))
        await eventually(
            lambda: self._phase in ("up", "down") or (self._phase == "needs login" and self._reason != reason)
        )

    async def use(self) -> None:
        """List the tools and call each, and log in when one of them wants it."""
        for _ in range(PATIENCE):
            if self._phase == "needs login":
                await self.log_in()
        for tool in (await self._client.request("tools/list"))["tools"]:
            for attempt in range(PATIENCE + 1):
                try:
                    await self._client.call(tool["name"])
                except RpcError as error:
                    if "meshproxy auth login" not in error.message or attempt == PATIENCE:
                        raise
                    await self.log_in()
                else:
                    break


async def main(url: str, folder: Path) -> None:
    auth = auth_of(CONTEXT)
    file = folder / "mesh.yaml"
    file.write_text(json.dumps({"upstreams": {"there": {"url": url, "auth": auth, "namespace": ""}}}))
    config, server, logins = load(file), FastMCP("mesh"), Logins(folder, file)
    mesh = Mesh(config, server.composite, server.stamp, logins=logins)
    mesh.start()
    try:
        await mesh.settled()
        await Person(mesh, server, logins, url, auth).use()
        state = mesh.status()["there"]
        if state["phase"] != "up":
            sys.exit(f"the upstream is {state}")
    except (RpcError, LoginFailed, NotNow) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        await mesh.aclose()
        await server.aclose()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(sys.argv[1], Path(place)))
