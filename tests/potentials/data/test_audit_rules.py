"""The rule by which units, signs and orders are found wrong: its level on right labels, and what it must not miss."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from matgraft.core.provenance import Provenance, SourceFile
from matgraft.core.quantities import ENERGY_UNITS, FORCE_UNITS
from matgraft.potentials.audit import labels, stress
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.robust import slope_error, through_origin
from matgraft.potentials.audit.scale import Candidate, Support, choose_scale
from matgraft.potentials.audit.steps import find_step
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import audit_rules as rules

LEVEL = 0.01
"""Part of sets with right labels that one look may block."""

WARNED = 0.05
"""The same for warnings."""


# --- the rule alone --------------------------------------------------------------------------------------------------


def forces(slope: float, **more) -> list[Candidate]:
    sign = "-" if slope < 0 else ""
    return [Candidate("units.forces", f"{sign}{name}", abs(slope) * x, **more) for name, x in FORCE_UNITS.items()]


def judge(slope: float, support: Support, absolute: float | None = None):
    taken = Candidate("units.forces", "eV/Å", slope, absolute=absolute)
    return choose_scale(forces(slope), taken, support)


@settings(max_examples=300)
@given(st.floats(0.25, 5.9), st.integers(1, 500), st.floats(0, 2))
def test_no_slope_of_a_soft_or_stiff_foundation_blocks(slope, n_blocks, error):
    assert not judge(slope, Support(n_blocks, error)).sure


@settings(max_examples=300)
@given(st.floats(-5, 5), st.integers(1, 4), st.floats(0, 2))
def test_few_trajectories_block_on_nothing_but_a_slope_out_of_all_reason(exponent, n_blocks, error):
    scale = judge(float(np.exp(exponent)), Support(n_blocks, error))
    assert not scale.sure or abs(exponent - log(1.2)) > 6 * 0.4


@given(st.sampled_from(["Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å", "meV/Å"]), st.floats(0.8, 1.6), st.integers(5, 100))
def test_another_unit_in_many_trajectories_blocks_and_is_named(unit, softness, n_blocks):
    scale = judge(softness / FORCE_UNITS[unit], Support(n_blocks, 0.1))
    assert scale.sure
    assert unit in (scale.best.unit, *(rival.unit for rival in scale.rivals))


@given(st.floats(0.6, 2.4), st.integers(1, 50))
def test_the_other_sign_needs_trajectories(softness, n_blocks):
    scale = judge(-softness, Support(n_blocks, 0.1))
    assert scale.best.unit == "-eV/Å"
    assert scale.sure == (n_blocks >= 5)
    assert judge(-softness, Support(1, 0.1, many=True)).sure, "ten independent directions of force are as good"


@given(st.floats(-4, 4), st.integers(1, 50))
def test_a_remedy_is_offered_only_beyond_doubt_and_brings_labels_nearer(exponent, n_blocks):
    scale = judge(float(np.exp(exponent)), Support(n_blocks))
    assert bool(scale.actions) == scale.sure
    if scale.actions:
        assert scale.best.distance < scale.taken.distance


@given(st.floats(0.02, 50), st.integers(1, 50), st.floats(-0.18, 0.18))
def test_absolute_energies_that_agree_acquit(slope, n_blocks, absolute):
    assert not judge(slope, Support(n_blocks), absolute).sure


def test_a_slope_that_depends_on_one_trajectory_decides_nothing():
    assert judge(-1.0, Support(20, np.inf)).right


# --- estimates -------------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 10), st.integers(0, 1000))
def test_the_line_through_the_origin_bears_a_third_of_broken_rows(slope, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=300)
    y = slope * x
    y[:90] = rng.normal(size=90) * 1e3
    assert through_origin(x, y) == pytest.approx(slope)


@settings(max_examples=50)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(0, 1000))
def test_the_error_is_that_of_blocks_not_of_frames(n_blocks, length, seed):
    """Copies of a frame add nothing."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(1, 2, n_blocks), rng.uniform(1, 2, n_blocks)
    blocks = np.arange(n_blocks)
    assume(n_blocks <= 20 or length == 1)

    def error(times: int) -> float:
        a, b = np.repeat(x, times), np.repeat(y, times)
        return slope_error(lambda kept: float((a[kept] @ b[kept]) / (a[kept] @ a[kept])), np.repeat(blocks, times))

    assert error(length) == pytest.approx(error(1))


