"""Limits of inputs: one variable raises them, and each has its reason."""

from __future__ import annotations

import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.limits import Limits, exceeded, limits, require


def test_every_limit_says_why_it_is_what_it_is():
    for name, field in Limits.model_fields.items():
        assert field.description and len(field.description) > 30 and field.description.endswith("."), name


def test_one_variable_raises_them(monkeypatch):
    monkeypatch.setenv("MATGRAFT_LIMITS", "yaml_bytes=64M, nesting=500 atoms=3")
    assert (limits().yaml_bytes, limits().nesting, limits().atoms) == (64 * 2**20, 500, 3)
    assert limits().columns == Limits().columns


@pytest.mark.parametrize(
    "text", ["yaml_byte=3", "nesting", "nesting=", "nesting=0", "nesting=-1", "atoms=1e9", f"atoms={'9' * 5_000}"]
)
def test_what_is_no_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv("MATGRAFT_LIMITS", text)
    with pytest.raises(OptionError, match="MATGRAFT_LIMITS"):
        limits()


def test_the_error_names_the_limit_and_how_to_raise_it():
    require("atoms", 10, "atoms")
    with pytest.raises(DataError) as caught:
        require("atoms", 10**9, "atoms", "a.xyz frame 3")
    assert str(caught.value) == str(exceeded("atoms", "1,000,000,000 atoms", "a.xyz frame 3"))
    assert "at most 10,000,000 (atoms)" in str(caught.value) and "MATGRAFT_LIMITS=atoms=NUMBER" in caught.value.remedy
