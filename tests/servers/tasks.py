"""A server of 2025-11-25 whose tools run as tasks. What a task does is in the arguments of the call that makes it.

`python -m tests.servers.tasks --era legacy`. A server that follows the specification to the letter, unless it is asked not to.
"""

import asyncio
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp.shared.exceptions import MCPError
from tests.servers.kit import Call, Json, Kit, text
from tests.servers.run import parser, run

RELATED = "io.modelcontextprotocol/related-task"
OVER = ("completed", "failed", "cancelled")


class Task:
    """One task.

    `way` is how its questions reach the client: on the stream of `tasks/result`, as the specification proposes, or `aside`, on the
    connection's own. `notes` is whether it says so when its status changes, `blocks` whether `tasks/result` waits for the end, and `heeds`
    whether the work ends when the task is cancelled.
    """

    def __init__(self, call: Call, arguments: Json) -> None:
        self.id: str = arguments.get("id") or uuid.uuid4().hex
        self.connection = call.connection
        self.token = call.meta.get("progressToken")
        self.plan: list[list[Any]] = arguments.get("plan", [])
        self.way: str = arguments.get("way", "result")
        self.notes: bool = arguments.get("notes", True)
        self.blocks: bool = arguments.get("blocks", True)
        self.heeds: bool = arguments.get("heeds", True)
        self.shown: Json = {
            "status": "working",
            "ttl": call.params["task"].get("ttl"),
            "createdAt": "2026-01-01T00:00:00Z",
        }
        self.shown |= {"lastUpdatedAt": "2026-01-01T00:00:00Z", "pollInterval": arguments.get("interval", 20)}
        self.result: Json | MCPError | None = None
        self.answers: list[Any] = []
        self.looks = 0
        self.changed = asyncio.Event()
        self.queue: asyncio.Queue[tuple[str, Json, asyncio.Future[Any]] | None] = asyncio.Queue()
        self.work: asyncio.Task[None] | None = None

    @property
    def told(self) -> Json:
        return {"taskId": self.id} | self.shown

    @property
    def is_over(self) -> bool:
        return self.shown["status"] in OVER

    @property
    def meta(self) -> Json:
        return {RELATED: {"taskId": self.id}}

    async def become(self, status: str, words: str | None = None) -> None:
        self.shown |= {"status": status} | ({} if words is None else {"statusMessage": words})
        self.stir()
        if self.is_over:
            self.queue.put_nowait(None)
        if self.notes:
            await self.connection.notify("notifications/tasks/status", self.told)

    def stir(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], Any]) -> None:
        while not condition():
            await self.changed.wait()

    async def ask(self, method: str, params: Json) -> Any:
        params = params | {"_meta": self.meta}
        if self.way == "aside":
            return await self.connection.send_raw_request(method, params)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((method, params, answer))
        return await answer

    async def run(self) -> None:
        """The steps of the plan, and, without an end among them, an ordinary one."""
        for kind, *step in self.plan:
            if kind == "become":
                await self.become(*step)
            elif kind == "progress":
                told = {"progressToken": self.token, "progress": step[0], "_meta": self.meta}
                await self.connection.notify("notifications/progress", told)
            elif kind == "log":
                told = {"level": "error", "data": step[0], "_meta": self.meta}
                await self.connection.notify("notifications/message", told)
            elif kind == "ask":
                await self.become("input_required", "I have a question")
                try:
                    self.answers.append(await self.ask(*step))
                except MCPError as refusal:
                    self.answers.append({"refused": refusal.error.code})
                await self.become("working", "I have an answer")
            elif kind == "looked":
                seen = self.looks
                await self.until(lambda seen=seen, more=step[0]: self.looks >= seen + more)  # type: ignore[misc]
            elif kind == "hold":
                Path(f"{step[0]}.started").touch()
                while not Path(f"{step[0]}.go").exists():
                    await asyncio.sleep(0.005)
            elif kind == "die":
                os._exit(3)
            elif kind == "forget":
                tasks.pop(self.id)
                self.stir()
                return
            elif kind == "end":
                status, outcome, *words = step
                self.result = MCPError(**outcome) if "code" in outcome else outcome or None
                await self.become(status, *words)
                return
        said = {"answers": self.answers, "looks": self.looks, "ttl": self.shown["ttl"]}
        link = {"type": "resource_link", "uri": "tasks://report", "name": "report"}
        self.result = {"content": [text(json.dumps(said)), link], "structuredContent": said}
        await self.become("completed")


tasks: dict[str, Task] = {}


def begin(call: Call, arguments: Json) -> Json:
    """Make a task of a call that asks for one."""
    if "task" not in call.params:
        raise MCPError(-32601, "This needs a task")
    task = Task(call, arguments)
    tasks[task.id] = task
    task.work = asyncio.create_task(task.run())
    return {"task": task.told}


def enable(kit: Kit) -> list[Json]:
    """Let calls of tools be tasks, in the legacy era. Returns the requests about tasks, as they will come."""
    seen: list[Json] = []

    def found(call: Call) -> Task:
        seen.append({"method": call.ctx.method, "task": call.params["taskId"]})
        task = tasks.get(call.params["taskId"])
        if task is None:
            raise MCPError(-32602, "Failed to retrieve task: Task not found")
        return task

    async def get(call: Call) -> Json:
        task = found(call)
        task.looks += 1
        task.stir()
        return task.told

    async def result(call: Call) -> Json:
        task = found(call)
        if not task.is_over and not task.blocks:
            raise MCPError(-32600, "The task is not over yet")
        while not task.is_over or not task.queue.empty():
            asked = await task.queue.get()
            if asked is not None:
                method, params, answer = asked
                try:
                    answer.set_result(await call.ctx.session._request_outbound.send_raw_request(method, params))
                except MCPError as refusal:
                    answer.set_exception(refusal)
        if isinstance(task.result, MCPError):
            raise task.result
        if task.result is None:
            raise MCPError(-32603, f"Task {task.id} has no result stored")
        return task.result | {"_meta": task.meta}

    async def cancel(call: Call) -> Json:
        task = found(call)
        if task.is_over:
            raise MCPError(-32602, f"Cannot cancel task in terminal status: {task.shown['status']}")
        if task.work is not None and task.heeds:
            task.work.cancel()
        await task.become("cancelled", "The client has cancelled it")
        return task.told

    kit.legacy_methods = {"tasks/get": get, "tasks/result": result, "tasks/cancel": cancel}
    kit.legacy_capabilities = {"tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}}
    return seen


def kit() -> Kit:
    kit = Kit("tasks")
    seen = enable(kit)

    @kit.tool(inputSchema={"type": "object"}, execution={"taskSupport": "required"})
    async def work(call: Call, **arguments: Any) -> Json:
        """Does what its plan says, or answers with what is to be said `instead` of that there is a task"""
        if "instead" in arguments:
            return dict(arguments["instead"])
        if "until" in arguments:
            Path(f"{arguments['until']}.making").touch()
            while not Path(f"{arguments['until']}.made").exists():
                await asyncio.sleep(0.005)
        return begin(call, arguments)

    @kit.tool(execution={"taskSupport": "optional"})
    def may(call: Call) -> str:
        """Says whether it was to be a task"""
        return json.dumps(call.params.get("task"))

    @kit.tool()
    def requests(_call: Call, task: str) -> Json:
        """The requests about a task"""
        return {
            "content": [],
            "structuredContent": {"requests": [one["method"] for one in seen if one["task"] == task]},
        }

    return kit


if __name__ == "__main__":
    run(kit().server(), parser(__doc__ or "").parse_args())
