"""Isolated atoms are reference energies: set aside wherever frames are learned from or judged on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import DataError
from matgraft.core.provenance import Provenance
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.isolated import is_isolated, without_isolated
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import read_further, read_parts
from matgraft.potentials.tuning.references import isolated_references


def frame(symbols: str, energy: float | None = None, tags: dict[str, str] | None = None, **atoms: object) -> Sample:
    labels = {} if energy is None else {"energy": np.array(energy)}
    return Sample(Atoms(symbols, **atoms), labels, tags or {})


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (frame("Si"), True),
        (frame("Si", cell=[12, 12, 12], pbc=True), True),
        (frame("Si", cell=[[0, 9, 9], [9, 0, 9], [9, 9, 0]], pbc=True), True),  # fcc, 12.7 Å to the next image
        (frame("Si", cell=[12, 12, 4], pbc=True), False),  # a wire
        (frame("Si", cell=[12, 12, 4], pbc=[True, True, False]), True),
        (frame("Si", cell=[12, 4, 0], pbc=[True, False, True]), True),
        (frame("Po", cell=[3.35] * 3, pbc=True), False),
        (frame("Si", cell=[[0, 5, 5], [5, 0, 5], [10, 5, 5.5]], pbc=True), False),  # long vectors of a close lattice
        (frame("Si", cell=[5] * 3, pbc=True, tags={"config_type": "IsolatedAtom"}), True),
        (frame("Si", cell=[5] * 3, pbc=True, tags={"data_type": "iso_atoms"}), True),
        (frame("Si", cell=[5] * 3, pbc=True, tags={"kind": "isolated-atom"}), True),
        (frame("Si", cell=[5] * 3, pbc=True, tags={"config_type": "isolated_atom_Si"}), True),
        (frame("Si", cell=[5] * 3, pbc=True, tags={"energy_kind": "E0"}), False),
        (frame("Si", cell=[5] * 3, pbc=True, tags={"folder": "isolated_atoms"}), False),
        (frame("Si2", tags={"config_type": "IsolatedAtom"}), False),
    ],
)
def test_what_is_an_isolated_atom(sample: Sample, expected: bool) -> None:
    assert is_isolated(sample) is expected


def test_an_atom_under_stress_has_neighbours() -> None:
    crystal = Atoms("Cu", cell=[[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]], pbc=False)
    assert not is_isolated(Sample(crystal, {"stress": -0.02 * np.eye(3)}))
    assert is_isolated(Sample(crystal, {"stress": 1e-8 * np.eye(3)}))
    assert is_isolated(Sample(crystal, {"stress": np.full((3, 3), np.nan)}))


@pytest.mark.parametrize("stored", [False, True])
def test_frames_are_left_and_energies_told(tmp_path: Path, stored: bool) -> None:
    crystal = Sample(bulk("Si"), {"energy": np.array(-10.0)}, index=1)
    atoms = (frame("Si", -1.0), crystal, frame("Ge", -2.0), frame("Si", -1.5), frame("O"), frame("Ge", np.nan))
    data = Dataset(atoms, Provenance(notes=("read",)))
    if stored:
        write_store(data, tmp_path / "a.h5", lambda: data.provenance)
        data = open_store(tmp_path / "a.h5")
    kept = without_isolated(data)
    assert [sample.index for sample in kept] == [1]
    assert kept.provenance.isolated_atoms == {"Si": -1.5, "Ge": -2.0}
    assert kept.provenance.notes[0] == "read" and "5 frames are isolated atoms (Si -1.5 eV" in kept.provenance.notes[1]
    assert concatenate([kept, data]).provenance.isolated_atoms == {"Si": -1.5, "Ge": -2.0}
    assert without_isolated(kept) is kept
    with pytest.raises(DataError, match="every frame is an isolated atom"):
        without_isolated(data[[0, 2]])


def test_a_run_neither_learns_from_them_nor_is_judged_on_them(tmp_path: Path) -> None:
    header = 'Properties=species:S:1:pos:R:3:forces:R:3 pbc="F F F"'
    lone = f"1\n{header} energy=-5.5 config_type=IsolatedAtom\nSi 0 0 0 0 0 0\n"
    pair = f"2\n{header} energy=-12\nSi 0 0 0 0 0 1\nSi 0 0 2.3 0 0 -1\n"
    (tmp_path / "a.xyz").write_text(lone + pair + lone + pair)
    recipe = Recipe(train=str(tmp_path / "a.xyz"), test=str(tmp_path / "a.xyz"))
    train, test = read_parts(recipe)
    assert [sample.index for sample in train] == [sample.index for sample in test] == [1, 3]
    assert train.provenance.isolated_atoms == {"Si": -5.5}
    assert len(without_isolated(read_further(recipe, [tmp_path / "a.xyz"], beside=True))) == 2
    assert len(read(tmp_path / "a.xyz")) == 4  # prediction is asked for every frame


def test_the_shift_gives_isolated_atoms_their_energies() -> None:
    """Foundation: Si -4, Ge -3. File: Si -5.5, Ge -2. Frames of Si2 and SiGe, 0.1 eV off in all."""
    data = Dataset((frame("Si2", -11.0 - 2.0 + 0.2), frame("SiGe", -7.5 - 2.0 + 0.2)))
    known = [{"energy": np.array(-8.0 - 2.0)}, {"energy": np.array(-7.0 - 2.0)}]
    shift = isolated_references({"Si": -5.5, "Ge": -2.0}, {"Si": -4.0, "Ge": -3.0}, data, known)
    assert shift.shift_eV == {"Si": -1.5, "Ge": 1.0} and shift.mode == "isolated"
    assert shift.residual_after_meV == pytest.approx(100.0)