def test_the_jackknife_agrees_with_the_known_error_of_a_mean():
    rng = np.random.default_rng(0)
    y = np.exp(rng.normal(0, 0.2, 20))
    error = slope_error(lambda kept: float(y[kept].mean()), np.arange(20))
    assert error == pytest.approx(y.std(ddof=1) / np.sqrt(20) / y.mean(), rel=0.1)


def test_a_sign_that_hangs_on_one_block_has_no_error():
    y = np.array([1.0, -0.4, -0.4])
    assert slope_error(lambda kept: float(y[kept].sum()), np.arange(3)) == np.inf


# --- sets of right labels --------------------------------------------------------------------------------------------

DRAWS = {3: 3, 10: 3, 50: 1, 200: 1}
CELLS = [(n, kind, name) for n in rules.FRAMES for kind in rules.TRAJECTORIES for name in rules.FOUNDATIONS
         if (n, kind) != (200, "many")]  # fmt: skip
"""All kinds of sets but the one whose trajectories take seconds to find; the benchmark counts more draws."""


@pytest.fixture(scope="module")
def right_labels() -> list[rules.Row]:
    """Counts on right labels, of every number of frames, kind of trajectories and foundation."""
    return [rules.rate(k, DRAWS[n], n, rules.TRAJECTORIES[kind], name) for k, (n, kind, name) in enumerate(CELLS)]


def test_every_look_that_reads_predictions_is_counted(right_labels):
    """A look that is added to the registry is counted without a word here."""
    drawn = rules.draw(np.random.default_rng(0), 3, 3, rules.FOUNDATIONS["good"])
    without = {one.code: one for one in run_looks(drawn.frames, None) if "predictions" in one.evidence}
    assert set(without) - {"theory-foundation"} <= set(right_labels[0]["codes"])  # that one reads the card
    assert len(rules.looks()) >= 8


def test_right_labels_are_not_blocked_by_any_look(right_labels):
    """Each look keeps its level over all cells: its count is within the binomial interval of the level."""
    draws = sum(row["draws"] for row in right_labels)
    for code in right_labels[0]["codes"]:
        blocked, warned, _ = np.sum([row["codes"].get(code, (0, 0, 0)) for row in right_labels], axis=0)
        assert blocked <= binom.ppf(0.975, draws, LEVEL), code
        assert blocked + warned <= binom.ppf(0.975, draws, WARNED), code


@pytest.mark.parametrize("frames", rules.FRAMES)
def test_right_labels_are_not_blocked_in_any_number_of_frames(right_labels, frames):
    rows = [row for (n, *_), row in zip(CELLS, right_labels, strict=True) if n == frames]
    draws = sum(row["draws"] for row in rows)
    assert sum(row["block"] for row in rows) <= binom.ppf(0.975, draws, LEVEL)


@pytest.mark.parametrize("foreign", [-0.1, -3.0])
@pytest.mark.parametrize("count", [2, 6])
def test_isolated_atoms_do_not_decide_on_the_unit(count, foreign):
    """Foundations are wrong by eV on single atoms; two of them made the unit of right labels kcal/mol."""
    drawn = rules.draw(np.random.default_rng(0), 30, 10, rules.FOUNDATIONS["good"])
    atoms = [Atoms(("Mo", "Si")[k % 2], cell=[15 + k] * 3, pbc=True) for k in range(count)]
    alone = tuple(Sample(one, {"energy": -0.1}, {"trajectory": f"atom {k}"}) for k, one in enumerate(atoms))
    predictions = [*drawn.predictions, *([{"energy": np.asarray(foreign)}] * count)]
    found = rules.judged(rules.Draw(Dataset((*drawn.frames.samples, *alone)), predictions), rules.ABOUT["e"])
    assert rules.outcome(found, "energy") == "pass"


