"""The rule by which units, signs and orders are found wrong: its level on right labels, and what it must not miss."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from matgraft.data.looks.robust import slope_error, through_origin
from matgraft.data.looks.scale import Candidate, Support, choose_scale
from matgraft.data.provenance import Provenance, SourceFile
from matgraft.quantities import ENERGY_UNITS, FORCE_UNITS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import audit_rules as rules

LEVEL = 0.01
"""Part of sets with right labels that may be blocked."""


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


@pytest.mark.parametrize("foundation", rules.FOUNDATIONS)
@pytest.mark.parametrize("trajectories", rules.TRAJECTORIES)
@pytest.mark.parametrize(("frames", "draws"), [(3, 12), (10, 12), (50, 3), (200, 1)])
def test_right_labels_are_not_blocked(frames, draws, trajectories, foundation):
    found = rules.rate(1, draws, frames, rules.TRAJECTORIES[trajectories], foundation)
    assert found["block"] <= binom.ppf(0.975, draws, LEVEL)
    assert found["warn"] <= binom.ppf(0.999, draws, 0.05)


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
    found = rules.judged(rules.Draw(drawn.frames.map(resized), predictions))
    assert rules.outcome(found, "energy") == "pass"


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", rules.FAULTS)
def test_a_fault_in_all_frames_is_told(fault):
    found = rules.rate(2, 3, 24, 12, "good", fault)
    assert found["block"] + found["warn"] == 3
    assert found["block"] >= 2


@pytest.mark.parametrize("fault", [fault for fault in rules.FAULTS if fault != "shear order"])
def test_a_fault_in_a_tenth_of_the_frames_is_told(fault):
    found = rules.rate(3, 3, 60, 1000, "good", fault, share=0.1)
    assert found["block"] + found["warn"] >= 2


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
