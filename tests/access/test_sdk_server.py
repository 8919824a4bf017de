"""The mesh logs in at a server of the SDK that is protected by its own auth settings, and uses it in both eras."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
import uvicorn
from meshproxy.config.load import load
from meshproxy.config.login import OAuth
from meshproxy.login.flow import Flow, answer_of
from meshproxy.login.logins import Logins
from meshproxy.login.vault import Vault
from meshproxy.mesh.mesh import Mesh
from meshproxy.serving.fastmcp import FastMCP
from pydantic import AnyHttpUrl
from tests.kit.authority import Authority, authority
from tests.kit.clients import Legacy, Modern
from tests.kit.logged_in import BACK
from tests.kit.sdk_protected import agree
from tests.kit.sdk_protected import protected as own_authority

pytestmark = pytest.mark.anyio


def protected(there: Authority, url: str):
    from mcp.server import MCPServer
    from mcp.server.auth.provider import AccessToken
    from mcp.server.auth.settings import AuthSettings

    class Verifier:
        async def verify_token(self, token: str) -> AccessToken | None:
            scopes = there.tokens.get(token)
            return (
                None if scopes is None else AccessToken(token=token, client_id="c", scopes=scopes.split(), resource=url)
            )

    server = MCPServer(
        "protected",
        token_verifier=Verifier(),
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(there.issuer),
            resource_server_url=AnyHttpUrl(url),
            validate_token_resource=True,
            required_scopes=["user"],
        ),
    )

    @server.tool()
    def greet() -> str:
        return "hello"

    return server.streamable_http_app()


async def test_a_protected_server_of_the_sdk_is_used_through_a_mesh_that_logs_in_to_it(tmp_path: Path) -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    async with authority(resource=url) as there:
        endpoint = uvicorn.Server(uvicorn.Config(protected(there, url), log_level="error"))
        serving = asyncio.create_task(endpoint.serve(sockets=[listening]))
        try:
            flow = Flow("there", url, OAuth(), Vault(tmp_path), BACK)
            grant = await flow.finish(answer_of(await there.person(await flow.begin())))
            assert grant.scopes == ("user",)
            file = tmp_path / "mesh.yaml"
            file.write_text(json.dumps({"upstreams": {"there": {"url": url, "auth": "oauth"}}}))
            config = load(file)
            server = FastMCP(config.name)
            mesh = Mesh(config, server.composite, server.stamp, logins=Logins(tmp_path, file))
            mesh.start()
            await mesh.settled()
            try:
                for client in (Legacy(server), Modern(server)):
                    assert (await client.call("there_greet"))["content"][0]["text"] == "hello"
                    there.expire()
                    assert (await client.call("there_greet"))["content"][0]["text"] == "hello"
                assert len(there.grants("refresh_token")) == 2
            finally:
                await mesh.aclose()
                await server.aclose()
        finally:
            endpoint.should_exit = True
            await serving
            listening.close()


async def test_a_server_that_is_its_own_authorization_server_is_logged_in_to_and_refreshed(tmp_path: Path) -> None:
    async with own_authority() as (url, provider):
        flow = Flow("there", url, OAuth(), Vault(tmp_path), BACK)
        grant = await flow.finish(answer_of(await agree(await flow.begin())))
        assert grant.scopes == ("user",)
        file = tmp_path / "mesh.yaml"
        file.write_text(json.dumps({"upstreams": {"there": {"url": url, "auth": "oauth"}}}))
        config = load(file)
        server = FastMCP(config.name)
        mesh = Mesh(config, server.composite, server.stamp, logins=Logins(tmp_path, file))
        mesh.start()
        await mesh.settled()
        try:
            for client in (Legacy(server), Modern(server)):
                provider.expire()
                assert (await client.call("there_whoami"))["content"][0]["text"] == "ada"
            assert provider.granted == {"authorization_code": 1, "refresh_token": 2}
        finally:
            await mesh.aclose()
            await server.aclose()
