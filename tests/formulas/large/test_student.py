"""A student says nearly what the run says, its intervals are wider by what it is off, and it says how far that is."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import OptionError
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.large import predict as large
from matgraft.formulas.large import student, teaching
from matgraft.formulas.large.parts import cut_into_parts
from matgraft.formulas.large.predict import Question, predict_large
from matgraft.formulas.large.student import Lesson, Student, teach
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.learners.watched import LoopSettings
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.table.formula_table import ColumnNames

METALS = ["Li", "Na", "Mg", "Ca", "Fe", "Ni", "Al", "Ti"]
TEXTS = [f"{a}{n}{b}{x}" for a, b in combinations(METALS, 2) for x in ("O", "S", "F", "Cl2") for n in (1, 2)]


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(student, "LOOP", LoopSettings(rate=3e-3, epochs=8, fewest_steps=80, batch=64))


@pytest.fixture(scope="module")
def asked():
    return [parse_formula(text) for text in TEXTS]


@pytest.fixture(scope="module")
def backbone():
    return CompositionBackbone.scratch(1, width=16, layers=2, heads=2, features=16, property_names=("a", "b"))


def fitted(backbone, asked, y, n_classes=0, covariates=None):
    rows = np.arange(0, len(asked), 4)
    beside = None if covariates is None else covariates[rows]
    examples = Examples([asked[i] for i in rows], y[rows], n_classes, beside)
    return fit_predictor(examples, backbone, PredictorSettings(strategy="descriptors", inner_folds=2))


def lesson(run, asked, covariates=None):
    said = run.predict(asked, covariates)
    return Lesson(asked, np.zeros((len(asked), 0)) if covariates is None else covariates, said)


def values(asked):
    return np.array([sum(Z * x for Z, x in zip(one.numbers, one.fractions, strict=True)) for one in asked])


def test_it_says_nearly_what_the_run_says_and_how_far_it_is_off(backbone, asked):
    run = fitted(backbone, asked, values(asked))
    taught = lesson(run, asked)
    found, closeness = teach(run, taught, "Z")
    alone = found.alone(asked, taught.covariates)
    spread = np.abs(taught.said.value - np.median(taught.said.value)).mean()
    assert closeness.value < 0.5 * spread and closeness.taught + closeness.held_out == len(asked)
    assert (alone.lower <= alone.value).all() and (alone.value <= alone.upper).all() and (alone.std > 0).all()
    assert np.median(alone.upper - alone.lower) > np.median(taught.said.upper - taught.said.lower)


def test_formulas_of_the_training_set_are_answered_by_the_run(backbone, asked):
    run = fitted(backbone, asked, values(asked))
    found, _ = teach(run, lesson(run, asked))
    said, own = found.predict(asked), run.predict(asked)
    seen = own.in_training
    assert seen.any() and not seen.all() and (said.in_training == seen).all()
    np.testing.assert_allclose(said.value[seen], own.value[seen])
    assert (said.value[~seen] != own.value[~seen]).all()


def test_zeros_stay_zeros_and_nothing_is_below_them(backbone, asked):
    y = np.where(np.arange(len(asked)) % 8 < 4, 0.0, values(asked))
    run = fitted(backbone, asked, y)
    taught = lesson(run, asked)
    alone = teach(run, taught)[0].alone(asked, taught.covariates)
    assert (taught.said.value == 0).any() and (alone.value == 0).any() and alone.lower.min() >= 0


def test_classes_keep_their_probabilities(backbone, asked):
    run = fitted(backbone, asked, (values(asked) > np.median(values(asked))).astype(float), 2)
    taught = lesson(run, asked)
    found, closeness = teach(run, taught)
    alone = found.alone(asked, taught.covariates)
    np.testing.assert_allclose(alone.probabilities.sum(1), 1)
    assert closeness.of_std is None and closeness.value < 0.3


def test_covariates_are_read_and_it_comes_back_from_its_arrays(backbone, asked):
    covariates = np.linspace(300, 900, len(asked))[:, None]
    run = fitted(backbone, asked, values(asked) + covariates[:, 0] / 100, covariates=covariates)
    found, _ = teach(run, lesson(run, asked, covariates))
    again = Student.from_arrays(found.arrays(), run)
    here, hot = (again.alone(asked, one).value for one in (covariates, covariates + 300))
    np.testing.assert_array_equal(here, found.alone(asked, covariates).value)
    assert (hot != here).all()


def test_a_table_is_predicted_by_its_students_which_are_taught_once(tuned, tmp_path, monkeypatch):
    path, calls = tmp_path / "many.csv", []
    pd.DataFrame({"formula": TEXTS}).to_csv(path, index=False)
    monkeypatch.setattr(teaching, "TAUGHT", 200)
    monkeypatch.setattr(large, "refuse_few", lambda n: calls.append(n))
    for room in (large, teaching):
        monkeypatch.setattr(room, "cores", lambda: 1)
    table = cut_into_parts(path, 200)
    question = Question(tuned.folder, table, tmp_path / "out.csv", ColumnNames(), fast=True)
    with monkeypatch.context() as patch:
        patch.setattr(large, "_write", lambda files, out: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict_large(question, quiet=True)
    monkeypatch.setattr(teaching, "teach", None)  # a second lesson would fail
    written, _ = predict_large(question, quiet=True)
    assert written.computed == 0 and written.closeness[0].target == "gap" and calls == [len(TEXTS)] * 2
    found = pd.read_csv(tmp_path / "out.csv")
    own = pd.DataFrame(PropertyModel.open(tuned.folder).rows(TEXTS))
    assert list(found.columns) == list(own.columns) and len(found) == len(own)
    assert not np.allclose(found["value"], own["value"]) and np.abs(found["value"] - own["value"]).mean() < 1


@pytest.mark.parametrize("times", [1, 7])
def test_no_formula_is_taught_and_held_out(asked, times):
    rows = [formula for formula in asked for _ in range(times)]
    held, taught = student.held_out(rows, 0)
    assert sorted([*held, *taught]) == list(range(len(rows))) and len(held) == pytest.approx(len(rows) / 10, abs=times)
    assert not {rows[i] for i in held} & {rows[i] for i in taught}


def test_few_rows_are_left_to_the_run():
    with pytest.raises(OptionError, match="--fast is not read with 999 rows"):
        teaching.refuse_few(999)
    assert student.TAUGHT * 5 == teaching.FEWEST
