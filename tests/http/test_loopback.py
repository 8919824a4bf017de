"""Which hosts are this machine and nobody else's."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproxy.http.loopback import is_loopback, resolvable, without_port

HERE = {
    "localhost": "localhost",
    "LOCALHOST": "localhost",
    "LocalHost.": "localhost",
    "mesh.localhost": "localhost",
    "a.b-c.LOCALHOST.": "localhost",
    "127.0.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "127.255.255.254": "127.255.255.254",
    "::1": "::1",
    "[::1]": "::1",
    "[0:0:0:0:0:0:0:1]": "::1",
    "::ffff:127.0.0.1": "127.0.0.1",
    "[::FFFF:7f00:2]": "127.0.0.2",
}
ELSEWHERE = [
    *("", ".", "0.0.0.0", "::", "[::]", "10.0.0.1", "128.0.0.1", "::ffff:10.0.0.1", "::2", "fe80::1%lo"),
    *(
        "example.com",
        "localhost.example.com",
        "notlocalhost",
        "local.host",
        ".localhost",
        "a..localhost",
        "localhost..",
    ),
    # What no resolver or browser takes for this machine, or not everyone.
    *(
        "[localhost]",
        "[127.0.0.1]",
        "127.1",
        "2130706433",
        "0x7f000001",
        "localho\u017ft",
        "localhost:80",
        "evil@localhost",
    ),
    *("evil.com/.localhost", "evil.com#localhost", "a b.localhost", "localhost\n"),
]


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_known_by_every_name_and_address_that_it_has(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_nothing_else_is_this_machine(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(("host", "plain"), HERE.items())
def test_a_resolver_is_given_what_every_resolver_knows(host: str, plain: str) -> None:
    assert resolvable(host) == plain


@pytest.mark.parametrize(
    ("host", "plain"),
    [("example.com.", "example.com"), ("0.0.0.0", "0.0.0.0"), ("[::]", "::"), ("::ffff:10.0.0.1", "10.0.0.1")],
)
def test_other_hosts_are_given_to_a_resolver_without_what_it_does_not_take(host: str, plain: str) -> None:
    assert resolvable(host) == plain


@given(st.ip_addresses())
def test_an_address_is_of_this_machine_in_each_of_its_spellings_or_in_none(address: IPv4Address | IPv6Address) -> None:
    spellings = {str(address), f"[{address}]", f"[{address.exploded}]"}
    if address.version == 4:
        spellings = {str(address), f"{address}.", f"::ffff:{address}", f"[::ffff:{address}]"}
    assert len({is_loopback(host) for host in spellings}) == 1
    assert len({resolvable(host) for host in spellings}) == 1


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert isinstance(is_loopback(text), bool)
    assert resolvable(resolvable(text)) == resolvable(text) or text.endswith("..")
    assert len(without_port(text)) <= len(text)


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("localhost", "localhost"),
        ("localhost:", "localhost"),
        ("localhost:8000", "localhost"),
        ("[::1]", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("::1", ""),
        ("localhost:evil", ""),
        ("localhost:\u0661", ""),
        ("localhost:80:90", ""),
        ("[::1", ""),
        ("", ""),
    ],
)
def test_a_port_is_taken_away_and_what_is_no_authority_is_nothing(authority: str, host: str) -> None:
    assert without_port(authority) == host
