"""A server that does everything that a server can, for tests to ask for what they need.

`python -m tests.servers.basic --transport stdio|http|sse --era dual|legacy|modern`; `kit()` gives the same in process.
"""

import json
import os
from pathlib import Path
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from tests.servers import tasks
from tests.servers.kit import Call, Json, Kit, text
from tests.servers.run import parser, run

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
TASKS = "io.modelcontextprotocol/tasks"
FORM = {"type": "object", "properties": {"answer": {"type": "string", "title": "Answer"}}, "required": ["answer"]}


def form(message: str) -> Json:
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": FORM}}


def sampling(prompt: str, **more: Any) -> Json:
    messages = [{"role": "user", "content": text(prompt)}]
    return {"method": "sampling/createMessage", "params": {"messages": messages, "maxTokens": 100} | more}


def kit(name: str = "basic", **settings: Any) -> Kit:
    """The components, fresh; `settings` are those of `Kit`."""
    kit = Kit(name, **settings)
    process = {"calls": 0}
    visited: set[str] = set()

    # What it returns.

    @kit.tool(title="Echo", annotations={"readOnlyHint": True}, icons=[{"src": "data:image/png;base64," + PIXEL}])
    def echo(_call: Call, text: str) -> str:
        """Returns the text"""
        return text

    @kit.tool(outputSchema={"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]})
    def add(_call: Call, a: float, b: float) -> Json:
        return {"content": [text(json.dumps(a + b))], "structuredContent": {"sum": a + b}}

    @kit.tool(outputSchema={"type": "array", "items": {"type": "integer"}})
    def numbers(call: Call, n: int = 3) -> Json:
        """Structured content that is no object: the modern era alone allows it"""
        structured = {} if call.is_legacy else {"structuredContent": list(range(n))}
        return {"content": [text(json.dumps(list(range(n))))]} | structured

    @kit.tool(
        outputSchema={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"node": {"$anchor": "node", "type": ["object", "null"], "default": None}},
            "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"anyOf": [{"const": 1}, {"enum": [None, "x"]}]}},
            "unevaluatedProperties": False,
            "x-vendor": [None],
        },
        annotations={"destructiveHint": False, "x-unknown": None},
        icons=[{"src": "https://example.com/icon.svg", "mimeType": "image/svg+xml", "sizes": ["any"], "theme": "dark"}],
        _meta={"vendor/key": {"deep": [1, None, {"a": "b"}]}},
    )
    def shapes(_call: Call) -> Json:
        """A definition with everything that a definition may have, and more"""
        structured = {"next": None, "n": 1}
        return {"content": [text(json.dumps(structured))], "structuredContent": structured}

    @kit.tool(name="raw", **{"x-vendor": {"kept": None}})
    def _raw(_call: Call, result: dict) -> Json:  # type: ignore[type-arg]
        """Returns the result given, whatever it is"""
        return result

    @kit.tool()
    def fail(_call: Call, message: str = "it failed") -> Json:
        return {"content": [text(message)], "isError": True}

    @kit.tool()
    def refuse(_call: Call, code: int = -32602, message: str = "refused", data: Any = None) -> None:
        """Answers with a JSON-RPC error"""
        raise MCPError(code, message, data)

    @kit.tool()
    def big(_call: Call, size: int, kind: str = "text") -> list[Json]:
        """A text, or base64 data of an image, of that many characters"""
        if kind == "text":
            return [text("x" * size)]
        return [{"type": "image", "mimeType": "image/png", "data": "A" * size}]

    @kit.tool()
    def media(_call: Call) -> list[Json]:
        wave = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
        return [
            {"type": "image", "data": PIXEL, "mimeType": "image/png", "annotations": {"priority": 0.5}},
            {"type": "audio", "data": wave, "mimeType": "audio/wav", "_meta": {"vendor/key": [None, 1]}},
        ]

    @kit.tool()
    def links(_call: Call) -> list[Json]:
        """Every form of link that a result can hold: each can be read here"""
        embedded = {"uri": "basic://item/8", "mimeType": "text/plain", "text": "item 8"}
        return [
            {"type": "resource_link", "uri": "basic://item/7", "name": "item 7"},
            {"type": "resource_link", "uri": "urn:isbn:0451450523", "name": "a book"},
            {"type": "resource_link", "uri": "https://example.com/page", "name": "a page"},
            {"type": "resource", "resource": embedded},
        ]

    @kit.tool(execution={"taskSupport": "optional"})
    def patient(call: Call) -> str:
        """May run as a task of 2025-11-25; says whether it was asked to"""
        return json.dumps(call.params.get("task"))

    @kit.tool(execution={"taskSupport": "required"})
    async def background(call: Call, message: str) -> Json:
        """Asks the user, as a task of 2025-11-25 alone, and returns the answer; 2026-07-28 has no such tasks"""
        asked = form(message)
        if call.is_legacy:
            return tasks.begin(call, {"plan": [["ask", asked["method"], asked["params"]]]})
        answers = [(await call.ask({"asked": asked}))["asked"]]
        return {"content": [], "structuredContent": {"answers": answers}}

    tasks.enable(kit)

    @kit.tool(name="window", _meta={"ui": {"resourceUri": "ui://basic/window.html"}})
    def _window(_call: Call) -> Json:
        """A tool with a user interface (MCP Apps)"""
        return {"content": [text("a window")], "_meta": {"ui": {"resourceUri": "ui://basic/window.html"}}}

    @kit.tool(
        inputSchema={
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "n": {"type": "integer"}},
            "required": ["region"],
        }
    )
    def regional(call: Call, region: str, n: int = 0) -> Json:
        """One argument is mirrored in a header"""
        return {"content": [text(region)], "structuredContent": {"headers": call.headers, "n": n}}

    # What it knows of the caller and of itself.

    @kit.tool()
    def pid(_call: Call) -> str:
        return str(os.getpid())

    @kit.tool()
    def count(call: Call) -> Json:
        """Counts its calls, in this session and in this process"""
        process["calls"] += 1
        call.connection.state["calls"] = session = call.connection.state.get("calls", 0) + 1
        counts = {"session": session, "process": process["calls"]}
        return {"content": [text(json.dumps(counts))], "structuredContent": counts}

    @kit.tool()
    def caller(call: Call) -> Json:
        """What reached this server of the caller and the request"""
        seen = {
            "version": call.ctx.protocol_version,
            "session": call.connection.session_id,
            "capabilities": call.capabilities,
            "meta": dict(call.meta),
            "headers": call.headers,
        }
        return {"content": [text(json.dumps(seen))], "structuredContent": seen}

    @kit.tool()
    def surroundings(_call: Call) -> Json:
        seen = {"cwd": str(Path.cwd()), "env": dict(os.environ)}
        return {"content": [text(json.dumps(seen))], "structuredContent": seen}

    @kit.tool()
    def say(_call: Call, words: str) -> str:
        """Writes a line to stderr"""
        os.write(2, f"{words}\n".encode())
        return words

    @kit.tool()
    def leave(_call: Call, status: int = 0) -> None:
        """Ends the process, with the call unanswered"""
        os._exit(status)

    # What it does while a call runs.

    @kit.tool()
    async def progress(call: Call, n: int) -> str:
        for step in range(1, n + 1):
            await call.progress(step, n, f"step {step}")
        return str(n)

    @kit.tool()
    async def log(call: Call, n: int = 1, level: str = "info", data: Any = "a line", logger: str | None = None) -> str:
        for _ in range(n):
            await call.log(level, data, logger)
        return str(n)

    @kit.tool()
    async def hold(_call: Call, marker: str) -> str:
        """Waits until the file `MARKER.go` is there, and says how it goes in `MARKER.started` and `.done` or `.cancelled`"""
        Path(f"{marker}.started").write_text(str(os.getpid()))
        try:
            while not Path(f"{marker}.go").exists():
                await anyio.sleep(0.005)
        except anyio.get_cancelled_exc_class():
            Path(f"{marker}.cancelled").touch()
            raise
        Path(f"{marker}.done").touch()
        return marker

    @kit.tool()
    async def ask(call: Call, message: str = "What is it?", n: int = 1, rounds: int = 1) -> Json:
        """Asks the user `n` forms at once, that many rounds, and returns the answers"""
        answers: list[Json] = []
        for this in range(rounds):
            asked = {f"q{i}": form(message if (n, rounds) == (1, 1) else f"{message} {this}.{i}") for i in range(n)}
            answered = await call.ask(asked)
            answers += [answered[f"q{i}"] for i in range(n)]
        return {"content": [text(json.dumps(answers))], "structuredContent": {"answers": answers}}

    @kit.tool()
    async def question(call: Call, method: str, params: dict | None = None, *, aside: bool = False) -> str:  # type: ignore[type-arg]
        """Asks the client anything, and returns its answer; `aside` asks on the connection's own stream, outside of the call's"""
        asked = {"method": method} | ({"params": params} if params is not None else {})
        if aside and call.is_legacy:
            return json.dumps(await call.connection.send_raw_request(method, params))
        return json.dumps((await call.ask({"asked": asked}))["asked"])

    @kit.tool()
    async def ask_between(call: Call, n: int) -> str:
        """Makes progress, asks, and makes more progress"""
        first = not call.answers
        for step in range(1, n + 1) if first else ():
            await call.progress(step, 2 * n)
        answered = (await call.ask({"asked": form("Go on?")}))["asked"]
        for step in range(n + 1, 2 * n + 1):
            await call.progress(step, 2 * n)
        return json.dumps(answered)

    @kit.tool()
    async def withdraw(call: Call, marker: str) -> str:
        """Asks, takes the question back once `MARKER.seen` is there, and writes `MARKER.withdrawn`; only the legacy era can"""
        if call.is_legacy:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call.ask, {"asked": form("Quick!")})
                while not Path(f"{marker}.seen").exists():
                    await anyio.sleep(0.005)
                tasks.cancel_scope.cancel()
            Path(f"{marker}.withdrawn").touch()
        return "withdrawn"

    @kit.tool()
    async def ping_back(call: Call) -> str:
        """Asks whether the client is there"""
        if not call.is_legacy:
            return "{}"
        return json.dumps(await call.ctx.session._request_outbound.send_raw_request("ping", None))

    @kit.tool()
    async def converse(call: Call, tag: str, rounds: int = 2, *, aside: bool = False) -> Json:
        """Everything that a server says in a call, and all of it says whose call it is; `aside` says it outside of the call's stream"""
        answers = []
        for this in range(rounds):
            await call.progress(this, message=tag)
            await call.log("error", tag)
            if aside and call.is_legacy:
                await call.connection.notify("notifications/message", {"level": "error", "data": tag})
                answers.append(await call.connection.send_raw_request("elicitation/create", form(tag)["params"]))
            else:
                answers.append((await call.ask({"q": form(tag)}))["q"])
        await call.log("error", tag)
        return {"content": [text(tag)], "structuredContent": {"tag": tag, "answers": answers}}

    @kit.tool()
    async def ask_url(call: Call, url: str, id: str = "e1", *, aside: bool = False) -> str:  # noqa: A002
        """Sends the user to a page, and says when it is done with: on the call's stream, or `aside` on the connection's own"""
        params = {"mode": "url", "message": "Go there", "url": url} | ({"elicitationId": id} if call.is_legacy else {})
        answered = await call.ask({"url": {"method": "elicitation/create", "params": params}})
        if call.is_legacy:
            told = call.connection.outbound if aside else call.ctx.session._request_outbound
            await told.notify("notifications/elicitation/complete", {"elicitationId": id})
        return json.dumps(answered["url"])

    @kit.tool()
    async def needs_url(call: Call, url: str, id: str = "e2") -> str:  # noqa: A002
        """Refuses until the user has been sent to a page: with the error -32042 of 2025-11-25, or as the modern era asks"""
        elicitation = {"mode": "url", "message": "Go there first", "url": url}
        if not call.is_legacy:
            await call.ask({"url": {"method": "elicitation/create", "params": elicitation}})
        elif id not in visited:
            visited.add(id)
            raise MCPError(-32042, "Go there first", {"elicitations": [elicitation | {"elicitationId": id}]})
        return "been there"

    @kit.tool()
    async def sample(call: Call, prompt: str, params: dict | None = None) -> str:  # type: ignore[type-arg]
        """Asks the client's model; `params` are sent beside the messages"""
        return json.dumps((await call.ask({"sample": sampling(prompt, **(params or {}))}))["sample"])

    @kit.tool()
    async def roots(call: Call) -> str:
        return json.dumps((await call.ask({"roots": {"method": "roots/list"}}))["roots"])

    @kit.tool()
    def roots_changes(call: Call) -> str:
        """How often the client said that its roots changed"""
        return str(call.connection.state.get("roots_changed", 0))

    @kit.tool()
    async def ask_everything(call: Call) -> str:
        """A form, a sampling and the roots, at once"""
        return json.dumps(
            await call.ask({"form": form("Who?"), "sample": sampling("Hello"), "roots": {"method": "roots/list"}})
        )

    # What goes on after the call (the tasks extension).

    @kit.tool()
    def start_task(call: Call, id: str) -> Json:  # noqa: A002
        """Works in the background if the client knows tasks"""
        if TASKS not in (call.capabilities.get("extensions") or {}):
            return {"content": [text("done at once")]}
        kit.tasks[id] = {"taskId": id, "status": "input_required", "ttlMs": 60000, "pollIntervalMs": 5}
        return {"resultType": "task"} | kit.tasks[id]

    async def get_task(call: Call) -> Json:
        task = kit.tasks.get(call.params["taskId"])
        if task is None:
            raise MCPError(-32602, "Unknown task")
        return task | ({"inputRequests": {"q": form("What is it?")}} if task["status"] == "input_required" else {})

    async def update_task(call: Call) -> Json:
        task = kit.tasks[call.params["taskId"]]
        link = {"type": "resource_link", "uri": "basic://item/7", "name": "item 7"}
        answered = text(json.dumps(call.params["inputResponses"]))
        kit.tasks[task["taskId"]] = task | {"status": "completed", "result": {"content": [answered, link]}}
        kit.task_changed(kit.tasks[task["taskId"]])
        return {}

    async def cancel_task(call: Call) -> Json:
        kit.tasks[call.params["taskId"]]["status"] = "cancelled"
        return {}

    kit.methods = {"tasks/get": get_task, "tasks/update": update_task, "tasks/cancel": cancel_task}
    kit.extensions = {TASKS: {}, "io.modelcontextprotocol/ui": {}}

    # How it changes.

    @kit.tool()
    async def add_tool(_call: Call, name: str) -> str:
        kit.tool(name=name)(lambda _call: f"I am {name}")
        await kit.changed("tools")
        return name

    @kit.tool()
    async def remove_tool(_call: Call, name: str) -> str:
        del kit.tools[name]
        await kit.changed("tools")
        return name

    @kit.tool()
    async def add_prompt(_call: Call, name: str) -> str:
        kit.prompt(name=name)(lambda _call: f"I am {name}")
        await kit.changed("prompts")
        return name

    @kit.tool()
    async def add_resource(_call: Call, uri: str) -> str:
        kit.resource(uri, name=uri)(lambda _call: f"I am {uri}")
        await kit.changed("resources")
        return uri

    @kit.tool()
    async def loop(_call: Call, *, on: bool) -> str:
        """From now on, or no longer, every page of prompts leads to the same one"""
        kit.loops = on
        await kit.changed("prompts")
        return str(on)

    @kit.tool()
    async def remove_prompt(_call: Call, name: str) -> str:
        del kit.prompts[name]
        await kit.changed("prompts")
        return name

    @kit.tool()
    async def remove_resource(_call: Call, uri: str) -> str:
        del kit.resources[uri]
        await kit.changed("resources")
        return uri

    @kit.tool()
    async def touch(_call: Call, uri: str) -> str:
        """Tells the subscribers of the URI that it changed"""
        await kit.updated(uri)
        return uri

    # What can be read.

    @kit.resource(
        "basic://text",
        title="A text",
        mimeType="text/plain",
        size=11,
        annotations={"audience": ["user"], "priority": 0.1, "lastModified": "2026-01-01T00:00:00Z", "x": None},
        icons=[{"src": "data:image/png;base64," + PIXEL}],
        **{"x-vendor": {"kept": None}},
    )
    def a_text(_call: Call) -> str:
        return "hello world"

    @kit.resource("basic://binary", mimeType="application/octet-stream")
    def a_binary(_call: Call) -> bytes:
        return bytes(range(256))

    @kit.resource("basic://parts")
    def a_collection(_call: Call) -> list[Json]:
        return [{"uri": f"basic://item/{n}", "mimeType": "text/plain", "text": f"item {n}"} for n in range(3)]

    @kit.resource("urn:isbn:0451450523", name="a book")
    def a_book(_call: Call) -> str:
        return "once upon a time"

    @kit.resource("https://example.com/page", name="a page")
    def a_page(_call: Call) -> str:
        return "<p>a page</p>"

    @kit.resource("file:///srv/basic/file.txt", name="file.txt")
    def a_file(_call: Call) -> str:
        return "in a file"

    @kit.resource("ui://basic/window.html", mimeType="text/html;profile=mcp-app", _meta={"ui": {"csp": {}}})
    def a_window(_call: Call) -> Json:
        return {"mimeType": "text/html;profile=mcp-app", "text": "<p>a window</p>", "_meta": {"ui": {"csp": {}}}}

    @kit.resource("basic://question")
    async def a_question(call: Call) -> str:
        """Asks the user before it can be read; only the modern era lets a resource do so"""
        return json.dumps(await call.ask({"form": form("May it be read?")}))

    @kit.template("basic://item/{id}", title="An item", mimeType="text/plain")
    def an_item(_call: Call, id: str) -> str:  # noqa: A002
        return f"item {id}"

    @kit.template("file:///srv/basic/{+path}")
    def any_file(_call: Call, path: str) -> str:
        return f"file {path}"

    @kit.prompt(title="Greet", icons=[{"src": "data:image/png;base64," + PIXEL}], **{"x-vendor": None})
    def greet(_call: Call, name: str, style: str = "kind") -> str:
        return f"Greet {name} in a {style} way."

    @kit.prompt()
    def review(_call: Call) -> Json:
        """A prompt with resources in its messages"""
        embedded = {"uri": "basic://item/9", "mimeType": "text/plain", "text": "item 9"}
        link = {"type": "resource_link", "uri": "basic://item/10", "name": "item 10"}
        messages = [
            {"role": "user", "content": {"type": "resource", "resource": embedded}},
            {"role": "user", "content": link},
            {"role": "assistant", "content": {"type": "image", "data": PIXEL, "mimeType": "image/png"}},
        ]
        return {"description": "To be reviewed", "messages": messages}

    @kit.prompt()
    async def personal(call: Call) -> str:
        """Asks the user before it is rendered"""
        answer = (await call.ask({"form": form("For whom?")}))["form"]
        return f"For {(answer.get('content') or {}).get('answer')}"

    def complete(ref: Json, argument: Json, context: Json) -> list[str]:
        known = {"name": ["Ada", "Alan", "Grace"], "style": ["kind", "curt"], "id": [str(n) for n in range(150)]}
        found = [value for value in known.get(argument["name"], ()) if value.startswith(argument["value"])]
        if context:
            return [f"{value} {json.dumps(context, sort_keys=True)}" for value in found]
        return found if {ref.get("name"), ref.get("uri")} & {"greet", "basic://item/{id}"} else []

    kit.complete = complete
    return kit


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--name", default="basic")
    options.add_argument("--instructions", default="Do as you like.")
    options.add_argument("--page-size", type=int)
    options.add_argument("--ttl", type=int, help="milliseconds for which everybody may keep what is listed or read")
    options.add_argument("--tools", type=int, default=0, help="this many more tools, tool_0 and so on")
    chosen = options.parse_args()
    offered = kit(chosen.name, instructions=chosen.instructions, page_size=chosen.page_size)
    if chosen.ttl is not None:
        offered.cache = {"ttlMs": chosen.ttl, "cacheScope": "public"}
    for n in range(chosen.tools):
        offered.tool(name=f"tool_{n}")(lambda _call, n=n: str(n))
    run(offered.server(), chosen)


if __name__ == "__main__":
    main()
