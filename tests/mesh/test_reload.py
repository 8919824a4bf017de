"""The ten steps of a reload (docs/design.md, "Reload"), on real processes and real edits of a real file."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meshproxy.config.content import content_digest
from meshproxy.errors import RpcError
from meshproxy.supervision import backoff
from tests.kit.clients import Legacy, Modern
from tests.kit.light import document, light, received, release
from tests.kit.processes import descriptors, is_alive
from tests.kit.waiting import eventually, within
from tests.mesh.conftest import RunMesh, Running

pytestmark = pytest.mark.anyio

TOOLS = "notifications/tools/list_changed"
PROMPTS = "notifications/prompts/list_changed"
RESOURCES = "notifications/resources/list_changed"


# 1. Watch


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed(path: Path, text: str) -> None:
    other = path.with_name("mesh.yaml.tmp")
    other.write_text(text)
    other.replace(path)


def with_a_backup(path: Path, text: str) -> None:
    if path.exists():
        path.rename(path.with_name("mesh.yaml~"))
    path.write_text(text)


def mounted(path: Path, text: str) -> None:
    """What kubelet does: `mesh.yaml` -> `..data/mesh.yaml`, and `..data` -> a directory for each version."""
    folder = path.parent
    version = folder / f"..{len(list(folder.iterdir()))}"
    version.mkdir()
    (version / path.name).write_text(text)
    (folder / "..data_tmp").symlink_to(version.name)
    (folder / "..data_tmp").replace(folder / "..data")
    if not path.is_symlink():
        path.unlink(missing_ok=True)
        path.symlink_to(Path("..data", path.name))


@pytest.mark.parametrize("write", [in_place, renamed, with_a_backup, mounted])
async def test_step_1_an_edit_is_noticed_however_it_is_saved(
    run_mesh: RunMesh, tmp_path: Path, write: Callable[[Path, str], None]
) -> None:
    write(tmp_path / "mesh.yaml", document({"a": light()}))
    async with run_mesh("", path=tmp_path / "mesh.yaml") as mesh:
        client = Legacy(mesh.server)
        for number in range(3):
            report = await mesh.edit(document({"a": light("--label", str(number))}), write)
            assert report["event"] == "config.reloaded"
            assert (await client.says("a_echo"))["label"] == str(number)
            assert len(mesh.outcomes()) == number + 1


async def test_step_1_a_file_that_is_not_watched_is_read_when_it_is_asked_for(run_mesh: RunMesh) -> None:
    """What SIGHUP does."""
    text = document({"a": light()}, reload={"watch": False})
    async with run_mesh(text) as mesh:
        mesh.path.write_text(text.replace('"a"', '"b"'))
        mesh.mesh.reload_soon()
        assert (await mesh.outcome(1))["started"] == ["b"]
        assert await Legacy(mesh.server).names() == ["b_echo"]


def watches() -> list[str]:
    """The system's watches that this process holds."""
    return [target for target in descriptors().values() if "inotify" in target]


async def test_step_1_an_edit_says_from_when_on_and_until_when_the_file_is_watched(run_mesh: RunMesh) -> None:
    def text(*names: str, watch: bool) -> str:
        return document({name: light() for name in names}, reload={"watch": watch})

    async with run_mesh(text("a", watch=True)) as mesh:
        await eventually(lambda: bool(watches()))
        assert (await mesh.edit(text("a", watch=False)))["restart_required"] == []
        await eventually(lambda: not watches())
        mesh.path.write_text(text("a", "b", watch=False))
        mesh.path.write_text(text("a", "c", watch=True))
        mesh.mesh.reload_soon()
        assert (await mesh.outcome(2))["started"] == ["c"]
        await mesh.edit(text("a", watch=True))
        assert len(mesh.outcomes()) == 3


def unreadable(path: Path) -> None:
    path.unlink()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize("spoil", [unreadable, a_directory, not_text, a_loop])
