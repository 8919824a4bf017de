import os
import shutil
import threading
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from meshproxy.config import watch as watching
from meshproxy.config.content import content_digest
from meshproxy.config.watch import directories_of, watch
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio


class Watched:
    """A watch in a task of its own, and the changes it has reported."""

    def __init__(self, path):
        self.path = path
        self.send, self.changes = anyio.create_memory_object_stream(100)

    async def run(self, seen, *, task_status):
        async with aclosing(watch(self.path, seen, poll=0.1)) as changes, self.send:
            task_status.started()
            async for change in changes:
                await self.send.send(change)

    async def change(self):
        with anyio.fail_after(DEADLINE):
            return await self.changes.receive()

    async def becomes_what_is_there(self):
        """The next change is the file's present content; it was reported once."""
        expected = content_digest(self.path)
        change = await self.change()
        assert change.digest == expected
        return change


@asynccontextmanager
async def watched(path, seen=None):
    it = Watched(path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(it.run, content_digest(path) if seen is None else seen)
        yield it
        assert it.changes.statistics().current_buffer_used == 0
        tasks.cancel_scope.cancel()
    it.changes.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "conf" / "mesh.yaml"
    path.parent.mkdir()
    path.write_text("name: one\n")
    return path


async def test_writing_in_place_is_noticed(file):
    async with watched(file) as it:
        for text in ("name: two\n", "name: two and a half\n", "name: two\n"):
            file.write_text(text)
            await it.becomes_what_is_there()


async def test_writing_another_file_and_renaming_it_is_noticed(file):
    async with watched(file) as it:
        for number in range(5):
            other = file.with_suffix(f".{number}.tmp")
            other.write_text(f"name: renamed {number}\n")
            other.replace(file)
            await it.becomes_what_is_there()


async def test_an_editors_backup_dance_is_noticed(file):
    async with watched(file) as it:
        backup = file.with_name("mesh.yaml~")
        file.rename(backup)
        file.write_text("name: danced\n")
        backup.unlink()
        await it.becomes_what_is_there()


async def test_swapping_the_link_of_a_mounted_config_map_is_noticed_each_time(tmp_path):
    mount = tmp_path / "mount"

    def publish(number, text):
        version = mount / f"..{number}"
        version.mkdir(parents=True)
        (version / "mesh.yaml").write_text(text)
        (mount / "..data_tmp").symlink_to(version.name)
        (mount / "..data_tmp").replace(mount / "..data")
        if number:
            shutil.rmtree(mount / f"..{number - 1}")

    publish(0, "name: zero\n")
    (mount / "mesh.yaml").symlink_to("..data/mesh.yaml")
    async with watched(mount / "mesh.yaml") as it:
        for number in range(1, 5):
            publish(number, f"name: version {number}\n")
            await it.becomes_what_is_there()


async def test_a_link_to_a_file_elsewhere_is_followed_and_so_is_its_replacement(tmp_path, file):
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    other = tmp_path / "other" / "mesh.yaml"
    other.parent.mkdir()
    other.write_text("name: other\n")
    async with watched(link) as it:
        file.write_text("name: at the target\n")
        await it.becomes_what_is_there()
        (tmp_path / "new").symlink_to(other)
        (tmp_path / "new").replace(link)
        await it.becomes_what_is_there()
        other.write_text("name: at the new target\n")
        await it.becomes_what_is_there()


async def test_a_file_that_the_config_refers_to_is_followed_before_and_after_it_exists(tmp_path, file):
    async with watched(file) as it:
        file.write_text("a: ${file:../keys/token}\n")
        await it.becomes_what_is_there()
        keys = tmp_path / "keys"
        keys.mkdir()
        (keys / "token").write_text("one")
        await it.becomes_what_is_there()
        (keys / "token").write_text("two")
        await it.becomes_what_is_there()
        (keys / "token").unlink()
        await it.becomes_what_is_there()


async def test_a_file_that_cannot_be_read_is_reported_once_and_its_return_is_noticed(file):
    async with watched(file) as it:
        file.unlink()
        assert (await it.change()).error == "does not exist; check the path"
        file.mkdir()
        assert "is a directory" in (await it.change()).error
        file.rmdir()
        assert "does not exist" in (await it.change()).error
        file.write_text("name: one\n")
        assert (await it.becomes_what_is_there()).error is None


async def test_a_directory_that_goes_and_comes_back_is_followed(file):
    async with watched(file) as it:
        shutil.rmtree(file.parent)
        assert "does not exist" in (await it.change()).error
        file.parent.mkdir()
        file.write_text("name: back\n")
        await it.becomes_what_is_there()
        file.write_text("name: back and changed\n")
        await it.becomes_what_is_there()


async def test_a_directory_replaced_by_another_of_its_name_is_followed(tmp_path, file):
    async with watched(file) as it:
        for number in range(3):
            new = tmp_path / "new"
            new.mkdir()
            (new / "mesh.yaml").write_text(f"name: moved {number}\n")
            file.parent.rename(tmp_path / f"old{number}")
            new.rename(file.parent)
            while (change := await it.change()).digest != content_digest(file):
                assert change.error  # for a moment there was none


async def test_an_edit_made_before_the_watch_began_is_noticed(file):
    seen = content_digest(file)
    file.write_text("name: earlier\n")
    async with watched(file, seen) as it:
        await it.becomes_what_is_there()


async def test_touching_the_file_or_its_neighbours_is_no_change(file):
    async with watched(file) as it:
        file.touch()
        file.with_name("neighbour").write_text("x")
        file.write_text("name: one\n")
        file.write_text("name: marker\n")
        await it.becomes_what_is_there()


async def test_what_happens_to_a_neighbour_is_looked_at_no_more_often_than_nothing_is(file, monkeypatch):
    async def stirrings(_directories, _poll):
        yield frozenset()
        for _ in range(100):
            yield frozenset({"audit.jsonl"})
        file.write_text("name: other\n")
        yield frozenset({"audit.jsonl", file.name})

    looks = []
    look = watching._look
    monkeypatch.setattr(watching, "_look", lambda files: looks.append(files) or look(files))
    monkeypatch.setattr(watching, "_stirrings", stirrings)
    told = []
    with anyio.fail_after(DEADLINE):
        async with aclosing(watching.stirred(lambda: (file,), poll=3600)) as stirred:
            async for _ in stirred:
                told.append(file.read_text())
                if len(told) == 2:
                    break
    assert told[1] == "name: other\n"
    assert len(looks) < 10


async def test_a_slow_writer_is_waited_for(file):
    async with watched(file) as it:
        with file.open("wb") as slow:
            for _ in range(20):
                slow.write(b"# line\n")
                slow.flush()
                os.fsync(slow.fileno())
                await anyio.lowlevel.checkpoint()
            slow.write(b"name: slow\n")
        change = await it.change()
        while change.digest != content_digest(file):
            change = await it.change()


async def test_watching_goes_on_where_the_system_has_no_watches_left(file, monkeypatch):
    def used_up(*_paths, **_options):
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr("watchfiles.awatch", used_up)
    async with watched(file) as it:
        for text in ("name: two\n", "name: three\n"):
            file.write_text(text)
            await it.becomes_what_is_there()


async def test_a_relative_path_is_followed_wherever_the_process_goes(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    changes = watch(Path(file.name), content_digest(Path(file.name)), poll=0.1)
    async with aclosing(changes):
        file.write_text("name: two\n")
        with anyio.fail_after(DEADLINE):
            assert (await anext(changes)).digest == content_digest(file)
            monkeypatch.chdir("/")
            file.write_text("name: three\n")
            assert (await anext(changes)).digest == content_digest(file)


async def test_a_watch_that_is_closed_leaves_no_descriptor(file):
    def open_files():
        return len(list(Path("/dev/fd").iterdir()))

    async with watched(file):
        pass
    before = open_files()
    for _ in range(5):
        async with watched(file) as it:
            file.write_text(file.read_text() + "#\n")
            await it.becomes_what_is_there()
    assert open_files() <= before


def test_the_directories_of_every_link_on_the_way_are_known(tmp_path):
    real = tmp_path / "real" / "deep"
    real.mkdir(parents=True)
    (real / "file").touch()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "dir").symlink_to("../real")
    (tmp_path / "abs").symlink_to(tmp_path / "links" / "dir" / "deep" / "file")
    assert directories_of([tmp_path / "abs"]) == {tmp_path, tmp_path / "links", real}
    (tmp_path / "loop").symlink_to("loop")
    assert directories_of([tmp_path / "loop"]) == {tmp_path}
    assert directories_of([tmp_path / "no" / "such" / "file"]) >= {tmp_path / "no" / "such"}


def test_a_link_that_goes_while_it_is_followed_is_followed_no_further(tmp_path):
    link, is_over = tmp_path / "link", threading.Event()

    def flicker():
        while not is_over.is_set():
            link.symlink_to("link")
            link.unlink()

    flickering = threading.Thread(target=flicker)
    flickering.start()
    try:
        for _ in range(3000):
            assert directories_of([link]) == {tmp_path}
    finally:
        is_over.set()
        flickering.join()


def test_the_module_offers_the_digest_too():
    assert watching.content_digest is content_digest
