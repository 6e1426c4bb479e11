"""Whether a formula, with a property, was in the pretraining: of any table, with and without apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matgraft.core.files import remove
from matgraft.core.registry import save_folder
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.predictor.facts import HeldLosses
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.pretraining.labels import labels_seen
from matgraft.formulas.pretraining.settings import ObjectiveWeights, PretrainSettings
from matgraft.formulas.pretraining.tables import is_held_out
from matgraft.formulas.scoring.pretraining import pretraining_facts, pretraining_sentence
from matgraft.formulas.seen_labels import LABELS, LabelOrigin, SeenLabels
from matgraft.foundations import load, load_folder

ENERGIES = Path(__file__).resolve().parents[3] / "examples" / "data" / "formation" / "formation_energies.csv"
METALS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al", "Ti", "Cu")


def parsed(*texts):
    return [parse_formula(text) for text in texts]


def test_labels_are_told_by_formula_and_property_and_read_again(tmp_path):
    known = SeenLabels.made_of(
        {"gap": parsed("NaCl", "MgO"), "energy": parsed("MgO", "Fe2O3")}, LabelOrigin("ab", "", "0.1")
    )
    asked = parsed("Cl2Na2", "MgO", "O3Fe2", "KBr")
    expected = [[True, False], [True, True], [False, True], [False, False]]
    assert known.of(asked).tolist() == expected
    known.save(tmp_path / LABELS)
    again = SeenLabels.load(tmp_path / LABELS)
    assert again.of(asked).tolist() == expected
    assert (again.properties, again.table.origin) == (("gap", "energy"), LabelOrigin("ab", "", "0.1"))
    for nothing in ({"gap": []}, {}):
        assert SeenLabels.made_of(nothing).of(asked).tolist() == [[False] * len(nothing)] * 4


def test_a_table_may_have_more_properties_than_a_word_has_bits():
    labels = {f"p{k}": parsed("NaCl" if k % 3 else "MgO") for k in range(70)}
    had = SeenLabels.made_of(labels).of(parsed("MgO", "NaCl"))
    assert had.tolist() == [[k % 3 == 0 for k in range(70)], [k % 3 > 0 for k in range(70)]]


def test_labels_that_were_left_out_held_out_or_absent_do_not_count(tmp_path):
    texts = [f"{metal}{anion}" for metal in METALS for anion in ("O", "S", "F")]
    rows = [f"gap,{text},{'' if text == 'LiO' else 1.5},{int(text == 'LiS')}" for text in texts]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["property,formula,target,left_out", *rows]))
    settings = PretrainSettings(exclude="left_out", validation=0.3)
    found = labels_seen(path, settings).of(parsed(*texts))[:, 0]
    held = [is_held_out(formula.chemical_system, 0.3) for formula in parsed(*texts)]
    assert 0 < sum(held) < len(texts)
    assert found.tolist() == [not one and text not in ("LiO", "LiS") for one, text in zip(held, texts, strict=True)]
    unread = settings.model_copy(update={"weights": ObjectiveWeights(properties=0)})
    assert not labels_seen(path, unread).properties and not labels_seen(None, settings).properties


def test_scores_are_given_with_and_without_a_label():
    formulas = parsed("NaCl", "MgO", "KBr", "LiF", "CaO")
    known = SeenLabels.made_of({"gap": formulas[:2], "energy": formulas[1:3]})
    y = np.zeros(5)
    value = np.array([0.1, 0.2, 0.3, 2.0, 4.0])
    weights = np.array([1.0, 1.0, 2.0, 1.0, 3.0])
    held = Prediction(value, value - 1, value + 1, np.ones(5), np.zeros(5))
    facts = pretraining_facts(known, Examples(formulas, y, weights=weights), held)
    assert (facts.n, facts.with_label, facts.by_property) == (5, 3, {"gap": 2, "energy": 2})
    assert facts.scores["with_label"]["mae"] == pytest.approx((0.1 + 0.2 + 2 * 0.3) / 4)
    assert facts.scores["without_label"]["mae"] == pytest.approx((2 + 3 * 4) / 4)
    said = pretraining_sentence(facts)
    assert (
        "3 of 5 rows" in said
        and "gap 2" in said
        and "weighted mean absolute error 0.225 with a label; weighted mean absolute error 3.5 without" in said
    )
    alike = pretraining_sentence(pretraining_facts(known, Examples(formulas, y, weights=np.full(5, 2.0)), held))
    assert "mean absolute error 0.2 with a label; mean absolute error 3 without any" in alike
    assert "weighted" not in alike
    none = pretraining_facts(known, Examples(parsed("LiF", "CaO"), y[:2]), held.take(np.array([3, 4])))
    assert "No formula had a computed label" in pretraining_sentence(none)


def test_the_gain_over_the_baseline_is_given_with_and_without_a_label():
    """Ours 1, 2, 3, ..., the baseline's three times that with a label, equal without any."""
    formulas = parsed(*(f"{metal}O" for metal in METALS))
    known = SeenLabels.made_of({"gap": formulas[:6]})
    ours, weights, value = np.arange(1.0, 13), np.array([1.0, 2] * 6), np.arange(1.0, 13)
    losses = HeldLosses(weights * ours, weights * ours * np.repeat([3, 1], 6), weights, np.arange(12))
    held = Prediction(value, value - 1, value + 1, np.ones(12), np.zeros(12))
    examples = Examples(formulas, np.zeros(12), weights=weights)
    facts = pretraining_facts(known, examples, held, losses)
    first, second = (np.average(ours[rows], weights=weights[rows]) for rows in (slice(6), slice(6, 12)))
    found, other = facts.compared["with_label"], facts.compared["without_label"]
    assert (found.score, found.difference) == pytest.approx((3 * first, -2 * first))
    assert found.interval[1] < 0 and (other.score, other.difference) == pytest.approx((second, 0))
    assert f"with a label (descriptors and trees {3 * first:.4g})" in pretraining_sentence(facts)
    some = pretraining_facts(known, examples.take(np.arange(6)), held.take(np.arange(6)), losses)
    assert list(some.compared) == ["with_label"]


def test_an_encoder_whose_folder_has_no_list_is_not_spoken_for(tmp_path):
    encoder = CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8)
    assert not encoder.labels.of(parsed("NaCl")).any()  # it saw nothing
    save_folder(encoder, tmp_path)
    assert load_folder(tmp_path).labels is not None
    remove(tmp_path / LABELS)
    assert load_folder(tmp_path).labels is None
    assert "not known" in pretraining_sentence(None) and LABELS in pretraining_sentence(None)


def test_the_shipped_encoder_knows_its_labels():
    """Of the embedded formation energies; the numbers were counted from the tables themselves, without hashes."""
    encoder = load("composition")
    known, origin = encoder.labels, encoder.labels.table.origin
    assert len(known.content) < 2 * 2**20
    assert origin.table_sha256 in encoder.card.data_sha256.values()
    assert all(str(encoder.card.recipe[name]) == getattr(origin, name) for name in ("exclude", "validation"))
    table = pd.read_csv(ENERGIES, keep_default_na=False)
    had = known.of(parsed(*table["formula"]))
    energies = [known.properties.index(name) for name in ("mp_e_form", "CritExam__Ef", "OQMD_Formation_Enthalpy")]
    assert (len(had), had.any(1).sum(), had[:, energies].any(1).sum()) == (1464, 1066, 762)
