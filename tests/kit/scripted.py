"""A server on standard input and output that does what its arguments and the names of its tools say. Needs nothing but Python.

Arguments: `modern` speaks that era alone; `legacy` (default) refuses `server/discover`; `deaf` does not answer `server/discover`;
`rude` exits at any request before `initialize`; `mute` answers nothing, and `noisy` prints instead; `noread` reads nothing once it is initialized.
A name of `SPELLINGS` spells its messages so.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from spelling import HALF, SPELLINGS, WORD, half  # it is started as a program, so this is no part of a package

MODES = set(sys.argv[1:])
SPELL = next((SPELLINGS[mode] for mode in sys.argv[1:] if mode in SPELLINGS), half if HALF in MODES else None)
VERSION = "2025-11-25"
received: list[dict] = []
held: list[dict] = []
waiting: dict = {}


def write(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(1, data) :]


def send(**message: object) -> None:
    if SPELL is not None:
        write(SPELL({"jsonrpc": "2.0", **message}) + b"\n")
        return
    write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")


def result(request: dict, **value: object) -> None:
    send(id=request["id"], result={"resultType": "complete", **value})


def text(request: dict, content: str) -> None:
    result(request, content=[{"type": "text", "text": content}])


def notify(method: str, **params: object) -> None:
    send(method=method, params=params)


def call(request: dict) -> None:
    params = request["params"]
    arguments = params.get("arguments", {})
    name = params["name"]
    meta = params.get("_meta", {})
    if name == "seen":
        text(request, json.dumps(received))
    elif name == "hold":
        held.append(request)
        if len(held) == arguments["n"]:
            while held:
                text(held[-1], held.pop()["params"]["arguments"]["word"])
    elif name == "strange":
        send(id=99999, result={})
        send(id="x", result={})
        send(id=request["id"] + 1000, error={"code": 1, "message": "nobody's"})
        write("\n \r\n")
        write("this is no message\n")
        text(request, "fine")
    elif name == "big":
        text(request, "x" * arguments["size"])
    elif name == "big_last":
        # The id behind the outcome, as nothing forbids.
        content = [{"type": "text", "text": "x" * arguments["size"]}]
        write(
            json.dumps(
                {"result": {"resultType": "complete", "content": content}, "jsonrpc": "2.0", "id": request["id"]}
            )
            + "\n"
        )
    elif name == "big_talk":
        notify("notifications/message", level="info", data="x" * arguments["size"])
        text(request, "said")
    elif name == "word":
        text(request, WORD)
    elif name == "echo":
        text(request, json.dumps(arguments))
    elif name == "slowly":
        for character in (
            json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"word": "täglich"}}, ensure_ascii=False)
            + "\n"
        ):
            for byte in character.encode():
                os.write(1, bytes([byte]))
                time.sleep(0.001)
    elif name == "nulls":
        send(method="notifications/tools/list_changed", params=None)
        notify("notifications/progress", progressToken=str(meta["progressToken"]), progress=1)
        waiting["q3"] = request
        send(id="q3", method="roots/list", params=None)
    elif name == "progress":
        token = meta.get("progressToken")
        notify("notifications/progress", progressToken="not yours", progress=1)
        notify("notifications/progress", progressToken=4711, progress=1)
        for step in range(arguments["n"]):
            notify("notifications/progress", progressToken=request["id"] if token is None else token, progress=step)
        text(request, json.dumps(token))
    elif name == "log":
        notify("notifications/message", level="info", data=1)
        send(method="notifications/message", params=[1])
        text(request, "logged")
    elif name == "error":
        send(id=request["id"], error={"code": -5, "message": "no", "data": {"why": [1, None]}})
    elif name == "broken":
        send(id=request["id"], result={}, error={})
    elif name == "ask":
        waiting["q1"] = request
        send(id="q1", method=arguments.get("method", "elicitation/create"), params={"message": "?"})
    elif name == "ask_oddly":
        waiting["q1"] = request
        send(id="q1", method="elicitation/create", params=[1])
    elif name == "ask_and_cancel":
        waiting["hello"] = request
        send(id="q2", method="elicitation/create", params={})
    elif name == "cancel_question":
        notify("notifications/cancelled", requestId=arguments["id"])
        text(request, "ok")
    elif name == "withdraw":
        cancelled = {"method": "notifications/cancelled", "params": {"requestId": "q2"}}
        answer = {"id": waiting.pop("hello")["id"], "result": {"content": [], "resultType": "complete"}}
        write("".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in (cancelled, answer)))
        text(request, "ok")
    elif name == "silent":
        pass
    elif name == "exit":
        for step in range(arguments.get("talks", 0)):
            notify("notifications/message", level="info", data=step)
        sys.stderr.write(arguments.get("words", ""))
        sys.stderr.flush()
        if arguments.get("answer"):
            text(request, "my last answer")
        os._exit(arguments.get("status", 0))
    elif name == "close_stdout":
        os.close(1)
        time.sleep(60)
    elif name == "child":
        child = subprocess.Popen(["sleep", "1000"], start_new_session=arguments.get("daemon", False))
        text(request, str(child.pid))
    elif name == "shell":
        subprocess.run(
            ["sh", "-c", arguments["script"]], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        text(request, "done")
    elif name == "environment":
        text(request, json.dumps({"env": dict(os.environ), "cwd": str(Path.cwd()), "argv": sys.argv[1:]}))
    elif name == "endless":
        while True:
            write("x" * 65536)
    elif name == "say":
        sys.stderr.buffer.write(arguments["words"].encode("latin-1"))
        sys.stderr.flush()
        text(request, "said")
    elif name == "subscribed":
        for request_id in (arguments["id"], 98765):
            notify(
                "notifications/resources/updated",
                uri="a://b",
                _meta={"io.modelcontextprotocol/subscriptionId": request_id},
            )
        text(request, "told")
    elif name == "end_subscription":
        notify("notifications/cancelled", requestId=arguments["id"])
        text(request, "ended")


def main() -> None:
    initialized = False
    for line in sys.stdin.buffer:
        message = json.loads(line)
        received.append(message)
        method, is_request = message.get("method"), "id" in message
        if "mute" in MODES:
            continue
        if "noisy" in MODES:
            write("Welcome to our server!\n" * 5)
            sys.stderr.write("what is this?\n")
            sys.stderr.flush()
            continue
        if "rude" in MODES and not initialized and method != "initialize":
            sys.stderr.write("expected initialize\n")
            os._exit(1)
        if method is None:
            asked = waiting.pop(message["id"], None)
            if asked:
                text(asked, json.dumps(message))
        elif method == "server/discover" and "modern" in MODES:
            result(message, supportedVersions=["2026-07-28"], capabilities={"tools": {}}, ttlMs=0, cacheScope="private")
        elif method == "server/discover" and "deaf" in MODES:
            pass
        elif method == "initialize" and "modern" in MODES:
            send(id=message["id"], error={"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}})
        elif method == "initialize":
            initialized = True
            info = {"name": "scripted", "version": "1", "pid": os.getpid()}
            result(message, protocolVersion=VERSION, capabilities={"tools": {}}, serverInfo=info)
        elif method == "notifications/initialized" and "noread" in MODES:
            time.sleep(1000)
        elif method == "notifications/hello":
            text(waiting.pop("hello"), "hello")
        elif method == "tools/call":
            call(message)
        elif method == "subscriptions/listen":
            held.append(message)
        elif is_request:
            send(id=message["id"], error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main()
