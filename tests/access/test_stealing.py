"""What is one principal's is nobody else's: each theft is refused as what does not exist is, and the log says so once."""

import pytest
from meshproxy.catalog.catalog import Mount
from meshproxy.errors import INVALID_PARAMS
from meshproxy.mesh.router import public_id
from meshproxy.relay.principal import ANONYMOUS
from meshproxy.wire.protocol import META_CAPABILITIES
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
from tests.kit.clients import ELICIT, visitor
from tests.kit.light import light
from tests.kit.messages import heads

pytestmark = pytest.mark.anyio


async def test_a_session_of_another_principal_is_unknown(guarded: Guard) -> None:
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB))) as mesh:
        session = await mesh.open(ADA)
        made_up = {**session, "mcp_session_id": "x" * 32}
        for _ in range(3):
            stolen = await mesh.legacy(BOB, session, "tools/list")
            assert stolen == await mesh.legacy(BOB, made_up, "tools/list")
            assert stolen["status"] == 404
        shown = heads(**session, authorization=f"Bearer {BOB}")
        assert (await mesh.http.get(mesh.base + "/mcp", headers=shown)).status_code == 404
        resumed = heads(**session, authorization=f"Bearer {BOB}", last_event_id="0-1")
        assert (await mesh.http.get(mesh.base + "/mcp", headers=resumed)).status_code == 404
        assert (await mesh.http.delete(mesh.base + "/mcp", headers=shown)).status_code == 404
        assert await mesh.status(ADA, session) == 200
        (told,) = mesh.journal.of("access.not_its_own")
        assert (told["what"], told["principal"], told["owner"]) == ("session", "key:bob", "key:ada")


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_state_of_a_call_of_another_principal_is_worth_nothing(guarded: Guard, era: str) -> None:
    """Be the call parked here, or the state the upstream's own."""
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB), upstreams={"a": light("--era", era)})) as mesh:
        able = {META_CAPABILITIES: {"elicitation": {"form": {}}}}
        params = {"name": "a_echo", "arguments": {"ask": [[ELICIT]]}}
        asked = (await mesh.modern(ADA, "tools/call", meta=able, **params))["result"]
        (question,) = asked["inputRequests"]
        answers = {question: {"action": "accept", "content": {"answer": "yes"}}}
        retry = {**params, "requestState": asked["requestState"], "inputResponses": answers}
        for _ in range(2):
            stolen = await mesh.modern(BOB, "tools/call", meta=able, **retry)
            assert stolen["error"]["code"] == INVALID_PARAMS
        # The theft has cost its owner nothing.
        assert (await mesh.modern(ADA, "tools/call", meta=able, **retry))["result"]["structuredContent"]["answers"]


def test_the_id_of_a_task_is_good_for_its_principal_alone() -> None:
    mount = Mount("up")
    ada, bob = visitor("ada"), visitor("bob")
    names = {public_id(mount, "7", who) for who in (ada, bob, ANONYMOUS)}
    assert len(names) == 3
    assert public_id(mount, "7", visitor("ada", "research")) == public_id(mount, "7", ada)
    assert public_id(mount, "7", ANONYMOUS) == "up/7"
