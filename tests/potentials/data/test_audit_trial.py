"""No remedy is offered that moves labels away from the foundation's predictions."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.findings import Action, Finding
from matgraft.core.quantities import Array, parse_shear, parse_unit, reorder_shear
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.stress import stress_shear
from matgraft.potentials.audit.trial import nearer_after
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.repair import in_group, reorder_groups, shortest_patterns
from matgraft.potentials.data.sample import Sample

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

import audit_rules as rules


def reread(sample: Sample, settings_: dict[str, Any]) -> Sample:
    """Read labels that were taken for canonical ones as an option says."""
    ((key, value),) = settings_.items()
    if key == "shear":
        orders = value if isinstance(value, dict) else {"": value}
        order = next((own for group, own in orders.items() if not group or in_group(sample, group)), None)
        stress = sample.labels["stress"]
        return sample.with_labels(stress=reorder_shear(stress, parse_shear(order)) if order else stress)
    place = key.removeprefix("units.")
    unit = parse_unit(value, place)
    if place == "virial":
        return sample.with_labels(stress=-sample.labels["stress"] * unit.factor / sample.content.get_volume())
    return sample.with_labels(**{place: unit.to_canonical(sample.labels[place], sample.n_atoms)})


def apart(frames: Dataset, predictions: list[dict[str, Array]], quantity: str) -> float:
    """Size of the difference over both sizes; of energies per atom, with references fitted to each by least squares."""
    y, x = ([np.asarray(one[quantity]) for one in each] for each in ([s.labels for s in frames], predictions))
    if quantity != "energy":
        x, y = (np.concatenate([one.ravel() for one in each]) for each in (x, y))
    else:
        n = np.array([s.n_atoms for s in frames])
        kinds = np.array([[(s.content.numbers == Z).mean() for Z in (14, 42)] for s in frames])
        x, y = (v - kinds @ np.linalg.lstsq(kinds, v, rcond=None)[0] for v in (np.array(x) / n, np.array(y) / n))
    return float(np.abs(x - y).mean() / (np.abs(x).mean() + np.abs(y).mean()))


LABEL = {"e": "energy", "f": "forces", "s": "stress"}


@settings(max_examples=5, deadline=None)
@given(
    st.sampled_from([fault for fault in rules.FAULTS if "higher" not in fault and "atoms" not in fault]),
    st.sampled_from([1.0, 0.5, 0.1, 0.0]),
    st.integers(5, 14),
    st.integers(1, 3),
    st.floats(0.4, 3.0),
    st.floats(0.05, 0.7),
    st.integers(0, 10**6),
)
def test_what_is_offered_brings_labels_nearer_and_leaves_nothing_worse(
    fault: str, share: float, n_blocks: int, length: int, slope: float, noise: float, seed: int
) -> None:
    """Random slopes, noise, numbers of trajectories and lengths of them; the fault in all frames, some, or none."""
    rng = np.random.default_rng(seed)
    foundation = replace(rules.FOUNDATIONS["good"], slopes=(slope, slope), forces=noise, stress=noise)
    drawn = rules.draw(rng, n_blocks * length, n_blocks, foundation)
    if share:
        drawn = rules.plant(rng, drawn, rules.FAULTS[fault], share)
    looks, quantity = rules.looks(rules.ABOUT[fault[0]]), LABEL[fault[0]]
    before = run_looks(drawn.frames, drawn.predictions, looks=looks)
    for action in (action for one in before for action in one.actions if not action.drop):
        frames = drawn.frames.map(lambda sample, action=action: reread(sample, action.settings))
        assert apart(frames, drawn.predictions, quantity) < apart(drawn.frames, drawn.predictions, quantity)
        after = run_looks(frames, drawn.predictions, looks=looks)
        assert sum(one.blocks for one in after) < sum(one.blocks for one in before)


@pytest.mark.parametrize(
    ("fault", "wrong", "right"),
    [
        ("forces in -eV/Å", {"units.forces": "meV/Å"}, {"units.forces": "-eV/Å"}),
        ("energy in kcal/mol", {"units.energy": "Hartree"}, {"units.energy": "kcal/mol"}),
        ("energy in eV/atom", {"units.energy": "-eV"}, {"units.energy": "eV/atom"}),
        ("stress in kBar", {"units.stress": "-kBar"}, {"units.stress": "kBar"}),
        ("stress with shears in another order", {"shear": "xz,xy,yz"}, {"shear": "xy,yz,xz"}),
    ],
)
def test_each_remedy_is_tried(fault: str, wrong: dict[str, Any], right: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    drawn = rules.plant(rng, rules.draw(rng, 20, 10, rules.FOUNDATIONS["good"]), rules.FAULTS[fault], 1.0)
    found = Finding(
        code="x",
        title="",
        outcome="failed",
        severity="error",
        frames=tuple(range(20)),
        actions=(Action(settings=wrong), Action(settings=right), Action(drop=(1,))),
    )
    evidence = Evidence(drawn.frames, drawn.predictions)
    kept = nearer_after(evidence, found)
    assert [action.settings for action in kept.actions] == [right, {}] and kept.blocks
    alone = nearer_after(evidence, found.model_copy(update={"actions": (Action(settings=wrong),)}))
    assert not alone.blocks and not alone.actions and "not offered" in alone.remedy


# --- groups by pattern -----------------------------------------------------------------------------------------------

TEXT = st.text("ab =*/", min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.sets(TEXT.filter(lambda text: "*" not in text), min_size=1, max_size=12), st.sets(TEXT, max_size=12))
def test_patterns_hold_for_their_values_and_for_no_others(values: set[str], others: set[str]) -> None:
    others = others - values
    patterns = shortest_patterns(values, others)
    assert len(patterns) <= len(values)

    def held(value: str) -> bool:
        sample = Sample(rules.Atoms("H"), {}, {"tag": value})
        return any(in_group(sample, f"tag={pattern}") for pattern in patterns)

    assert all(map(held, values)) and not any(map(held, others))


def test_many_trajectories_are_named_by_how_they_begin() -> None:
    """An option of 22 trajectories could hardly be typed, and did not hold for a test file that lacks one."""
    rng = np.random.default_rng(2)
    drawn = rules.draw(rng, 90, 30, rules.FOUNDATIONS["good"])

    def renamed(sample: Sample) -> Sample:
        k = int(sample.tags["trajectory"].split()[1])
        sample = replace(sample, tags={"trajectory": f"AIMD {k}" if k < 22 else f"slab {k}"})
        return sample.with_labels(**rules.another_order(sample)) if k < 22 else sample

    wrong = rules.Draw(drawn.frames.map(renamed), drawn.predictions)
    (found,) = stress_shear(Evidence(wrong.frames, wrong.predictions))
    assert found.blocks
    (action,) = found.actions
    assert action.settings == {"shear": {"trajectory=AIMD *": "xy,yz,xz"}}
    put_right = reorder_groups(wrong.frames, {"trajectory=AIMD *": "xy,yz,xz"})
    for sample, right in zip(put_right, drawn.frames, strict=True):
        np.testing.assert_allclose(sample.labels["stress"], right.labels["stress"])
