"""Where a replica takes what is handed to it, as people and URLs write that."""

from meshproxy.cluster.presence import Address


def test_an_address_is_written_as_in_a_url() -> None:
    assert str(Address("10.0.0.1", 9000)) == "10.0.0.1:9000"
    assert str(Address("::1", 9000)) == "[::1]:9000"
    assert str(Address("mesh-0.peers", 1)) == "mesh-0.peers:1"
