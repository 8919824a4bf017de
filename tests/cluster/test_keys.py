"""What the key of a cluster lets in, and keeps out."""

import asyncio
import itertools
import ssl
import subprocess
import sys

import pytest
from meshproxy.cluster.keys import Keys

pytestmark = pytest.mark.anyio

OLD, NEW, FOREIGN = (f"{word}-key-of-a-test-that-is-long-enough" for word in ("old", "new", "foreign"))


async def reached(server: Keys, client: ssl.SSLContext | None) -> bytes:
    """What a client gets of a server that says hello to whom it lets in."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server.tls.context)
    try:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), ssl=client)
        if client is None:
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            return await reader.read()
        finally:
            writer.close()
    except OSError:
        return b""
    finally:
        listening.close()


async def test_who_has_the_key_is_let_in_and_knows_whom_he_has_reached() -> None:
    assert await reached(Keys([OLD]), Keys([OLD]).client()) == b"hello"


async def test_who_has_another_key_is_not_and_neither_is_who_has_none() -> None:
    assert await reached(Keys([OLD]), Keys([FOREIGN]).client()) == b""
    # One that looks at no certificate gets none of it either.
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    assert await reached(Keys([OLD]), careless) == b""
    careless_with_another = Keys([FOREIGN]).client()
    careless_with_another.verify_mode = ssl.CERT_NONE
    assert await reached(Keys([OLD]), careless_with_another) == b""
    plain = await reached(Keys([OLD]), None)
    assert b"hello" not in plain
    assert b"HTTP" not in plain


async def test_a_key_is_replaced_in_three_steps_at_each_of_which_all_reach_all() -> None:
    steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]]
    for before, after in itertools.pairwise(steps):
        for server, client in ((before, after), (after, before), (after, after)):
            assert await reached(Keys(server), Keys(client).client()) == b"hello"
    assert await reached(Keys([NEW]), Keys([OLD]).client()) == b""


async def test_a_key_that_is_taken_away_is_not_taken_any_more() -> None:
    keys, told = Keys([OLD]), []
    keys.tls.on_authorities(lambda: told.append(len(keys.tls.authorities)))
    assert not keys.take([OLD])
    assert keys.take([NEW])
    assert told == [1]
    assert await reached(keys, Keys([OLD]).client()) == b""
    assert await reached(keys, Keys([NEW]).client()) == b"hello"


def test_what_is_made_of_a_key_is_the_same_in_every_process() -> None:
    script = f"from meshproxy.cluster.keys import Keys; k = Keys([{OLD!r}]); print(k.for_(b'x')[0].hex(), *map(bytes.hex, k.tls.authorities))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    keys = Keys([OLD])
    assert told == [keys.for_(b"x")[0].hex(), *map(bytes.hex, keys.tls.authorities)]
    assert keys.for_(b"x") != keys.for_(b"y")
    assert OLD not in repr(keys)


async def test_a_system_without_files_in_memory_has_the_same(monkeypatch) -> None:
    monkeypatch.delattr("os.memfd_create", raising=False)
    assert await reached(Keys([OLD]), Keys([OLD]).client()) == b"hello"
