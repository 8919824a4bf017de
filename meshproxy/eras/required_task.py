"""A tool that needs a task (2025-11-25 basic/utilities/tasks, "Tool-Level Negotiation") is called like any other: the task is made here.

`request` takes the place of `Link.request` for such a call. It makes the task, follows it at the interval that its server asks for, hands
on what the server asks and says meanwhile, and returns the result as if there had been no task: neither side of it shows to the
caller. How the task is is told the caller as progress, which is all that an ordinary call has for it.
"""

import asyncio
import math
from collections.abc import Coroutine, Mapping
from typing import Any, Final, NamedTuple, cast

import structlog

from meshproxy.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    AnswerLost,
    AnswerTooLate,
    RpcError,
    UpstreamError,
)
from meshproxy.limits import MAX_MESSAGE
from meshproxy.links.call import Call
from meshproxy.links.link import Link
from meshproxy.wire.codec import JsonError, Raw, dumps, mapping, opened, text
from meshproxy.wire.protocol import META_PROGRESS, META_RELATED_TASK, Era

__all__ = ["request"]

log = structlog.get_logger(__name__)

INTERVAL: Final = (0.05, 1.0, 3600.0)
"""Seconds between two looks at a task: the least, those where its server names none, and the most."""
MAX_LOST: Final = 3
"""Looks in a row that brought nothing."""
FAREWELL: Final = 5.0
"""Seconds for calling a task off, which nobody waits for."""
STEP: Final = 0.001
"""By how much progress grows when a task says how it is: little, beside what its server counts itself."""

_COUNTABLE: Final = 2.0**53
_OVER: Final = frozenset({"completed", "failed", "cancelled"})
_INPUT_REQUIRED: Final = "input_required"
_PROGRESS: Final = "notifications/progress"


async def request(link: Link, method: str, params: dict[str, Any], call: Call | None = None) -> Raw:
    """As `Link.request`, for a call of a tool that needs a task; `params` has a member `task`, whatever it says.

    Over a link to a server that makes no tasks of calls, it is sent as an ordinary one: there, a client must not ask for a task.

    Raises:
        RpcError: the call's own error, as the server tells it of the task.
        UpstreamUnavailable: the call did not leave.
        AnswerLost: it left, and the task is lost, or `call.timeout` passed.
    """
    if not _takes_tasks(link):
        return await link.request(method, {key: value for key, value in params.items() if key != "task"}, call)
    call = _Own() if call is None else call
    following = _Following(link, call)
    try:
        async with asyncio.timeout(call.timeout):
            return await following.run(method, params)
    except TimeoutError:
        raise AnswerTooLate(link.upstream, f"no answer within {call.timeout or 0:g} s") from None
    finally:
        following.end()


class _State(NamedTuple):
    """How a task is: its status, words for people, and the seconds until it should be looked at again."""

    status: str
    words: str
    interval: float

    @classmethod
    def of(cls, task: Mapping[str, Any]) -> "_State":
        """As its server tells; what is malformed is a status that nobody knows, no words, or the usual interval."""
        asked = _number(task.get("pollInterval"))
        least, usual, most = INTERVAL
        interval = usual if asked is None else min(max(asked / 1000, least), most)
        return cls(text(task.get("status")) or "", text(task.get("statusMessage")) or "", interval)

    @property
    def is_over(self) -> bool:
        return self.status in _OVER


class _Own(Call):
    """The mesh's own, which hears nothing and answers nothing."""

    capabilities: dict[str, Any] | None = None
    log_level: str | None = None

    def __init__(self) -> None:
        self.owner = None
        self.headers = {}
        self.timeout = None
        self.max_result = MAX_MESSAGE
        self.wants_progress = False

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """Nobody waits for it."""

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")

    def on_stream_ended(self) -> None:
        """Nobody waits for it."""


class _Voice(Call):
    """That of a request about a task: what comes with it is of the task, and it has no progress of its own."""

    def __init__(self, following: "_Following") -> None:
        self._following = following
        self.owner = following.owner
        self.headers = following.headers
        self.timeout = None
        self.max_result = following.max_result
        self.wants_progress = False

    @property
    def capabilities(self) -> dict[str, Any] | None:
        return self._following.capabilities

    @property
    def log_level(self) -> str | None:
        return self._following.log_level

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        self._following.on_notification(method, params)

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._following.on_request(method, params)

    def on_stream_ended(self) -> None:
        self._following.on_stream_ended()


