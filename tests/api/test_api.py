"""What `/api` shows of a mesh, and does to it."""

import asyncio
import sys

import pytest
import yaml
from meshproxy.api.feed import BEHIND, MOST
from meshproxy.errors import RpcError
from tests.api.conftest import RunApi
from tests.kit.clients import Legacy
from tests.kit.light import document, light
from tests.kit.processes import is_alive
from tests.kit.waiting import DEADLINE, eventually

pytestmark = pytest.mark.anyio
SECRET = "sk-live-0123456789abcdefgh"


async def test_the_status_has_every_upstream_with_what_the_config_says_of_it_and_no_secret(operated: RunApi) -> None:
    upstreams = {
        "a": light("--instructions", f"api-key={SECRET}", env={"GITHUB_TOKEN": SECRET}),
        "b": light(enabled=False),
        "c": light("--dies", f"no {SECRET}"),
    }
    async with operated(document(upstreams, name="home", profiles={"p": {"upstreams": ["a"]}})) as mesh:
        answer = await mesh.get("/api/status")
        assert answer.status_code == 200
        assert SECRET not in answer.text
        found = await mesh.status()
        assert (found["name"], found["ready"], found["auth"], found["profiles"]) == ("home", True, False, ["p"])
        assert list(found["upstreams"]) == ["a", "b", "c"]
        states = {name: one["state"] for name, one in found["upstreams"].items()}
        assert states == {"a": "up", "b": "disabled", "c": "down"}
        assert found["upstreams"]["a"]["target"]["command"] == sys.executable
        assert "no ***" in found["upstreams"]["c"]["reason"]
        assert found["config"]["file"] == str(mesh.file)


async def test_the_catalog_has_each_component_with_its_origin_and_what_it_costs_by_upstream_and_profile(
    operated: RunApi,
) -> None:
    upstreams = {
        "a": light("--tools", "echo,other", "--prompts", "say", "--resources", "mem:x"),
        "b": light("--tools", "echo"),
    }
    async with operated(document(upstreams, profiles={"p": {"upstreams": ["b"]}})) as mesh:
        found = (await mesh.get("/api/catalog")).json()
        tools = {one["name"]: one for one in found["components"] if one["kind"] == "tool"}
        assert list(tools) == ["a_echo", "a_other", "b_echo"]
        assert (tools["a_echo"]["origin"], tools["a_echo"]["upstream"]) == ("echo", "a")
        assert tools["a_echo"]["definition"]["name"] == "a_echo"
        assert all(tool["tokens"] > 5 for tool in tools.values())
        assert found["upstreams"]["a"] == {
            "tools": 2,
            "resources": 1,
            "templates": 0,
            "prompts": 1,
            "tokens": tools["a_echo"]["tokens"] + tools["a_other"]["tokens"],
        }
        assert found["profiles"]["p"]["tokens"] == tools["b_echo"]["tokens"]
        assert found["profiles"][""]["tokens"] == sum(tool["tokens"] for tool in tools.values())


async def test_the_last_edits_are_shown_newest_first_the_rejected_ones_with_place_and_remedy(operated: RunApi) -> None:
    text = document({"a": light()})
    async with operated(text) as mesh:
        mesh.file.write_text(text.replace('"command"', '"comand"'))
        await eventually(lambda: len(list(mesh.mesh.edits)) == 1)
        mesh.file.write_text(document({"a": light(), "b": light()}))
        await eventually(lambda: len(list(mesh.mesh.edits)) == 2)
        new, old = (await mesh.get("/api/edits")).json()["edits"]
        assert (new["outcome"], new["started"], new["kept"]) == ("applied", ["b"], ["a"])
        assert new["names"]["tool"] == {"added": ["b_echo"]}
        assert old["outcome"] == "rejected"
        assert (old["problems"][0]["line"], "command" in old["problems"][0]["hint"]) == (4, True)


async def test_what_a_command_writes_to_standard_error_is_shown_without_secrets(operated: RunApi) -> None:
    config = document({"a": light("--dies", f"bad {SECRET}", env={"API_KEY": SECRET}), "b": {"url": "http://[::1]:9/"}})
    async with operated(config) as mesh:
        found = (await mesh.get("/api/logs/a")).json()
        assert found["lines"][-1] == "bad ***"
        assert found["count"] >= 1
        for name, words in (("b", "runs no program"), ("c", "there is no upstream 'c'")):
            answer = await mesh.get(f"/api/logs/{name}")
            assert answer.status_code == 404
            assert words in answer.json()["error"]


