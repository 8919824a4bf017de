"""A protected server as the SDK's examples make one: its `MCPServer`, with an authorization server of its own (`mcp.server.auth`), at which everybody who comes agrees."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import uvicorn
from pydantic import AnyHttpUrl


class Provider:
    """What `OAuthAuthorizationServerProvider` asks for, in memory.

    Attributes:
        who: as whom people log in.
        granted: how often tokens were given, by grant type.
    """

    def __init__(self) -> None:
        self.who = "ada"
        self.granted = {"authorization_code": 0, "refresh_token": 0}
        self.access: dict[str, Any] = {}
        self._clients: dict[str, Any] = {}
        self._codes: dict[str, Any] = {}
        self._refresh: dict[str, Any] = {}

    def expire(self) -> None:
        """No access token is good any more."""
        self.access.clear()

    async def get_client(self, client_id: str) -> Any:
        return self._clients.get(client_id)

    async def register_client(self, client_info: Any) -> None:
        self._clients[client_info.client_id] = client_info

    async def authorize(self, client: Any, params: Any) -> str:
        from mcp.server.auth.provider import AuthorizationCode, construct_redirect_uri

        code = AuthorizationCode(
            code=secrets.token_urlsafe(24),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            subject=self.who,
            **params.model_dump(
                include={"code_challenge", "redirect_uri", "redirect_uri_provided_explicitly", "resource"}
            ),
        )
        self._codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(self, client: Any, authorization_code: str) -> Any:
        return self._codes.get(authorization_code)

    async def exchange_authorization_code(self, client: Any, authorization_code: Any) -> Any:
        del self._codes[authorization_code.code]
        self.granted["authorization_code"] += 1
        return self._given(authorization_code, authorization_code.scopes)

    async def load_refresh_token(self, client: Any, refresh_token: str) -> Any:
        return self._refresh.get(refresh_token)

    async def exchange_refresh_token(self, client: Any, refresh_token: Any, scopes: list[str]) -> Any:
        del self._refresh[refresh_token.token]
        self.granted["refresh_token"] += 1
        return self._given(refresh_token, scopes)

    async def load_access_token(self, token: str) -> Any:
        return self.access.get(token)

    async def revoke_token(self, token: Any) -> None:
        self.access.pop(token.token, None)
        self._refresh.pop(token.token, None)

    def _given(self, of: Any, scopes: list[str]) -> Any:
        from mcp.server.auth.provider import AccessToken, RefreshToken
        from mcp.shared.auth import OAuthToken

        facts = {"client_id": of.client_id, "scopes": scopes, "resource": of.resource, "subject": of.subject}
        access = AccessToken(token=secrets.token_urlsafe(24), **facts)
        refresh = RefreshToken(token=secrets.token_urlsafe(24), **facts)
        self.access[access.token], self._refresh[refresh.token] = access, refresh
        return OAuthToken(
            access_token=access.token, refresh_token=refresh.token, expires_in=3600, scope=" ".join(scopes)
        )


async def agree(page: str) -> str:
    """Where the browser of somebody who agrees ends."""
    async with httpx2.AsyncClient(follow_redirects=False) as browser:
        answer = await browser.get(page)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


@contextlib.asynccontextmanager
async def protected() -> AsyncIterator[tuple[str, Provider]]:
    """The URL of such a server, and what decides there, to the end of the block."""
    from mcp.server import MCPServer
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    provider = Provider()
    server = MCPServer(
        "protected",
        auth_server_provider=provider,  # type: ignore[arg-type]
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(origin),
            resource_server_url=AnyHttpUrl(f"{origin}/mcp"),
            validate_token_resource=True,
            required_scopes=["user"],
            client_registration_options=ClientRegistrationOptions(
                enabled=True, valid_scopes=["user"], default_scopes=["user"]
            ),
            revocation_options=RevocationOptions(enabled=True),
        ),
    )

    @server.tool()
    def whoami() -> str:
        token = get_access_token()
        return "" if token is None else str(token.subject)

    endpoint = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error"))
    serving = asyncio.create_task(endpoint.serve(sockets=[listening]))
    try:
        yield f"{origin}/mcp", provider
    finally:
        endpoint.should_exit = True
        await serving
        listening.close()
