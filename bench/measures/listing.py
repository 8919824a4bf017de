"""`tools/list` of 1,000 tools over ten upstreams, beside nginx sending the same bytes as a file, with 4 clients."""

from pathlib import Path
from urllib.request import Request, urlopen

import msgspec
from bench.arena import Arena, Running
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, rounds

UPSTREAMS, TOOLS, CLIENTS = 10, 100, 4


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By era: samples by contender, each with the number of `tools` and the `bytes` of the listing."""
    names = [name for name in wanted if CONTENDERS[name].kinds == ("http", "stdio")]
    found = {}
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", *(f"more{number}" for number in range(1, UPSTREAMS))], tools=TOOLS)
        running = start_all(arena, ground, names, dict.fromkeys(names, upstreams))
        for name, contender in list(running.items()):
            if arena.wait_for_listing(contender, UPSTREAMS * TOOLS) < UPSTREAMS * TOOLS:
                say(f"  {name} does not list them all")
                del running[name]
        file = None
        if "nginx" in wanted:
            file = start_all(arena, ground, ["nginx"], {"nginx": upstreams}).get("nginx")
        for era in ("legacy", "modern"):
            entries = []
            if file is not None:
                same_bytes(file, running, era)
                load = f"file {era}"
                where = file.url.replace("/mcp", f"/listing-{era}.json")
                arena.load.job("open", load, url=where, era=era, clients=CLIENTS, call="file")
                entries.append(Entry("nginx", load, file))
            for name, contender in running.items():
                if era in contender.contender.eras:
                    load = f"{name} {era} list"
                    arena.open(contender, load, era, CLIENTS, "list")
                    # A listing of a thousand tools takes every peer long.
                    entries.append(Entry(name, load, contender, slow=not name.startswith("meshproxy")))
            say(f"  listing, {era}")
            found[era] = rounds(arena, entries, effort.rounds, effort.seconds)
            for entry in entries:
                arena.load.job("close", entry.load)
    return found


def same_bytes(file: Running, running: dict[str, Running], era: str) -> None:
    """Put the mesh's own answer where nginx finds it; without a mesh, a listing of that size."""
    mesh = running.get("meshproxy")
    body = fetch(mesh, era) if mesh else msgspec.json.encode({"result": {"tools": sample()}})
    Path(file.directory, f"listing-{era}.json").write_bytes(body)


def sample() -> list[dict]:
    from bench.upstream import tools

    return [tool | {"name": f"more{number}_{tool['name']}"} for number in range(UPSTREAMS) for tool in tools(TOOLS)]


def fetch(mesh: Running, era: str) -> bytes:
    """One listing as the mesh answers it."""
    from bench.calls import INITIALIZE, INITIALIZED, Calls
    from bench.connection import last_event

    def post(body: bytes, head: bytes) -> tuple[bytes, str | None]:
        lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:] if line)
        headers = {name: value for name, _, value in lines if name not in ("Host", "Content-Length")}
        with urlopen(Request(mesh.url, body, headers), timeout=60) as answer:
            said = answer.read()
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                said = last_event(said)
            return said, answer.headers["Mcp-Session-Id"]

    calls = Calls(mesh.url, "list", "", modern=era == "modern")
    headers = ""
    if era == "legacy":
        _, session = post(INITIALIZE, calls.post("", 0))
        headers = f"Mcp-Session-Id: {session}\r\n"
        post(INITIALIZED, calls.post(headers, 0))
    return post(calls.body(), calls.head(headers))[0]
