"""Reload under load: calls to an upstream that no edit touches, while the config file is edited five times a second and while it is not."""

import json
import threading
from typing import Self

from bench.arena import Arena, Running
from bench.contenders import CONTENDERS
from bench.ground import Ground, say
from bench.measures.plan import Effort, start_all
from bench.rounds import Entry, slice_of

CLIENTS = 16
EVERY = 0.2


def measure(ground: Ground, wanted: list[str], effort: Effort) -> dict:
    """By era: samples `quiet` and `edited`, in turns, the latter with the number of `edits` and of the `reloads` that came of them."""
    if "meshproxy" not in wanted:
        return {}
    found: dict = {}
    with Arena(ground) as arena:
        upstreams = arena.http(["bench", "other"])
        started = start_all(arena, ground, ["meshproxy"], {"meshproxy": upstreams})
        if not started:
            return {}
        running = started["meshproxy"]
        for era in CONTENDERS["meshproxy"].eras:
            say(f"  reload under load, {era}")
            arena.open(running, era, era, CLIENTS, "small")
            entry = Entry("meshproxy", era, running)
            found[era] = {"quiet": [], "edited": []}
            for number in range(effort.rounds):
                found[era]["quiet"].append(slice_of(arena, entry, 2 * effort.seconds) | {"round": number})
                before = reloads(running)
                with Editor(running, upstreams) as editor:
                    sample = slice_of(arena, entry, 2 * effort.seconds)
                made = {"edits": editor.edits, "reloads": reloads(running) - before}
                found[era]["edited"].append(sample | {"round": number} | made)
            arena.load.job("close", era)
    return found


def reloads(running: Running) -> int:
    return (running.directory / "log").read_text().count("config.reloaded")


class Editor(threading.Thread):
    """Adds, changes and removes the upstreams that are not called, by writing the file anew and renaming it."""

    def __init__(self, running: Running, upstreams: dict) -> None:
        super().__init__()
        self.path = running.directory / "mesh.yaml"
        self.original = self.path.read_text()
        self.upstreams = upstreams
        self.edits = 0
        self.over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.join()
        self.write(self.original)

    def run(self) -> None:
        other = self.upstreams["other"]
        bench = {"bench": self.upstreams["bench"]}
        texts = [
            bench | {"other": other},
            bench,
            bench | {"other": other | {"namespace": "another"}},
            bench | {"added": other},
        ]
        while not self.over.wait(EVERY):
            self.edits += 1
            self.write(json.dumps({"upstreams": texts[self.edits % len(texts)]}))

    def write(self, text: str) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(text)
        part.replace(self.path)
