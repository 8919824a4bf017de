"""`meshproxy doctor`: what it finds on a real machine with real files and upstreams, what it mends, and the statuses that scripts go by."""

import contextlib
import datetime as dt
import hashlib
import json
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.kit.light import light
from tests.kit.processes import is_alive
from tests.kit.program import ENVIRONMENT
from tests.kit.sockets import listener

Run = Callable[..., Any]
Json = dict[str, Any]


@pytest.fixture
def doctor(meshproxy: Run) -> Run:
    """`doctor(file)`: its exit status, and its findings by kind."""

    def run(*arguments: object, **environment: str) -> tuple[int, dict[str, list[Json]]]:
        ended = meshproxy("doctor", *arguments, "--json", env={**ENVIRONMENT, **environment})
        assert ended.stderr == ""
        found: dict[str, list[Json]] = {}
        for finding in json.loads(ended.stdout)["findings"]:
            found.setdefault(finding["kind"], []).append(finding)
        return ended.returncode, found

    return run


@pytest.fixture
def sound(config: Run) -> Run:
    """`sound(a=light())`: a config with nothing to be found, but for what the test gives it."""

    def write(**sections: Any) -> Path:
        keys = {"state": "none", "server": {"port": 0}, **sections}
        file: Path = config(**keys)
        file.chmod(0o600)
        return file

    return write


def test_where_nothing_is_wrong_that_is_said_with_what_was_looked_at(meshproxy: Run, sound: Run) -> None:
    ended = meshproxy("doctor", sound(a=light("--tools", "echo,wait")))
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[-1] == "nothing is wrong"
    assert lines[-2].startswith("2 tools, about ")