def test_one_wild_energy_accuses_no_other_frame():
    drawn = rules.draw(np.random.default_rng(0), 30, 10, rules.FOUNDATIONS["good"])
    frames = drawn.frames.map(lambda s: s.with_labels(energy=-1e12) if s is drawn.frames.samples[4] else s)
    accused = {i for one in rules.judged(rules.Draw(frames, drawn.predictions)) for i in one.frames}
    assert accused == {4}


@pytest.mark.parametrize("n_atoms", [2, 8, 20, 32, 54, 96, 216])
@pytest.mark.parametrize("slope", [0.5, 1.4, 2.5])
def test_cells_of_one_size_are_not_taken_for_a_unit_per_atom(n_atoms, slope):
    """kcal/mol/atom at 8 to 25 atoms and kJ/mol/atom at 32 to 130 lie within a factor of two of eV."""
    rng = np.random.default_rng(n_atoms)
    drawn = rules.draw(rng, 24, 6, replace(rules.FOUNDATIONS["good"], slopes=(slope, slope), between=0.0))

    def resized(sample):
        atoms = sample.content[[0] * n_atoms]
        return replace(sample, content=atoms, labels={"energy": sample.labels["energy"] / sample.n_atoms * n_atoms})

    predictions = [
        {"energy": p["energy"] / s.n_atoms * n_atoms} for p, s in zip(drawn.predictions, drawn.frames, strict=True)
    ]
    found = rules.judged(rules.Draw(drawn.frames.map(resized), predictions), rules.ABOUT["e"])
    assert rules.outcome(found, "energy") == "pass"


@pytest.mark.parametrize("unit", ["kJ/mol", "kcal/mol"])
def test_of_two_units_that_fit_the_one_of_a_single_mistake_is_offered_first(unit):
    """In cells of 8 atoms meV/atom lies near kJ/mol: with a soft foundation it came first, and was typed."""
    rng = np.random.default_rng(8)
    predicted = 8 * (rng.normal(0, 0.2, 40) - 5.0)
    names = [f"run {k // 4}" for k in range(40)]
    labels = (1.55 * predicted - 900 + rng.normal(0, 0.05, 40)) / ENERGY_UNITS[unit]
    frames = [
        Sample(bulk("Si", cubic=True), {"energy": np.asarray(one)}, {"trajectory": name})
        for one, name in zip(labels, names, strict=True)
    ]
    found = run_looks(Dataset(tuple(frames)), [{"energy": np.asarray(one)} for one in predicted])
    (energy,) = [one for one in found if one.code == "energy-unit"]
    assert energy.blocks and energy.actions[0].settings == {"units.energy": unit}


# --- faults ----------------------------------------------------------------------------------------------------------

TOLD = {
    "energy 0.05 eV/atom higher": {0.5: "pass", 0.1: "pass"},  # as much as foundations differ between structures
    "energy 0.5 eV/atom higher": {0.5: "block", 0.1: "warn"},
    "energy 5.0 eV/atom higher": {0.5: "block", 0.1: "warn"},
    "forces of other atoms": {1.0: "warn", 0.1: "warn"},
    "stress with shears in another order": {1.0: "block", 0.1: "warn"},
}
"""What a fault comes to at least; others block in all frames and are warned of in a tenth."""

WORST = ("pass", "warn", "block")


@pytest.mark.parametrize(
    ("fault", "share", "whole"),
    [(fault, share, whole) for fault in rules.FAULTS for share in rules.shares(fault)
     for whole in ((False, True) if "higher" in fault else (False,))],
)  # fmt: skip
def test_a_planted_fault_is_told(fault, share, whole):
    """60 frames of 20 trajectories under a good foundation."""
    rng = np.random.default_rng(1)
    drawn = rules.draw(rng, 60, 20, rules.FOUNDATIONS["good"])
    about = rules.ABOUT[fault[0]]
    found = rules.judged(rules.plant(rng, drawn, rules.FAULTS[fault], share, whole), about)
    least = TOLD.get(fault, {1.0: "block", 0.1: "warn"})[share]
    assert WORST.index(rules.outcome(found, about)) >= WORST.index(least)


