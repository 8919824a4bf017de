"""Which names and which pages reach the server."""

import pytest
from meshproxy.serving.security import Guard


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("127.0.0.1:1", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("[0:0:0:0:0:0:0:1]:8000", True),
        ("[::ffff:127.0.0.1]:8000", True),
        ("127.9.9.9", True),
        ("localhost.:8000", True),
        ("mesh.localhost:8000", True),
        ("::1", False),
        ("10.0.0.1:8000", False),
        ("[::ffff:10.0.0.1]", False),
        ("notlocalhost", False),
        ("evil.example.com", False),
        ("localhost.evil.com", False),
        ("localhost:evil", False),
        ("127.0.0.1:80@evil.com", False),
        ("", False),
        (None, False),
    ],
)
def test_a_loopback_bind_goes_by_loopback_names_on_any_port(host: str | None, *, admitted: bool) -> None:
    assert Guard("127.0.0.1").admits_host(host) is admitted


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (None, True),
        ("", True),
        ("http://localhost:6274", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:80", True),
        ("HTTP://LOCALHOST:3000", True),
        ("http://127.9.9.9", True),
        ("ftp://localhost", False),
        ("http://localhost/evil", False),
        ("http://evil.com@localhost", False),
        ("http://", False),
        ("localhost", False),
        ("http://evil.example.com", False),
        ("http://localhost.evil.com", False),
        ("null", False),
        ("file://", False),
    ],
)
def test_a_loopback_bind_serves_local_pages_alone(origin: str | None, *, admitted: bool) -> None:
    assert Guard("localhost").admits_origin(origin) is admitted


def test_names_and_pages_can_be_allowed_with_a_port_and_without() -> None:
    guard = Guard(
        "0.0.0.0", ("Mesh.example.com", "other.example.com:*", "fixed.example.com:8080"), ("https://app.com/",)
    )
    assert guard.admits_host("mesh.example.com:443")
    assert guard.admits_host("other.example.com")
    assert guard.admits_host("fixed.example.com:8080")
    assert not guard.admits_host("fixed.example.com:8081")
    assert not guard.admits_host("localhost")
    assert guard.admits_origin("https://app.com")
    assert guard.admits_origin("https://app.com:8443")
    assert not guard.admits_origin("http://app.com")


def test_a_public_bind_without_names_goes_by_all_and_still_serves_no_page() -> None:
    guard = Guard("0.0.0.0")
    assert guard.admits_host("whatever")
    assert not guard.admits_host(None)
    assert not guard.admits_host("")
    assert not guard.admits_origin("http://localhost")


def test_a_star_allows_everything() -> None:
    guard = Guard("127.0.0.1", ("*",), ("*",))
    assert guard.admits_host("evil.example.com")
    assert not guard.admits_host(None)
    assert guard.admits_origin("http://evil.example.com")
