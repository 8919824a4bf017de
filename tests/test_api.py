"""The public interface is a decision: what is exported is what is documented, and it is all there."""

import meshproxy


def test_every_public_name_can_be_imported():
    for name in meshproxy.__all__:
        assert getattr(meshproxy, name) is not None


def test_each_public_name_has_one_home_and_no_other_has_one():
    assert sorted(meshproxy._HOME_OF) == sorted(meshproxy.__all__)


def test_a_name_that_is_not_public_is_refused():
    assert not hasattr(meshproxy, "Snapshot")
