"""How sure a network is: what a calculator says, what a folder keeps, and what is refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import write_text
from matgraft.core.quantities import UNCERTAINTIES
from matgraft.core.registry import save_folder
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.models.calculator import PotentialCalculator
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.models.uncertainty import TENSORS, UNCERTAINTY, Uncertainty
from matgraft.potentials.uncertainty.fit import Simulations, fit_uncertainty

SIMULATIONS = (
    *("Si4Ge4 strain", "Si4Ge4 disordered NVT 900 K", "Si NVT 1500 K"),
    *("Si4Ge4 NVT 300 K", "Si6Ge2 NVT 1500 K", "Si2Ge6 rattle"),
)
HALF = 6
"""Frames of the first three simulations."""


@pytest.fixture(scope="module")
def frames(sige: Dataset) -> Dataset:
    """Frames of six simulations, two of each."""
    names = sige.tag("trajectory")
    return sige[[i for name in SIMULATIONS for i in [j for j, own in enumerate(names) if own == name][:2]]]


@pytest.fixture(scope="module")
def uncertainty(chgnet: Potential, frames: Dataset) -> Uncertainty:
    """Trained on both frames of three simulations, held out the other three."""
    return fit_uncertainty(chgnet, frames[:HALF], frames[HALF:])


@pytest.fixture(scope="module")
def folder(chgnet: Potential, uncertainty: Uncertainty, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as a run leaves it."""
    model = copy.deepcopy(chgnet)
    out = tmp_path_factory.mktemp("run") / "model"
    save_folder(model, out)
    card = uncertainty.card.model_copy(update={"weights_sha256": model.card.weights_sha256})
    Uncertainty(card, uncertainty.known, uncertainty.energy_centre, uncertainty.energy_factor).save(out)
    return out


def test_a_folder_of_an_earlier_version_opens_and_has_no_interval(
    chgnet: Potential, uncertainty: Uncertainty, folder: Path, frames: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    card = json.loads((tmp_path / "model" / UNCERTAINTY.name).read_text(encoding="utf-8"))
    card["version"] = 1
    for rule in ("energy", "forces"):
        del card[rule]["interval"]
    write_text(tmp_path / "model" / UNCERTAINTY.name, json.dumps(card))
    model = load_potential(tmp_path / "model")
    older = Uncertainty.of(model.card, model.folder)
    assert older.quantities == ("energy_std", "forces_std", "extrapolation")
    (found,) = predict_samples(model, [frames[0]], uncertainty=older)
    assert UNCERTAINTIES.keys() & found.keys() == set(older.quantities)


def test_a_loaded_calculator_says_what_the_fit_says(
    chgnet: Potential, uncertainty: Uncertainty, folder: Path, frames: Dataset
) -> None:
    atoms = frames[HALF].content.copy()
    atoms.calc = load_potential(folder).calculator(uncertainty=True)
    atoms.get_potential_energy()
    found = dict(atoms.calc.results)
    expected = predict_samples(chgnet, [frames[HALF], frames[0]], uncertainty=uncertainty)[
        0
    ]  # in a batch with another frame
    assert set(UNCERTAINTIES) <= found.keys()
    for name in UNCERTAINTIES:
        assert found[name] == pytest.approx(expected[name], rel=2e-3), name
        assert atoms.calc.get_property(name, atoms) is not None
    assert found["forces_std"].shape == found["forces_interval"].shape == found["extrapolation"].shape == (len(atoms),)
    assert 0 < found["energy_std"] <= found["energy_interval"] < np.inf
    assert (found["forces_std"] <= found["forces_interval"]).all()
    plain = frames[HALF].content.copy()
    plain.calc = PotentialCalculator(chgnet)
    assert (plain.get_forces() == found["forces"]).all()
    assert not UNCERTAINTIES.keys() & plain.calc.results.keys()


def test_atoms_that_were_trained_on_are_inside_and_squeezed_ones_are_not(
    chgnet: Potential, uncertainty: Uncertainty, frames: Dataset
) -> None:
    def farthest(atoms: Atoms) -> tuple[float, float]:
        atoms.calc = PotentialCalculator(chgnet, uncertainty)
        atoms.get_potential_energy()
        return float(atoms.calc.results["extrapolation"].max()), float(atoms.calc.results["forces_std"].mean())

    trained, squeezed = frames[0].content.copy(), frames[0].content.copy()
    squeezed.set_cell(squeezed.cell * 0.8, scale_atoms=True)
    inside, outside = farthest(trained), farthest(squeezed)
    assert inside[0] < 0.05
    assert outside[0] > 1
    assert outside[1] > inside[1]


def test_of_an_element_without_training_frames_nothing_is_sure(chgnet: Potential, uncertainty: Uncertainty) -> None:
    atoms = bulk("SiC", "zincblende", a=4.4)
    atoms.calc = PotentialCalculator(chgnet, uncertainty)
    assert np.isfinite(atoms.get_forces()).all()
    found = atoms.calc.results
    assert np.isfinite(found["extrapolation"]).tolist() == np.isfinite(found["forces_std"]).tolist() == [True, False]
    assert found["energy_std"] == np.inf


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si", "diamond", a=5.43),
        Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]]),
        Atoms("Ge2", [[0, 0, 10], [1.4, 1.4, 11.4]], cell=[4, 4, 30], pbc=[True, True, False]),
    ],
    ids=["crystal", "molecule", "slab"],
)
def test_any_structure_has_its_figures(chgnet: Potential, uncertainty: Uncertainty, atoms: Atoms) -> None:
    atoms = atoms.copy()
    atoms.calc = PotentialCalculator(chgnet, uncertainty)
    atoms.get_forces()
    for name, quantity in UNCERTAINTIES.items():
        value = np.asarray(atoms.calc.results[name])
        assert value.shape == ((len(atoms),) if quantity.per == "atom" else ())
        assert (value > 0).all()


