"""Edits of a config file by command: what is not edited stays as it is written, to the byte.

What would not load afterwards is not written, but for what did not load before, and variables that are not set here. The file is replaced in one step, so that
whoever follows it never sees half of an edit, and what it was stands beside it, in `FILE.bak`.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from meshproxy.config.content import Content, read_content
from meshproxy.config.draft import Draft, UneditableError
from meshproxy.config.env import is_unset
from meshproxy.config.jsonc import is_json
from meshproxy.config.load import load
from meshproxy.errors import ConfigError, Problem

__all__ = ["BACKUP", "Edited", "edit", "edited", "replace_file", "upstreams_key"]

BACKUP = ".bak"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Edited:
    """What an edit comes to, before it is written.

    Attributes:
        path: the file.
        before: what it holds, None if there is none.
        after: what it will hold.
        warnings: what stands in the way of serving it that the edit did not bring, and variables that are to be set.
    """

    path: Path
    before: bytes | None
    after: bytes
    warnings: tuple[Problem, ...] = ()

    @property
    def diff(self) -> str:
        """The lines that differ, as `diff -u` has them; empty if none do."""
        old, new = ((data or b"").decode("utf-8-sig", "replace").splitlines() for data in (self.before, self.after))
        lines = unified_diff(old, new, str(self.path), str(self.path), lineterm="", n=2)
        return "\n".join(lines)

    def write(self) -> None:
        """Replace the file, and keep what it was beside it. Raises `ConfigError` if it cannot be written."""
        if self.before == self.after:
            return
        try:
            target = self.path.resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if self.before is not None else 0o600
            if self.before is not None:
                replace_file(target.with_name(target.name + BACKUP), self.before, mode)
            replace_file(target, self.after, mode)
        except OSError as error:
            raise _refused(
                self.path, f"cannot be written: {error.strerror or error}; edit it where it comes from"
            ) from None


def edited(
    path: Path,
    change: Callable[[Draft], None],
    *,
    create: bool = False,
    pending: Callable[[], Collection[str]] = tuple,
) -> Edited:
    """What the file at `path` will be once `change` has changed it. `create`: a file that is not there is an empty one.

    `pending` names files that the new text refers to, and that are written with it.

    Raises:
        ConfigError: the file cannot be read, cannot be edited, or could not be used any more.
    """
    content = read_content(path)
    is_new = create and not path.exists()
    if content.data is None and not is_new:
        raise _refused(path, content.error or "")
    data = content.data or b""
    try:
        text = data.decode("utf-8-sig")
        draft = Draft(text, is_json=is_json(text, path.suffix) or (not text.strip() and path.suffix == ".json"))
        change(draft)
    except UneditableError as error:
        raise _refused(path, str(error)) from None
    except UnicodeDecodeError:
        raise _refused(path, "is not UTF-8 text; save the file as UTF-8") from None
    after = (_BOM if data.startswith(_BOM) else b"") + draft.text.encode()
    old = () if is_new else _problems(content, data)
    known = {(one.key, one.message) for one in old}
    coming = tuple(f"${{file:{name}}}: " for name in pending())
    new = tuple(one for one in _problems(content, after) if not one.message.startswith(coming))
    if worse := [one for one in new if (one.key, one.message) not in known and not is_unset(one.message)]:
        raise ConfigError(tuple(worse))
    return Edited(path, None if is_new else data, after, new)


def edit(path: Path, change: Callable[[Draft], None]) -> None:
    """Let `change` change the text of the file at `path`, and write it. Raises `ConfigError` as `edited` does."""
    edited(path, change).write()


def upstreams_key(draft: Draft) -> str:
    """The key under which a file lists its upstreams."""
    return "mcpServers" if isinstance(draft.tree, dict) and "mcpServers" in draft.tree else "upstreams"


def _problems(content: Content, data: bytes) -> tuple[Problem, ...]:
    try:
        load(content.path, content=Content(content.path, "", content.files, data))
    except ConfigError as error:
        return error.problems
    return ()


def replace_file(target: Path, data: bytes, mode: int) -> None:
    """Write beside the file and rename, so that there is one or the other."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _refused(path: Path, message: str) -> ConfigError:
    text, _, hint = message.partition("; ")
    return ConfigError((Problem(str(path), None, None, "", text, hint or None),))
