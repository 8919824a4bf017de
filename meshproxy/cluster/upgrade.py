"""`Upgrade`: how a supervisor becomes another version of the program while the workers of this one serve. Place: cluster, under `supervisor`.

First the program that is there now is asked whether it can be started and can have the config; only then it takes the place of this one, in the same process (`meshproxy.cluster.succession`). It starts workers of its own, at the same
sockets and in the same directory, so that both versions' hand to each other what is theirs. When all of them are there, the old ones are told so: they let their clients go over, and end. While they are not, the old ones serve.
"""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from meshproxy.cluster.lines import line_of
from meshproxy.cluster.succession import Elder, Succession, Trial

__all__ = ["Successors", "Upgrade"]

log = structlog.get_logger(__name__)

SAY = 2.0
"""Seconds that a worker may let the supervisor wait for room for a line."""
_GOES_ON = "the version from before goes on"


@dataclass(frozen=True)
class Successors:
    """How there is a next version.

    Attributes:
        trial: begins to find out whether it could serve.
        leave: becomes it, with what it is left, to which the sockets are added here; returns only by an `OSError`.
        before: what the version before has left to this one.
    """

    trial: Callable[[], Trial]
    leave: Callable[[Succession], None]
    before: Succession | None = None


class Upgrade:
    """That of one supervisor.

    Attributes:
        is_wanted: somebody has asked for one. It begins when every worker of this version is there, and none of the version before.
    """

    def __init__(self, successors: Successors) -> None:
        self.is_wanted = False
        self._successors = successors
        self._trial: Trial | None = None
        self._elders: list[tuple[Elder, socket.socket]] = []

    @property
    def has_elders(self) -> bool:
        """Whether workers of the version before are there."""
        return bool(self._elders)

    def adopt(self) -> Succession | None:
        """Take over what the version before has left; None if there was none."""
        before = self._successors.before
        if before is not None:
            for elder in before.elders:
                line = socket.socket(fileno=elder.line)
                line.settimeout(SAY)
                self._elders.append((elder, line))
            before.close()
        return before

    def begin_if_wanted(self) -> None:
        """Find out whether the program that is there now can be started, before anything depends on it."""
        if self.is_wanted and self._trial is None and not self._elders:
            self.is_wanted = False
            log.info("upgrade.begun")
            self._trial = self._successors.trial()

    def has_passed(self) -> bool:
        """Whether it is known by now that it can; told once."""
        status = None if self._trial is None else self._trial.status()
        if status is None or self._trial is None:
            return False
        said, self._trial = self._trial.end(), None
        if status:
            log.error("upgrade.refused", reason=said, consequence=_GOES_ON)
        return not status

    def leave(self, left: Succession, signals: Sequence[signal.Signals]) -> None:
        """Become the next version. What comes of `signals` meanwhile waits for it. Returns if that cannot be."""
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self._successors.leave(left)
        except OSError as error:
            log.error("upgrade.refused", reason=str(error), consequence=_GOES_ON)  # a traceback says no more
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def relieve(self) -> None:
        """Others serve: those of the version before need not any more."""
        if self._elders:
            log.info("upgrade.taken_over", old=[elder.pid for elder, _ in self._elders])
        for _, line in self._elders:
            with contextlib.suppress(OSError):
                line.sendall(line_of("relieved"))

    def bury(self) -> Iterator[str]:
        """Take note of workers of the version before that have ended; their names."""
        for elder, line in list(self._elders):
            if os.waitpid(elder.pid, os.WNOHANG)[0]:
                self._elders.remove((elder, line))
                line.close()
                yield elder.name
                if not self._elders:
                    log.info("upgrade.done")

    def end(self, number: signal.Signals) -> None:
        """Send them a signal."""
        for elder, _ in self._elders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(elder.pid, number)

    def forget(self) -> None:
        """In a worker: nothing of this stays."""
        for _, line in self._elders:
            line.close()

    def close(self) -> None:
        """End what is left, at once."""
        self.end(signal.SIGKILL)
        for elder, line in self._elders:
            os.waitpid(elder.pid, 0)
            line.close()
        if self._trial is not None:
            self._trial.end()