async def test_an_upstream_is_restarted_disabled_and_enabled(operated: RunApi) -> None:
    text = yaml.safe_dump({"upstreams": {"a/b": light(), "c": light()}}, sort_keys=False)
    async with operated(f"# kept\n{text}") as mesh:
        (before,) = (await mesh.status())["upstreams"]["a/b"]["pids"]
        answer = await mesh.post("/api/upstreams/a%2Fb/restart")
        assert (answer.status_code, answer.json()["outcome"]) == (200, "restarted")
        (after,) = (await mesh.status())["upstreams"]["a/b"]["pids"]
        assert after != before
        await eventually(lambda: not is_alive(before))

        answer = await mesh.post("/api/upstreams/c/disable")
        assert answer.json()["outcome"] == "disabled"
        assert answer.json()["edit"]["retired"] == ["c"]
        assert (await mesh.status())["upstreams"]["c"]["state"] == "disabled"
        assert mesh.file.read_text().startswith("# kept\n")
        assert (await mesh.post("/api/upstreams/c/disable")).json()["outcome"] == "unchanged"
        assert (await mesh.post("/api/upstreams/c/restart")).status_code == 409

        answer = await mesh.post("/api/upstreams/c/enable")
        assert answer.json()["edit"]["started"] == ["c"]
        assert yaml.safe_load(mesh.file.read_text()) == yaml.safe_load(text)
        assert (await mesh.post("/api/upstreams/d/enable")).status_code == 404


async def test_an_upstream_that_does_not_start_anew_leaves_the_one_before_and_says_why(
    operated: RunApi, tmp_path
) -> None:
    broken = tmp_path / "broken"
    async with operated(document({"a": light("--broken-handshake", str(broken))})) as mesh:
        (before,) = (await mesh.status())["upstreams"]["a"]["pids"]
        broken.touch()
        answer = await mesh.post("/api/upstreams/a/restart")
        assert answer.status_code == 502
        assert "the one before goes on" in answer.json()["error"]
        assert (await mesh.status())["upstreams"]["a"]["pids"] == [before]


async def test_the_file_is_read_again_when_it_is_asked_for(operated: RunApi) -> None:
    text = document({"a": light()}, reload={"watch": False})
    async with operated(text) as mesh:
        assert (await mesh.post("/api/reload")).json() == {"outcome": "unchanged", "edit": None}
        mesh.file.write_text(text.replace('"a"', '"b"'))
        found = (await mesh.post("/api/reload")).json()
        assert (found["outcome"], found["edit"]["started"]) == ("applied", ["b"])
        mesh.file.write_text("upstreams: [")
        assert (await mesh.post("/api/reload")).json()["outcome"] == "rejected"


async def test_whoever_watches_is_told_how_it_is_and_then_what_changes(operated: RunApi) -> None:
    text = document({"a": light("--label", "x")})
    async with operated(text) as mesh, mesh.events() as first:
        assert (await first("status"))["name"] == "meshproxy"
        assert (await first("upstream"))["state"] == "up"
        async with mesh.events("?topics=status") as second:
            assert (await second("upstream"))["name"] == "a"
            mesh.file.write_text(document({"b": light()}))
            assert (await first("edit"))["retired"] == ["a"]
            assert await second("gone") == {"name": "a"}
        assert await first("catalog") == {}
        mesh.file.write_text("upstreams: [")
        assert (await first("edit"))["problems"]


async def test_lines_of_standard_error_are_told_as_they_come(operated: RunApi) -> None:
    async with operated(document({"a": light("--dies", "the end")})) as mesh, mesh.events("?upstream=a") as told:
        assert (await told("log"))["lines"][-1] == "the end"
        await mesh.post("/api/upstreams/a/restart")


