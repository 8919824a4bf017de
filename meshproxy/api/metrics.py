"""`MetricsPage`: `GET /metrics`, for Prometheus and what reads its format. Place: api.

What was counted of requests is in `meshproxy.observe.metrics`; how the mesh and its upstreams are is looked at when somebody reads. A reading of many series is written in
pieces, between which the loop goes on with its work. docs/operate.md has the table of the names.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

from meshproxy.api.answers import refuse
from meshproxy.guard.breaker import State as BreakerState
from meshproxy.http.stream import Receive, Scope, Send
from meshproxy.kinds import KINDS
from meshproxy.links.usage import Usage, usage
from meshproxy.mesh.edits import Edit
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe import process
from meshproxy.observe.exposition import Writer, wants_open_metrics
from meshproxy.observe.lag import Lag
from meshproxy.observe.metrics import Family, Metrics
from meshproxy.serving.private import Private
from meshproxy.supervision.states import State

__all__ = ["MetricsPage"]

_PATH: Final = "/metrics"
_PIECE: Final = 100
"""Histograms that are written in one go."""
_PROCESS: Final[Mapping[str, tuple[Any, str]]] = {
    "process_cpu_seconds": ("counter", "Seconds of CPU that the mesh itself has used."),
    "process_resident_memory_bytes": ("gauge", "Bytes that the mesh itself has in memory."),
    "process_virtual_memory_bytes": ("gauge", "Bytes of its address space."),
    "process_start_time_seconds": ("gauge", "When it was started, in seconds since 1970."),
    "process_open_fds": ("gauge", "Descriptors that it has open."),
    "process_max_fds": ("gauge", "Descriptors that it may have open."),
}


class MetricsPage:
    """See the module.

    Args:
        mesh: what is looked at.
        metrics: what was counted.

    Attributes:
        statistics: what the endpoint says of its sessions and requests. Whoever serves sets it.
        shared: what is said of the store that replicas share; nothing where there is none. Likewise.
        lag: how late the loop is. Whoever serves starts it, and stops it.
    """

    def __init__(self, mesh: Mesh, metrics: Metrics) -> None:
        self.statistics: Callable[[], Mapping[str, int]] = dict
        self.shared: Callable[[], Mapping[str, float]] = dict
        self.lag = Lag()
        self._mesh = mesh
        self._metrics = metrics
        self._edits = {("applied", "file"): 0, ("applied", "restart"): 0, ("rejected", "file"): 0}
        self._last_applied = 0.0
        self._is_good = True
        mesh.edits.on_edit(self._on_edit)

    def has(self, path: str) -> bool:
        """See `meshproxy.serving.annex.Annex`."""
        return path == _PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same as an application, for an address of its own: whoever reaches that may read it."""
        if scope["type"] != "http":
            return
        if self.has(scope["path"]):
            await self._answer(scope, send)
        else:
            await refuse(send, 404, f"Not found. There is {_PATH}")

    async def serve(self, scope: Scope, receive: Receive, send: Send, private: Private) -> None:  # an `Annex`
        """See `meshproxy.serving.annex.Annex`."""
        refusal = await private.refusal(scope, "view")
        if refusal is not None:
            await refuse(send, refusal.status, refusal.message, refusal.headers)
        else:
            await self._answer(scope, send)

    async def _answer(self, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await refuse(send, 405, "Method not allowed; use GET", ((b"allow", b"GET, HEAD"),))
            return
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        writer = Writer(open_metrics=wants_open_metrics(accept))
        headers = [(b"content-type", writer.content_type), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "GET":

            async def tell() -> None:
                await send({"type": "http.response.body", "body": writer.taken(), "more_body": True})
                await asyncio.sleep(0)

            await self._write(writer, tell)
        await send({"type": "http.response.body", "body": writer.end() if scope["method"] == "GET" else b""})

    def _on_edit(self, edit: Edit) -> None:
        outcome = "applied" if edit.is_applied else "rejected"
        key = (outcome, edit.cause)
        self._edits[key] = self._edits.get(key, 0) + 1
        self._is_good = edit.is_applied
        if edit.is_applied:
            self._last_applied = edit.at

    # --- what is written

    async def _write(self, writer: Writer, tell: Callable[[], Awaitable[None]]) -> None:
        metrics = self._metrics
        about = "How long requests of clients took at the mesh, in seconds."
        await _histograms(writer, tell, "mcp_server_operation_duration_seconds", about, metrics.served)
        about = "How long upstreams took to answer what was carried to them for clients, in seconds."
        await _histograms(writer, tell, "mcp_client_operation_duration_seconds", about, metrics.carried)
        name = "mcp_server_session_duration_seconds"
        writer.family(name, "histogram", "How long sessions of clients of the legacy era lasted, in seconds.")
        writer.histogram(name, metrics.server_sessions, {})
        name = "mcp_client_session_duration_seconds"
        writer.family(
            name, "histogram", "How long sessions of the mesh with upstreams of the legacy era lasted, in seconds."
        )
        for upstream, found in list(metrics.client_sessions.items()):
            writer.histogram(name, found, {"upstream": upstream})
        await tell()
        self._write_requests(writer)
        await tell()
        self._write_upstreams(writer)
        await tell()
        await self._write_programs(writer)
        self._write_mesh(writer)

    def _write_requests(self, writer: Writer) -> None:
        writer.family("meshproxy_requests", "counter", "Requests that have ended, by method and outcome.")
        outcomes: dict[tuple[str, str], int] = {}
        for series in self._metrics.served:
            for outcome, count in series.outcomes.items():
                key = (series.method, outcome)
                outcomes[key] = outcomes.get(key, 0) + count
        for (method, outcome), count in outcomes.items():
            writer.sample("meshproxy_requests_total", count, {"mcp_method_name": method, "outcome": outcome})
        writer.family(
            "meshproxy_upstream_limited", "counter", "Calls that a limit or the breaker of an upstream held back."
        )
        for (upstream, limit), count in self._metrics.limited.items():
            writer.sample("meshproxy_upstream_limited_total", count, {"upstream": upstream, "limit": limit})
        statistics = self.statistics()
        writer.family("meshproxy_sessions", "gauge", "Sessions of clients of the legacy era that are open.")
        writer.sample("meshproxy_sessions", statistics.get("sessions", 0))
        writer.family(
            "meshproxy_requests_in_flight", "gauge", "Requests that are not answered yet, by the era of their client."
        )
        for era in ("legacy", "modern"):
            writer.sample("meshproxy_requests_in_flight", statistics.get(f"{era}_requests", 0), {"era": era})

    def _write_upstreams(self, writer: Writer) -> None:
        states = self._mesh.status()
        writer.family("meshproxy_upstream_up", "gauge", "Whether an upstream can be used.")
        for name, status in states.items():
            writer.sample("meshproxy_upstream_up", status["state"] in ("up", "idle"), {"upstream": name})
        writer.family(
            "meshproxy_upstream_state", "gauge", "1 for the state that an upstream is in, of the eight that there are."
        )
        for name, status in states.items():
            for state in State:
                writer.sample("meshproxy_upstream_state", status["phase"] == state, {"upstream": name, "state": state})
        writer.family(
            "meshproxy_upstream_entered",
            "counter",
            "How often an upstream came into a state since it was configured as it is.",
        )
        for mounted in self._mesh.composite.mounted:
            for state in State:
                labels = {"upstream": mounted.mount.name, "state": str(state)}
                writer.sample("meshproxy_upstream_entered_total", mounted.provider.entered[state], labels)
        for key, metric, about in (
            ("calls", "meshproxy_upstream_calls_in_flight", "Calls that an upstream has not answered yet, those in its queue included."),
            ("queued", "meshproxy_upstream_queued", "Calls that wait for their turn at an upstream."),
            ("failures", "meshproxy_upstream_failures_in_a_row", "How often an upstream could not be reached, in a row."),
            ("sessions", "meshproxy_upstream_sessions", "Connections to an upstream that are a client session's own."),
            ("connections", "meshproxy_upstream_connections", "TCP connections to an upstream."),
        ):  # fmt: skip
            writer.family(metric, "gauge", about)
            for name, status in states.items():
                if key in status or key == "failures":
                    writer.sample(metric, status.get(key, 0), {"upstream": name})
        writer.family(
            "meshproxy_upstream_breaker",
            "gauge",
            "1 for the state that the breaker of an upstream is in, where it has one.",
        )
        for name, status in states.items():
            for each in BreakerState if "breaker" in status else ():
                labels = {"upstream": name, "state": str(each)}
                writer.sample("meshproxy_upstream_breaker", status["breaker"] == each, labels)
        writer.family("meshproxy_upstream_components", "gauge", "What an upstream offers, by kind.")
        for part in self._mesh.composite.snapshot.parts:
            for kind, row in KINDS.items():
                labels = {"upstream": part.member.mount.name, "kind": row.plural}
                writer.sample("meshproxy_upstream_components", len(part.routes[kind]), labels)

    async def _write_programs(self, writer: Writer) -> None:
        """What commands cost: the table of processes is read beside the loop, as it takes some milliseconds."""
        pids = {name: status["pids"] for name, status in self._mesh.status().items() if "pids" in status}
        found = await asyncio.to_thread(usage) if pids else {}
        used = {name: [found[pid] for pid in ids if pid in found] for name, ids in pids.items()}
        for metric, about, value in _PROGRAMS:
            writer.family(metric, "gauge", about)
            for name, programs in used.items():
                writer.sample(metric, value(programs), {"upstream": name})

    def _write_mesh(self, writer: Writer) -> None:
        writer.family(
            "meshproxy_reloads", "counter", "Edits of the config and restarts of upstreams, by what became of them."
        )
        for (outcome, cause), count in self._edits.items():
            writer.sample("meshproxy_reloads_total", count, {"outcome": outcome, "cause": cause})
        writer.family("meshproxy_config_good", "gauge", "0 while the last edit is one that was rejected.")
        writer.sample("meshproxy_config_good", self._is_good)
        writer.family(
            "meshproxy_config_applied_timestamp_seconds",
            "gauge",
            "When an edit came in force last, in seconds since 1970; 0 for none.",
        )
        writer.sample("meshproxy_config_applied_timestamp_seconds", self._last_applied)
        writer.family("meshproxy_ready", "gauge", "Whether every required upstream is up.")
        writer.sample("meshproxy_ready", self._mesh.is_ready)
        shared = self.shared()
        for key, kind, about in _SHARED if shared else ():
            name = f"meshproxy_cluster_{key}"
            writer.family(name, kind, about)
            writer.sample(f"{name}_total" if kind == "counter" else name, shared[key])
        writer.family(
            "meshproxy_loop_lag_seconds",
            "histogram",
            "How late the event loop came to what was due; looked at once a second.",
        )
        writer.histogram("meshproxy_loop_lag_seconds", self.lag.late, {})
        writer.family("meshproxy_build_info", "gauge", "1, and which version this is.")
        writer.sample("meshproxy_build_info", 1, {"version": version("meshproxy")})
        for name, value in process.usage().items():
            kind, about = _PROCESS[name]
            writer.family(name, kind, about)
            writer.sample(f"{name}_total" if kind == "counter" else name, value)


def _processes(programs: Iterable[Usage]) -> float:
    return sum(program.processes for program in programs)


def _memory(programs: Iterable[Usage]) -> float:
    return sum(program.memory for program in programs)


def _cpu(programs: Iterable[Usage]) -> float:
    return sum(program.cpu for program in programs)


_PROGRAMS: Final = (
    ("meshproxy_upstream_processes", "Processes of a command and of what it has started.", _processes),
    (
        "meshproxy_upstream_memory_bytes",
        "Bytes that they have in memory; what they share is counted for each.",
        _memory,
    ),
    ("meshproxy_upstream_cpu_seconds", "Seconds of CPU that those which run have used.", _cpu),
)


_SHARED: Final[tuple[tuple[str, Any, str], ...]] = (
    ("store_up", "gauge", "Whether the store that replicas share answers."),
    ("store_losses", "counter", "How often it went away."),
    ("processes", "gauge", "Processes of all replicas that the store knows of."),
)


async def _histograms(
    writer: Writer, tell: Callable[[], Awaitable[None]], name: str, about: str, family: Family
) -> None:
    writer.family(name, "histogram", about)
    written = 0
    for series in list(family):
        for error, found in list(series.ended.items()):
            labels = {
                "mcp_method_name": series.method,
                "gen_ai_tool_name": series.name if series.method == "tools/call" else "",
                "gen_ai_prompt_name": series.name if series.method == "prompts/get" else "",
                "error_type": error,
                "upstream": series.upstream,
            }
            writer.histogram(name, found, labels)
            written += 1
            if written % _PIECE == 0:
                await tell()
