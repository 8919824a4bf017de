"""The log when whoever reads it is slow, gone, or has a full disk: it never waits, and says what is missing. Real processes."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes there")

SCRIPT = """
import sys, structlog
from meshproxy.observe import logs
logs.configure("info", "json")
log = structlog.get_logger()
for number in range(2000):
    log.info("line", number=number, text="x" * int(sys.argv[1]))
sys.stdout.write("done\\n"); sys.stdout.flush()
sys.stdin.readline()
log.info("afterwards")
log.info("last")
"""


def run(size: int, stderr: int) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(size)], stdin=pipe, stdout=pipe, stderr=stderr)


@pytest.mark.parametrize("size", [10, 10_000])
@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_log_that_nobody_reads_is_not_waited_for_and_says_later_what_is_missing(size, is_blocking) -> None:
    reading, writing = os.pipe()
    if not is_blocking:
        # As it comes from a parent that uses it so.
        fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
    with run(size, writing) as process, os.fdopen(reading, "rb") as log:
        os.close(writing)
        assert process.stdout.readline() == b"done\n"
        os.set_blocking(reading, False)
        before = b"".join(iter(lambda: log.read(1 << 20) or b"", b""))
        os.set_blocking(reading, True)
        process.stdin.write(b"\n")
        process.stdin.close()
        after = before + log.read()
        assert process.wait(DEADLINE) == 0
    lines = after.splitlines()
    whole = [json.loads(line) for line in lines if line.endswith(b"}")]
    # At most one line was torn, and it stands by itself.
    assert len(lines) - len(whole) <= 1
    numbers = [line["number"] for line in whole if line["event"] == "line"]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 2000
    ends = [(line["event"], line.get("count")) for line in whole[len(numbers) :]]
    assert ends == [("afterwards", None), ("log.lines_lost", 2000 - len(numbers)), ("last", None)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_log_on_a_full_disk_is_lost_and_nothing_else() -> None:
    with Path("/dev/full").open("wb") as full, run(10, full.fileno()) as process:
        out, _ = process.communicate(b"\n", timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"done\n")


def test_a_log_whose_reader_is_gone_is_lost_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with run(10, writing) as process:
        os.close(writing)
        out, _ = process.communicate(b"\n", timeout=DEADLINE)
    assert (process.returncode, out) == (0, b"done\n")
