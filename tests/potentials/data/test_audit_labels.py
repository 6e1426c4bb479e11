"""Faults of single labels and structures, planted in real frames."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.units import Bohr, GPa

from matgraft.core.findings import Finding, blocking
from matgraft.core.quantities import parse_shear, reorder_shear
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.cells import ends_at_its_cell
from matgraft.potentials.audit.structures import outlier_distance
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.sample import Sample

ELEMENTS = ("Si", "Mo")
SPOILED = (5, 20)
"""Frames that get the fault: of the bulk in both sets, of different trajectories."""


def findings(data, frames: Dataset | None = None, elements=ELEMENTS) -> dict[str, Finding]:
    found = run_looks(
        data.frames if frames is None else frames, data.predictions, elements=elements, model_name="CHGNet"
    )
    return {finding.code: finding for finding in found}


def spoil(dataset: Dataset, change: Callable[[Sample], Sample], positions: tuple[int, ...] = SPOILED) -> Dataset:
    return replace(dataset, samples=tuple(change(s) if i in positions else s for i, s in enumerate(dataset)))


def label(quantity: str, change: Callable[[np.ndarray], Any]) -> Callable[[Sample], Sample]:
    return lambda sample: sample.with_labels(**{quantity: change(sample.labels[quantity].copy())})


def atoms(change: Callable[[Any], Any]) -> Callable[[Sample], Sample]:
    def changed(sample: Sample) -> Sample:
        content = sample.content.copy()
        change(content)
        return replace(sample, content=content)

    return changed


def without(*names: str) -> Callable[[Sample], Sample]:
    return lambda s: replace(s, labels={name: value for name, value in s.labels.items() if name not in names})


def only(found: dict[str, Finding]) -> set[str]:
    return {code for code, finding in found.items() if finding.outcome == "failed"}


# --- not finite ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("quantity", ["energy", "forces", "stress"])
def test_non_finite_labels_block_and_poison_nothing_else(mo, quantity, value):
    def first(x: np.ndarray) -> np.ndarray:
        x.flat[0] = value
        return x

    found = findings(mo, spoil(mo.frames, label(quantity, first)))
    assert only(found) == {"non-finite"}
    assert found["non-finite"].blocks and found["non-finite"].frames == SPOILED
    assert found["non-finite"].option == "'audit.drop=[5,20]'"
    assert all(np.isfinite(list(finding.numbers.values())).all() for finding in found.values())


@pytest.mark.parametrize("attribute", ["positions", "cell"])
def test_non_finite_structures_block_and_poison_nothing_else(mo, attribute):
    def break_it(content):
        broken = np.array(getattr(content, attribute)[:])
        broken[0, 0] = np.nan
        content.set_cell(broken) if attribute == "cell" else setattr(content, attribute, broken)

    found = findings(mo, spoil(mo.frames, atoms(break_it)))
    assert only(found) == {"non-finite"}
    assert found["non-finite"].frames == SPOILED


def test_non_finite_predictions_are_left_out(mo):
    predictions = [
        {**p, "energy": np.array(np.nan), "forces": p["forces"] * np.nan} if i in SPOILED else p
        for i, p in enumerate(mo.predictions)
    ]
    found = {finding.code: finding for finding in run_looks(mo.frames, predictions)}
    assert not only(found)
    assert found["energy-unit"].numbers["n_frames"] == len(mo.frames) - 2


# --- labels ----------------------------------------------------------------------------------------------------------


def test_frames_without_any_label(mo):
    found = findings(mo, spoil(mo.frames, without("energy", "forces", "stress")))
    assert only(found) == {"label-missing"}
    assert found["label-missing"].frames == SPOILED
    assert found["label-missing"].option == "'audit.drop=[5,20]'"


def test_frames_without_one_label(mo):
    found = findings(mo, spoil(mo.frames, without("stress")))
    assert only(found) == {"label-missing"}
    assert found["label-missing"].numbers["n_stress"] == len(mo.frames) - 2
    assert "keys.stress" in found["label-missing"].remedy


def test_a_label_absent_everywhere_is_no_fault(mo):
    found = findings(mo, mo.frames.map(without("stress")))
    assert not only(found)
    assert found["stress-unit"].outcome == found["stress-shear"].outcome == "not applicable"


def test_net_force(mo):
    found = findings(mo, spoil(mo.frames, label("forces", lambda x: x + 0.05)))
    assert only(found) == {"net-force"}
    assert found["net-force"].frames == SPOILED and found["net-force"].severity == "warning"


@pytest.mark.parametrize("name", ["si", "mo"])
@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_outlying_energy(name, shift, request):
    data = request.getfixturevalue(name)
    spoiled = replace(
        data.frames,
        samples=tuple(
            s.with_labels(energy=s.labels["energy"] + shift * s.n_atoms) if i in SPOILED else s
            for i, s in enumerate(data.frames)
        ),
    )
    found = findings(data, spoiled)
    assert found["outlier-energy"].frames == SPOILED
    assert not blocking(found.values())


def test_outlying_energy_without_a_foundation(mo):
    spoiled = spoil(mo.frames, label("energy", lambda x: x - 300.0))
    found = {finding.code: finding for finding in run_looks(spoiled, None)}
    assert found["outlier-energy"].frames == SPOILED


def test_outlying_force(mo):
    def two_atoms(x: np.ndarray) -> np.ndarray:
        x[0, 0], x[1, 0] = x[0, 0] + 20, x[1, 0] - 20
        return x

    found = findings(mo, spoil(mo.frames, label("forces", two_atoms)))
    assert found["outlier-force"].frames == SPOILED
    assert not blocking(found.values())


def test_outlying_force_without_a_foundation(mo):
    spoiled = spoil(mo.frames, label("forces", lambda x: x + 200))
    found = {finding.code: finding for finding in run_looks(spoiled, None)}
    assert found["outlier-force"].frames == SPOILED


@pytest.mark.parametrize(
    ("tags", "outcome"),
    [
        ({"converged": "false"}, "failed"),
        ({"converged": "False"}, "failed"),
        ({"electronic_steps": "60", "nelm": "60"}, "failed"),
        ({"electronic_steps": "14", "nelm": "60"}, "passed"),
        ({"converged": "true"}, "passed"),
        ({}, "not applicable"),
    ],
)
def test_unconverged(mo, tags, outcome):
    found = findings(mo, spoil(mo.frames, lambda s: s.with_tags(**tags)))
    assert found["unconverged"].outcome == outcome
    assert found["unconverged"].frames == (SPOILED if outcome == "failed" else ())


# --- structures ------------------------------------------------------------------------------------------------------


def test_elements_unseen(mo):
    found = findings(mo, elements=("Si",))
    assert found["elements-unseen"].blocks
    assert len(found["elements-unseen"].frames) == len(mo.frames)
    assert "Mo" in found["elements-unseen"].evidence
    assert findings(mo, elements=())["elements-unseen"].outcome == "not applicable"


@pytest.mark.parametrize("name", ["si", "mo"])
def test_colliding_atoms(name, request):
    data = request.getfixturevalue(name)

    def collide(content):
        content.positions[1] = content.positions[0] + [0.0, 0.0, 0.9]

    found = findings(data, spoil(data.frames, atoms(collide)))
    assert found["outlier-distance"].frames == SPOILED
    assert found["outlier-distance"].numbers["closest_A"] == pytest.approx(0.9)


@pytest.mark.parametrize(("symbol", "lattice", "blocks"), [("Si", 5.43, True), ("Ar", 5.3, False), ("Si", 2.9, False)])
def test_lengths_in_bohr_taken_for_angstrom(symbol, lattice, blocks):
    """They leave every atom alone. Atoms of noble gases are alone."""
    crystal = bulk(symbol, "diamond" if symbol == "Si" else "fcc", a=lattice / Bohr, cubic=True)
    data = Dataset(tuple(Sample(crystal, {"energy": np.array(-1.0)}, index=i) for i in range(3)))
    (found,) = outlier_distance(Evidence(data))
    assert found.blocks == blocks
    assert [action.settings for action in found.actions] == [{"units.length": "Bohr"}] * blocks


PLANE = np.logical_and.outer(np.arange(3) < 2, np.arange(3) < 2)


def slabs(factor: float, n_whole: int = 0) -> tuple[Dataset, list[dict[str, np.ndarray]]]:
    """Twelve slabs with a stress in their plane, of six trajectories, some crystals, and predictions."""
    rng = np.random.default_rng(0)
    samples, predictions = [], []
    for k in range(12 + n_whole):
        stress = 0.02 * rng.standard_normal((3, 3))
        right = stress + stress.T
        known = {"stress": PLANE} if k < 12 else {}
        labels = {"stress": factor * (right + 0.002 * rng.standard_normal((3, 3)))}
        samples.append(Sample(bulk("Si"), labels, {"trajectory": f"run {k // 2}"}, components=known))
        predictions.append({"stress": right})
    return Dataset(tuple(samples)), predictions


@pytest.mark.parametrize("n_whole", [0, 8])
@pytest.mark.parametrize(
    ("factor", "code", "unit"),
    [(1.0, "", ""), (-1.0, "stress-sign", "-eV/Å³"), (1 / (0.1 * GPa), "stress-unit", "kBar")],
)
def test_stresses_in_the_plane_of_slabs_tell_unit_and_sign(factor, code, unit, n_whole):
    """The components that are labels tell; the others, which are zero, say nothing."""
    found = {one.code: one for one in run_looks(*slabs(factor, n_whole)) if one.code.startswith("stress")}
    assert {one for one in found if found[one].blocks} == ({code} if code else set())
    assert found["stress-unit"].numbers["slope"] == pytest.approx(factor, rel=0.1)
    assert not code or [action.settings for action in found[code].actions] == [{"units.stress": unit}]
    if not n_whole:
        assert found["stress-shear"].outcome == "not applicable" and "alone" in found["stress-shear"].evidence


def test_orders_of_the_shears_are_tried_on_crystals_beside_slabs():
    data, predictions = slabs(1.0, n_whole=12)
    order = parse_shear("xz,yz,xy")
    data = data.map(lambda s: s if s.components else s.with_labels(stress=reorder_shear(s.labels["stress"], order)))
    (found,) = [one for one in run_looks(data, predictions) if one.code == "stress-shear"]
    assert found.frames == tuple(range(12, 24))


def test_outlying_volume(mo):
    grow = atoms(lambda content: content.set_cell(content.cell[:] * 1.3, scale_atoms=True))
    found = findings(mo, spoil(mo.frames, grow))
    assert found["outlier-volume"].frames == SPOILED
    assert found["outlier-volume"].numbers["largest_ratio"] > 2


def test_no_cell(mo):
    def strip(content):
        content.set_cell(np.zeros((3, 3)))
        content.pbc = False

    found = findings(mo, spoil(mo.frames, lambda s: without("stress")(atoms(strip)(s))))
    assert found["no-cell"].frames == SPOILED and found["no-cell"].severity == "info"
    assert not blocking(found.values())
    stressed = findings(mo, spoil(mo.frames, atoms(strip)))["no-cell"]
    assert stressed.severity == "warning" and stressed.numbers["n_with_stress"] == 2


def test_a_slab_without_a_third_vector_repeats(mo):
    def flatten(content):
        content.set_cell([*content.cell[:2], [0, 0, 0]])
        content.pbc = [True, True, False]

    found = findings(mo, spoil(mo.frames, lambda s: without("stress")(atoms(flatten)(s))))["no-cell"]
    assert found.numbers["n_repeating"] == 2 and "2 frames of them repeat" in found.evidence


def test_crystals_that_are_written_as_clusters_are_told(mo):
    def end(content):
        content.pbc = False

    found = findings(mo, spoil(mo.frames, lambda s: without("stress")(atoms(end)(s))))["no-cell"]
    assert found.frames == SPOILED and found.severity == "warning" and 'pbc="T T T"' in found.remedy


@pytest.mark.parametrize("side", [1.0, 6.0, 12.0])
def test_a_molecule_in_a_box_is_no_crystal(side):
    """Of whatever size: a box of 1 Å only stands for none."""
    water = molecule("H2O", cell=[side] * 3)
    assert not ends_at_its_cell(water)
    water.center()
    assert not ends_at_its_cell(water)


def test_bonds_across_the_faces_make_a_crystal():
    assert ends_at_its_cell(Atoms("Si2", scaled_positions=[[0, 0, 0], [0.25] * 3], cell=bulk("Si").cell, pbc=False))
    assert not ends_at_its_cell(bulk("Si"))


# --- duplicates ------------------------------------------------------------------------------------------------------


def doubled(data, change: Callable[[Sample], Sample]):
    """Append changed copies of two frames."""
    copies = data.frames[list(SPOILED)].map(change)
    twice = concatenate([data.frames, copies])
    return type(data)(twice, data.predictions + [data.predictions[i] for i in SPOILED])


def disguise(sample: Sample) -> Sample:
    """Shift, wrap and reorder the atoms with their forces."""
    order = np.random.default_rng(1).permutation(sample.n_atoms)
    content = sample.content[order]
    content.translate([1.0, -2.0, 0.5])
    content.wrap()
    return replace(sample, content=content, labels={**sample.labels, "forces": sample.labels["forces"][order]})


@pytest.mark.parametrize("name", ["si", "mo"])
def test_disguised_duplicates_that_agree(name, request):
    data = doubled(request.getfixturevalue(name), disguise)
    n = len(data.frames)
    finding = findings(data)["duplicates"]
    assert finding.outcome == "failed" and finding.severity == "warning"
    assert finding.frames == (*SPOILED, n - 2, n - 1)
    assert finding.option == f"'audit.drop=[{n - 2},{n - 1}]'"


@pytest.mark.parametrize(
    ("quantity", "change"),
    [("energy", lambda x: x + 3.0), ("forces", lambda x: 1.5 * x + 0.2), ("stress", lambda x: x + 0.02 * np.eye(3))],
)
def test_duplicates_that_contradict(mo, quantity, change):
    data = doubled(mo, lambda sample: label(quantity, change)(disguise(sample)))
    finding = findings(data)["duplicates"]
    assert finding.blocks
    assert quantity in finding.evidence
    assert finding.numbers["n_conflicting"] == 2


def test_one_atom_moved_is_no_duplicate(mo):
    def nudge(content):
        content.positions[0] += [0.0, 0.0, 0.01]

    assert findings(doubled(mo, atoms(nudge)))["duplicates"].outcome == "passed"


def test_two_atoms_exchanged_is_no_duplicate():
    from ase.build import bulk

    first = bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (2, 1, 1)
    second = first.copy()
    second.numbers[[0, 1]] = second.numbers[[1, 0]]
    found = run_looks(Dataset((Sample(first, {"energy": 0.0}), Sample(second, {"energy": 1.0}))), None)
    assert next(f.outcome for f in found if f.code == "duplicates") == "passed"


def stretched(count: int, tags: Callable[[int], dict[str, str]], step: float = 0.0005) -> Dataset:
    """Steps of N2 whose forces jump by 1 eV/Å at every other step, as between two settings."""
    from ase import Atoms

    def frame(k: int) -> Sample:
        pull = np.array([[-1.0, 0, 0], [1.0, 0, 0]]) * (k % 2)
        molecule = Atoms("N2", [[0, 0, 0], [1.1 + step * k, 0, 0]], cell=[12, 12, 12], pbc=True)
        return Sample(molecule, {"energy": np.array(-16.0), "forces": pull}, tags(k), file="a.extxyz", index=k)

    return Dataset(tuple(frame(k) for k in range(count)))


@pytest.mark.parametrize(
    ("tags", "step", "blocks"),
    [
        ({}, 0.0005, True),
        ({"trajectory": "relaxation"}, 0.0005, False),
        ({"md_run": "7"}, 0.0005, False),
        ({"trajectory": "relaxation"}, 0.0, True),
        ({"trajectory": "a.extxyz"}, 0.0, False),
    ],
    ids=["loose", "one relaxation", "one run by another name", "exact copies", "the output of one run"],
)
def test_steps_of_one_relaxation_do_not_contradict_each_other(tags, step, blocks):
    found = {one.code: one for one in run_looks(stretched(4, lambda k: tags, step), None)}["duplicates"]
    assert found.outcome == "failed" and found.blocks == blocks


def test_the_tag_that_tells_contradicting_copies_apart_is_named_and_gives_heads():
    """Charged and neutral copies are no mistake: a model of atoms alone cannot have both."""
    frames = stretched(6, lambda k: {"charge": str(k % 2), "frame": str(k), "config_type": "N2"}, 0.0)
    found = {one.code: one for one in run_looks(frames, None)}["duplicates"]
    assert found.blocks and "differ in the tag 'charge' (0, 1)" in found.evidence
    assert found.actions[0].settings == {"strategy.name": "multihead", "heads.by": "charge"}
    untold = stretched(6, lambda k: {"charge": "0", "frame": str(k)}, 0.0)
    assert len({one.code: one for one in run_looks(untold, None)}["duplicates"].actions) == 1


# --- cost ------------------------------------------------------------------------------------------------------------


def test_time_grows_with_the_number_of_frames(mo):
    """Four times the frames in at most eight times the time, a fifth of a second for a start."""
    from time import process_time

    def seconds(copies: int) -> float:
        rattled = [mo.frames.map(lambda s, k=k: disguise(s) if k else s) for k in range(copies)]
        data = concatenate(rattled)
        start = process_time()
        run_looks(data, mo.predictions * copies)
        return process_time() - start

    assert seconds(4) < 8 * seconds(1) + 0.2
