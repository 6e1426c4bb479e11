"""Few rows, rare classes, one class that is nearly all; computed beside measured values."""

import numpy as np
import pytest

from matgraft.formulas.table.audit.provenance import mixed_provenance
from matgraft.formulas.table.audit.size import few_rows, imbalance, rare_classes


@pytest.mark.parametrize(("n", "outcome"), [(4, "failed"), (49, "failed"), (50, "passed")])
def test_sets_that_share_no_formula_are_counted(ask, plain, n, outcome):
    found = ask(few_rows, plain.iloc[:n])
    assert found.outcome == outcome and f"{n} sets" in found.evidence


def test_rows_of_one_group_are_one_set(ask, plain):
    assert ask(few_rows, plain.assign(lab=np.arange(len(plain)) // 8), group="lab").outcome == "failed"


def test_one_row_that_has_nearly_all_the_weight_is_named(ask, plain):
    weights = np.where(np.arange(len(plain)) == 7, 1e6, 1.0)
    found = ask(few_rows, plain.assign(w=weights), weight="w")
    assert found.outcome == "failed" and "worth 1: line 9" in found.evidence
    mild = np.exp(0.8 * np.random.default_rng(0).normal(size=len(plain)))
    assert ask(few_rows, plain.assign(w=mild), weight="w").outcome == "passed"
    lab = np.where(np.arange(len(plain)) < 60, 0, np.arange(len(plain)))  # a large group is no heavy row
    assert ask(few_rows, plain.assign(lab=lab), group="lab").outcome == "passed"


def test_a_rare_class_is_named_with_its_count_and_lines(ask, plain):
    kind = np.array(["even", "odd"] * (len(plain) // 2), dtype=object)
    cells = plain.assign(kind=kind)
    assert ask(rare_classes, cells, "kind").outcome == "passed"
    kind[[3, 9]] = "rare"
    found = ask(rare_classes, plain.assign(kind=kind), "kind")
    assert found.outcome == "failed" and "'rare' 2" in found.evidence and found.lines == (5, 11)
    assert ask(rare_classes, plain).outcome == "not applicable"


def test_a_class_that_is_nearly_all(ask, plain):
    kind = np.where(np.arange(len(plain)) < 6, "yes", "no")
    assert ask(imbalance, plain.assign(kind=kind), "kind").outcome == "failed"
    kind = np.where(np.arange(len(plain)) < 40, "yes", "no")
    assert ask(imbalance, plain.assign(kind=kind), "kind").outcome == "passed"


@pytest.mark.parametrize(
    "words", [("DFT", "exp"), ("computed (PBE)", "measured"), ("HSE06", "experiment"), ("PBE", "HSE06")]
)
def test_a_column_of_two_origins_is_offered_as_a_covariate(ask, plain, words):
    cells = plain.assign(origin=[words[i % 5 > 0] for i in range(len(plain))])
    found = ask(mixed_provenance, cells)
    assert found.outcome == "failed" and found.option == "--covariate origin"
    assert ask(mixed_provenance, cells, covariates=["origin"]).outcome == "passed"


def test_an_offset_between_origins_is_measured(ask, plain):
    rng = np.random.default_rng(0)
    computed = rng.random(len(plain)) < 0.3
    cells = plain.assign(origin=np.where(computed, "DFT", "exp"))
    cells.loc[computed, "gap"] -= 5
    found = ask(mixed_provenance, cells)
    assert found.numbers["offset"] == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize("words", [("cast", "rolled"), ("lab", "lab"), ("theory", "theory"), ("sputter", "sol-gel")])
def test_other_words_say_nothing(ask, plain, words):
    cells = plain.assign(origin=[words[i % 2] for i in range(len(plain))])
    assert ask(mixed_provenance, cells).outcome == "passed"
