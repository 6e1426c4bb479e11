"""The conformance suite: what every potential must pass, ours and yours. Public.

    class TestMyPotential(PotentialConformance):
        @classmethod
        def make(cls) -> Potential:
            return MyPotential.shipped()

Each test says one sentence of the contract in `matgraft.backbones.base`. Structures are made here; nothing is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.backbones.base import Potential
from matgraft.backbones.predict import encode_all, predict
from matgraft.data.dataset import Dataset, Sample
from matgraft.data.heads import HEAD_TAG
from matgraft.errors import OptionError
from matgraft.quantities import Array
from matgraft.transfer.adapt import shift_references
from matgraft.transfer.heads import MultiHeadPotential
from matgraft.transfer.references import HeadShifts, ReferenceShift
from matgraft.transfer.step_zero import check_step_zero
from matgraft.transfer.strategy import STRATEGIES, make_strategy, through_network

WANTED = ("energy", "forces", "stress")


def crystals() -> list[Atoms]:
    """Return distorted cells of 2, 8 and 4 atoms: covalent, metallic, ionic; nothing in them is zero by symmetry."""
    frames = [
        bulk("Si", "diamond", a=5.47),
        bulk("Mo", "bcc", a=3.16, cubic=True) * (2, 2, 1),
        bulk("MgO", "rocksalt", a=4.21),
    ]
    rng = np.random.default_rng(0)
    for atoms in frames:
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.02 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.06 * rng.standard_normal(atoms.positions.shape)
    return frames


class PotentialConformance:
    """Inherit, say which potential, and pytest does the rest."""

    # float32 networks; in eV/atom, eV/Å, eV/Å³. Override for other precisions.
    tolerance: Mapping[str, float] = {"energy": 1e-5, "forces": 1e-4, "stress": 1e-5}

    @classmethod
    def make(cls) -> Potential:
        """Return the potential under test."""
        raise OptionError(f"{cls.__name__} does not say which potential to test", remedy="override make")

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> Potential:
        """Load the potential once a class."""
        return cls.make()

    def test_equals_the_vendors_calculator(self, potential: Potential, tmp_path: Path) -> None:
        """Energies, forces and stresses are the vendor's own, by way of the vendor's own file."""
        file = tmp_path / potential.native_file
        potential.save(file)
        calculator = potential.vendor_calculator(file)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            atoms.calc = calculator
            theirs = {
                "energy": np.array(atoms.get_potential_energy()),
                "forces": atoms.get_forces(),
                "stress": atoms.get_stress(voigt=False),
            }
            self._agree(ours, theirs, len(atoms))

    def test_batched_equals_single(self, potential: Potential) -> None:
        """What stands beside a frame in a batch does not matter."""
        together = _predict(potential, crystals())
        for atoms, ours in zip(crystals(), together, strict=True):
            self._agree(ours, _predict(potential, [atoms])[0], len(atoms))

    def test_changes_no_input(self, potential: Potential) -> None:
        """Prediction leaves structures and encoded graphs as they are."""
        samples = [Sample(atoms, {}) for atoms in crystals()]
        encoded = encode_all(potential, samples)
        before = [{name: tensor.clone() for name, tensor in one.tensors.items()} for one in encoded]
        predict(potential, samples, WANTED, encoded=encoded)
        for one, old, sample, atoms in zip(encoded, before, samples, crystals(), strict=True):
            assert all((one.tensors[name] == old[name]).all() for name in old)
            assert sample.content == atoms

    def test_translation(self, potential: Potential) -> None:
        """Moving all atoms changes nothing."""
        moved = crystals()
        for atoms in moved:
            atoms.translate([0.31, -1.7, 5.3])
            atoms.wrap()
        self._agree_all(potential, moved, lambda value: value)

    def test_rotation(self, potential: Potential) -> None:
        """Turning the crystal turns forces and stresses with it."""
        turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))
        turned = crystals()
        for atoms in turned:
            atoms.set_cell(atoms.cell[:] @ turn.T, scale_atoms=True)

        def back(value: Mapping[str, Array]) -> Mapping[str, Array]:
            forces, stress = value["forces"] @ turn, turn.T @ value["stress"] @ turn
            return {"energy": value["energy"], "forces": forces, "stress": stress}

        self._agree_all(potential, turned, back)

    def test_permutation(self, potential: Potential) -> None:
        """The order of the atoms does not matter."""
        reversed_frames = [atoms[::-1] for atoms in crystals()]
        self._agree_all(potential, reversed_frames, lambda value: {**value, "forces": value["forces"][::-1]})

    def test_supercell(self, potential: Potential) -> None:
        """Twice the cell has twice the energy and the same stress."""
        for atoms, single in zip(crystals(), _predict(potential, crystals()), strict=True):
            (double,) = _predict(potential, [atoms * (2, 1, 1)])
            assert float(double["energy"]) == pytest.approx(2 * float(single["energy"]), abs=2e-5 * len(atoms))
            np.testing.assert_allclose(double["stress"], single["stress"], atol=self.tolerance["stress"])

    def test_forces_are_the_derivative_of_the_energy(self, potential: Potential) -> None:
        """Central differences along a random direction give the projected force."""
        rng = np.random.default_rng(2)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            move = rng.standard_normal(atoms.positions.shape)
            slope = _slope(potential, [_moved(atoms, step * move) for step in _STEPS])
            assert slope == pytest.approx(-float((ours["forces"] * move).sum()), abs=0.02, rel=0.02)

    def test_stress_is_the_derivative_of_the_energy(self, potential: Potential) -> None:
        """Central differences along a random strain give volume times stress."""
        rng = np.random.default_rng(3)
        for atoms, ours in zip(crystals(), _predict(potential, crystals()), strict=True):
            strain = rng.standard_normal((3, 3))
            strain = (strain + strain.T) / 2
            slope = _slope(potential, [_strained(atoms, step * strain) for step in _STEPS])
            expected = atoms.get_volume() * float((ours["stress"] * strain).sum())
            assert slope == pytest.approx(expected, abs=0.05, rel=0.02)

    def test_what_was_not_asked_for_is_absent(self, potential: Potential) -> None:
        """Only the wanted quantities are returned; a molecule has no stress."""
        (only_energy,) = predict(potential, [Sample(crystals()[0], {})], ("energy",))
        assert set(only_energy) == {"energy"}
        dimer = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.3]])
        (molecule,) = predict(potential, [Sample(dimer, {})], WANTED)
        assert set(molecule) == {"energy", "forces"}

    def test_stages_name_the_network_once(self, potential: Potential) -> None:
        """Stages share no parameter, know real parameters, and end with the head's."""
        stages = potential.stages()
        names = [name for stage in stages for name in stage.parameters()]
        assert len(names) == len(set(names)) > 0
        assert set(names) <= {name for name, _ in potential.module.named_parameters()}
        head = {id(parameter) for parameter in potential.head.parameters()}
        assert {id(parameter) for parameter in stages[-1].parameters().values()} == head

    def test_references_shift_the_energy_alone(self, potential: Potential) -> None:
        """One eV on an element is one eV an atom of it, and no force."""
        shifted = copy.deepcopy(potential)
        shift = ReferenceShift(mode="given", shift_eV={"O": 1.0}, rank=1, n_elements=1)
        shift_references(shifted, shift)
        atoms = crystals()[2]
        before, after = (_predict(model, [atoms])[0] for model in (potential, shifted))
        assert float(after["energy"] - before["energy"]) == pytest.approx(atoms.symbols.count("O"), abs=1e-5)
        np.testing.assert_array_equal(after["forces"], before["forces"])

    @pytest.mark.parametrize(
        ("name", "several"),
        [*((name, False) for name in sorted(STRATEGIES)), *((name, True) for name in sorted(through_network()))],
    )
    def test_every_strategy_starts_as_the_foundation(self, potential: Potential, name: str, several: bool) -> None:
        """Preparation freezes and injects without changing a prediction, under one head or under each of several."""
        dataset = Dataset(tuple(Sample(atoms, {}, {HEAD_TAG: "ab"[i % 2]}) for i, atoms in enumerate(crystals())))
        strategy = make_strategy(name)
        prepared = copy.deepcopy(potential)
        prepared = MultiHeadPotential(prepared, ["a", "b"]) if several else prepared
        shift = ReferenceShift(mode="given", shift_eV={"Si": -3.5}, rank=1, n_elements=1)
        shift_references(prepared, HeadShifts(heads={"a": shift, "b": shift}) if several else shift)
        groups = strategy.prepare(prepared)
        learning = {id(p) for group in groups for p in group.parameters.values()}
        assert learning == {id(p) for p in prepared.module.parameters() if p.requires_grad}
        assert learning
        found = check_step_zero(potential, prepared, shift, dataset, encode_all(prepared, dataset))
        assert found["max_energy_difference_eV_per_atom"] < 1e-5

    def _agree_all(self, potential: Potential, changed: list[Atoms], back: object) -> None:
        assert callable(back)
        for atoms, ours, other in zip(
            changed, _predict(potential, crystals()), _predict(potential, changed), strict=True
        ):
            self._agree(ours, back(other), len(atoms))

    def _agree(self, ours: Mapping[str, Array], theirs: Mapping[str, Array], n_atoms: int) -> None:
        assert set(ours) == set(theirs) == set(WANTED)
        per_atom = float(np.abs(ours["energy"] - theirs["energy"])) / n_atoms
        assert per_atom < self.tolerance["energy"], f"energies differ by {per_atom} eV/atom"
        for name in ("forces", "stress"):
            np.testing.assert_allclose(ours[name], theirs[name], atol=self.tolerance[name], err_msg=name)


_STEPS = (-2e-3, -1e-3, 1e-3, 2e-3)
"""Four points, whose error is of fourth order: an energy surface with sharp cutoffs bends within 1e-3."""


def _predict(potential: Potential, frames: list[Atoms]) -> list[dict[str, Array]]:
    return predict(potential, [Sample(atoms, {}) for atoms in frames], WANTED)


def _slope(potential: Potential, ends: list[Atoms]) -> float:
    lowest, low, high, highest = (float(one["energy"]) for one in _predict(potential, ends))
    return (8 * (high - low) - (highest - lowest)) / (12 * _STEPS[2])


def _moved(atoms: Atoms, displacement: Array) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def _strained(atoms: Atoms, strain: Array) -> Atoms:
    strained = atoms.copy()
    strained.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return strained