async def test_the_stream_ends_with_the_mesh_and_nobody_is_let_in_afterwards(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh, mesh.events() as told:
        await told("status")
        mesh.api.close()
        with pytest.raises(StopAsyncIteration):
            await told("nothing")
        assert (await mesh.get("/api/events")).status_code == 503


async def test_a_reader_that_does_not_keep_up_misses_frames_and_is_told_so(
    operated: RunApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = document({"a": light()})
    async with operated(text) as mesh, mesh.events("?topics=edits") as told:
        (reader,) = mesh.api._feed._readers
        monkeypatch.setattr("meshproxy.api.feed.BEHIND", -1)
        mesh.file.write_text("upstreams: [")
        await eventually(lambda: reader.has_missed)
        monkeypatch.undo()
        mesh.file.write_text(text)
        assert await told("missed") == {}
        assert (await told("edit"))["outcome"] == "applied"


async def test_calls_are_told_a_frame_at_a_time_and_those_beyond_are_counted(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh, mesh.events("?topics=calls") as told:
        client = Legacy(mesh.server)
        for _ in range(10):
            await asyncio.gather(*(client.says("a_echo") for _ in range(20)))
        frames, seen = [], 0
        while seen < 200:
            frames.append(await told("calls"))
            seen += len(frames[-1]["calls"]) + frames[-1]["left_out"]
        assert seen == 200
        assert all(len(frame["calls"]) <= MOST for frame in frames)
        assert any(frame["left_out"] for frame in frames)
        numbers = [call["number"] for frame in frames for call in frame["calls"]]
        assert numbers == sorted(set(numbers))


async def test_whoever_watches_and_reads_nothing_keeps_no_call_waiting_and_bounds_what_is_kept_for_him(
    operated: RunApi,
) -> None:
    async with operated(document({"a": light()}, observe={"calls": {"arguments": "all"}})) as mesh:
        host, port = mesh.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET /api/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        await reader.readline()
        (watcher,) = await eventually(lambda: mesh.api._feed._readers)
        client = Legacy(mesh.server)
        count = 0

        async def call() -> bool:
            nonlocal count
            result = await client.says("a_echo", tag="x" * 3000)
            count += 1
            return bool(result)

        # Nothing is read here any more, so the frames pile up: in the kernel first, and then in the mesh.
        async with asyncio.timeout(DEADLINE):
            while not watcher.has_missed:
                await asyncio.gather(*(call() for _ in range(25)))
                mesh.api._feed._look_at_calls()
        assert watcher.stream.waiting < 2 * BEHIND
        assert len(mesh.server.calls) == min(count, 1000)
        writer.close()
        await eventually(lambda: not mesh.api._feed._readers)


async def test_nobody_who_watches_costs_nothing_where_calls_are_carried(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh:
        before = len(mesh.server.recorder.listeners)
        async with mesh.events() as told:
            await told("status")
            assert len(mesh.server.recorder.listeners) == before
            assert mesh.api._feed._looking is not None
        await eventually(lambda: mesh.api._feed._looking is None)


async def test_calls_are_shown_and_told_with_the_parts_of_their_time_and_counted_by_upstream(operated: RunApi) -> None:
    async with operated(document({"a": light()})) as mesh, mesh.events("?topics=calls") as told:
        client = Legacy(mesh.server)
        await client.says("a_echo")
        with pytest.raises(RpcError):
            await client.request("tools/call", {"name": "nothing"})
        (call,) = [one for one in (await told("calls"))["calls"] if one.get("upstream")]
        assert (call["name"], call["origin"], call["outcome"]) == ("a_echo", "echo", "success")
        assert call["parts"].keys() == {"waiting", "upstream", "back"}
        found = (await mesh.get("/api/calls?upstream=a")).json()["calls"]
        assert found == [call]
        assert (await mesh.get("/api/calls?outcome=error&limit=1")).json()["calls"][0]["name"] == "nothing"
        assert (await mesh.get("/api/calls?limit=x")).status_code == 400
        traffic = (await mesh.status())["upstreams"]["a"]["traffic"]
        assert (traffic["calls"], traffic["errors"], sum(traffic["steps"])) == (1, 0, 1)
        assert traffic["p50"] == traffic["p99"] > 0


async def test_every_known_client_is_told_how_to_connect_and_no_key_is_in_it(operated: RunApi) -> None:
    async with operated(document({"a": light()}, profiles={"p": {}})) as mesh:
        found = (await mesh.get("/api/clients?profile=p")).json()
        assert found["url"] == f"{mesh.url}/mcp/p"
        for client in found["clients"]:
            assert client["ways"]
            for way in client["ways"]:
                assert way["kind"] in {"command", "file", "link"}
        (claude,) = (client for client in found["clients"] if client["id"] == "claude-code")
        assert claude["ways"][0]["text"] == f"claude mcp add --transport http meshproxy-p {mesh.url}/mcp/p"
        assert (await mesh.get("/api/clients?profile=q")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api", 404), ("GET", "/api/nothing", 404), ("PUT", "/api/status", 403), ("GET", "/api/reload", 405)],
)
async def test_what_there_is_not_is_said_with_what_there_is(
    operated: RunApi, method: str, path: str, status: int
) -> None:
    async with operated(document({"a": light()})) as mesh:
        answer = await mesh.http.request(method, mesh.url + path)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert answer.headers["cache-control"] == "no-store"
