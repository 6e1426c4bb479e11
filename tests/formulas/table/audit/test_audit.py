"""The audit as a whole: every look speaks, sound tables pass, candidates are held against rows, what blocks stops."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from matgraft.cli import app
from matgraft.core.errors import AuditError, OptionError
from matgraft.core.findings import blocking
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.settings import TableRun
from matgraft.formulas.table.audit.audit import AUDIT, CODES, audit_table, read_candidates, refuse_unknown_looks
from matgraft.formulas.table.audit.base import TableEvidence
from matgraft.formulas.table.audit.coverage import candidates_covered
from matgraft.formulas.table.lines import read_lines, write_lines
from matgraft.formulas.tune import tune_table


@pytest.fixture(scope="module")
def small() -> CompositionBackbone:
    return CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a",))


@pytest.mark.parametrize("n", [1, 2, 5, 128])
def test_every_code_speaks_once_on_tables_of_any_size(evidence, plain, n):
    found = audit_table(evidence(plain.iloc[:n]))
    assert [one.code for one in found] == list(dict.fromkeys(one.code for one in found))
    assert {one.code for one in found} == CODES.keys()
    assert all(one.evidence for one in found)
    assert not blocking(found)


@pytest.mark.parametrize(
    "values", [[0.0] * 39 + [2.0], [1e300, -1e300] * 20, [5e-324, 1.0] * 20, [-1.0, -2.0] * 20], ids=str
)
def test_odd_values_do_not_break_it(evidence, plain, values):
    audit_table(evidence(plain.iloc[:40].assign(gap=values)))


def test_one_formula_in_all_rows_does_not_break_it(evidence, plain):
    audit_table(evidence(plain.assign(formula="Fe2O3", other="", many=[str(i) for i in range(len(plain))])))


def test_candidates_that_no_row_is_like(evidence, plain, small, tmp_path):
    asked = evidence(plain)
    pd.DataFrame({"composition": ["Hf2O", "Li2O", "W"]}).to_csv(tmp_path / "for.csv", index=False)
    candidates = read_candidates(tmp_path / "for.csv", "formula")
    (found,) = candidates_covered(TableEvidence(asked.table, "gap", asked.columns, small, candidates))
    assert found.outcome == "failed" and "Hf (1)" in found.evidence and "W (1)" in found.evidence
    assert found.numbers["new_elements"] == pytest.approx(2 / 3)
    own = tuple(parse_formula(text) for text in plain["formula"])
    assert (
        next(iter(candidates_covered(TableEvidence(asked.table, "gap", asked.columns, small, own)))).outcome == "passed"
    )


def test_what_blocks_stops_before_a_folder_is_made_unless_it_is_allowed(plain, small, tmp_path, monkeypatch):
    monkeypatch.setattr("matgraft.formulas.tune.load_encoder", lambda _: small)
    cells = plain.copy()
    cells.loc[7, "gap"] = 4e5
    cells.to_csv(tmp_path / "table.csv", index=False)
    run = TableRun(table=str(tmp_path / "table.csv"), targets=("gap",))
    with pytest.raises(AuditError) as refused:
        tune_table(run, tmp_path / "run", quiet=True)
    assert refused.value.options == ({"--allow": "outlier-value"},)
    assert refused.value.causes[0].options == ({"--drop": "9"},)
    assert not (tmp_path / "run").exists()
    with pytest.raises(OptionError, match="outlier-value"):
        refuse_unknown_looks(["outlier-valu"])

    class FittingError(Exception):
        pass

    def fit(*_args, **_given):
        raise FittingError

    monkeypatch.setattr("matgraft.formulas.tune.fit_predictor", fit)
    for name, more in (("allowed", {"allow": ("outlier-value",)}), ("dropped", {"drop": (9,)})):
        told = []
        with pytest.raises(FittingError):
            tune_table(run.model_copy(update=more), tmp_path / name, quiet=True, tell=told.append)
        kept = AUDIT.read(tmp_path / name).targets["gap"]
        assert tuple(told[0]) == kept
        assert bool(blocking(kept)) == (name == "allowed")


def test_the_command_tells_and_exits(plain, tmp_path):
    cells = plain.copy()
    cells.loc[7, "gap"] = 4e5
    path = tmp_path / "table.csv"
    cells.to_csv(path, index=False)
    run = CliRunner()
    told = run.invoke(app, ["audit", str(path), "--target", "gap", "--json"])
    facts = json.loads(told.stdout)
    assert (told.exit_code, facts["blocking"]) == (1, ["outlier-value"])
    assert next(one for one in facts["findings"] if one["code"] == "outlier-value")["lines"] == [9]
    for words in (["--drop", "9"], ["--allow", "outlier-value"], ["--drop", "7-8", "--drop", "9,12"]):
        assert run.invoke(app, ["audit", str(path), "--target", "gap", *words]).exit_code == 0
    screen = run.invoke(app, ["audit", str(path), "--target", "gap"])
    assert "error outlier-value" in screen.stdout and "option: --drop 9" in screen.stdout


@given(st.sets(st.integers(1, 400), max_size=40))
def test_lines_are_read_as_they_are_written(lines):
    assert set(read_lines(write_lines(lines))) == lines


@pytest.mark.parametrize("text", ["a", "3-", "-3", "9-3", "0", "1-99999999", "3;4", "1e3", "٣"])
def test_what_names_no_lines_is_refused(text):
    with pytest.raises(OptionError):
        read_lines(text)


def test_a_line_without_a_row_is_refused(evidence, plain):
    with pytest.raises(OptionError, match="no row in line 500"):
        evidence(plain, drop=(500,))


def test_noise_on_many_formulas_is_no_fault(evidence):
    rng = np.random.default_rng(0)
    symbols = ["Li", "Mg", "Fe", "O", "S", "Cl", "Al", "Ti", "Ni", "Zr"]
    texts = [
        "".join(f"{s}{n}" for s, n in zip(rng.permutation(symbols)[:3], rng.integers(1, 9, 3), strict=True))
        for _ in range(3000)
    ]
    asked = evidence(pd.DataFrame({"formula": texts, "gap": rng.normal(size=3000)}))
    assert not blocking(audit_table(asked))
