"""Config files as people have them: each is served as it is, or answered with one sentence that says what to do. What is imported is in `tests/operate`."""

import json

import pytest
from meshproxy.config.load import load
from meshproxy.errors import ConfigError


def listing(**servers):
    return json.dumps({"mcpServers": servers}, indent=2)


WINDOWS = listing(
    fs={"command": "cmd", "args": ["/c", "npx", "-y", "server-filesystem", "C:\\Users\\me"]},
    py={"command": "C:\\Python312\\python.exe", "args": ["C:\\srv\\main.py"], "cwd": "C:\\srv"},
)
ONE = '{"mcpServers": {"a": {"command": "x"}}}'


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ('// mine\n{ /* all */ "mcpServers": { "a": { "command": "x", "args": ["y",], }, // here\n }, }', ["a"]),
        ("\ufeff" + ONE.replace(" ", "\r\n\t"), ["a"]),
        (WINDOWS, ["fs", "py"]),
        (listing(a={"command": "x", "disabled": True}, b={"command": "x", "disabled": False}), ["b"]),
        (listing(**{"My Server!": {"command": "x"}, "@scope/pkg": {"command": "y"}}), ["My Server!", "@scope/pkg"]),
        (listing(a={"type": "local", "command": "x", "url": "", "headers": {}}), ["a"]),
    ],
)
def test_it_is_served_as_it_is_without_a_word(tmp_path, text, served):
    file = tmp_path / "mcp.json"
    file.write_bytes(text.encode())
    config = load(file)
    assert [spec.name for spec in config.enabled] == served
    assert config.source.warnings == ()


@pytest.mark.parametrize(
    ("word", "transport"),
    [(word, "streamable-http") for word in ("http", "HTTP", "streamable-http", "streamableHttp", "streamable_http")]
    + [("remote", "streamable-http"), ("sse", "sse"), ("SSE", "sse"), ("${KIND:-sse}", "sse")],
)
@pytest.mark.parametrize("key", ["type", "transport"])
@pytest.mark.parametrize("address", ["url", "serverUrl", "httpUrl"])
def test_a_server_at_a_url_has_its_transport_in_anybodys_words(tmp_path, key, word, transport, address):
    file = tmp_path / "mcp.json"
    file.write_text(listing(a={key: word, address: "https://a.example.com/mcp"}))
    config = load(file, {})
    [spec] = config.enabled
    assert (spec.url, spec.transport) == ("https://a.example.com/mcp", transport)
    assert config.source.warnings == ()


def test_where_there_are_two_addresses_the_newer_transport_has_it(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(listing(a={"url": "https://a.example.com/sse", "httpUrl": "https://a.example.com/mcp"}))
    assert load(file).upstreams["a"].url == "https://a.example.com/mcp"


def test_keys_of_the_client_are_one_warning_and_those_with_a_counterpart_another_with_the_command(tmp_path):
    file = tmp_path / "mcp.json"
    a = {"command": "x", "alwaysAllow": ["y"], "timeout": 60, "version": "1", "tools": ["*"], "comand": "z"}
    b = {"url": "https://b.example.com", "bearerTokenEnvVar": "B", "alwaysAllow": [], "tools": ["get"], "startup": 1}
    c = {"url": "https://c.example.com", "auth": {"CLIENT_ID": "c"}, "tools": {"get": {"enabled": True}}}
    file.write_text(json.dumps({"theme": "dark", "mcpServers": {"a": a, "b": b, "c": c}}))
    config = load(file)
    assert [spec.name for spec in config.enabled] == ["a", "b", "c"]
    assert {warning.key: (warning.message, warning.hint) for warning in config.source.warnings} == {
        "theme": (
            "keys of the client whose file this is are ignored: theme, tools, alwaysAllow, version, startup",
            None,
        ),
        "mcpServers.a.timeout": (
            "keys that have a counterpart here are not heeded: timeout, bearerTokenEnvVar, tools, auth",
            f"take the file over with: meshproxy import {file} --into mesh.yaml",
        ),
        "mcpServers.a.comand": ("unknown key", "did you mean 'command'?"),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty; write the MCP servers to merge under upstreams:"),
        (" \n\n", "is empty; write the MCP servers to merge under upstreams:"),
        ("{}", ":1:1: upstreams: is missing; write the MCP servers to merge under it"),
        ("[]", ":1:1: must be a mapping of keys to values, not a list; begin with upstreams: and name each upstream"),
        (
            '{"command": "npx", "args": ["x"]}',
            ': is one server without a name; write {"mcpServers": {"NAME": ...}} around it',
        ),
        (
            '{"time": {"command": "x"}, "web": {"url": "https://a.example.com"}}',
            ': lists servers without a key above them; write {"mcpServers": ...} around them',
        ),
        (
            listing(a={"command": "x", "args": "-y it"}),
            ':5:15: mcpServers.a.args: must be a list, not text; write ["-y", "it"]',
        ),
        (
            '{"mcpServers": {"a": {"command": "C:\\Users\\x"}}}',
            ":1:39: not valid JSON: a backslash in a text is written twice, as in C:\\\\Users",
        ),
        (
            '{"mcpServers": {"a": {"command": "C:\\python"}}}',
            ":1:38: not valid JSON: a backslash in a text is written twice, as in C:\\\\Users",
        ),
        (
            '{\n "mcpServers": {\n  "a": {"command": "x"}\n  "b": {}\n}}',
            ":4:3: not valid JSON: a comma is missing before this while parsing an object, which began at line 2",
        ),
        (
            '{\n "mcpServers": {\n  "a": {"command": "x"}\n }\n',
            ":5:1: not valid JSON: the file ends too early while parsing an object, which began at line 1; close what is open",
        ),
        (f"{ONE}\n}}", ":2:1: not valid JSON: this stands after the end of the object; remove it"),
        (ONE.replace('"x"', '"x", "disabled": True'), ":1:51: mcpServers.a.disabled: JSON writes this true"),
        (
            "{'mcpServers': {'a': {'command': 'x'}}}",
            ":1:2: mcpServers: JSON has its texts and keys in double quotes; put it in them",
        ),
        (
            listing(a={"command": "x", "env": {"K": "${env:NOT_SET}"}}),
            ":6:14: mcpServers.a.env.K: environment variable NOT_SET is not set; set it, or give a default: ${NOT_SET:-...}",
        ),
        (
            '{"amp.mcpServers": {"a": {"command": "x"}}}',
            ": is a file of Amp; take its servers over with: meshproxy import FILE --into mesh.yaml",
        ),
        (
            '{"editor.tabSize": 2, "mcp": {"inputs": [], "servers": {"a": {"command": "x"}}}}',
            ": is a file of VS Code; take its servers over with: meshproxy import FILE --into mesh.yaml",
        ),
        (
            listing(a={"command": "x", "args": ["${input:path}"]}),
            (
                "mcpServers.a.args[0]: ${input:path} is filled in by the client whose file this is; "
                "take the file over with: meshproxy import FILE --into mesh.yaml"
            ),
        ),
    ],
)
def test_it_is_answered_with_one_sentence_that_says_what_to_do(tmp_path, text, sentence):
    file = tmp_path / "mcp.json"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    [problem] = caught.value.problems
    assert str(problem).endswith(sentence.replace("FILE", str(file)))
