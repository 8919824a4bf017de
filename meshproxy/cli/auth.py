"""`meshproxy auth`: log in at upstreams, see where one is logged in, and log out."""

import asyncio
import json
import sys
import threading
import time
import webbrowser
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from meshproxy.cli.callback import PATH, callback
from meshproxy.cli.entry import Failure, note
from meshproxy.cli.peer import loaded, until_interrupted
from meshproxy.cli.text import show
from meshproxy.config.login import OAuth
from meshproxy.config.models import MeshConfig
from meshproxy.config.upstream import UpstreamSpec
from meshproxy.login.fetch import Fetch, NotNow
from meshproxy.login.flow import LASTS, Flow, answer_of
from meshproxy.login.metadata import LoginFailed
from meshproxy.login.person import reach_of
from meshproxy.login.tokens import revoke
from meshproxy.login.vault import Grant, Vault, VaultError
from meshproxy.state.place import place
from meshproxy.supervision.condition import stamped

__all__ = ["login", "logout", "status"]

ANY_PORT: Final = 0


def login(name: str, file: str, *, browser: bool, manual: bool) -> int:
    """Log in at an upstream."""
    config = loaded(file)
    spec, auth = _spec(config, name)
    vault = _vault(config)
    return until_interrupted(lambda: _guarded(_login(spec, auth, vault, browser=browser, manual=manual)))


def logout(name: str, file: str) -> int:
    """Give up the tokens of an upstream."""
    config = loaded(file)
    spec, auth = _spec(config, name)
    vault = _vault(config)
    return until_interrupted(lambda: _guarded(_logout(spec, auth, vault)))


def status(file: str, *, as_json: bool) -> int:
    """Print where the mesh is logged in, without anything of the tokens."""
    config = loaded(file)
    vault = _vault(config)
    return until_interrupted(lambda: _guarded(_tell(config, vault, as_json=as_json)))


async def _tell(config: MeshConfig, vault: Vault, *, as_json: bool) -> None:
    await vault.unlock()
    found = [_status(spec, vault) for spec in config.upstreams.values() if spec.auth is not None]
    if as_json:
        show(json.dumps(found, indent=2))
        return
    for one in found:
        facts = [one["state"]]
        facts += [f"{word} {one[key]}" for key, word in (("issuer", "at"), ("expires", "token until")) if one.get(key)]
        if one.get("scopes"):
            facts.append(f"scopes {' '.join(one['scopes'])}")
        if one.get("wanted"):
            facts.append(f"also wanted {' '.join(one['wanted'])}")
        show(f"{one['name']}: {'; '.join(facts)}")
    if not found:
        note("no upstream has auth; `auth: oauth` under one with a url makes it log in")
    if vault.trouble:
        note(f"what is kept cannot be read: {vault.trouble}")


async def _guarded(doing: Any) -> int:
    try:
        await doing
    except NotNow as error:
        raise Failure(f"{error}; try again later") from None
    except (LoginFailed, VaultError) as error:
        raise Failure(str(error)) from None
    return 0


async def _login(spec: UpstreamSpec, auth: OAuth, vault: Vault, *, browser: bool, manual: bool) -> None:
    url = spec.address
    await vault.unlock()
    known = vault.read(spec.name, url).grant
    state = ""
    port = auth.redirect_port or (ANY_PORT if known is None else _port_of(known.client.redirect_uri))
    async with AsyncExitStack() as stack:

        def is_ours(answer: dict[str, str]) -> bool:
            return bool(state) and answer.get("state") == state

        try:
            opened, brought = await stack.enter_async_context(callback(port, is_ours))
        except OSError as error:
            if auth.redirect_port is not None:
                reason = f"cannot be had: {error.strerror}"
                raise Failure(f"port {port} of 127.0.0.1, where the browser comes back to, {reason}") from None
            opened, brought = await stack.enter_async_context(callback(ANY_PORT, is_ours))
        flow = Flow(spec.name, url, auth, vault, f"http://127.0.0.1:{opened}{PATH}")
        state = flow.state
        page = await flow.begin()
        if manual:
            note(
                "Log in at this page in any browser, and paste here the address at which you end, which will not load:"
            )
        elif browser and await asyncio.to_thread(webbrowser.open, page):
            note("Log in in the browser. If none has opened, open this page:")
        else:
            note("Open this page in a browser of this machine, and log in:")
        show(page)
        sys.stdout.flush()
        grant = await flow.finish(await _answer(brought, manual=manual))
    note(f"logged in at {grant.server.issuer} for {spec.name}; a mesh that serves this file uses it at once")


