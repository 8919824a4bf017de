"""What is wrong with a file or an upstream is said in one line each, and costs nobody else anything."""

import socket

import pytest
from tests.kit.light import light
from tests.kit.program import upstream
from tests.kit.sdk import connected

pytestmark = pytest.mark.anyio

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

BAD_FILES = {
    "empty": ("", "is empty"),
    "comments": ("# nothing yet\n", "is empty"),
    "latin-1": ("upstreams: {}  # café".encode("latin-1"), "1:21: is not UTF-8"),
    "tabs": ("upstreams:\n\ta: {}\n", "2:1: "),
    "repeated key": ("upstreams: {}\nupstreams: {}\n", "2:1: upstreams: repeated key"),
    "anchor bomb": (BOMB, "more than 100000 values"),
    "list": ("- a\n- b\n", "1:1: must be a mapping of keys to values, not a list"),
    "unknown key": ("upstream: {}\n", "did you mean 'upstreams'?"),
    "unknown upstream key": ("upstreams: {a: {comand: x}}\n", "did you mean 'command'?"),
    "wrong type": ("upstreams: {a: {command: x, args: y}}\n", "upstreams.a.args: must be a list, not text"),
    "missing variable": ("upstreams: {a: {command: '${NO_SUCH_THING}'}}\n", "NO_SUCH_THING"),
    "broken": ("upstreams: [\n", "mesh.yaml:"),
}


CASES = [("check", bad) for bad in BAD_FILES] + [("serve", "tabs"), ("list", "tabs"), ("call", "tabs")]


@pytest.mark.parametrize(("command", "bad"), CASES)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(config, meshproxy, command, bad) -> None:
    text, expected = BAD_FILES[bad]
    ended = meshproxy(command, config(text), *(["name"] if command == "call" else []))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert expected in ended.stderr
    assert all(line.startswith("error: ") for line in ended.stderr.splitlines())


def test_a_file_that_is_not_there_or_is_a_directory_is_refused(meshproxy, tmp_path) -> None:
    gone = meshproxy("serve", tmp_path / "none.yaml")
    assert (gone.returncode, gone.stderr) == (2, f"error: {tmp_path}/none.yaml: does not exist; check the path\n")
    folder = meshproxy("serve", tmp_path)
    assert (folder.returncode, folder.stderr) == (2, f"error: {tmp_path}: is a directory; name a file in it\n")


def test_every_problem_is_told(config, meshproxy) -> None:
    ended = meshproxy("check", config("upstreams:\n  a: {command: x, args: y}\n  b: {}\nsever: {}\n"))
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 3


def test_an_mcp_servers_file_is_checked_with_warnings_for_foreign_keys(config, meshproxy) -> None:
    file = config('{"mcpServers": {"a": {"command": "x", "autoApprove": []}}}', name="mcp.json")
    ended = meshproxy("check", file)
    assert (ended.returncode, ended.stdout) == (0, "ok: 1 upstream (a)\n")
    assert ended.stderr.startswith(f"warning: {file}:1:")


@pytest.fixture
def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


async def test_bad_upstreams_are_named_with_the_reason_and_the_others_are_served(
    config, serving, shared_server, closed_port
) -> None:
    page, dumb = shared_server("web"), shared_server("silent")
    quick = {"timeouts": {"connect": "2s"}}
    file = config(
        good=light(),
        missing={"command": "no-such-program"},
        dies=upstream("dies"),
        garbage=upstream("garbage", "--only", timeouts={"connect": "8s"}),
        silent=upstream("silent", **quick),
        refused={"url": f"http://127.0.0.1:{closed_port}/mcp"},
        page={"url": page.url},
        dumb={"url": dumb.url, **quick},
        legacy_page={"url": page.url, "transport": "sse"},
        server_={"command": "no-such-program", "enabled": False},
    )
    mesh = serving(file)
    async with connected(mesh.url, mode="legacy") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["good_echo"]
        upstreams = mesh.await_settled()
    assert "server_" not in upstreams
    for name, words in {
        "missing": "was not found on PATH",
        "dies": "no licence found",
        "garbage": "Welcome to our server!",
        "silent": "within 2 s",
        "refused": f"cannot connect to 127.0.0.1:{closed_port}",
        "page": "",
        "dumb": "within 2 s",
        "legacy_page": "",
    }.items():
        assert upstreams[name]["state"] == "down", name
        assert upstreams[name]["reason"], name
        assert words in upstreams[name]["reason"], name
        assert mesh.await_event("upstream.down", upstream=name)["reason"] == upstreams[name]["reason"]


async def test_a_client_with_bad_requests_gets_clear_errors(config, serving) -> None:
    from mcp.shared.exceptions import MCPError

    mesh = serving(config(a=light()))
    mesh.await_settled()
    async with connected(mesh.url, mode="legacy") as client:
        with pytest.raises(MCPError, match="Unknown tool: a_none"):
            await client.call_tool("a_none", {})
        with pytest.raises(MCPError, match="Resource not found: nobody://here/x"):
            await client.read_resource("nobody://here/x")
        assert (await client.list_tools()).tools


async def test_two_upstreams_with_one_public_name_are_an_error_of_check_and_one_warning_of_serve(
    config, meshproxy, serving
) -> None:
    file = config(a=light(namespace="same"), b=light(namespace="same"))
    checked = meshproxy("check", file, "--connect")
    assert checked.returncode == 2
    assert (
        "error: tool 'same_echo' of upstream 'b' is hidden by that of 'a': give one of them another" in checked.stderr
    )
    mesh = serving(file)
    mesh.await_settled()
    assert len(mesh.events("name.collision")) == 1


def test_check_with_connect_tells_every_upstream_that_fails(config, meshproxy) -> None:
    ended = meshproxy("check", config(a=light(), b={"command": "nope"}, c=upstream("dies")), "--connect")
    assert ended.returncode == 2
    assert ended.stdout.startswith("a: 1 tool; legacy 2025-11-25; ")
    assert [line.split(" is down: ")[0] for line in ended.stderr.splitlines()] == ["error: b", "error: c"]


def test_what_cannot_be_listed_is_told_beside_what_can(config, meshproxy) -> None:
    file = config(a=light("--fail", "prompts/list"))
    told = "a: prompts could not be listed: it broke\n"
    checked = meshproxy("check", file, "--connect")
    assert (checked.returncode, checked.stderr) == (2, f"error: {told}")
    assert checked.stdout.startswith("a: 1 tool; ")
    listed = meshproxy("list", file, "tools")
    assert (listed.returncode, listed.stderr) == (1, f"warning: {told}")
    assert "a_echo" in listed.stdout
    assert meshproxy("call", file, "a_echo").returncode == 0


def test_check_with_connect_is_content_when_all_are_up(config, meshproxy) -> None:
    ended = meshproxy("check", config(a=light(), b=light(start="lazy"), c=light(enabled=False)), "--connect")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "ok: 2 upstreams (a, b), 1 disabled"
    assert len(ended.stdout.splitlines()) == 3
