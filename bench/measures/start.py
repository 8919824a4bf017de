"""A cold start with ten stdio upstreams: eight ordinary ones, one that needs a second more, one that never answers.

Seconds from the start of the process to its open port; and from the moment at which the slowest upstream that works began to serve to the
first listing that has all of their tools. `list_grace` is 0s: listings are asked for all the while, and answer at once with what there is.
"""

import http.client
import json
import socket
import threading
import time

import msgspec
from bench.arena import Arena, Running
from bench.calls import Calls
from bench.connection import last_event
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort
from bench.processes import NotReady

SLOW = 1.0
TOOLS = 8
WORKING = 9
DEADLINE = 30.0


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By contender: a list of `{port, listing}` in seconds, or `missing`."""
    found: dict = {}
    for name in ("meshproxy", "fastmcp-documented"):
        contender = CONTENDERS[name]
        if name not in wanted or (contender.needs or name) in ground.missing:
            continue
        say(f"  cold start: {name}")
        found[name] = []
        for _ in range(effort.repeats if name == "meshproxy" else 1):
            with Arena(ground) as arena:
                try:
                    found[name].append(once(arena, name))
                except (NotReady, TimeoutError, OSError) as error:
                    found[name].append({"missing": str(error).splitlines()[0]})
    return found


def once(arena: Arena, name: str) -> dict:
    ready = arena.place("ready")
    names = ["bench", *(f"more{number}" for number in range(1, WORKING)), "silent"]
    options = {name: ["--ready", str(ready / name)] for name in names if name != "silent"}
    options["more1"] += ["--slow", str(SLOW)]
    options["silent"] = ["--hang"]
    upstreams = arena.stdio(names, tools=TOOLS, options=options)
    began = time.monotonic()
    running = start(arena, name, upstreams)
    opened = time.monotonic()
    listed = first_whole_listing(running, TOOLS * WORKING)
    slowest = max(float((ready / name).read_text()) for name in options if name != "silent")
    return {"port": opened - began, "upstreams": slowest - began, "listing": listed - slowest}


def start(arena: Arena, name: str, upstreams: dict) -> Running:
    if name != "meshproxy":
        return arena.start(CONTENDERS[name], upstreams)
    from dataclasses import replace

    from bench.contenders import serve_mesh

    def command(ground: Ground, directory, upstreams: dict, port: int) -> list[str]:
        path = directory / "mesh.yaml"
        path.write_text(json.dumps({"server": {"list_grace": "0s"}, "upstreams": upstreams}))
        return serve_mesh(path, port)

    return arena.start(replace(CONTENDERS[name], command=command), upstreams)


def first_whole_listing(running: Running, wanted: int) -> float:
    """Ask every ten milliseconds; the time at which the answer came that had all tools."""
    calls = Calls(running.url, "list", "", modern=True)
    connection = http.client.HTTPConnection("127.0.0.1", running.port)
    connection.connect()
    # A contender that waits for the silent one may keep its answer alive with comments: no timeout between bytes would end that.
    given_up = threading.Timer(DEADLINE, connection.sock.shutdown, [socket.SHUT_RDWR])
    given_up.daemon = True
    given_up.start()
    names = ("Content-Type", "Accept", "MCP-Protocol-Version", "Mcp-Method")
    lines = (line.partition(": ") for line in calls.head().decode().split("\r\n"))
    headers = {name: value for name, _, value in lines if name in names}
    listed = 0
    try:
        while listed < wanted:
            connection.request("POST", "/mcp", calls.body(), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                body = last_event(body)
            listed = len(msgspec.json.decode(body).get("result", {}).get("tools", []))
            came = time.monotonic()
            time.sleep(0.01)
    except (http.client.HTTPException, OSError, msgspec.DecodeError):
        raise TimeoutError(f"{listed} of {wanted} tools were listed in {DEADLINE:.0f} s") from None
    finally:
        given_up.cancel()
        connection.close()
    return came
