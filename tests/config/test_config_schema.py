import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from meshproxy.config.load import load
from meshproxy.config.models import MeshConfig
from meshproxy.config.problems import DEFAULT_KEYS, TOP_KEYS, UPSTREAM_KEYS
from meshproxy.config.schema import json_schema, schema_text

ROOT = Path(__file__).parents[2]
ENVIRON = {"HOME": "/home/me", "DOCS_TOKEN": "s3cret-token"}


def errors(value):
    return [error.message for error in Draft202012Validator(json_schema()).iter_errors(value)]


def test_the_schema_in_the_repository_is_current():
    stored = (ROOT / "schemas" / "mesh.schema.json").read_text(encoding="utf-8")
    assert stored == schema_text(), "run: meshproxy schema > schemas/mesh.schema.json"


def test_the_schema_is_one():
    Draft202012Validator.check_schema(json_schema())


def described(node, path=""):
    """Each property and where it is."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
    for name, child in node.get("$defs", {}).items():
        yield from described(child, name)


def test_every_key_is_described_and_has_a_type():
    for where, found in described(json_schema()):
        assert found.get("description"), where
        assert {"type", "enum", "anyOf", "oneOf", "$ref"} & found.keys(), where
        assert found.get("default", 0) is not None, where


def test_the_schema_and_the_loader_know_the_same_keys():
    schema = json_schema()
    definitions = schema["$defs"]
    assert set(schema["properties"]) == {*TOP_KEYS, "$schema"}
    assert set(definitions["Upstream"]["properties"]) == set(UPSTREAM_KEYS)
    assert set(definitions["McpServer"]["properties"]) == set(UPSTREAM_KEYS)
    assert set(definitions["Defaults"]["properties"]) == set(DEFAULT_KEYS)
    for name in ("server", "reload"):
        model = MeshConfig.model_fields[name].annotation
        assert set(definitions[model.__name__]["properties"]) == set(model.model_fields)


def test_defaults_are_written_as_in_a_file(loaded):
    definitions = json_schema()["$defs"]
    times = {key: found["default"] for key, found in definitions["Timeouts"]["properties"].items()}
    assert times == {"connect": "30s", "list": "15s", "call": "5m", "idle": "never", "shutdown": "5s"}
    server = {
        key: found["default"] for key, found in definitions["ServerConfig"]["properties"].items() if "default" in found
    }
    assert server["max_body"] == "4MiB"
    config = loaded({"server": server, "upstreams": {"a": {"command": "x", "timeouts": times}}})
    assert config == loaded("upstreams: {a: {command: x}}")


@pytest.mark.parametrize(
    "value",
    [
        {"upstreams": {"a": {"command": "x"}}},
        {"mcpServers": {"a": {"type": "http", "url": "http://x", "disabled": True, "autoApprove": []}}},
        {
            "upstreams": {},
            "server": {"port": "${PORT}", "max_body": 5, "list_grace": 0.5},
            "defaults": {"timeouts": {"call": "never"}},
        },
    ],
)
def test_what_the_loader_takes_is_valid(value, loaded):
    assert errors(value) == []
    loaded(value, PORT="1")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"upstreams": {}, "mcpServers": {}},
        {"upstreams": {"a": {}}},
        {"upstreams": {"a": {"command": "x", "url": "http://x"}}},
        {"upstreams": {"a": {"command": "x", "urll": "http://x"}}},
        {"upstreams": {"a": {"command": 5}}},
        {"upstreams": {"a": {"command": "x", "templates": {"rename": {}}}}},
        {"upstreams": {"": {"command": "x"}}},
        {"upstreams": {}, "defaults": {"command": "x"}},
        {"upstreams": {}, "server": {"port": 70000}},
        {"upstreams": {}, "nam": "x"},
    ],
)
def test_what_the_loader_refuses_is_invalid(value, refused):
    assert errors(value)
    assert refused(json.dumps(value))


def test_the_reference_example_loads_and_is_valid():
    path = ROOT / "configs" / "reference.yaml"
    config = load(path, ENVIRON)
    assert config.source.warnings == ()
    assert errors(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_the_reference_example_shows_every_key():
    shown = yaml.safe_load((ROOT / "configs" / "reference.yaml").read_text(encoding="utf-8"))
    definitions = json_schema()["$defs"]
    upstreams = shown["upstreams"].values()
    merged = {key: value for upstream in upstreams for key, value in upstream.items()}
    assert {*shown, "mcpServers"} == set(TOP_KEYS)
    assert {*merged, "type", "disabled"} == set(UPSTREAM_KEYS)
    assert set(shown["server"]) == set(definitions["ServerConfig"]["properties"])
    assert set(shown["reload"]) == set(definitions["ReloadConfig"]["properties"])
    assert set(merged["timeouts"]) == set(definitions["Timeouts"]["properties"])
    for kind in ("tools", "resources", "prompts"):
        assert set(merged[kind]) == set(definitions["Renaming"]["properties"])
    assert set(merged["templates"]) == set(definitions["Selection"]["properties"])
