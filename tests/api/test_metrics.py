"""`/metrics` is what its readers take, says what a client counted, and is for those who may read it."""

import asyncio
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from meshproxy.cli.measuring import measured, own_sockets
from meshproxy.cli.ports import Ports
from meshproxy.config.models import MeshConfig
from meshproxy.errors import RpcError
from meshproxy.http.server import Http1Server
from meshproxy.mesh.mesh import Mesh
from meshproxy.observe.metrics import MAX_NAMES
from meshproxy.serving.fastmcp import FastMCP
from meshproxy.serving.http import HttpApp, HttpSettings
from tests.kit.clients import Legacy, Modern
from tests.kit.light import light
from tests.kit.messages import call, heads, modern
from tests.kit.sockets import listener
from tests.kit.waiting import DEADLINE

pytestmark = pytest.mark.anyio

UPSTREAM = light("--tools", ",".join(f"t{number}" for number in range(5)), breaker={}, limits={"concurrency": 4})


class Measured:
    def __init__(self, server: FastMCP, mesh: Mesh, http: httpx2.AsyncClient, url: str) -> None:
        self.server, self.mesh, self.http, self.url = server, mesh, http, url

    async def read(self, accept: str = "*/*", url: str = "") -> str:
        response = await self.http.get(url or f"{self.url}/metrics", headers={"accept": accept})
        assert response.status_code == 200
        return response.text


