"""Access tokens as Keycloak, Entra, Okta and Auth0 document that theirs look, signed by a key of the test's: each comes in by the entry that docs/access.md has for it.

What is refused of each is what people send instead: an ID token, one without the audience, one of the other version.
"""

import json
import time
from typing import Any

import pytest
from meshproxy.relay.principal import Visitor
from tests.access.conftest import Guard, mesh_of
from tests.access.test_tokens import challenge
from tests.kit.places import ROOT
from tests.kit.signer import Signer

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
SHAPES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "tests" / "access" / "shapes").glob("*.json")}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


def token(signer: Signer, shape: Json, **changes: Any) -> str:
    """One of a shape, moved to the time that it is; a claim of None is left out."""
    claims = {**shape["claims"], **changes}
    passed = int(time.time()) - shape["claims"]["iat"]
    moved = {
        name: value + passed if name in ("iat", "nbf", "exp", "auth_time") else value
        for name, value in claims.items()
        if value is not None
    }
    return signer.sign(moved, headers=shape["header"])


def protected(tmp_path: Any, signer: Signer, shape: Json) -> str:
    (tmp_path / "keys.json").write_text(json.dumps({"keys": signer.published}))
    return mesh_of(auth={"jwt": [{**shape["entry"], "jwks": "keys.json"}]})


@pytest.mark.parametrize("provider", SHAPES)
async def test_a_token_of_a_provider_comes_in_as_who_it_says(
    guarded: Guard, tmp_path: Any, signer: Signer, provider: str
) -> None:
    shape = SHAPES[provider]
    async with guarded(protected(tmp_path, signer, shape)) as mesh:
        shown = token(signer, shape)
        assert await mesh.status(shown) == 200
        session = await mesh.open(shown)
        assert await mesh.status(shown, session) == 200
        visitor = mesh.server.entrance.access.enter([f"Bearer {shown}".encode()], b"", "")
        assert isinstance(visitor, Visitor)
        principal, wanted = visitor.principal, shape["principal"]
        assert principal.name == wanted["name"]
        assert principal.groups == frozenset(wanted["groups"])
        assert principal.scopes == frozenset(wanted["scopes"])


@pytest.mark.parametrize(("provider", "name"), [(one, name) for one in SHAPES for name in SHAPES[one]["refused"]])
async def test_what_is_often_sent_instead_is_refused(
    guarded: Guard, tmp_path: Any, signer: Signer, provider: str, name: str
) -> None:
    shape = SHAPES[provider]
    async with guarded(protected(tmp_path, signer, shape)) as mesh:
        status, told = await challenge(mesh, token(signer, shape, **shape["refused"][name]))
        assert status in (401, 403)
        assert f'error="{"invalid_token" if status == 401 else "insufficient_scope"}"' in told
        assert "resource_metadata=" in told
