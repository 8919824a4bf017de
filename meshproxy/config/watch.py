"""Noticing edits of a config file, however they are made.

Editors write in place, or write another file and rename it; a mounted ConfigMap is a chain of symlinks of which one in the middle is
swapped. So the directories are watched: the file's own, those of every link on the way to it, and those of the files that it
refers to with `${file:}`. Twice a second the files' metadata is compared too, which covers what events miss: network file systems, a
directory that goes and comes back, and the moment in which the set of watched directories changes. What happens to other files there is none of an
edit's: a log beside the config is written many times a second.
"""

import errno
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from meshproxy.config.content import Content, content_digest, read_content

__all__ = ["content_digest", "directories_of", "settled", "stirred", "watch"]

STEP: Final = 50
"""Milliseconds. Events that follow each other faster are one."""
SETTLE: Final = 0.03
"""Seconds between the two readings that must agree before a content counts."""
SETTLE_LONGER: Final = 0.15
"""The same where a writer seems to be at work: the file is empty or missing."""
SETTLE_READINGS: Final = 20
POLL: Final = 0.5
"""Seconds between two looks at the metadata."""
_MOST_LINKS: Final = 40
_NOTHING: Final = frozenset[str]()


async def watch(path: Path, seen: str, *, poll: float = POLL) -> AsyncGenerator[Content]:
    """What the config at `path`, and the files that it refers to, hold after each change that lasts; it never ends by itself.

    `seen` is the digest of what the caller knows (`MeshConfig.source.digest`, or `content_digest`), so that an edit made since
    is noticed. To be closed (`contextlib.aclosing`) by the task that iterates.
    """
    content = await anyio.to_thread.run_sync(read_content, path)
    path = content.path
    async with aclosing(stirred(lambda: content.files, poll=poll)) as stirrings:
        async for _ in stirrings:
            content = await settled(path)
            if content.digest != seen:
                seen = content.digest
                yield content


async def stirred(files: Callable[[], Iterable[Path]], *, poll: float = POLL) -> AsyncGenerator[None]:
    """At once, and whenever something may have happened to `files`, which are asked for each time and are absolute paths. It never ends by itself.

    To be closed (`contextlib.aclosing`) by the task that iterates.
    """
    while True:
        view = await anyio.to_thread.run_sync(_look, files())
        directories, metadata, again = view.directories, None, 0.0
        async with aclosing(_stirrings(directories, poll)) as stirrings:
            async for happened in stirrings:
                certain = not happened.isdisjoint(view.names)
                if happened and not certain and time.monotonic() < again:
                    continue
                again = time.monotonic() + poll
                view = await anyio.to_thread.run_sync(_look, files())
                if certain or view.metadata != metadata:
                    # From before it is read: what is written meanwhile differs from it at the next look.
                    metadata = view.metadata
                    yield
                    view = await anyio.to_thread.run_sync(_look, files())
                if view.directories != directories:
                    break


@dataclass(frozen=True)
class _View:
    """What can be seen of the files without reading them."""

    metadata: tuple[tuple[int, ...] | None, ...]
    directories: frozenset[tuple[Path, int, int]]
    """With device and inode: a directory that was made anew is another one to the system's watches."""
    names: frozenset[str]
    """Of the files, of the links on the way to them, and of the directories: something that happens to one of these may be an edit."""


def _look(files: Iterable[Path]) -> _View:
    files = tuple(files)
    directories, names = _ways(files)
    found = ((directory, _metadata(directory)) for directory in directories)
    there = frozenset((path, data[0], data[1]) for path, data in found if data)
    return _View(tuple(map(_metadata, files)), there, names)


def _metadata(path: Path) -> tuple[int, ...] | None:
    """What changes when a file is written or replaced; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def directories_of(files: Iterable[Path]) -> frozenset[Path]:
    """The directories in one of which something happens when one of `files` changes. Not all of them need exist.

    The paths must be absolute, and not resolved.
    """
    return _ways(files)[0]


def _ways(files: Iterable[Path]) -> tuple[frozenset[Path], frozenset[str]]:
    """The directories, and the names of what matters in them."""
    directories: set[Path] = set()
    names: set[str] = set()
    for file in files:
        _follow(file, directories, names)
    return frozenset(directories), frozenset(names | {directory.name for directory in directories})


def _follow(path: Path, directories: set[Path], names: set[str]) -> None:
    """Add the directory of `path`, and of each symlink on the way to it, and the names of these."""
    directories.add(path.parent)
    names.add(path.name)
    links = 0
    here = Path(path.anchor)
    rest = list(path.parts[1:])
    while rest:
        step = rest.pop(0)
        here = here.parent if step == ".." else here / step
        # Asking first whether it is a link would leave it time to go.
        try:
            target = here.readlink()
        except OSError as error:
            if error.errno == errno.EINVAL:  # it is there, and no link
                continue
            break
        links += 1
        if links > _MOST_LINKS:
            break
        directories.add(here.parent)
        names.add(here.name)
        rest[:0] = target.parts[1:] if target.is_absolute() else target.parts
        here = Path(target.anchor) if target.is_absolute() else here.parent
    directories.add(here.parent)
    names.add(here.name)


async def _stirrings(directories: Iterable[tuple[Path, int, int]], poll: float) -> AsyncGenerator[frozenset[str]]:
    """The names of what something happens to in `directories`, and none now and then while nothing does; the first are none, and come at once."""
    # Imported late: reading a config needs no watcher.
    from watchfiles import awatch  # noqa: PLC0415

    yield _NOTHING
    paths = sorted(path for path, *_ in directories)
    # OSError: a directory has gone, or the system's watches are used up. Looking once in a while still works.
    with suppress(OSError):
        if paths:
            changes = awatch(
                *paths,
                watch_filter=None,
                debounce=4 * STEP,
                step=STEP,
                rust_timeout=int(poll * 1000),
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            )
            async with aclosing(changes):
                async for happened in changes:
                    yield frozenset(os.path.basename(path) for _, path in happened)  # noqa: PTH119  # a Path for each costs ten times that
    while True:
        await anyio.sleep(poll)
        yield _NOTHING


async def settled(path: Path) -> Content:
    """What the file holds once two readings agree, so that no half-written one is taken for the whole."""
    content = await anyio.to_thread.run_sync(read_content, path)
    for _ in range(SETTLE_READINGS):
        await anyio.sleep(SETTLE if content.data else SETTLE_LONGER)
        again = await anyio.to_thread.run_sync(read_content, path)
        if again.digest == content.digest:
            break
        content = again
    return content
