"""A server on standard input and output, written without the SDK because a process of it starts in a twentieth of the time.

What it offers is on its command line, and any of its tools does what its arguments say (see `work`). A line that it cannot read ends it.
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
KEYS = {"tools": "name", "resources": "uri", "templates": "uriTemplate", "prompts": "name"}
LISTS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "templates",
    "prompts/list": "prompts",
}
ABSENT = {"legacy": {"server/discover", "subscriptions/listen"}, "modern": {"initialize", "resources/subscribe"}}
held: dict[int, Json] = {}
"""The calls that wait for SIGUSR1 or for being cancelled, with their arguments, and the listen requests."""
done: list[str] = []
"""What calls have done here, by their argument `does`."""
asking: dict[int, Json] = {}
"""The calls that wait for answers to their questions, with their arguments."""


def send(message: Json) -> None:
    # Past Python's buffers, since a signal may come in between.
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def answer(number: Any, result: Json) -> None:
    send({"id": number, "result": ({"resultType": "complete"} if options.era == "modern" else {}) | result})


def choose(method: str) -> None:
    """A server of both eras speaks the one that its client opens with."""
    if options.era == "both":
        options.era = "legacy" if method == "initialize" else "modern"


def finish(number: int, arguments: Json) -> None:
    """The end of a call: what `raw` spells, an error, or who answered."""
    if "raw" in arguments:
        os.write(1, b'{"jsonrpc":"2.0","id":%d,"result":%b}\n' % (number, arguments["raw"].encode()))
    elif "error" in arguments:
        send({"id": number, "error": arguments["error"]})
    else:
        said = {key: arguments[key] for key in ("tag", "answers") if key in arguments}
        if "does" in arguments:
            done.append(arguments["does"])
            said |= {"era": options.era, "done": done}
        seen = {"pid": os.getpid(), "label": options.label, **said}
        answer(number, {"content": [{"type": "text", "text": json.dumps(seen)}], "structuredContent": seen})


def proceed(number: int, arguments: Json, token: Any) -> None:
    """Ask the next round of questions, or wait, or end."""
    answers = arguments.setdefault("answers", [])
    if arguments.get("ask"):
        asking[number] = arguments | {"token": token}
        for method, params in arguments["ask"].pop(0):
            answers.append(None)
            send({"id": f"{number}/{len(answers) - 1}", "method": method, "params": params})
    elif arguments.get("hold"):
        held[number] = arguments
        if token is not None:
            told = {"progressToken": token, "progress": 1, "message": "held"}
            send({"method": "notifications/progress", "params": told})
    else:
        finish(number, arguments)


def answered(message: Json) -> None:
    number, slot = map(int, message["id"].split("/"))
    arguments = asking.get(number, {})
    if arguments:
        arguments["answers"][slot] = message.get("result", message.get("error"))
        if None not in arguments["answers"]:
            proceed(number, asking.pop(number), arguments["token"])


def work(number: int, params: Json) -> None:
    """A call, as its arguments say: `exit`, `say`, a new label (`relabel`), new `tools` and `notify` at once, then `ask`, then `hold`, then its end.

    `ask` is a list of rounds of questions, and a question is a method and its parameters. `late` are questions that come when it is cancelled.
    """
    arguments = params.get("arguments") or {}
    if "exit" in arguments:
        os._exit(arguments["exit"])
    if "say" in arguments:
        os.write(2, arguments["say"].encode() + b"\n")
    if "relabel" in arguments:
        options.label = arguments["relabel"]
    for kind in LISTS.values():
        if kind in arguments:
            offered[kind] = arguments[kind]
    for method, told in arguments.get("notify", ()):
        send({"method": method, "params": told})
    if options.era == "modern" and arguments.get("ask"):
        # The retry has the same arguments; the state holds the answers so far.
        arguments["answers"] = json.loads(params.get("requestState", "[]"))
        arguments["answers"] += (params.get("inputResponses") or {}).values()
        left = len(arguments["answers"])
        while arguments["ask"] and left >= len(arguments["ask"][0]):
            left -= len(arguments["ask"].pop(0))
        if arguments["ask"]:
            asked = {f"k{n}": {"method": what, "params": how} for n, (what, how) in enumerate(arguments["ask"][0])}
            state = json.dumps(arguments["answers"])
            answer(number, {"resultType": "input_required", "inputRequests": asked, "requestState": state})
            return
    proceed(number, arguments, (params.get("_meta") or {}).get("progressToken"))


def release(_signal: int, _frame: Any) -> None:
    """Answer what waits."""
    for number, arguments in list(held.items()):
        if arguments.get("hold"):
            del held[number]
            finish(number, arguments)


def about() -> Json:
    families: Json = {kind: {"listChanged": True} for kind in ("tools", "prompts")}
    families |= {"resources": {"subscribe": True, "listChanged": True}, "logging": {}, "completions": {}}
    return {
        "capabilities": families,
        "serverInfo": {"name": "light", "version": "1"},
        "instructions": options.instructions,
    }


def request(number: Any, method: str, params: Json) -> None:
    if method in options.ignore:
        return
    if method in options.refuse or method in ABSENT[options.era]:
        send({"id": number, "error": {"code": -32601, "message": f"Method not found: {method}"}})
    elif method in options.fail:
        send({"id": number, "error": {"code": -32603, "message": "it broke"}})
    elif method == "server/discover":
        answer(number, {"supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private", **about()})
    elif method == "initialize":
        answer(number, {"protocolVersion": "2025-11-25", **about()})
    elif method in LISTS:
        kind = LISTS[method]
        defined = [{KEYS[kind]: key, "name": key, "description": options.label} for key in offered[kind]]
        if kind == "tools":
            defined = [item | {"inputSchema": {"type": "object"}} for item in defined]
            defined += [json.loads(text) for text in options.define]
        answer(number, {"resourceTemplates" if kind == "templates" else kind: defined})
    elif method == "tools/call":
        work(number, params)
    elif method == "resources/read":
        answer(number, {"contents": [{"uri": params["uri"], "text": options.label}]})
    elif method == "prompts/get":
        answer(number, {"messages": [{"role": "user", "content": {"type": "text", "text": options.label}}]})
    elif method == "subscriptions/listen":
        held[number] = {}
        tag = {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}
        acknowledged = {"notifications": params["notifications"], **tag}
        send({"method": "notifications/subscriptions/acknowledged", "params": acknowledged})
    else:
        answer(number, {})


def main() -> None:
    signal.signal(signal.SIGUSR1, release)
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.dies:
        os.write(2, options.dies.encode() + b"\n")
        sys.exit(3)
    while True:
        for line in sys.stdin.buffer:
            if options.journal:
                with Path(options.journal).open("ab") as journal:
                    journal.write(line)
            if options.silent:
                continue
            message = json.loads(line)
            method, params = message.get("method"), message.get("params") or {}
            if method is None:
                answered(message)
            elif "id" in message:
                choose(method)
                if method == "initialize" and options.broken_handshake and Path(options.broken_handshake).exists():
                    os._exit(3)
                request(message["id"], method, params)
            elif method == "notifications/cancelled":
                asking.pop(params.get("requestId"), None)
                for number, (what, how) in enumerate(held.pop(params.get("requestId"), {}).get("late", ())):
                    send({"id": f"0/{number}", "method": what, "params": how})
        if not options.stubborn:
            return
        signal.pause()


parser = argparse.ArgumentParser(description=__doc__)
for _kind in KEYS:
    parser.add_argument(f"--{_kind}", default="echo" if _kind == "tools" else "", help="what it offers, by commas")
parser.add_argument("--define", action="append", default=[], metavar="JSON", help="a tool that is listed just so")
parser.add_argument("--label", default="", help="told in every answer and description")
parser.add_argument("--instructions", default="")
parser.add_argument("--era", choices=["legacy", "modern", "both"], default="legacy")
parser.add_argument("--journal", help="a file to which every line is written that arrives")
parser.add_argument("--refuse", action="append", default=[], metavar="METHOD", help="a method that it does not have")
parser.add_argument("--fail", action="append", default=[], metavar="METHOD", help="a method that breaks")
parser.add_argument("--ignore", action="append", default=[], metavar="METHOD", help="a method that it never answers")
parser.add_argument("--silent", action="store_true", help="read and never answer")
parser.add_argument("--dies", metavar="WORDS", help="say so on stderr and exit at once")
parser.add_argument("--broken-handshake", metavar="FILE", help="exit at `initialize` as long as the file is there")
parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM and the end of input")

if __name__ == "__main__":
    options = parser.parse_args()
    offered = {kind: [key for key in getattr(options, kind).split(",") if key] for kind in KEYS}
    main()