def test_shears_of_scattered_frames_in_another_order_are_named():
    """Three numbers a frame tell little; frames of several trajectories that agree on one order tell it."""
    accused, wrong = set(), set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        drawn = rules.draw(rng, 60, 20, rules.FOUNDATIONS["good"])
        spoilt = rules.plant(rng, drawn, rules.FAULTS["stress with shears in another order"], 0.1)
        (found,) = stress.stress_shear(Evidence(spoilt.frames, spoilt.predictions))
        assert "xz, xy, yz" in found.evidence or "xy, yz, xz" in found.evidence
        wrong |= {(seed, i) for i, (a, b) in enumerate(zip(drawn.frames, spoilt.frames, strict=True)) if a is not b}
        accused |= {(seed, i) for i in found.frames}
        (right,) = stress.stress_shear(Evidence(drawn.frames, drawn.predictions))
        assert right.outcome == "passed"
    assert accused <= wrong and len(accused) > len(wrong) / 2


@pytest.mark.parametrize("foundation", rules.FOUNDATIONS)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("size", [0.5, 5.0, -5.0, 700.0])
def test_two_references_in_one_file_block_and_are_no_unit(size, whole, foundation):
    """Half of the frames; they were taken for noise, and nothing was said on any energy."""
    rng = np.random.default_rng(3)
    drawn = rules.draw(rng, 60, 60 if whole else 20, rules.FOUNDATIONS[foundation])
    wrong = rules.plant(rng, drawn, lambda s: {"energy": s.labels["energy"] + size * s.n_atoms}, 0.45, whole)
    moved = {i for i, (a, b) in enumerate(zip(drawn.frames, wrong.frames, strict=True)) if a is not b}
    found = {one.code: one for one in rules.judged(wrong)}
    assert found["theory-labels"].blocks
    assert set(found["theory-labels"].frames) == moved
    assert found["theory-labels"].numbers["largest_offset_eV_per_atom"] == pytest.approx(abs(size), abs=0.2)
    assert found["energy-unit"].outcome != "failed" and found["energy-per-atom"].outcome != "failed"


@pytest.mark.parametrize(("name", "told"), [("functional", True), ("head", True), ("noise", False), ("frame", False)])
def test_a_tag_that_tells_two_references_apart_makes_heads(name, told):
    rng = np.random.default_rng(3)
    drawn = rules.draw(rng, 60, 20, rules.FOUNDATIONS["good"])
    wrong = rules.plant(rng, drawn, lambda s: {"energy": s.labels["energy"] + 5.0 * s.n_atoms}, 0.45)
    moved = [a is not b for a, b in zip(drawn.frames, wrong.frames, strict=True)]
    values = {"noise": [str(i % 3) for i in range(60)]}.get(name, ["r2scan" if one else "pbe" for one in moved])
    frames = Dataset(tuple(s.with_tags(**{name: v}) for s, v in zip(wrong.frames, values, strict=True)))
    found = {one.code: one for one in rules.judged(replace(wrong, frames=frames))}["theory-labels"]
    heads = {"strategy.name": "multihead", "heads.by": name}
    assert found.blocks and (found.actions[0].options == heads) == told
    assert found.actions[-1].options.keys() == {"audit.drop"}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("forces in Hartree/Bohr", "force-unit"),
        ("forces in -eV/Å", "force-unit"),
        ("stress in GPa", "stress-unit"),
        ("stress in -eV/Å³", "stress-sign"),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.7])
def test_two_units_in_one_file_are_told_frame_by_frame(fault, code, share):
    """Two files of two codes in one: neither is all in another unit, and nothing was said."""
    rng = np.random.default_rng(7)
    drawn = rules.draw(rng, 60, 20, rules.FOUNDATIONS["good"])
    spoilt = rules.plant(rng, drawn, rules.FAULTS[fault], share)
    wrong = {i for i, (a, b) in enumerate(zip(drawn.frames, spoilt.frames, strict=True)) if a is not b}
    found = {one.code: one for one in rules.judged(spoilt)}[code]
    assert found.outcome == "failed" and set(found.frames) <= wrong and len(found.frames) > 0.7 * len(wrong)
    assert not found.actions  # an option on all frames would spoil the others


