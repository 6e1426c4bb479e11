"""What further frames are to a run: by what groups they are scored, and which of them the fit has seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from matgraft.core.files import to_json
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.seen import SeenFrames, fingerprints, is_among
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.evaluation import judge_frames
from matgraft.potentials.run.outcome import _groups
from matgraft.potentials.run.seen_by_fit import SeenByFit
from matgraft.potentials.run_files import SEEN
from matgraft.potentials.scoring.evaluate import Evaluation, SeenCounts


def rattled(seed: int) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


def runs(n_runs: int, length: int, key: str = "md_id") -> Dataset:
    """Simulations named by another key than ``trajectory``."""
    return Dataset(
        tuple(
            Sample(rattled(i), {"energy": np.array(0.0)}, {key: f"run{i // length}"}, file="test.extxyz", index=i)
            for i in range(n_runs * length)
        )
    )


def statics(count: int) -> Dataset:
    """Static calculations of snapshots of one simulation: md/0001/OUTCAR, md/0002/OUTCAR, ..."""
    names = [f"md/{i:04d}/OUTCAR" for i in range(count)]
    return Dataset(
        tuple(
            Sample(rattled(i), {"energy": np.array(0.0)}, {"trajectory": name, "file": name}, file=name)
            for i, name in enumerate(names)
        )
    )


@pytest.mark.parametrize(
    ("test", "n_groups"), [(runs(8, 5), 8), (runs(3, 20, "simulation"), 3), (statics(40), 1)], ids=["md", "sim", "one"]
)
def test_a_test_file_is_scored_by_the_groups_that_the_split_would_find(test: Dataset, n_groups: int) -> None:
    parts: Any = SimpleNamespace(split=SimpleNamespace(test=(), groups=()))
    groups = _groups(parts, "test", test)
    assert len(set(groups)) == n_groups
    assert list(groups) == list(find_groups(test).labels)


def test_a_part_of_the_training_file_is_scored_by_the_groups_of_the_split() -> None:
    parts: Any = SimpleNamespace(split=SimpleNamespace(test=(1, 3), groups=("a", "b", "c", "d")))
    assert list(_groups(parts, "test", runs(1, 2))) == ["b", "d"]


def predicted(dataset: Dataset, factor: float) -> list[dict[str, Any]]:
    return [{"energy": np.array(factor * np.sin(7.0 * i))} for i in range(len(dataset))]


def scored(dataset: Dataset, seen: dict[int, str] | None) -> Evaluation:
    models = {"tuned": predicted(dataset, 0.1), "untuned": predicted(dataset, 1.0), "shift": predicted(dataset, 1.0)}
    what = None if seen is None else SeenByFit(tuple(seen.get(i, "unseen") for i in range(len(dataset))))
    return judge_frames("further.extxyz", dataset, models, what)


def test_figures_and_verdict_are_those_of_the_unseen_frames() -> None:
    dataset = runs(8, 5)
    whole = scored(dataset, {})
    assert (whole.part, whole.n_groups, whole.test["n_frames"]) == ("unseen", 8, 40)
    assert whole.verdict.level == "better than the foundation" and whole.with_seen is None
    partly = scored(dataset, dict.fromkeys(range(20), "trained_on") | {20: "validated_on"})
    assert partly.frames == SeenCounts(trained_on=20, validated_on=1, unseen=19)
    assert partly.test["n_frames"] == 19 and partly.n_groups == 4  # three whole runs and the rest of a fourth
    assert partly.verdict.level == "undecided"
    assert partly.with_seen and partly.with_seen.test == whole.test
    assert "4 of the 19 unseen frames belong to simulations" in partly.verdict.cautions[0].text


def test_frames_that_are_all_seen_are_not_judged() -> None:
    found = scored(runs(8, 5), {i: "validated_on" if i < 4 else "trained_on" for i in range(40)})
    assert (found.part, found.verdict.level) == ("seen", "not compared")
    assert "36 were trained on and 4 were validated on" in found.verdict.headline
    older = scored(runs(8, 5), None)
    assert older.frames is None and "older" in older.verdict.cautions[0].text


@pytest.fixture
def tuned_on(tmp_path: Path) -> Callable[[Dataset, Dataset], Path]:
    """The parts of a run folder that say what its fit has seen, with the training file beside it."""

    def leave(train: Dataset, file: Dataset) -> Path:
        frames = []
        for sample in file:
            atoms = sample.content.copy()
            atoms.info |= sample.tags
            atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((len(atoms), 3)))
            frames.append(atoms)
        write(tmp_path / "frames.extxyz", frames)
        (tmp_path / "recipe.yaml").write_text(Recipe(train=str(tmp_path / "frames.extxyz")).to_yaml())
        SEEN.write(tmp_path, SeenFrames(train=fingerprints(train), validation={}))
        return tmp_path

    return leave


def evaluated(run: Path, dataset: Dataset) -> Evaluation:
    models = {"tuned": predicted(dataset, 0.1), "untuned": predicted(dataset, 1.0), "shift": predicted(dataset, 1.0)}
    return judge_frames("further.extxyz", dataset, models, SeenByFit.of(run, dataset))


def test_further_frames_of_a_trained_simulation_are_known_by_the_training_file(tuned_on: Any) -> None:
    """Simulations 0 to 5 are in the training file, 5 frames of each; of 0 to 3 these were seen, 4 and 5 were the test.

    The file evaluated holds other frames of 0, 1 and 4, and of two simulations of its own.
    """
    whole = runs(6, 10)
    own = runs(8, 10)
    run = tuned_on(whole[[i for i in range(40) if i % 10 < 5]], whole[[i for i in range(60) if i % 10 < 5]])
    further = own[[i for i in range(80) if i % 10 >= 5 and i // 10 in (0, 1, 4, 6, 7)]]
    found = evaluated(run, further)
    assert found.frames == SeenCounts(trained_on=0, validated_on=0, unseen=25)
    assert found.verdict.cautions[0].text.startswith("10 of the 25 unseen frames belong to simulations of which")
    assert found.verdict.first == found.verdict.cautions[0]
    fresh = evaluated(run, own[[i for i in range(80) if i % 10 >= 5 and i // 10 in (4, 6, 7)]])
    assert not any("belong to simulations" in one.text for one in fresh.verdict.cautions)
    (run / "frames.extxyz").unlink()
    gone = evaluated(run, further)
    assert gone.verdict.cautions[0].text.startswith("The training file is not at the place that the recipe names")


@pytest.mark.parametrize(
    ("left", "why"),
    [
        (slice(20, None), "has changed and lacks frames that the fit has seen"),
        (slice(0), "has changed and cannot be read"),
    ],
    ids=["other frames", "empty"],
)
def test_a_training_file_that_has_changed_is_said(tuned_on: Any, left: slice, why: str) -> None:
    """The file evaluated holds seen and unseen frames of simulation 0, the training file no longer those of 0."""
    whole = runs(6, 10)
    run = tuned_on(whole[[i for i in range(40) if i % 10 < 5]], whole[[i for i in range(60) if i % 10 < 5]])
    file = run / "frames.extxyz"
    write(file, read(file, ":")[left])
    found = evaluated(run, runs(8, 10)[[*range(10), *range(60, 80)]])
    assert found.frames == SeenCounts(trained_on=5, validated_on=0, unseen=25)
    cautions = [one.text for one in found.verdict.cautions]
    assert cautions[0].startswith("5 of the 25 unseen frames belong to simulations of which")
    assert any(one.startswith(f"The training file {why}: ") for one in cautions)


def test_neighbours_in_time_are_known_where_nothing_names_the_simulation(tuned_on: Any) -> None:
    """Every other frame of one slow walk was trained on, under another key than the further frames have."""
    rng, atoms = np.random.default_rng(0), bulk("Si", cubic=True) * (2, 2, 2)
    walk, moves = [], np.zeros((64, 3))
    for _ in range(24):
        moves = 0.9 * moves + 0.06 * rng.normal(size=(64, 3))
        walk.append(Atoms(atoms.numbers, atoms.positions + moves, cell=atoms.cell, pbc=True))
    seen, further = (
        Dataset(tuple(Sample(one, {"energy": np.array(0.0)}, file="x", index=i) for i, one in enumerate(walk[k::2])))
        for k in range(2)
    )
    named = seen.map(lambda sample: sample.with_tags(md_id="walk"))
    found = evaluated(tuned_on(named, named), further)
    assert found.frames and found.frames.unseen == 12
    assert found.verdict.cautions[0].text.startswith("12 of the 12 unseen frames belong to simulations")


def test_a_training_file_of_other_atoms_is_not_read(tuned_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tuned_on(runs(2, 5), runs(2, 5))
    monkeypatch.setattr("matgraft.potentials.run.seen_by_fit.read_one", lambda *_: pytest.fail("read for minutes"))
    others = runs(6, 2).map(lambda sample: replace(sample, content=sample.content * (2, 1, 1)))
    assert not any("simulations of which" in one.text for one in evaluated(run, others).verdict.cautions)


def known(atoms: Atoms, other: Atoms) -> bool:
    """Say whether a fit on `atoms` has seen `other`."""
    first, second = (Dataset((Sample(each, {}),)) for each in (atoms, other))
    return bool(is_among(second, json.loads(to_json(fingerprints(first))))[0])


def salt(repeat: int, seed: int | None = None) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (repeat, repeat, repeat)
    if seed is not None:
        atoms.rattle(0.1, seed=seed)
    return atoms


def five_digits(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, np.round(atoms.positions, 5), cell=np.round(atoms.cell[:], 5), pbc=atoms.pbc)


def fractions_of_eight_digits(atoms: Atoms) -> Atoms:
    return Atoms(atoms.numbers, np.round(atoms.get_scaled_positions(), 8) @ atoms.cell[:], cell=atoms.cell, pbc=True)


def wrapped(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.positions[3] += atoms.cell[0]
    atoms.wrap()
    return atoms


def by_element(atoms: Atoms) -> Atoms:
    return atoms[np.argsort(atoms.numbers, kind="stable")]


@pytest.mark.parametrize("change", [five_digits, fractions_of_eight_digits, wrapped, by_element])
@pytest.mark.parametrize("repeat", [1, 3])
def test_a_frame_is_known_from_a_file_of_another_kind(repeat: int, change: Any) -> None:
    """On a grid of 0.001 Å the five digits of an OUTCAR hid 45 % of frames of 216 atoms, and wrapping hid all."""
    for seed in (None, *range(10)):
        atoms = salt(repeat, seed)
        assert known(atoms, change(atoms))


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("moved", [0.005, 0.05])
def test_a_displacement_makes_another_frame(repeat: int, moved: float) -> None:
    """Of one atom, forth and back, and of a sublattice in a supercell, where long waves cancel."""
    rng = np.random.default_rng(0)
    for seed in (None, *range(10)):
        atoms = salt(repeat, seed)
        step = rng.normal(size=3)
        step *= moved / np.linalg.norm(step)
        one, back, sublattice = (atoms.copy() for _ in range(3))
        one.positions[3] += step
        back.positions[3] -= step
        sublattice.positions[sublattice.numbers == 17] += step
        assert not any((known(atoms, one), known(one, back), known(atoms, sublattice)))


def test_another_cell_periodicity_or_element_makes_another_frame() -> None:
    atoms = salt(2, 0)
    strained, molecule, potassium, exchanged, longer = (atoms.copy() for _ in range(5))
    strained.set_cell(atoms.cell[:] * 1.001, scale_atoms=True)
    molecule.pbc = False
    potassium.symbols[0] = "K"
    exchanged.symbols[[0, 1]] = exchanged.symbols[[1, 0]]
    longer.set_cell(atoms.cell[:] * [[1], [1], [1.001]])
    assert known(atoms, atoms.copy())
    assert not any(known(atoms, other) for other in (strained, molecule, potassium, exchanged, longer))


def test_molecules_and_slabs_are_known() -> None:
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    boxed = Atoms(water.symbols, water.positions, cell=[20, 20, 20])
    stretched = water.copy()
    stretched.positions[1, 0] += 1.0
    assert known(water, boxed) and known(water, water[[2, 0, 1]]) and not known(water, stretched)
    slab = bulk("Al", cubic=True) * (2, 2, 2)
    slab.pbc = (True, True, False)
    shifted, raised = slab.copy(), slab.copy()
    shifted.positions[0] += slab.cell[0]
    raised.positions[0, 2] += 0.01
    assert known(slab, shifted) and not known(slab, raised)
