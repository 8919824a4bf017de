"""How the HTTP client gets a connection: both IP versions, TLS, proxies of the environment, and giving up on the way."""

import asyncio
import datetime as dt
import ipaddress
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from meshproxy.http import dial as dial_module
from meshproxy.http.client import ConnectFailed, ConnectionLost, HttpClient, TransportTimeout, default_tls
from tests.kit.waiting import DEADLINE

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts open files in /proc and fills backlogs"),
]


@pytest.fixture(autouse=True)
def no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, 127.0.0.1 and upstream.example, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshproxy tests")])
    now = dt.datetime.now(dt.UTC)
    names = [
        x509.DNSName("localhost"),
        x509.DNSName("upstream.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    encoding = serialization.Encoding.PEM
    path.write_bytes(
        made.public_bytes(encoding)
        + key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
async def secure_server(server, certificate) -> AsyncIterator:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    raw = type(server)()
    await raw.start(ssl=context)
    yield raw
    await raw.stop()


@pytest.fixture
def trusting(certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def dead() -> Iterator[tuple[str, int]]:
    """An address that refuses."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    yield bound.getsockname()
    bound.close()


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that never answers: a full backlog drops what comes."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    yield listener.getsockname()
    for each in (listener, *fillers):
        each.close()


def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Every name has these addresses."""

    async def answer(*_: object) -> list[tuple[int, tuple[str, int]]]:
        return [(socket.AF_INET, address) for address in addresses]

    monkeypatch.setattr(dial_module, "_addresses", answer)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path for each would be work for nothing


async def files_settle(count: int) -> None:
    """Wait until no more files are open than there were: a task that was cancelled needs a turn to close its socket."""
    async with asyncio.timeout(DEADLINE):
        while open_files() > count:
            await asyncio.sleep(0)


class Proxy:
    """A small HTTP proxy: notes each request head, tunnels CONNECT to a fixed port, answers everything else itself."""

    def __init__(self, target_port: int = 0, refusal: bytes = b"") -> None:
        self.heads: list[bytes] = []
        self.refusal = refusal
        self.target_port = target_port
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.tasks.add(asyncio.create_task(self.exchange(reader, writer)))

    async def exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if self.refusal:
                writer.write(self.refusal)
                writer.close()
                return
            if head.startswith(b"CONNECT"):
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy")
        there, back = await asyncio.open_connection("127.0.0.1", self.target_port)
        self.writers.append(back)
        for byte in b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n":
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
        sink.close()


async def exchange(client: HttpClient, server) -> bytes:
    """One request over a new connection; returns its head as the server saw it."""
    task = asyncio.create_task(client.request("POST", body=b"{}"))
    accepted = asyncio.create_task(server.accept())
    await asyncio.wait([task, accepted], return_when=asyncio.FIRST_COMPLETED)
    if task.done():  # it failed
        accepted.cancel()
        task.result()
    peer = await accepted
    head = await peer.request()
    peer.answer(b"hello")
    async with asyncio.timeout(DEADLINE):
        assert (await task).body == b"hello"
    return head


# --- the network


async def test_localhost_is_reached_whatever_version_it_listens_on(server) -> None:
    client = HttpClient(f"http://localhost:{server.port}/", connect_timeout=DEADLINE)
    assert b"host: localhost:" in await exchange(client, server)
    await client.aclose()


async def test_ipv6_literals_are_reached_and_named_in_brackets(server) -> None:
    listener = socket.socket(socket.AF_INET6)
    try:
        listener.bind(("::1", 0))
    except OSError:
        listener.close()
        pytest.skip("no IPv6 on this machine")
    six = await asyncio.start_server(server, sock=listener)
    port = listener.getsockname()[1]
    client = HttpClient(f"http://[::1]:{port}/", connect_timeout=DEADLINE)
    assert f"host: [::1]:{port}\r\n".encode() in await exchange(client, server)
    await client.aclose()
    six.close()


async def test_the_next_address_is_tried_when_one_fails_and_when_one_is_silent(
    server, silent, dead, monkeypatch
) -> None:
    monkeypatch.setattr(dial_module, "_HEAD_START", 0.05)
    before = open_files()
    for bad in (dead, silent):
        resolved(monkeypatch, bad, ("127.0.0.1", server.port))
        client = HttpClient("http://two.example/", connect_timeout=DEADLINE)
        await exchange(client, server)
        await client.aclose()
        assert await server.peers[-1].closed()
        server.peers.pop().close()
    await files_settle(before)


async def test_when_every_address_fails_so_does_the_request(dead, monkeypatch) -> None:
    resolved(monkeypatch, dead, ("127.0.0.2", dead[1]))
    client = HttpClient("http://two.example/", connect_timeout=DEADLINE)
    with pytest.raises(ConnectFailed, match=r"cannot connect to two\.example:80: connection refused"):
        await client.request("GET")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_where_nobody_listens_is_a_failure_before_sending(dead, host: str) -> None:
    client = HttpClient(f"http://user:secret@{host}:{dead[1]}/path", connect_timeout=DEADLINE)
    with pytest.raises(ConnectFailed, match="cannot connect to") as caught:
        await client.request("GET")
    assert not caught.value.sent
    assert "secret" not in str(caught.value)


async def test_a_name_without_an_address_is_a_failure_before_sending() -> None:
    client = HttpClient("http://nothing.invalid/", connect_timeout=DEADLINE)  # RFC 6761, 6.4: no such name may exist
    with pytest.raises(ConnectFailed, match=r"cannot connect to nothing\.invalid:80: ") as caught:
        await client.request("GET")
    assert not caught.value.sent


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connection_that_does_not_come_in_time_is_a_timeout_before_sending(silent, host: str) -> None:
    before = open_files()
    for connect, request in ((0.02, None), (DEADLINE, 0.02)):
        client = HttpClient(f"http://{host}:{silent[1]}/", connect_timeout=connect)
        with pytest.raises(TransportTimeout) as caught:
            await client.request("GET", timeout=request)
        assert not caught.value.sent
    await files_settle(before)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_cancelling_while_connecting_leaves_nothing(silent, host: str) -> None:
    before = open_files()
    client = HttpClient(f"http://{host}:{silent[1]}/", connect_timeout=DEADLINE)
    task = asyncio.create_task(client.request("GET"))
    async with asyncio.timeout(DEADLINE):
        while open_files() == before:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.statistics() == {"connections": 0, "idle": 0}
    await files_settle(before)


async def test_a_client_closed_while_connecting_closes_the_connection_that_comes(server) -> None:
    client = HttpClient(server.url, connect_timeout=DEADLINE)
    task = asyncio.create_task(client.request("GET"))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(ConnectFailed):
        await task
    assert client.statistics() == {"connections": 0, "idle": 0}
    if server.peers or not server.accepted.empty():
        assert await (await server.accept()).closed()


# --- TLS


async def test_https_is_spoken_with_a_context_made_at_the_first_connection(secure_server, trusting) -> None:
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(trusting)
        return trusting

    client = HttpClient(f"https://localhost:{secure_server.port}/mcp", connect_timeout=DEADLINE, tls=make)
    assert made == []
    await exchange(client, secure_server)
    peer = secure_server.peers[0]
    body = bytes(range(256)) * 4000
    task = asyncio.create_task(client.request("POST", body=body))
    assert (await peer.request()).endswith(body)
    peer.answer(body)
    assert (await task).body == body
    assert client.statistics() == {"connections": 1, "idle": 1}
    assert made == [trusting]
    await client.aclose()
    assert client.statistics() == {"connections": 0, "idle": 0}


async def test_a_certificate_that_nobody_vouches_for_is_refused_before_sending(secure_server) -> None:
    client = HttpClient(f"https://localhost:{secure_server.port}/mcp", connect_timeout=DEADLINE)
    with pytest.raises(ConnectFailed, match=r"(?i)certificate verify failed") as caught:
        await client.request("POST", body=b"secret")
    assert not caught.value.sent
    await client.aclose()


async def test_a_certificate_of_another_name_is_refused(secure_server, trusting, monkeypatch) -> None:
    resolved(monkeypatch, ("127.0.0.1", secure_server.port))
    client = HttpClient("https://other.example/", connect_timeout=DEADLINE, tls=lambda: trusting)
    with pytest.raises(ConnectFailed, match=r"other\.example"):
        await client.request("GET")


async def test_a_server_that_speaks_no_tls_is_a_failure_before_sending(server, trusting) -> None:
    client = HttpClient(f"https://localhost:{server.port}/", connect_timeout=DEADLINE, tls=lambda: trusting)
    task = asyncio.create_task(client.request("GET"))
    (await server.accept()).send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ConnectFailed, match="cannot connect"):
        await task


async def test_the_tls_handshake_counts_for_the_time_to_connect(server, trusting) -> None:
    client = HttpClient(f"https://localhost:{server.port}/", connect_timeout=0.3, tls=lambda: trusting)
    with pytest.raises(TransportTimeout) as caught:
        await client.request("GET")
    assert not caught.value.sent
    peer = await server.accept()
    await peer.closed()


async def test_a_tls_connection_that_ends_in_the_answer_is_lost(secure_server, trusting) -> None:
    client = HttpClient(f"https://localhost:{secure_server.port}/", connect_timeout=DEADLINE, tls=lambda: trusting)
    task = asyncio.create_task(client.request("GET"))
    peer = await secure_server.accept()
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
    peer.close()
    with pytest.raises(ConnectionLost, match="in the middle"):
        await task
    await client.aclose()


def test_one_context_serves_all_and_follows_ssl_cert_file(certificate, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    default_tls.cache_clear()
    try:
        context = default_tls()
        assert context is default_tls()
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert [dict(part[0] for part in found["subject"])["commonName"] for found in context.get_ca_certs()] == [
            "meshproxy tests"
        ]
    finally:
        default_tls.cache_clear()


# --- proxies


async def test_plain_http_asks_a_proxy_by_absolute_url(monkeypatch) -> None:
    async with Proxy() as proxy:
        monkeypatch.setenv("http_proxy", f"http://us%40er:pw@127.0.0.1:{proxy.port}")
        client = HttpClient("http://upstream.example/mcp?a=1", connect_timeout=DEADLINE)
        for target in (None, "/other"):
            assert (await client.request("POST", target)).body == b"proxy"
        assert proxy.heads[0] == (
            b"POST http://upstream.example/mcp?a=1 HTTP/1.1\r\nhost: upstream.example\r\n"
            b"proxy-authorization: Basic dXNAZXI6cHc=\r\ncontent-length: 0\r\n\r\n"
        )
        assert proxy.heads[1].startswith(b"POST http://upstream.example/other HTTP/1.1\r\n")
        assert client.statistics() == {"connections": 1, "idle": 1}
        await client.aclose()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
async def test_https_goes_through_a_proxy_by_tunnel(secure_server, trusting, monkeypatch, variable: str) -> None:
    async with Proxy(secure_server.port) as proxy:
        monkeypatch.setenv(variable, f"user:pw@127.0.0.1:{proxy.port}")
        client = HttpClient("https://upstream.example/mcp", connect_timeout=DEADLINE, tls=lambda: trusting)
        head = await exchange(client, secure_server)
        assert head.startswith(b"POST /mcp HTTP/1.1\r\nhost: upstream.example\r\n")
        assert b"proxy-authorization" not in head
        assert proxy.heads == [
            (
                b"CONNECT upstream.example:443 HTTP/1.1\r\nhost: upstream.example:443\r\n"
                b"proxy-authorization: Basic dXNlcjpwdw==\r\n\r\n"
            )
        ]
        assert client.statistics() == {"connections": 1, "idle": 1}
        await client.aclose()
        assert client.statistics() == {"connections": 0, "idle": 0}


async def test_a_tunnel_does_not_spare_the_certificate_check(secure_server, monkeypatch) -> None:
    async with Proxy(secure_server.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        client = HttpClient("https://upstream.example/mcp", connect_timeout=DEADLINE)
        with pytest.raises(ConnectFailed, match=r"(?i)certificate verify failed"):
            await client.request("GET")


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno", "answered 407 .* credentials"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 to CONNECT upstream.example:443$"),
        (b"SSH-2.0-OpenSSH\r\n\r\n\r\n", "not HTTP"),
        (b"x" * 20_000, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection before"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "not HTTP"),
    ],
)
async def test_a_proxy_that_refuses_is_a_failure_before_sending(
    trusting, monkeypatch, refusal: bytes, message: str
) -> None:
    async with Proxy(refusal=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        client = HttpClient("https://upstream.example/mcp", connect_timeout=DEADLINE, tls=lambda: trusting)
        with pytest.raises(ConnectFailed, match=message) as caught:
            await client.request("GET")
        assert not caught.value.sent
        assert "secret" not in str(caught.value)


async def test_a_proxy_that_says_nothing_counts_for_the_time_to_connect(server, trusting, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    client = HttpClient("https://upstream.example/mcp", connect_timeout=0.3, tls=lambda: trusting)
    with pytest.raises(TransportTimeout):
        await client.request("GET")
    assert (await (await server.accept()).request()).startswith(b"CONNECT ")
    assert await server.peers[0].closed()


async def test_loopback_and_no_proxy_hosts_are_reached_directly(server, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "upstream.example,.internal")
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "a.localhost", "[::1]", "upstream.example", "x.internal"):
        assert HttpClient(f"http://{host}/", connect_timeout=1)._proxy is None
    assert HttpClient("http://elsewhere.example/", connect_timeout=1)._proxy is not None
    assert HttpClient("https://elsewhere.example/", connect_timeout=1)._proxy is None
    client = HttpClient(server.url, connect_timeout=DEADLINE)
    await exchange(client, server)
    await client.aclose()


def test_a_proxy_of_another_kind_is_refused_with_advice(monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@127.0.0.1:1080")
    with pytest.raises(ValueError, match=r"socks5 proxy for upstream\.example.*NO_PROXY") as caught:
        HttpClient("http://upstream.example/", connect_timeout=1)
    assert "secret" not in str(caught.value)
