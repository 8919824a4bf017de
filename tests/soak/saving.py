"""Every way in which a file is saved. Each returns the longest pause in seconds between two steps that leave it half done."""

import random
import time
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path

_numbers = count(1)
Save = Callable[[Path, bytes, random.Random], float]


def in_place(path: Path, data: bytes, rng: random.Random) -> float:
    """Truncated and written anew in one go: `cat > mesh.yaml`."""
    path.write_bytes(data)
    return 0.0


def in_pieces(path: Path, data: bytes, rng: random.Random) -> float:
    """Truncated and written in pieces, with pauses."""
    cuts = [0, *sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 4))), len(data)]
    times = [time.monotonic()]
    with path.open("wb", buffering=0) as file:
        for start, end in pairwise(cuts):
            time.sleep(rng.uniform(0, 0.012))
            file.write(data[start:end])
            times.append(time.monotonic())
    return max(later - earlier for earlier, later in pairwise(times))


def by_rename(path: Path, data: bytes, rng: random.Random) -> float:
    """Written beside it and renamed: most editors."""
    part = path.with_name(f".{path.name}.{next(_numbers)}.swp")
    part.write_bytes(data)
    part.replace(path)
    return 0.0


def with_backup(path: Path, data: bytes, rng: random.Random) -> float:
    """The old file renamed, the new one written in its place, the old one removed: vim with `backupcopy=no`."""
    begun = time.monotonic()
    backup = path.with_name(path.name + "~")
    if path.exists():
        path.rename(backup)
    time.sleep(rng.uniform(0, 0.02))
    path.write_bytes(data)
    backup.unlink(missing_ok=True)
    return time.monotonic() - begun


def by_link(path: Path, data: bytes, rng: random.Random) -> float:
    """A ConfigMap: `mesh.yaml` -> `..data/mesh.yaml`, and `..data` -> a directory of its own for each version."""
    folder = path.parent
    version = folder / f"..{time.strftime('%Y_%m_%d')}.{next(_numbers)}"
    version.mkdir()
    (version / path.name).write_bytes(data)
    current = folder / "..data"
    old = current.resolve() if current.is_symlink() else None
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(current)
    if not path.is_symlink():
        link = folder / "..file_tmp"
        link.symlink_to(f"..data/{path.name}")
        link.rename(path)
    if old is not None:
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    return 0.0


WAYS: dict[str, Save] = {save.__name__: save for save in (in_place, in_pieces, by_rename, with_backup, by_link)}
