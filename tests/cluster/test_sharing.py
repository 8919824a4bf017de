"""Three replicas, the program in processes of their own, and the store that they share: a real one, which is killed and comes back."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp.shared.exceptions import MCPError
from meshproxy.access.keys import hash_of, new_key
from meshproxy.config.load import load
from meshproxy.errors import ConfigError
from tests.cluster.test_workers import once, opened, pid_of
from tests.kit.light import light
from tests.kit.messages import call, heads, modern
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving, serve
from tests.kit.redis_server import RedisServer, needs_redis, redis_server
from tests.kit.replicas import KEY
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, eventually
from tests.mesh.test_memory import held

pytestmark = [pytest.mark.anyio, needs_redis]


@pytest.fixture
def server(tmp_path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as found:
        yield found


def written(folder: Path, number: int, url: str, **sections: Any) -> Path:
    """The config of one replica, which knows the others by the store alone."""
    host = f"127.0.0.{number + 1}"
    cluster = {"url": url, "listen": f"{host}:0", "key": KEY, **sections.pop("cluster", {})}
    file = folder / f"{number}" / "mesh.yaml"
    file.parent.mkdir(exist_ok=True)
    serving = {"host": host, **sections.pop("server", {})}
    file.write_text(yaml.safe_dump({"name": "shared", "server": serving, "cluster": cluster, **sections}))
    return file


@contextlib.contextmanager
def sharing(folder: Path, url: str, count: int = 3, **sections: Any) -> Iterator[list[Serving]]:
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            file = written(folder, number, url, **sections)
            mesh = stack.enter_context(serve(file, file.parent / "log"))
            mesh.await_event("cluster.joined")
            found.append(mesh)
        yield found


@contextlib.asynccontextmanager
async def clients(meshes: list[Serving]) -> AsyncIterator[list[Any]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(mesh.url, mode="auto")) for mesh in meshes]


def store_of(mesh: Serving) -> str:
    state: str = mesh.ready()[1]["store"]["state"]
    return state


async def read(mesh: Serving, path: str) -> str:
    async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
        return (await http.get(mesh.url.removesuffix("/mcp") + path)).text


async def test_replicas_find_each_other_by_the_store_alone(server, tmp_path) -> None:
    with sharing(tmp_path, server.url, upstreams={"a": light()}) as meshes:
        for mesh in meshes:
            mesh.await_event("cluster.replica_there", 2)
            assert store_of(mesh) == "up"
        assert "meshproxy_cluster_processes 3" in await eventually(lambda: with_three(meshes[0]))
        assert "meshproxy_cluster_store_up 1" in await read(meshes[0], "/metrics")


async def with_three(mesh: Serving) -> str:
    text = await read(mesh, "/metrics")
    return text if "meshproxy_cluster_processes 3" in text else ""


async def test_a_rate_holds_over_all_replicas(server, tmp_path) -> None:
    a = light(limits={"rate": "30/h"})
    with sharing(tmp_path, server.url, upstreams={"a": a}) as meshes:
        async with clients(meshes) as callers:
            came = refused = 0
            for number in range(60):
                try:
                    await callers[number % 3].call_tool("a_echo", {})
                    came += 1
                except MCPError as error:
                    refused += "30/h" in str(error)
            # What one replica holds and does not use is a tenth at the most, besides one call each.
            assert 30 - 3 - 3 <= came <= 31
            assert came + refused == 60


async def test_a_mesh_starts_and_serves_without_the_store_and_goes_by_it_when_it_is_there(server, tmp_path) -> None:
    server.kill()
    file = written(tmp_path, 0, server.url, upstreams={"a": light(limits={"concurrency": 4})})
    with serve(file, file.parent / "log") as mesh:
        async with connected(mesh.url, mode="auto") as client:
            await client.call_tool("a_echo", {})
            assert store_of(mesh) == "away"
            assert mesh.ready()[0] == 200
            server.start()
            mesh.await_event("cluster.store_back")
            await client.call_tool("a_echo", {})
            assert store_of(mesh) == "up"
        assert len(mesh.events("cluster.store_away")) == 1


async def test_killing_the_store_under_load_fails_no_call(server, tmp_path) -> None:
    a = light(limits={"concurrency": 8, "rate": "1000000/s"})
    with sharing(tmp_path, server.url, upstreams={"a": a}) as meshes:
        async with clients(meshes) as callers:
            failures: list[Exception] = []
            done = [0]
            is_over = asyncio.Event()

            async def load(client: Any) -> None:
                while not is_over.is_set():
                    try:
                        await client.call_tool("a_echo", {})
                        done[0] += 1
                    except Exception as error:  # noqa: BLE001
                        failures.append(error)
                        return

            async def more(count: int) -> None:
                goal = done[0] + count
                await eventually(lambda: done[0] >= goal or failures)

            loads = [asyncio.create_task(load(client)) for client in callers for _ in range(4)]
            await more(200)
            for _ in range(2):
                server.kill()
                await more(200)
                server.start()
                for mesh in meshes:
                    await eventually(lambda mesh=mesh: store_of(mesh) == "up", within=10)
                await more(200)
            is_over.set()
            await asyncio.gather(*loads)
            assert not failures
        for mesh in meshes:
            assert len(mesh.events("cluster.store_away")) == 2


async def test_a_store_without_a_key_or_in_another_form_is_refused_and_the_password_shows_nowhere(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"needs cluster\.key"):
        load(written(tmp_path, 0, "redis://a", cluster={"key": []}, upstreams={"a": light()}))
    with pytest.raises(ConfigError, match="no address of a store") as refused:
        load(written(tmp_path, 0, "http://me:open-sesame@a", upstreams={"a": light()}))
    assert "open-sesame" not in str(refused.value)
    config = load(written(tmp_path, 0, "redis://me:open-sesame@a", upstreams={"a": light()}))
    assert "open-sesame" not in f"{config!r} {config.scrubber.scrub('it says open-sesame')}"


async def test_a_key_that_an_edit_of_one_replica_takes_out_is_refused_by_all(server, tmp_path) -> None:
    keys = {name: new_key() for name in ("ada", "bob")}
    auth = {"keys": [{"name": name, "hash": hash_of(key)} for name, key in keys.items()]}

    async def status(mesh: Serving, name: str) -> int:
        body, headers = modern(call("a_echo", 1))
        async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
            found = await http.post(mesh.url, json=body, headers=heads(authorization=f"Bearer {keys[name]}", **headers))
        return found.status_code

    async def refused(mesh: Serving) -> bool:
        return await status(mesh, "ada") == 401

    with sharing(tmp_path, server.url, server={"auth": auth}, upstreams={"a": light()}) as meshes:
        for mesh in meshes:
            assert [await status(mesh, name) for name in keys] == [200, 200]
        file = tmp_path / "1" / "mesh.yaml"
        document = yaml.safe_load(file.read_text())
        document["server"]["auth"]["keys"].pop(0)
        file.write_text(yaml.safe_dump(document))
        for mesh in meshes:
            await eventually(lambda mesh=mesh: refused(mesh))
            assert await status(mesh, "bob") == 200


async def test_nothing_that_is_secret_can_be_read_in_the_store(server, tmp_path) -> None:
    keys = {name: new_key() for name in ("ada", "bob")}
    auth = {"keys": [{"name": name, "hash": hash_of(key)} for name, key in keys.items()]}
    a = held(
        tmp_path, "--tools", "confidential", env={"TOKEN": "open-sesame"}, limits={"concurrency": 2, "rate": "9/h"}
    )
    with sharing(tmp_path, server.url, 2, server={"auth": auth}, upstreams={"a": a}) as meshes:
        meshes[0].await_event("upstream.up")
        body, headers = modern(call("a_confidential", 1))
        await once(meshes[0].url, body, **headers, authorization=f"Bearer {keys['ada']}")
        file = tmp_path / "1" / "mesh.yaml"
        document = yaml.safe_load(file.read_text())
        document["server"]["auth"]["keys"].pop(0)
        file.write_text(yaml.safe_dump(document))
        for what in (b":revoked", b":catalog:a", b":limits:a:tokens", b":replicas"):
            await eventually(lambda what=what: what in server.contents())
        everything = server.contents()
        hashes = [hash_of(key).removeprefix("sha256:") for key in keys.values()]
        for secret in (KEY, "open-sesame", "confidential", "127.0.0.1", *keys.values(), *hashes):
            assert secret.encode() not in everything
        assert not any(bytes.fromhex(each) in everything for each in hashes)


async def test_a_replica_that_starts_lists_at_once_what_the_others_know_also_after_the_store_has_forgotten_it(
    server, tmp_path
) -> None:
    upstreams = {"a": held(tmp_path, "--tools", "one,two", cwd="/")}
    with sharing(tmp_path, server.url, 1, state="none", upstreams=upstreams) as [mesh]:
        mesh.await_settled()
        await eventually(lambda: b"catalog" in server.ask("KEYS", "*catalog:a"))
        server.kill()
        mesh.await_event("cluster.store_away")
        server.start()
        await eventually(lambda: b"catalog" in server.ask("KEYS", "*catalog:a"))
        (tmp_path / "held").touch()
        file = written(tmp_path, 1, server.url, state="none", upstreams=upstreams)
        with serve(file, file.parent / "log") as other:
            async with connected(other.url, mode="auto") as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == ["a_one", "a_two"]
            shown = other.ready()[1]["upstreams"]["a"]
            assert (shown["state"], shown["remembered"]) == ("starting", True)
            (tmp_path / "held").unlink()
            other.await_settled()


async def test_a_catalog_that_is_of_another_key_or_spec_is_none(server, tmp_path) -> None:
    upstreams = {"a": held(tmp_path, "--tools", "one,two", cwd="/")}
    with sharing(tmp_path, server.url, 1, state="none", upstreams=upstreams) as [mesh]:
        mesh.await_settled()
        await eventually(lambda: b"catalog" in server.ask("KEYS", "*catalog:a"))
        (tmp_path / "held").touch()
        specs = {"a": held(tmp_path, "--tools", "one,two", cwd="/", env={"TOKEN": "another"})}
        others = [
            written(tmp_path, 1, server.url, state="none", upstreams=specs),
            written(tmp_path, 2, server.url, state="none", cluster={"key": KEY[::-1]}, upstreams=upstreams),
        ]
        for file in others:
            with serve(file, file.parent / "log") as other:
                assert "remembered" not in other.ready()[1]["upstreams"]["a"]
        (tmp_path / "held").unlink()


async def test_a_session_is_found_by_replicas_that_know_each_other_by_the_store_alone(server, tmp_path) -> None:
    with sharing(tmp_path, server.url, upstreams={"a": light()}) as meshes:
        for mesh in meshes:
            mesh.await_event("cluster.replica_there", 2)
        for home in meshes:
            headers = await opened(home.url)
            found = {pid_of(await once(mesh.url, call("a_echo", 1), **headers)) for mesh in meshes}
            assert len(found) == 1


async def test_limits_hold_over_the_workers_of_one_machine(server, tmp_path) -> None:
    sections = {"server": {"workers": 2}, "upstreams": {"a": light(limits={"rate": "20/h"})}}
    with sharing(tmp_path, server.url, 1, **sections) as [mesh]:
        mesh.await_event("upstream.up", 2)
        came = refused = 0
        for _ in range(40):
            # Each by a connection of its own, and so at either of them.
            body, headers = modern(call("a_echo", 1))
            answer = (await once(mesh.url, body, **headers)).json()
            came, refused = came + ("result" in answer), refused + ("error" in answer)
        assert 20 - 2 - 2 <= came <= 21
        assert came + refused == 40


async def test_killing_the_store_and_a_replica_in_any_order_and_bringing_them_back_leaves_all_as_it_was(
    server, tmp_path
) -> None:
    upstreams = {"a": light(limits={"concurrency": 4})}
    with sharing(tmp_path, server.url, 2, upstreams=upstreams) as [one, two]:
        for is_store_first in (True, False):
            with contextlib.ExitStack() as stack:
                file = written(tmp_path, 2, server.url, upstreams=upstreams)
                third = stack.enter_context(serve(file, file.parent / "log"))
                for mesh in (one, two):
                    await eventually(lambda mesh=mesh: with_three(mesh))
                if is_store_first:
                    server.kill()
                third.process.kill()
                third.process.wait()
                if not is_store_first:
                    server.kill()
            with serve(file, file.parent / "again") as third:
                for mesh in (one, two, third):
                    body, headers = modern(call("a_echo", 1))
                    # One that has just started may answer by a stream.
                    assert '"result"' in (await once(mesh.url, body, **headers)).text
                server.start()
                for mesh in (one, two, third):
                    await eventually(lambda mesh=mesh: with_three(mesh), within=10)
                for home in (one, two, third):
                    headers = await opened(home.url)
                    for mesh in (one, two, third):
                        await eventually(lambda mesh=mesh, headers=headers: is_found(mesh, headers), within=10)


async def is_found(mesh: Serving, headers: dict[str, str]) -> bool:
    return (await once(mesh.url, call("a_echo", 1), **headers)).status_code == 200


def test_without_the_client_library_a_store_is_refused_with_what_to_install(tmp_path) -> None:
    file = written(tmp_path, 0, "redis://127.0.0.1:1", upstreams={"a": light()})
    hidden = tmp_path / "hidden" / "redis"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError\n")
    environment = {**ENVIRONMENT, "PYTHONPATH": str(hidden.parent)}
    line = [*PROGRAM, "serve", str(file)]
    done = subprocess.run(line, check=False, capture_output=True, text=True, env=environment, timeout=DEADLINE)
    assert done.returncode == 2
    assert "cluster.url: needs an optional part of meshproxy: pip install 'meshproxy[cluster]'" in done.stderr
