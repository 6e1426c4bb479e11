"""Whether a formula, with a property, was in the pretraining: of any table, with and without apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matgraft.backbones.composition import CompositionBackbone
from matgraft.backbones.registry import load
from matgraft.backbones.seen_labels import FILE, SeenLabels, seen_labels
from matgraft.data.formula import parse_formula
from matgraft.predictors.predictor import Prediction
from matgraft.pretrain.labels import labels_seen
from matgraft.pretrain.tables import is_held_out
from matgraft.scoring.pretraining import pretraining_facts, pretraining_sentence

ENERGIES = Path(__file__).resolve().parents[2] / "examples" / "data" / "formation" / "formation_energies.csv"
METALS = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al", "Ti", "Cu")


def parsed(*texts):
    return [parse_formula(text) for text in texts]


def test_labels_are_told_by_formula_and_property(tmp_path, monkeypatch):
    known = SeenLabels.made_of({"gap": parsed("NaCl", "MgO"), "energy": parsed("MgO", "Fe2O3")})
    asked = parsed("Cl2Na2", "MgO", "O3Fe2", "KBr")
    expected = [[True, False], [True, True], [False, True], [False, False]]
    assert known.of(asked).tolist() == expected
    assert SeenLabels.made_of({"gap": []}).of(asked).tolist() == [[False]] * 4
    file = tmp_path / "labels.npz"
    known.save(file, {"table_sha256": "ab", "exclude": "x", "validation": 0.03})
    monkeypatch.setattr("matgraft.backbones.seen_labels.FILE", file)
    from matgraft.backbones import seen_labels as module

    module._shipped.cache_clear()
    again, origin = module._shipped()
    module._shipped.cache_clear()
    assert again.of(asked).tolist() == expected and again.properties == ("gap", "energy")
    assert origin == {"table_sha256": "ab", "exclude": "x", "validation": "0.03"}


def test_labels_that_were_left_out_held_out_or_absent_do_not_count(tmp_path):
    texts = [f"{metal}{anion}" for metal in METALS for anion in ("O", "S", "F")]
    rows = [f"gap,{text},{'' if text == 'LiO' else 1.5},{int(text == 'LiS')}" for text in texts]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(["property,formula,target,left_out", *rows]))
    found = labels_seen(path, "left_out", 0.3).of(parsed(*texts))[:, 0]
    held = [is_held_out(formula.chemical_system, 0.3) for formula in parsed(*texts)]
    assert 0 < sum(held) < len(texts)
    assert found.tolist() == [not one and text not in ("LiO", "LiS") for one, text in zip(held, texts, strict=True)]


def test_scores_are_given_with_and_without_a_label(monkeypatch):
    formulas = parsed("NaCl", "MgO", "KBr", "LiF", "CaO")
    known = SeenLabels.made_of({"gap": formulas[:2], "energy": formulas[1:3]})
    monkeypatch.setattr("matgraft.scoring.pretraining.seen_labels", lambda card: known)
    y = np.zeros(5)
    value = np.array([0.1, 0.2, 0.3, 2.0, 4.0])
    weights = np.array([1.0, 1.0, 2.0, 1.0, 3.0])
    held = Prediction(value, value - 1, value + 1, np.ones(5), np.zeros(5))
    facts = pretraining_facts(None, formulas, y, held, weights)
    assert (facts["n"], facts["with_label"], facts["by_property"]) == (5, 3, {"gap": 2, "energy": 2})
    assert facts["scores"]["with_label"]["mae"] == pytest.approx((0.1 + 0.2 + 2 * 0.3) / 4)
    assert facts["scores"]["without_label"]["mae"] == pytest.approx((2 + 3 * 4) / 4)
    said = pretraining_sentence(facts)
    assert "3 of 5 rows" in said and "gap 2" in said and "mae 0.225 with a label, 3.5 without any" in said
    none = pretraining_facts(None, parsed("LiF", "CaO"), y[:2], held.take(np.array([3, 4])), weights[:2])
    assert "no formula had a computed label" in pretraining_sentence(none)


def test_an_encoder_of_another_table_is_not_spoken_for():
    encoder = CompositionBackbone.scratch(0, width=8, layers=1, heads=1, features=8)
    assert seen_labels(encoder.card) is None
    assert "not known" in pretraining_sentence(None)


def test_the_shipped_encoder_knows_its_labels():
    """Of the embedded formation energies; the numbers were counted from the tables themselves, without hashes."""
    known = seen_labels(load("composition").card)
    assert known is not None and FILE.stat().st_size < 2 * 2**20
    table = pd.read_csv(ENERGIES, keep_default_na=False)
    had = known.of(parsed(*table["formula"]))
    energies = [known.properties.index(name) for name in ("mp_e_form", "CritExam__Ef", "OQMD_Formation_Enthalpy")]
    assert (len(had), had.any(1).sum(), had[:, energies].any(1).sum()) == (1464, 1066, 762)