def test_energies_of_a_cell_twice_as_large_are_twice_as_unsure(chgnet: Potential, uncertainty: Uncertainty) -> None:
    one = bulk("Si", "diamond", a=5.5)
    found = []
    for atoms in (one, one * (2, 1, 1)):
        atoms.calc = PotentialCalculator(chgnet, uncertainty)
        atoms.get_potential_energy()
        found.append(atoms.calc.results["energy_std"])
    assert found[1] == pytest.approx(2 * found[0], rel=1e-3)


def test_what_it_was_calibrated_on_is_said(chgnet: Potential, uncertainty: Uncertainty, frames: Dataset) -> None:
    card = uncertainty.card
    assert card.elements == ("Si", "Ge")
    assert (card.n_frames, card.n_atoms) == (HALF, 8 * HALF)
    assert card.gate.calibration.n_groups == HALF  # three of the training frames, each held out in turn, and three more
    assert card.gate.calibration.is_calibrated
    assert card.forces is not None
    assert card.forces.calibration.n_groups == 3
    assert not card.forces.calibration.is_calibrated
    cut = Simulations(["a"] * 3, ["a"] * 3)
    known = fit_uncertainty(chgnet, frames[:3], frames[3:6], simulations=cut).card
    assert known.gate.calibration.reason.startswith("0 held-out simulations")
    assert known.forces is not None
    assert known.forces.calibration.n_groups == 0


def test_frames_without_forces_have_no_deviation_of_forces(chgnet: Potential, frames: Dataset) -> None:
    bare = frames.map(lambda sample: type(sample)(sample.content, {"energy": sample.labels["energy"]}, sample.tags))
    found = fit_uncertainty(chgnet, bare[:2], bare[2:4])
    assert found.card.forces is None
    assert found.quantities == ("energy_std", "energy_interval", "extrapolation")
    atoms = frames[0].content.copy()
    atoms.calc = PotentialCalculator(chgnet, found)
    atoms.get_forces()
    assert "forces_std" not in atoms.calc.results
    assert "forces_std" not in atoms.calc.implemented_properties


def test_what_cannot_be_had_is_refused(chgnet: Potential, frames: Dataset, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="has no uncertainty: no run tuned it"):
        chgnet.calculator(uncertainty=True)
    with pytest.raises(DataError, match="both parts need some"):
        fit_uncertainty(chgnet, frames[:2], frames[:0])
    other = load_potential(folder)
    other.card = other.card.model_copy(update={"weights_sha256": "00"})
    with pytest.raises(DataError, match="fitted to other weights"):
        other.calculator(uncertainty=True)
    UNCERTAINTY.write(tmp_path, UNCERTAINTY.read(folder))
    (tmp_path / TENSORS).write_bytes(b"torn")
    other = load_potential(folder)
    other.folder = tmp_path
    with pytest.raises(DataError, match="cannot be read"):
        other.calculator(uncertainty=True)
    (tmp_path / UNCERTAINTY.name).unlink()
    with pytest.raises(OptionError, match="uncertainty=false"):
        other.calculator(uncertainty=True)
