"""An edit as it may be shown: its diff, less the secrets that stand in the lines. Place: operate."""

from collections.abc import Iterator, Mapping

from meshproxy.config.content import Content
from meshproxy.config.edit import Edited
from meshproxy.config.load import load
from meshproxy.config.secrets import Scrubber, without_secrets
from meshproxy.errors import ConfigError

__all__ = ["shown_diff"]


def shown_diff(edit: Edited) -> str:
    """The lines that differ, as they may be shown to whoever looks over the user's shoulder."""
    scrubber = Scrubber()
    for data in (edit.before, edit.after):
        scrubber |= _scrubber(edit, data or b"")
    return "\n".join(without_secrets(scrubber.scrub(line)) for line in edit.diff.splitlines())


def _scrubber(edit: Edited, data: bytes) -> Scrubber:
    """What knows the secrets that stand in a text itself."""
    try:
        return load(edit.path, _Unset(), content=Content(edit.path, "", (edit.path,), data)).scrubber
    except ConfigError:
        return Scrubber()


class _Unset(Mapping[str, str]):
    """Variables that all have a value, and none of a secret."""

    def __getitem__(self, name: str) -> str:
        return "unset"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
