"""Runs the steps of the container file in a clean Debian root, and then what they have made: for machines that have no container engine.

`./scripts/container` starts it, as root, on Debian. Each stage of the file is a directory that its instructions are carried out in, as a builder does; then the
image's program is run as the image says: as the first process of its namespace, by the image's user, on a root that cannot be written to.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent.parent
FILE = CLONE / "deploy/container/Dockerfile"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
DEADLINE = 60.0
"""Seconds until the mesh serves."""
KEYWORDS = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
MESH = """\
server: {allow_unauthenticated: true}
upstreams:
  clock: {command: meshproxy, args: [sample, clock, --transport, stdio], required: true}
"""
READY = "import urllib.request; urllib.request.urlopen('http://localhost:8000/readyz', timeout=4)"
"""Fails until every required upstream is up."""


@dataclass
class Stage:
    """What one `FROM` and the instructions after it have made."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    directory: str = "/"
    user: str = "0:0"
    volumes: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def enter(self, *command: str, user: str = "0:0", setup: str = "", **options: object) -> "subprocess.Popen[str]":
        """Start a command in the root, in namespaces of its own: as their first process, and with nothing of this one's environment."""
        uid, gid = user.split(":")
        variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **self.environment}
        if user == "0:0":
            # What this machine fetches packages with, as a builder is told by its own settings.
            variables |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
            variables |= {"PIP_CERT": "/certificates.crt", "DEBIAN_FRONTEND": "noninteractive"}
        root = shlex.quote(str(self.root))
        inside = shlex.join(
            [
                *("chroot", f"--userspec={uid}:{gid}", f"--groups={gid}", str(self.root)),
                *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
                *("sh", "-c", f'cd {shlex.quote(self.directory)} && exec "$@"', "sh", *command),
            ]
        )
        mounts = f"mount --rbind /dev {root}/dev && mount -t proc proc {root}/proc"
        script = f"{mounts} && {setup or 'true'} && exec {inside}"
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return subprocess.Popen([*namespaces, "sh", "-ec", script], text=True, **options)  # type: ignore[call-overload, no-any-return]


