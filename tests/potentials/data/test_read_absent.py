"""Zeros and NaN that stand for "not computed" are no labels; zeros that symmetry or distance explains are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.labels import label_missing
from matgraft.potentials.data.reading.absent import Absences
from matgraft.potentials.data.reading.labels import Label
from matgraft.potentials.data.reading.read import Stream, read

ALL = ("energy", "forces", "stress")
STRESS = np.array([[0.01, 0.002, 0.0], [0.002, -0.02, 0.001], [0.0, 0.001, 0.03]])


def rattled(seed: int, **labels: object) -> Atoms:
    """Silicon off symmetry with labels; None leaves one out."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return labelled(atoms, seed, **labels)


def labelled(atoms: Atoms, seed: int = 0, **labels: object) -> Atoms:
    rng = np.random.default_rng(seed)
    given = {"energy": -5.4 * len(atoms) + 0.1 * seed, "forces": rng.normal(size=(len(atoms), 3)), "stress": STRESS}
    given |= labels
    atoms.info |= {f"REF_{name}": given[name] for name in ("energy", "stress") if given[name] is not None}
    if given["forces"] is not None:
        atoms.arrays["REF_forces"] = np.array(given["forces"], dtype=float)
    return atoms


def saved(path: Path, *frames: Atoms) -> Path:
    write(path, list(frames), format="extxyz")
    return path


def counts(path: Path, **how: object) -> dict[str, int]:
    data = read(path, **({"want": ()} | how))
    assert [dict(one.labels).keys() for one in Stream(path, **({"want": ()} | how))] == [d.labels.keys() for d in data]
    return {name: data.count(name) for name in ALL}


def zeros(n: int = 8) -> np.ndarray:
    return np.zeros((n, 3))


@pytest.mark.parametrize(
    ("quantity", "value"), [("energy", 0.0), ("forces", zeros()), ("stress", zeros(3)), ("stress", np.zeros(6))]
)
@pytest.mark.parametrize("part", [2, 6])
def test_zeros_for_not_computed_are_counted_told_and_left_out(
    tmp_path: Path, quantity: str, value: object, part: int
) -> None:
    frames = [rattled(i, **({quantity: value} if i < part else {})) for i in range(6)]
    path = saved(tmp_path / "a.extxyz", *frames)
    assert counts(path) == dict.fromkeys(ALL, 6) | {quantity: 6 - part}
    notes = read(path, want=()).provenance.notes
    assert f"a.extxyz: {quantity} is exactly zero in {part} of 6 frames: read as not computed, and left out" in notes


@pytest.mark.parametrize(("quantity", "shape"), [("energy", ()), ("forces", (8, 3)), ("stress", (3, 3)), ("stress", 9)])
def test_nan_throughout_is_absent(tmp_path: Path, quantity: str, shape: object) -> None:
    nan = float("nan") if shape == () else np.full(shape, np.nan)
    path = saved(tmp_path / "a.extxyz", *[rattled(i, **({quantity: nan} if i % 2 else {})) for i in range(4)])
    assert counts(path) == dict.fromkeys(ALL, 4) | {quantity: 2}
    assert any(f"{quantity} is NaN in 2 of 4 frames" in note for note in read(path, want=()).provenance.notes)


def test_nan_among_numbers_stays_for_the_audit(tmp_path: Path) -> None:
    forces, stress = np.ones((8, 3)), STRESS.copy()
    forces[2, 1] = stress[0, 0] = np.nan
    data = read(saved(tmp_path / "a.extxyz", rattled(0, forces=forces, stress=stress)))
    assert np.isnan(data[0].labels["forces"]).sum() == 1
    assert np.isnan(data[0].labels["stress"]).sum() == 1


def test_infinity_is_never_absent(tmp_path: Path) -> None:
    assert np.isinf(read(saved(tmp_path / "a.extxyz", rattled(0, energy=np.inf)))[0].labels["energy"])