async def test_step_1_a_read_that_fails_is_reported_once_and_watching_goes_on(
    run_mesh: RunMesh, spoil: Callable[[Path], None]
) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        spoil(mesh.path)
        report = await mesh.outcome(1)
        assert report["event"] == "config.rejected"
        assert str(mesh.path) in report["problems"][0]
        assert (await client.says("a_echo"))["pid"] == pid

        if mesh.path.is_dir() and not mesh.path.is_symlink():
            mesh.path.rmdir()
        elif mesh.path.is_symlink():
            mesh.path.unlink()
        assert (await mesh.edit(document({"a": light(), "b": light()})))["started"] == ["b"]
        assert (await client.says("a_echo"))["pid"] == pid
        assert len(mesh.outcomes()) == 2


# 2. Load


async def test_step_2_what_says_the_same_is_no_edit(run_mesh: RunMesh) -> None:
    text = document({"a": light()})
    async with run_mesh(text) as mesh:
        client, snapshot = Legacy(mesh.server), mesh.server.composite.snapshot
        for same in (text, "# a comment\n" + text, json.dumps(json.loads(text), sort_keys=True)):
            mesh.path.write_text(same)
            mesh.mesh.reload_soon()
            await eventually(lambda: mesh.mesh._following.digest == content_digest(mesh.path))
        # A broken one behind them shows that they were looked at.
        await mesh.edit("upstreams: {a: 1}")
        assert [report["event"] for report in mesh.outcomes()] == ["config.rejected"]
        assert mesh.server.composite.snapshot is snapshot
        assert client.heard.all == []


async def test_step_2_a_file_that_is_mended_is_reported_though_nothing_changes(run_mesh: RunMesh) -> None:
    text = document({"a": light()})
    async with run_mesh(text) as mesh:
        client, snapshot = Legacy(mesh.server), mesh.server.composite.snapshot
        for _ in range(2):
            assert (await mesh.edit("upstreams: {a: 1}"))["event"] == "config.rejected"
            mended = await mesh.edit(text)
            assert (mended["event"], mended["kept"], mended["started"]) == ("config.reloaded", ["a"], [])
        assert len(mesh.outcomes()) == 4
        assert mesh.server.composite.snapshot is snapshot
        assert client.heard.all == []


async def test_step_2_a_broken_file_that_is_noticed_twice_is_reported_once(run_mesh: RunMesh) -> None:
    """By its change and by SIGHUP, in whatever order."""
    text = document({"a": light()})
    async with run_mesh(text) as mesh:
        for number in range(2):
            mesh.path.write_text(f"upstreams: {{a: {number}}}")
            mesh.mesh.reload_soon()
            assert (await mesh.outcome(2 * number + 1))["event"] == "config.rejected"
            # Long enough for every way of noticing it.
            await asyncio.sleep(0.8)
            assert (await mesh.edit(text))["event"] == "config.reloaded"
            assert len(mesh.outcomes()) == 2 * number + 2