def test_a_file_that_cannot_be_served_is_no_finding_but_an_error(meshproxy: Run, config: Run) -> None:
    ended = meshproxy("doctor", config("upstreams: {a: {comand: x}}\n"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "comand" in ended.stderr


def test_commands_are_looked_for_as_they_are_started(doctor: Run, sound: Run, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    status, found = doctor(
        sound(
            a={"command": "no-such-program"},
            b={"command": "./script"},
            c={**light(), "cwd": "nowhere"},
            d={"command": "npx", "env": {"PATH": str(tmp_path)}},
            e=light(enabled=False),
        )
    )
    assert status == 10
    missing, unfit, folder, node = found["command"]
    assert missing["place"].endswith("mesh.yaml:6:3: upstreams.a.command")
    assert missing["what"] == "the command 'no-such-program' was not found on PATH"
    assert missing["remedy"] == "install it, or give its full path"
    assert unfit["remedy"] == f"chmod u+x {tmp_path / 'script'}"
    assert folder["place"].endswith("upstreams.c.cwd")
    assert "install Node.js" in node["remedy"]
    # They are not tried, since it is known why they would not start.
    assert "upstream" not in found


def test_a_runtime_that_is_too_old_is_found_and_one_that_nothing_needs_is_not(
    doctor: Run, meshproxy: Run, sound: Run, tmp_path: Path
) -> None:
    for name, text in (("node", "echo v16.20.1"), ("npx", "exit 1"), ("uv", "echo uv 0.1.0")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    status, found = doctor(sound(a={"command": "npx", "env": {"PATH": path}}), PATH=path)
    assert status == 10
    [old] = found["version"]
    assert old["what"].startswith("version 16.20.1 is too old")
    # The machine alone is looked at whole.
    ended = meshproxy("doctor", env={**ENVIRONMENT, "PATH": path, "XDG_STATE_HOME": str(tmp_path / "state")})
    assert ended.returncode == 10
    assert ended.stdout.startswith("node 16.20.1, uv 0.1.0")
    assert "version  uv: version 0.1.0 is too old" in ended.stdout


def test_a_port_that_another_program_has_is_found_and_that_of_a_mesh_is_not(
    doctor: Run, sound: Run, serving: Run, config: Run
) -> None:
    with contextlib.closing(listener()) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        status, found = doctor(sound(a=light(), server={"port": port}))
        cluster = {"listen": f"127.0.0.1:{port}", "key": "a key of replicas that is long enough to be one"}
        _, of_cluster = doctor(sound(a=light(), cluster=cluster))
    assert status == 10
    assert found["port"][0]["place"].endswith("server.port")
    assert "is in use" in found["port"][0]["what"]
    assert of_cluster["port"][0]["place"].endswith("cluster.listen")
    mesh = serving(config(a=light(), state="none", name="other.yaml"))
    mesh.await_settled()
    assert doctor(sound(a=light(), server={"port": int(mesh.url.split(":")[2].split("/")[0])})) == (0, {})


def certificate(folder: Path, days: int, *names: str, begin: int = -2) -> None:
    """A certificate of its own, from `begin` to `days` days from now, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mesh")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=begin))
        .not_valid_after(now + dt.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "cert.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + pem)
    file.chmod(0o600)


@pytest.mark.parametrize(
    ("begin", "days", "what"),
    [(-9, -1, "ended on"), (-2, 10, "in 10 days"), (5, 90, "is not valid before"), (-2, 90, None)],
)
def test_a_certificate_is_found_before_it_ends(
    doctor: Run, sound: Run, tmp_path: Path, begin: int, days: int, what: str | None
) -> None:
    certificate(tmp_path, days, "*.example.com", begin=begin)
    server = {"port": 0, "tls": {"certificate": "cert.pem"}, "public_url": "https://mesh.example.com"}
    status, found = doctor(sound(a=light(), server=server))
    assert status == (0 if what is None else 10)
    assert [what in one["what"] for one in found.get("certificate", [])] == ([] if what is None else [True])


def test_a_certificate_for_another_name_and_files_that_do_not_fit_are_found(
    doctor: Run, sound: Run, tmp_path: Path
) -> None:
    certificate(tmp_path, 90, "other.example.com")
    server = {"port": 0, "tls": {"certificate": "cert.pem"}, "public_url": "https://mesh.example.com"}
    [found] = doctor(sound(a=light(), server=server))[1]["certificate"]
    assert found["what"].startswith("the certificate is not for mesh.example.com")
    (tmp_path / "cert.pem").write_text("no PEM")
    [found] = doctor(sound(a=light(), server=server))[1]["certificate"]
    assert "cannot be used" in found["what"]


def test_keys_that_end_soon_are_found(doctor: Run, sound: Run) -> None:
    hashed = "sha256:" + hashlib.sha256(b"mesh_secret-0123456789").hexdigest()
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=3)).date().isoformat()
    keys = [
        {"name": name, "hash": hashed[:-1] + digit, "expires": end}
        for name, digit, end in (("gone", "0", "2020-01-01"), ("soon", "1", soon), ("fine", "2", "2999-01-01"))
    ]
    status, found = doctor(sound(a=light(), server={"port": 0, "auth": {"keys": keys}}))
    assert status == 10
    assert [one["what"].split(" on ")[0] for one in found["key"]] == ["the key ended", "the key ends"]


def test_a_variable_that_is_not_set_is_a_finding_and_the_rest_is_looked_at(doctor: Run, sound: Run) -> None:
    file = sound(
        a=light("--tools", "echo", env={"API_TOKEN": "${NOWHERE_SET}"}),
        b=light("--define", json.dumps({"name": "x", "inputSchema": {"type": "object", "oneOf": []}})),
    )
    status, found = doctor(file)
    assert status == 10
    [unset] = found["variable"]
    assert unset["what"] == "environment variable NOWHERE_SET is not set"
    assert unset["place"].endswith("upstreams.a.env.API_TOKEN")
    # The one is not tried, and the other is.
    assert "upstream" not in found
    assert len(found["schema"]) >= 1


def test_what_depends_on_the_variable_beyond_guessing_is_left(meshproxy: Run, config: Run) -> None:
    file = config(a=light(), server={"port": "${NO_PORT}"})
    ended = meshproxy("doctor", file)
    assert ended.returncode == 10
    assert "NO_PORT is not set" in ended.stdout
    assert "the rest of the file cannot be looked at until the variables are set" in ended.stdout


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("", "is set, and empty"),
        ("abc ", "begins or ends with a space"),
        ("'abcdef'", "has quotes around it"),
        ("a'b'", None),
    ],
)
def test_a_variable_that_is_hardly_meant_so_is_found_without_its_value(
    doctor: Run, sound: Run, value: str, what: str | None
) -> None:
    status, found = doctor(sound(a=light(env={"X": "${ODD_VALUE}"})), ODD_VALUE=value)
    assert status == (10 if what else 0)
    if what:
        [odd] = found["variable"]
        assert odd["what"].startswith(what)
        assert "abc" not in json.dumps(odd)
    assert "variable" not in doctor(sound(a=light(env={"X": "${ODD_VALUE:-none}"})), ODD_VALUE="")[1]


def test_names_that_clients_or_models_do_not_take_are_found(doctor: Run, sound: Run) -> None:
    tools = ["x" * 66, "y" * 56, "with.dot", "fine"]
    status, found = doctor(
        sound(
            a=light("--tools", ",".join(tools)),
            b=light("--tools", "1st,fine", namespace=""),
            c=light("--tools", "a_fine", namespace=""),
        )
    )
    assert status == 10
    cut, with_server, other, digit = (one["what"] for one in found["name"])
    assert cut.startswith(
        "the names of 1 of 4 tools are longer than 64 characters, so that they are cut and end in a hash: a_x"
    )
    assert with_server.startswith("the names of 2 of 4 tools are longer than 60 characters with 'test'")
    assert other.endswith("refuse: a_with.dot")
    assert digit.endswith("refuses: 1st")
    [collision] = found["collision"]
    assert "a_fine" in collision["what"]
    assert collision["place"].endswith("upstreams.c")
    assert collision["remedy"].startswith("give one of them another namespace")


def test_schemas_and_descriptions_that_a_model_would_refuse_are_found(doctor: Run, sound: Run) -> None:
    define = [
        {"name": "x", "description": "d" * 1025, "inputSchema": {"type": "object"}},
        {"name": "y", "inputSchema": {"type": "object", "properties": {"list": {"type": "array"}}}},
    ]
    arguments = [word for one in define for word in ("--define", json.dumps(one))]
    status, found = doctor(sound(a=light(*arguments)))
    assert status == 10
    array, long = found["schema"]
    assert array["what"].startswith("the schema of a_y has an array without items")
    assert array["remedy"].endswith("(tools: {exclude: [y]})")
    assert long["what"].endswith("OpenAI refuses: a_x")


def test_what_takes_too_much_of_a_model_is_found(doctor: Run, sound: Run, config: Run) -> None:
    tools = ",".join(f"{'t' * 40}{number}" for number in range(400))
    status, found = doctor(sound(a=light("--tools", tools, "--label", "d" * 200)))
    assert status == 10
    dear, many = found["cost"]
    assert "tools take about" in dear["what"]
    assert many["what"] == "400 tools are more than the 128 that OpenAI takes"
    # Where there are profiles, each of them counts.
    file = sound(a=light("--tools", tools))
    file.write_text(file.read_text() + "profiles: {few: {tools: {include: ['*1']}}}\n")
    assert doctor(file) == (0, {})


def test_secrets_that_every_user_can_read_are_found_and_mended(
    doctor: Run, meshproxy: Run, sound: Run, tmp_path: Path
) -> None:
    # A folder of pytest's is its user's alone, so that what is in it is not open, whatever its mode.
    for folder in (tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o755)
    (tmp_path / "token").write_text("hunter2-hunter2")
    file = sound(a=light(env={"PLAIN_TOKEN": "hunter3-hunter3", "REFERRED": "${file:token}"}))
    (tmp_path / "token").chmod(0o644)
    file.chmod(0o644)
    status, found = doctor(file)
    assert status == 10
    config, token = found["secret"]
    assert (config["place"], token["place"]) == (str(file), str(tmp_path / "token"))
    assert (config["fixable"], token["remedy"]) == (True, f"chmod 640 {tmp_path / 'token'}")
    assert "hunter" not in json.dumps(found)
    ended = meshproxy("doctor", file, "--fix")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"fixed: chmod 640 {file}\n" in ended.stdout
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o640
    assert doctor(file) == (0, {})
    # Without a secret in it, anybody may read a config.
    plain = sound(a=light(env={"REFERRED": "${file:token}"}))
    plain.chmod(0o644)
    assert doctor(plain) == (0, {})


def test_state_that_others_may_read_and_what_is_stale_in_it_is_found_and_mended(
    doctor: Run, sound: Run, serving: Run, config: Run, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    mesh = serving(config(a=light(), gone=light(), state=str(state), name="other.yaml"))
    mesh.await_settled()
    assert mesh.end() == 0
    half = state / "catalogs" / "a.json.1234.tmp"
    half.write_text("{")
    os.utime(half, (0, 0))
    half.chmod(0o600)
    state.chmod(0o755)
    (state / "key").chmod(0o644)
    file = sound(a=light(), state=str(state))
    status, found = doctor(file)
    assert status == 10
    assert [one["place"] for one in found["state"][:3]] == [str(state), str(state / "key"), str(half)]
    assert "not in the config any more" in found["state"][3]["what"]
    assert all(one["fixable"] for one in found["state"])
    assert doctor(file, "--fix")[0] == 0
    assert doctor(file) == (0, {})
    assert not half.exists()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    [kept] = (state / "catalogs").iterdir()
    assert kept.name.startswith("a-")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whose descendants processes are")
def test_programs_of_a_mesh_that_was_killed_together_with_its_watcher_are_found(
    doctor: Run, sound: Run, serving: Run, config: Run
) -> None:
    mesh = serving(config(a=light("--stubborn"), state="none", name="other.yaml"))
    [pid] = mesh.await_settled()["a"]["pids"]
    file = sound(b=light())
    assert doctor(file) == (0, {}), "those of a mesh that runs are none"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            is_watcher = b"MESHPROXY_WATCHER=1" in (process / "environ").read_bytes()
            if is_watcher and parent == str(mesh.process.pid):
                os.kill(int(process.name), signal.SIGKILL)
    mesh.end(signal.SIGKILL)
    try:
        status, found = doctor(file, "--fix")
        assert status == 10, "a process is not ours to kill"
        assert [(one["place"], one["remedy"]) for one in found["orphan"]] == [(f"process {pid}", f"kill {pid}")]
        assert is_alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def late() -> Iterator[str]:
    """The URL of a server whose clock is an hour behind."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string(time.time() - 3600)

        def do_HEAD(self) -> None:
            self.send_response(404)
            self.end_headers()

        do_POST = do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


def test_a_clock_that_differs_from_others_is_found_and_so_is_an_upstream_that_is_down(
    doctor: Run, sound: Run, late: str
) -> None:
    status, found = doctor(sound(a={"url": late}, b=light("--dies", "no license")))
    assert status == 10
    [clock] = found["clock"]
    assert clock["place"] == late.removesuffix("/mcp")
    assert "s ahead of that server's" in clock["what"]
    web, program = found["upstream"]
    assert web["place"].endswith("upstreams.a")
    assert "no license" in program["what"]


def test_a_file_from_the_future_says_that_the_clock_was_wrong(doctor: Run, sound: Run) -> None:
    file = sound(a=light())
    os.utime(file, (4_000_000_000, 4_000_000_000))
    status, found = doctor(file)
    assert status == 10
    assert found["clock"][0]["place"] == str(file)


def test_warnings_of_the_file_are_findings(doctor: Run, sound: Run) -> None:
    status, found = doctor(sound(**{"my docs": light(), "my.docs": light("--tools", "other")}))
    assert status == 10
    assert "namespace" in found["config"][0]["what"]
