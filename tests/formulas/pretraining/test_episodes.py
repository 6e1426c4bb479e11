"""Base classes from a table, episodes from base classes, and a metric from episodes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest

from matgraft.core.errors import DataError, OptionError
from matgraft.core.training.schedule import FitSettings
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.few_shot.base_classes import (
    ClassQuestion,
    families_of,
    one_value_each,
    questions_of_property,
    read_base_classes,
)
from matgraft.formulas.few_shot.episodes import SCORED, START, EpisodeSettings, draw_episode, learn_metric
from matgraft.formulas.few_shot.metric import METRICS

ELEMENTS = ["Li", "Na", "K", "Rb", "Mg", "Ca", "Sr", "Ba", "Ti", "Zr", "V", "Cr", "Mn", "Fe", "Co", "Ni"]
ANIONS = ["O", "S", "Se", "F", "Cl", "Br"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Three properties of 192 formulas: two that go together and one that does not; some rows to leave out."""
    rng = np.random.default_rng(0)
    rows = []
    for metal, anion, n in product(ELEMENTS, ANIONS, (1, 2)):
        radius, size = ELEMENTS.index(metal), ANIONS.index(anion)
        for name, value in (("size", size + rng.normal()), ("twice", 2 * size + rng.normal()), ("metal", radius)):
            rows.append({"property": name, "formula": f"{metal}{n}{anion}", "target": value, "in_matbench_task": 0})
    rows.append({"property": "size", "formula": "Xe7F2", "target": 1e6, "in_matbench_task": 1})
    path = tmp_path_factory.mktemp("table") / "properties.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture
