"""Whether the clock can be right, as far as the machine alone tells. Place: doctor. What other servers say of it is for `servers`."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from meshproxy.doctor.finding import Finding

__all__ = ["impossible"]

_AHEAD: Final = 60.0
"""Seconds by which a file may be from the future: file systems of other machines have clocks of their own."""


def impossible(files: Iterable[Path]) -> Iterable[Finding]:
    """A finding if something was written after now: a file of these, or this program."""
    now = time.time()
    for file in (*files, Path(__file__)):
        try:
            ahead = file.stat().st_mtime - now
        except OSError:
            continue
        if ahead > _AHEAD:
            what = f"was last written {ahead:.0f} s in the future, so the clock was or is wrong"
            yield Finding(
                "clock", str(file), what, "set the clock by NTP (timedatectl set-ntp true), and save the file anew"
            )
            return
