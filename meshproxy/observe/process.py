"""`process`: what this process has taken of the machine, by the names that Prometheus' clients have for it. Place: observe."""

import os
import sys
from pathlib import Path
from typing import Any, Final

__all__ = ["usage"]

_PROC: Final = Path("/proc/self")


def usage() -> dict[str, float]:
    """Seconds of CPU, bytes, descriptors and the time of the start, as far as the system tells."""
    found: dict[str, float] = {}
    times = os.times()
    found["process_cpu_seconds"] = times.user + times.system
    try:
        fields = (_PROC / "stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        found["process_virtual_memory_bytes"] = int(fields[20])
        found["process_resident_memory_bytes"] = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        found["process_start_time_seconds"] = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        found["process_open_fds"] = len(list((_PROC / "fd").iterdir()))
    except (OSError, ValueError, StopIteration, IndexError):
        # Another system than Linux, or a process that may see nothing.
        return found
    if sys.platform != "win32":
        import resource  # noqa: PLC0415  # Windows has none

        limit: Any = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit != resource.RLIM_INFINITY:
            found["process_max_fds"] = limit
    return found
