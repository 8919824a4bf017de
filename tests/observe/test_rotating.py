"""Files of lines that only grow: whole lines or none, and put aside by size."""

import os
from pathlib import Path

import pytest
from meshproxy.observe.rotating import RotatingFile

LINE = b"x" * 9 + b"\n"


def test_a_file_is_put_aside_before_it_would_be_too_large(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile(path, 25, 2)
    for number in range(8):
        file.append([b"%d" % number * 9 + b"\n"])
    assert file.append([b"x" * 89 + b"\n", LINE]) == 1
    file.close()
    file.close()
    found = {one.name: one.read_bytes()[::10] for one in tmp_path.iterdir()}
    assert found == {"log.2": b"45", "log.1": b"67", "log": b"x" * 9}


def test_of_many_lines_as_many_are_written_as_there_is_room_for(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 35, 9)
    lines, counts = [LINE] * 8, []
    while lines:
        counts.append(file.append(lines))
        del lines[: counts[-1]]
    file.close()
    assert counts == [3, 3, 2]
    assert sorted(one.stat().st_size for one in tmp_path.iterdir()) == [20, 30, 30]


def test_several_lines_in_one_piece_are_taken_apart_where_there_is_no_room_for_all(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 35, 9)
    lines = [LINE * 2, LINE * 5, LINE]
    while lines:
        del lines[: file.append(lines)]
    assert file.append([LINE]) == 1
    file.close()
    assert sorted(one.stat().st_size for one in tmp_path.iterdir()) == [30, 30, 30]


def test_without_older_ones_the_file_begins_anew(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", 15, 0)
    file.append([LINE])
    file.append([b"y" * 9 + b"\n"])
    file.close()
    assert [(one.name, one.read_bytes()[:1]) for one in tmp_path.iterdir()] == [("log", b"y")]


def test_a_file_that_somebody_moved_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = RotatingFile(path, 1000, 1)
    file.append([LINE])
    path.rename(tmp_path / "aside")
    file.append([LINE])
    path.unlink()
    file.append([LINE])
    file.close()
    assert (path.read_bytes(), (tmp_path / "aside").read_bytes()) == (LINE, LINE)


def test_what_cannot_be_written_whole_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    file = RotatingFile(path, 1000, 1)
    file.append([LINE])
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:5])

    # A disk that takes a part of what is written to it, and no more.
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        file.append([LINE, LINE])
    monkeypatch.undo()
    assert path.read_bytes() == LINE
    file.append([LINE])
    file.close()
    assert path.read_bytes() == LINE * 2
