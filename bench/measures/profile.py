"""Where the mesh's time goes: samples of what runs, by the room that it belongs to. No measurement of cost: that is what the others do."""

import re
import subprocess
import threading
from collections import Counter
from pathlib import Path

from bench.arena import Arena
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, slice_of

SCENES = (
    ("http", "legacy", "small"),
    ("http", "modern", "small"),
    ("http", "legacy", "stream"),
    ("http", "legacy", "read"),
    ("stdio", "legacy", "small"),
    ("http", "legacy", "large"),
)
SECONDS = 5
FRAME = re.compile(r"\((?P<path>[^()]*?)(?::\d+)?\)$")


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By scene: shares of the samples by room."""
    if "meshproxy" not in wanted:
        return {}
    # What is compiled has no frames to look at.
    name = "meshproxy" if "meshproxy-source" in ground.missing else "meshproxy-source"
    ground.package("py-spy", ground.programs["python"])
    if "py-spy" in ground.missing:
        return {}
    found = {}
    for kind, era, call in SCENES:
        with Arena(ground) as arena:
            say(f"  profile: {kind} upstream, {era}, {call}")
            upstreams = getattr(arena, kind)(["bench", "other"])
            running = start_all(arena, ground, [name], {name: upstreams}).get(name)
            if running is None:
                return found
            arena.open(running, "load", era, 16, call)
            entry = Entry(name, "load", running)
            slice_of(arena, entry, 1.0)
            loaded = threading.Thread(target=slice_of, args=(arena, entry, SECONDS + 2.0))
            loaded.start()
            out = running.directory / "samples"
            taken = sample(ground, running.process.pid, out)
            loaded.join()
            if not taken:
                ground.missing["py-spy"] = "it may not look into processes here"
                return found
            found[f"{kind} {era} {call}"] = by_room(out)
    return found


def sample(ground: Ground, pid: int, out: Path) -> bool:
    program = Path(ground.programs["py-spy"]).parent / "py-spy"
    # Only what has the interpreter: threads of libraries that sleep are none of the work.
    how = ["--duration", str(SECONDS), "--rate", "400", "--format", "raw", "--nonblocking", "--gil"]
    argv = [str(program), "record", "--pid", str(pid), *how, "--output", str(out)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0 and out.exists()


def by_room(out: Path) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        # It is not stopped for the look, so that now and then a frame is torn.
        if count.isdigit():
            counts[room_of(stack.rpartition(";")[2])] += int(count)
    total = sum(counts.values()) or 1
    return {room: count / total for room, count in counts.most_common()}


def room_of(frame: str) -> str:
    """The room of meshproxy, or the library, that was at work; what a frame calls in C counts as its own."""
    match = FRAME.search(frame)
    path = match["path"] if match else ""
    if path.startswith("meshproxy/"):
        return "meshproxy/" + path.split("/")[1].removesuffix(".py")
    if path.startswith("asyncio/runners"):
        return "event loop and kernel"
    return path.split("/")[0] or "other"
