"""Heads of frames: told apart as the audit tells levels of theory, named for people and file systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError, OptionError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.audit.audit import audit_heads, run_looks
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import assign_heads, frames_by_head, head_names, require_heads
from matgraft.potentials.data.lazy import LazySamples
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.store import open_store
from matgraft.potentials.data.store_writing import write_store

PBE = LevelOfTheory(code="VASP", functional="PBE")
SCAN = LevelOfTheory(code="VASP", metagga="R2SCAN")


def frame(theory: LevelOfTheory | None = None, symbols: str = "Si2", index: int = 0, **tags: str) -> Sample:
    atoms = Atoms(symbols, cell=[9, 9, 9], pbc=True)
    atoms.positions[:, 0] = 2.3 * np.arange(len(atoms)) + 0.01 * index
    return Sample(atoms, {"energy": -1.0}, tags, file="all.xyz", index=index, theory=theory)


def of(*theories: LevelOfTheory | None) -> Dataset:
    return Dataset(tuple(frame(theory, index=i) for i, theory in enumerate(theories)))


def names(dataset: Dataset, by: str = "theory") -> list[str]:
    return assign_heads([dataset], by)[0].tag("head")


# ------------------------------------------------------------------ by theory


def test_heads_are_named_by_the_functional() -> None:
    u = LevelOfTheory(code="VASP", functional="PBE", hubbard_u={"Si": 2.0})
    hybrid = LevelOfTheory(code="VASP", functional="PBE", hybrid="HSE06", dispersion="D3(BJ)")
    only_code = LevelOfTheory(code="Quantum ESPRESSO")
    assert names(of(PBE, SCAN, u, hybrid, only_code, PBE)) == [
        "PBE", "r2SCAN", "PBE+U", "HSE06-D3-BJ", "Quantum-ESPRESSO", "PBE",
    ]  # fmt: skip


def test_equal_names_are_numbered_in_the_order_of_the_frames() -> None:
    coarse, fine = PBE.model_copy(update={"cutoff_eV": 300.0}), PBE.model_copy(update={"cutoff_eV": 600.0})
    finest = PBE.model_copy(update={"cutoff_eV": 800.0})
    assert names(of(coarse, fine, coarse, finest)) == ["PBE", "PBE-2", "PBE", "PBE-3"]


def test_frames_that_fit_two_heads_are_refused() -> None:
    coarse, fine = PBE.model_copy(update={"cutoff_eV": 300.0}), PBE.model_copy(update={"cutoff_eV": 600.0})
    with pytest.raises(DataError, match=r"all.xyz frame 2: 1 of 3 frames fit several levels.*cutoff"):
        assign_heads([of(coarse, fine, PBE)])


def test_what_the_audit_takes_for_one_level_is_one_head() -> None:
    """U and potentials of elements that a frame does not have contradict nothing."""
    oxide = PBE.model_copy(update={"hubbard_u": {"Fe": 5.3}})
    frames = Dataset((frame(oxide, "FeO"), frame(PBE, "O2"), frame(PBE, "FeO")))
    assert names(frames) == ["PBE+U", "PBE+U", "PBE"]
    (finding,) = [one for one in run_looks(frames, None) if one.code == "theory-stated"]
    assert finding.frames == (2,)


def test_parts_are_told_apart_together_and_keep_their_own_provenance() -> None:
    train, test = assign_heads([of(PBE, SCAN), of(SCAN, PBE)])
    assert (train.tag("head"), test.tag("head")) == (["PBE", "r2SCAN"], ["r2SCAN", "PBE"])
    assert train.provenance.notes == ("heads by theory: PBE (1 frame; PBE, VASP); r2SCAN (1 frame; R2SCAN, VASP)",)
    assert test.provenance.notes == ()
    assert frames_by_head(test) == {"r2SCAN": [0], "PBE": [1]}


@pytest.mark.parametrize("by", ["theory", "project"])
def test_frames_of_a_store_stay_on_disk(by: str, tmp_path: Path) -> None:
    frames = Dataset(tuple(frame(theory, index=i, project="ab"[i % 2]) for i, theory in enumerate([PBE, SCAN] * 3)))
    write_store(iter(frames), tmp_path / "frames.h5", lambda: frames.provenance)
    stored = open_store(tmp_path / "frames.h5")
    expected = assign_heads([frames[:4], frames[4:]], by)
    for part, same in zip(assign_heads([stored[:4], stored[4:]], by), expected, strict=True):
        assert isinstance(part.samples, LazySamples)
        assert part.tag("head") == same.tag("head")
        assert frames_by_head(part) == frames_by_head(same)
        assert part.provenance == same.provenance


def test_a_silent_frame_belongs_to_no_head() -> None:
    with pytest.raises(DataError, match=r"all.xyz frame 1: 1 of 3 frames state no level of theory") as error:
        assign_heads([of(PBE, None, SCAN)])
    assert error.value.options == (), "no tag parts these frames"
    parted = Dataset(
        tuple(frame(theory, kind=kind) for theory, kind in zip((PBE, None, SCAN, None), "aabb", strict=True))
    )
    with pytest.raises(DataError, match="2 of 4 frames state no level of theory") as error:
        assign_heads([parted])
    assert error.value.options == ({"heads.by": "kind"},)


def test_a_head_to_score_on_needs_training_frames() -> None:
    with pytest.raises(DataError, match=r"all.xyz frame 1: 1 frames to score on(.|\n)*allowed: PBE, r2SCAN"):
        assign_heads([of(PBE, SCAN), of(PBE, PBE.model_copy(update={"hybrid": "HSE06"}))])


# --------------------------------------------------------------------- by tag


def tagged(*values: str, **others: str) -> Dataset:
    return Dataset(tuple(frame(index=i, kind=value, **others) for i, value in enumerate(values)))


def test_heads_by_a_tag() -> None:
    assert names(tagged("bulk", "a/b c", "bulk", "../x"), "kind") == ["bulk", "a-b-c", "bulk", "x"]
    assert names(tagged("PBE", "pbe", "p.b.e"), "kind") == ["PBE", "pbe-2", "p-b-e"]


@settings(max_examples=30)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=6, unique_by=str.strip))
def test_any_values_become_different_names_of_folders(values: list[str]) -> None:
    found = names(tagged(*values), "kind")
    assert len({name.lower() for name in found}) == len(values)
    for name in found:
        assert PurePath(name).name == name and name.isascii() and name not in (".", "..", "heads.json")
        assert "#" not in name and not name.startswith("-")


def test_a_tag_that_is_none_or_is_missing() -> None:
    with pytest.raises(OptionError, match=r"allowed: theory, kind(.|\n)*did you mean 'kind'"):
        assign_heads([tagged("a", "b")], "knd")
    with pytest.raises(DataError, match=r"all.xyz frame 1: 1 of 3 frames have no value for 'kind'"):
        assign_heads([tagged("a", " ", "b")], "kind")


def test_one_head_is_an_error_that_names_what_parts_the_frames() -> None:
    frames = tagged("a", "a", "b", "b", same="x")
    with pytest.raises(OptionError, match="all 4 training frames belong to one head by same") as error:
        assign_heads([frames], "same")
    whole, own = {"strategy.name": "full", "heads.by": None}, {"heads.foundation": True}
    assert error.value.options == (whole, {"heads.by": "kind"}, own)
    mixed = Dataset(tuple(frame(theory, same="x") for theory in (PBE, PBE, SCAN, SCAN)))
    with pytest.raises(OptionError) as error:
        assign_heads([mixed], "same")
    assert error.value.options == (whole, {"heads.by": "theory"}, own)


# ------------------------------------------------------- the foundation's own head


@pytest.mark.parametrize(
    ("theories", "foundation", "expected"),
    [
        ((PBE, PBE), None, ["PBE", "foundation"]),
        ((None, None), None, ["target", "foundation"]),
        ((PBE, SCAN), None, ["PBE", "r2SCAN"]),
        ((PBE, SCAN), True, ["PBE", "r2SCAN", "foundation"]),
        ((PBE, SCAN), False, ["PBE", "r2SCAN"]),
    ],
)
def test_the_foundation_has_its_own_head_beside_one_or_where_it_is_asked_for(
    theories: tuple[LevelOfTheory | None, ...], foundation: bool | None, expected: list[str]
) -> None:
    (train,) = assign_heads([of(*theories)], foundation=foundation)
    assert head_names(train, foundation) == expected
    (note,) = train.provenance.notes
    assert note.endswith("; foundation (kept by replay frames)") == ("foundation" in expected)


def test_one_head_without_the_foundations_own_is_an_error() -> None:
    with pytest.raises(OptionError, match="one head by theory") as error:
        assign_heads([of(PBE, PBE)], foundation=False)
    assert error.value.options == (
        {"strategy.name": "full", "heads.by": None, "heads.foundation": None},
        {"heads.foundation": True},
    )


def test_frames_of_several_files_that_state_nothing_are_one_level_where_it_is_said() -> None:
    frames = Dataset(tuple(replace(frame(index=i), file=f"{i % 2}.xyz") for i in range(4)))
    with pytest.raises(DataError, match=r"4 of 4 frames state no level(.|\n)*treat all as one level") as error:
        assign_heads([frames])
    assert {"heads.foundation": True} in error.value.options
    (train,) = assign_heads([frames], foundation=True)
    assert head_names(train, True) == ["target", "foundation"]


@pytest.mark.parametrize("value", ["foundation", "Foundation"])
def test_frames_that_are_called_foundation_leave_the_name_to_its_own_head(value: str) -> None:
    (train,) = assign_heads([tagged("x", value)], "kind", foundation=True)
    assert head_names(train, True) == ["x", f"{value}-2", "foundation"]
    (plain,) = assign_heads([tagged("x", value)], "kind")
    assert head_names(plain) == ["x", value]
    with pytest.raises(OptionError, match="frames have a head named foundation"):
        head_names(tagged("a").map(lambda sample: sample.with_tags(head="foundation")), True)


def test_every_head_needs_both_parts() -> None:
    train, validation = tagged("a", "b", "c"), tagged("a", "b", "c")
    require_heads(train.map(_head), validation.map(_head))
    with pytest.raises(DataError, match=r"lack some: b \(1 training, 0 validation\), c \(0 training, 1 validation\)"):
        require_heads(train[:2].map(_head), validation[[0, 2]].map(_head))
    with pytest.raises(DataError, match="belongs to no head"):
        frames_by_head(train)


def _head(sample: Sample) -> Sample:
    return sample.with_tags(head=sample.tags["kind"])


# ------------------------------------------------------------------- the audit


def test_each_head_is_audited_apart_and_frames_are_counted_in_the_whole() -> None:
    """One structure under two levels is no contradiction; a broken label of one head is found in its place."""
    frames = of(PBE, SCAN, PBE, SCAN, PBE, SCAN)
    frames = Dataset(tuple(s.with_labels(energy=np.nan) if i == 3 else s for i, s in enumerate(frames)))
    assert {one.code for one in run_looks(frames, None) if one.blocks} == {"theory-stated", "non-finite"}
    (marked,) = assign_heads([frames])
    found = audit_heads(marked, None)
    (broken,) = [one for one in found if one.blocks]
    assert (broken.code, broken.frames, broken.option) == ("non-finite", (3,), "'audit.drop=[3]'")
    assert broken.evidence.startswith("r2SCAN: ")
    assert len(found) == 2 * len(run_looks(frames, None))


def test_an_option_for_all_frames_stays_only_where_it_cures_all_heads() -> None:
    """Energies in Hartree: those of one head, then those of both."""
    rng = np.random.default_rng(0)
    energies = -10 + rng.standard_normal(12)
    predictions = [{"energy": np.asarray(energy)} for energy in energies]
    for wrong in ((SCAN,), (PBE, SCAN)):
        samples = [
            frame(theory, index=i).with_labels(energy=energies[i] / (27.2114 if theory in wrong else 1))
            for i, theory in enumerate([PBE, SCAN] * 6)
        ]
        found = audit_heads(assign_heads([Dataset(tuple(samples))])[0], predictions)
        fired = [one for one in found if one.code == "energy-unit" and one.outcome == "failed"]
        assert len(fired) == len(wrong)
        assert {one.option for one in fired} == {"units.energy=Hartree" if len(wrong) == 2 else ""}
        assert len(wrong) == 2 or "put these frames into a file of their own" in fired[0].remedy


def test_the_option_is_to_leave_out_where_some_frames_are_silent() -> None:
    (finding,) = [one for one in run_looks(of(PBE, PBE, SCAN, None), None) if one.code == "theory-stated"]
    assert [action.drop for action in finding.actions] == [(2,)]
    assert "state that of the other 1 frame" in finding.remedy and "give each level a head" in finding.remedy