async def test_step_2_every_problem_is_reported_with_its_line_and_nothing_changes(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        report = await mesh.edit("upstreams:\n  a:\n    comand: x\n    url: 3\nseparator: '+'\n")
        assert report["event"] == "config.rejected"
        assert [problem.split(": ")[0] for problem in report["problems"]] == [
            f"{mesh.path}:3:5",
            f"{mesh.path}:4:10",
            f"{mesh.path}:5:12",
        ]
        assert await Legacy(mesh.server).names() == ["a_echo"]


async def test_step_2_a_defect_of_ours_is_reported_and_watching_goes_on(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_mesh(document({"a": light()})) as mesh:

        def broken(*_: Any) -> Any:
            raise ZeroDivisionError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr("meshproxy.mesh.mesh.provider_of", broken)
            report = await mesh.edit(document({"b": light()}))
        assert report["event"] == "config.rejected"
        assert "a defect" in str(report)
        assert await Legacy(mesh.server).names() == ["a_echo"]
        assert (await mesh.edit(document({"c": light()})))["started"] == ["c"]


# 3. Plan: what is kept is in test_invariants.py


async def test_step_3_what_only_changes_how_an_upstream_is_shown_keeps_its_process(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light("--tools", "one,two")})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        shown = light(
            "--tools",
            "one,two",
            namespace="x",
            tools={"exclude": ["two"], "rename": {"one": "first"}},
            required=True,
            when_down="hide",
        )
        report = await mesh.edit(document({"a": shown}, separator="-"))
        assert (report["kept"], report["started"], report["retired"]) == (["a"], [], [])
        assert await client.names() == ["x-first"]
        assert (await client.says("x-first"))["pid"] == pid
        await client.heard.until(TOOLS)
        assert client.heard.methods() == [TOOLS]


async def test_step_3_what_takes_a_restart_is_said(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        report = await mesh.edit(document({"a": light()}, name="other", server={"port": 1234}))
        assert report["restart_required"] == ["name", "server"]
        assert mesh.server.info["name"] == "meshproxy"


async def test_step_3_a_disabled_upstream_is_retired_and_comes_back(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(), "b": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("b")
        assert (await mesh.edit(document({"a": light(), "b": light(enabled=False)})))["retired"] == ["b"]
        assert await client.names() == ["a_echo"]
        await eventually(lambda: not is_alive(pid))
        assert (await mesh.edit(document({"a": light(), "b": light()})))["started"] == ["b"]
        assert (await client.says("b_echo"))["pid"] == mesh.pid("b") != pid


# 4. Warm


async def test_step_4_what_starts_is_warmed_at_the_same_time(run_mesh: RunMesh, tmp_path: Path) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        fast, slow = tmp_path / "fast", tmp_path / "slow"
        edited = {
            "slow": light("--silent", "--journal", str(slow)),
            "fast": light("--journal", str(fast)),
        }
        mesh.path.write_text(document(edited))
        await eventually(slow.exists)
        await eventually(lambda: "tools/list" in [message.get("method") for message in received(fast)])
        # Nobody sees any of it before all are there.
        assert await Legacy(mesh.server).names() == ["a_echo"]
        assert mesh.outcomes() == []


async def test_step_4_a_required_upstream_that_fails_aborts_the_reload(run_mesh: RunMesh, tmp_path: Path) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        edited = {"a": light("--label", "new"), "b": light(), "c": light("--dies", "no such key", required=True)}
        report = await mesh.edit(document(edited))
        assert report["event"] == "config.rejected"
        # The line is that of the upstream's name.
        line = mesh.path.read_text().splitlines().index('  "c": {') + 1
        assert report["problems"][0].startswith(f"{mesh.path}:{line}:3: upstreams.c: ")
        assert "no such key" in report["problems"][0]
        assert await client.names() == ["a_echo"]
        assert (await client.says("a_echo"))["pid"] == pid
        assert client.heard.all == []
        assert list(mesh.mesh.status()) == ["a"]


async def test_step_4_an_optional_upstream_that_fails_enters_as_unavailable_and_keeps_trying(
    run_mesh: RunMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command that does not exist is tried as seldom as what only its user can cure.
    monkeypatch.setattr(backoff, "LASTING", (0.01, 0.05))
    program = tmp_path / "later"
    async with run_mesh(document({"a": light()})) as mesh:
        client = Legacy(mesh.server)
        report = await mesh.edit(document({"a": light(), "b": {"command": str(program)}}))
        assert report["event"] == "config.reloaded"
        assert "does not exist" in report["failed"]["b"]
        assert mesh.mesh.status()["b"]["state"] == "down"
        assert client.heard.all == []

        line = " ".join([*map(str, [light()["command"], *light()["args"]])])
        program.with_suffix(".new").write_text(f"#!/bin/sh\nexec {line}\n")
        program.with_suffix(".new").chmod(0o755)
        program.with_suffix(".new").rename(program)
        await client.heard.until(TOOLS)
        assert await client.names() == ["a_echo", "b_echo"]
        assert (await client.says("b_echo"))["pid"] == mesh.pid("b")


async def test_step_4_an_upstream_whose_new_spec_fails_keeps_serving_with_its_old_one(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light("--label", "old"), "b": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        broken = {"a": light("--dies", "a typo", namespace="x"), "b": light("--label", "new")}
        report = await mesh.edit(document(broken))
        assert report["event"] == "config.reloaded"
        assert "a typo" in report["failed"]["a"]
        assert await client.names() == ["a_echo", "b_echo"]
        assert await client.says("a_echo") == {"pid": pid, "label": "old", "answers": []}
        assert (await client.says("b_echo"))["label"] == "new"
        assert mesh.mesh.status()["a"]["state"] == "up"

        # The old spec again is what runs already.
        report = await mesh.edit(document({"a": light("--label", "old"), "b": light("--label", "new")}))
        assert (report["kept"], report["started"]) == (["a", "b"], [])
        assert (await client.says("a_echo"))["pid"] == pid


UNLISTED = ("--prompts", "p", "--fail", "prompts/list")


async def test_step_4_an_upstream_of_which_one_kind_cannot_be_listed_serves_the_others(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(*UNLISTED, required=True)})) as mesh:
        client = Legacy(mesh.server)
        report = await mesh.edit(document({"a": light(*UNLISTED, required=True), "b": light(*UNLISTED)}))
        assert (report["kept"], report["started"], report["failed"]) == (["a"], ["b"], {})
        assert (await client.names(), await client.names("prompts")) == (["a_echo", "b_echo"], [])
        assert mesh.mesh.is_ready
        status = mesh.mesh.status()["b"]
        assert (status["state"], status["reason"]) == ("up", "prompts could not be listed: it broke")
        warned = mesh.journal.of("upstream.listing_failed")
        assert [(event["upstream"], event["kinds"]) for event in warned] == [("a", ["prompts"]), ("b", ["prompts"])]


@pytest.mark.parametrize("required", [False, True])
async def test_step_4_a_new_spec_that_cannot_list_what_the_old_one_offers_has_failed(
    run_mesh: RunMesh, *, required: bool
) -> None:
    async with run_mesh(document({"a": light("--prompts", "p"), "b": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        edited = {"a": light(*UNLISTED, required=required), "b": light(*UNLISTED)}
        report = await mesh.edit(document(edited))
        if required:
            assert "prompts could not be listed: it broke" in report["problems"][0]
        else:
            assert report["failed"] == {"a": "prompts could not be listed: it broke"}
            assert report["started"] == ["b"]
        assert (await client.says("a_echo"))["pid"] == pid
        assert await client.names("prompts") == ["a_p"]


async def test_step_4_a_new_spec_that_can_list_something_takes_the_place_of_one_that_is_down(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BACKOFF", (3600.0, 3600.0))
    async with run_mesh(document({"a": light("--prompts", "p")})) as mesh:
        client = Legacy(mesh.server)
        with pytest.raises(RpcError):
            await client.call("a_echo", exit=1)
        await eventually(lambda: mesh.mesh.status()["a"]["state"] == "down")
        report = await mesh.edit(document({"a": light(*UNLISTED)}))
        assert (report["started"], report["failed"]) == (["a"], {})
        assert await client.says("a_echo")
        assert await client.names("prompts") == []


async def test_step_4_a_required_upstream_whose_new_spec_fails_rejects_the_edit(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(required=True)})) as mesh:
        pid = mesh.pid("a")
        report = await mesh.edit(document({"a": light("--dies", "x", required=True)}))
        assert report["event"] == "config.rejected"
        assert (await Legacy(mesh.server).says("a_echo"))["pid"] == pid


async def test_step_4_an_upstream_that_never_answers_is_given_up_at_its_own_deadline(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        edited = {"s": light("--silent", timeouts={"connect": "200ms"}), "b": light()}
        report = await mesh.edit(document(edited))
        assert (report["started"], list(report["failed"])) == (["b"], ["s"])
        assert await Legacy(mesh.server).names() == ["b_echo"]


async def test_step_4_a_reload_that_takes_long_says_for_whom_it_waits(
    run_mesh: RunMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.mesh.successors.SOON", 0.01)
    async with run_mesh(document({"a": light()})) as mesh:
        mesh.path.write_text(document({"a": light(), "s": light("--silent", timeouts={"connect": "2s"})}))
        assert (await mesh.journal.until("config.warming"))["waiting_for"] == ["s"]
        assert mesh.outcomes() == []
        assert list((await mesh.outcome(1))["failed"]) == ["s"]


# 5. Build


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (light("--tools", "x_echo", namespace=""), light(namespace="x")),
        (light("--prompts", "p", "--tools", "", namespace="n"), light("--prompts", "p", namespace="n")),
        (light("--resources", "a://b/c", "--tools", ""), light("--resources", "a://b/c", "--tools", "", namespace="a")),
    ],
    ids=["tools", "prompts", "resources"],
)
async def test_step_5_two_components_of_one_name_reject_the_edit(run_mesh: RunMesh, first: Any, second: Any) -> None:
    async with run_mesh(document({"a": first})) as mesh:
        client = Legacy(mesh.server)
        before = [await client.names(kind) for kind in ("tools", "prompts", "resources")]
        report = await mesh.edit(document({"a": first, "b": second}))
        assert report["event"] == "config.rejected"
        (problem,) = report["problems"]
        line = mesh.path.read_text().splitlines().index('  "b": {') + 1
        assert problem.startswith(f"{mesh.path}:{line}:3: upstreams.b: ")
        assert "'a'" in problem
        assert [await client.names(kind) for kind in ("tools", "prompts", "resources")] == before
        assert client.heard.all == []
        assert list(mesh.mesh.status()) == ["a"]


async def test_step_5_a_collision_that_comes_up_later_is_won_by_the_first_with_one_warning(run_mesh: RunMesh) -> None:
    text = document({"a": light("--tools", "one", namespace=""), "b": light("--tools", "two", namespace="")})
    async with run_mesh(text) as mesh:
        client = Legacy(mesh.server)
        pid = mesh.pid("a")
        changed = ["notifications/tools/list_changed", {}]
        await client.call("two", tools=["one", "two", "three"], notify=[changed])
        await mesh.journal.until("name.collision")
        assert await client.names() == ["one", "two", "three"]
        assert (await client.says("one"))["pid"] == pid
        await client.call("one", tools=["one", "four"], notify=[changed])
        await client.heard.until(TOOLS, 2)
        assert await client.names() == ["one", "four", "two", "three"]
        assert len(mesh.journal.of("name.collision")) == 1
        # It is so already, so it is no reason to refuse an edit.
        edited = json.loads(text)["upstreams"] | {"c": light()}
        assert (await mesh.edit(document(edited)))["event"] == "config.reloaded"


# 6. Swap


async def test_step_6_a_call_that_began_before_the_swap_is_of_the_old_and_one_after_it_of_the_new(
    run_mesh: RunMesh,
) -> None:
    async with run_mesh(document({"a": light("--label", "old")})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        call = asyncio.create_task(client.says("a_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        report = await mesh.edit(document({"a": light("--label", "new")}))
        assert (report["started"], report["retired"]) == (["a"], ["a"])
        assert (await client.says("a_echo"))["label"] == "new"
        release(pid)
        assert await call == {"pid": pid, "label": "old", "answers": []}
        await eventually(lambda: not is_alive(pid))


# 7. Announce


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--tools", "other"), [TOOLS]),
        (("--prompts", "other"), [PROMPTS]),
        (("--resources", "x://other"), [RESOURCES]),
        (("--templates", "x://{other}"), [RESOURCES]),
        (("--resources", "x://other", "--templates", "x://{other}"), [RESOURCES]),
        (("--tools", "a,b", "--prompts", "c", "--resources", "d://"), [TOOLS, RESOURCES, PROMPTS]),
        (("--instructions", "Other words"), []),
    ],
)
async def test_step_7_clients_are_told_once_of_each_kind_that_differs_and_of_no_other(
    run_mesh: RunMesh, arguments: tuple[str, ...], expected: list[str]
) -> None:
    same = light("--prompts", "p", "--resources", "r://r", "--templates", "t://{t}")
    async with run_mesh(document({"a": same, "b": light()})) as mesh:
        legacy, deaf, modern = Legacy(mesh.server), Modern(mesh.server), Modern(mesh.server)
        flags = {"toolsListChanged": True, "resourcesListChanged": True, "promptsListChanged": True}
        streams = [
            asyncio.create_task(client.request("subscriptions/listen", {"notifications": wanted}))
            for client, wanted in ((deaf, {}), (modern, flags))
        ]
        for client in (deaf, modern):
            await client.heard.until("notifications/subscriptions/acknowledged")
            client.heard.clear()
        await mesh.edit(document({"a": same, "b": light(*arguments)}))
        for client in (legacy, modern):
            assert sorted(client.heard.methods()) == sorted(expected)
        assert deaf.heard.all == []
        mesh.server.end_streams()
        await within(asyncio.gather(*streams))


async def test_step_7_who_lists_when_told_sees_what_is_new(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, listed = Legacy(mesh.server), asyncio.Event()
        seen: list[asyncio.Task[list[str]]] = []

        def list_at_once(*_: Any) -> None:
            seen.append(asyncio.ensure_future(client.names()))
            listed.set()

        client.session.notify = list_at_once  # type: ignore[method-assign]
        await mesh.edit(document({"b": light()}))
        await within(listed.wait())
        assert [await names for names in seen] == [["b_echo"]]


# 8. Drain


async def test_step_8_a_removed_upstream_ends_its_calls_takes_no_new_ones_and_is_gone(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(), "b": light()})) as mesh:
        legacy, modern, pid = Legacy(mesh.server), Modern(mesh.server), mesh.pid("a")
        # What is known not to ask may be used by several at once.
        await legacy.call("a_echo")
        calls = [asyncio.create_task(client.says("a_echo", 1, hold=True)) for client in (legacy, modern)]
        for client in (legacy, modern):
            await client.heard.until("notifications/progress")
        await mesh.edit(document({"b": light()}))
        for client in (legacy, modern):
            with pytest.raises(RpcError, match="Unknown tool: a_echo"):
                await client.call("a_echo")
            assert await client.names() == ["b_echo"]
        assert is_alive(pid)
        release(pid)
        assert [(await call)["pid"] for call in calls] == [pid, pid]
        await eventually(lambda: not is_alive(pid))


@pytest.mark.parametrize("before", ["100ms", "never"])
async def test_step_8_after_the_edits_drain_timeout_what_still_runs_is_ended_with_an_error(
    run_mesh: RunMesh, before: str
) -> None:
    text = document({"a": light(), "b": light()}, reload={"drain_timeout": before})
    async with run_mesh(text) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        call = asyncio.create_task(client.call("a_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        await mesh.edit(document({"b": light()}, reload={"drain_timeout": "100ms"}))
        with pytest.raises(RpcError) as lost:
            await call
        assert lost.value.data["upstream"] == "a"
        assert lost.value.data["retryable"] is False
        await eventually(lambda: not is_alive(pid))
        assert mesh.journal.of("upstream.drain_timeout")[0]["calls"] == 1


async def test_step_8_draining_delays_neither_the_report_nor_the_next_edit(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        call = asyncio.create_task(client.says("a_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        for label in ("one", "two"):
            await mesh.edit(document({"a": light("--label", label)}))
            assert (await client.says("a_echo"))["label"] == label
        assert not call.done()
        release(pid)
        assert (await call)["pid"] == pid


# 9. Abort


async def test_step_9_a_newer_edit_makes_one_that_is_warming_void_and_leaves_nothing_of_it(
    run_mesh: RunMesh, tmp_path: Path
) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, pid, seen = Legacy(mesh.server), mesh.pid("a"), tmp_path / "seen"
        mesh.path.write_text(document({"a": light("--label", "x"), "s": light("--silent", "--journal", str(seen))}))
        await eventually(seen.exists)
        report = await mesh.edit(document({"a": light(), "b": light()}))
        assert (report["kept"], report["started"], report["retired"]) == (["a"], ["b"], [])
        assert await client.names() == ["a_echo", "b_echo"]
        assert (await client.says("a_echo"))["pid"] == pid
        assert len(mesh.outcomes()) == 1
        assert client.heard.methods() == [TOOLS]
        assert children_of(mesh) == {pid, mesh.pid("b")}


async def test_step_9_the_end_of_the_mesh_in_the_middle_of_warming_leaves_nothing(
    run_mesh: RunMesh, tmp_path: Path
) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        seen = tmp_path / "seen"
        mesh.path.write_text(document({"a": light(), "s": light("--silent", "--stubborn", "--journal", str(seen))}))
        await eventually(seen.exists)


async def test_step_9_the_end_of_the_mesh_in_the_middle_of_draining_leaves_nothing(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(), "b": light()})) as mesh:
        client, pid = Legacy(mesh.server), mesh.pid("a")
        call = asyncio.create_task(client.call("a_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        await mesh.edit(document({"b": light()}))
    with pytest.raises(RpcError, match="'a'"):
        await within(call)
    assert not is_alive(pid)


async def test_step_9_a_mesh_that_ends_right_after_a_reload_leaves_nothing(run_mesh: RunMesh, tmp_path: Path) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        pid = mesh.pid("a")
        mesh.path.write_text(document({}))
        mesh.path.write_text(document({"b": light()}))
        await mesh.outcome(1)
    assert not is_alive(pid)


# 10. Report


async def test_step_10_a_reload_is_reported_with_its_plan_its_failures_and_its_seconds(run_mesh: RunMesh) -> None:
    text = document({"keep": light(), "change": light(), "remove": light()})
    async with run_mesh(text) as mesh:
        edited = {
            "keep": light(),
            "change": light("--label", "x"),
            "add": light(),
            "fail": light("--dies", "its last words"),
        }
        report = await mesh.edit(document(edited))
        assert report["event"] == "config.reloaded"
        assert report["kept"] == ["keep"]
        assert report["started"] == ["change", "add"]
        assert report["retired"] == ["change", "remove"]
        assert list(report["failed"]) == ["fail"]
        assert "its last words" in report["failed"]["fail"]
        assert report["restart_required"] == []
        assert report["seconds"] > 0
        assert len(mesh.outcomes()) == 1


async def test_many_reloads_leave_no_trace_on_what_is_kept(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        provider = mesh.mesh._providers["a"]
        before = len(provider._supervisor.condition._listeners)
        for number in range(5):
            await mesh.mesh.reload(mesh.mesh.config.model_copy(update={"instructions": str(number)}))
        assert mesh.mesh._providers["a"] is provider
        assert len(provider._supervisor.condition._listeners) == before


def children_of(mesh: Running) -> set[int]:
    """The processes of all upstreams."""
    return {pid for status in mesh.mesh.status().values() for pid in status.get("pids", ())}


# What limits calls


async def test_an_edit_of_limits_holds_at_once_and_neither_the_process_nor_a_running_call_notices(
    run_mesh: RunMesh,
) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        client, pid = mesh.legacy(), mesh.pid("a")
        running = asyncio.create_task(client.says("a_echo", 1, hold=True))
        await client.heard.until("notifications/progress")
        limits = {"limits": {"concurrency": 1, "queue": 0}}
        report = await mesh.edit(document({"a": light(), "b": light()}, defaults=limits))
        assert (report["kept"], report["started"]) == (["a"], ["b"])
        with pytest.raises(RpcError, match="'a' is busy: 1 calls are in flight, and 0 wait") as busy:
            await client.call("a_echo")
        assert busy.value.data["retryAfter"] == 1
        assert (await client.says("b_echo"))["pid"] == mesh.pid("b")
        await mesh.edit(document({"a": light(limits={"concurrency": 2}), "b": light()}, defaults=limits))
        assert (await client.says("a_echo"))["pid"] == pid
        release(pid)
        assert (await running)["pid"] == pid == mesh.pid("a")


async def test_an_answer_that_is_larger_than_the_config_allows_fails_its_call_alone_and_a_listing_is_not_limited(
    run_mesh: RunMesh,
) -> None:
    big = json.dumps({"content": [{"type": "text", "text": "x" * 100_000}]})
    tools = [f"tool{number}" for number in range(1000)]
    upstream = light("--tools", ",".join(tools), limits={"result": "20kB"})
    async with run_mesh(document({"a": upstream})) as mesh:
        client, pid = mesh.legacy(), mesh.pid("a")
        assert len(await client.names()) == len(tools)
        with pytest.raises(RpcError) as large:
            await client.call("a_tool1", raw=big)
        reason = "it is larger than 20kB: ask for less, or raise `limits.result` of this upstream"
        assert large.value.data == {"upstream": "a", "reason": reason, "retryable": False}
        assert (await client.says("a_tool2"))["pid"] == pid
        await mesh.edit(document({"a": {**upstream, "limits": {"result": "1MiB"}}}))
        assert len((await client.call("a_tool1", raw=big))["content"][0]["text"]) == 100_000
        assert mesh.pid("a") == pid