def encoder():
    """A small encoder whose pretraining is said to have held all out."""
    backbone = CompositionBackbone.scratch(0, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
    backbone.card = backbone.card.model_copy(update={"recipe": {"validation": 1.0}, "weights_sha256": "abc"})
    return backbone


def settings(**changes):
    fit = FitSettings(rate=0.05, epochs=1, batch=16, ema=0.9, clip=1.0, processes=1)
    return EpisodeSettings(episodes=32, queries=4, scored=2, background=50, fit=fit, **changes)


def test_values_become_thirds_and_zeros_a_question_of_their_own():
    rows, values = np.arange(300), np.concatenate([np.zeros(120), np.linspace(1, 9, 180)])
    (name, (zero, more)), (body, thirds) = questions_of_property("gap", rows, values)
    assert (name, body) == ("gap > 0", "gap")
    assert (len(zero), len(more)) == (120, 180)
    assert [part.min() for part in thirds] == [120, 180, 240]
    ((name, classes),) = questions_of_property("is_metal", rows, (rows % 2).astype(float))
    assert name == "is_metal"
    assert [set(part % 2) for part in classes] == [{0}, {1}]
    assert questions_of_property("rare", rows[:80], values[120:200]) == []


def test_properties_that_say_the_same_are_one_family():
    rng = np.random.default_rng(0)
    base = rng.normal(size=100)
    columns = {"E": base, "minus E": -base + 0.1 * rng.normal(size=100), "other": rng.normal(size=100),
               "few": np.r_[base[:20], np.full(80, np.nan)]}  # fmt: skip
    table = pd.DataFrame(columns).rename_axis("row").reset_index().melt("row", var_name="property", value_name="target")
    family = families_of(table.dropna())
    assert family["E"] == family["minus E"]
    assert len({family["E"], family["other"], family["few"]}) == 3


def test_base_classes_come_from_held_out_systems_without_excluded_rows(table):
    base = read_base_classes(table, exclude="in_matbench_task", validation=1.0)
    assert len(base.formulas) == 192
    assert [question.name for question in base.questions] == ["metal", "size", "twice"]
    assert len(base.families) == 2
    assert {question.name for question in base.of([base.questions[1].family])} == {"size", "twice"}
    with pytest.raises(DataError, match="0 questions"):
        read_base_classes(table, exclude="in_matbench_task", validation=0.1)


def test_an_episode_asks_for_no_formula_that_is_among_its_examples(table, tmp_path):
    """A table may list polymorphs: one formula, several values, which may even lie in different thirds."""
    rows = pd.read_csv(table)
    rng = np.random.default_rng(1)
    again = rows.assign(target=rows["target"] + rng.normal(size=len(rows)), formula=rows["formula"] + "2")
    again["formula"] = [f"{text[:-1]}2" if "1" in text else text[:-1] for text in again["formula"]]
    unknown = rows.iloc[:3].assign(target=np.nan)
    pd.concat([rows, again, rows, unknown]).to_csv(tmp_path / "twice.csv", index=False)
    base = read_base_classes(tmp_path / "twice.csv", exclude="in_matbench_task", validation=1.0)
    for question in base.questions:
        members = np.concatenate(question.classes)
        assert len(members) == len(set(members.tolist()))
    for i in range(30):
        episode = draw_episode(base.questions, 3, 20, 10, np.random.default_rng(i))
        assert not set(episode.support.ravel().tolist()) & set(episode.queries.ravel().tolist())


def test_of_several_values_of_a_formula_the_middle_one_counts():
    rows = [("a", 0, 1.0), ("a", 0, 9.0), ("a", 0, 2.0), ("a", 1, 0.0), ("a", 1, 5.0), ("b", 0, 1.0), ("b", 0, 0.0),
            ("b", 2, np.nan)]  # fmt: skip
    table = one_value_each(pd.DataFrame(rows, columns=["property", "row", "target"]))
    assert table.to_numpy().tolist() == [["a", 0, 2.0], ["a", 1, 0.0], ["b", 0, 0.0]]  # a yes or no stays one


def test_an_episode_shares_no_row_and_takes_outermost_classes():
    classes = tuple(np.arange(100 * i, 100 * i + 40) for i in range(3))
    questions = [ClassQuestion("a", 0, classes), ClassQuestion("b", 1, classes[:2])]
    generator = np.random.default_rng(0)
    for _ in range(20):
        episode = draw_episode(questions[:1], 2, 5, 7, generator)
        assert (episode.support.shape, episode.queries.shape) == ((2, 5), (2, 7))
        assert not set(episode.support.ravel()) & set(episode.queries.ravel())
        assert (episode.support // 100 == [[0], [2]]).all()
        assert (draw_episode(questions, 3, 5, 7, generator).queries // 100 == [[0], [1], [2]]).all()


def test_a_metric_is_learned_scored_on_what_it_did_not_see_and_written(table, encoder, tmp_path):
    learned = learn_metric(table, encoder, settings(), tmp_path / "m", quiet=True)
    again = METRICS.read(tmp_path / "m")
    assert again.card == learned.card
    assert all(numbers != START for numbers in learned.card.numbers.values())
    assert again.card.encoder_sha256 == "abc"
    assert again.card.data_sha256.keys() == {"properties.csv"}
    assert len(again.background) == 50
    distances = ["mahalanobis", "euclidean", "cosine"]
    assert list(again.card.numbers) == list(again.card.thresholds) == distances
    assert [(row.ways, row.shots) for row in again.card.scores] == list(SCORED) * len(distances)
    assert all(row.episodes == 4 for row in again.card.scores)  # two families, two episodes each
    assert all(row.gain == 0 for row in again.card.scores if row.distance != "mahalanobis")
    repeated = learn_metric(table, encoder, settings(), tmp_path / "again", quiet=True)
    assert repeated.card.numbers == learned.card.numbers


def test_what_cannot_be_done_is_said_before_reading(encoder, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="not empty"):
        learn_metric(tmp_path / "no.csv", encoder, settings(), tmp_path, quiet=True)
    encoder.card = encoder.card.model_copy(update={"recipe": None})
    with pytest.raises(OptionError, match="held out"):
        learn_metric(tmp_path / "no.csv", encoder, settings(), tmp_path / "m", quiet=True)
