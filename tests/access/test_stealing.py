"""What is one principal's is nobody else's: each theft is refused as what does not exist is, and the log says so once."""

import pytest
from meshproxy.catalog.catalog import Mount
from meshproxy.errors import INVALID_PARAMS
from meshproxy.mesh.task_ids import is_task_of, public_id
from meshproxy.relay.principal import ANONYMOUS
from meshproxy.wire.protocol import META_CAPABILITIES
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
from tests.kit.clients import ELICIT, visitor
from tests.kit.journal import Journal
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
        (told,) = mesh.journal.of("access.not_its_own")
        assert (told["what"], told["principal"], told["owner"]) == ("request state", "key:bob", "key:ada")
        # What was made up, and what is for something else, is nobody's.
        for other in ({"requestState": "x"}, {"name": "a_write"}, {"arguments": {}}):
            assert "error" in await mesh.modern(BOB, "tools/call", meta=able, **(retry | other))
        assert len(mesh.journal.of("access.not_its_own")) == 1
        # The theft has cost its owner nothing.
        assert (await mesh.modern(ADA, "tools/call", meta=able, **retry))["result"]["structuredContent"]["answers"]


def test_the_id_of_a_task_is_good_for_its_principal_alone_and_a_theft_is_told_once(journal: Journal) -> None:
    mount = Mount("up")
    ada, bob = visitor("ada of the tasks"), visitor("bob of the tasks")
    names = {public_id(mount, "7", who) for who in (ada, bob, ANONYMOUS)}
    assert len(names) == 3
    mine = public_id(mount, "7", ada)
    assert public_id(mount, "7", visitor("ada of the tasks", "research")) == mine
    assert public_id(mount, "7", ANONYMOUS) == "up/7"
    assert is_task_of(ada, mount, "7", mine)
    for _ in range(2):
        assert not is_task_of(bob, mount, "7", mine)
    (told,) = journal.of("access.not_its_own")
    assert (told["what"], told["owner"], told["principal"]) == (
        "task",
        "key:ada of the tasks",
        "key:bob of the tasks",
    )
    # Of another task, made up, or of one who is nobody in particular.
    for other in (mine.replace("/7", "/8"), f"{mine[:-3]}0/7", "up:x/7", "up:ü/7", "up/7", f"up:{'0' * 40}/7"):
        assert not is_task_of(bob, mount, other.rpartition("/")[2], other)
    assert not is_task_of(ANONYMOUS, mount, "7", public_id(mount, "7", ada))
    assert [one["principal"] for one in journal.of("access.not_its_own")] == [
        "key:bob of the tasks",
        "anonymous",
    ]


async def test_the_subscription_of_another_principal_is_not_his_to_end(guarded: Guard) -> None:
    """A subscription has no name but its session's or its stream's, so whoever has neither ends his own at most."""
    upstreams = {"a": light("--resources", "memo://a")}
    async with guarded(mesh_of(key("ada", ADA), key("bob", BOB), upstreams=upstreams)) as mesh:
        ada, bob = await mesh.open(ADA), await mesh.open(BOB)
        (listed,) = (await mesh.legacy(ADA, ada, "resources/list"))["result"]["resources"]
        subscribed = await mesh.legacy(ADA, ada, "resources/subscribe", uri=listed["uri"])
        assert "result" in subscribed
        stolen = await mesh.legacy(BOB, ada, "resources/unsubscribe", uri=listed["uri"])
        assert stolen["status"] == 404
        await mesh.legacy(BOB, bob, "resources/unsubscribe", uri=listed["uri"])
        assert [len(held) for held in mesh.server.composite._watchers._held.values()] == [1]
        (told,) = mesh.journal.of("access.not_its_own")
        assert told["what"] == "session"
