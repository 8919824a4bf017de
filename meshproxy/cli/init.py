"""`attend`: meshproxy as the first process of a container, which is the init of all others there. Place: cli, before anything else runs.

Whoever is first gets the orphans of everybody, and has to wait for them, or each stays as a zombie (POSIX, `_exit`); and gets no signal that it does
not handle (pid_namespaces(7)). So the first process does nothing but that, and the program goes on in a child, whose own children are then
nobody else's: no exit status can be taken from those who wait for it.
"""

import contextlib
import os
import signal
import sys
from typing import Final

__all__ = ["attend"]

if sys.platform != "win32":
    FORWARDED: Final = frozenset(
        (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    )


def attend() -> None:
    """Go on in a child where this is the first process; nothing anywhere else. The first one ends as the child does, and all others with it."""
    if sys.platform == "win32" or os.getpid() != 1:
        return
    waited = FORWARDED | {signal.SIGCHLD}
    # Before there is a child, or the first signal could come between the two.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = os.fork()
    if child:
        os._exit(_bury(child, waited))
    _take_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _bury(child: int, waited: frozenset[signal.Signals]) -> int:
    """Wait for whoever ends, and hand on signals, until the child ends: its exit status, or 128 and the signal that ended it."""
    while True:
        number = signal.sigwait(waited)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    status = os.waitstatus_to_exitcode(ended[1])
                    return status if status >= 0 else 128 - status


def _take_terminal() -> None:
    """Be in front at the terminal, if there is one: what is typed there reaches the child alone, and not a second time from the first process."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            os.tcsetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0, os.getpgid(0))
        finally:
            signal.signal(signal.SIGTTOU, before)
