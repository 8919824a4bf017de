"""What the documentation says is true: its tables are those of the models and the command line, its configs load, and its examples run."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from meshproxy.cli.app import app
from meshproxy.config.load import load
from meshproxy.config.schema import json_schema
from tests.kit.places import ROOT
from tests.kit.waiting import DEADLINE, wait_for
from typer.main import get_command

PAGES = {
    str(file.relative_to(ROOT)): file.read_text()
    for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md"))
}
"""Every page, by its path."""


def lines_of(page: str) -> Iterator[tuple[str, bool]]:
    """The lines of a page, and whether each is code."""
    in_code = False
    for line in PAGES[page].splitlines():
        is_fence = line.startswith("```")
        yield line, in_code or is_fence
        in_code ^= is_fence


def headings(page: str) -> Iterator[tuple[int, str]]:
    """The rank and the words of each heading."""
    for line, is_code in lines_of(page):
        heading = re.match(r"(#+) (.*)", line)
        if heading and not is_code:
            yield len(heading[1]), heading[2]


def section(page: str, title: str) -> str:
    """The text under a heading, up to the next one of its rank."""
    found, rank = [], 0
    for line, is_code in lines_of(page):
        heading = None if is_code else re.match(r"(#+) (.*)", line)
        if heading:
            if rank and len(heading[1]) <= rank:
                break
            if heading[2] == title:
                rank = len(heading[1])
                continue
        if rank:
            found.append(line)
    assert found, f"{page} has no section {title!r}"
    return "\n".join(found)


def rows(text: str) -> list[str]:
    """The rows of the tables in a text, without their heads."""
    return [line for line in text.splitlines() if line.startswith("| `")]


def blocks(language: str) -> list[str]:
    """The code blocks of all pages in a language, each once."""
    found = [re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for text in PAGES.values()]
    return list(dict.fromkeys(block for page in found for block in page))


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
        references = [choice.get("$ref", "") for choice in (schema, *schema.get("anyOf", ()))]
        nested = next(filter(None, ((definitions or {}).get(ref.rpartition("/")[2]) for ref in references)), None)
        if nested:
            yield from keys(nested["properties"], f"{prefix}{key}.", definitions)


def config_rows() -> list[str]:
    schema = json_schema()
    sections = {
        key: schema["$defs"][key]
        for key in (
            "ServerConfig",
            "MetricsConfig",
            "ReloadConfig",
            "ClusterConfig",
            "ObserveConfig",
            "AuditConfig",
            "AccessLogConfig",
            "CallsConfig",
        )
    }
    return list(keys(schema["properties"], definitions=sections))


def access_rows() -> list[str]:
    schema = json_schema()["$defs"]
    return [
        *keys(schema["TlsConfig"]["properties"], "server.tls."),
        *keys(schema["AuthConfig"]["properties"], "server.auth."),
        *keys(schema["KeyConfig"]["properties"], "server.auth.keys[]."),
        *keys(schema["JwtConfig"]["properties"], "server.auth.jwt[]."),
    ]


def rule_rows() -> list[str]:
    schema = json_schema()["$defs"]
    return [
        *keys(schema["Rule"]["properties"], "access[]."),
        *keys(schema["Who"]["properties"], "access[].who."),
        *keys(schema["Profile"]["properties"], "profiles.NAME."),
    ]


def upstream_rows() -> list[str]:
    schema = json_schema()["$defs"]
    found = {**schema["Upstream"]["properties"]}
    # The filters have the same keys, but that a template cannot be renamed: once is enough.
    nested = {name: schema[name] for name in ("Timeouts", "Limits", "Breaker", "Retry")}
    first = [line for key, value in found.items() for line in keys({key: value}, definitions=nested)]
    return first + list(keys(schema["Renaming"]["properties"], "tools."))


def login_rows() -> list[str]:
    """The kinds of `auth`, each with its keys."""
    schema = json_schema()["$defs"]
    models = {
        "oauth": "OAuth",
        "client_credentials": "ClientCredentials",
        "token_exchange": "TokenExchange",
        "headers": "HeadersFromCommand",
    }
    found: list[str] = []
    for kind, model in models.items():
        properties = {key: value for key, value in schema[model]["properties"].items() if key != "type"}
        found += [line.replace("| ", f"| `{kind}` | ", 1) for line in keys(properties)]
    return found


def commands_of(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The commands that are shown, those of groups under both names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}", command


def command_rows() -> list[str]:
    found = []
    for name, command in commands_of(get_command(app)):
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            spelling = parameter.opts[0] if is_option else str(parameter.metavar)
            default = parameter.default if is_option and not isinstance(parameter.default, bool) else None
            found.append(row(f"`{name}`", f"`{spelling}`", spelled(default), parameter.help))
    return found


def test_every_key_of_a_config_is_in_the_tables() -> None:
    assert rows(section("docs/config.md", "The whole file")) == config_rows()
    assert rows(section("docs/config.md", "Who may come in")) == access_rows()
    assert rows(section("docs/config.md", "What they may use")) == rule_rows()
    assert rows(section("docs/config.md", "An upstream")) == upstream_rows()
    assert rows(section("docs/config.md", "How the mesh gets in at an upstream")) == login_rows()


def test_every_key_of_the_schema_has_a_row_whatever_model_it_is_of() -> None:
    told = {
        (cells[-3].strip("` ").rpartition(".")[2], cells[-1]) for cells in map(cells_of, rows(PAGES["docs/config.md"]))
    }
    missing = [
        f"{model}.{key}"
        for model, schema in json_schema()["$defs"].items()
        for key, value in schema.get("properties", {}).items()
        # The kinds of `auth` stand in a column of their own.
        if "const" not in value and (key, value["description"]) not in told
    ]
    assert missing == []


def cells_of(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_every_argument_and_option_of_the_commands_is_in_the_table() -> None:
    assert rows(PAGES["docs/cli.md"]) == command_rows()


def test_the_glossary_has_the_words_of_the_design() -> None:
    words = {line.split("`")[1] for line in rows(PAGES["docs/glossary.md"])}
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
    environment = dict.fromkeys(("DOCS_TOKEN", "TICKETS_SECRET"), "secret")
    environment |= {"HOME": "/home/me", "CLUSTER_KEY": "a key that is long enough to be one"}
    assert not load(file, environment).source.warnings


def test_the_first_page_is_short_and_its_config_too() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 130
    [config] = re.findall(r"```yaml\n(.*?)```", PAGES["README.md"], re.DOTALL)
    assert len(config.splitlines()) <= 10


def test_everything_public_is_shown() -> None:
    import meshproxy

    shown = PAGES["docs/python.md"]
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
        try:
            if "port=8000" in code:
                wait_for(lambda: has_port(port), process)
                # A listing waits for upstreams that start, but not for ever.
                wait_for(lambda: " tools\n" in listing(f"http://127.0.0.1:{port}/mcp"), process)
                process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    for expected in re.findall(r"print\(.*\)  # (.*)", code):
        assert expected in out


def listing(url: str) -> str:
    asking = [sys.executable, "-m", "meshproxy", "list", url, "tools"]
    return subprocess.run(asking, stdout=subprocess.PIPE, text=True, check=True).stdout


def has_port(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


# Links


def anchor(title: str) -> str:
    """What a heading is called in a link, as the usual code hosts do it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_everything_that_is_linked_is_there(page: str) -> None:
    prose = "\n".join(line for line, is_code in lines_of(page) if not is_code)
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", prose)):
        if re.match(r"\w+:", link):
            continue
        path, _, place = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        if place:
            assert place in [anchor(title) for _, title in headings(str(target.relative_to(ROOT)))], link


def test_every_page_is_linked_from_another() -> None:
    linked = {
        ((ROOT / page).parent / path).resolve()
        for page, text in PAGES.items()
        for path in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    }
    linked |= {file for folder in linked if folder.is_dir() for file in folder.iterdir()}
    starts = {"README.md", ".github/PULL_REQUEST_TEMPLATE.md"}
    assert not [page for page in PAGES if page not in starts and (ROOT / page) not in linked]


def test_each_test_that_a_promise_names_is_there() -> None:
    promises = (ROOT / "docs" / "reliability.md").read_text()
    sources = [file for file in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in file.parts]
    tests = {name for file in sources for name in re.findall(r"def (test_\w+)", file.read_text())}
    named = set(re.findall(r"`(test_\w+)`", promises))
    assert named
    assert named <= tests
    assert [file for file in re.findall(r"`(tests/[\w/]+\.py)`", promises) if not (ROOT / file).exists()] == []
