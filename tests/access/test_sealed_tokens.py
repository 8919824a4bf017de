"""Tokens on the disk: sealed with a key of the platform's keyring where there is one."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from meshproxy.login.chest import MARK
from meshproxy.login.vault import Vault
from tests.access.test_auth_commands import config, run
from tests.kit.authority import Authority, authority
from tests.kit.journal import Journal
from tests.kit.keyrings import Keyring
from tests.kit.logged_in import log_in, meshed

pytestmark = pytest.mark.anyio


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    keyring = Keyring(tmp_path, monkeypatch)
    yield keyring
    keyring.forget()


def records(state: Path) -> list[bytes]:
    return [file.read_bytes() for file in sorted((state / "tokens").glob("*.json"))]


def shows_a_secret(there: Authority, data: bytes) -> bool:
    return any(secret.encode() in data for secret in there.secrets)


async def test_what_is_kept_is_sealed_with_a_key_that_the_keyring_has_and_the_directory_has_not(
    tmp_path: Path, keyring: Keyring
) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        async with meshed(there, tmp_path) as mesh:
            there.expire()
            assert await mesh.call() == "done"
        (data,) = records(tmp_path)
        assert data.startswith(MARK)
        everything = [file.read_bytes() for file in (tmp_path / "tokens").iterdir()]
        keys = list(json.loads(keyring.file.read_text()).values())
        assert len(keys) == 1
        assert not any(shows_a_secret(there, one) or keys[0].encode() in one for one in everything)


async def test_what_was_kept_before_there_was_a_keyring_is_sealed_when_it_is_used(
    tmp_path: Path, keyring: Keyring
) -> None:
    async with authority() as there:
        keyring.be("none")
        await log_in(there, tmp_path)
        assert shows_a_secret(there, records(tmp_path)[0])
        keyring.be("")
        async with meshed(there, tmp_path) as mesh:
            assert await mesh.call() == "done"
            assert not shows_a_secret(there, records(tmp_path)[0])
            there.expire()
            assert await mesh.call() == "done"


async def test_several_processes_that_share_a_directory_share_its_key(tmp_path: Path, keyring: Keyring) -> None:
    async with authority() as there:
        vaults = [Vault(tmp_path) for _ in range(4)]
        await asyncio.gather(*(vault.unlock() for vault in vaults))
        assert len(json.loads(keyring.file.read_text())) == 1
        file = config(there, tmp_path)
        await log_in(there, tmp_path)
        status, out, err = await run("status", file, "--json")
        assert (status, json.loads(out)[0]["state"]) == (0, "logged in"), err
        status, _, err = await run("logout", "there", file)
        assert status == 0, err
        assert not there.tokens


async def test_a_keyring_that_is_locked_costs_the_logins_that_are_there_until_it_is_opened_and_says_so(
    tmp_path: Path, keyring: Keyring, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.login.person.AGAIN", 0.0)
    async with authority() as there:
        await log_in(there, tmp_path)
        keyring.be("locked")
        async with meshed(there, tmp_path) as mesh:
            assert mesh.state == "needs login"
            assert "the platform's keyring cannot be asked; unlock it" in mesh.reason
            assert "hunter2" not in mesh.reason + str(journal.all)
            assert len(journal.of("login.no_keyring")) == 1
            keyring.be("")
            await mesh.until("up")
            assert await mesh.call() == "done"


async def test_a_record_that_was_put_in_anothers_place_is_not_opened(tmp_path: Path, keyring: Keyring) -> None:
    async with authority() as one, authority() as other:
        await log_in(one, tmp_path)
        vault = Vault(tmp_path)
        await vault.unlock()
        mine, theirs = vault.path("there", one.url), vault.path("there", other.url)
        assert mine is not None
        assert theirs is not None
        theirs.write_bytes(mine.read_bytes())
        assert vault.read("there", other.url).grant is None
        assert vault.read("there", one.url).grant is not None