class _Following(Call):
    """One call and its task: a `Call` for as long as the task lives (`meshproxy.links.tasks.Follower`)."""

    def __init__(self, link: Link, call: Call) -> None:
        self.owner = call.owner
        self.headers = call.headers
        self.timeout = None
        self.max_result = call.max_result
        self.wants_progress = call.wants_progress
        self._call = call
        self._link = link
        self._tasks = link.keep_tasks()
        self._number = self._tasks.enter(self)
        self._voice = _Voice(self)
        self._making: asyncio.Task[tuple[Raw, _State | None]] | None = None
        self._id: str | None = None
        self._is_over = False
        self._has_left = False
        self._lost: str | None = None
        self._news: _State | None = None
        self._woken = asyncio.Event()
        self._asking: set[asyncio.Task[Any]] = set()
        self._words = ""
        self._counted = -math.inf
        self._told = 0.0

    # The call.

    async def run(self, method: str, params: dict[str, Any]) -> Raw:
        """Make the task, and wait for its result. Raises as `request`, but for the deadline."""
        self._making = asyncio.ensure_future(self._make(method, params))
        # A request that makes a task is not to be cancelled: the task is, and for that its id must be known.
        answer, state = await asyncio.shield(self._making)
        if state is None:
            self._is_over = True
            return answer
        return await self._follow(state)

    def end(self) -> None:
        """The caller has its answer, or left."""
        self._has_left = True
        for asking in self._asking:
            asking.cancel()
        making = self._making
        is_made = making is not None and not (making.done() and (making.cancelled() or making.exception() is not None))
        self._tasks.leave(self._number, early=is_made and not self._is_over and self._link.is_open)

    async def call_off(self) -> None:
        """See `meshproxy.links.tasks.Follower`."""
        try:
            async with asyncio.timeout(FAREWELL):
                if self._id is None and self._making is not None:
                    await self._making
                if self._id is not None and _declared(self._link, "tasks", "cancel"):
                    await self._ask("tasks/cancel")
        except (RpcError, UpstreamError, TimeoutError) as error:
            log.debug("upstream.task_not_cancelled", upstream=self._link.upstream, reason=str(error))

    async def _make(self, method: str, params: dict[str, Any]) -> tuple[Raw, _State | None]:
        """The answer to the call, and how the task is that it tells of (`CreateTaskResult`).

        There is none if the answer is the call's own result: servers refuse a call so before they make a task of it.
        """
        timeout = self._call.timeout
        # For as long as the caller would wait.
        sent = {**params, "task": {} if timeout is None else {"ttl": math.ceil(timeout * 1000)}}
        if self.wants_progress:
            sent["_meta"] = {**(mapping(params.get("_meta")) or {}), META_PROGRESS: self._number}
        answer = await self._link.request(method, sent, self._voice)
        result = mapping(answer) or {}
        task = mapping(result.get("task"))
        if task is None or "content" in result:
            return answer, None
        task_id = text(task.get("taskId"))
        if task_id is None:
            raise RpcError(INTERNAL_ERROR, "the upstream made a task without an id")
        if not self._has_left and not self._tasks.name(self._number, task_id):
            raise RpcError(INTERNAL_ERROR, "the upstream made a task with the id of another one")
        self._id = task_id
        return answer, _State.of(task)

    async def _follow(self, state: _State) -> Raw:
        """The result, once there is one. What the server asks comes meanwhile."""
        lost = 0
        is_refused = False
        while True:
            self._tell(state)
            if state.is_over or (state.status == _INPUT_REQUIRED and not is_refused):
                # In the latter case it ends when the task does, and the questions come on its stream, if they have no other way.
                try:
                    answer = await self._ask("tasks/result")
                except RpcError as error:
                    if state.is_over:
                        raise await self._judged(error, state) from None
                    # It may be the end of the call, or of a server that has nothing to say before the end.
                    is_refused = True
                    state = await self._look(state.interval)
                    continue
                except UpstreamError as error:
                    lost = lost + 1 if state.is_over else 0
                    if lost == MAX_LOST or not self._link.is_open:
                        raise AnswerLost(self._link.upstream, error.reason) from None
                else:
                    self._is_over = True
                    return _result_without_task(answer)
            elif state.status != _INPUT_REQUIRED:
                is_refused = False
            state = await self._later(state.interval)

    async def _later(self, seconds: float) -> _State:
        """How the task is when its server says so, or else after `seconds`."""
        if self._news is None and self._lost is None:
            try:
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            except TimeoutError:
                return await self._look(seconds)
        self._woken.clear()
        if self._lost is not None or self._news is None:
            raise AnswerLost(self._link.upstream, self._lost or "")
        news, self._news = self._news, None
        return news

    async def _look(self, seconds: float) -> _State:
        """How the task is, asked again every `seconds` if the answer is lost: to look changes nothing."""
        lost = 0
        while True:
            try:
                return _State.of(mapping(await self._ask("tasks/get")) or {})
            except RpcError as error:
                reason = f"its task cannot be followed: {error.message}"
                if error.code in (INVALID_PARAMS, METHOD_NOT_FOUND):
                    # The parameters are ours, and not the caller's: there is no such task any more.
                    self._is_over = True
                    raise AnswerLost(self._link.upstream, reason) from None
            except UpstreamError as error:
                reason = error.reason
            lost += 1
            if lost == MAX_LOST or not self._link.is_open:
                raise AnswerLost(self._link.upstream, reason)
            await asyncio.sleep(seconds)

    async def _judged(self, error: RpcError, state: _State) -> RpcError | UpstreamError:
        """What an error in the place of the result of a task that is over means to the caller."""
        if error.code == INVALID_PARAMS:
            # The call's own error, or is it the task that is unknown?
            await self._look(state.interval)
        self._is_over = True
        if state.status == "completed":
            return error
        # Servers that have stored no result say no more than that.
        words = state.words if state.status == "failed" else f"the task was cancelled: {state.words}".removesuffix(": ")
        if words in error.message:
            return error
        return RpcError(error.code, f"{error.message} ({words})", error.data)

    def _ask(self, method: str) -> Coroutine[Any, Any, Raw]:
        return self._link.request(method, {"taskId": self._id}, self._voice)

    # What the upstream says meanwhile.

    @property
    def capabilities(self) -> dict[str, Any] | None:
        return self._call.capabilities

    @property
    def log_level(self) -> str | None:
        return self._call.log_level

    def on_status(self, params: dict[str, Any]) -> None:
        """See `meshproxy.links.tasks.Follower`."""
        if self._news is not None and self._news.is_over:
            return
        self._news = _State.of(params)
        self._tell(self._news)
        self._woken.set()

    def on_lost(self, reason: str) -> None:
        """See `meshproxy.links.tasks.Follower`."""
        self._lost = reason
        self._woken.set()

    def on_notification(self, method: str, params: dict[str, Any]) -> None:
        """See `meshproxy.links.call.Call`."""
        self._call.on_notification(method, _without_task(self._in_order(params) if method == _PROGRESS else params))

    async def on_request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """See `meshproxy.links.call.Call`. The answer says which task it is for."""
        asking = cast("asyncio.Task[Any]", asyncio.current_task())
        self._asking.add(asking)
        try:
            answer = await self._call.on_request(method, _without_task(params))
        finally:
            self._asking.discard(asking)
        return {**answer, "_meta": {**(mapping(answer.get("_meta")) or {}), META_RELATED_TASK: {"taskId": self._id}}}

    def on_stream_ended(self) -> None:
        """See `meshproxy.links.call.Call`."""
        self._call.on_stream_ended()

    def _tell(self, state: _State) -> None:
        """Let the caller know how the task is, if that is new."""
        if not self.wants_progress or state.is_over or state.words in ("", self._words):
            return
        self._words = state.words
        self._told = round(self._told + STEP, 3)
        told = {META_PROGRESS: self._number, "progress": self._told, "message": state.words}
        self._call.on_notification(_PROGRESS, told)

    def _in_order(self, params: dict[str, Any]) -> dict[str, Any]:
        """The server's own progress, after what `_tell` has told: it is to grow (basic/utilities/progress) if it does at the server."""
        progress = _number(params.get("progress"))
        if progress is None:
            return params
        grows, self._counted = progress > self._counted, progress
        if grows and progress <= self._told:
            params = {**params, "progress": (progress := round(self._told + STEP, 3))}
        self._told = max(self._told, progress)
        return params


def _number(value: Any) -> float | None:
    """A number of a size that can be counted with; None for anything else."""
    try:
        number = opened(value)
    except JsonError:
        return None
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return number if is_number and abs(number) <= _COUNTABLE else None


def _takes_tasks(link: Link) -> bool:
    """Whether calls of tools may be made tasks there."""
    return link.era is Era.LEGACY and _declared(link, "tasks", "requests", "tools", "call")


def _declared(link: Link, *path: str) -> bool:
    found: Any = link.capabilities
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return isinstance(found, Mapping)


def _without_task(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters, or a result, without the name of the task that they belong to."""
    meta = mapping(params["_meta"]) if "_meta" in params else None
    if meta is None or META_RELATED_TASK not in meta:
        return params
    kept = {key: value for key, value in meta.items() if key != META_RELATED_TASK}
    rest = {key: value for key, value in params.items() if key != "_meta"}
    return {**rest, "_meta": kept} if kept else rest


def _result_without_task(answer: Raw) -> Raw:
    result = mapping(answer)
    plain = None if result is None else _without_task(result)
    return answer if plain is None or plain is result else Raw(dumps(plain))
