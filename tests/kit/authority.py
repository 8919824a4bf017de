"""An authorization server, and a server of MCP that it protects, in this process: each misbehaviour is a knob.

`Authority` logs `requests`, keeps what it has given out, and answers by its `Knobs`; `person` is the browser of somebody who agrees, and who follows the
page over HTTP is answered likewise. What it gives out is random, or, by the knob `signs`, tokens that others can verify by its keys; `token` makes any.
"""

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.kit.signer import Signer

Json = dict[str, Any]


@dataclass
class Knobs:
    """What it does otherwise than it should, or than usual."""

    # the protected server
    challenge: str | None = "metadata"
    """`metadata` names the document, `plain` says Bearer alone, None says nothing."""
    resource_places: tuple[str, ...] = ("path", "root")
    resource: str | None = None
    """What the metadata says the resource is; None for the truth."""
    issuers: list[str] | None = None
    scopes_supported: list[str] | None = None
    wanted: str = ""
    """`scope` of the challenge."""
    needs: dict[str, str] = field(default_factory=dict)
    """Scopes by tool."""
    # the authorization server
    path: str = ""
    """Of the issuer."""
    metadata_at: str = "oauth"
    """`oauth`, `openid` or `openid-behind`."""
    issuer: str | None = None
    """What the metadata says; None for the truth."""
    pkce: list[str] | None = field(default_factory=lambda: ["S256"])
    registration: bool = True
    refuses_registration: str = ""
    grants: list[str] | None = None
    """`grant_types_supported`; who registers for another one is refused. None for any, and none is told."""
    documents: bool = False
    methods: list[str] = field(default_factory=lambda: ["none", "client_secret_basic"])
    says_iss: bool = False
    iss: str | None = None
    """What the answer says; "" for nothing, None for the truth where `says_iss`."""
    rotates: bool = True
    gives_refresh: bool = True
    expires: float | None = 3600
    revocation: bool = True
    clients: dict[str, str] = field(default_factory=dict)
    """Registered beforehand: secrets by client id."""
    authorization_scopes: list[str] = field(default_factory=list)
    token_status: int = 200
    """Other than 200: the token endpoint is ill."""
    redirects: str = ""
    """Where documents redirect to."""
    signs: bool = False
    """Access tokens are JSON Web Tokens of the person `ada`, for the resource that was asked for."""
    is_down: bool = False
    """Every request is answered with 500."""
    grantable: str | None = None
    """The scopes that are ever given; None for those that are asked for."""


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer: object = None
    """The other end of the connection that it came on."""

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class Authority:
    """See the module."""

    def __init__(self, port: int, knobs: Knobs) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.knobs = knobs
        self.requests: list[Request] = []
        self.tokens: dict[str, str] = {}
        """Scopes by access token, as long as it is good."""
        self.refresh: dict[str, str] = {}
        self.codes: dict[str, Json] = {}
        self.registered: dict[str, Json] = {}
        self.calls = 0
        self.secrets: list[str] = []
        """Everything that it ever gave out and that nobody may see."""

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    @property
    def issuer(self) -> str:
        return self.origin + self.knobs.path

    @cached_property
    def signer(self) -> Signer:
        """Its keys, which take a while to make."""
        return Signer()

    def token(self, subject: str = "ada", **facts: Any) -> str:
        """A token that was never given out: see `Signer.token`."""
        return self.signer.token(self.issuer, subject, **facts)

    def told(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def grants(self, kind: str) -> list[dict[str, str]]:
        """The forms of a grant type that came to the token endpoint."""
        return [request.form for request in self.told("/token") if request.form.get("grant_type") == kind]

    def expire(self) -> None:
        """No access token is good any more."""
        self.tokens.clear()

    def end(self) -> None:
        """No refresh token is good any more either."""
        self.tokens.clear()
        self.refresh.clear()

    # --- the person

    async def person(self, page: str) -> str:
        """Where the browser of somebody who agrees ends."""
        parts = urlsplit(page)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.origin}/authorize"
        return self._agreed(dict(parse_qsl(parts.query)))

    def _agreed(self, asked: dict[str, str]) -> str:
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        answer = {"code": code, "state": asked["state"]}
        iss = self.issuer if self.knobs.iss is None and self.knobs.says_iss else self.knobs.iss
        if iss:
            answer["iss"] = iss
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    # --- the servers

    async def handle(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        self.requests.append(request)
        path, knobs = request.path, self.knobs
        if knobs.is_down:
            return 500, None, {}
        if path == "/keys":
            return 200, {"keys": self.signer.published}, {}
        if path == "/authorize":
            return 302, None, {"location": self._agreed(request.query)}
        if path == "/mcp":
            return self._mcp(request)
        if path.startswith("/.well-known/") or path.endswith("/.well-known/openid-configuration"):
            if knobs.redirects:
                return 302, None, {"location": knobs.redirects}
            return self._document(path)
        if path == "/register" and knobs.registration:
            return self._register(json.loads(request.body))
        if path == "/token":
            return self._token(request)
        if path == "/revoke" and knobs.revocation:
            self.tokens.pop(request.form["token"], None)
            self.refresh.pop(request.form["token"], None)
            return 200, None, {}
        return 404, None, {}

    def _document(self, path: str) -> tuple[int, Json | None, dict[str, str]]:
        knobs = self.knobs
        resource = {
            "resource": knobs.resource or self.url,
            "authorization_servers": [self.issuer] if knobs.issuers is None else knobs.issuers,
        }
        if knobs.scopes_supported is not None:
            resource["scopes_supported"] = knobs.scopes_supported
        places = {"path": "/.well-known/oauth-protected-resource/mcp", "root": "/.well-known/oauth-protected-resource"}
        if path in [places[place] for place in knobs.resource_places] or path == "/.well-known/elsewhere":
            return 200, resource, {}
        at = {
            "oauth": f"/.well-known/oauth-authorization-server{knobs.path}",
            "openid": f"/.well-known/openid-configuration{knobs.path}",
            "openid-behind": f"{knobs.path}/.well-known/openid-configuration",
        }.get(knobs.metadata_at)
        if path != at:
            return 404, None, {}
        document: Json = {
            "issuer": knobs.issuer or self.issuer,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "jwks_uri": f"{self.origin}/keys",
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": knobs.methods,
            "client_id_metadata_document_supported": knobs.documents,
            "authorization_response_iss_parameter_supported": knobs.says_iss,
        }
        if knobs.pkce is not None:
            document["code_challenge_methods_supported"] = knobs.pkce
        if knobs.grants is not None:
            document["grant_types_supported"] = knobs.grants
        if knobs.registration:
            document["registration_endpoint"] = f"{self.origin}/register"
        if knobs.revocation:
            document["revocation_endpoint"] = f"{self.origin}/revoke"
        if knobs.authorization_scopes:
            document["scopes_supported"] = knobs.authorization_scopes
        return 200, document, {}

    def _register(self, wanted: Json) -> tuple[int, Json | None, dict[str, str]]:
        if self.knobs.refuses_registration:
            return 400, {"error": self.knobs.refuses_registration}, {}
        grants = self.knobs.grants
        if grants is not None and not set(wanted["grant_types"]) <= set(grants):
            said = f"grant_types can only contain {' and '.join(grants)}"
            return 400, {"error": "invalid_client_metadata", "error_description": said}, {}
        client = f"client-{len(self.registered)}"
        self.registered[client] = wanted
        # What the client leaves out is as the server says (RFC 7591, 2 and 3.2.1).
        given = {"client_id": client, "token_endpoint_auth_method": "client_secret_basic", **wanted}
        if given["token_endpoint_auth_method"] != "none":
            given["client_secret"] = self._give(f"registered-secret-{secrets.token_hex(8)}")
            self.knobs.clients[client] = given["client_secret"]
        return 201, given, {}

    def _token(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        knobs, form = self.knobs, request.form
        if knobs.token_status != 200:
            return knobs.token_status, None, {}
        client = self._client(request)
        if client is None:
            return 401, {"error": "invalid_client"}, {}
        if form.get("resource") != (knobs.resource or self.url):
            return 400, {"error": "invalid_target", "error_description": f"not {form.get('resource')}"}, {}
        scope = form.get("scope", "")
        match form["grant_type"]:
            case "authorization_code":
                asked = self.codes.pop(form["code"], None)
                digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                if (
                    asked is None
                    or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                    or asked["redirect_uri"] != form["redirect_uri"]
                    or asked["client_id"] != client
                    or asked["resource"] != form["resource"]
                ):
                    return 400, {"error": "invalid_grant"}, {}
                scope = asked.get("scope", "")
            case "refresh_token":
                found = self.refresh.get(form["refresh_token"])
                if found is None:
                    return 400, {"error": "invalid_grant", "error_description": "it is not known"}, {}
                if knobs.rotates:
                    del self.refresh[form["refresh_token"]]
                scope = found
            case "client_credentials":
                pass
            case other:
                return 400, {"error": "unsupported_grant_type", "error_description": other}, {}
        if knobs.grantable is not None:
            scope = " ".join(one for one in scope.split() if one in knobs.grantable.split())
        token = self._give(self._made(form, scope))
        self.tokens[token] = scope
        answer: Json = {"access_token": token, "token_type": "bearer", "scope": scope}
        if knobs.expires is not None:
            answer["expires_in"] = knobs.expires
        is_due = form["grant_type"] == "authorization_code" or (knobs.rotates and form["grant_type"] == "refresh_token")
        if knobs.gives_refresh and is_due:
            answer["refresh_token"] = self._give(f"refresh-{secrets.token_hex(16)}")
            self.refresh[answer["refresh_token"]] = scope
        return 200, answer, {}

    def _made(self, form: dict[str, str], scope: str) -> str:
        if not self.knobs.signs:
            return f"access-{secrets.token_hex(16)}"
        return self.token(aud=form["resource"], scope=scope, jti=secrets.token_hex(8))

    def _client(self, request: Request) -> str | None:
        """Who asks for a token, if that can be believed."""
        shown = request.headers.get("authorization", "")
        if shown.startswith("Basic "):
            name, _, secret = base64.b64decode(shown[6:]).decode().partition(":")
            return unquote(name) if self.knobs.clients.get(unquote(name)) == unquote(secret) else None
        client = request.form.get("client_id", "")
        if client in self.knobs.clients:
            given = request.form.get("client_secret"), request.form.get("client_assertion")
            return client if self.knobs.clients[client] in given or given[1] else None
        return client if client in self.registered or client.startswith("https://") else None

    def _give(self, secret: str) -> str:
        self.secrets.append(secret)
        return secret

    # --- MCP, legacy, as far as a tool goes

    def _mcp(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        granted = self.tokens.get(token)
        if granted is None:
            return 401, None, self._challenge(f'scope="{self.knobs.wanted}"' if self.knobs.wanted else "")
        if request.method != "POST":
            return 405, None, {}
        message = json.loads(request.body)
        method, params = message.get("method"), message.get("params") or {}
        if "id" not in message:
            return 202, None, {}
        result: Json
        match method:
            case "initialize":
                info = {"name": "protected", "version": "1"}
                result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                schema = {"type": "object"}
                names = ["whoami", *self.knobs.needs]
                result = {"tools": [{"name": name, "inputSchema": schema} for name in names]}
            case "tools/call":
                needed = self.knobs.needs.get(params["name"], "")
                if not set(needed.split()) <= set(granted.split()):
                    return 403, None, self._challenge(f'error="insufficient_scope", scope="{needed}"')
                self.calls += 1
                text = "tell " + token if params["arguments"].get("tell") else "done"
                result = {"content": [{"type": "text", "text": text}], "isError": False}
            case "ping":
                result = {}
            case _:
                error = {"code": -32601, "message": "Method not found"}
                return 200, {"jsonrpc": "2.0", "id": message["id"], "error": error}, {}
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, {}

    def _challenge(self, more: str) -> dict[str, str]:
        if self.knobs.challenge is None:
            return {}
        parts = [more] if more else []
        if self.knobs.challenge == "metadata":
            parts.append(f'resource_metadata="{self.origin}/.well-known/oauth-protected-resource/mcp"')
        elif self.knobs.challenge != "plain":
            parts.append(f'resource_metadata="{self.knobs.challenge}"')
        return {"www-authenticate": f"Bearer {', '.join(parts)}".strip()}


A = TypeVar("A", bound=Authority)


@asynccontextmanager
async def authority(kind: type[A] = Authority, **knobs: Any) -> AsyncIterator[A]:
    """An authority that listens, with these knobs, to the end of the block; `kind` is one that does more."""
    found: list[A] = []
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.split("\r\n")[:-2]
                method, target, _ = line.split(" ")
                headers = {name.lower(): value for name, value in (item.split(": ", 1) for item in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                parts = urlsplit(target)
                query = dict(parse_qsl(parts.query))
                status, answer, more = await found[0].handle(
                    Request(method, parts.path, query, headers, body, writer.get_extra_info("peername"))
                )
                text = b"" if answer is None else json.dumps(answer).encode()
                more = {**more, "content-type": "application/json", "content-length": str(len(text))}
                lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in more.items())]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.append(kind(server.sockets[0].getsockname()[1], Knobs(**knobs)))
    try:
        yield found[0]
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
