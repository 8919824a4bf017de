"""A keyring in a file, in place of the platform's, also for programs that a test starts: `TEST_KEYRING` names the file.

It has what the package of that name has, as far as it is used. `TEST_KEYRING_STATE=locked` makes every question fail, and `none` is a platform without one.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

from keyring.errors import KeyringError


def get_keyring() -> SimpleNamespace:
    return SimpleNamespace(priority=0 if os.environ.get("TEST_KEYRING_STATE") == "none" else 5)


def get_password(service: str, name: str) -> str | None:
    return _kept().get(f"{service}/{name}")


def set_password(service: str, name: str, password: str) -> None:
    kept = _kept()
    kept[f"{service}/{name}"] = password
    _file().write_text(json.dumps(kept))


def _file() -> Path:
    return Path(os.environ["TEST_KEYRING"])


def _kept() -> dict[str, str]:
    if os.environ.get("TEST_KEYRING_STATE") == "locked":
        raise KeyringError("the collection is locked; its password is hunter2")
    return json.loads(_file().read_text()) if _file().exists() else {}
