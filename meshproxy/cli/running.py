"""`meshproxy status`, `calls`, `logs`, `restart` and `reload`: a mesh that runs, asked over its `/api`."""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import typer

from meshproxy.cli.api_client import ApiClient
from meshproxy.cli.text import show, show_json
from meshproxy.observe.spelling import as_json as spelled
from meshproxy.observe.spelling import named

__all__ = ["calls", "logs", "reload", "restart", "status"]

Json = Mapping[str, Any]
_OFTEN: Final = 0.5
"""Seconds between two looks of `--follow`."""
_EVERY: Final = 1.0
_CLEAR: Final = "\x1b[H\x1b[2J"


def status(target: str, *, watch: bool, headers: Sequence[str], as_json: bool) -> int:
    """How it is; 0 if it is ready, 1 if it is not."""
    client = ApiClient(target, headers)
    while True:
        found = client.get("status")
        if as_json:
            show_json(found)
        else:
            if watch and sys.stdout.isatty():
                typer.echo(_CLEAR, nl=False)
            for line in _lines_of(found):
                show(line)
        if not watch:
            return 0 if found["ready"] else 1
        sys.stdout.flush()
        time.sleep(_EVERY)


def calls(
    target: str,
    *,
    follow: bool,
    limit: int,
    upstream: str | None,
    outcome: str | None,
    headers: Sequence[str],
    as_json: bool,
) -> int:
    """The last ones, oldest first, and then those that are new."""
    client = ApiClient(target, headers)
    last, most = 0, limit
    while True:
        found = client.get("calls", after=last, limit=most, upstream=upstream, outcome=outcome)["calls"]
        for call in reversed(found):
            last = max(last, call["number"])
            if as_json:
                typer.echo(spelled(json.dumps(call, ensure_ascii=False)))
            else:
                show(_line_of(call))
        if not follow:
            return 0
        most = 1000
        sys.stdout.flush()
        time.sleep(_OFTEN)


def logs(name: str, target: str, *, follow: bool, headers: Sequence[str], as_json: bool) -> int:
    """What it wrote, and then what is new."""
    client = ApiClient(target, headers)
    told = 0
    while True:
        found = client.get("logs", name)
        lines, count = found["lines"], found["count"]
        # One that was started anew counts anew.
        fresh = lines if count < told else lines[max(0, len(lines) - (count - told)) :]
        told = count
        for line in fresh:
            if as_json:
                typer.echo(spelled(json.dumps(line, ensure_ascii=False)))
            else:
                show(named(line))
        if not follow:
            return 0
        sys.stdout.flush()
        time.sleep(_OFTEN)


def restart(name: str, target: str, *, headers: Sequence[str], as_json: bool) -> int:
    """Start it anew."""
    found = ApiClient(target, headers).post("upstreams", name, "restart")
    if as_json:
        show_json(found)
    elif found["outcome"] == "restarted":
        show(f"{name} was started anew in {found['seconds']:g} s")
    else:
        show(f"{name} is being started anew; meshproxy status says how it is")
    return 0


def reload(target: str, *, headers: Sequence[str], as_json: bool) -> int:
    """Read the file again; 1 if it was rejected."""
    found = ApiClient(target, headers).post("reload")
    edit = found["edit"] or {}
    if as_json:
        show_json(found)
    else:
        show(f"the file is {found['outcome']}")
        for problem in edit.get("problems", ()):
            show(f"  {named(_problem(problem))}")
        for what in ("started", "retired"):
            if edit.get(what):
                show(f"  {what}: {', '.join(edit[what])}")
        for name, reason in edit.get("failed", {}).items():
            show(f"  {name} did not start: {named(reason)}")
        if edit.get("restart_required"):
            show(f"  in force when the mesh is started again: {', '.join(edit['restart_required'])}")
    return 1 if found["outcome"] == "rejected" else 0


def _problem(problem: Any) -> str:
    if not isinstance(problem, Mapping):
        return str(problem)
    place = ":".join(str(problem[key]) for key in ("file", "line", "column") if problem.get(key) is not None)
    hint = f"; {problem['hint']}" if problem.get("hint") else ""
    return f"{place}: {problem.get('key') or ''} {problem.get('message')}{hint}"


def _lines_of(found: Json) -> Iterable[str]:
    """The status as a table."""
    upstreams = found["upstreams"]
    up = sum(one["state"] in ("up", "idle") for one in upstreams)
    enabled = sum(one["enabled"] for one in upstreams)
    word = "ready" if found["ready"] else "not ready"
    yield f"{named(found['name'])} {found['version']}: {word}, {up} of {enabled} upstreams, {found.get('sessions', 0)} sessions"
    rows = [("UPSTREAM", "STATE", "SINCE", "CALLS", "REASON")]
    for one in upstreams:
        reason = one.get("reason", "")
        if one.get("next_attempt"):
            reason += f" (next attempt {_time(one['next_attempt'])})"
        since = _time(one["since"]) if one.get("since") else ""
        rows.append((one["name"], one.get("phase") or one["state"], since, str(one.get("calls", "")), reason))
    yield from _table(rows)


def _line_of(call: Json) -> str:
    """A call in one line."""
    at = datetime.fromtimestamp(call["at"]).astimezone().strftime("%H:%M:%S")
    what = f"{call['method']} {call.get('name', '')}".strip()
    who = call.get("principal", "")
    error = " ".join(str(call[key]) for key in ("error", "reason") if call.get(key))
    facts = (f"{call['seconds'] * 1000:8.1f} ms", call.get("upstream", ""), who, call.get("client", ""), error)
    return named(f"{at} {call['outcome']:7} {what}  {'  '.join(fact for fact in facts if fact)}")


def _time(stamp: str) -> str:
    return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S")


def _table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(len(named(row[place])) for row in rows) for place in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [named(cell).ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join((*cells, named(row[-1]))).rstrip()
