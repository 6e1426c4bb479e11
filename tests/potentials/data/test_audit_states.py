"""Frames of several charges and spins: named, refused where one composition has several, offered as heads."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from matgraft.core.findings import Finding
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.audit.states import mixed_states
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import assign_heads
from matgraft.potentials.data.sample import Sample


def frames(*states: tuple[str, dict[str, str]]) -> Dataset:
    made = []
    for k, (formula, tags) in enumerate(states):
        positions = [[2.0 * i, 0.1 * k, 0] for i in range(len(Atoms(formula)))]
        made.append(Sample(Atoms(formula, positions=positions), {"energy": np.array(-1.0 * k)}, tags, index=k))
    return Dataset(tuple(made))


def found(data: Dataset) -> Finding:
    (finding,) = mixed_states(Evidence(data, None))
    return finding


@pytest.mark.parametrize("tag", ["charge", "total_charge", "Total_Charge"])
def test_one_composition_of_several_charges_is_refused_and_offered_as_heads(tag: str) -> None:
    data = frames(("H2", {tag: "0"}), ("H2", {tag: "1.0"}), ("H2", {tag: "1"}), ("HO", {tag: "0"}))
    finding = found(data)
    assert finding.blocks and finding.frames in ((1, 2), (0, 3))
    assert f"{tag} is 0 in 2 frames, 1 in 2 frames" in finding.evidence and "such as H2" in finding.evidence
    assert finding.option == f"strategy.name=multihead heads.by={tag}"
    heads = assign_heads([data], tag)[0]
    assert {one.outcome for one in (found(heads[[0, 3]]), found(heads[[1, 2]]))} == {"passed"}


def test_a_charge_that_goes_with_the_composition_warns() -> None:
    data = frames(("H2", {"charge": "0"}), ("HO", {"charge": "-1"}), ("H2", {"charge": "0"}), ("HO", {"charge": "-1"}))
    assert found(data).outcome == "failed" and found(data).severity == "warning"


def test_spins_warn_and_charges_come_first() -> None:
    spins = frames(*(("O2", {"multiplicity": m}) for m in ("1", "3", "1", "3")))
    assert found(spins).severity == "warning" and "multiplicity is 1 in 2 frames" in found(spins).evidence
    both = frames(*(("O2", {"charge": q, "spin": s}) for q, s in (("0", "1"), ("1", "2"), ("0", "1"), ("1", "2"))))
    assert found(both).blocks and "and spin differs too" in found(both).evidence


def test_one_state_passes_and_none_is_not_applicable() -> None:
    assert found(frames(("H2", {"charge": "1"}), ("HO", {"charge": "1"}))).outcome == "passed"
    assert found(frames(("H2", {}), ("HO", {"temperature": "3"}))).outcome == "not applicable"
    some = found(frames(("H2", {"charge": "1"}), ("H2", {}), ("H2", {})))
    assert some.blocks and "not stated in 2 frames" in some.evidence and not some.actions


def test_frames_that_state_no_charge_are_neutral_and_two_names_are_one() -> None:
    assert found(frames(("H2", {"charge": "0"}), ("H2", {}), ("H2", {"charge": "None"}))).outcome == "passed"
    assert found(frames(("H2", {"charge": "1"}), ("H2", {"total_charge": "1.0"}))).outcome == "passed"
    assert found(frames(("H2", {"charge": "0"}), ("H2", {"Charge": "-1e-9"}))).outcome == "passed"
    two = found(frames(*(("H2", {name: q}) for name, q in [("charge", "0"), ("total_charge", "1")] * 2)))
    assert two.blocks and "is 0 in 2 frames, 1 in 2 frames" in two.evidence and not two.actions


def test_the_audit_asks() -> None:
    codes = {finding.code for finding in run_looks(frames(("H2", {"charge": "0"}), ("H2", {"charge": "1"})), None)}
    assert "mixed-states" in codes
