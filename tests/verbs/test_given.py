"""What is taken for what, and what a file of it holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from hypothesis import given as examples
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.verbs.given import kept, parsed


def written(frames: Any, folder: Path, **how: Any) -> Dataset:
    with kept({"frames": parsed(frames)}, folder) as files:
        return read(files["frames"], **how)


def test_kinds_are_told_apart(pairs: Dataset) -> None:
    atoms = bulk("Cu")
    assert parsed(atoms).atoms == (atoms,)
    assert len(parsed(one for one in [atoms, atoms]).atoms) == 2
    assert parsed(pairs).dataset is pairs
    assert parsed(list(pairs)).dataset is not None
    assert parsed(SimpleNamespace(to_ase_atoms=lambda: atoms)).atoms == (atoms,)
    assert parsed(Path("a.xyz")).words == ("a.xyz",) and not parsed("a.xyz").is_table
    assert parsed(["a.xyz", Path("b")]).words == ("a.xyz", "b")
    assert parsed("A.CSV").is_table and parsed(pd.DataFrame({"a": [1]})).is_table and parsed({"a": [1]}).is_table


@pytest.mark.parametrize("strange", [5, None, [5], [bulk("Cu"), "a.xyz"], [], [[bulk("Cu")]], object()])
def test_what_is_nothing_of_these_is_told(strange: object) -> None:
    with pytest.raises(DataError, match=r"ase\.Atoms, or a list of them"):
        parsed(strange)


def test_labels_come_from_a_calculator_from_info_and_from_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first = bulk("Cu", cubic=True)
    stress = rng.standard_normal(6)
    first.calc = SinglePointCalculator(first, energy=-1.5, forces=rng.standard_normal((4, 3)), stress=stress)
    first.info |= {"trajectory": "a b", "T": 300, "note": 'two\nlines "quoted"', "junk": {"a": object()}, "none": None}
    first.set_constraint(FixAtoms([0]))
    first.arrays["REF_forces"] = rng.standard_normal((4, 3))
    first.info["REF_energy"] = np.float64(2.5)
    frame = written([first], tmp_path / "a", keys={"energy": "REF_energy", "forces": "REF_forces"})[0]
    assert frame.labels["energy"] == 2.5
    np.testing.assert_allclose(frame.labels["forces"], first.arrays["REF_forces"], atol=1e-8)
    plain = written([first], tmp_path / "b", keys={"energy": "energy", "forces": "forces"})[0]
    assert plain.labels["energy"] == -1.5
    np.testing.assert_allclose(plain.labels["forces"], first.calc.results["forces"], atol=1e-8)
    np.testing.assert_allclose(plain.labels["stress"][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], stress, atol=1e-8)
    assert plain.tags["trajectory"] == "a b" and plain.tags["T"] == "300"
    assert first.constraints and first.calc.results["energy"] == -1.5  # what was given stays as it is


def test_a_calculator_that_knows_another_state_gives_no_label(tmp_path: Path) -> None:
    """One calculator for all frames has the results of the last alone."""
    shared = EMT()
    frames = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6)]
    for atoms in frames:
        atoms.calc = shared
        atoms.get_forces()
    found = written(frames, tmp_path / "run", want=("energy",))
    assert [sorted(frame.labels) for frame in found] == [[], ["energy", "forces", "stress"]]


def test_one_name_with_two_values_is_kept_twice(tmp_path: Path) -> None:
    atoms = bulk("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5)
    atoms.info["energy"] = -9.0
    with kept({"frames": parsed(atoms)}, tmp_path / "run") as files:
        text = Path(files["frames"][0]).read_text()
    assert "energy=-1.5" in text and "info_energy=-9.0" in text


@examples(st.integers(1, 4), st.booleans(), st.floats(-1e6, 1e6), st.integers(0, 2**32 - 1))
def test_structures_and_labels_are_read_back(n: int, periodic: bool, energy: float, seed: int) -> None:
    from tempfile import TemporaryDirectory

    rng = np.random.default_rng(seed)
    cell = 10 * np.eye(3) + rng.standard_normal((3, 3)) if periodic else None
    atoms = Atoms(["Si"] * n, positions=3.0 * np.arange(n)[:, None] + 0.1 * rng.random((n, 3)), cell=cell, pbc=periodic)
    forces = rng.standard_normal((n, 3))
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    with TemporaryDirectory() as folder:
        frame = written(atoms, Path(folder) / "run")[0]
    np.testing.assert_allclose(frame.content.positions, atoms.positions, atol=1e-8)
    np.testing.assert_allclose(frame.content.cell[:], atoms.cell[:], atol=1e-8)
    assert frame.labels["energy"] == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(frame.labels["forces"], forces, atol=1e-8)


def test_a_dataset_keeps_labels_weights_and_tags(pairs: Dataset, tmp_path: Path) -> None:
    heavy = pairs.map(lambda one: one.weighing(3.0))
    again = written(heavy, tmp_path / "run")
    assert again.hash() == heavy.hash()
    assert [one.weight for one in again] == [3.0] * 6 and again.tag("kind") == heavy.tag("kind")


def test_nothing_is_left_where_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), kept({"frames": parsed(molecule("H2O"))}, tmp_path / "a" / "b") as files:
        assert Path(files["frames"][0]).is_file()
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
