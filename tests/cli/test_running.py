"""The commands about a mesh that runs: what they show of it, do to it, and exit with."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.kit.light import light
from tests.kit.program import ENVIRONMENT, PROGRAM
from tests.kit.waiting import DEADLINE

Run = Callable[..., Any]


def test_a_mesh_is_shown_with_its_upstreams_and_the_calls_that_it_had(
    meshproxy: Run, config: Run, serving: Run
) -> None:
    file = config(a=light("--tools", "echo"), b=light("--dies", "no license"), c=light(enabled=False))
    mesh = serving(file)
    mesh.await_settled()
    shown = meshproxy("status", mesh.url)
    assert (shown.returncode, shown.stderr) == (0, "")
    first, head, *rows = shown.stdout.splitlines()
    assert first.startswith("test 0.")
    assert "ready, 1 of 2 upstreams" in first
    assert head.split() == ["UPSTREAM", "STATE", "SINCE", "CALLS", "REASON"]
    assert [row.split()[0] for row in rows] == ["a", "b", "c"]
    assert rows[0].split()[1] == "up"
    assert "no license" in rows[1]
    found = json.loads(meshproxy("status", mesh.url.removesuffix("/mcp"), "--json").stdout)
    assert [one["name"] for one in found["upstreams"]] == ["a", "b", "c"]

    assert meshproxy("call", mesh.url, "a_echo", "text=hi").returncode == 0
    assert meshproxy("call", mesh.url, "b_gone").returncode == 1
    [line] = meshproxy("calls", mesh.url, "--upstream", "a").stdout.splitlines()
    assert "success tools/call a_echo" in line
    [call] = [
        json.loads(line) for line in meshproxy("calls", mesh.url, "--upstream", "a", "--json").stdout.splitlines()
    ]
    assert (call["name"], call["origin"], call["principal"]) == ("a_echo", "echo", "anonymous")
    assert meshproxy("calls", mesh.url, "--limit", "0").stdout == ""
    assert meshproxy("logs", "b", mesh.url).stdout.splitlines()[-1] == "no license"
    assert json.loads(meshproxy("logs", "b", mesh.url, "--json").stdout.splitlines()[-1]) == "no license"


@pytest.mark.parametrize(
    ("head", "remedy"),
    [
        ({}, "set `headers` of this upstream (Authorization: Bearer ${TOKEN}) or its `auth`"),
        (
            {"WWW-Authenticate": "Basic"},
            "set `headers` of this upstream (Authorization: Bearer ${TOKEN}) or its `auth`",
        ),
        (
            {"WWW-Authenticate": 'Bearer resource_metadata="https://login.example.com/.well-known/x"'},
            "it has a login: set `auth: oauth` of this upstream",
        ),
    ],
)
def test_an_upstream_that_wants_credentials_which_the_file_has_not_is_said_with_the_key_to_write(
    meshproxy: Run, config: Run, serving: Run, head: dict[str, str], remedy: str
) -> None:
    with refusing(head) as url:
        mesh = serving(config(a={"url": url}, b=light("--tools", "echo")))
        told = mesh.await_settled()["a"]["reason"]
        assert told.startswith("it answered HTTP 401: ")
        assert remedy in told
        assert mesh.await_event("upstream.down")["reason"] == told
        assert told in meshproxy("status", mesh.url).stdout


@contextlib.contextmanager
def refusing(head: dict[str, str]) -> Iterator[str]:
    """A server that answers everything with 401."""

    class Refusing(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(401)
            for name, value in {**head, "content-length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        do_GET = do_POST = refuse  # noqa: N815  # as they are looked for

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join()


def test_calls_are_followed_until_interrupted(meshproxy: Run, config: Run, serving: Run) -> None:
    mesh = serving(config(a=light("--tools", "echo")))
    mesh.await_settled()
    line = [*PROGRAM, "calls", mesh.url, "--follow", "--json", "--upstream", "a"]
    # What runs in the background of a script inherits that it ignores this signal; at a terminal nothing does.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        following = subprocess.Popen(line, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with following:
        try:
            assert following.stdout is not None
            for _ in range(2):
                assert meshproxy("call", mesh.url, "a_echo", "text=hi").returncode == 0
                assert json.loads(following.stdout.readline())["name"] == "a_echo"
            following.send_signal(signal.SIGINT)
            assert following.wait(DEADLINE) == 130
        finally:
            following.kill()


def test_upstreams_are_restarted_and_the_file_is_read_again(meshproxy: Run, config: Run, serving: Run) -> None:
    file = config(a=light(), reload={"watch": False})
    mesh = serving(file)
    [before] = mesh.await_settled()["a"]["pids"]
    done = meshproxy("restart", "a", mesh.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a was started anew in ")
    [after] = mesh.ready()[1]["upstreams"]["a"]["pids"]
    assert after != before
    unknown = meshproxy("restart", "x", mesh.url)
    assert (unknown.returncode, unknown.stderr) == (1, "error: there is no upstream 'x'; there are a\n")

    config(a=light(), b=light(), reload={"watch": False})
    told = meshproxy("reload", mesh.url)
    assert (told.returncode, told.stdout.splitlines()) == (0, ["the file is applied", "  started: b"])
    assert meshproxy("reload", mesh.url).stdout == "the file is unchanged\n"
    config("upstreams: {a: {comand: x}}")
    told = meshproxy("reload", mesh.url)
    assert (told.returncode, told.stdout.splitlines()[0]) == (1, "the file is rejected")
    assert "comand" in told.stdout
    assert json.loads(meshproxy("reload", mesh.url, "--json").stdout)["outcome"] == "rejected"


def test_the_config_says_where_the_mesh_is_and_a_key_opens_it(meshproxy: Run, config: Run, serving: Run) -> None:
    keys = [
        {"name": "me", "hash": "sha256:" + hashlib.sha256(b"mesh_secret-0123456789").hexdigest(), "rights": ["view"]}
    ]
    file = config(a=light(), server={"port": 0, "auth": {"keys": keys}})
    mesh = serving(file)
    refused = meshproxy("status", mesh.url)
    assert refused.returncode == 1
    assert "--header 'Authorization: Bearer ...'" in refused.stderr
    header = "Authorization: Bearer mesh_secret-0123456789"
    assert meshproxy("status", mesh.url, "--header", header).returncode == 0
    acting = meshproxy("restart", "a", mesh.url, "--header", header)
    assert acting.returncode == 1
    assert "admin" in acting.stderr
    assert "mesh_secret" not in refused.stderr + acting.stderr

    nowhere = meshproxy("status", file)
    assert (nowhere.returncode, "port 0" in nowhere.stderr) == (2, True)
    port = int(mesh.url.split(":")[2].split("/")[0])
    config(a=light(), server={"port": port, "host": "127.0.0.1"}, name="other.yaml")
    assert meshproxy("status", file.parent / "other.yaml", "--header", header).returncode == 0
    gone = meshproxy("status", "http://127.0.0.1:9", env={**ENVIRONMENT, "http_proxy": "http://127.0.0.1:8"})
    assert gone.returncode == 1
    assert gone.stderr.startswith("error: no mesh answers at http://127.0.0.1:9: ")
    assert os.linesep not in gone.stderr.strip()


def test_a_mesh_that_is_not_ready_is_an_exit_status(meshproxy: Run, config: Run, serving: Run) -> None:
    mesh = serving(config(a=light("--silent", required=True)))
    shown = meshproxy("status", mesh.url)
    assert shown.returncode == 1
    assert "not ready, 0 of 1 upstreams" in shown.stdout
