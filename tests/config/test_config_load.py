import subprocess
import sys
from pathlib import Path

import pytest
from meshproxy.config.content import content_digest
from meshproxy.config.load import load, with_server
from meshproxy.errors import ConfigError


def test_every_key_has_its_default(loaded, tmp_path):
    config = loaded("upstreams: {files: {command: npx}, docs: {url: 'https://docs.example.com/mcp'}}")
    assert (config.name, config.instructions, config.separator) == ("meshproxy", None, "_")
    server = config.server
    assert (server.host, server.port, server.path) == ("127.0.0.1", 8000, "/mcp")
    assert (server.allowed_hosts, server.allowed_origins, server.allow_unauthenticated) == ((), (), False)
    assert (server.max_body, server.max_sessions) == (4 * 1024**2, 10000)
    assert (server.session_idle_timeout, server.list_grace) == (1800.0, 3.0)
    assert (config.reload.watch, config.reload.drain_timeout) == (True, 30.0)
    files, docs = config.enabled
    assert (files.command, files.args, dict(files.env), files.cwd, files.url) == ("npx", (), {}, str(tmp_path), None)
    assert (docs.url, docs.transport, dict(docs.headers), docs.forward_headers) == (
        "https://docs.example.com/mcp",
        "streamable-http",
        {},
        (),
    )
    assert (docs.command, docs.cwd) == (None, None)
    for spec in config.enabled:
        assert spec.namespace == spec.name
        assert (spec.enabled, spec.required, spec.start, spec.when_down, spec.session) == (
            True,
            False,
            "eager",
            "keep",
            "auto",
        )
        times = spec.timeouts
        assert (times.connect, times.list, times.call, times.idle, times.shutdown) == (30.0, 15.0, 300.0, None, 5.0)
        for filtered in (spec.tools, spec.resources, spec.templates, spec.prompts):
            assert (filtered.include, filtered.exclude) == (("*",), ())
        for renamed in (spec.tools, spec.resources, spec.prompts):
            assert renamed.rename == {}
    assert files.transport == "stdio"


def test_defaults_are_put_into_every_upstream_that_does_not_say_otherwise(loaded):
    config = loaded("""
defaults:
  timeouts: {call: 1m, connect: 5s}
  headers: {X-Team: infra, X-Env: dev}
  env: {LOG: "1"}
  transport: sse
  cwd: sub
  required: true
  tools: {exclude: ["delete_*"]}
upstreams:
  a: {url: "http://a/", headers: {X-Env: prod}, timeouts: {call: never}}
  b: {command: x, required: false, tools: {include: ["get_*"]}}
""")
    a, b = config.enabled
    assert dict(a.headers) == {"X-Team": "infra", "X-Env": "prod"}
    assert (a.timeouts.call, a.timeouts.connect, a.timeouts.list) == (None, 5.0, 15.0)
    assert (a.transport, a.required, dict(a.env), a.cwd) == ("sse", True, {}, None)
    assert dict(b.env) == {"LOG": "1"}
    assert (b.transport, b.required, dict(b.headers), Path(b.cwd).name) == ("stdio", False, {}, "sub")
    assert (b.tools.include, b.tools.exclude) == (("get_*",), ("delete_*",))


def test_an_mcp_servers_file_is_served_as_it_is(loaded):
    config = loaded(
        {
            "mcpServers": {
                "files": {
                    "type": "stdio",
                    "command": "npx",
                    "args": ["-y", "x"],
                    "env": {},
                    "url": "",
                    "headers": None,
                    "autoApprove": [],
                    "alwaysAllow": ["${input:x}"],
                },
                "web": {"type": "http", "url": "https://web/mcp", "args": [], "disabled": False, "timeout": 60},
                "old": {"type": "sse", "url": "https://old/sse", "disabled": True, "name": "Old"},
            }
        }
    )
    files, web, old = config.upstreams.values()
    assert (files.transport, files.args, web.transport, old.transport, old.enabled) == (
        "stdio",
        ("-y", "x"),
        "streamable-http",
        "sse",
        False,
    )
    assert config.enabled == (files, web)
    assert [(warning.key, warning.message) for warning in config.source.warnings] == [
        (
            "mcpServers.files.autoApprove",
            "keys of the client whose file this is are ignored: autoApprove, alwaysAllow, name",
        ),
        ("mcpServers.web.timeout", "keys that have a counterpart here are not heeded: timeout"),
    ]