def samples(text: str) -> dict[str, float]:
    """What was read, by name and labels as they are written."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@contextlib.asynccontextmanager
async def metered(upstreams: Any = None, **server: Any) -> AsyncIterator[Measured]:
    config = MeshConfig.model_validate({"server": server, "upstreams": upstreams or {"a": UPSTREAM}})
    serving = FastMCP("m")
    mesh = Mesh(config, serving.composite, serving.stamp, serving.take)
    own = own_sockets(config.server, Ports(None))
    mesh.start()
    async with asyncio.timeout(DEADLINE):
        await mesh.settled()
    with contextlib.closing(listener()) as listening:
        async with measured(serving, mesh, config.server, own) as page, httpx2.AsyncClient() as http:
            annexes = () if page is None or own else (page,)
            app = HttpApp(serving, HttpSettings(), entrance=serving.entrance, annexes=annexes)
            if page is not None:
                page.statistics = app.statistics
            endpoint = Http1Server(app)
            await endpoint.start([listening])
            yield Measured(serving, mesh, http, f"http://127.0.0.1:{listening.getsockname()[1]}")
            await app.aclose()
            await endpoint.aclose(DEADLINE)
    await serving.aclose()
    await mesh.aclose()


def checked(text: str) -> None:
    """Raise unless what was read is as Prometheus wants it: by its own check where there is one, by its rules in any case."""
    if promtool := shutil.which("promtool"):
        told = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert (told.returncode, told.stdout + told.stderr) == (0, "")
    families: dict[str, str] = {}
    current = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ", 3)[2]
            assert current not in families, "each family stands together"
            assert line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            families[current] = line.split(" ")[3]
            assert line.split(" ")[2] == current
            assert current.endswith("_total") is (families[current] == "counter")
        else:
            found = re.fullmatch(r'([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? [0-9.e+-]+', line)
            assert found, line
            name = re.sub("_(bucket|sum|count)$", "", found[1]) if families[current] == "histogram" else found[1]
            assert name == current, line
    assert len(samples(text)) == sum(not line.startswith("#") for line in text.splitlines())


async def test_what_is_read_is_as_prometheus_wants_it() -> None:
    async with metered() as it:
        await Modern(it.server).request("tools/call", {"name": "a_t0", "arguments": {}})
        session = Legacy(it.server)
        await session.request("tools/list")
        session.close()
        text = await it.read()
        checked(text)
        found = samples(text)
        assert found['meshproxy_upstream_up{upstream="a"}'] == 1
        assert found['meshproxy_upstream_state{upstream="a",state="up"}'] == 1
        assert found['meshproxy_upstream_entered_total{upstream="a",state="up"}'] == 1
        assert found['meshproxy_upstream_queued{upstream="a"}'] == 0
        assert found['meshproxy_upstream_breaker{upstream="a",state="closed"}'] == 1
        assert found['meshproxy_upstream_components{upstream="a",kind="tools"}'] == 5
        assert found['meshproxy_upstream_processes{upstream="a"}'] == 1
        assert found['meshproxy_upstream_memory_bytes{upstream="a"}'] > 1_000_000
        assert found["mcp_server_session_duration_seconds_count"] == 1
        assert found["meshproxy_ready"] == found["meshproxy_config_good"] == 1
        assert 'meshproxy_build_info{version="' in text


async def test_openmetrics_is_for_those_who_want_it_and_says_where_it_ends() -> None:
    async with metered() as it:
        text = await it.read("application/openmetrics-text; version=1.0.0")
        assert text.endswith("\n# EOF\n")
        assert "# TYPE meshproxy_reloads counter\n" in text
        head = await it.http.head(f"{it.url}/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/plain; version=0.0.4")
        refused = await it.http.post(f"{it.url}/metrics", headers={"x-meshproxy": "1"})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


async def test_the_numbers_are_those_that_a_client_counted() -> None:
    async with metered() as it:
        counted = {"good": 0, "unknown": 0}

        async def over_http(number: int) -> None:
            message, headers = modern(call(f"a_t{number % 7}"))
            answer = await it.http.post(f"{it.url}/mcp", json=message, headers=heads(**headers))
            counted["good" if "result" in answer.json() else "unknown"] += 1

        async def in_a_session(number: int) -> None:
            try:
                await Legacy(it.server).request("tools/call", {"name": f"a_t{number % 7}", "arguments": {}})
                counted["good"] += 1
            except RpcError:
                counted["unknown"] += 1

        for start in range(0, 210, 3):
            each = (over_http, in_a_session, over_http)
            await asyncio.gather(*(one(start + number) for number, one in enumerate(each)))
        text = await it.read()
        found = samples(text)
        kept = 'mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call"'
        good = sum(value for name, value in found.items() if name.startswith(kept) and "error_type" not in name)
        unknown = found[f'{kept},error_type="-32602"}}']
        assert (good, unknown) == (counted["good"], counted["unknown"]) == (150, 60)
        carried = 'mcp_client_operation_duration_seconds_count{mcp_method_name="tools/call",gen_ai_tool_name="t3",upstream="a"}'
        assert found[carried] == found[f'{kept},gen_ai_tool_name="a_t3"}}'] == 30
        outcome = 'meshproxy_requests_total{mcp_method_name="tools/call",outcome='
        assert (found[f'{outcome}"success"}}'], found[f'{outcome}"error"}}']) == (150, 60)


async def test_sessions_with_upstreams_are_counted_when_they_have_ended() -> None:
    legacy = light("--tools", "t0", "--era", "legacy", session="isolated")
    async with metered(upstreams={"a": UPSTREAM, "old": legacy}) as it:
        sessions = [Legacy(it.server) for _ in range(3)]
        for session in sessions:
            await session.request("tools/call", {"name": "old_t0", "arguments": {}})
        assert "mcp_client_session_duration_seconds_count" not in await it.read()
        for session in sessions[1:]:
            session.close()
        counted = 'mcp_client_session_duration_seconds_count{upstream="old"}'
        async with asyncio.timeout(DEADLINE):
            while samples(await it.read()).get(counted, 0) < 2:
                pass
        text = await it.read()
        checked(text)
        assert samples(text)[counted] == 2
        assert 'session_duration_seconds_count{upstream="a"}' not in text


async def test_ten_thousand_sessions_and_a_thousand_tools_make_so_many_series_and_no_more() -> None:
    tools = [f"t{number}" for number in range(1200)]
    upstream = light("--tools", ",".join(tools), session="shared")
    async with metered(upstreams={"a": upstream}) as it:
        good = unknown = 0
        sizes: list[int] = []

        async def live(number: int) -> None:
            """One session: a call that is answered, and every tenth time one of a name, and a method, that this session made up."""
            nonlocal good, unknown
            session = Legacy(it.server)
            await session.request("tools/call", {"name": f"a_{tools[number % len(tools)]}", "arguments": {}})
            good += 1
            for method in ("tools/call", f"made/up/{number}") if number % 10 == 0 else ():
                with contextlib.suppress(RpcError):
                    await session.request(method, {"name": f"made up {number}", "arguments": {}})
                unknown += method == "tools/call"
            session.close()

        for start in range(0, 10_000, 50):
            await asyncio.gather(*(live(start + number) for number in range(50)))
            if start + 50 in (2_400, 10_000):
                sizes.append(len(samples(await it.read())))
        text = await it.read()
        assert sizes[0] == sizes[1], "sessions make no series"
        found = samples(text)
        kept = 'mcp_server_operation_duration_seconds_count{mcp_method_name="tools/call"'
        counted = {name: value for name, value in found.items() if name.startswith(kept)}
        assert sum(value for name, value in counted.items() if "error_type" not in name) == good == 10_000
        assert found[f'{kept},error_type="-32602"}}'] == unknown == 1_000
        assert found["mcp_server_session_duration_seconds_count"] == 10_000
        labels: dict[str, set[str]] = {}
        for name in found:
            for label, value in re.findall(r'([a-z_]+)="([^"]*)"', name):
                labels.setdefault(label, set()).add(value)
        assert len(labels.pop("gen_ai_tool_name")) == 2 * MAX_NAMES + 1, (
            "public names, and the upstream's own, and one for what is beyond"
        )
        assert max(map(len, labels.values())) < 50, labels
        assert "made" not in text


async def test_edits_are_counted_by_what_became_of_them() -> None:
    async with metered() as it:
        await it.mesh.reload(MeshConfig.model_validate({"name": "other", "upstreams": {"a": UPSTREAM}}))
        it.mesh.edits.add(is_applied=False)
        found = samples(await it.read())
        assert found['meshproxy_reloads_total{outcome="applied",cause="file"}'] == 1
        assert found['meshproxy_reloads_total{outcome="rejected",cause="file"}'] == 1
        assert found["meshproxy_config_good"] == 0
        assert found["meshproxy_config_applied_timestamp_seconds"] > 1e9


async def test_without_a_credential_they_are_for_this_machine_and_with_auth_for_the_right_to_view() -> None:
    async with metered() as it:
        foreign = await it.http.get(f"{it.url}/metrics", headers={"x-forwarded-for": "203.0.113.5"})
        assert foreign.status_code == 403
        rebound = await it.http.get(f"{it.url}/metrics", headers={"host": "evil.example"})
        assert rebound.status_code == 421
    async with metered(auth={"keys": []}) as it:
        assert (await it.http.get(f"{it.url}/metrics")).status_code == 401


async def test_an_address_of_their_own_is_for_whoever_reaches_it() -> None:
    with contextlib.closing(listener()) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    async with metered(metrics={"listen": address}) as it:
        assert "meshproxy_ready 1\n" in await it.read(url=f"http://{address}/metrics")
        assert (await it.http.get(f"http://{address}/")).status_code == 404
        assert (await it.http.get(f"{it.url}/metrics")).status_code == 404


async def test_nobody_counts_where_nobody_wants_them() -> None:
    async with metered(metrics=False) as it:
        assert (await it.http.get(f"{it.url}/metrics")).status_code == 404
        assert len(it.server.recorder.listeners) == 1, "the calls that are remembered"
