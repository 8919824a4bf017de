"""`meshproxy serve`: one endpoint from many upstreams, over HTTP and stdio, and its health."""

import json
import os
import signal
import socket
import subprocess

import pytest
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT, PROGRAM, upstream
from tests.kit.sdk import connected
from tests.kit.waiting import DEADLINE, wait_for

pytestmark = pytest.mark.anyio


async def names(client):
    return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_clients_of_each_era_list_and_call_what_all_upstreams_offer(config, serving, shared_server, mode) -> None:
    web = shared_server("basic")
    mesh = serving(config(files=light("--tools", "read,write"), web={"url": web.url}))
    async with connected(mesh.url, mode=mode) as client:
        assert {"files_read", "files_write", "web_echo"} <= await names(client)
        answer = await client.call_tool("web_echo", {"text": "there and back"})
        assert answer.content[0].text == "there and back"
        assert (await client.read_resource("basic://web/text")).contents[0].text


async def test_health_tells_life_and_readiness_and_names_the_dead_with_the_reason(config, serving) -> None:
    mesh = serving(
        config(good=light(required=True), dead=upstream("dies", "--reason", "no licence"), lost={"command": "nope"})
    )
    assert mesh.get("/healthz") == (200, {"status": "ok"})
    upstreams = mesh.await_settled()
    status, body = mesh.ready()
    assert (status, body["status"]) == (200, "ready")
    assert upstreams["good"]["state"] == "up"
    assert upstreams["good"]["tools"] == 1
    assert "no licence" in upstreams["dead"]["reason"]
    assert "'nope' was not found on PATH" in upstreams["lost"]["reason"]
    assert "no licence" in mesh.await_event("upstream.down", upstream="dead")["reason"]
    assert mesh.await_event("upstream.up", upstream="good")["tools"] == 1


async def test_it_is_not_ready_before_a_required_upstream_is_up(config, serving, tmp_path) -> None:
    go = tmp_path / "go"
    mesh = serving(config(slow=upstream("slow_start", "--go", str(go), required=True)))
    status, body = mesh.ready()
    assert (status, body["status"], body["upstreams"]["slow"]["state"]) == (503, "starting", "starting")
    go.touch()
    mesh.await_event("upstream.up")
    assert mesh.ready()[0] == 200


async def test_an_edit_is_in_force_while_clients_stay_connected(config, serving) -> None:
    file = config(a=light())
    mesh = serving(file)
    async with connected(mesh.url, mode="legacy") as client:
        assert await names(client) == {"a_echo"}
        before = mesh.await_settled()["a"]["pids"]
        config(a=light(), b=light("--tools", "new"))
        mesh.await_event("config.reloaded", started=["b"], kept=["a"])
        assert await names(client) == {"a_echo", "b_new"}
        file.write_text("upstreams: [")
        rejected = mesh.await_event("config.rejected")
        assert f"{file}:1:" in rejected["problems"][0]
        assert await names(client) == {"a_echo", "b_new"}
        assert mesh.await_settled()["a"]["pids"] == before


async def test_instructions_follow_the_file_too(config, serving) -> None:
    text = "instructions: {}\nupstreams: {{}}\n"
    file = config(text.format("Old advice."))
    mesh = serving(file)
    file.write_text(text.format("New advice."))
    mesh.await_event("config.reloaded")
    async with connected(mesh.url, mode="legacy") as client:
        assert client.instructions == "New advice."


async def test_a_warning_about_the_file_is_logged_once(config, serving) -> None:
    def written(**ignored: str) -> str:
        return json.dumps({"mcpServers": {name: light() | {key: []} for name, key in ignored.items()}})

    mesh = serving(config(written(a="autoApprove")))
    first = mesh.await_event("config.warnings")["problems"]
    assert ["mcpServers.a.autoApprove" in problem for problem in first] == [True]
    config(written(a="autoApprove", b="autoApprove"))
    mesh.await_event("config.reloaded")
    config(written(a="autoApprove", b="autoApprove", c="alwaysAllow"))
    second = mesh.await_event("config.warnings", count=2)["problems"]
    assert ["alwaysAllow" in problem for problem in second] == [True]


async def test_without_watching_only_sighup_reads_the_file_again(config, serving) -> None:
    config(a=light(), reload={"watch": False})
    mesh = serving(config(a=light(), reload={"watch": False}))
    mesh.await_settled()
    config(a=light(), b=light(), reload={"watch": False})
    mesh.process.send_signal(signal.SIGHUP)
    assert mesh.await_event("config.reloaded")["started"] == ["b"]


async def test_a_port_on_the_command_line_is_no_edit_of_the_file(config, serving) -> None:
    mesh = serving(config(a=light(), server={"port": 1}))
    config(a=light(), b=light(), server={"port": 1})
    assert mesh.await_event("config.reloaded")["restart_required"] == []


