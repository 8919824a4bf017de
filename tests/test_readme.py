"""README.md is true: its tables are those of the models and the command line, its configs load, and its examples run."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from meshproxy.cli.app import app
from meshproxy.config.load import load
from meshproxy.config.schema import json_schema
from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE
from typer.main import get_command

README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    """The text under a heading, up to the next one of its rank. What looks like a heading in a block of code is none."""
    found, rank, in_code = [], 0, False
    for line in README.splitlines():
        in_code ^= line.startswith("```")
        heading = re.match(r"(#+) (.*)", line)
        if heading and not in_code:
            if rank and len(heading[1]) <= rank:
                break
            if heading[2] == title:
                rank = len(heading[1])
                continue
        if rank:
            found.append(line)
    assert found, f"README.md has no section {title!r}"
    return "\n".join(found)


def rows(text: str) -> list[str]:
    """The rows of the tables in a text, without their heads."""
    return [line for line in text.splitlines() if line.startswith("| `")]


def blocks(language: str) -> list[str]:
    """The code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


# Tables


def row(*cells: str) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def spelled(default: Any) -> str:
    """A default as one writes it in YAML."""
    if default is None:
        return ""
    text = yaml.safe_dump(default, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    return f"`{text}`"


def keys(properties: dict[str, Any], prefix: str = "", definitions: Any = None) -> Iterator[str]:
    """A row for each key, those of nested sections behind their section's."""
    for key, schema in properties.items():
        yield row(f"`{prefix}{key}`", spelled(schema.get("default")), schema["description"])
        nested = (definitions or {}).get(schema.get("$ref", "").rpartition("/")[2])
        if nested:
            yield from keys(nested["properties"], f"{prefix}{key}.")


def config_rows() -> list[str]:
    schema = json_schema()
    sections = {key: schema["$defs"][key] for key in ("ServerConfig", "ReloadConfig")}
    return list(keys(schema["properties"], definitions=sections))


def upstream_rows() -> list[str]:
    schema = json_schema()["$defs"]
    found = {**schema["Upstream"]["properties"]}
    # The filters have the same keys, but that a template cannot be renamed: once is enough.
    nested = {"Timeouts": schema["Timeouts"]}
    first = [line for key, value in found.items() for line in keys({key: value}, definitions=nested)]
    return first + list(keys(schema["Renaming"]["properties"], "tools."))


def command_rows() -> list[str]:
    found = []
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        if command.hidden:
            continue
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            spelling = parameter.opts[0] if is_option else str(parameter.metavar)
            default = parameter.default if is_option and not isinstance(parameter.default, bool) else None
            found.append(row(f"`{name}`", f"`{spelling}`", spelled(default), parameter.help))
    return found


def test_every_key_of_a_config_is_in_the_tables() -> None:
    assert rows(section("The whole file")) == config_rows()
    assert rows(section("An upstream")) == upstream_rows()


def test_every_argument_and_option_of_the_commands_is_in_the_table() -> None:
    assert rows(section("The command line")) == command_rows()


def test_the_glossary_has_the_words_of_the_design() -> None:
    words = {line.split("`")[1] for line in rows(section("Words"))}
    kinds = {"tool, resource, template or prompt"}
    assert {
        "downstream",
        "upstream",
        "kind",
        "origin",
        "public",
        "catalog",
        "route",
        "snapshot",
        "link",
    } <= words - kinds
    assert {"lease", "relay", "era", "plan, warm, swap, drain, retire"} <= words


# Configs and examples


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_config_loads_without_a_warning(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text(text)
    assert not load(file, {"HOME": "/home/me", "DOCS_TOKEN": "secret"}).source.warnings


def test_the_first_config_has_ten_lines_at_most() -> None:
    assert len(blocks("yaml")[0].splitlines()) <= 10


def test_everything_public_is_shown() -> None:
    import meshproxy

    shown = section("In Python")
    assert not [name for name in meshproxy.__all__ if name not in shown]


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_every_example_in_python_runs(code: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script.write_text(code.replace("port=8000", f"port={port}"))
    line = [sys.executable, "-W", "error", str(script)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if "port=8000" in code:
            wait_for_port(port, process)
            asking = [sys.executable, "-m", "meshproxy", "list", f"http://127.0.0.1:{port}/mcp", "tools"]
            assert " tools\n" in subprocess.run(asking, stdout=subprocess.PIPE, text=True, check=True).stdout
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    for expected in re.findall(r"print\(.*\)  # (.*)", code):
        assert expected in out


def wait_for_port(port: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"nothing listens: {process.communicate()}")
            time.sleep(0.01)
        else:
            return


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert named
    assert not [path for path in named if not (ROOT / path).exists()]
