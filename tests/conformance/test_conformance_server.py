"""The official suite against servers: directly, on this project's transports, and through the mesh in front of them.

Whatever passes directly passes everywhere else, but for what `IMPOSSIBLE` names with its reason.
"""

import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from tests.kit.node import conformance, needs_node
from tests.kit.places import ROOT
from tests.kit.program import serve
from tests.kit.running import Running
from tests.kit.waiting import DEADLINE

pytestmark = needs_node

PASSED = {"2025-06-18": 56, "2025-11-25": 84, "2026-07-28": 152}
"""How many checks there are at each revision, and how many of them the conformance server passes directly."""

NO_KEY = "the suite answers under a key that it knows beforehand, and a question of the legacy era has none"
NO_CAPABILITIES = "a legacy server learns what its client can do once, from the mesh, and never of a single request"
OF_ONE = "a process of the call's own says that its listings changed, and those of the process that is listed did not"
IMPOSSIBLE: dict[tuple[str, str], dict[str, str]] = {
    ("legacy", "2026-07-28"): {
        "input-required-result-basic-elicitation/sep-2322-elicitation-incomplete": NO_KEY,
        "input-required-result-basic-elicitation/sep-2322-elicitation-complete": NO_KEY,
        "input-required-result-ignore-extra-params/sep-2322-ignore-unexpected-params": NO_KEY,
        "server-stateless/sep-2575-server-rejects-undeclared-capability": NO_CAPABILITIES,
        "server-stateless/sep-2575-missing-capability-http-400": NO_CAPABILITIES,
    },
    ("legacy over stdio", "2026-07-28"): {
        "server-stateless/sep-2575-server-sends-tools-list-changed-on-subscription": OF_ONE,
        "server-stateless/sep-2575-server-sends-prompts-list-changed-on-subscription": OF_ONE,
    },
}
"""What cannot be carried from a server of one era only, by its era and the client's revision."""

IMPATIENT = "failed to yield frame structures"
"""What the suite says of an answer that took more than half a second, in which a busy machine may not have started a process."""
SESSIONS = ("2025-06-18", "2025-11-25")
NOT_THEIRS = "tasks-"
"""Scenarios about an extension that these servers have not. Some of their checks pass by what a server says of a tool that it does not know."""
CELLS = {
    # One revision of each era tells whether it needs the other.
    "stdio, modern": ("stdio", "modern", "auto", ("2025-06-18", "2026-07-28")),
    "http, modern": ("http", "modern", "auto", ("2025-06-18", "2026-07-28")),
    "http, legacy": ("http", "legacy", "auto", tuple(PASSED)),
    "stdio, legacy, sessions": ("stdio", "legacy", "auto", SESSIONS),
    # Clients without a session would have to call one by one, and the suite leaves calls that ask behind.
    "stdio, legacy, no sessions": ("stdio", "legacy", "auto", ("2026-07-28",)),
}
"""What is between the mesh and the server, the server's era, the upstream's `session`, and the revisions of the clients."""


@pytest.mark.parametrize("server", ["conformance", "in_process"])
def test_every_check_passes_on_the_transports_of_the_sdk_and_on_our_own(
    shared_server: Callable[..., Running], tmp_path: Path, server: str
) -> None:
    for version, checks in run(shared_server(server).url, tmp_path, tuple(PASSED)).items():
        assert lost(checks, {}) == {}, version
        assert statuses(checks)["SUCCESS"] == PASSED[version], version


@pytest.mark.parametrize("cell", CELLS)
def test_what_passes_directly_passes_through_the_mesh(
    shared_server: Callable[..., Running], tmp_path: Path, cell: str
) -> None:
    transport, era, session, versions = CELLS[cell]
    with mesh(shared_server, tmp_path, transport, era, session=session) as url:
        # Of clients that share a process, none may call while another does: nobody could tell whom it asks, or who is to hear its log lines.
        results = run(url, tmp_path, versions, at_once=1 if transport == "stdio" else 3)
    for version, checks in results.items():
        impossible = IMPOSSIBLE.get((era, version), {}) | IMPOSSIBLE.get((f"{era} over {transport}", version), {})
        assert lost(checks, impossible) == {}, version
        missing = PASSED[version] - statuses(checks)["SUCCESS"]
        assert missing == len([check for check in impossible if checks.get(check) != "SUCCESS"]), version


