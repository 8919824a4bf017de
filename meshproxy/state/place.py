"""`place`: which directory is the state directory of a config file. Place: state; looks at the environment, and touches no file."""

import hashlib
import re
from pathlib import Path

__all__ = ["place"]


def place(setting: str, config: Path) -> Path | None:
    """Where what belongs to a config file is kept: None for `none`, a directory of the platform's convention for `auto`, else the path that is given.

    That of `auto` is the file's own, by its real path, so that two meshes on one machine share nothing. A path is relative to the file.
    """
    if setting == "none":
        return None
    if setting != "auto":
        return config.parent.joinpath(Path(setting).expanduser())
    from platformdirs import user_state_path  # noqa: PLC0415  # for this alone

    real = config.resolve()
    digest = hashlib.blake2b(bytes(real), digest_size=6).hexdigest()
    return user_state_path("meshproxy") / f"{re.sub('[^A-Za-z0-9]+', '-', real.stem)[:40]}-{digest}"
