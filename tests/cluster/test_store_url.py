"""Addresses of a store, as users write them."""

import pytest
from meshproxy.cluster.store_url import StoreUrl


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("redis://a", StoreUrl("", (("a", 6379),))),
        ("valkey://a:1/2", StoreUrl("", (("a", 1),), database=2)),
        ("rediss://[::1]:7", StoreUrl("", (("::1", 7),), is_encrypted=True)),
        ("redis://me:p%40ss@a", StoreUrl("", (("a", 6379),), user="me", password="p@ss")),
        ("redis://:word@a", StoreUrl("", (("a", 6379),), password="word")),
        ("redis+sentinel://a,b:2/main", StoreUrl("sentinel", (("a", 26379), ("b", 2)), service="main")),
        ("valkeys+sentinel://a/main/3", StoreUrl("sentinel", (("a", 26379),), True, None, None, 3, "main")),
        ("redis+cluster://a,b", StoreUrl("cluster", (("a", 6379), ("b", 6379)))),
        ("rediss://a?ssl_ca_certs=/ca.pem", StoreUrl("", (("a", 6379),), True, files=(("ssl_ca_certs", "/ca.pem"),))),
    ],
)
def test_an_address_is_read(text: str, meant: StoreUrl) -> None:
    assert StoreUrl.parse(text) == meant


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://a", "is no address of a store"),
        ("redis://a,b", "names several servers"),
        ("redis+sentinel://a", "does not name the service"),
        ("redis://a/x", "is no number of a database"),
        ("redis+cluster://a/1", "is no number of a database"),
        ("redis://a?b=c", "a query that is none of ssl_ca_certs"),
        ("redis://a:0", "a host or a port that is none"),
        ("redis://[a", "a host or a port that is none"),
    ],
)
def test_what_is_none_is_told_with_the_remedy_and_without_its_text(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as failed:
        StoreUrl.parse(text.replace("://", "://me:secret@"))
    assert "secret" not in str(failed.value)


def test_people_are_shown_where_it_is_and_not_what_opens_it() -> None:
    url = StoreUrl.parse("redis+cluster://me:secret@a:1,[::1]:2")
    assert str(url) == "a:1,[::1]:2"
    assert "secret" not in repr(url)
