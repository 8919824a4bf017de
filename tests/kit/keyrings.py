"""A platform's keyring, for this process and those that a test starts."""

import os
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "keyring_package"


class Keyring:
    """See `tests.kit.keyring_package`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.file = folder / "the-keyring.json"
        self._patch = patch
        patch.setenv("TEST_KEYRING", str(self.file))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH", "")])))
        patch.syspath_prepend(str(PACKAGE))
        self.forget()

    def be(self, state: str) -> None:
        """`locked`, `none` for a platform without one, or "" for one that works."""
        self._patch.setenv("TEST_KEYRING_STATE", state)

    @staticmethod
    def forget() -> None:
        """Have the package imported anew."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "keyring"]:
            del sys.modules[name]
