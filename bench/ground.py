"""What the benchmark stands on: nginx, and each peer in an environment of its own under .cache/bench, from the public registries.

What cannot be had is not an error: `Ground.missing` says why, and the table shows the reason in its place.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
COMPILED = ROOT / ".cache" / "compiled" / "bin" / "python"
"""What ./scripts/compile makes, if there is a C compiler."""


class Ground:
    """Paths of programs by contender, their versions, and reasons for those that cannot be had."""

    def __init__(self) -> None:
        self.programs: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}

    def prepare(self, wanted: set[str]) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self.programs["python"] = sys.executable
        self.versions["Python"] = ".".join(map(str, sys.version_info[:3]))
        self.versions["mcp"] = version(sys.executable, "mcp")
        self.versions["cores"] = str(len(os.sched_getaffinity(0)))
        self.versions["meshproxy"] = "compiled" if COMPILED.exists() else "not compiled"
        if not COMPILED.exists():
            self.missing["meshproxy-source"] = "meshproxy itself could not be compiled here"
        if "nginx" in wanted:
            self.nginx()
        if wanted & {"fastmcp", "fastmcp-documented"}:
            self.package("fastmcp", sys.executable)
        if "mcp-combiner" in wanted:
            self.package("mcp-combiner", newer_python())
        if "mcp-hub" in wanted:
            self.npm("mcp-hub")

    def nginx(self) -> None:
        found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
            say("Installing nginx-light")
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
            apt = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"]
            subprocess.run(apt, check=False, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, **quiet)
            found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
        if found is None:
            self.missing["nginx"] = (
                "there is no nginx here, and it could not be installed (apt-get install nginx-light)"
            )
            return
        self.programs["nginx"] = found
        said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stderr
        self.versions["nginx"] = said.strip().rpartition("/")[2]

    def package(self, name: str, python: str | None) -> None:
        """A package of PyPI in a virtual environment."""
        if python is None:
            self.missing[name] = "it needs Python 3.12, which is not at hand"
            return
        place = CACHE / name
        own = place / "bin" / "python"
        if not (place / ".made").exists():
            say(f"Installing {name}")
            try:
                run([python, "-m", "venv", "--clear", str(place)])
                run([str(own), "-m", "pip", "install", "--quiet", name])
            except subprocess.CalledProcessError as error:
                self.missing[name] = f"it could not be installed: {last_line(error.stderr)}"
                return
            (place / ".made").touch()
        self.programs[name] = str(own)
        self.versions[name] = version(str(own), name)

    def npm(self, name: str) -> None:
        """A package of npm in a directory of its own."""
        npm = shutil.which("npm")
        if npm is None:
            self.missing[name] = "there is no npm here"
            return
        place = CACHE / name
        if not (place / ".made").exists():
            say(f"Installing {name}")
            place.mkdir(exist_ok=True)
            (place / "package.json").write_text('{"private": true}')
            try:
                run([npm, "install", "--prefix", str(place), "--silent", "--no-audit", "--no-fund", name])
            except subprocess.CalledProcessError as error:
                self.missing[name] = f"it could not be installed: {last_line(error.stderr)}"
                return
            (place / ".made").touch()
        self.programs[name] = str(place / "node_modules" / ".bin" / name)
        self.versions[name] = json.loads((place / "node_modules" / name / "package.json").read_text())["version"]


def newer_python() -> str | None:
    """Python 3.12 or newer: ours, one on the path, or one that pyenv holds."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [
        sys.executable,
        "python3.12",
        "python3.13",
        "python3.14",
        *sorted(map(str, pyenv.glob("3.1[2-9]*/bin/python"))),
    ]
    check = "import sys, ensurepip; sys.exit(sys.version_info < (3, 12))"
    for candidate in candidates:
        found = shutil.which(candidate)
        if found and subprocess.run([found, "-c", check], capture_output=True, check=False).returncode == 0:
            return found
    return None


def version(python: str, package: str) -> str:
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)


def last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no reason given")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