@pytest.mark.parametrize(
    ("server", "transport", "versions"),
    [
        ("everything", "http", (*PASSED, None)),
        ("everything_fastmcp", "http", (*PASSED, None)),
        # The suite's sessions come one after the other, and it waits for ten seconds where a stream might be closed, and over pipes none is.
        ("everything", "stdio", ("2025-06-18", "2026-07-28")),
        ("everything", "stdio", ("2025-11-25",)),
        ("everything", "stdio", (None,)),
    ],
)
def test_in_front_of_a_server_of_both_eras_the_mesh_loses_nothing_that_passes_directly(
    shared_server: Callable[..., Running], tmp_path: Path, server: str, transport: str, versions: tuple[str | None, ...]
) -> None:
    """A version of None is each scenario at its own."""
    direct = run(shared_server(server).url, tmp_path / "direct", versions)
    with mesh(shared_server, tmp_path, transport, "dual", server=server, session="auto") as url:
        through = run(url, tmp_path / "through", versions, at_once=1 if transport == "stdio" else 3)
    for version, checks in direct.items():
        passed = [check for check, status in checks.items() if status == "SUCCESS" and not check.startswith(NOT_THEIRS)]
        assert {
            check: through[version].get(check) for check in passed if through[version].get(check) != "SUCCESS"
        } == {}
        if server == "everything" and version in PASSED:
            assert len(passed) == PASSED[version]


def run(url: str, folder: Path, versions: tuple[str | None, ...], at_once: int = 3) -> dict[str | None, dict[str, str]]:
    """The checks of each revision. Most of the time the suite waits, so the revisions wait together."""

    def checks(version: str | None) -> dict[str, str]:
        found = conformance(url, version, folder / str(version))
        if any(IMPATIENT in status for status in found.values()):
            found = conformance(url, version, folder / f"{version} again")
        return found

    with ThreadPoolExecutor(at_once) as threads:
        return dict(zip(versions, threads.map(checks, versions), strict=True))


def statuses(checks: dict[str, str]) -> Counter[str]:
    return Counter(status.split(":")[0] for status in checks.values())


def lost(checks: dict[str, str], impossible: dict[str, str]) -> dict[str, str]:
    """The checks that should have passed and did not, and those that were said to be impossible and are not."""
    fine = ("SUCCESS", "INFO")
    failed = {name: status for name, status in checks.items() if not status.startswith(fine) and name not in impossible}
    stale = {name: reason for name, reason in impossible.items() if checks.get(name) == "SUCCESS"}
    return failed | stale


@contextlib.contextmanager
def mesh(
    shared_server: Callable[..., Running],
    folder: Path,
    transport: str,
    era: str,
    *,
    server: str = "conformance",
    session: str,
) -> Iterator[str]:
    """A mesh with a server as its only upstream, without a prefix; its URL."""
    only: dict[str, Any]
    if transport == "http":
        only = {"url": shared_server(server, era=era).url}
    else:
        socket = shared_server("nursery", server, era=era).url
        only = {"command": sys.executable, "args": ["-IS", str(ROOT / "tests" / "servers" / "born.py"), socket]}
    config = folder / f"{transport}.yaml"
    config.write_text(yaml.safe_dump({"upstreams": {server: {**only, "session": session, "namespace": ""}}}))
    with serve(config, config.with_suffix(".log")) as served:
        served.await_event("upstream.up")
        yield served.url


def test_the_conformance_server_keeps_the_events_of_sessions_apart(shared_server: Callable[..., Running]) -> None:
    # Otherwise a client that comes back for the rest of its call is told the answer to another's, now and then.
    server = shared_server("conformance", era="legacy")
    ours, theirs = (session(server) for _ in range(2))
    ((place, _),) = events(server.url, ours, call("test_reconnection"))
    *_, (_, refusal) = events(server.url, theirs, call("test_error_handling"))
    rest = events(server.url, {**ours, "last-event-id": place})
    answer = next(data for _, data in rest if data is not None)
    assert [refusal["result"]["isError"], answer["result"].get("isError", False)] == [True, False]


def session(server: Running) -> dict[str, str]:
    """A legacy session of a server: the headers of its requests."""
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-11-25"}
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
    message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
    answer = httpx2.post(server.url, json=message, headers=headers, timeout=DEADLINE)
    headers["mcp-session-id"] = answer.headers["mcp-session-id"]
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    httpx2.post(server.url, json=initialized, headers=headers, timeout=DEADLINE)
    return headers


def call(tool: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


def events(url: str, headers: dict[str, str], message: dict[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """The events of a stream as they come: id, and data if there is any."""
    verb = "GET" if message is None else "POST"
    with httpx2.stream(verb, url, json=message, headers=headers, timeout=DEADLINE) as response:
        lines = iter(response.iter_lines())
        while event := dict(line.partition(": ")[::2] for line in itertools.takewhile(bool, lines)):
            if "id" in event:
                yield event["id"], json.loads(event["data"]) if event.get("data") else None
