"""`People`: an `Authority` that knows whose each token is, offers each person other things, and notes whatever two people have shared."""

import json
import secrets
from typing import Any

import jwt
from tests.kit.authority import Authority, Json, Request

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class People(Authority):
    """See the module.

    Attributes:
        browser: who agrees to the next login.
        owners: whose each access token is.
        offers: tools by person, besides those that all have.
        mixed: what was used by two people: connections, and sessions of MCP.
        gives_back: an exchange gives the token back that it was asked to exchange.
        subjects: the tokens that came to be exchanged.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.browser = "ada"
        self.owners: dict[str, str] = {}
        self.offers: dict[str, list[str]] = {}
        self.mixed: list[str] = []
        self.gives_back = False
        self.subjects: list[str] = []
        self._refreshers: dict[str, str] = {}
        self._sessions: dict[str, str] = {}
        self._peers: dict[object, str] = {}
        self._owner = ""

    def _agreed(self, asked: dict[str, str]) -> str:
        return super()._agreed({**asked, "owner": self.browser})

    def _token(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        form = request.form
        if form["grant_type"] == EXCHANGE:
            return self._exchange(request)
        owner = self.codes.get(form.get("code", ""), {}).get("owner") or self._refreshers.get(
            form.get("refresh_token", ""), ""
        )
        status, answer, more = super()._token(request)
        if status == 200 and answer is not None:
            self.owners[answer["access_token"]] = owner
            if "refresh_token" in answer:
                self._refreshers[answer["refresh_token"]] = owner
        return status, answer, more

    def _exchange(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        form = request.form
        if self._client(request) is None:
            return 401, {"error": "invalid_client"}, {}
        if (
            form["subject_token_type"] != "urn:ietf:params:oauth:token-type:access_token"
            or form["resource"] != self.url
        ):
            return 400, {"error": "invalid_request"}, {}
        self.subjects.append(form["subject_token"])
        claims = jwt.decode(form["subject_token"], options={"verify_signature": False})
        if claims.get("revoked"):
            return 400, {"error": "invalid_grant", "error_description": "the subject is gone"}, {}
        token = form["subject_token"] if self.gives_back else self._give(f"exchanged-{secrets.token_hex(16)}")
        self.tokens[token] = form.get("scope", "")
        self.owners[token] = claims["sub"]
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.knobs.expires}
        return 200, {**answer, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, {}

    def _mcp(self, request: Request) -> tuple[int, Json | None, dict[str, str]]:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        owner = self._owner = self.owners.get(token, "")
        if token and self._peers.setdefault(request.peer, owner) != owner:
            self.mixed.append(f"a connection of {self._peers[request.peer]} used by {owner}")
        session = request.headers.get("mcp-session-id")
        if session is not None and self._sessions.get(session) != owner:
            self.mixed.append(f"a session of {self._sessions.get(session)} used by {owner}")
        status, answer, more = super()._mcp(request)
        if status != 200 or answer is None or "result" not in answer:
            return status, answer, more
        message = json.loads(request.body)
        if message["method"] == "initialize":
            number = secrets.token_hex(8)
            self._sessions[number] = owner
            more = {**more, "mcp-session-id": number}
        elif message["method"] == "tools/list":
            extra = [{"name": name, "inputSchema": {"type": "object"}} for name in self.offers.get(owner, ())]
            answer["result"]["tools"] += extra
        elif message["method"] == "tools/call":
            answer["result"]["content"][0]["text"] = owner
        return status, answer, more