async def test_secrets_are_in_no_log_line_and_no_status(config, serving) -> None:
    words = "the key hunter2hunter2 is wrong"
    mesh = serving(
        config(a=upstream("dies", "--reason", words, env={"KEY": "hunter2hunter2"}), b={"command": "hunter2hunter2"})
    )
    assert "the key *** is wrong" in mesh.await_settled()["a"]["reason"]
    assert "hunter2" not in json.dumps(mesh.ready()[1])
    mesh.end()
    assert "hunter2" not in mesh.log.read_text()


async def test_settings_of_common_words_leave_the_log_readable(config, serving) -> None:
    words = "filesystem over stdio-server took 1 of 250000 rows"
    env = {
        "KIND": "filesystem",
        "TRANSPORT": "stdio-server",
        "ROWS": "250000",
        "N": "1",
        "GH": "ghp_0123456789abcdefghij",
    }
    text = f"{words} with {env['GH']}"
    mesh = serving(config(filesystem=upstream("dies", "--reason", text, env=env)))
    assert f"{words} with ***" in mesh.await_settled()["filesystem"]["reason"]
    mesh.end()
    assert words in mesh.log.read_text()
    assert "upstream.down" in {event["event"] for event in mesh.events() if event.get("upstream") == "filesystem"}
    assert env["GH"] not in mesh.log.read_text()


def test_a_port_in_use_is_told_in_one_line(config, meshproxy) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = meshproxy("serve", config(a=light()), "--port", port)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: port {port} on 127.0.0.1 is in use; choose another with --port\n"


def test_an_address_that_is_not_ours_is_told_in_one_line(config, meshproxy) -> None:
    file = config(a=light(), server={"host": "192.0.2.1", "allow_unauthenticated": True})
    ended = meshproxy("serve", file)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: port 8000 on 192.0.2.1 cannot be listened on: ")
    assert ended.stderr.count("\n") == 1


def test_a_host_that_others_can_reach_is_refused(config, meshproxy) -> None:
    ended = meshproxy("serve", config(a=light()), "--host", "0.0.0.0")
    assert ended.returncode == 2
    assert "server.host: 0.0.0.0 can be reached from other machines" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_required_upstream_that_fails_ends_the_start(config, meshproxy) -> None:
    file = config(a=light(), need={"command": "nope", "required": True}, late=upstream("silent"))
    ended = meshproxy("serve", file, "--port", 0, "--log-level", "error")
    assert ended.returncode == 1
    line = 1 + file.read_text().splitlines().index("  need:")
    assert ended.stderr.startswith(f"error: {file}:{line}:3: upstreams.need: required, and not up: the command 'nope'")
    assert ended.stderr.count("\n") == 1


# Over stdio


def lines_of(*messages):
    return "".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages)


HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


def test_over_stdio_nothing_but_mcp_reaches_stdout_and_the_end_of_input_ends_it(config) -> None:
    # The pipe's write end outlives the client's last message, or the mesh would be gone before its upstreams are there.
    file = config(
        a=upstream("flood", "--megabytes", "1"), b=upstream("garbage", "--only"), c=upstream("dies"), d=light()
    )
    line = [*PROGRAM, "serve", str(file), "--transport", "stdio", "--log-level", "debug"]
    with subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(
            lines_of(
                {"id": 1, "method": "initialize", "params": HELLO},
                {"method": "notifications/initialized"},
                {"id": 2, "method": "tools/call", "params": {"name": "d_echo", "arguments": {}}},
            )
        )
        process.stdin.flush()
        seen = []
        while not seen or seen[-1].get("id") != 2:
            seen.append(json.loads(process.stdout.readline()))
        process.stdin.close()
        seen += [json.loads(rest) for rest in process.stdout]
        assert process.wait(DEADLINE) == 0
    assert all(message["jsonrpc"] == "2.0" for message in seen)


async def test_an_sdk_client_starts_it_as_its_own_server(config) -> None:
    file = config(a=light("--tools", "one,two"))
    async with connected([*PROGRAM, "serve", str(file), "--transport", "stdio"]) as client:
        assert await names(client) == {"a_one", "a_two"}


def test_a_signal_ends_it_over_stdio_too(config, tmp_path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*PROGRAM, "serve", str(config(a=light())), "--transport", "stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            env=ENVIRONMENT,
        )
    with process:
        wait_for(lambda: "upstream.up" in log.read_text(), process, log)
        process.terminate()
        assert process.wait(DEADLINE) == 0


# On a terminal


def test_a_terminal_is_shown_what_came_up_and_how_to_connect(config, tmp_path) -> None:
    file = config(good=light("--prompts", "p"), dead={"command": "nope"}, lazy=light(start="lazy"))
    leader, follower = os.openpty()
    with subprocess.Popen(
        [*PROGRAM, "serve", str(file), "--port", "0"], stdin=follower, stdout=follower, stderr=follower, env=ENVIRONMENT
    ) as process:
        os.close(follower)
        shown = b""
        while b"mcpServers" not in shown:
            shown += os.read(leader, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
    os.close(leader)
    text = shown.decode()
    assert "1 tool, 1 prompt" in text
    assert "'nope' was not found on PATH" in text
    assert "starts when it is used" in text
    assert "claude mcp add --transport http test http://127.0.0.1:" in text
