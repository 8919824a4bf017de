"""Several replicas behind a balancer that sends each request to another: one endpoint."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from mcp.shared.exceptions import MCPError
from meshproxy.wire.protocol import META_CAPABILITIES
from tests.cluster.test_workers import once, opened, pid_of
from tests.interop.conftest import SAW
from tests.interop.test_python_sdk import Heard, elicited, rooted, sampled, use
from tests.kit.balancer import balanced
from tests.kit.callers import callers
from tests.kit.light import light, received
from tests.kit.messages import call, heads, messages_in, modern, request
from tests.kit.nginx import nginx
from tests.kit.program import ENVIRONMENT, PROGRAM, Serving
from tests.kit.replicas import KEY, free_port, replica, replicas, written
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, eventually, within

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8"),
    # What the legacy era alone has, the SDK warns of.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


@pytest.mark.parametrize(
    ("mode", "era", "workers"),
    [
        *(("legacy", era, 1) for era in ("dual", "legacy", "modern")),
        *(("auto", era, 1) for era in ("dual", "legacy", "modern")),
        *((mode, "legacy", 2) for mode in ("legacy", "auto")),
    ],
)
async def test_a_client_does_everything_with_each_request_at_another_replica(
    own_server, tmp_path, mode, era, workers
) -> None:
    web = {"url": own_server("basic", era=era).url}
    with replicas(tmp_path, upstreams={"web": web}, workers=workers) as meshes:
        for mesh in meshes:
            mesh.await_event("upstream.up", workers)
        heard = Heard()
        able = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
        told = {"logging_callback": heard.log, "message_handler": heard.message}
        async with (
            balanced(*(mesh.url for mesh in meshes)) as url,
            connected(url, mode=mode, **able, **told) as client,
        ):
            assert await use(client, mode, heard, str(tmp_path / "held")) == SAW


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_does_everything_by_way_of_nginx(own_server, tmp_path, mode) -> None:
    web = {"url": own_server("basic", era="dual").url}
    with (
        replicas(tmp_path, upstreams={"web": web}) as meshes,
        nginx(tmp_path / "nginx", [mesh.url for mesh in meshes]) as url,
    ):
        for mesh in meshes:
            mesh.await_event("upstream.up")
        heard = Heard()
        able = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted}
        told = {"logging_callback": heard.log, "message_handler": heard.message}
        async with connected(url, mode=mode, **able, **told) as client:
            assert await use(client, mode, heard, str(tmp_path / "held")) == SAW


async def test_a_stream_that_broke_is_resumed_at_another_replica(tmp_path) -> None:
    journal = tmp_path / "journal"
    with replicas(tmp_path, upstreams={"a": light("--journal", str(journal))}) as meshes:
        first, second, third = meshes
        first.await_event("upstream.up")
        headers = await opened(first.url)
        async with httpx2.AsyncClient(timeout=DEADLINE, trust_env=False) as http:
            said = call("a_echo", 7, notify=[["notifications/message", {"level": "info", "data": "first"}]], hold=True)
            async with http.stream("POST", second.url, json=said, headers=heads(**headers)) as stream:
                lines = stream.aiter_lines()
                last = ""
                async for line in lines:
                    last = line.removeprefix("id:").strip() if line.startswith("id:") else last
                    if '"first"' in line:
                        break
            assert last
            await eventually(lambda: any(line["method"] == "tools/call" for line in received(journal)))
            for pid in first.await_settled()["a"]["pids"]:
                os.kill(pid, signal.SIGUSR1)
            resumed = await within(http.get(third.url, headers=heads(**headers, last_event_id=last, content_type=None)))
        [answer] = [message for message in messages_in(resumed.text) if message.get("id") == 7]
        assert "result" in answer


def named(mesh: Serving) -> str:
    found: str = mesh.await_event("cluster.joined")["replica"]
    return found


async def test_a_session_stays_with_its_home_whoever_is_asked(tmp_path) -> None:
    with replicas(tmp_path, upstreams={"a": light()}) as meshes:
        pids = set()
        for mesh in meshes:
            mesh.await_event("upstream.up")
            assert mesh.ready()[1]["replica"] == named(mesh)
            headers = await opened(mesh.url)
            assert headers["mcp_session_id"].startswith(f"{named(mesh)}~")
            found = {pid_of(await once(other.url, call("a_echo", 1), **headers)) for other in meshes}
            assert len(found) == 1
            pids |= found
        assert len(pids) == 3


async def test_what_a_replica_kept_that_was_killed_is_unknown_and_the_others_lose_nothing(tmp_path) -> None:
    journal = tmp_path / "journal"
    with replicas(tmp_path, upstreams={"a": light("--journal", str(journal), "--era", "legacy")}) as meshes:
        first, second, third = meshes
        for mesh in meshes:
            mesh.await_event("upstream.up")
        dead, living = await opened(first.url), await opened(second.url)
        form = {"mode": "form", "message": "m", "requestedSchema": {"type": "object", "properties": {}}}
        body, as_modern = modern(
            call("a_echo", 1, ask=[[["elicitation/create", form]]]), **{META_CAPABILITIES: {"elicitation": {}}}
        )
        parked = (await once(first.url, body, **as_modern)).json()["result"]
        [question] = parked["inputRequests"]
        calls = [
            asyncio.ensure_future(once(third.url, call("a_echo", 7, hold=True), **headers))
            for headers in (dead, living)
        ]
        await eventually(lambda: sum(line["method"] == "tools/call" for line in received(journal)) == 3)
        first.end(signal.SIGKILL)
        lost = (await within(calls[0])).json()
        assert "The answer is lost" in lost["error"]["message"]
        for mesh in (second, third):
            assert (await within(once(mesh.url, request("ping"), **dead))).status_code == 404
            assert (await within(once(mesh.url, request("ping"), **living))).status_code == 200
            answers = {question: {"action": "accept", "content": {}}}
            body["params"] |= {"requestState": parked["requestState"], "inputResponses": answers}
            assert (await within(once(mesh.url, body, **as_modern))).json()["error"]["code"] == -32602
            mesh.await_event("cluster.replica_gone", replica=named(first))
        pids = second.await_settled()["a"]["pids"]
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        assert pid_of(await within(calls[1])) in pids


async def test_clients_of_a_replica_that_was_killed_work_again_at_once(tmp_path) -> None:
    with replicas(tmp_path, upstreams={"a": light()}) as meshes:
        for mesh in meshes:
            mesh.await_event("upstream.up")
        async with balanced(*(mesh.url for mesh in meshes)) as url:

            async def work() -> str:
                """As a host does it: a session until it is unknown, and then another."""
                while True:
                    async with connected(url, mode="legacy") as client:
                        try:
                            while not ended.is_set():
                                assert not (await client.call_tool("a_echo", {})).is_error
                                done.set()
                            assert not (await client.call_tool("a_echo", {})).is_error
                        except MCPError:
                            continue
                        return "works"

            ended, done = asyncio.Event(), asyncio.Event()
            working = [asyncio.ensure_future(work()) for _ in range(6)]
            await within(done.wait())
            meshes[0].end(signal.SIGKILL)
            ended.set()
            assert await within(asyncio.gather(*working)) == ["works"] * 6


async def test_a_home_that_stands_still_is_given_up(tmp_path) -> None:
    with replicas(tmp_path, count=2, upstreams={"a": light()}) as (first, second):
        first.await_event("upstream.up")
        headers = await opened(first.url)
        assert (await once(second.url, request("ping"), **headers)).status_code == 200
        first.process.send_signal(signal.SIGSTOP)
        try:
            lost = (await within(once(second.url, request("ping"), **headers))).json()
            assert "The answer is lost" in lost["error"]["message"]
            second.await_event("cluster.replica_gone", replica=named(first))
            assert (await within(once(second.url, request("ping"), **headers))).status_code == 404
        finally:
            first.process.send_signal(signal.SIGCONT)
        # It was not gone after all, and is found again with all that it had.
        second.await_event("cluster.replica_there", 2, replica=named(first))
        assert (await within(once(second.url, request("ping"), **headers))).status_code == 200


def private_address(mesh: Serving) -> tuple[str, int]:
    host, port = mesh.await_event("cluster.joined")["address"].split(":")
    return host, int(port)


async def test_a_foreign_process_at_the_private_address_gets_nothing(tmp_path) -> None:
    with replicas(tmp_path, count=2, upstreams={"a": light()}) as (first, _):
        headers = await opened(first.url)
        address = private_address(first)
        with socket.create_connection(address, timeout=DEADLINE) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            try:
                answer = plain.recv(4096)
            except ConnectionResetError:
                answer = b""
        # At most an alert of TLS, which says that this is none.
        assert len(answer) <= 7
        async with httpx2.AsyncClient(timeout=DEADLINE, verify=False, trust_env=False) as http:
            with pytest.raises(httpx2.TransportError):
                await http.post(
                    f"https://{address[0]}:{address[1]}/mcp", json=request("ping"), headers=heads(**headers)
                )


def edited(mesh: Serving, file: Path, keys: list[str]) -> None:
    document = yaml.safe_load(file.read_text())
    document["cluster"]["key"] = keys
    seen = len(mesh.events("cluster.key_replaced"))
    file.write_text(yaml.safe_dump(document))
    mesh.await_event("cluster.key_replaced", seen + 1)


async def test_the_key_is_replaced_while_sessions_go_on(tmp_path) -> None:
    new = "another-key-of-tests-that-is-long-enough"
    with replicas(tmp_path, count=2, upstreams={"a": light()}) as meshes:
        first, second = meshes
        first.await_event("upstream.up")
        headers = await opened(first.url)
        for keys in ([KEY, new], [new, KEY], [new]):
            for number, mesh in enumerate(meshes):
                edited(mesh, tmp_path / f"{number}" / "mesh.yaml", keys)
                assert (await within(once(second.url, call("a_echo", 1), **headers))).status_code == 200
        assert not second.events("cluster.replica_gone")


def test_what_needs_a_port_of_its_own_is_not_served_over_stdio(tmp_path) -> None:
    file = tmp_path / "mesh.yaml"
    cluster: dict[str, Any] = {"listen": "127.0.0.1:0", "key": KEY}
    file.write_text(yaml.safe_dump({"cluster": cluster, "upstreams": {"a": light()}}))
    line = [*PROGRAM, "serve", str(file), "--transport", "stdio"]
    ended = subprocess.run(
        line, capture_output=True, text=True, timeout=DEADLINE, env=ENVIRONMENT, stdin=subprocess.DEVNULL, check=False
    )
    assert ended.returncode == 2
    assert "cluster.listen: one client over stdio has one process" in ended.stderr


async def test_replicas_are_restarted_one_by_one_and_no_call_fails(tmp_path) -> None:
    hosts = [f"127.0.0.{number}" for number in (1, 2, 3)]
    private, public = free_port(*hosts), str(free_port(*hosts))
    files = [written(tmp_path, number, private, upstreams={"a": light()}) for number in range(3)]
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(contextlib.ExitStack()) for _ in files]
        meshes = [one.enter_context(replica(file, "--port", public)) for one, file in zip(running, files, strict=True)]
        for mesh in meshes:
            mesh.await_event("upstream.up")
        async with balanced(*(mesh.url for mesh in meshes)) as url, callers(url) as calling:
            for one, file in zip(running, files, strict=True):
                await calling.some_more()
                await asyncio.to_thread(one.close)
                mesh = await asyncio.to_thread(one.enter_context, replica(file, "--port", public))
                await asyncio.to_thread(mesh.await_event, "upstream.up")
            await calling.some_more()


async def test_an_edit_goes_from_replica_to_replica_and_no_call_fails(tmp_path) -> None:
    with replicas(tmp_path, upstreams={"a": light("--label", "old")}) as meshes:
        for mesh in meshes:
            mesh.await_event("upstream.up")
        async with balanced(*(mesh.url for mesh in meshes)) as url, callers(url) as calling:
            for number, mesh in enumerate(meshes):
                file = tmp_path / f"{number}" / "mesh.yaml"
                file.write_text(file.read_text().replace("old", "new"))
                await asyncio.to_thread(mesh.await_event, "config.reloaded")
                await calling.some_more()
        # Sessions went on.
        assert calling.begun == 3
