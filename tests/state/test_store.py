"""The state directory: whole files or none, whatever becomes of the directory and the disk."""

import asyncio
import os
import stat
from pathlib import Path

import pytest
from meshproxy.state.place import place
from meshproxy.state.store import KEY_SIZE, Store
from tests.kit.processes import nothing_left
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_what_was_written_is_found_by_the_next_store(tmp_path):
    async with nothing_left():
        store = Store(tmp_path / "state")
        store.write("a", b"1")
        store.write("folder/b", b"2")
        assert (store.read("a"), store.read("c")) == (b"1", None)
        await store.aclose()
        await store.aclose()
    after = Store(tmp_path / "state")
    assert (after.read("a"), after.read("folder/b"), after.names("folder")) == (b"1", b"2", ["folder/b"])


async def test_nobody_else_may_read_any_of_it(tmp_path):
    before = os.umask(0)
    try:
        store = Store(tmp_path / "above" / "state")
        store.write("folder/a", b"1")
        await store.aclose()
    finally:
        os.umask(before)
    made = tmp_path / "above" / "state"
    assert [mode(path) for path in (made, made / "folder", made / "folder" / "a")] == [0o700, 0o700, 0o600]


async def test_the_latest_of_a_name_is_what_stays_and_what_is_removed_is_gone(tmp_path):
    store = Store(tmp_path)
    store.write("gone", b"1")
    for number in range(100):
        store.write("a", b"%d" % number)
        await asyncio.sleep(0)
    store.remove("gone")
    assert store.read("gone") is None
    await store.aclose()
    assert files(tmp_path) == {"a": b"99"}


async def test_a_directory_may_be_deleted_at_any_time(tmp_path):
    store = Store(tmp_path / "state")
    store.write("folder/a", b"1")
    await eventually((tmp_path / "state" / "folder" / "a").exists)
    await eventually(lambda: not store._pending)
    for path in (tmp_path / "state" / "folder" / "a", tmp_path / "state" / "folder", tmp_path / "state"):
        path.unlink() if path.is_file() else path.rmdir()
    assert store.read("folder/a") is None
    store.write("folder/b", b"2")
    await store.aclose()
    assert files(tmp_path / "state") == {"folder/b": b"2"}


async def test_without_a_directory_nothing_is_kept_and_nothing_complains(journal):
    async with nothing_left():
        store = Store(None)
        store.write("a", b"1")
        store.remove("b")
        assert (store.read("a"), store.names("folder"), len(store.key)) == (None, [], KEY_SIZE)
        await store.aclose()
    assert not journal.all


async def test_what_cannot_be_written_is_said_once_and_written_when_it_can_be(tmp_path, journal):
    in_the_way = tmp_path / "state"
    in_the_way.write_text("a file")
    store = Store(in_the_way)
    for number in range(3):
        store.write("a", b"%d" % number)
        await eventually(lambda: store._writing is not None and not store._news.is_set())
    await eventually(lambda: journal.of("state.unusable"))
    in_the_way.unlink()
    store.write("b", b"")
    await eventually(lambda: journal.of("state.usable"))
    # The attempt that was under way may have been the first to succeed, and the other name comes with the next.
    await eventually(lambda: not store._pending)
    assert files(in_the_way) == {"a": b"2", "b": b""}
    assert len(journal.of("state.unusable")) == 1
    await store.aclose()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
async def test_a_full_disk_leaves_the_old_file_whole(tmp_path, journal, monkeypatch):
    store = Store(tmp_path)
    store.write("a", b"old")
    await eventually(lambda: not store._pending)
    opened = os.open
    monkeypatch.setattr(
        os,
        "open",
        lambda path, flags, *rest: opened("/dev/full" if flags & os.O_EXCL else path, flags & ~os.O_EXCL, *rest),
    )
    store.write("a", b"new" * 10_000)
    await eventually(lambda: journal.of("state.unusable"))
    await store.aclose()
    assert journal.of("state.unusable")[0]["reason"] == "No space left on device"
    assert files(tmp_path) == {"a": b"old"}


async def test_a_directory_that_others_may_write_to_is_not_used(tmp_path, journal):
    tmp_path.chmod(0o777)
    store = Store(tmp_path)
    store.write("a", b"1")
    await store.aclose()
    assert "chmod 700" in journal.of("state.unusable")[0]["reason"]
    assert files(tmp_path) == {}


async def test_what_a_killed_mesh_left_half_written_is_cleared_away(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, age in (("old", 10_000), ("new", 0)):
        left = tmp_path / "folder" / f"{name}.tmp"
        left.write_text("half")
        os.utime(left, times=(left.stat().st_mtime - age,) * 2)
    store = Store(tmp_path)
    assert store.names("folder") == []
    store.write("a", b"")
    await store.aclose()
    assert files(tmp_path).keys() == {"a", "folder/new.tmp"}


async def test_the_key_of_a_directory_stays_and_is_another_in_each(tmp_path):
    store = Store(tmp_path / "one")
    key = store.key
    assert key == store.key
    await store.aclose()
    assert Store(tmp_path / "one").key == key
    other = Store(tmp_path / "other")
    assert other.key != key
    await other.aclose()


async def test_a_key_that_was_cut_off_is_made_anew(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    store = Store(tmp_path)
    assert len(store.key) == KEY_SIZE
    await store.aclose()
    assert (tmp_path / "key").read_bytes() == store.key


def test_each_config_file_has_a_directory_of_its_own_by_its_real_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    file, other, link = (tmp_path / name for name in ("mesh.yaml", "other mesh.yaml", "link.yaml"))
    link.symlink_to(file)
    assert place("auto", file) == place("auto", link) != place("auto", other)
    assert place("auto", file).is_relative_to(tmp_path / "home" / "meshproxy") or os.name != "posix"
    assert place("auto", other).name.startswith("other-mesh-")


def test_a_place_that_is_given_is_relative_to_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert place("none", tmp_path / "mesh.yaml") is None
    assert place("./kept", tmp_path / "mesh.yaml") == tmp_path / "kept"
    assert place("/var/lib/mesh", tmp_path / "mesh.yaml") == Path("/var/lib/mesh")
    assert place("~/kept", tmp_path / "mesh.yaml") == Path("/home/somebody/kept")
