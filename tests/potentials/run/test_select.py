"""Selection with a model: what a run brings along, what is left out and why, and the file of chosen frames."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read as read_file
from ase.io import write as write_file

from matgraft.core.errors import DataError, OptionError
from matgraft.core.findings import Action, Finding
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import BEGUN, Begun
from matgraft.core.verdict import Outcome, Verdict
from matgraft.potentials.active.selection.pool import candidates_of, plausible, read_pool
from matgraft.potentials.active.selection.selected import Left
from matgraft.potentials.active.selection.settings import SelectSettings
from matgraft.potentials.checks.checked import CHECKED, Checked
from matgraft.potentials.checks.runner import Result
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.seen import SeenFrames, fingerprints, repeats
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.run import select
from matgraft.potentials.run_files import SEEN
from matgraft.potentials.uncertainty.fit import fit_uncertainty

TRAINED = ("Si4Ge4 NVT 300 K", "Si NVT 300 K")
WIDE = SelectSettings(low=0, high=1e6, gap=0)


def of(sige: Dataset, *names: str) -> list[int]:
    return [i for i, name in enumerate(sige.tag("trajectory")) if name in names]


@pytest.fixture(scope="module")
def run(chgnet: Potential, sige: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as `tune` leaves it: model, uncertainty, and the frames that it has seen."""
    folder = tmp_path_factory.mktemp("runs") / "si"
    train, held = sige[of(sige, TRAINED[0])], sige[of(sige, TRAINED[1])]
    fitted, model = fit_uncertainty(chgnet, train, held), copy.deepcopy(chgnet)
    save_folder(model, folder / "model")
    card = fitted.card.model_copy(update={"weights_sha256": model.card.weights_sha256})
    Uncertainty(card, fitted.known, fitted.energy_centre, fitted.energy_factor).save(folder / "model")
    BEGUN.write(folder, Begun(kind="frames", decides={}))
    (folder / "recipe.yaml").write_text("train: frames.extxyz\n")
    SEEN.write(folder, SeenFrames(train=fingerprints(train), validation=fingerprints(held)))
    return folder


