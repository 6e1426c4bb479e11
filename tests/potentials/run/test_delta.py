"""A run that learns the difference to a cheap method: copper by EMT, beside Lennard-Jones."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matgraft.core.errors import DataError, OptionError
from matgraft.core.model import ModelCard
from matgraft.core.quantities import Array
from matgraft.core.report.markdown import to_markdown
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.cheap import cheap_label
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.delta import differences
from matgraft.potentials.data.pack import pack
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import export, targets
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.report.facts import read_facts
from matgraft.potentials.report.run import run_document
from matgraft.potentials.run import conduct, evaluate_run, evaluation, several, side_by_side, structures
from matgraft.potentials.run.correction import refuse_idle_delta
from matgraft.potentials.run_files import CHECKS, METRICS, MODEL, PROVENANCE, REFERENCES, SPLIT, VERDICT

CARD = ModelCard(name="toy", backbone="toy", vendor_version="1", licence="MIT")
HARTREE = 27.211386245988
CHEAP = ["delta.energy=lj_energy", "delta.forces=lj_forces", "delta.stress=lj_stress"]


def cheap_method() -> LennardJones:
    return LennardJones(epsilon=0.15, sigma=2.27, rc=6.0, smooth=True)


def copper(n: int, seed: int = 0) -> list[Atoms]:
    """Distorted cells of four atoms, two a trajectory, with both methods' labels."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.rattle(0.08, rng=rng)
        atoms.info["trajectory"] = f"{seed}-{i // 2}"
        cheap, dear = atoms.copy(), atoms.copy()
        cheap.calc, dear.calc = cheap_method(), EMT()
        atoms.info |= {"lj_energy": cheap.get_potential_energy(), "lj_stress": cheap.get_stress(voigt=False)}
        atoms.arrays["lj_forces"] = cheap.get_forces()
        own = {"energy": dear.get_potential_energy(), "forces": dear.get_forces(), "stress": dear.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **own)
        made.append(atoms)
    return made


def rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def learned(path: Path, *options: str) -> Dataset:
    recipe = make_recipe(None, [f"train={path}", *options], verb="tune")
    return differences(read(path, **recipe.reading), recipe.corrects)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("copper") / "frames.extxyz"
    write(path, copper(12))
    return path


@pytest.fixture(scope="module")
def run(file: Path, chgnet: Potential) -> Iterator[Path]:
    """A finished run; the foundation is loaded once for all tests."""
    options = [
        f"train={file}",
        *CHEAP,
        "strategy.name=feature",
        "fit.epochs=2",
        "split.validation=0.2",
        "split.test=0.3",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conduct, "load_potential", lambda name: chgnet)
        conduct.tune_frames(make_recipe(None, options, verb="tune").named()[0], file.parent / "run", quiet=True)
    yield file.parent / "run"


def test_the_cheap_method_alone_is_what_the_sum_is_held_against(run: Path) -> None:
    """By ASE's own labels: its errors are those of a correction of zero; the shift is the mean difference an atom."""
    frames, split, scores = copper(12), SPLIT.read(run), METRICS.read(run)
    tested = [frames[i] for i in split.test]
    apart = np.concatenate([atoms.get_forces() - atoms.arrays["lj_forces"] for atoms in tested])
    assert scores.untuned["forces_rmse_eV_per_A"] == pytest.approx(rms(apart), rel=1e-6)
    energy = [(atoms.get_potential_energy() - atoms.info["lj_energy"]) / 4 for atoms in frames]
    assert scores.untuned["energy_rmse_meV_per_atom"] == pytest.approx(
        1000 * rms(np.take(energy, split.test)), rel=1e-6
    )
    shift = REFERENCES.read(run).shift_eV  # type: ignore[union-attr]
    assert shift == {"Cu": pytest.approx(np.mean(np.take(energy, split.train)), rel=1e-6)}
    assert scores.corrects == {"energy": "lj_energy", "forces": "lj_forces", "stress": "lj_stress"}
    assert VERDICT.read(run).against == "the cheap method"
    said = to_markdown(run_document(read_facts(run)))
    assert "Cheap method alone" in said and "added to the cheap method (energy from lj_energy" in said
    (forgetting,) = CHECKS.read(run).findings
    assert forgetting.outcome == "not applicable" and "correction" in forgetting.evidence
    assert PROVENANCE.read(run).corrects == scores.corrects


