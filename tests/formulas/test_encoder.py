"""The composition encoder: symmetries, saving, and what ships."""

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import ChangedError, DataError
from matgraft.core.files import remove
from matgraft.core.manifest import OlderFolderWarning
from matgraft.core.registry import save_folder
from matgraft.formulas.elements import element_table
from matgraft.formulas.encoder import SHIPPED, CompositionBackbone, tensors_of
from matgraft.formulas.encoder_network import CompositionEncoder
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.foundations import load, load_folder

SMALL = {"width": 16, "layers": 2, "heads": 2, "features": 24, "property_names": ("a", "b")}
TEXTS = ["Fe2O3", "Li0.5CoO2", "Si", "Fe0.62C0.001Mn0.0005Ni0.192Mo0.0176Co0.146Al0.02285", "CuSO4·5H2O"]


@pytest.fixture(scope="module")
def small():
    return CompositionBackbone.scratch(1, **SMALL)


def test_elements_stand_near_their_kin():
    table = element_table()
    assert np.isfinite(table).all()
    calcium, strontium, chlorine = table[20], table[38], table[17]
    assert np.linalg.norm(calcium - strontium) < 0.5 * np.linalg.norm(calcium - chlorine)


@given(st.permutations(range(7)))
@settings(max_examples=20, deadline=None)
def test_order_of_elements_does_not_matter(order):
    encoder = CompositionBackbone.scratch(1, **SMALL).module
    numbers, fractions = tensors_of([parse_formula(TEXTS[3])])
    with torch.no_grad():
        assert torch.allclose(
            encoder.features(numbers, fractions), encoder.features(numbers[:, order], fractions[:, order]), atol=1e-5
        )


def test_batched_equals_single_whatever_the_padding(small):
    formulas = [parse_formula(text) for text in TEXTS]
    together = small.embed(formulas)
    alone = np.concatenate([small.embed([formula]) for formula in formulas])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    batch = small.collate([small.encode(formula) for formula in formulas])
    np.testing.assert_allclose(small.features(batch).detach(), together, atol=1e-5)
    out = small.forward(batch, ["properties"])["properties"]
    np.testing.assert_allclose(out, small.properties(formulas), atol=1e-5)
    assert small.forward(batch, ["energy"]) == {}


def test_amounts_matter_down_to_a_ten_thousandth(small):
    some, more = (Formula((6, 26), (x, 1 - x)) for x in (1e-4, 3e-4))
    assert np.abs(small.embed([some]) - small.embed([more])).max() > 1e-4


def test_stages_hold_every_parameter_once(small):
    names = [name for stage in small.stages() for name in stage.parameters()]
    assert sorted(names) == sorted(name for name, _ in small.module.named_parameters())
    assert small.stages()[-1].name == "readout"


def test_a_saved_folder_opens_to_the_same_predictions(small, tmp_path):
    formulas = [parse_formula(text) for text in TEXTS]
    before = small.properties(formulas)
    save_folder(CompositionBackbone(small.module, small.card), tmp_path / "model")
    np.testing.assert_array_equal(load_folder(tmp_path).properties(formulas), before)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert CompositionEncoder(**config).arguments == config == small.module.arguments
    remove(tmp_path / "model" / "config.json")
    with pytest.raises(DataError, match="no such file"):
        load_folder(tmp_path)


def test_the_shipped_encoder_is_the_one_its_card_describes():
    encoder = load("composition")
    card = json.loads((SHIPPED / "card.json").read_text())
    weights = b"".join(path.read_bytes() for path in sorted(SHIPPED.rglob("model.safetensors")))
    assert hashlib.sha256(weights).hexdigest() == card["weights_sha256"] == encoder.card.weights_sha256
    assert len(weights) < 20e6
    assert encoder.card.recipe["exclude"] == "in_matbench_task"
    assert encoder.card.licence == "MIT"


def test_siblings_are_averaged_saved_and_tuned_in_turn(tmp_path):
    one, other = (CompositionBackbone.scratch(seed, width=16, layers=1, heads=2, features=8, property_names=("a", "b"))
                  for seed in (0, 1))  # fmt: skip
    both = CompositionBackbone(one.module, one.card, [other.module])
    formulas = [parse_formula(text) for text in TEXTS]
    expected = (one.properties(formulas) + other.properties(formulas)) / 2
    assert np.abs(one.properties(formulas) - other.properties(formulas)).max() > 0.01
    np.testing.assert_allclose(both.properties(formulas), expected, atol=1e-6)
    np.testing.assert_array_equal(both.embed(formulas), one.embed(formulas))
    save_folder(both, tmp_path)
    loaded = load_folder(tmp_path)
    np.testing.assert_allclose(loaded.properties(formulas), expected, atol=1e-6)
    assert loaded.card.n_parameters == 2 * sum(p.numel() for p in one.module.parameters())
    assert [both.alone(i).module for i in range(3)] == [one.module, other.module, one.module]
    changed = bytearray((tmp_path / "sibling-1" / "model.safetensors").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "sibling-1" / "model.safetensors").write_bytes(bytes(changed))
    with pytest.raises(ChangedError, match="content has changed"):
        load_folder(tmp_path)
    (tmp_path / "manifest.txt").unlink()  # as a folder of an earlier version is
    with pytest.warns(OlderFolderWarning), pytest.raises(DataError, match="not the ones that the card describes"):
        load_folder(tmp_path)


def test_the_shipped_encoder_knows_a_salt_from_a_metal():
    encoder = load("composition")
    gap = encoder.property_names.index("mp_gap > 0")
    salts, metals = ["NaCl", "MgO", "CaF2", "KBr", "Al2O3"], ["CuZn", "FeNi", "Ni3Al", "Nb3Sn", "AuCu"]
    logits = encoder.properties([parse_formula(text) for text in salts + metals])[:, gap]
    assert logits[:5].min() > 1 > -1 > logits[5:].max()


def test_the_shipped_encoder_is_saved_to_the_same_bytes(tmp_path):
    """Its hash says which prompts and metrics belong to it."""
    load("composition").save(tmp_path / "model.safetensors")
    for name in ("model.safetensors", "labels.npz", "sibling-1/model.safetensors"):
        assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes(), name
    for name in ("config.json", "sibling-1/config.json"):
        assert (tmp_path / name).read_text().split() == (SHIPPED / name).read_text().split(), name