def test_forces_that_are_something_else_are_told():
    """Velocities under the key of forces: small numbers, where the foundation predicts large forces."""
    rng = np.random.default_rng(5)
    drawn = rules.draw(rng, 40, 20, rules.FOUNDATIONS["good"])
    wrong = rules.plant(rng, drawn, lambda s: {"forces": rng.normal(0, 0.01, (s.n_atoms, 3))}, 1.0)
    found = {one.code: one for one in rules.judged(wrong)}["force-order"]
    assert found.outcome == "failed" and "forces at all" in found.remedy and len(found.frames) > 20


def test_other_references_of_each_element_block_too():
    rng = np.random.default_rng(4)
    drawn = rules.draw(rng, 60, 20, rules.FOUNDATIONS["good"])

    def other(sample: Sample) -> dict[str, np.ndarray]:
        return {"energy": sample.labels["energy"] + np.where(sample.content.numbers == 14, 0.6, 3.0).sum()}

    found = {one.code: one for one in rules.judged(rules.plant(rng, drawn, other, 0.4))}
    assert found["theory-labels"].blocks and len(found["theory-labels"].frames) == 24


@pytest.mark.parametrize(("frames", "fixed", "blocks"), [(30, False, True), (4, False, False), (30, True, False)])
def test_net_forces_in_most_frames_block(frames, fixed, blocks):
    drawn = rules.draw(np.random.default_rng(6), frames, 1, rules.FOUNDATIONS["good"])

    def pushed(sample: Sample) -> Sample:
        forces = sample.labels["forces"] + 0.3
        forces[0] = 0.0 if fixed else forces[0]
        return sample.with_labels(forces=forces)

    (found,) = labels.net_force(Evidence(drawn.frames.map(pushed)))
    assert found.outcome == "failed" and found.blocks == blocks
    assert bool(found.actions) != blocks, "most frames are not left out"


def test_two_references_by_turns_block_in_few_trajectories_too():
    rng = np.random.default_rng(5)
    drawn = rules.draw(rng, 60, 3, rules.FOUNDATIONS["good"])
    wrong = rules.plant(rng, drawn, rules.FAULTS["energy 5.0 eV/atom higher"], 0.4)
    (found,) = [one for one in rules.judged(wrong) if one.code == "theory-labels"]
    assert found.blocks


def test_frames_of_another_unit_here_and_there_in_one_trajectory_block():
    """An untagged file of one material is one trajectory: it was a warning."""
    rng = np.random.default_rng(1)
    drawn = rules.draw(rng, 80, 1, rules.FOUNDATIONS["good"])
    wrong = rules.plant(rng, drawn, lambda s: {"energy": s.labels["energy"] * 23.06}, 0.1)
    moved = {i for i, (a, b) in enumerate(zip(drawn.frames, wrong.frames, strict=True)) if a is not b}
    (found,) = [one for one in rules.judged(wrong) if one.code == "energy-unit"]
    assert found.blocks and set(found.frames) == moved and "kcal/mol" in found.evidence


@pytest.mark.parametrize(("n_stretches", "n_blocks"), [(2, 1), (24, 12)])
def test_a_trajectory_that_returns_to_a_line_bears_witness_anew(n_stretches, n_blocks):
    """An untagged file of one material is one trajectory, and may have frames of two references by turns."""
    rng = np.random.default_rng(8)
    upper = np.arange(60) * n_stretches // 60 % 2
    predicted = rng.normal(0, 0.1, 60)
    labels = predicted + rng.normal(0, 0.01, 60) + upper
    step = find_step(predicted, labels, np.ones((60, 1)), np.zeros(60, dtype=np.int64))
    assert step is not None and step.n_blocks == n_blocks
    assert step.severity == "error" and step.torn


@pytest.mark.parametrize(
    ("size", "trajectories", "noise", "blocks"),
    [(1.0, 1, 0.01, True), (0.6, 1, 0.01, False), (1.0, 1, 0.1, False), (1.0, 2, 0.01, False), (2.5, 2, 0.01, True)],
)
def test_two_halves_of_one_trajectory_block_where_the_step_is_sharp(size, trajectories, noise, blocks):
    """Structures hardly change inside a trajectory: a foundation cannot be so wrong of one half alone."""
    rng = np.random.default_rng(8)
    upper = np.arange(60) >= 30
    predicted = rng.normal(0, 0.1, 60)
    step = find_step(
        predicted, predicted + rng.normal(0, noise, 60) + size * upper, np.ones((60, 1)), upper * (trajectories - 1)
    )
    assert step is not None and step.torn == (trajectories == 1)
    assert (step.severity == "error") == blocks


