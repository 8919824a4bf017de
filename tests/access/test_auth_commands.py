"""`meshproxy auth` as a person uses it, and upstreams at which nobody logs in: clients of their own, and headers that a program prints."""

import asyncio
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from meshproxy.errors import RpcError
from tests.kit.authority import Authority, authority
from tests.kit.logged_in import log_in, meshed
from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

PROGRAM = [sys.executable, "-m", "meshproxy", "auth"]


def config(there: Authority, folder: Path, **top: Any) -> Path:
    file = folder / "mesh.yaml"
    file.write_text(
        json.dumps({"state": str(folder), **top, "upstreams": {"there": {"url": there.url, "auth": "oauth"}}})
    )
    return file


async def program(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )


async def run(*arguments: object) -> tuple[int | None, str, str]:
    """The exit status, and what it says."""
    process = await program(*arguments)
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def page_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        return (await process.stdout.readline()).decode().strip()


async def test_a_person_logs_in_sees_it_and_logs_out(tmp_path: Path) -> None:
    async with authority() as there:
        file = config(there, tmp_path)
        status, _, _ = await run("status", file)
        assert status == 0
        process = await program("login", "there", file, "--no-browser")
        back = await there.person(await page_of(process))
        async with httpx2.AsyncClient() as browser:
            # Another page that sends the browser there changes nothing.
            assert (await browser.get(back.replace("state=", "state=x"))).status_code == 404
            assert (await browser.get(back)).status_code == 200
        async with asyncio.timeout(DEADLINE):
            _, err = await process.communicate()
        assert process.returncode == 0, err
        assert "logged in" in err.decode()
        _, out, _ = await run("status", file, "--json")
        [one] = json.loads(out)
        assert (one["name"], one["state"], one["issuer"]) == ("there", "logged in", there.issuer)
        assert not [secret for secret in there.secrets if secret in out + err.decode()]
        async with meshed(there, tmp_path) as mesh:
            assert await mesh.call() == "done"
            status, _, err_out = await run("logout", "there", config(there, tmp_path))
            assert (status, err_out) == (0, "logged out of there\n")
            await mesh.until("needs login")
        assert not there.tokens
        assert not there.refresh


async def test_a_person_on_a_machine_without_a_browser_pastes_where_he_ended(tmp_path: Path) -> None:
    async with authority() as there:
        process = await program("login", "there", config(there, tmp_path), "--manual")
        back = await there.person(await page_of(process))
        async with asyncio.timeout(DEADLINE):
            _, err = await process.communicate(back.encode() + b"\n")
        assert process.returncode == 0, err


async def test_what_cannot_be_logged_in_is_said_in_one_line(tmp_path: Path) -> None:
    async with authority(pkce=None) as there:
        status, _, err = await run("login", "there", config(there, tmp_path), "--no-browser")
        assert status == 1
        assert err.count("\n") == 1
        assert "PKCE" in err
        status, _, err = await run("login", "other", config(there, tmp_path))
        assert (status, err) == (2, "error: there is no upstream 'other'; one can log in at there\n")
        status, _, err = await run("login", "there", config(there, tmp_path, state="none"))
        assert status == 2
        assert "state: none" in err


async def test_a_client_of_its_own_gets_its_tokens_by_a_secret(tmp_path: Path) -> None:
    auth = {"type": "client_credentials", "client_id": "me sh", "client_secret": "s3cret+of/mesh"}
    async with authority(clients={"me sh": "s3cret+of/mesh"}) as there, meshed(there, tmp_path, auth) as mesh:
        assert await mesh.call() == "done"
        there.expire()
        assert await asyncio.gather(*(mesh.call() for _ in range(20))) == ["done"] * 20
        assert len(there.grants("client_credentials")) == 2


async def test_a_client_of_its_own_that_is_refused_says_what_to_look_at(tmp_path: Path) -> None:
    auth = {"type": "client_credentials", "client_id": "mesh", "client_secret": "wrong-secret"}
    async with authority(clients={"mesh": "right-secret"}) as there, meshed(there, tmp_path, auth) as mesh:
        assert mesh.state == "backing off"
        assert "invalid_client" in mesh.reason
        assert "check auth of this upstream" in mesh.reason


async def test_a_client_of_its_own_signs_who_it_is(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    auth = {"type": "client_credentials", "client_id": "mesh", "private_key": pem, "key_id": "k1"}
    async with authority(clients={"mesh": "-"}) as there, meshed(there, tmp_path, auth) as mesh:
        assert await mesh.call() == "done"
        [form] = there.grants("client_credentials")
        shown = form["client_assertion"]
        claims = jwt.decode(shown, key.public_key(), algorithms=["ES256"], audience=there.issuer)
        assert (claims["iss"], claims["sub"]) == ("mesh", "mesh")
        assert jwt.get_unverified_header(shown)["kid"] == "k1"


async def test_a_private_key_that_is_none_is_said_to_be_and_not_shown(tmp_path: Path) -> None:
    auth = {"type": "client_credentials", "client_id": "mesh", "private_key": "no-key-at-all"}
    async with authority(clients={"mesh": "-"}) as there, meshed(there, tmp_path, auth) as mesh:
        assert "private_key cannot sign" in mesh.reason
        assert "no-key-at-all" not in mesh.reason


async def test_headers_that_a_program_prints_are_shown_and_printed_anew_when_they_are_refused(tmp_path: Path) -> None:
    script, told = tmp_path / "headers.py", tmp_path / "token"
    script.write_text(
        textwrap.dedent(f"""
        import json, os, pathlib
        assert os.environ["MESHPROXY_UPSTREAM"] == "there"
        print(json.dumps({{"Authorization": "Bearer " + pathlib.Path({str(told)!r}).read_text()}}))
        """)
    )
    auth = {"type": "headers", "command": [sys.executable, str(script)]}
    async with authority() as there:
        there.tokens["printed-token-one"] = ""
        told.write_text("printed-token-one")
        async with meshed(there, tmp_path, auth) as mesh:
            assert await mesh.call() == "done"
            there.expire()
            there.tokens["printed-token-two"] = ""
            told.write_text("printed-token-two")
            assert await asyncio.gather(*(mesh.call() for _ in range(5))) == ["done"] * 5
            assert "printed-token" not in mesh.mesh.scrub("printed-token-one printed-token-two").replace("***", "")
            there.expire()
            with pytest.raises(RpcError) as refused:
                await mesh.call()
            assert "printed-token" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ([sys.executable, "-c", "print('Bearer hidden-thing')"], "prints no JSON object"),
        ([sys.executable, "-c", "print('[]')"], "prints no JSON object"),
        ([sys.executable, "-c", "print('{\"a\": 1}')"], "prints no JSON object"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with status 3"),
        (["/nowhere/at-all"], "cannot be started"),
    ],
)
async def test_a_program_that_prints_no_headers_is_said_to(tmp_path: Path, line: list[str], why: str) -> None:
    async with authority() as there, meshed(there, tmp_path, {"type": "headers", "command": line}) as mesh:
        assert why in mesh.reason
        assert "hidden-thing" not in mesh.reason
        assert not there.requests


async def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "import time; time.sleep(60)"]
    auth = {"type": "headers", "command": line, "timeout": 0.2}
    async with authority() as there, meshed(there, tmp_path, auth) as mesh:
        assert "longer than 0.2 s" in mesh.reason


async def test_a_login_is_for_upstreams_of_the_older_transport_too(tmp_path: Path) -> None:
    async with authority() as there:
        await log_in(there, tmp_path)
        there.end()
        async with meshed(there, tmp_path, transport="sse") as mesh:
            assert mesh.state == "needs login"
