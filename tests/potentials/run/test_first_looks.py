"""What needs no network is looked at first, told first, and stops before a model is loaded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matgraft.core.errors import AuditError, DataError, OptionError
from matgraft.core.findings import Finding
from matgraft.core.machine import Memory
from matgraft.potentials.audit import structures
from matgraft.potentials.audit.audit import FIRST, run_looks
from matgraft.potentials.data.crowds import StructureBytes, WrappedAtoms
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.run import conduct, evaluation, frames
from matgraft.potentials.run.conduct import audit_file, tune_frames
from matgraft.potentials.run.evaluation import evaluate_run
from matgraft.potentials.run.frames import refuse_too_large
from matgraft.potentials.run.remedies import unwanted_warns

Call = Callable[..., tuple[int, str, str]]


def never(*_: object, **__: object) -> None:
    raise AssertionError("a model was asked for")


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "load_potential", never)
    monkeypatch.setattr(evaluation, "load_potential", never)


def crystals(count: int = 12, scale: float = 1.0) -> list[Atoms]:
    """Rattled silicon with labels that are none of its own, lengths times `scale`."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        atoms = bulk("Si", cubic=True)
        atoms.positions += 0.05 * rng.standard_normal((8, 3))
        atoms.set_cell(scale * atoms.cell[:], scale_atoms=True)
        forces = rng.standard_normal((8, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-40 + rng.random(), forces=forces - forces.mean(axis=0))
        made.append(atoms)
    return made


def spoilt(count: int = 12) -> list[Atoms]:
    made = crystals(count)
    made[3].calc.results["forces"][0, 0] = np.nan
    return made


def test_what_blocks_without_a_network_loads_none(tmp_path: Path, matgraft: Call) -> None:
    file = tmp_path / "a.extxyz"
    write(file, spoilt())
    told: list[Finding] = []
    _, found = audit_file(Recipe(train=str(file)), tell=told.extend)
    assert told == []  # nobody waits for a foundation: once is enough
    by_code = {one.code: one for one in found}
    assert by_code["duplicates"].outcome == "passed"
    assert by_code["force-unit"].evidence == "the foundation is not used before this is corrected: non-finite"
    with pytest.raises(AuditError, match=r"(?s)non-finite.*option: 'audit.drop=\[3\]'"):
        tune_frames(Recipe(train=str(file)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    code, out, err = matgraft("audit", file)
    assert code == 1 and out.count("NaN or infinity") == 1
    assert "Before the foundation is asked" not in err and "NaN or infinity" not in err


def test_frames_to_judge_on_are_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = tmp_path / "train.extxyz", tmp_path / "test.extxyz"
    write(train, crystals())
    write(test, spoilt(5))
    recipe = Recipe(train=str(train), test=str(test))
    _, found = audit_file(recipe)
    (blocks,) = [one for one in found if one.blocks]
    assert (blocks.code, blocks.part, blocks.option) == ("non-finite", "test", "'audit.drop_test=[3]'")
    with pytest.raises(AuditError, match="of the test frames"):
        tune_frames(recipe, tmp_path / "run")
    monkeypatch.setattr(evaluation, "refuse_unknown", lambda name: None)
    (tmp_path / "recipe.yaml").write_text(f"train: {train}\n")
    with pytest.raises(DataError, match=r"(?s)non-finite.*audit.drop_test=\[3\]"):
        evaluate_run(tmp_path, test)


@pytest.mark.parametrize(("scale", "taken", "right"), [(0.1, "Å", "nm"), (0.529177, "Bohr", "Å")])
def test_lengths_in_another_unit_block_within_a_second(
    scale: float, taken: str, right: str, tmp_path: Path, matgraft: Call
) -> None:
    """Cells a thousand times too dense took minutes in the foundation's graphs, and were killed."""
    made = [one.repeat(2) for one in crystals(20, scale if taken == "Å" else 1.0)]
    for one in made:
        one.calc = SinglePointCalculator(one, energy=-320.0, forces=np.zeros((64, 3)) + 0.01 * np.eye(64, 3))
    write(tmp_path / "a.extxyz", made)
    words = [] if taken == "Å" else [f"units.length={taken}"]
    begun = time.process_time()
    code, out, _ = matgraft("audit", tmp_path / "a.extxyz", *words, "--quiet")
    assert time.process_time() - begun < 5
    assert code == 1 and "outlier-distance" in out
    options = [shlex.split(line.split("option: ")[1]) for line in out.splitlines() if "option: " in line]
    assert options == [[f"units.length={right}"]], "most frames are not left out"
    dataset = read(tmp_path / "a.extxyz", units={"length": right})
    found = {one.code: one for one in run_looks(dataset, None, looks=FIRST)}
    assert found["outlier-distance"].outcome == "passed"


def test_a_name_that_nothing_stands_behind_is_refused_before_frames_are_read() -> None:
    with pytest.raises(OptionError, match=r"(?s)'chgnt' is unknown.*chgnet"):
        audit_file(Recipe(train="/no/such/file", foundation="chgnt"))


def test_comparing_frames_says_what_memory_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structures, "available_memory", lambda: Memory(10_000, "the job"))
    dataset = Dataset(tuple(Sample(one, {"energy": np.array(-40.0)}) for one in crystals()))
    (found,) = run_looks(dataset, None, looks=(structures.duplicates,))
    assert found.outcome == "not applicable" and "that the job leaves: give the job more memory" in found.evidence


def test_graphs_and_predictions_that_exceed_memory_are_refused_before_they_are_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cost = StructureBytes(6.0, 16_000)
    dataset = Dataset(tuple(Sample(one, {}, file="a.extxyz", index=k) for k, one in enumerate(crystals(4))))
    refuse_too_large(cost, dataset, "train")
    pairs = 4 * 8 * 8 / 5.43**3 * 4 / 3 * np.pi * 6**3
    assert sum(WrappedAtoms.of(sample.content).counts(6.0).sum() for sample in dataset) == pytest.approx(
        pairs, rel=0.05
    )
    monkeypatch.setattr(frames, "available_memory", lambda: Memory(50_000, "the job"))
    with pytest.raises(DataError, match=r"(?s)graphs of 4 frames.*that the job leaves.*matgraft pack"):
        refuse_too_large(cost, dataset, "train")
    monkeypatch.setattr(frames, "available_memory", lambda: Memory(2**40, "the machine"))
    monkeypatch.setattr(frames, "free_memory", lambda: Memory(2**28, "the job"))
    dense = Sample(bulk("Si", "diamond", a=1.2, cubic=True), {}, file="a.extxyz", index=4)
    with pytest.raises(DataError, match=r"(?s)frame 4: a prediction.*GiB.*option: 'audit.drop_test=\[4\]'"):
        refuse_too_large(cost, Dataset((*dataset, dense)), "test")


# --- labels that a recipe does not want ------------------------------------------------------------------------------


def shear(**more: object) -> Finding:
    return Finding(code="stress-shear", title="", outcome="failed", severity="error", remedy="see", **more)


def test_a_label_that_is_not_wanted_does_not_block() -> None:
    wanted = make_recipe(None, ["want=[energy,forces,stress]"], train="a.xyz")
    energies = make_recipe(None, ["want=[energy,forces]"], train="a.xyz")
    weightless = make_recipe(None, ["loss.stress=0"], verb="audit", train="a.xyz")
    assert unwanted_warns(shear(), Recipe(train="a.xyz")).blocks, "what is trained on without a word said"
    assert unwanted_warns(shear(), wanted).blocks
    assert not unwanted_warns(shear(), energies).blocks
    assert unwanted_warns(shear(), energies).option == "loss.stress=0"
    assert not unwanted_warns(shear(), weightless).blocks
    unit = shear().model_copy(update={"code": "stress-unit"})
    assert unwanted_warns(unit, energies).blocks and not unwanted_warns(unit, weightless).blocks
    assert unwanted_warns(unit.model_copy(update={"code": "force-unit"}), weightless).blocks


def test_a_structure_that_is_far_too_large_is_refused_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at a million atoms takes ten seconds; their number and the volume tell what they need."""
    cost, atoms = StructureBytes(6.0, 16_000), bulk("Cu", cubic=True) * (24, 24, 24)
    dataset = Dataset((Sample(atoms, {}, file="a.extxyz", index=0),))
    needed = 86.0 * 16_000 * len(atoms)  # neighbours of an atom of copper within 6 Å
    monkeypatch.setattr(frames, "examine", lambda atoms: pytest.fail("it was looked at"))
    monkeypatch.setattr(frames, "free_memory", lambda: Memory(int(needed / 3), "the job"))
    with pytest.raises(DataError, match=r"frame 0: a prediction of this frame \(55296 atoms\) takes some .* GiB"):
        refuse_too_large(cost, dataset, "test")
    for flat in (0.0, np.nan):
        strange = atoms.copy()
        strange.cell[2] = flat
        frames.refuse_far_too_large(cost, Dataset((Sample(strange, {}),)), "test")  # who looks at it says why
