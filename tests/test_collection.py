"""Every worker collects the same tests: a name never holds what changes from one second to the next."""

import gzip

import pytest


@pytest.mark.parametrize("packed", [gzip.compress(b"formula,gap\n")])
def test_the_bytes_of_a_packed_file_are_no_part_of_a_name(request: pytest.FixtureRequest, packed: bytes) -> None:
    assert packed[4:8] != bytes(4)  # the time at which it was packed
    assert request.node.callspec.id == "packed"