def test_cheap_method_and_correction_are_the_sum_that_was_scored(run: Path, tmp_path: Path) -> None:
    """ASE's sum of Lennard-Jones and the exported calculator has the errors of metrics.json against EMT."""
    exported = export(run, "ase", tmp_path / "out")
    assert any("correction to lj_energy (energy)" in note for note in exported.notes)
    script = tmp_path / "out" / "calculator.py"
    assert "atoms.calc = SumCalculator([cheap, calculator()])" in script.read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correction = runpy.run_path(str(script))["calculator"]()
    frames, apart = copper(12), []
    for i in SPLIT.read(run).test:
        atoms = frames[i].copy()
        atoms.calc = SumCalculator([cheap_method(), correction])
        apart.append(atoms.get_forces() - frames[i].get_forces())
    found = METRICS.read(run).test["forces_rmse_eV_per_A"]
    assert rms(np.concatenate(apart)) == pytest.approx(found, rel=1e-4)


def test_what_a_correction_cannot_do_is_refused(
    run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "refuse_target", lambda backbone, to: None)  # CHGNet has no such target at all
    for target in ("lammps", "torch-sim"):
        with pytest.raises(OptionError, match="would run on the correction alone"):
            export(run, target, tmp_path / "out")
    with pytest.raises(OptionError, match=r"is a correction to lj_energy, lj_forces, lj_stress, and no foundation"):
        conduct.tune_frames(
            make_recipe(None, [f"train={file}", f"foundation={run}"], verb="tune"), tmp_path / "next", quiet=True
        )


def test_a_correction_is_told_where_it_predicts_and_refused_beside_whole_energies(
    run: Path, file: Path, chgnet: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(several, "load_potential", lambda name: chgnet if name == "chgnet" else load_potential(name))
    found = structures.predict_structures([str(run)], [file], quiet=True)
    assert any("the model is a correction: add what it predicts" in note for note in found.notes)
    with pytest.raises(OptionError, match="is a correction to lj_energy"):
        structures.predict_structures(["chgnet", str(run)], [file], quiet=True)
    with pytest.raises(OptionError, match="score its run alone"):
        side_by_side.evaluate_models(["chgnet", str(run)], [file], quiet=True)


def test_further_frames_are_judged_with_their_cheap_labels(
    run: Path, chgnet: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "load_potential", lambda name: chgnet if name == "chgnet" else load_potential(name))
    frames = copper(4, seed=7)
    write(tmp_path / "new.extxyz", frames)
    found = evaluate_run(run, tmp_path / "new.extxyz", quiet=True)
    apart = np.concatenate([atoms.get_forces() - atoms.arrays["lj_forces"] for atoms in frames])
    assert found.untuned["forces_rmse_eV_per_A"] == pytest.approx(rms(apart), rel=1e-6)
    assert found.corrects["forces"] == "lj_forces" and found.verdict.against == "the cheap method"
    for atoms in frames:
        atoms.info["other"] = atoms.info.pop("lj_energy")
    write(tmp_path / "new.extxyz", frames)
    with pytest.raises(OptionError, match=r"delta.energy=lj_energy matches no key of the data"):
        evaluate_run(run, tmp_path / "new.extxyz", quiet=True)
    assert evaluate_run(run, tmp_path / "new.extxyz", ["delta.energy=other"], quiet=True).n_groups_with["energy"]


def test_the_model_begins_with_the_features_of_its_foundation(run: Path, chgnet: Potential) -> None:
    tuned = load_potential(run)
    assert tuned.card.corrects and not chgnet.card.corrects
    before, after = chgnet.module.state_dict(), tuned.module.state_dict()
    body = [name for name in before if not name.startswith(("mlp.", "composition_model", "references"))]
    assert body and all(before[name].equal(after[name]) for name in body)
    assert (run / MODEL / "chgnet.pth.tar").is_file()


def test_labels_are_subtracted_in_their_units(tmp_path: Path) -> None:
    """The cheap energy in Hartree by its name or by an option, beside labels in eV; a cheap key of a usual name."""
    frames = copper(4)
    expected = [atoms.get_potential_energy() - atoms.info["lj_energy"] for atoms in frames]
    for atoms in frames:
        atoms.info |= {
            "lj_energy_hartree": atoms.info["lj_energy"] / HARTREE,
            "REF_energy": atoms.get_potential_energy(),
        }
        atoms.info["lj_x"] = atoms.info["lj_energy_hartree"]
        atoms.info["total_energy"] = atoms.info["lj_energy"]
        atoms.calc.results.pop("energy")
    write(tmp_path / "a.extxyz", frames)
    for options in (
        ["delta.energy=lj_energy_hartree"],
        ["delta.energy=lj_x", "delta.units.energy=Hartree"],
        ["delta.energy=total_energy"],
    ):
        keys = [] if options == ["delta.energy=total_energy"] else ["keys.energy=REF_energy"]
        found = learned(tmp_path / "a.extxyz", *options, *keys)
        assert [float(one.labels["energy"]) for one in found] == pytest.approx(expected, rel=1e-7)
        assert found.quantities() == ("energy",)
        assert "forces is not learned: no key of it by the cheap method is given" in found.provenance.notes


def test_a_label_without_its_like_is_none_of_the_difference(tmp_path: Path) -> None:
    frames = copper(4)
    del frames[1].info["lj_energy"]
    frames[2].arrays["lj_forces"][0, 0] = np.nan
    write(tmp_path / "a.extxyz", frames)
    found = learned(tmp_path / "a.extxyz", *CHEAP)
    assert [sorted(one.labels) for one in found] == [
        ["energy", "forces", "stress"], ["forces", "stress"], ["energy", "stress"], ["energy", "forces", "stress"]
    ]  # fmt: skip
    assert "1 of 4 frames lack 'lj_energy': their energy is not learned" in found.provenance.notes
    for atoms in frames:
        atoms.info["lj_energy"] = np.nan
    write(tmp_path / "a.extxyz", frames)
    with pytest.raises(DataError, match="no frame has energy both as a label and under 'lj_energy'"):
        learned(tmp_path / "a.extxyz", *CHEAP)


@pytest.mark.parametrize("normal", [np.nan, 0.0])
def test_a_component_that_the_cheap_method_lacks_is_none_of_the_difference(tmp_path: Path, normal: float) -> None:
    """Of a slab in a box with vacuum: the label has a whole stress, the cheap method one in the plane."""
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0, periodic=True)
    slab.info = {"energy": 1.0, "stress": np.diag([0.1, 0.2, 0.3]), "lj_energy": 0.5}
    slab.info["lj_stress"] = np.full((3, 3), normal)
    slab.info["lj_stress"][:2, :2] = np.diag([0.04, 0.05])
    write(tmp_path / "a.extxyz", slab)
    (found,) = learned(tmp_path / "a.extxyz", "want=[energy]", "delta.energy=lj_energy", "delta.stress=lj_stress")
    assert found.labels["stress"] == pytest.approx(np.diag([0.06, 0.15, 0.0]))
    assert (found.components["stress"] == np.logical_and.outer([1, 1, 0], [1, 1, 0])).all()