class Builder:
    """Carries out the instructions of the file.

    Args:
        place: a directory for the roots.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.stages: dict[str, Stage] = {}

    def build(self, target: str) -> Stage:
        """Make a stage, and those that it needs and that are not there."""
        if target in self.stages:
            return self.stages[target]
        image, steps = stages_of(FILE)[target]
        below = self.build(image) if image in stages_of(FILE) else None
        for keyword, rest in steps:
            if keyword == "COPY" and rest.startswith("--from="):
                self.build(rest.split()[0].removeprefix("--from="))
        stage = self.stages[target] = self._begin(image, self.place / target, below)
        for keyword, rest in steps:
            print(f"[{target}] {keyword} {rest[:150]}", flush=True)
            self._do(stage, keyword, rest)
        return stage

    def _begin(self, image: str, root: Path, below: Stage | None) -> Stage:
        if below is not None:
            subprocess.run(["cp", "--archive", "--reflink=auto", str(below.root), str(root)], check=True)
            stage = replace(below, root=root, environment=dict(below.environment), volumes=list(below.volumes))
        else:
            suite = re.fullmatch(r"debian:(\w+)-slim", image)
            assert suite, f"a clean root is made for debian:SUITE-slim, and not for {image}"
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", suite[1], str(root)], check=True)
            shutil.copy(CERTIFICATES, root / "certificates.crt")
            stage = Stage(root)
        return stage

    def _do(self, stage: Stage, keyword: str, rest: str) -> None:
        match keyword:
            case "RUN":
                shutil.copy("/etc/resolv.conf", stage.root / "etc/resolv.conf")
                status = stage.enter("/bin/sh", "-c", rest, user=stage.user).wait()
                if status:
                    raise SystemExit(f"status {status} of RUN {rest}")
            case "COPY":
                self._copy(stage, rest.split())
            case "ENV":
                stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "WORKDIR":
                stage.directory = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                stage.user = rest
            case "VOLUME":
                stage.volumes += json.loads(rest)
            case "HEALTHCHECK":
                stage.health = json.loads(rest.partition(" CMD ")[2])
            case "ENTRYPOINT":
                stage.entrypoint = json.loads(rest)
            case "CMD":
                stage.command = json.loads(rest)

    def _copy(self, stage: Stage, words: list[str]) -> None:
        source = CLONE
        if words[0].startswith("--from="):
            source = self.stages[words.pop(0).removeprefix("--from=")].root
        *names, target = words
        into = stage.root / str(Path(stage.directory, target)).lstrip("/")
        for name in names:
            origin = source / name.lstrip("/")
            goal = into / origin.name if target.endswith("/") else into
            goal.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                shutil.copytree(origin, goal, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, goal)


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a container file: keyword and the rest of the line, continued lines joined."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines() if line.strip()]
    unknown = {keyword for keyword, _ in found} - KEYWORDS
    assert not unknown, f"nothing is known of {', '.join(unknown)}"
    return found


def stages_of(file: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """The stages of a container file: by name, what each begins with and its instructions."""
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    for keyword, rest in instructions(file):
        if keyword == "FROM":
            image, _, name = rest.partition(" AS ")
            steps: list[tuple[str, str]] = []
            stages[name] = image, steps
        else:
            steps.append((keyword, rest))
    return stages


def run(stage: Stage) -> None:
    """Run what an image says, on a root that cannot be written to, and see that it serves, is well, and ends when it is told to.

    Raises:
        SystemExit: it does not.
    """
    root = shlex.quote(str(stage.root))
    uid, gid = stage.user.split(":")
    steps = [f"mount --bind {shlex.quote(str(stage.root))} {root}", f"mount -o remount,bind,ro {root}"]
    steps += [f"mount -t tmpfs tmpfs {root}/tmp"]
    steps += [f"mount -t tmpfs -o mode=0700,uid={uid},gid={gid} tmpfs {root}{volume}" for volume in stage.volumes]
    # The binds of /dev and /proc are made before the root is bound to itself, so they are made again on top of it.
    steps += [f"mount --rbind /dev {root}/dev", f"mount -t proc proc {root}/proc"]
    (stage.root / "etc/meshproxy/mesh.yaml").write_text(MESH)
    process = stage.enter(
        *stage.entrypoint, *stage.command, user=stage.user, setup=" && ".join(steps), stderr=subprocess.PIPE
    )
    first = first_of(process)
    try:
        until = time.monotonic() + DEADLINE
        ready = ["python3", "-c", READY]
        while inside(first, stage, *stage.health).returncode or inside(first, stage, *ready).returncode:
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise SystemExit(f"it does not serve: {process.communicate()[1]}")
            time.sleep(0.2)
        seen = inside(first, stage, "meshproxy", "call", "http://localhost:8000/mcp", "clock_now")
        if seen.returncode:
            raise SystemExit(f"a call fails: {seen.stderr}")
        print(f"clock_now: {seen.stdout.strip()[:100]}")
        if inside(first, stage, "sh", "-c", "echo x > /opt/meshproxy/x").returncode == 0:
            raise SystemExit("its root can be written to")
    finally:
        os.kill(first, 15)
        status = process.wait(30)
    if status:
        raise SystemExit(f"it ended with status {status} when it was told to end")
    print("it ended with status 0")


def first_of(process: "subprocess.Popen[str]") -> int:
    """The first process of the namespaces that `unshare` has made, by its number out here."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise SystemExit(f"it did not start: {process.communicate()[1]}")


def inside(first: int, stage: Stage, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where that process is, as the image's user."""
    uid, gid = stage.user.split(":")
    names = ["nsenter", f"--target={first}", "--mount", "--pid", "--root", "--wd", f"--setuid={uid}", f"--setgid={gid}"]
    variables = [f"{name}={value}" for name, value in stage.environment.items()]
    return subprocess.run([*names, "env", "-i", *variables, *command], text=True, capture_output=True, check=False)


def main() -> None:
    """Build both images and run them."""
    parser = argparse.ArgumentParser(
        description="Run the steps of the container file in a clean Debian root, and what they make."
    )
    parser.add_argument(
        "targets", nargs="*", default=["slim", "tools"], help="stages of the file (default: slim tools)"
    )
    targets = parser.parse_args().targets
    if os.geteuid() or not shutil.which("mmdebstrap"):
        raise SystemExit("this needs root, and mmdebstrap (apt install mmdebstrap)")
    with tempfile.TemporaryDirectory(prefix="meshproxy-container-") as name:
        place = Path(name)
        builder = Builder(place)
        for target in targets:
            stage = builder.build(target)
            size = subprocess.run(["du", "-sm", str(stage.root)], capture_output=True, text=True, check=True).stdout
            print(f"[{target}] {size.split()[0]} MB", flush=True)
            run(stage)
            if target == "tools":
                for program in ("node", "npx", "uvx"):
                    process = stage.enter(program, "--version", user=stage.user, stdout=subprocess.PIPE)
                    print(f"{program} {process.communicate()[0].strip()}")
                    if process.returncode:
                        raise SystemExit(f"{program} does not run")
    print("1 passed, 0 failed" if len(targets) == 1 else f"{len(targets)} passed, 0 failed")


if __name__ == "__main__":
    sys.exit(main())