def test_the_other_spellings_hold_for_upstreams_and_defaults_too(loaded):
    config = loaded(
        "defaults: {type: sse, disabled: true}\nupstreams: {a: {url: 'http://a', disabled: false}, b: {url: 'http://b', enabled: '${ON:-true}'}, c: {url: 'http://c'}}"
    )
    assert [spec.enabled for spec in config.upstreams.values()] == [True, True, False]
    assert {spec.transport for spec in config.upstreams.values()} == {"sse"}


def test_references_may_stand_for_numbers_and_booleans(loaded):
    config = loaded(
        "server: {port: '${PORT}', max_sessions: '${N:-5}', list_grace: '${GRACE}s', max_body: '${SIZE}', allow_unauthenticated: '${OPEN}'}\n"
        "upstreams: {a: {command: x, disabled: '${OFF}', required: '${REQUIRED}'}}",
        PORT="9001", GRACE="2", SIZE="8kB", OPEN="True", OFF="false", REQUIRED="true",
    )  # fmt: skip
    assert (config.server.port, config.server.max_sessions, config.server.list_grace) == (9001, 5, 2.0)
    assert (config.server.max_body, config.server.allow_unauthenticated) == (8000, True)
    assert (config.upstreams["a"].enabled, config.upstreams["a"].required) == (True, True)


