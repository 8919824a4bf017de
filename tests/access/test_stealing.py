"""What is one principal's is nobody else's: each theft is refused as what does not exist is, and the log says so once."""

import pytest
from tests.access.conftest import ADA, BOB, Guard, key, mesh_of
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
