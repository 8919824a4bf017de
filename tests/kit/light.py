"""Light servers (`tests.servers.light`) as upstreams of a config, and what can be done to them from outside."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.kit.places import ROOT

Json = dict[str, Any]
LIGHT = str(ROOT / "tests" / "servers" / "light.py")


def light(*arguments: str, **keys: Any) -> Json:
    """An upstream of a config: `tests.servers.light` with these arguments, and other keys."""
    return {"command": sys.executable, "args": ["-IS", LIGHT, *arguments], **keys}


def document(upstreams: Json, **keys: Any) -> str:
    """The text of a config file."""
    return json.dumps({**keys, "upstreams": upstreams}, indent=1)


def release(pid: int) -> None:
    """Let a light server answer the calls that wait."""
    os.kill(pid, signal.SIGUSR1)


def received(journal: Path) -> list[Json]:
    """The messages that a light server with `--journal` has read."""
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
