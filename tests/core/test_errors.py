"""Errors that a user can act on."""

from __future__ import annotations

import pytest

from matgraft.core import errors
from matgraft.core.errors import AuditError, DataError, ExtraError, MatgraftError, OptionError, choose, nearest


def test_the_message_says_found_where_allowed_and_remedy() -> None:
    error = DataError("energy is NaN", where="a.xyz frame 3", allowed=(name for name in ("x", "y")), remedy="drop it")
    assert str(error) == "a.xyz frame 3: energy is NaN\nallowed: x, y\nremedy: drop it"
    assert (error.found, error.where, error.allowed, error.remedy) == (
        "energy is NaN",
        "a.xyz frame 3",
        ("x", "y"),
        "drop it",
    )


def test_what_was_found_one_by_one_has_remedies_of_its_own() -> None:
    first = AuditError("energies in Hartree", options=[{"units.energy": "Hartree"}])
    error = AuditError("2 block", causes=[first, AuditError("no cell", remedy="write one")], remedy="put them right")
    assert str(error).splitlines() == [
        "2 block",
        "  energies in Hartree",
        "  option: units.energy=Hartree",
        "  no cell",
        "  remedy: write one",
        "remedy: put them right",
    ]
    facts = error.facts()
    assert (facts["kind"], facts["found"], facts["remedy"]) == ("AuditError", "2 block", "put them right")
    assert [one["options"] for one in facts["causes"]] == [[{"units.energy": "Hartree"}], []]


def test_what_is_not_known_is_not_printed() -> None:
    assert str(MatgraftError("broken")) == "broken"


def test_each_kind_has_its_own_exit_code() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    codes = {name: kind.exit_code for name, kind in kinds.items() if issubclass(kind, MatgraftError)}
    assert codes == {
        "MatgraftError": 2,
        "OptionError": 2,
        "ExtraError": 2,
        "DataError": 3,
        "AuditError": 1,
        "StepZeroError": 4,
        "RunError": 5,
        "ChangedError": 3,
    }
    assert isinstance(AuditError("x"), MatgraftError)


def test_a_missing_package_comes_with_the_command() -> None:
    with pytest.raises(MatgraftError, match=r"'mace' is not installed\ncommand: pip install 'matgraft\[mace-extra\]'"):
        raise ExtraError("mace", "mace-extra")


def test_nearest() -> None:
    assert nearest("feture", ["full", "partial", "feature"]) == "did you mean 'feature'?"
    assert nearest("zzzzzzzz", ["full", "partial", "feature"]) == ""


def test_choose() -> None:
    assert choose("b", {"a": 1, "b": 2}, "letter") == 2
    with pytest.raises(OptionError, match=r"strategy 'ful' is unknown\nallowed: feature, full\nremedy: .*'full'"):
        choose("ful", {"full": 1, "feature": 2}, "strategy")


def test_what_is_known_elsewhere_has_a_remedy_of_its_own() -> None:
    with pytest.raises(OptionError, match=r"strategy 'fall' is unknown\nallowed: full\nremedy: another way"):
        choose("fall", {"full": 1}, "strategy", {"fall": "another way"})
