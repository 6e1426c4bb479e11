"""The target among the covariates, columns that number rows, rows of one origin."""

import numpy as np
import pandas as pd
import pytest

from matgraft.formulas.table.audit.leaks import (
    between_groups,
    covariate_identifies,
    covariate_is_target,
    groups_across_folds,
)

TRANSFORMS = {
    "itself": lambda y: y,
    "a multiple": lambda y: 1 - 3 * y,
    "its logarithm": np.log,
    "its square": np.square,
    "rounded": lambda y: np.exp(-y).round(9),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_target_or_a_function_of_it_among_the_covariates_blocks(ask, plain, name):
    found = ask(covariate_is_target, plain.assign(x=TRANSFORMS[name](plain["gap"])), covariates=["x"])
    assert found.blocks and "the covariate x" in found.remedy


def test_a_sum_or_a_product_of_two_covariates_that_is_the_target_blocks(ask, plain):
    rng = np.random.default_rng(0)
    part = rng.uniform(0.1, 1, len(plain))
    for cells in (plain.assign(a=part, b=plain["gap"] - part), plain.assign(a=part, b=plain["gap"] / part)):
        assert ask(covariate_is_target, cells, covariates=["a", "b"]).blocks


def test_a_covariate_that_is_nearly_the_target_warns_and_an_honest_one_passes(ask, plain):
    rng = np.random.default_rng(0)
    near = plain.assign(x=plain["gap"] + 0.03 * rng.normal(size=len(plain)))
    assert ask(covariate_is_target, near, covariates=["x"]).severity == "warning"
    gap = np.where(np.arange(len(plain)) % 2, plain["gap"], 0)  # zeros have no ranks, and errors give them some
    zeros = plain.assign(gap=gap, x=gap + 0.01 * rng.normal(size=len(plain)))
    assert ask(covariate_is_target, zeros, covariates=["x"]).severity == "warning"
    tail = rng.normal(size=len(plain))
    tail[5] = 300
    one = plain.assign(gap=np.where(tail > 100, 300.0, plain["gap"]), x=tail)
    assert ask(covariate_is_target, one, covariates=["x"]).outcome == "passed"
    honest = plain.assign(x=plain["gap"] + rng.normal(size=len(plain)), T=rng.choice([300, 400], len(plain)))
    assert ask(covariate_is_target, honest, covariates=["x", "T"]).outcome == "passed"
    assert ask(covariate_is_target, honest).outcome == "not applicable"


def test_words_that_are_the_class_block_and_a_bound_between_the_classes_warns(ask, plain):
    cells = plain.assign(kind=np.where(plain["gap"] > 3, "wide", "narrow"), word=np.where(plain["gap"] > 3, "W", "N"))
    assert ask(covariate_is_target, cells, "kind", covariates=["word"]).blocks
    assert ask(covariate_is_target, cells, "kind", covariates=["gap"]).severity == "warning"
    rng = np.random.default_rng(0)
    cells["word"] = rng.choice(["cast", "rolled"], len(cells))
    assert ask(covariate_is_target, cells, "kind", covariates=["word"]).outcome == "passed"


def test_a_covariate_that_numbers_the_rows(ask, plain):
    cells = plain.assign(number=np.arange(len(plain)), T=300 + 50 * (np.arange(len(plain)) % 4))
    assert ask(covariate_identifies, cells, covariates=["number"]).outcome == "failed"
    assert ask(covariate_identifies, cells, covariates=["T"]).outcome == "passed"


def of_papers(plain: pd.DataFrame, size: float) -> pd.DataFrame:
    """Return rows of 16 papers, each with an error of its own."""
    rng = np.random.default_rng(0)
    paper = rng.integers(0, 16, len(plain))
    return plain.assign(paper=[f"p{k}" for k in paper], gap=plain["gap"] + rng.normal(0, size, 16)[paper])


def test_papers_whose_rows_are_alike_are_offered_as_groups(ask, plain):
    found = ask(groups_across_folds, of_papers(plain, 2.0))
    assert (found.outcome, found.severity, found.option) == ("failed", "warning", "--group paper")
    assert ask(groups_across_folds, of_papers(plain, 0.0)).severity == "info"
    assert ask(groups_across_folds, of_papers(plain, 2.0), group="paper").outcome == "passed"
    assert ask(groups_across_folds, plain).outcome == "passed"


def test_a_column_of_any_name_counts_where_its_rows_are_alike_only(ask, plain):
    cells = of_papers(plain, 2.0).rename(columns={"paper": "colour"})
    assert ask(groups_across_folds, cells).option == "--group colour"
    assert ask(groups_across_folds, of_papers(plain, 0.0).rename(columns={"paper": "colour"})).outcome == "passed"


def test_folds_of_the_table_that_part_a_formula(ask, plain):
    cells = pd.concat([plain.assign(fold="a"), plain.iloc[:6].assign(fold="b")], ignore_index=True)
    found = ask(groups_across_folds, cells, fold="fold")
    assert found.outcome == "failed" and set(found.lines) == {*range(2, 8), *range(130, 136)}
    cells["fold"] = np.where(cells["formula"].str.len() > 4, "a", "b")
    assert ask(groups_across_folds, cells, fold="fold").outcome == "passed"


def test_the_share_between_groups_of_noise_is_small_and_its_odds_are_even():
    rng = np.random.default_rng(0)
    odds = [between_groups(rng.normal(size=60), rng.integers(0, 8, 60))[1] for _ in range(200)]
    assert 0.35 < np.mean(odds) < 0.65
    assert (
        between_groups(np.repeat(np.arange(8.0), 8) + 0.01 * rng.normal(size=64), np.repeat(np.arange(8), 8))[0] > 0.9
    )