@pytest.fixture(scope="module")
def pool(sige: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two walkers that are new, two frames that were trained on, one twice, one squeezed and one that is foreign."""
    frames = []
    for name in ("Ge NVT 900 K", "Si2Ge6 rattle"):
        for step, i in enumerate(of(sige, name)):
            frames.append(sige[i].content.copy())
            frames[-1].info = {"origin": name.split()[1], "walker": name, "step": 80 * step}
    frames += [sige[i].content.copy() for i in of(sige, TRAINED[0])[:2]]
    frames.append(frames[0].copy())
    squeezed = frames[0].copy()
    squeezed.set_cell(0.3 * squeezed.cell[:], scale_atoms=True)
    foreign = frames[0].copy()
    foreign.symbols[0] = "Sn"  # CHGNet knows it, no training frame has it
    foreign.info = {}
    far = Atoms("Si2", positions=[[0, 0, 0], [60, 60, 60]], cell=[120, 120, 120], pbc=True)
    frames += [squeezed, foreign, far]
    path = tmp_path_factory.mktemp("pool") / "pool.extxyz"
    write_file(path, frames)
    return path


def test_a_run_leaves_out_what_it_has_seen_and_tells_the_rest(run: Path, pool: Path, tmp_path: Path) -> None:
    out = tmp_path / "chosen.extxyz"
    found = select(run, [pool], 6, WIDE, out=out, quiet=True)
    assert found.n_pool == 22 and found.asked == len(found.chosen) == 6
    assert {"labelled": 2, "repeated": 1, "collided": 1, "untakable": 1}.items() <= found.left_out.items()
    assert len(found.chosen) + sum(found.left_out.values()) == found.n_pool
    assert {one.index: one.why for one in found.chosen}[20] == "new element"
    assert found.outside is not None and 0 < found.outside < 1
    written = read_file(out, index=":")
    assert [atoms.info["pool"] for atoms in written] == [one.index for one in found.chosen]
    whole = read_file(pool, index=":")
    for atoms, one in zip(written, found.chosen, strict=True):
        assert np.abs(atoms.positions - whole[one.index].positions).max() < 1e-7
        assert atoms.info["why"] == one.why
        assert atoms.info.get("origin", "") == one.origin and atoms.info["walker"] == one.walker
        assert atoms.calc is None
    assert select(run, [pool], 6, WIDE, quiet=True).chosen == found.chosen


def test_the_window_is_in_units_of_the_gate(run: Path, pool: Path) -> None:
    wide = select(run, [pool], 20, WIDE.model_copy(update={"per_walker": 20, "audit": 0}), quiet=True)
    told = {one.index: one.extrapolation for one in wide.chosen}
    middle = float(np.median([value for value in told.values() if value is not None]))
    narrow = WIDE.model_copy(update={"per_walker": 20, "audit": 0, "low": middle})
    found = select(run, [pool], 20, narrow, quiet=True)
    expected = {i for i, value in told.items() if value is not None and value >= middle}
    assert {one.index for one in found.chosen} == expected
    assert found.left_out["certain"] == len(told) - len(expected)


def test_a_foundation_chooses_by_diversity_alone_and_says_so(chgnet: Potential, pool: Path, sige: Dataset) -> None:
    found = select(chgnet, [pool], 5, quiet=True)
    assert len(found.chosen) == 5 and "no uncertainty" in found.notes[0]
    assert {one.why for one in found.chosen} == {"diverse", "audit"}
    assert found.outside is None and all(one.extrapolation is None for one in found.chosen)
    beside = select(chgnet, [pool], 5, beside=sige[of(sige, "Ge NVT 900 K")], quiet=True)
    assert beside.left_out["labelled"] == 10 + 1  # and the copy of the first
    assert all(not one.walker.startswith("Ge") for one in beside.chosen)


def test_structures_as_they_are_make_a_pool(chgnet: Potential, pool: Path, tmp_path: Path) -> None:
    whole, file = read_file(pool, index=":16"), tmp_path / "some.extxyz"
    write_file(file, whole)
    found = select(chgnet, whole, 4, quiet=True)
    assert found.chosen == select(chgnet, [file], 4, quiet=True).chosen
    assert {one.walker for one in found.chosen} == {"Ge NVT 900 K", "Si2Ge6 rattle"}
    assert [atoms.calc for atoms in whole] == [None] * 16


def test_walkers_of_several_files_are_told_apart_and_what_was_made_alike_is_together(
    chgnet: Potential, sige: Dataset, tmp_path: Path
) -> None:
    files = [tmp_path / "hot.extxyz", tmp_path / "cold.extxyz"]
    for file, name in zip(files, ("Ge NVT 900 K", "Si NVT 300 K"), strict=True):
        frames = [sige[i].content.copy() for i in of(sige, name)[:3]]
        for atoms in frames:
            atoms.info = {"walker": 0, "origin": name}
        write_file(file, frames)
    made = [sige[i].content.copy() for i in of(sige, "Si2Ge6 rattle")]
    for atoms in made:
        atoms.info = {"origin": "rattle 0.1", "structure": "Si2Ge6"}
    write_file(tmp_path / "made.extxyz", made)
    found = select(chgnet, [*files, tmp_path / "made.extxyz"], 12, WIDE.model_copy(update={"audit": 0}), quiet=True)
    assert {one.walker for one in found.chosen} == {"hot 0", "cold 0", "rattle 0.1 of Si2Ge6"}


def test_failed_checks_hand_over_structures(run: Path, pool: Path, sige: Dataset, tmp_path: Path) -> None:
    physics = run / "physics"
    (physics / "to_label").mkdir(parents=True)
    strained = sige[of(sige, "Ge strain")[0]].content
    write_file(physics / "to_label" / "elastic-Ge8.extxyz", strained)
    finding = Finding(
        code="elastic",
        title="elastic constants",
        about="Ge8",
        outcome="failed",
        actions=(Action(structures="to_label/elastic-Ge8.extxyz"),),
    )
    checked = Checked(
        subject="si", foundation="", settings=CheckSettings(), structures=(), references={}, notes=(),
        results=(Result(finding=finding),), seconds=0.0, folder=str(physics),
        verdict=Verdict(outcome=Outcome.NOT_FIT, headline="not fit"),
    )  # fmt: skip
    CHECKED.write(physics, checked)
    out = tmp_path / "chosen.extxyz"
    found = select(run, [pool], 20, WIDE.model_copy(update={"per_walker": 20}), checks=True, out=out, quiet=True)
    handed = [one for one in found.chosen if one.why == "check"]
    assert [(one.index, one.origin, one.walker) for one in handed] == [(22, "check elastic", "check elastic of Ge8")]
    with pytest.raises(OptionError, match="--checks is not read with chgnet"):
        select("chgnet", [pool], 3, checks=True)


def test_a_frame_is_repeated_whatever_the_order_of_its_atoms(sige: Dataset) -> None:
    first = sige[0]
    turned = first.content[np.arange(len(first.content))[::-1]]
    moved = first.content.copy()
    moved.positions[0] += 0.01
    contents = [first.content, moved, turned, sige[1].content, first.content]
    frames = Dataset([type(first)(atoms, {}) for atoms in contents])
    assert repeats(frames).tolist() == [False, False, True, False, True]
    assert repeats(frames[:0]).tolist() == []


def test_hostile_pools_are_refused_or_left_out(chgnet: Potential, tmp_path: Path) -> None:
    bad = tmp_path / "bad.extxyz"
    bad.write_text('2\nProperties=species:S:1:pos:R:3 walker="a\\"b" step=nan\nSi 0 0 0\nSi 0 0 nan\n')
    with pytest.raises(DataError, match="frame 0: positions or cell are not finite"):
        select(chgnet, [bad], 2, quiet=True)
    with pytest.raises(DataError, match="the pool has no frame"):
        select(chgnet, [], 2)
    with pytest.raises(OptionError, match="nothing to choose"):
        select(chgnet, [bad], 0)
    with pytest.raises(DataError):
        select(chgnet, [tmp_path / "absent.extxyz"], 2)


def test_the_verb(run: Path, pool: Path, tmp_path: Path, matgraft: Callable[..., tuple[int, str, str]]) -> None:
    out = tmp_path / "chosen.extxyz"
    words = ("select", run, pool, "-n", 4, "-o", out, "low=0", "high=1e6", "gap=0")
    code, said, _ = matgraft(*words)
    assert code == 0 and "4 of 22 frames chosen" in said and "labelled already" in said
    code, said, _ = matgraft(*words, "--json", "seed=1")
    facts = json.loads(said)
    assert code == 0 and len(facts["chosen"]) == 4 and facts["settings"]["seed"] == 1
    for wrong, expected in (
        (("strata=kind",), "strata is not read"),
        (("diversity=stratified", "strata=kind"), "no frame of the pool has the tag 'kind'"),
        (("lou=1",), "unknown key 'lou'"),
        (("low=2", "high=1"), "the window is empty"),
    ):
        code, _, error = matgraft("select", run, pool, "-n", 4, "-o", out, *wrong)
        assert code == 2 and expected in error, error
    code, _, error = matgraft("select", run, pool, "-n", 4, "-o", tmp_path / "chosen.cif")
    assert code == 2 and "not written as .cif" in error
    code, _, error = matgraft("select", "chgnet", pool, "-n", 4, "-o", out, "low=0.5")
    assert code == 2 and "models with an uncertainty" in error
    code, _, error = matgraft("select", "chgnett", pool, "-n", 4, "-o", out)
    assert code == 2 and "did you mean 'chgnet'?" in error


def test_frames_in_memory_are_of_the_walkers_that_their_file_names(tmp_path: Path) -> None:
    frames = [
        Atoms("Si", info={"origin": "md nvt 600 K", "walker": k, "step": 50 * k, "structure": "si"}) for k in (0, 1)
    ]
    write_file(tmp_path / "pool.extxyz", frames)
    of_file = candidates_of(read_pool([tmp_path / "pool.extxyz"]), "origin")
    assert candidates_of(read_pool(read_file(tmp_path / "pool.extxyz", index=":")), "origin") == of_file
    assert [(one.walker, one.step) for one in of_file] == [("0", 0.0), ("1", 50.0)]


def test_a_frame_whose_cell_is_not_finite_is_left_out() -> None:
    sound, torn = bulk("Si", cubic=True), bulk("Si", cubic=True)
    torn.cell[0, 0] = np.nan
    left: Counter[Left] = Counter()
    assert plausible(read_pool([sound, torn]), [], 0, left) == [0] and +left == {"untakable": 1}