def test_paths_are_relative_to_the_file(loaded, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = loaded("""
upstreams:
  plain: {command: npx}
  beside: {command: ./bin/server}
  within: {command: bin/server, cwd: sub/dir}
  up: {command: ../server, cwd: sub}
  absolute: {command: /bin/server, cwd: /srv}
  home: {command: ~/server, cwd: ~/data}
""")
    found = {name: (spec.command, spec.cwd) for name, spec in config.upstreams.items()}
    here = str(tmp_path)
    assert found == {
        "plain": ("npx", here),
        "beside": (f"{here}/bin/server", here),
        "within": (f"{here}/sub/dir/bin/server", f"{here}/sub/dir"),
        "up": (f"{here}/server", f"{here}/sub"),
        "absolute": ("/bin/server", "/srv"),
        "home": ("/home/me/server", "/home/me/data"),
    }


def test_a_relative_path_of_the_file_gives_absolute_ones(loaded, tmp_path, monkeypatch):
    digest = loaded(
        "upstreams: {a: {command: x, env: {T: '${file:t}'}}}" if (tmp_path / "t").write_text("x") else ""
    ).source.digest
    monkeypatch.chdir(tmp_path)
    config = load("mesh.yaml", {})
    assert config.upstreams["a"].cwd == str(tmp_path)
    assert config.source.path == tmp_path / "mesh.yaml"
    assert config.source.digest == digest == content_digest(tmp_path / "mesh.yaml")


def test_a_config_knows_the_files_it_was_made_of(loaded, tmp_path):
    (tmp_path / "token").write_text("s3cret-token\n")
    config = loaded("upstreams: {a: {url: 'http://a', headers: {X: '${file:token}'}}}")
    assert config.source.files == (tmp_path / "mesh.yaml", tmp_path / "token")
    before = config.source.digest
    (tmp_path / "token").write_text("another\n")
    again = load(tmp_path / "mesh.yaml", {})
    assert again.source.digest != before
    assert again.upstreams["a"] != config.upstreams["a"]


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\r\nupstreams:\r\n  a:\r\n    command: b\r\n")
    assert load(path, {}).upstreams["a"].command == "b"


@pytest.mark.parametrize(
    "text", ["upstreams:", "upstreams: {}", "mcpServers:", "upstreams: {}\nserver:\nreload:\ndefaults:"]
)
def test_a_mesh_without_upstreams_is_loaded_with_a_warning(loaded, text):
    config = loaded(text)
    assert config.enabled == ()
    (warning,) = config.source.warnings
    assert "the mesh serves nothing" in str(warning)


def test_an_editors_schema_key_is_ignored(loaded):
    assert (
        loaded({"$schema": "https://example.com/mesh.schema.json", "upstreams": {}}).source.warnings[0].key
        == "upstreams"
    )


def test_a_disabled_upstream_need_not_have_its_variables(loaded):
    config = loaded("upstreams: {a: {url: '${NOWHERE}', disabled: true}, b: {command: x}}")
    assert [spec.name for spec in config.enabled] == ["b"]
    (warning,) = config.source.warnings
    assert "NOWHERE is not set" in str(warning)


def test_upstreams_whose_names_come_to_one_namespace_are_told_of(loaded):
    config = loaded("upstreams:\n  my docs: {command: x}\n  my.docs: {command: y}\n")
    (warning,) = config.source.warnings
    assert (warning.line, warning.column, warning.key) == (3, 3, 'upstreams."my.docs"')
    assert warning.message == "has the namespace 'my_docs', as upstream 'my docs' has"
    assert warning.hint == "give one of them another namespace"


@pytest.mark.parametrize(
    "text",
    [
        "{日本: {command: x}, 中文: {command: y}}",
        "{a: {command: x, namespace: c}, b: {command: y, namespace: c}}",
        "{my docs: {command: x}, my.docs: {command: y, namespace: other}}",
        "{my docs: {command: x}, my.docs: {command: y, disabled: true}}",
        "{a: {command: x, namespace: ''}, b: {command: y, namespace: ''}}",
    ],
)
def test_upstreams_that_share_no_namespace_or_do_so_on_purpose_are_not(loaded, text):
    assert loaded(f"upstreams: {text}").source.warnings == ()


def test_merged_anchors_work_and_errors_in_them_are_said_once(loaded, refused):
    text = "upstreams:\n  a: &a {command: x, start: lazy}\n  b: {<<: *a, args: [y]}\n"
    config = loaded(text)
    assert (config.upstreams["b"].start, config.upstreams["b"].args) == ("lazy", ("y",))
    assert refused(text.replace("lazy", "lasy")) == [
        "mesh.yaml:2:29: upstreams.a.start: must be 'eager' or 'lazy'; did you mean 'lazy'?",
        "mesh.yaml:2:29: upstreams.b.start: must be 'eager' or 'lazy'; did you mean 'lazy'?",
    ]


def test_the_order_of_the_file_is_kept_and_matters(loaded):
    one = loaded("upstreams: {b: {command: x}, a: {command: x}}")
    other = loaded("upstreams: {a: {command: x}, b: {command: x}}")
    assert [spec.name for spec in one.enabled] == ["b", "a"]
    assert one != other


def test_comments_and_layout_make_no_difference(loaded):
    one = loaded("upstreams:\n  a:\n    command: x  # here\n")
    other = loaded({"upstreams": {"a": {"command": "x"}}})
    assert one == other
    assert hash(one) == hash(other)
    assert one.source.digest != other.source.digest


def test_a_command_line_may_change_the_server(loaded):
    config = loaded("upstreams: {a: {command: x, env: {KEY: a-secret}}}")
    changed = with_server(config, port=9, host="::1")
    assert (changed.server.port, changed.server.host, changed.server.path) == (9, "::1", "/mcp")
    assert changed.source == config.source
    assert changed.scrubber.scrub("a-secret") == "***"
    assert changed.enabled == config.enabled
    with pytest.raises(ConfigError, match=r"server\.host: 0\.0\.0\.0 can be reached from other machines"):
        with_server(config, host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"server\.port: must be at most 65535"):
        with_server(config, port=70000)


def test_loading_needs_neither_the_sdk_nor_a_watcher():
    code = "import sys, meshproxy.config.load, meshproxy.config.schema, meshproxy.config.watch; print(sorted({'mcp', 'mcp_types', 'watchfiles', 'httpx'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("written", "expected"), [("true", (None,)), ("false", None), ("{listen: 127.0.0.1:9464}", ("127.0.0.1:9464",))]
)
def test_what_the_command_line_does_not_name_stays_as_it_is_written(written, expected, tmp_path):
    file = tmp_path / "mesh.yaml"
    file.write_text(f"server: {{metrics: {written}}}\nupstreams: {{}}\n")
    changed = with_server(load(file), port=9).server
    assert changed.port == 9
    assert (None if changed.metrics is None else (changed.metrics.listen,)) == expected
