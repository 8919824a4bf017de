"""Tries the meshproxy that is installed where this runs, from outside of any clone: `./scripts/release` calls it with the version that it has to be."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Timer

MESH = """\
server: {list_grace: 60s}
upstreams:
  clock: {command: meshproxy, args: [sample, clock, --transport, stdio]}
"""


def told(*command: str) -> str:
    """What a command prints. Raises `CalledProcessError` if it fails."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def main(version: str) -> None:
    """See that it is that version, checks a config, serves it, and answers a call."""
    said = told("meshproxy", "--version")
    assert version in said, f"it says it is {said!r}, and not {version}"
    with tempfile.TemporaryDirectory() as name:
        config = Path(name, "mesh.yaml")
        config.write_text(MESH)
        told("meshproxy", "check", str(config))
        serving = subprocess.Popen(
            ["meshproxy", "serve", str(config), "--port", "0", "--log-format", "json"],
            stderr=subprocess.PIPE,
            text=True,
        )
        too_late = Timer(60, serving.kill)
        too_late.start()
        try:
            assert serving.stderr is not None
            url = next(found[0] for line in serving.stderr if (found := re.search(r"http://[^\"]+/mcp", line)))
            assert "clock_now" in told("meshproxy", "list", url)
            told("meshproxy", "call", url, "clock_now")
        finally:
            serving.terminate()
            status = serving.wait()
            too_late.cancel()
            serving.stderr.close()
        assert status == 0, f"it ended with status {status}"
    print(f"{version} serves, and ends in good order")


if __name__ == "__main__":
    main(sys.argv[1])
