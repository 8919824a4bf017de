"""Every secret of a run is known here, and every byte that leaves the mesh is looked at: none of them is in it."""

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from tests.access.conftest import ADA, BOB, key
from tests.kit.authority import Authority, authority
from tests.kit.keyrings import Keyring
from tests.kit.light import document, light
from tests.kit.logged_in import log_in
from tests.kit.messages import heads, modern, request
from tests.kit.program import ENVIRONMENT, Serving, pids, serve
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

Json = dict[str, Any]

GIVEN = {
    "variable": "s3cr3t-of-a-variable",
    "file": "s3cr3t-of-a-file",
    "command": "s3cr3t-of-a-command",
    "keyring": "s3cr3t-of-the-keyring",
    "argument": "s3cr3t-of-an-argument",
    "query": "s3cr3t-of-a-query",
}
CLIENT = "s3cr3t-of-the-client"


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keyring]:
    keyring = Keyring(tmp_path, monkeypatch)
    yield keyring
    keyring.forget()


class Run:
    """A mesh in a process of its own, and all that it has said to anybody."""

    def __init__(self, mesh: Serving, http: httpx2.AsyncClient) -> None:
        self.mesh = mesh
        self.http = http
        self.said: dict[str, bytes] = {}
        self.opened = self.session = ""
        self.own: dict[str, tuple[str, set[str]]] = {}
        """What a browser has of a login, and where that may stand: in what it is told by."""

    async def ask(self, method: str, path: str, secret: str | None, *, content: bytes = b"", **headers: str) -> Any:
        shown = {} if secret is None else {"authorization": f"Bearer {secret}"}
        url = self.mesh.url.removesuffix("/mcp") + path
        answer = await self.http.request(method, url, content=content, headers=heads(**shown, **headers))
        whole = b"\n".join(name + b": " + value for name, value in answer.headers.raw) + b"\n\n" + answer.content
        self.said[f"{len(self.said)}: {method} {path} {answer.status_code}"] = whole
        return answer

    async def visit(self, window: httpx2.AsyncClient, method: str, url: str, **sent: Any) -> httpx2.Response:
        """What a browser does."""
        answer = await window.request(method, url, **sent)
        assert answer.status_code == 200, answer.text
        whole = b"\n".join(name + b": " + value for name, value in answer.headers.raw) + b"\n\n" + answer.content
        self.said[f"{len(self.said)}: {method} a page"] = whole
        return answer

    @property
    def last(self) -> str:
        """Where the last answer is."""
        return next(reversed(self.said))

    async def call(self, tool: str, secret: str | None = ADA, **arguments: Any) -> str:
        message, headers = modern(request("tools/call", {"name": tool, "arguments": arguments}))
        answer = await self.ask("POST", "/mcp", secret, content=json.dumps(message).encode(), **headers)
        return str(answer.text)

    def found(self, secrets: dict[str, str]) -> list[tuple[str, str]]:
        """Which secret is where."""
        return [
            (what, where)
            for what, secret in secrets.items()
            for where, said in self.said.items()
            if secret.encode() in said
        ]


def config_of(there: Authority, folder: Path) -> str:
    (folder / "secret.txt").write_text(GIVEN["file"])
    (folder / "print.py").write_text("print(open('printed.txt').read())")
    (folder / "printed.txt").write_text(GIVEN["command"])
    wanted = {"type": "oauth", "client_id": "us", "client_secret": CLIENT}
    upstreams = {
        "own": {"url": there.url, "auth": {**wanted, "per": "caller"}},
        "there": {"url": there.url, "auth": wanted, "headers": {"X-Api-Key": "${file:secret.txt}"}, "pin": "block"},
        "a": light("--label", "a", env={"API_KEY": "${A_VARIABLE}"}, pin="warn"),
        "b": light(env={"ONE_TOKEN": f"${{cmd:{sys.executable} print.py}}", "TWO_TOKEN": "${keyring:mesh/b}"}),
        "plain": light(),
        "dead": {"url": f"http://127.0.0.1:9/mcp?token={GIVEN['query']}"},
        "dies": light("--dies", f"--password={GIVEN['argument']} is wrong", env={"PASSWORD": GIVEN["argument"]}),
    }
    keys = [key("ada", ADA, rights=["use", "admin"]), key("bob", BOB)]
    observe = {"audit": {"file": "audit.jsonl", "arguments": "all"}, "calls": {"arguments": "all"}}
    server = {"auth": {"keys": keys}}
    return document(upstreams, server=server, observe=observe, state="state")


