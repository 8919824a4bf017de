"""`server.tls`: https from the config, certificates that are replaced on disk, and clients that are known by theirs."""

from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from meshproxy.http.server_tls import ServerTls, name_in
from tests.access.certificates import CA, LOCALHOST, OTHER, ask, client, config
from tests.access.conftest import ADA, key
from tests.kit.light import document, light
from tests.kit.messages import heads, modern, request
from tests.kit.program import serve
from tests.kit.waiting import DEADLINE


def test_the_mesh_serves_https_and_takes_up_another_certificate_without_a_start(tmp_path: Path) -> None:
    file = config(tmp_path, {"tls": {"certificate": "server.pem"}})
    with serve(file, tmp_path / "log") as mesh, client(tmp_path) as http:
        assert mesh.url.startswith("https://127.0.0.1:")
        assert ask(http, mesh.url).json()["result"]["tools"]
        # Large answers and requests, and the end of a connection.
        text = "x" * 300_000
        said = ask(http, mesh.url, "tools/call", name="a_echo", arguments={"tag": text}).json()
        assert said["result"]["structuredContent"]["tag"] == text
        message, headers = modern(request("tools/list", {}))
        closing = heads(**headers, connection="close")
        with client(tmp_path) as leaving:
            answer = leaving.post(mesh.url.replace("127.0.0.1", "localhost"), json=message, headers=closing)
            assert answer.status_code == 200
        with client(tmp_path, ca=OTHER) as stranger, pytest.raises(httpx2.ConnectError):
            ask(stranger, mesh.url)
        # A half-written file changes nothing, and a whole one is taken up.
        (tmp_path / "server.pem").write_bytes(b"-----BEGIN CERTIFICATE-----")
        assert "server.pem" in mesh.await_event("tls.certificate_unusable")["reason"]
        with client(tmp_path) as again:
            assert ask(again, mesh.url).status_code == 200
        (tmp_path / "server.pem").write_bytes(OTHER.issue("second", LOCALHOST))
        mesh.await_event("tls.certificate_replaced")
        with client(tmp_path, ca=OTHER) as stranger:
            assert ask(stranger, mesh.url).status_code == 200
        # Whoever is connected stays so.
        assert ask(http, mesh.url).status_code == 200
        assert mesh.end() == 0


def test_clients_are_known_by_their_certificates_and_rules_go_by_their_names(tmp_path: Path) -> None:
    rules = [
        {"who": {"certificates": ["box*.example.com"]}, "allow": ["a_echo"]},
        {"who": {"keys": ["ada"]}, "allow": ["*"]},
    ]
    tls = {"certificate": "server.pem", "client_ca": "ca.pem"}
    file = config(tmp_path, {"host": "localhost", "tls": tls, "auth": {"keys": [key("ada", ADA)]}}, access=rules)
    with serve(file, tmp_path / "log") as mesh:
        named = CA.issue("irrelevant", x509.DNSName("box1.example.com"))
        with client(tmp_path, named) as http:
            tools = ask(http, mesh.url).json()["result"]["tools"]
            assert [tool["name"] for tool in tools] == ["a_echo"]
            # What is shown on top of it is what counts.
            assert len(ask(http, mesh.url, secret=ADA).json()["result"]["tools"]) == 2
            assert ask(http, mesh.url, secret="mesh_wrong").status_code == 401
        with client(tmp_path) as http:
            assert ask(http, mesh.url).status_code == 401
            assert ask(http, mesh.url, secret=ADA).status_code == 200
        with client(tmp_path, OTHER.issue("box1.example.com")) as http, pytest.raises(httpx2.TransportError):
            ask(http, mesh.url)


def test_authorities_alone_ask_everybody_for_a_certificate(tmp_path: Path) -> None:
    file = config(tmp_path, {"host": "0.0.0.0", "tls": {"certificate": "server.pem", "client_ca": "ca.pem"}})
    with serve(file, tmp_path / "log") as mesh:
        with client(tmp_path) as http:
            assert ask(http, mesh.url).status_code == 401
        with client(tmp_path, CA.issue("ada")) as http:
            assert ask(http, mesh.url).status_code == 200


def test_an_edit_that_removes_auth_opens_no_port_that_others_reach(tmp_path: Path) -> None:
    file = config(tmp_path, {"host": "0.0.0.0", "auth": {"keys": [key("ada", ADA)]}})
    with serve(file, tmp_path / "log") as mesh, httpx2.Client(timeout=DEADLINE) as http:
        assert ask(http, mesh.url, secret=ADA).status_code == 200
        file.write_text(document({"a": light("--tools", "echo,drop")}))
        mesh.await_event("config.reloaded")
        assert "start the mesh again" in mesh.await_event("access.closed")["reason"]
        assert ask(http, mesh.url).status_code == 401


def test_files_that_cannot_be_used_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    good.write_bytes(CA.issue("x"))
    bad.write_bytes(b"no certificate")
    with pytest.raises(ValueError, match=r"certificate .*none.pem and its key cannot be used: No such file"):
        ServerTls(tmp_path / "none.pem")
    with pytest.raises(ValueError, match=r"certificate .*bad.pem"):
        ServerTls(bad)
    with pytest.raises(ValueError, match=r"authorities in .*bad.pem cannot be used"):
        ServerTls(good, None, bad)
    ServerTls(good, good, good)


def test_a_name_is_the_first_alternative_else_the_common_one() -> None:
    subject = ((("organizationName", "o"),), (("commonName", "common"),))
    assert name_in({"subject": subject}) == "common"
    assert name_in({"subject": subject, "subjectAltName": (("email", "e"), ("DNS", "d"))}) == "d"
    assert name_in({"subjectAltName": (("DNS", "d"), ("URI", "spiffe://x"))}) == "spiffe://x"
    assert name_in({}) is None
    assert name_in(None) is None


def test_a_mesh_whose_certificate_is_missing_says_so_and_does_not_start(tmp_path: Path) -> None:
    file = config(tmp_path, {"tls": {"certificate": "elsewhere.pem"}})
    log = tmp_path / "log"
    with pytest.raises(pytest.fail.Exception), serve(file, log):
        pass
    assert "server.tls: the certificate" in log.read_text()