@pytest.mark.parametrize(
    "crystal",
    [
        bulk("Cu"),
        bulk("Si"),
        bulk("Mg", "hcp", a=3.2, c=5.2),
        bulk("NaCl", "rocksalt", a=5.6, cubic=True),
        bulk("GaAs", "zincblende", a=5.65) * (2, 1, 1),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)
def test_zero_forces_of_perfect_crystals_are_labels(tmp_path: Path, crystal: Atoms) -> None:
    frames = []
    for scale in (0.98, 1.0, 1.03):
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        frames.append(labelled(atoms, forces=zeros(len(atoms))))
    assert counts(saved(tmp_path / "a.extxyz", *frames)) == dict.fromkeys(ALL, 3)


def test_zeros_of_isolated_atoms_and_far_dimers_are_labels(tmp_path: Path) -> None:
    lone = Atoms("Si", cell=[15.0] * 3, pbc=True)
    far = Atoms("Si2", [[0, 0, 0], [0, 0, 7.4]], cell=[15.0] * 3, pbc=True)
    blank = {"energy": 0.0, "stress": zeros(3)}
    frames = [labelled(lone, forces=zeros(1), **blank), labelled(far, forces=zeros(2), **blank)]
    frames += [rattled(i) for i in range(3)]
    assert counts(saved(tmp_path / "a.extxyz", *frames)) == dict.fromkeys(ALL, 5)


def test_a_lowest_energy_that_was_taken_off_stays(tmp_path: Path) -> None:
    frames = [rattled(i, energy=0.3 * i) for i in range(8)]
    assert counts(saved(tmp_path / "a.extxyz", *frames))["energy"] == 8


def test_a_molecule_without_stress_has_none(tmp_path: Path) -> None:
    water = molecule("H2O", cell=[12.0] * 3)
    assert counts(saved(tmp_path / "a.extxyz", labelled(water, stress=zeros(3))))["stress"] == 0


def test_frames_that_are_zero_altogether_were_not_computed(tmp_path: Path) -> None:
    failed = {"energy": 0.0, "forces": zeros(), "stress": zeros(3)}
    path = saved(tmp_path / "a.extxyz", rattled(0), rattled(1, **failed), rattled(2))
    assert counts(path) == dict.fromkeys(ALL, 2)


def test_a_key_of_zeros_gives_way_to_one_with_numbers(tmp_path: Path) -> None:
    atoms = rattled(0)
    atoms.info |= {"dft_energy": 0.0, "virial": np.zeros(9)}
    labels = read(saved(tmp_path / "a.extxyz", atoms))[0].labels
    assert labels["energy"] == pytest.approx(-43.2)
    np.testing.assert_allclose(labels["stress"], STRESS)


def looked(path: Path) -> Finding:
    (finding,) = label_missing(Evidence(read(path, want=())))
    return finding


def test_the_audit_says_what_was_not_computed(tmp_path: Path) -> None:
    everywhere = looked(saved(tmp_path / "a.extxyz", *[rattled(i, stress=zeros(3)) for i in range(4)]))
    assert everywhere.outcome == "failed"
    assert not everywhere.blocks
    assert everywhere.numbers["n_stress_not_computed"] == 4
    assert "zeros were read as not computed: stress in 4 frames" in everywhere.evidence
    assert "another key" not in everywhere.remedy
    nan = np.full((3, 3), np.nan)
    mixed = looked(saved(tmp_path / "b.extxyz", rattled(0), rattled(1, stress=nan), rattled(2, stress=None)))
    assert mixed.frames == (1, 2)
    assert "keys.stress" in mixed.remedy
    assert looked(saved(tmp_path / "c.extxyz", rattled(0, stress=None))).outcome == "passed"


def test_a_wanted_label_that_is_zero_everywhere_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.extxyz", *[rattled(i, energy=0.0) for i in range(3)])
    with pytest.raises(DataError, match="no frame has energy that was computed: every one is exactly zero") as caught:
        read(path)
    assert caught.value.options == ({"want": ["forces"]},)
    assert read(path, want=["forces"]).count("energy") == 0


@pytest.mark.parametrize("cell", [0.5, 0.02], ids=["in nm", "no cell"])
def test_positions_in_a_wrong_unit_are_no_burden(cell: float) -> None:
    atoms = Atoms("Si64", np.random.default_rng(0).random((64, 3)) * cell, cell=[cell] * 3, pbc=True)
    zero = {"forces": Label(zeros(64), "forces", "eV/Å")}
    assert Absences(lambda: np.zeros(0)).take_out(atoms, zero) == zero  # returns: millions of pairs would not


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("e13_stress_nan", {"energy": 30, "forces": 30, "stress": 15}),
        ("e14b_all_stress_zero", {"energy": 30, "forces": 30, "stress": 0}),
        ("e14c_all_energy_zero", {"energy": 0, "forces": 30, "stress": 30}),
    ],
)
def test_cases(shared: Path, name: str, expected: dict[str, int]) -> None:
    assert counts(shared / f"data/cases/frames/{name}.extxyz") == expected


@pytest.mark.parametrize("word", ["nan", "None", "N/A"])
def test_one_word_for_a_label_that_is_absent(tmp_path: Path, word: str) -> None:
    path = tmp_path / "a.xyz"
    head = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3'
    rows = "Si 0 0 0 0.1 0.2 0.3\nSi 1.3 1.4 1.2 -0.1 -0.2 -0.3\n"
    full = 'energy=-1 stress="1 0 0 0 1 0 0 0 1"'
    path.write_text(f"2\n{head} energy={word} stress={word}\n{rows}2\n{head} {full}\n{rows}", encoding="utf-8")
    data = read(path, want=["energy", "forces", "stress"])
    assert [set(sample.labels) for sample in data] == [{"forces"}, {"energy", "forces", "stress"}]
    assert any("stress is NaN in 1 of 2 frames: read as not computed" in note for note in data.provenance.notes)
