"""`Loans`: limits that hold over all replicas, by way of their store. Place: guard, on top of the room.

What a limit allows is lent out of the store, in one step for all limits of a process that are in use: twenty times a second at the most while nobody wants, and at once when somebody does.

- Slots. A process has as many as it was granted and never takes more, and what all were granted is never more than the limit. Each says how many it could use; where that is more than there are, each comes to have its
  fair share (max-min) as calls end. Who is idle has none.
- Tokens. A process takes for a tenth of a second what it uses in that time, and together they hold a tenth of the limit at the most, besides the one token that each may have. What is left over goes back after a second.

While the store is away, or has not answered in time, a process goes by the limits as if it were alone.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Final

from meshproxy.cluster.store import PATIENCE, Away, Script, Store
from meshproxy.guard.bucket import Bucket
from meshproxy.guard.lender import Borrower
from meshproxy.guard.slots import Slots

__all__ = ["Loans"]

TICK: Final = 0.05
"""Seconds between two looks while something is in use."""
SLOW: Final = 0.5
"""Seconds between two while nothing happens and calls are in flight."""
BOUND: Final = 0.1
"""Seconds that a call waits for the store at the most."""
IDLE: Final = 1.0
"""Seconds after the last call after which nothing is held that is not in use."""
AHEAD: Final = 0.1
"""Seconds of use for which tokens are taken."""
PART: Final = 10
"""Of the tokens of a limit, one in so many is held by the processes together."""
_LASTS: Final = 5000
"""Milliseconds after which the slots of a process are free that has not been heard of."""

_LEND: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local lasts, out = tonumber(ARGV[1]), {}
for i = 1, #KEYS / 2 do
  local slots, bucket, at = KEYS[2 * i - 1], KEYS[2 * i], 2 + (i - 1) * 8
  local me = ARGV[at]
  local limit, held, wanted, spare = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local size, rate, tokens = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local granted, target, given, wait = 0, 0, 0, 0
  if limit >= 0 then
    local all, others, wants = redis.call('HGETALL', slots), 0, {{who = me, wants = wanted}}
    for j = 1, #all, 2 do
      local h, w, ends = string.match(all[j + 1], '^(%d+) (%d+) (%d+)$')
      if tonumber(ends) < now then
        redis.call('HDEL', slots, all[j])
      elseif all[j] ~= me then
        others = others + tonumber(h)
        wants[#wants + 1] = {who = all[j], wants = tonumber(w)}
      end
    end
    local left = limit
    for _, each in ipairs(wants) do left = left - each.wants end
    if left >= 0 then
      target = wanted
    else
      -- Of those who want the same, another one is the last each second, and has what cannot be divided.
      left = limit
      local turn = math.floor(now / 1000)
      for _, each in ipairs(wants) do each.order = redis.sha1hex(each.who .. turn) end
      table.sort(wants, function(a, b) if a.wants ~= b.wants then return a.wants < b.wants end return a.order < b.order end)
      for j, each in ipairs(wants) do
        local share = math.min(each.wants, math.floor(left / (#wants - j + 1)))
        left = left - share
        if each.who == me then target = share end
      end
    end
    target = target + math.min(spare, math.floor(left / #wants))
    granted = math.max(held, math.min(target, limit - others))
    if granted > 0 or wanted > 0 then
      redis.call('HSET', slots, me, string.format('%d %d %d', granted, wanted, now + lasts))
      redis.call('PEXPIRE', slots, 10 * lasts)
    else
      redis.call('HDEL', slots, me)
    end
  end
  if size > 0 then
    local known = redis.call('HMGET', bucket, 'level', 'at')
    local level = size
    if known[1] then level = math.min(size, tonumber(known[1]) + math.max(0, now - tonumber(known[2])) * rate / 1000) end
    if tokens < 0 then
      level = math.min(size, level - tokens)
    else
      given = math.min(tokens, math.floor(level))
      level = level - given
    end
    if level < 1 then wait = math.ceil((1 - level) / rate * 1000) end
    redis.call('HSET', bucket, 'level', string.format('%.6f', level), 'at', string.format('%.3f', now))
    redis.call('PEXPIRE', bucket, math.ceil(size / rate * 1000) + 10 * lasts)
  end
  out[i] = {granted, target, given, wait}
end
return out
""")


