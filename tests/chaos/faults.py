"""What an upstream can do to a mesh, as a table: how each fault strikes, how it is healed, and how calls meanwhile end.

`LOST` is a call that may have been carried out, `UNAVAILABLE` one that was not, `ANSWERED` one that is answered as ever.
"""

import signal
from collections.abc import Collection
from typing import ClassVar, Final

from tests.chaos.patient import Patient

ANSWERED: Final = "answered"
LOST: Final = "lost"
UNAVAILABLE: Final = "unavailable"
EITHER: Final = frozenset({LOST, UNAVAILABLE})
BOTH_WIRES: Final = ("pipe", "web")


class Fault:
    """One fault.

    Attributes:
        name: as it stands in the documentation.
        kinds: of patients that can have it.
        ends: how calls may end that are made while it lasts.
        interrupts: whether calls that are under way when it strikes end with it, as `LOST`.
        deadline: the patient's `timeouts.call`.
        bound: seconds after it is healed within which calls pass again, as long as somebody calls.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]] = BOTH_WIRES
    ends: ClassVar[Collection[str]] = EITHER
    interrupts: ClassVar[bool] = False
    deadline: ClassVar[str] = "1500ms"
    bound: ClassVar[float] = 5.0

    async def strike(self, patient: Patient) -> None:
        raise NotImplementedError

    async def heal(self, patient: Patient) -> None:
        """The opposite of `strike`."""
        patient.is_well()


class KilledBefore(Fault):
    name = "killed before a call"
    # A command is started again by the mesh itself, and soon.
    ends = (*EITHER, ANSWERED)

    async def strike(self, patient: Patient) -> None:
        await patient.kill()

    async def heal(self, patient: Patient) -> None:
        await patient.start()


class KilledDuring(KilledBefore):
    name = "killed during a call"
    interrupts = True


class KilledAfter(KilledBefore):
    name = "killed before it answers"

    async def strike(self, patient: Patient) -> None:
        patient.feels("call", "die")

    async def heal(self, patient: Patient) -> None:
        patient.is_well()
        await patient.wire.close()
        await patient.start()


class At(Fault):
    """It does `do` `at` a stage of a connection that has to be made anew."""

    at: ClassVar[str]
    do: ClassVar[str] = "hang"
    # A URL that is asked in the modern era needs neither handshake nor listing to answer a call.
    ends = (*EITHER, ANSWERED)

    async def strike(self, patient: Patient) -> None:
        patient.feels(self.at, self.do)
        await patient.kill()
        await patient.start()


class HangsAtConnect(At):
    name = "hangs when it is connected to"
    at = "connect"


class HangsAtList(At):
    name = "hangs when it is listed"
    at = "list"


class GarbageAtConnect(At):
    name = "answers the handshake with garbage"
    at, do = "connect", "garbage"


class EndlessAtList(At):
    name = "answers a listing without end"
    at, do = "list", "endless"


class AtCall(Fault):
    """It does `do` when it is called."""

    do: ClassVar[str]

    async def strike(self, patient: Patient) -> None:
        patient.feels("call", self.do)


class HangsAtCall(AtCall):
    name, do, ends = "hangs when it is called", "hang", (LOST,)


class Slow(AtCall):
    name, do = "answers a byte every two seconds", "slow"

    async def heal(self, patient: Patient) -> None:
        # What a pipe has begun to say would go on for minutes.
        patient.is_well()
        if patient.kind == "pipe":
            await patient.kill()


class Endless(AtCall):
    name, do = "answers without end", "endless"


class Garbage(AtCall):
    name, do, ends = "answers with garbage", "garbage", (LOST,)


class Truncated(AtCall):
    name, do = "breaks off in the middle of an answer", "truncated"


class Oversized(AtCall):
    name, do, ends, deadline = "answers with more than it may", "oversized", (LOST,), "1m"


class Notices(AtCall):
    name, do, ends, deadline = "floods with notifications", "notices", (ANSWERED,), "1m"


class Stderr(AtCall):
    name, do, ends, deadline, kinds = "floods stderr", "stderr", (ANSWERED,), "1m", ("pipe",)


class Stopped(Fault):
    name = "is stopped (SIGSTOP)"

    async def strike(self, patient: Patient) -> None:
        patient.signal(signal.SIGSTOP)

    async def heal(self, patient: Patient) -> None:
        patient.signal(signal.SIGCONT)


class HangsAtClose(Fault):
    name = "hangs when it is closed"
    # The edit has put another one in its place by then.
    ends = (ANSWERED,)

    async def strike(self, patient: Patient) -> None:
        patient.feels("close", "hang")
        patient.serial += 1

    async def heal(self, patient: Patient) -> None:
        # Not before what hangs is gone, be it well or not.
        await patient.gone()
        patient.is_well()


class HalfOpen(Fault):
    name = "is cut off without a word (half-open TCP)"
    kinds = ("web",)

    async def strike(self, patient: Patient) -> None:
        patient.wire.cut()

    async def heal(self, patient: Patient) -> None:
        patient.wire.mend()


FAULTS: Final = (
    KilledBefore,
    KilledDuring,
    KilledAfter,
    HangsAtConnect,
    HangsAtList,
    GarbageAtConnect,
    EndlessAtList,
    HangsAtCall,
    Slow,
    Endless,
    Garbage,
    Truncated,
    Oversized,
    Notices,
    Stderr,
    Stopped,
    HangsAtClose,
    HalfOpen,
)
CASES: Final = tuple((fault(), kind) for fault in FAULTS for kind in fault.kinds)
