import os

import pytest
from meshproxy.config.load import load
from meshproxy.errors import ConfigError


def one_line(path):
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}").removeprefix(":").strip()


def test_a_file_that_cannot_be_read_is_one_line_with_a_remedy(tmp_path):
    assert one_line(tmp_path / "none.yaml") == "does not exist; check the path"
    assert one_line(tmp_path) == "is a directory; name a file in it"
    assert one_line("/dev/null") == "is not a regular file"
    (tmp_path / "loop").symlink_to("loop")
    assert one_line(tmp_path / "loop").startswith("cannot be read")
    assert one_line(tmp_path / "x\0y").startswith("embedded null")
    (tmp_path / "large").write_bytes(b"#" * (5 << 20))
    assert one_line(tmp_path / "large") == "is larger than 4 MiB"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_one_line_with_a_remedy(tmp_path):
    path = tmp_path / "mesh.yaml"
    path.touch(mode=0)
    assert "permission denied; check its mode" in one_line(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty; write the MCP servers to merge under upstreams:"),
        (b"# only a comment\n", "is empty; write the MCP servers to merge under upstreams:"),
        (b"\xef\xbb\xbf", "is empty; write the MCP servers to merge under upstreams:"),
        (
            b"- a\n",
            "1:1: must be a mapping of keys to values, not a list; begin with upstreams: and name each upstream",
        ),
        (
            b"hello\n",
            "1:1: must be a mapping of keys to values, not a single value; begin with upstreams: and name each upstream",
        ),
        (b"name: x\n", "1:1: upstreams: is missing; write the MCP servers to merge under it"),
        (b"upstreams: {}\nname: caf\xe9\n", "2:10: is not UTF-8 text (byte 0xe9); save the file as UTF-8"),
        ("upstreams: {}".encode("utf-16"), "1:1: is not UTF-8 text (it looks like UTF-16); save the file as UTF-8"),
        (b"upstreams:\n\ta: 1\n", "2:1: a tab is not allowed here; YAML is indented with spaces"),
        (b"upstreams: {}\nupstreams: {}\n", "2:1: upstreams: repeated key; it is set at line 1, column 1"),
        (
            b"upstreams: {}\nmcpServers: {}\n",
            "2:1: mcpServers: mcpServers is another spelling of upstreams; put all under one of them",
        ),
        (b"upstreams: []\n", "1:12: upstreams: must be a mapping of keys to values, not a list"),
        (
            b"upstreams: {a: {command: x}\n",
            "2:1: not valid YAML: expected ',' or '}', but got '<stream end>' while parsing a flow mapping, which began at line 1",
        ),
    ],
)
def test_a_file_that_is_no_config_is_one_line_with_a_remedy(tmp_path, data, message):
    path = tmp_path / "mesh.yaml"
    path.write_bytes(data)
    assert one_line(path) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam: x", "1:1: nam: unknown key; did you mean 'name'?"),
        ("port: 1", "1:1: port: unknown key; it belongs under 'server'"),
        ("servers: {}", "1:1: servers: unknown key; did you mean 'upstreams'?"),
        ("zzz: 1", "1:1: zzz: unknown key; known here: name, instructions, separator, state, server, reload, observe, access, cluster, profiles, upstreams, mcpServers, defaults"),
        ("name:", "1:1: name: has no value; give it one, or remove the key"),
        ("name: ''", "1:7: name: cannot be empty"),
        ("name: 5", '1:7: name: must be text, not a number; put it in quotes: "5"'),
        ("name: [x]", "1:7: name: must be text, not a list; write one value"),
        ("separator: /", "1:12: separator: must be '_', '__', '-' or '.'"),
        ("server: 5", "1:9: server: must be a mapping of keys to values, not a number"),
        ("server: {Port: 1}", "1:10: server.Port: unknown key; did you mean 'port'?"),
        ("server: {port: 70000}", "1:16: server.port: must be at most 65535"),
        ("server: {port: -1}", "1:16: server.port: must be at least 0"),
        ("server: {port: '80'}", "1:16: server.port: must be a whole number, not text"),
        ("server: {port: 1.5}", "1:16: server.port: must be a whole number, not a number"),
        ("server: {port: true}", "1:16: server.port: must be a whole number, not a boolean"),
        ("server: {max_sessions: 0}", "1:24: server.max_sessions: must be at least 1"),
        ("server: {path: mcp}", "1:16: server.path: must be a path such as /mcp, without ? and #"),
        ("server: {path: /readyz}", "1:16: server.path: is taken by the health checks and the metrics; choose another path, such as /mcp"),
        ("server: {max_body: 4X}", "1:20: server.max_body: '4X' is not a size: write a number with one of the units"),
        ("server: {list_grace: never}", "1:22: server.list_grace: never is not possible here; write a duration such as 3s"),
        ("server: {allowed_hosts: x}", '1:25: server.allowed_hosts: must be a list, not text; write ["x"]'),
        ("server: {host: 0.0.0.0}", "1:16: server.host: 0.0.0.0 can be reached from other machines, and nothing asks who calls; listen on 127.0.0.1, make keys with `meshproxy key new` for server.auth, or set server.allow_unauthenticated: true"),
        ("server: {host: '::'}", "1:16: server.host: :: can be reached"),
        ("server: {host: example.com}", "1:16: server.host: example.com can be reached"),
        ("reload: {watch: yes}", "1:17: reload.watch: must be true or false, not text; write true"),
        ("reload: {drain_timeout: -1}", "1:25: reload.drain_timeout: a duration cannot be negative"),
        ("defaults: {command: x}", "1:12: defaults.command: unknown key; it belongs to a single upstream, and has no default"),
        ("defaults: {timeouts: {call: 5 minutes}}", "1:29: defaults.timeouts.call: '5 minutes' is not a duration"),
        ("defaults: []", "1:11: defaults: must be a mapping of keys to values, not a list"),
    ],
)  # fmt: skip
def test_a_mistake_at_the_top_is_said_with_its_place(refused, text, message):
    (line,) = refused(f"{text}\nupstreams: {{a: {{command: x}}}}")
    assert line.startswith(f"mesh.yaml:{message}")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{}", "2:3: upstreams.u: needs command (a program to start) or url (a server to connect to)"),
        ("", "2:3: upstreams.u: needs command (a program to start) or url (a server to connect to)"),
        ("5", "2:6: upstreams.u: must be a mapping of keys to values, not a number"),
        ("{urll: 'http://x'}", "2:7: upstreams.u.urll: unknown key; did you mean 'url'?"),
        ("{serverUrl: 'http://x'}", "2:7: upstreams.u.serverUrl: unknown key; did you mean 'url'?"),
        ("{command: x, forwardHeaders: []}", "2:19: upstreams.u.forwardHeaders: unknown key; did you mean 'forward_headers'?"),
        ("{command: x, call: 5s}", "2:19: upstreams.u.call: unknown key; it belongs under 'timeouts'"),
        ("{command: x, name: y}", "2:19: upstreams.u.name: unknown key; did you mean 'namespace'?"),
        ("{command: x, url: 'http://x'}", "2:19: upstreams.u.url: command and url exclude each other; an upstream is started or connected to, so remove one of them"),
        ("{url: 'http://x', urls: ['http://y']}", "2:24: upstreams.u.urls: url and urls exclude each other; write all of one server's replicas under urls, or remove urls"),
        ("{command: x, urls: ['http://y']}", "2:19: upstreams.u.urls: command and urls exclude each other"),
        ("{urls: ['http://y'], args: []}", "2:27: upstreams.u.args: args is for upstreams with command, and this one has urls; remove args"),
        ("{urls: ['http://y'], transport: sse}", "2:27: upstreams.u.transport: sse is for one url"),
        ("{urls: ['http://y', 'ftp://z']}", "2:26: upstreams.u.urls[1]: must be a URL"),
        ("{urls: []}", "2:13: upstreams.u.urls: needs at least one URL"),
        ("{url: 'http://x', args: []}", "2:24: upstreams.u.args: args is for upstreams with command, and this one has url; remove args"),
        ("{url: 'http://x', env: {}}", "2:24: upstreams.u.env: env is for upstreams with command, and this one has url; remove env"),
        ("{url: 'http://x', stderr: 1kB}", "2:24: upstreams.u.stderr: stderr is for upstreams with command, and this one has url; remove stderr"),
        ("{command: x, headers: {}}", "2:19: upstreams.u.headers: headers is for upstreams with url, and this one has command; remove headers"),
        ("{command: x, forward_headers: []}", "2:19: upstreams.u.forward_headers: forward_headers is for upstreams with url"),
        ("{command: x, transport: sse}", "2:19: upstreams.u.transport: transport is for upstreams with url, and this one has command; remove transport"),
        ("{url: 'http://x', type: stdio}", "2:24: upstreams.u.type: stdio is for upstreams with command, and this one has url; use streamable-http or sse"),
        ("{url: 'http://x', type: sse, transport: sse}", "2:24: upstreams.u.type: type is another spelling of transport; remove one of them"),
        ("{command: x, enabled: true, disabled: false}", "2:34: upstreams.u.disabled: disabled is another spelling of enabled; remove one of them"),
        ("{command: x, disabled: maybe}", "2:29: upstreams.u.disabled: must be true or false, not text"),
        ("{url: 'http://x', transport: websocket}", "2:35: upstreams.u.transport: must be 'streamable-http', 'sse' or 'stdio'"),
        ("{command: ''}", "2:16: upstreams.u.command: cannot be empty"),
        ("{command: [x]}", "2:16: upstreams.u.command: must be text, not a list; write one value"),
        ('{command: "a\\0b"}', "2:16: upstreams.u.command: cannot hold a NUL character"),
        ("{command: x, args: y}", '2:25: upstreams.u.args: must be a list, not text; write ["y"]'),
        ("{command: x, args: [-p, 80]}", '2:30: upstreams.u.args[1]: must be text, not a number; put it in quotes: "80"'),
        ("{command: x, env: {LOG: 1}}", "2:30: upstreams.u.env.LOG: must be text, not a number; put it in quotes"),
        ("{command: x, env: {LOG: }}", "2:25: upstreams.u.env.LOG: has no value"),
        ("{command: x, env: [A=b]}", "2:24: upstreams.u.env: must be a mapping of keys to values, not a list"),
        ("{command: x, env: {A=B: c}}", "2:25: upstreams.u.env.\"A=B\": 'A=B' cannot be the name of an environment variable"),
        ("{command: x, cwd: ''}", "2:24: upstreams.u.cwd: cannot be empty"),
        ("{url: ftp://x}", "2:12: upstreams.u.url: must be a URL that starts with http:// or https:// and names a host"),
        ("{url: 'http://'}", "2:12: upstreams.u.url: must be a URL"),
        ("{url: 'http://x:99999/'}", "2:12: upstreams.u.url: must be a URL"),
        ("{url: 'http://a b/'}", "2:12: upstreams.u.url: must be a URL"),
        ("{url: 'http://[::1/'}", "2:12: upstreams.u.url: must be a URL"),
        ("{url: 'http://x', headers: {a b: c}}", "2:34: upstreams.u.headers.\"a b\": 'a b' is no header name (RFC 9110, 5.1)"),
        ('{url: "http://x", headers: {A: "b\\nc"}}', "2:37: upstreams.u.headers.A: a header's value must be one line"),
        ("{url: 'http://x', headers: {A: 日本}}", "2:37: upstreams.u.headers.A: a header's value must be one line of Latin-1 text"),
        ("{url: 'http://x', headers: {A-b: c, a-B: d}}", "2:33: upstreams.u.headers: A-b and a-B are one header; keep one of them"),
        ("{url: 'http://x', forward_headers: ['a b']}", "2:42: upstreams.u.forward_headers[0]: 'a b' is no header name"),
        ("{command: x, namespace: my docs}", "2:30: upstreams.u.namespace: may have ASCII letters, digits, _ and - only; write my_docs"),
        (f"{{command: x, namespace: {'n' * 65}}}", "2:30: upstreams.u.namespace: is longer than 64 characters"),
        ("{command: x, session: isolate}", "2:28: upstreams.u.session: must be 'auto', 'isolated' or 'shared'; did you mean 'isolated'?"),
        ("{command: x, timeouts: 5s}", "2:29: upstreams.u.timeouts: must be a mapping of keys to values, not text"),
        ("{command: x, timeouts: {cal: 5s}}", "2:30: upstreams.u.timeouts.cal: unknown key; did you mean 'call'?"),
        ("{command: x, timeouts: {call: 0}}", "2:36: upstreams.u.timeouts.call: must be longer than 0; write never for no limit"),
        ("{command: x, concurrency: 5}", "2:19: upstreams.u.concurrency: unknown key; it belongs under 'limits'"),
        ("{command: x, limits: 5}", "2:27: upstreams.u.limits: must be a mapping of keys to values, not a number"),
        ("{command: x, limits: {queued: 5}}", "2:28: upstreams.u.limits.queued: unknown key; did you mean 'queue'?"),
        ("{command: x, limits: {concurrency: 0}}", "2:41: upstreams.u.limits.concurrency: must be at least 1"),
        ("{command: x, limits: {concurrency: many}}", "2:41: upstreams.u.limits.concurrency: must be a whole number, not text"),
        ("{command: x, limits: {queue: -1}}", "2:35: upstreams.u.limits.queue: must be at least 0"),
        ("{command: x, limits: {queue_wait: never}}", "2:40: upstreams.u.limits.queue_wait: never is not possible here; write a duration such as 3s"),
        ("{command: x, limits: {rate: 100}}", "2:34: upstreams.u.limits.rate: must be a rate: write a whole number in a second, minute or hour, as in 100/s, 30/m or 1000/h, or none"),
        ("{command: x, limits: {rate: 5/d}}", "2:34: upstreams.u.limits.rate: '5/d' is not a rate: write a whole number"),
        ("{command: x, limits: {rate: 0/s}}", "2:34: upstreams.u.limits.rate: a rate is from 1 to 1000000; write none for no limit"),
        ("{command: x, limits: {result: 1GiB}}", "2:36: upstreams.u.limits.result: a message of an upstream is read up to 256MiB; write that or less"),
        ("{command: x, breaker: on}", "2:28: upstreams.u.breaker: must be a mapping of keys to values, or off"),
        ("{command: x, breaker: }", "2:19: upstreams.u.breaker: has no value; give it one, or remove the key"),
        ("{command: x, breaker: {failures: 0}}", "2:39: upstreams.u.breaker.failures: must be at least 1"),
        ("{command: x, breaker: {pause: never}}", "2:36: upstreams.u.breaker.pause: never is not possible here; write a duration such as 30s"),
        ("{command: x, breaker: {pauses: 1s}}", "2:29: upstreams.u.breaker.pauses: unknown key; did you mean 'pause'?"),
        ("{command: x, retry: {reads: 11}}", "2:34: upstreams.u.retry.reads: must be at most 10"),
        ("{command: x, retries: 3}", "2:19: upstreams.u.retries: unknown key; did you mean 'retry'?"),
        ("{command: x, tools: ['*']}", "2:26: upstreams.u.tools: must be a mapping of keys to values, not a list"),
        ("{command: x, tools: {only: x}}", "2:27: upstreams.u.tools.only: unknown key; known here: include, exclude, rename"),
        ("{command: x, tools: {include: '*'}}", '2:36: upstreams.u.tools.include: must be a list, not text; write ["*"]'),
        ("{command: x, tools: {rename: {a: c, b: c}}}", "2:45: upstreams.u.tools.rename.b: 'a' is renamed to 'c' already"),
        ("{command: x, tools: {rename: {a: ''}}}", "2:39: upstreams.u.tools.rename.a: a new name cannot be empty"),
        ("{command: x, templates: {rename: {a: b}}}", "2:31: upstreams.u.templates.rename: unknown key; templates cannot be renamed, since their upstream would not know what clients make of the new ones: remove rename"),
        ("{command: '${NONE}'}", "2:16: upstreams.u.command: environment variable NONE is not set; set it, or give a default: ${NONE:-...}"),
        ("{url: '${NONE}'}", "2:12: upstreams.u.url: environment variable NONE is not set"),
        ("{command: x, timeouts: {call: '${NONE}'}}", "2:36: upstreams.u.timeouts.call: environment variable NONE is not set"),
        ("{command: x, env: {A: '${file:none}'}}", "2:28: upstreams.u.env.A: ${file:none}: "),
        ("{command: x, args: ['${A']}", "2:26: upstreams.u.args[0]: a ${ has no closing brace; write $${ for a literal ${"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_upstream_is_said_with_its_place(refused, entry, message):
    (line,) = refused(f"upstreams:\n  u: {entry}\n")
    assert line.startswith(f"mesh.yaml:{message}")


def test_templates_cannot_be_renamed_for_all_upstreams_at_once_either(refused):
    (line,) = refused("defaults: {templates: {rename: {}}}\nupstreams: {templates: {command: x}}\n")
    assert line.startswith("mesh.yaml:1:24: defaults.templates.rename: unknown key; templates cannot be renamed")
    (line,) = refused("upstreams: {templates: {command: x, rename: {}}}\n")
    assert line.endswith("unknown key; it belongs under 'tools'")


@pytest.mark.parametrize(("name", "message"), [("''", "cannot be empty"), ("x" * 65, "is longer than 64 characters")])
def test_a_name_that_is_too_short_or_too_long_is_said_once(refused, name, message):
    (line,) = refused(f"upstreams:\n  {name}: {{command: x}}\n")
    assert line.startswith("mesh.yaml:2:3: upstreams.")
    assert line.endswith(message)


def test_any_other_name_is_allowed(loaded):
    names = ["my docs!", "日本語", "a.b/c", "1", "null", "true", "x" * 64, "<<x"]
    config = loaded({"upstreams": {name: {"command": "x"} for name in names}})
    assert list(config.upstreams) == names
    assert config.upstreams["my docs!"].namespace == "my_docs_"


def test_everything_that_is_wrong_is_said_at_once_and_in_order(refused):
    lines = refused("""\
nam: x
server: {host: 0.0.0.0, prt: 1, port: x}
upstreams:
  a: {urll: 'http://x', session: shard}
  a: {command: x}
  b: {command: x, args: [1, 2], url: '${NONE}'}
  c: !x {}
  d: {url: '${ONE} ${TWO}'}
""")
    assert [line.split(": ")[0] + ": " + line.split(": ")[1] for line in lines] == [
        "mesh.yaml:1:1: nam",
        "mesh.yaml:2:16: server.host",
        "mesh.yaml:2:25: server.prt",
        "mesh.yaml:2:39: server.port",
        "mesh.yaml:4:7: upstreams.a.urll",
        "mesh.yaml:4:34: upstreams.a.session",
        "mesh.yaml:5:3: upstreams.a",
        "mesh.yaml:6:26: upstreams.b.args[0]",
        "mesh.yaml:6:29: upstreams.b.args[1]",
        "mesh.yaml:6:33: upstreams.b.url",
        "mesh.yaml:6:38: upstreams.b.url",
        "mesh.yaml:7:6: upstreams.c",
        "mesh.yaml:8:12: upstreams.d.url",
        "mesh.yaml:8:12: upstreams.d.url",
    ]


def test_a_mistake_in_the_defaults_is_said_once_however_many_upstreams_have_it(refused):
    lines = refused(
        "defaults: {timeouts: {call: soon}, env: {A: '${NONE}'}}\nupstreams: {a: {command: x}, b: {command: y}, c: {url: 'http://c'}}"
    )
    assert [line.split(": ")[1] for line in lines] == ["defaults.timeouts.call", "defaults.env.A"]


def test_two_renamed_components_with_one_public_name_are_refused(refused, loaded):
    (line,) = refused("""\
upstreams:
  a: {command: x, namespace: n, tools: {rename: {t: find}}}
  b: {command: x, namespace: n, tools: {rename: {s: find}}}
""")
    assert (
        line
        == "mesh.yaml:3:53: upstreams.b.tools.rename.s: upstream 'a' has 'n_find' already; choose another name, or another namespace"
    )
    (line,) = refused(
        "upstreams:\n  a: {command: x, prompts: {rename: {t: x}}}\n  b: {command: x, namespace: '', prompts: {rename: {s: a_x}}}\n"
    )
    assert "'a_x'" in line
    (line,) = refused(
        "upstreams:\n  a: {command: x, namespace: '', resources: {rename: {t: 'x:y'}}}\n  b: {command: x, namespace: '', resources: {rename: {s: 'x:y'}}}\n"
    )
    assert "'x:y'" in line
    loaded("upstreams:\n  a: {command: x, tools: {rename: {t: f}}}\n  b: {command: x, tools: {rename: {t: f}}}\n")
    loaded(
        "upstreams:\n  a: {command: x, namespace: n, tools: {rename: {t: f}}}\n  b: {command: x, namespace: n, prompts: {rename: {t: f}}}\n"
    )
    loaded(
        "upstreams:\n  a: {command: x, namespace: n, tools: {rename: {t: f}}}\n  b: {command: x, namespace: n, disabled: true, tools: {rename: {t: f}}}\n"
    )


def test_no_message_shows_a_secret(refused, tmp_path):
    (tmp_path / "token").write_text("s3cret-from-file")
    lines = refused("""\
server: {list_grace: '${file:token}', host: '${API_KEY}'}
upstreams:
  a: {url: '${file:token}', headers: {A: "s3cret-literal\\n", B: 53637265, C: "${API_KEY}\\n"}}
  b: {command: x, env: {PIN: 73637265, A: "s3cret\\0literal"}, namespace: '${API_KEY}!', session: '${file:token}'}
""", API_KEY="s3cret-variable")  # fmt: skip
    assert len({line.split(": ")[1] for line in lines}) == 10
    assert not [line for line in lines if "s3cret" in line or "3637265" in line]


def test_r5_the_credential_that_a_caller_shows_the_mesh_is_passed_on_to_nobody(refused):
    upstream = "upstreams: {a: {url: 'http://x', forward_headers: [X-A, Authorization]}}"
    (line,) = refused(f"server: {{auth: {{anonymous: true}}}}\n{upstream}")
    assert line.startswith("mesh.yaml:2:51: upstreams.a.forward_headers: would hand the credentials"), line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {auth: {keys: [{name: a, hash: mesh_secret}]}}", "1:40: server.auth.keys[0].hash: must be sha256: and 64 hexadecimal digits; `meshproxy key new` prints it"),
        ("server: {auth: {keys: [{name: a, hsh: x}]}}", "1:24: server.auth.keys[0]: needs hash"),
        ("server: {auth: {keys: [{name: a, hash: '#'}]}}", "1:40: server.auth.keys[0].hash: holds no hash"),
        ("server: {auth: {key: []}}", "1:17: server.auth.key: unknown key; did you mean 'keys'?"),
        (f"server: {{auth: {{keys: [{{name: a, hash: 'sha256:{'0' * 64}'}}, {{name: a, hash: 'sha256:{'1' * 64}'}}]}}}}", "1:123: server.auth.keys[1].name: another key is called 'a' already"),
        (f"server: {{auth: {{keys: [{{name: a, hash: 'sha256:{'0' * 64}'}}, {{name: b, hash: 'sha256:{'0' * 64}'}}]}}}}", "1:132: server.auth.keys[1].hash: is the hash of key 'a' too"),
        (f"server: {{auth: {{keys: [{{name: a, hash: 'sha256:{'0' * 64}', expires: soon}}]}}}}", "1:124: server.auth.keys[0].expires: must be a day such as 2027-06-30"),
        (f"server: {{auth: {{keys: [{{name: a, hash: 'sha256:{'0' * 64}', expires: '2027-01-01T00:00:00'}}]}}}}", "1:124: server.auth.keys[0].expires: needs a time zone"),
        (f"server: {{auth: {{keys: [{{name: a, hash: 'sha256:{'0' * 64}', profiles: [p]}}]}}}}", "1:126: server.auth.keys[0].profiles[0]: there is no profile 'p'"),
        ("server: {auth: {jwt: [{issuer: http://x.example.com, audience: m}]}}", "1:32: server.auth.jwt[0].issuer: must begin with https://"),
        ("server: {auth: {jwt: [{issuer: https://x, audience: m, algorithms: [HS256]}]}}", "1:69: server.auth.jwt[0].algorithms[0]: must be 'RS256', "),
        ("server: {auth: {jwt: [{issuer: https://x, audience: m, algorithms: []}]}}", "1:68: server.auth.jwt[0].algorithms: cannot be empty"),
        ("server: {auth: {jwt: [{issuer: https://x, audience: m}, {issuer: https://x, audience: n}]}}", "1:66: server.auth.jwt[1].issuer: is there already"),
        ("server: {auth: {jwt: [{issuer: https://x, audience: m, profiles: [p]}]}}", "1:67: server.auth.jwt[0].profiles[0]: there is no profile 'p'"),
        ("server: {auth: {jwt: [{issuer: https://x}]}}", "1:23: server.auth.jwt[0]: needs audience"),
        ("server: {tls: {cert: x}}", "1:15: server.tls: needs certificate"),
        ("server: {public_url: 'https://x/mcp'}", "1:22: server.public_url: has a path"),
        ("access: [{who: any}]", "1:10: access[0]: decides nothing; it needs allow or deny"),
        ("access: [{who: nobody, allow: [x]}]", "1:16: access[0].who: must be 'any', 'anonymous' or 'local'"),
        ("access: [{who: {keys: []}, allow: [x]}]", "1:16: access[0].who: names nobody; write who: any for everybody"),
        ("access: [{allow: [x], only: readonly}]", "1:29: access[0].only: must be 'read_only'; did you mean 'read_only'?"),
        ("profiles: {p: {upstreams: [b]}}", "1:28: profiles.p.upstreams[0]: there is no upstream 'b'"),
        ("profiles: {a/b: {}}", '1:12: profiles."a/b": names an address'),
        ("profiles: {p: {resources: {rename: {}}}}", "1:28: profiles.p.resources.rename: unknown key; only tools and prompts have other names in a profile"),
        ("profiles: {p: {tools: {incl: []}}}", "1:24: profiles.p.tools.incl: unknown key; did you mean 'include'?"),
    ],
)  # fmt: skip
def test_a_mistake_of_access_is_said_with_its_place(refused, text, message):
    lines = refused(f"{text}\nupstreams: {{a: {{command: x}}}}\n")
    assert lines[0].startswith(f"mesh.yaml:{message}"), lines
    assert "mesh_secret" not in str(lines)
