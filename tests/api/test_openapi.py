"""The OpenAPI file in the repository is true: it has every path that there is, and every answer is as it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from meshproxy.api.app import ROUTES
from meshproxy.config.fingerprint import fingerprints
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.errors import RpcError
from meshproxy.upstream.client import CLIENT
from tests.api.conftest import OURS, RunApi
from tests.kit.clients import Legacy
from tests.kit.light import document, light
from tests.kit.places import ROOT

pytestmark = pytest.mark.anyio
FILE = json.loads((ROOT / "schemas" / "api.openapi.json").read_text())


def operation(method: str, path: str) -> Any:
    return FILE["paths"][path.replace("NAME", "{NAME}")][method.lower()]


def complaints(method: str, path: str, status: int, value: Any) -> list[str]:
    """What is wrong with an answer."""
    content = operation(method, path)["responses"][str(status)]["content"]["application/json"]
    schema = {**content["schema"], "components": FILE["components"]}
    return [
        f"{list(error.absolute_path)}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)
    ]


def test_it_has_the_paths_and_rights_that_there_are_and_no_others() -> None:
    written = {
        (method.upper(), path.replace("{NAME}", "NAME"), told["x-right"])
        for path, methods in FILE["paths"].items()
        for method, told in methods.items()
    }
    assert written == {(row.method, row.path, row.right) for row in ROUTES}
    for schema in FILE["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_what_acts_needs_the_header_that_it_says() -> None:
    for row in ROUTES:
        named = {one["name"].lower() for one in operation(row.method, row.path).get("parameters", ())}
        assert (row.method == "POST") == (OURS.keys() <= named)


def config_told(config: MeshConfig) -> Any:
    """What `meshproxy plan` sends of a config."""
    return {"version": CLIENT["version"], "key": "00ff", **fingerprints(config, b"\x00\xff")}


async def test_every_answer_is_as_it_says(operated: RunApi, tmp_path: Path) -> None:
    upstreams = {
        "up": light("--tools", "echo,other", "--prompts", "say", limits={"concurrency": 1}, breaker={"failures": 3}),
        "down": light("--dies", "no"),
        "off": light(enabled=False),
        "idle": light(start="lazy"),
        "web": {"url": "http://127.0.0.1:9/mcp", "auth": "oauth"},
    }
    text = document(upstreams, profiles={"p": {"upstreams": ["up"]}})
    async with operated(text) as mesh:
        client = Legacy(mesh.server)
        await client.says("up_echo")
        with pytest.raises(RpcError):
            await client.request("tools/call", {"name": "none"})
        mesh.file.write_text(text.replace('"command"', '"comand"', 1))
        await mesh.post("/api/reload")
        mesh.file.write_text(text.replace('"off"', '"other"'))
        asked = [
            ("POST", "/api/reload", "/api/reload"),
            ("POST", "/api/reload", "/api/reload"),
            ("POST", "/api/upstreams/NAME/disable", "/api/upstreams/idle/disable"),
            ("POST", "/api/upstreams/NAME/disable", "/api/upstreams/idle/disable"),
            ("POST", "/api/upstreams/NAME/enable", "/api/upstreams/idle/enable"),
            ("POST", "/api/upstreams/NAME/enable", "/api/upstreams/none/enable"),
            ("POST", "/api/upstreams/NAME/restart", "/api/upstreams/up/restart"),
            ("POST", "/api/upstreams/NAME/restart", "/api/upstreams/down/restart"),
            ("POST", "/api/upstreams/NAME/restart", "/api/upstreams/other/restart"),
            ("POST", "/api/upstreams/NAME/login", "/api/upstreams/up/login"),
            ("POST", "/api/upstreams/NAME/login", "/api/upstreams/none/login"),
            *(
                ("GET", row.path, row.path)
                for row in ROUTES
                if row.method == "GET" and "NAME" not in row.path and row.path != "/api/events"
            ),
            ("GET", "/api/why", "/api/why?principal=local&name=up_echo"),
            (
                "GET",
                "/api/why",
                "/api/why?principal=token:eve&name=up_none&profile=p&group=a&group=b&scope=c&claim=d=1",
            ),
            ("GET", "/api/why", "/api/why?principal=eve&name=up_echo"),
            ("GET", "/api/calls", "/api/calls?limit=x"),
            ("GET", "/api/clients", "/api/clients?profile=p"),
            ("GET", "/api/clients", "/api/clients?profile=none"),
            ("GET", "/api/logs/NAME", "/api/logs/down"),
            ("GET", "/api/logs/NAME", "/api/logs/web"),
        ]
        bodies = [
            (config_told(load(mesh.file)), 200),
            ({**config_told(load(mesh.file)), "version": "0.0.1"}, 409),
            ({"version": 1}, 400),
            ("x" * (4 << 20), 413),
        ]
        for body, status in bodies:
            answer = await mesh.http.post(f"{mesh.url}/api/plan", headers=OURS, json=body)
            assert answer.status_code == status, answer.text
            assert complaints("POST", "/api/plan", status, answer.json()) == [], answer.text
        statuses = set()
        for method, path, url in asked:
            answer = await mesh.http.request(method, mesh.url + url, headers=OURS)
            assert complaints(method, path, answer.status_code, answer.json()) == [], (url, answer.text)
            statuses.add(answer.status_code)
        assert statuses == {200, 400, 404, 409, 502}
