"""What became of each edit is known afterwards, without a secret in it; and an upstream can be started anew without one."""

import asyncio

import pytest
from tests.kit.light import document, light
from tests.kit.processes import is_alive
from tests.kit.waiting import eventually
from tests.mesh.conftest import RunMesh

pytestmark = pytest.mark.anyio
SECRET = "sk-live-0123456789abcdefgh"


async def test_an_edit_is_told_by_the_keys_and_the_public_names_that_it_changed(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(), "b": light()})) as mesh:
        await mesh.edit(document({"a": light(namespace="x"), "c": light()}))
        (edit,) = mesh.mesh.edits
        assert edit.is_applied
        assert edit.plan is not None
        assert (edit.plan.keep, edit.plan.start, edit.retired) == (("a",), ("c",), ("b",))
        told = {change.key: (change.before, change.after) for change in edit.changes}
        assert told["upstreams.a.namespace"] == (None, "x")
        assert {"upstreams.b.command", "upstreams.c.command"} <= told.keys()
        assert edit.names == {"tool": {"added": ("x_echo", "c_echo"), "removed": ("a_echo", "b_echo")}}


async def test_a_rejected_edit_is_told_with_its_place_and_remedy_and_the_next_one_with_what_mended_it(
    run_mesh: RunMesh,
) -> None:
    text = document({"a": light()})
    async with run_mesh(text) as mesh:
        heard = []
        stop = mesh.mesh.edits.on_edit(heard.append)
        await mesh.edit(text.replace('"command"', '"comand"'))
        await mesh.edit(text)
        stop()
        await mesh.edit(document({"b": light()}))
        assert [edit.is_applied for edit in mesh.mesh.edits] == [False, True, True]
        assert heard == list(mesh.mesh.edits)[:2]
        assert [edit.number for edit in mesh.mesh.edits] == [1, 2, 3]
        rejected = heard[0]
        (problem, *_) = rejected.problems
        assert problem.line == 4
        assert "command" in str(problem.hint)


async def test_no_secret_is_told_of_an_edit_be_it_applied_or_rejected(run_mesh: RunMesh) -> None:
    def text(secret: str, **keys: object) -> str:
        return document({"a": light("--api-key", secret, env={"GITHUB_TOKEN": secret})}, **keys)

    async with run_mesh(text("")) as mesh:
        await mesh.edit(text(SECRET))
        await mesh.edit(text(f"{SECRET}ij", separator=f"{SECRET}"))
        await mesh.edit(text(f"{SECRET}kl"))
        edits = list(mesh.mesh.edits)
        assert [edit.is_applied for edit in edits] == [True, False, True]
        assert all(edit.changes for edit in edits if edit.is_applied)
        assert SECRET not in repr(edits)


async def test_an_upstream_is_started_anew_beside_the_one_that_runs(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light(), "b": light()})) as mesh:
        before, other = mesh.pid("a"), mesh.pid("b")
        report = await mesh.mesh.restart("a")
        assert report.failures == {}
        assert mesh.pid("a") != before
        assert mesh.pid("b") == other
        await eventually(lambda: not is_alive(before))
        assert [edit.cause for edit in mesh.mesh.edits] == ["restart"]
        with pytest.raises(KeyError):
            await mesh.mesh.restart("c")


async def test_an_edit_comes_before_a_start_that_nobody_knows_the_end_of(run_mesh: RunMesh) -> None:
    text = document({"a": light(), "b": light("--silent", timeouts={"connect": "never"})})
    async with run_mesh(text, settle=False) as mesh:
        restarting = asyncio.create_task(mesh.mesh.restart("b"))
        await eventually(lambda: mesh.mesh._restarting is not None)
        report = await mesh.edit(document({"a": light()}))
        assert report["retired"] == ["b"]
        await asyncio.wait({restarting})
        assert restarting.cancelled()


async def test_what_stays_as_it_was_is_not_told(run_mesh: RunMesh) -> None:
    async with run_mesh(document({"a": light()})) as mesh:
        await mesh.edit(document({"a": light(), "b": light()}))
        await mesh.edit(document({"b": light(), "a": light()}))
        added, moved = mesh.mesh.edits
        assert added.changes
        assert {change.key.split(".")[1] for change in added.changes} == {"b"}
        assert [change.key for change in moved.changes] == ["upstreams"]
