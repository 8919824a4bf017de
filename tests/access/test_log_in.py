"""K1 to K15 of the rules for a client of OAuth: the mesh logs in at servers that want it."""

import asyncio
import json
from pathlib import Path

import pytest
from meshproxy.errors import RpcError
from tests.kit.authority import authority
from tests.kit.logged_in import log_in, meshed

pytestmark = pytest.mark.anyio


async def test_a_login_gives_the_mesh_what_the_server_offers(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            assert mesh.state == "up"
            assert await mesh.call() == "done"


async def test_an_upstream_that_wants_a_login_says_with_which_command_it_is_done(tmp_path: Path) -> None:
    async with authority() as there, meshed(there, tmp_path) as mesh:
        assert mesh.state == "needs login"
        assert f"run meshproxy auth login there {tmp_path}/mesh.yaml" in mesh.reason


async def test_a_login_is_in_force_without_a_restart(tmp_path: Path) -> None:
    async with authority() as there, meshed(there, tmp_path) as mesh:
        await log_in(there, tmp_path)
        await mesh.until("up")
        assert await mesh.call() == "done"


async def test_twenty_calls_over_an_expired_token_cause_one_refresh(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            await mesh.call()
            there.expire()
            assert await asyncio.gather(*(mesh.call() for _ in range(20))) == ["done"] * 20
            assert len(there.grants("refresh_token")) == 1
            assert there.calls == 21


async def test_a_refresh_token_that_was_revoked_ends_in_needs_login_within_one_call(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.end()
            with pytest.raises(RpcError, match=r"needs a login: the login has ended .*run meshproxy auth login there"):
                await mesh.call()
            await mesh.until("needs login")
            await log_in(there, tmp_path)
            await mesh.until("up")
            assert await mesh.call() == "done"


async def test_no_token_is_in_the_file_of_a_record_that_others_may_read(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
    files = [file for file in (tmp_path / "tokens").iterdir() if file.suffix == ".json"]
    assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600"]
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o700
    assert json.loads(files[0].read_text())["issuer"] == there.issuer