async def _answer(brought: "asyncio.Future[dict[str, str]]", *, manual: bool) -> dict[str, str]:
    """What the browser, or the person, brings back."""
    try:
        async with asyncio.timeout(LASTS):
            return answer_of(await _line()) if manual else await brought
    except TimeoutError:
        raise Failure(f"nobody has logged in within {LASTS / 60:g} minutes; begin anew") from None


async def _line() -> str:
    """A line of standard input. A thread that outlives nothing reads it: the program ends while it waits, if it is told to."""
    loop = asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        text = sys.stdin.readline()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_set, line, text)

    threading.Thread(target=read, daemon=True).start()
    return await line


def _set(line: "asyncio.Future[str]", text: str) -> None:
    if not line.done():
        line.set_result(text)


async def _logout(spec: UpstreamSpec, auth: OAuth, vault: Vault) -> None:
    url = spec.address
    await vault.unlock()
    async with vault.locked(spec.name, url):
        record = vault.read(spec.name, url)
        fetch = Fetch(reach_of(url, auth))
        await fetch.reach.look()
        kept = []
        for grant in record.grants.values():
            try:
                if (grant.access_token or grant.refresh_token) and not await revoke(fetch, grant):
                    kept.append(grant.server.issuer)
            except (NotNow, LoginFailed):
                kept.append(grant.server.issuer)
        await vault.forget(spec.name, url)
    if not record.grants:
        note(f"nobody was logged in at {spec.name}")
    for issuer in kept:
        note(
            f"{issuer} did not revoke the tokens, which are forgotten here; they end by themselves, or in your account there"
        )
    if record.grants:
        note(f"logged out of {spec.name}")


def _status(spec: UpstreamSpec, vault: Vault) -> dict[str, Any]:
    auth = spec.auth
    if not isinstance(auth, OAuth):
        return {"name": spec.name, "type": getattr(auth, "type", "none"), "state": "needs no login"}
    record = vault.read(spec.name, spec.address)
    grant = record.grant
    state = "each caller logs in for himself" if auth.is_each_callers and grant is None else _state(grant)
    found: dict[str, Any] = {"name": spec.name, "type": auth.type, "state": state}
    if grant is not None:
        found |= {
            "issuer": grant.server.issuer,
            "scopes": list(grant.scopes),
            "expires": None if grant.expires is None else stamped(grant.expires),
            "refreshes": bool(grant.refresh_token),
        }
    if record.wanted:
        found["wanted"] = list(record.wanted)
    return found


def _state(grant: Grant | None) -> str:
    if grant is None:
        return "needs login"
    has_ended = grant.expires is not None and grant.expires <= time.time()
    return "needs login" if has_ended and not grant.refresh_token else "logged in"


def _port_of(url: str) -> int:
    """The port that a client was registered with, so that it can be used again."""
    try:
        return urlsplit(url).port or ANY_PORT
    except ValueError:
        return ANY_PORT


def _spec(config: MeshConfig, name: str) -> tuple[UpstreamSpec, OAuth]:
    """An upstream at which a person logs in. Raises `Failure`."""
    spec = config.upstreams.get(name)
    if spec is None:
        there = ", ".join(one.name for one in config.upstreams.values() if isinstance(one.auth, OAuth))
        raise Failure(f"there is no upstream {name!r}" + (f"; one can log in at {there}" if there else ""), status=2)
    if not isinstance(spec.auth, OAuth):
        raise Failure(f"nobody logs in at {name}: set `auth: oauth` of it, if it wants that", status=2)
    return spec, spec.auth


def _vault(config: MeshConfig) -> Vault:
    """Where the tokens are. Raises `Failure` if nothing is kept."""
    file = config.source.path or Path()
    directory = place(config.state, file)
    if directory is None:
        raise Failure("`state: none` keeps nothing, so no login either; set it to auto, or to a directory", status=2)
    return Vault(directory)