def test_halves_of_unlike_energies_are_no_step():
    """A run that melts half way: the foundation may be wrong of one phase."""
    rng = np.random.default_rng(8)
    upper = np.arange(60) >= 30
    predicted = rng.normal(0, 0.05, 60) + upper
    step = find_step(predicted, predicted + 1.5 * upper, np.ones((60, 1)), np.zeros(60, dtype=np.int64))
    assert step is None or step.severity == "warning"


def test_the_lines_may_touch_at_one_composition():
    """Of two elements the references differ; of a third, which has no frame on the other line, they do not."""
    rng = np.random.default_rng(8)
    kinds = np.where(np.arange(62) < 60, np.arange(62) % 2, 2)
    fractions = np.eye(3)[kinds]
    predicted = rng.normal(0, 0.1, 62)
    upper = (np.arange(62) % 4 > 1) & (kinds < 2)
    labels = predicted + upper * (fractions @ [1.0, 3.0, 0.0])
    step = find_step(predicted, labels, fractions, np.zeros(62, dtype=np.int64))
    assert step is not None and step.severity == "error"
    assert (step.inside == upper).all() or (step.inside == ~upper).all()


def test_an_untagged_trajectory_of_two_theories_blocks_with_the_half_to_drop():
    rng = np.random.default_rng(2)
    energies = 8 * (rng.normal(0, 0.05, 40) - 5.0)
    crystal = bulk("Si", cubic=True)
    samples, predictions = [], [{"energy": np.asarray(energy)} for energy in energies]
    for k, energy in enumerate(energies):
        crystal.rattle(0.05, seed=k)
        samples.append(Sample(crystal.copy(), {"energy": 1.1 * energy + rng.normal(0, 0.02) + 8 * (k >= 23)}))
    (found,) = [one for one in run_looks(Dataset(tuple(samples)), predictions) if one.code == "theory-labels"]
    assert found.blocks and "one trajectory is on both" in found.evidence
    assert found.frames == tuple(range(23, 40)) == found.actions[0].drop


@settings(max_examples=40)
@given(st.sampled_from(["normal", "standard_t", "uniform", "exponential"]), st.integers(12, 80), st.integers(0, 10**6))
def test_one_cloud_of_points_is_not_two_lines(kind, n, seed):
    rng = np.random.default_rng(seed)
    noise = rng.standard_t(2, n) if kind == "standard_t" else getattr(rng, kind)(size=n)
    part = rng.integers(0, 2, n) / 2
    predicted = rng.normal(0, 0.1, n)
    fractions = np.column_stack([1 - part, part])
    found = find_step(predicted, 1.3 * predicted + fractions @ [-5, -7] + 2 * noise, fractions, np.arange(n))
    assert found is None or found.severity == "warning"


def test_a_format_that_fixes_the_unit_blames_the_foundation():
    rng = np.random.default_rng(0)
    drawn = rules.plant(rng, rules.draw(rng, 20, 10, rules.FOUNDATIONS["good"]), rules.FAULTS["forces in -eV/Å"], 1.0)
    for fixed, severity in (((), "error"), (("forces",), "warning")):
        origin = SourceFile(name="", sha256="", n_samples=20, units={"forces": "eV/Å"}, fixed=fixed)
        frames = replace(drawn.frames, provenance=Provenance(files=(origin,)))
        (found,) = [one for one in rules.judged(rules.Draw(frames, drawn.predictions)) if one.code == "force-unit"]
        assert (found.outcome, found.severity) == ("failed", severity)
        assert bool(found.actions) == (not fixed)
        assert ("it is the foundation that disagrees" in found.evidence) == bool(fixed)


def test_every_unit_of_energy_is_tried():
    assert {f"energy in {unit}" for unit in ENERGY_UNITS if unit != "eV"} <= set(rules.FAULTS)