def test_energies_no_more_than_reference_energies_say_nothing_of_a_unit() -> None:
    """Three compositions of three elements: references fit the labels exactly, and rounding would decide."""
    frames = [
        Sample(Atoms(formula), {"energy": np.array(energy)}, cheap={"energy": np.array(30 * energy)})
        for formula, energy in (("SiOMg", -17.3), ("SiO2Mg", -21.9), ("Si2OMg", -25.1))
    ]
    assert [one.outcome for one in run_looks(Dataset(frames), None, looks=[cheap_label])] == ["not applicable"]


def test_what_cannot_be_meant(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="are one key, 'lj_energy'"):
        learned(file, "keys.energy=lj_energy", *CHEAP)
    with pytest.raises(OptionError, match=r"delta.energy is not read") as raised:
        make_recipe(None, ["train=x", *CHEAP, "references.mode=keep"], verb="tune")
    assert raised.value.options == ({"references.mode": "delta"},)
    pack(file, tmp_path / "a.h5")
    with pytest.raises(OptionError, match="a store holds no labels of a cheap method"):
        learned(tmp_path / "a.h5", *CHEAP)
    for options, said in (
        (["heads.by=kind", "strategy.name=full"], "has one head"),
        (["replay.size=9"], "replay is not read"),
    ):
        with pytest.raises(OptionError, match=said):
            refuse_idle_delta(make_recipe(None, ["train=x", *CHEAP, *options], verb="tune"), CARD, read(file))
    recipe, _ = make_recipe(None, ["train=x", *CHEAP], verb="tune").named()
    assert recipe.references.mode == "delta" and recipe.ladder.rungs == ("feature", "lora", "full")


@pytest.mark.parametrize(
    ("factor", "outcome", "said"),
    [
        (1.0, "passed", "; forces: the difference is"),
        (1 / HARTREE, "failed", "taken in Hartree"),
        (-3.0, "failed", "larger than the label"),
    ],
)
def test_the_cheap_label_is_looked_at(file: Path, factor: float, outcome: str, said: str) -> None:
    def scaled(sample: Sample) -> Sample:
        return replace(sample, cheap={**sample.cheap, "energy": factor * sample.cheap["energy"]})

    frames = read(file, delta={"energy": "lj_energy", "forces": "lj_forces"}).map(scaled)
    (found,) = [one for one in run_looks(frames, None, looks=[cheap_label]) if one.outcome == outcome]
    assert said in found.evidence
    if factor == 1 / HARTREE:
        assert found.blocks and found.actions[0].settings == {"delta.units.energy": "Hartree"}
    plain = run_looks(read(file), None, looks=[cheap_label])
    assert [one.outcome for one in plain] == ["not applicable"]