class Loan:
    """What one guard has been lent: a `Lender`.

    Attributes:
        slots: see `Lender`.
        holder: what it is called at the store.
        limits: whose slots and tokens it holds.
    """

    def __init__(self, loans: "Loans", holder: str, limits: str, borrower: Borrower, slots: Slots) -> None:
        self.slots = 0
        self.holder = holder
        self.limits = limits
        self._loans = loans
        self._borrower = borrower
        self._slots = slots
        self._limit: int | None = None
        self._bucket: Bucket | None = None
        self._size = 0
        self._per_second = 0.0
        self._target = 0
        self._is_alone = True
        self._is_short = False
        self._asking = 0
        self._taken = 0
        self._since = 0.0
        self._pace = 0.0
        self._used = 0.0

    # --- as `Lender`

    def used(self) -> None:
        """See `Lender`."""
        self._used = time.monotonic()
        self._taken += 1
        bucket = self._bucket
        self._loans.use(self)
        if bucket is not None and bucket.is_lent and 2 * bucket.level < self._ahead and self._used >= bucket.dry_until:
            self._loans.hurry()

    def lacks(self) -> None:
        """See `Lender`."""
        if not self._is_alone and not self._is_short:
            self._loans.hurry()

    def may_lend(self) -> bool:
        """See `Lender`."""
        return not self._is_alone and not self._is_short and self._limit is not None and self.slots < self._limit

    async def more(self) -> None:
        """See `Lender`."""
        self._asking += 1
        try:
            await self._loans.asked(self)
        finally:
            self._asking -= 1

    def obey(self, concurrency: int | None, bucket: Bucket | None, times: int, seconds: float) -> None:
        """See `Lender`."""
        self._limit = concurrency
        if bucket is not self._bucket or times != self._size:
            self._bucket = bucket
            self._size, self._per_second = times, times / seconds
            if bucket is not None and not self._is_alone:
                bucket.share()
        if self._is_alone:
            self.slots = concurrency or 0
        elif concurrency is not None:
            self.slots = min(self.slots, concurrency)
        self._loans.use(self)

    # --- what is asked for, and what comes of it

    @property
    def is_in_use(self) -> bool:
        """Whether something is held, or wanted."""
        slots, bucket = self._slots, self._bucket
        has_tokens = bucket is not None and bucket.is_lent and bucket.level >= 1.0
        has_slots = self._limit is not None and not self._is_alone and self.slots > 0
        return has_tokens or has_slots or slots.running > 0 or slots.waiting > 0 or self._asking > 0 or self._is_fresh

    @property
    def is_busy(self) -> bool:
        """Whether it is to be looked at soon."""
        return self._is_fresh or self._slots.waiting > 0 or self._asking > 0

    @property
    def _is_fresh(self) -> bool:
        return time.monotonic() - self._used < IDLE

    @property
    def _ahead(self) -> float:
        """Tokens to have at hand."""
        most = max(1.0, self._size / (PART * self._loans.count()))
        return min(max(1.0, math.ceil(self._pace * AHEAD)), most)

    def wake(self) -> None:
        """It is in use again."""
        self._is_short = False
        self._taken, self._since = 0, time.monotonic()

    def begin(self) -> None:
        """The store is there: hold what is in use, and nothing more."""
        if self._is_alone:
            self._is_alone = False
            self.slots = self._target = self._slots.running
            if self._bucket is not None:
                self._bucket.share()
            self._borrower.lent()

    def stand_alone(self) -> None:
        """The store is away, or does not answer."""
        if not self._is_alone:
            self._is_alone = True
            self.slots = self._limit or 0
            if self._bucket is not None:
                self._bucket.stand_alone(time.monotonic(), 1 / self._loans.count())
            self._borrower.lent()

    def asks(self) -> list[float]:
        """What the script is told; what is given back is given back now."""
        slots = self._slots
        wanted = slots.running + slots.waiting + (self._asking if self._bucket is None else 0)
        spare = max(1, wanted // 4) if self._is_fresh else 0
        limit = -1
        if self._limit is not None:
            limit = self._limit
            wanted, spare = min(wanted, limit), min(spare, max(0, limit - wanted))
            if not self._is_alone:
                self.slots = max(slots.running, min(self._target, self.slots))
                self._borrower.lent()
        held = slots.running if self._is_alone else self.slots
        return [limit, held, wanted, spare, self._size, self._per_second, self._tokens()]

    def leaves(self) -> list[float]:
        """The same of one that gives everything back."""
        bucket = self._bucket
        tokens = 0 if bucket is None or not bucket.is_lent else -math.floor(bucket.level)
        return [-1 if self._limit is None else self._limit, 0, 0, 0, self._size, self._per_second, tokens]

    def _tokens(self) -> float:
        bucket = self._bucket
        if bucket is None:
            return 0
        if not bucket.is_lent:
            return 1 if self._is_fresh else 0
        now = time.monotonic()
        if now - self._since >= TICK / 2:
            self._pace += (self._taken / (now - self._since) - self._pace) / 2
            self._taken, self._since = 0, now
        whole = math.floor(bucket.level)
        if not self._is_fresh and not self._asking:
            bucket.lend(-whole, bucket.dry_until)
            return -whole
        if now < bucket.dry_until:
            return 0
        return max(0, math.ceil(self._ahead) - whole, self._asking - whole)

    def take(self, granted: int, target: int, given: int, wait: int) -> None:
        """What the script has said."""
        self.begin()
        if self._limit is not None:
            self._is_short = granted >= 0 and granted < min(self._slots.running + self._slots.waiting, self._limit)
            self.slots, self._target = granted, target
            self._borrower.lent()
        bucket = self._bucket
        if bucket is not None:
            bucket.lend(given, time.monotonic() + wait / 1000)


class Loans:
    """Lends to the guards of one process: a `Lending`.

    Args:
        store: what all share.
        holder: what this process is called there.
        count: says how many processes there are.
    """

    def __init__(self, store: Store, holder: str, count: Callable[[], int]) -> None:
        self.count = count
        self._store = store
        self._holder = holder
        self._made = 0
        self._is_late = False
        self._in_use: dict[Loan, None] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._asked: asyncio.Future[None] | None = None
        self._running: asyncio.Task[None] | None = None
        store.on_change.append(self._on_store)

    def lender(self, limits: str, borrower: Borrower, slots: Slots) -> Loan:
        """See `Lending`."""
        self._made += 1
        return Loan(self, f"{self._holder}.{self._made}", limits, borrower, slots)

    def start(self) -> None:
        """Lend from now on."""
        self._running = asyncio.create_task(self._run(), name="loans")

    async def aclose(self) -> None:
        """Give everything back."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running})
        with contextlib.suppress(Away):
            await self._told([(loan, loan.leaves()) for loan in self._in_use], BOUND)
        self._in_use.clear()

    # --- for loans

    def use(self, loan: Loan) -> None:
        """It is in use from now on."""
        if loan not in self._in_use:
            self._in_use[loan] = None
            loan.wake()
            if self._store.is_up and not self._is_late:
                loan.begin()
            else:
                # It may have been idle when the store went away.
                loan.stand_alone()
            self._wake.set()

    def hurry(self) -> None:
        """Look at once."""
        self._hurry.set()

    async def asked(self, loan: Loan) -> None:
        """Wait until the store was asked once from now on, and has answered, or has taken too long."""
        self._hurry.set()
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BOUND):
                await asyncio.shield(self._asked)
            return
        loan.stand_alone()

    # --- the loop

    def _on_store(self) -> None:
        if not self._store.is_up:
            self._stand_alone()
        self._hurry.set()

    def _stand_alone(self) -> None:
        for loan in self._in_use:
            loan.stand_alone()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._in_use:
                self._hurry.clear()
                await self._look()
                is_busy = any(loan.is_busy for loan in self._in_use)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK if is_busy else SLOW):
                        await self._hurry.wait()

    async def _look(self) -> None:
        asked, self._asked = self._asked, None
        try:
            if self._store.is_up:
                await self._ask(list(self._in_use))
        finally:
            if asked is not None and not asked.done():
                asked.set_result(None)
        for loan in list(self._in_use):
            if not loan.is_in_use:
                del self._in_use[loan]

    async def _ask(self, loans: list[Loan]) -> None:
        asking = asyncio.ensure_future(self._told([(loan, loan.asks()) for loan in loans], PATIENCE))
        try:
            await asyncio.wait({asking}, timeout=BOUND)
            # Where this process itself was late, the answer may be there by now.
            for _ in range(3):
                await asyncio.sleep(0)
            self._is_late = not asking.done()
            if self._is_late:
                self._stand_alone()
            found = await asking
        except Away:
            self._stand_alone()
            return
        finally:
            asking.cancel()
        self._is_late = False
        for loan, told in zip(loans, found, strict=True):
            loan.take(*told)

    async def _told(self, asked: list[tuple[Loan, list[float]]], within: float) -> list[list[int]]:
        keys: list[str] = []
        args: list[str | bytes | float] = [_LASTS]
        for loan, told in asked:
            keys += [self._store.key("limits", loan.limits, what) for what in ("slots", "tokens")]
            args += [loan.holder, *told]
        found: list[list[int]] = await self._store.do(_LEND, keys, args, within) if keys else []
        return found