async def test_no_secret_of_a_run_leaves_the_mesh(
    tmp_path: Path, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring.file.write_text(json.dumps({"mesh/b": GIVEN["keyring"]}))
    environment = {**ENVIRONMENT, **os.environ, "A_VARIABLE": GIVEN["variable"], "PYTHONWARNINGS": "error"}
    monkeypatch.setattr("tests.kit.program.ENVIRONMENT", environment)
    file, state = tmp_path / "mesh.yaml", tmp_path / "state"
    async with authority(clients={"us": CLIENT}, methods=["client_secret_basic"]) as there:
        await log_in(there, state, {"client_id": "us", "client_secret": CLIENT})
        text = config_of(there, tmp_path)
        file.write_text(text)
        async with beside(file, tmp_path / "log") as mesh, httpx2.AsyncClient(timeout=60) as http:
            run = Run(mesh, http)
            await eventually(lambda: '"upstream.up","upstream":"there"' in compact(mesh.log))
            await do_much(run, there)
            await log_in_at_own(run, there)
            await edit(file, text)
            why = "/api/why?principal=bob&name=b_echo"
            for path in ("/readyz", "/metrics", "/", "/api/status", "/api/catalog", "/api/calls", "/api/edits", why):
                await run.ask("GET", path, ADA)
            for name in ("there", "a", "b", "dies"):
                await run.ask("GET", f"/api/logs/{name}", ADA)
            await run.ask("GET", "/api/status", BOB)
            ready = json.loads((await run.ask("GET", "/readyz", ADA)).content)["upstreams"]
            (plain,) = pids({"plain": ready["plain"]})
            run.said["argv of another's process"] = Path(f"/proc/{plain}/cmdline").read_bytes()
            run.said["environment of another's process"] = Path(f"/proc/{plain}/environ").read_bytes()
            # What is the caller's own is shown to it, and to nobody else.
            assert run.found({"the session": run.session}) == [("the session", run.opened)]
            for what, (secret, places) in run.own.items():
                assert {where for _, where in run.found({what: secret})} == places, what
        for path in (tmp_path / "log", *tmp_path.glob("audit.jsonl*"), tmp_path / "mesh.lock", *state.rglob("*")):
            if path.is_file():
                run.said[str(path)] = path.read_bytes()
                assert path.parent != state or path.stat().st_mode & 0o077 == 0
        secrets = {**GIVEN, "client": CLIENT, "ada": ADA, "bob": BOB}
        secrets |= {f"given out {number}": secret for number, secret in enumerate(sorted(there.secrets))}
        assert len(there.secrets) > 3
        assert len(run.said) > 20
        assert (tmp_path / "audit.jsonl").stat().st_size > 1000
        assert run.found(secrets) == []
        for what, (secret, places) in run.own.items():
            assert {where for _, where in run.found({what: secret})} == places, what
        asked = [where.partition(": ")[2] for where in run.said]
        assert {"GET /readyz 200", "GET /metrics 200", "GET /api/status 200", "GET /api/status 403"} <= {*asked}, asked
        # There was something to be found, and the search finds what is there.
        for where in (
            str(tmp_path / "log"),
            str(tmp_path / "audit.jsonl"),
            "GET /api/calls 200",
            "GET /api/logs/dies 200",
        ):
            assert b"***" in next(said for name, said in run.said.items() if name.endswith(where)), where
        assert run.found({"the name of a tool": "a_echo"})


@contextlib.asynccontextmanager
async def beside(file: Path, log: Path) -> AsyncIterator[Serving]:
    """A mesh that serves while this process answers it."""
    serving = serve(file, log, "--log-level", "debug")
    mesh = await asyncio.to_thread(serving.__enter__)
    try:
        yield mesh
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


def compact(log: Path) -> str:
    return log.read_text().replace('": "', '":"').replace('", "', '","')


async def do_much(run: Run, there: Authority) -> None:
    """Everything that a mesh says something about."""
    message = request(
        "initialize",
        {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
        0,
    )
    opened = await run.ask("POST", "/mcp", ADA, content=json.dumps(message).encode())
    run.opened, run.session = run.last, opened.headers["mcp-session-id"]
    stolen = request("tools/list", {})
    await run.ask("POST", "/mcp", BOB, content=json.dumps(stolen).encode(), mcp_session_id=run.session)
    assert "done" in await run.call("there_whoami")
    there.expire()
    assert "done" in await run.call("there_whoami")
    for secret in GIVEN.values():
        # What an upstream says in an error, and on standard error; what a caller passes, and asks for.
        await run.call("a_echo", error={"code": -32000, "message": f"the key {secret} is wrong", "data": {"x": secret}})
        await run.call("a_echo", say=f"starting with {secret}", note=secret)
        await run.call("b_echo", say=f"using {secret}")
    for tool in ("dead_x", "dies_x", "a_nothing"):
        await run.call(tool)
    await run.call("a_echo", secret=None)
    await run.call("a_echo", secret="mesh_nobody")
    await run.ask("GET", f"/mcp?access_token={BOB}", None)
    there.end()
    await run.call("there_whoami")


async def log_in_at_own(run: Run, there: Authority) -> None:
    """A caller logs in at an upstream with an account of his own, by the pages of the mesh."""
    message = json.dumps(request("tools/call", {"name": "own_login", "arguments": {}})).encode()
    asked = await run.ask("POST", "/mcp", ADA, content=message, mcp_session_id=run.session)
    (url,) = re.findall(r'"url": ?"([^"]+)"', asked.text)
    invitation = url.rpartition("/")[2], {run.last}
    async with httpx2.AsyncClient(timeout=60) as window:
        page = await run.visit(window, "GET", url)
        (check,) = re.findall(r'name="check" value="([^"]+)"', page.text)
        checked = check, {run.last}
        first = str(next(iter(window.cookies.values()))), {run.last}
        sent = await run.visit(
            window, "POST", url, data={"check": check}, headers={"origin": url.partition("/login/")[0]}
        )
        cookie = str(next(iter(window.cookies.values()))), {run.last}
        (on,) = re.findall(r'content="0;url=([^"]+)"', sent.text)
        back = await there.person(unescape(on))
        answer = dict(parse_qsl(urlsplit(back).query))
        run.own = {
            "the link": invitation,
            "the form": checked,
            "a browser": first,
            "a browser that agreed": cookie,
            "the state": (answer["state"], {run.last}),
            "the code": (answer["code"], set()),
        }
        await run.visit(window, "GET", back)
    assert "done" in await run.call("own_whoami")


async def edit(file: Path, text: str) -> None:
    """Two edits, one of which cannot be used."""
    log = file.with_name("log")
    file.write_text(text.replace('"--label"', '"--labels"', 1).replace('"pin": "warn"', '"pin": "wary"'))
    await eventually(lambda: "config.rejected" in log.read_text())
    file.write_text(text.replace('"a"\n', '"another"\n', 1))
    await eventually(lambda: "config.reloaded" in log.read_text())
