"""Models side by side on labelled frames, and structures that are predicted: with stand-ins for models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from pydantic_core import to_jsonable_python
from torch import nn

from matgraft.core.errors import DataError, OptionError
from matgraft.core.files import to_json
from matgraft.core.findings import Finding
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.seen import SeenFrames, fingerprints
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.evaluations import EvaluatedModels, show_side_by_side, side_by_side_document
from matgraft.potentials.report.predictions import prefixes_of, show_structures
from matgraft.potentials.run.side_by_side import evaluate_models
from matgraft.potentials.run.structures import predict_structures
from matgraft.potentials.run_files import REFERENCES, SEEN
from matgraft.potentials.tuning.references import ReferenceShift

Call = Callable[..., tuple[int, str, str]]
OFF = {"Si": 100.0, "Ge": 200.0}
"""eV an atom by which the labels are off all models."""


def labelled(n_groups: int = 6, each: int = 3) -> list[Atoms]:
    """Frames of six trajectories of two types; energies 1 eV times the sum of the displacements' squares."""
    made = []
    for i in range(n_groups * each):
        atoms = bulk("Si", "diamond", a=5.4, cubic=True)
        if (i // each) % 2:
            atoms.symbols[:4] = "Ge"
        atoms.rattle(0.1, seed=i)
        atoms.info |= {"trajectory": f"t{i // each}", "config_type": "alloy" if (i // each) % 2 else "bulk"}
        energy = sum(OFF[s] for s in atoms.symbols) + truth(atoms)
        atoms.calc = SinglePointCalculator(
            atoms, energy=energy, forces=pull(atoms), stress=np.array([0.01] * 3 + [0.0] * 3)
        )
        made.append(atoms)
    return made


def truth(atoms: Atoms) -> float:
    return float((atoms.positions**2).sum() / 100)


def pull(atoms: Atoms) -> np.ndarray:
    return np.sin(7 * atoms.positions)


def wrong(size: float, kind: str = "") -> Callable[[Atoms], dict[str, np.ndarray]]:
    """A model whose energies (eV an atom) and forces err by `size`, on frames with Ge ten times as much."""

    def predicted(atoms: Atoms) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(int(1e6 * atoms.positions[0, 0]) % 2**31)
        error = size * (10 if kind and kind in atoms.symbols else 1)
        return {
            "energy": np.array(truth(atoms) + len(atoms) * error * rng.choice([-1, 1])),
            "forces": pull(atoms) + error * rng.choice([-1, 1], (len(atoms), 3)),
            "stress": np.diag([0.01, 0.01, 0.01]),
        }

    return predicted


MODELS: dict[str, Any] = {"chgnet": wrong(0.02), "mace": wrong(0.01), "matgl": wrong(0.02, "Ge")}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Stand-ins for three foundations; `unable` names the elements that a model does not know."""
    made, unable = dict(MODELS), {"none": ""}

    def load(name: str) -> Any:
        theory = LevelOfTheory(functional="PBE")
        card = SimpleNamespace(elements=("Si", "Ge"), name=name, cutoff_A=None, theory=theory, corrects={})
        return SimpleNamespace(card=card, folder=None, module=nn.Module())

    def predictions(model: Any, frames: Dataset, *_: object) -> Any:
        name = model.card.name
        refused = [i for i, one in enumerate(frames) if unable.get(name) in set(one.content.symbols)]
        said = [{} if i in refused else made[name](one.content) for i, one in enumerate(frames)]
        outcome = "failed" if refused else "passed"
        evidence = f"{len(refused)} of {len(frames)} given frames"
        return said, Finding(code="x", title="x", outcome=outcome, frames=tuple(refused), evidence=evidence), None

    monkeypatch.setattr("matgraft.potentials.run.several.load_potential", load)
    monkeypatch.setattr("matgraft.potentials.run.side_by_side.refuse_unknown", lambda name: None)
    monkeypatch.setattr("matgraft.potentials.run.several.foundation_predictions", predictions)
    monkeypatch.chdir(tmp_path)
    return {"made": made, "unable": unable}


def written(frames: Sequence[Atoms], name: str = "frames.extxyz") -> Path:
    ase.io.write(name, frames)
    return Path(name)


def rmse(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_one_foundation_is_scored_before_and_after_the_shift_and_by_type(models: dict[str, Any]) -> None:
    frames = labelled()
    found = evaluate_models(["matgl"], [written(frames)])
    (model,) = found.models
    errors = [(models["made"]["matgl"](a)["energy"] - a.get_potential_energy()) / len(a) for a in frames]
    assert model.scores.test["energy_rmse_meV_per_atom"] == pytest.approx(1000 * rmse(errors))
    forces = [models["made"]["matgl"](a)["forces"] - a.get_forces() for a in frames]
    assert model.scores.test["forces_rmse_eV_per_A"] == pytest.approx(rmse(forces))
    types = model.scores.by_config_type["test"]
    assert types["alloy"]["forces_rmse_eV_per_A"] == pytest.approx(0.2) == 10 * types["bulk"]["forces_rmse_eV_per_A"]
    assert model.shifted is not None and model.held_out is not None and model.held_out.n_others == 18
    assert model.shifted.test["energy_rmse_meV_per_atom"] < 400 < 90_000 < model.scores.test["energy_rmse_meV_per_atom"]
    assert model.shift is not None and model.shift.shift_eV == pytest.approx(OFF, abs=0.5)
    assert (found.part, found.standings, found.elements) == ("given", (), ("Si", "Ge"))
    assert found.next_command == ("matgraft", "tune", "frames.extxyz", "--from", "matgl")
    assert model.scores.relative is not None and model.shifted.relative is None  # the shift cancels in differences
    assert set(model.shifted.test) == {"energy_rmse_meV_per_atom", "energy_mae_meV_per_atom", "n_frames", "n_atoms"}


def test_the_error_after_the_shift_is_that_of_trajectories_that_the_shift_does_not_know(models: dict[str, Any]) -> None:
    """Each trajectory has an offset of its own, 1 to 6 eV an atom: the mean of the others is what a new one meets."""
    frames = [a for a in labelled() if a.info["config_type"] == "bulk"]
    offsets = {"t0": 1.0, "t2": 2.0, "t4": 6.0}
    for a in frames:
        own = truth(a) + len(a) * offsets[a.info["trajectory"]]
        a.calc = SinglePointCalculator(a, energy=own, forces=pull(a))
    models["made"]["chgnet"] = lambda a: {"energy": np.array(truth(a)), "forces": pull(a)}
    (model,) = evaluate_models(["chgnet"], [written(frames)]).models
    left = [1.0 - 4.0, 2.0 - 3.5, 6.0 - 1.5]
    assert model.shifted is not None
    assert model.shifted.test["energy_rmse_meV_per_atom"] == pytest.approx(1000 * rmse(left))


def test_the_best_of_several_is_named_and_tuned_next(models: dict[str, Any]) -> None:
    found = evaluate_models(["chgnet", "mace", "matgl"], [written(labelled())])
    by_quantity = {one.quantity: one for one in found.standings}
    assert by_quantity["forces"].best == "mace" and by_quantity["energy"].shifted
    assert [one.model for one in by_quantity["forces"].rivals] == ["chgnet", "matgl"]
    assert by_quantity["forces"].rivals[0].ratio == pytest.approx(0.5) and by_quantity["forces"].rivals[0].beyond_chance
    assert "no difference" in by_quantity["stress"].sentence
    assert found.next_command[-1] == "mace"


def test_frames_with_an_element_that_one_model_does_not_know_are_named_and_in_no_figure(models: dict[str, Any]) -> None:
    models["unable"]["mace"] = "Ge"
    found = evaluate_models(["chgnet", "mace"], [written(labelled())])
    assert {one.scores.test["n_frames"] for one in found.models} == {9} and found.elements == ("Si",)
    (left,) = found.left_out
    assert left.frames == (3, 4, 5, 9, 10, 11, 15, 16, 17) and left.title == "frames that mace cannot take"
    only = [a for a in labelled() if a.info["config_type"] == "alloy"]
    rest = evaluate_models(["chgnet", "mace"], [written(only, "alloy.extxyz")])
    assert [one.name for one in rest.models] == ["chgnet"] and rest.models[0].scores.test["n_frames"] == 9
    with pytest.raises(DataError, match=r"no frame that these models can take\n.*mace: 9 of 9"):
        evaluate_models(["mace"], [Path("alloy.extxyz")])


def run_on(frames: Sequence[Atoms], name: str = "runs/x") -> str:
    """A run that has seen some frames."""
    folder = Path(name)
    folder.mkdir(parents=True)
    file = written(frames, f"{folder.name}.extxyz")
    (folder / "recipe.yaml").write_text(Recipe(train=str(file)).to_yaml())
    SEEN.write(folder, SeenFrames(train=fingerprints(read(file, want=())), validation={}))
    return name


def test_frames_that_a_run_was_fitted_on_are_counted_and_left_out_for_all(models: dict[str, Any]) -> None:
    frames = labelled()
    run = run_on(frames[:6])
    models["made"][run] = wrong(0.001)
    found = evaluate_models(["chgnet", run], [written(frames)])
    assert (found.part, [one.scores.test["n_frames"] for one in found.models]) == ("unseen", [12, 12])
    counts = found.models[1].frames
    assert counts is not None and (counts.trained_on, counts.unseen) == (6, 12) and found.models[0].frames is None
    assert found.next_command == ("matgraft", "export", run, "--to", "ase", "-o", "model")
    seen = evaluate_models(["chgnet", run], [written(frames[:6], "seen.extxyz")])
    assert seen.part == "seen" and seen.cautions[0].code == "all-seen" and run in seen.cautions[0].text
    sharing = run_on(frames[::3], "runs/y")
    models["made"][sharing] = wrong(0.001)
    near = evaluate_models(["chgnet", sharing], [written(frames)])
    assert any(one.text.startswith(f"{sharing}: 12 of the 12") and "simulations" in one.text for one in near.cautions)


def test_runs_that_read_by_different_keys_are_told_of_and_one_runs_keys_are_taken(models: dict[str, Any]) -> None:
    frames = labelled(4)
    for a in frames:
        a.info["own"] = a.get_potential_energy() + 8.0
    run = run_on([bulk("Si")])
    models["made"][run] = models["made"]["runs/y"] = wrong(0.01)
    (Path(run) / "recipe.yaml").write_text(Recipe(train="x.extxyz", keys={"energy": "own"}).to_yaml())
    file = written(frames)
    asked = {}
    for names in ((run, "chgnet"), ("chgnet",)):
        found = evaluate_models(names, [file])
        asked[names] = found.models[-1].shift
    assert asked[run, "chgnet"].shift_eV["Si"] == pytest.approx(asked["chgnet",].shift_eV["Si"] + 1.0)
    (Path(run_on([bulk("Si")], "runs/y")) / "recipe.yaml").write_text(Recipe(train="y.extxyz").to_yaml())
    found = evaluate_models([run, "runs/y"], [file])
    assert any("different keys or units" in note for note in found.notes)


def test_isolated_atoms_are_not_scored_and_give_the_shift_where_that_is_asked(
    models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = [Atoms("Si", cell=[20] * 3, pbc=True), Atoms("Ge", cell=[20] * 3, pbc=True)]
    for one, energy in zip(atoms, (101.0, 202.0), strict=True):
        one.calc = SinglePointCalculator(one, energy=energy, forces=np.zeros((1, 3)))
    file = written([*labelled(), *atoms])
    found = evaluate_models(["chgnet"], [file])
    assert found.models[0].scores.test["n_frames"] == 18 and any("isolated atoms" in one for one in found.notes)
    monkeypatch.setattr(
        "matgraft.potentials.run.references.predict_samples",
        lambda _, atoms, __: [{"energy": np.array(1.0)}] * len(atoms),
    )
    (model,) = evaluate_models(["chgnet"], [file], ["references.mode=isolated"]).models
    assert model.shift is not None and model.shift.mode == "isolated" and model.held_out is None
    assert model.shift.shift_eV == {"Si": 100.0, "Ge": 201.0}
    (kept,) = evaluate_models(["chgnet"], [file], ["references.mode=keep"]).models
    assert kept.shifted is None and kept.shift is None


def test_one_frame_is_scored_as_it_comes_and_has_nothing_after_a_shift(models: dict[str, Any]) -> None:
    found = evaluate_models(["chgnet", "mace"], [written(labelled()[:1])])
    assert all(one.shifted is None for one in found.models)
    assert found.unshifted[0].frames == (0,) and not found.standings[0].shifted
    assert "1 trajectory with labels, 5 are needed" in found.standings[-2].sentence
    assert "Shifted" not in str(side_by_side_document(found))


def test_labels_in_another_unit_are_told_and_settled_first(models: dict[str, Any]) -> None:
    frames = labelled(8, 5)
    for a in frames:
        a.calc.results["forces"] = pull(a) / 27.211386 * 0.529177
    found = evaluate_models(["chgnet"], [written(frames)])
    assert [one.code for one in found.doubts] == ["force-unit"]
    assert found.next_command == ("matgraft", "audit", "frames.extxyz", "--from", "chgnet")
    assert evaluate_models(["chgnet"], [Path("frames.extxyz")], ["units.forces=Hartree/Bohr"]).doubts == ()


def test_several_files_and_options_are_in_the_next_command(models: dict[str, Any]) -> None:
    first, second = written(labelled(), "a.extxyz"), written(labelled(2), "b.extxyz")
    found = evaluate_models(["chgnet"], [first, second], ["audit.drop_test={a.extxyz: [0]}"])
    assert found.models[0].scores.test["n_frames"] == 23 and found.files == ("a.extxyz", "b.extxyz")
    assert found.next_command[2:4] == ("train=[a.extxyz,b.extxyz]", "audit.drop={a.extxyz: [0]}")


def test_the_screen_says_what_the_json_says_and_a_page_is_kept(models: dict[str, Any], matgraft: Call) -> None:
    written(labelled())
    code, out, err = matgraft("evaluate", "chgnet", "mace", "frames.extxyz", "-o", "models.html", "--quiet")
    assert code == 0, err
    assert (
        "Which model errs least" in out
        and "mace errs least" in out
        and "matgraft tune frames.extxyz --from mace" in out
    )
    assert "alloy" in out and "found by info key 'trajectory'" in " ".join(out.split())
    page = Path("models.html").read_text()
    assert "mace errs least" in page and "alloy" in page
    code, told, _ = matgraft("evaluate", "chgnet", "mace", "frames.extxyz", "--json")
    facts = EvaluatedModels.model_validate(json.loads(told))
    assert json.loads(to_json(to_jsonable_python(facts, inf_nan_mode="constants"))) == json.loads(told)
    assert code == 0 and facts.standings[1].best == "mace"
    assert matgraft("evaluate", "chgnet", "frames.extxyz", "-o", "m.md")[0] == 0
    assert "Root mean square error" in Path("m.md").read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evaluate", "chgnet"], 2, "no file of frames is named"),
        (["evaluate", "chgnet", "mace", "--json"], 2, "no file of frames is named"),
        (["evaluate", "chgnet", "chgnet", "frames.extxyz"], 2, "chgnet is named twice"),
        (["evaluate", "chgnet", "frames.extxyz", "fit.rate=1"], 2, "fit.rate is not read by `matgraft evaluate`"),
        (["evaluate", "chgnet", "frames.extxyz", "-o", "page.pdf"], 2, "*.html, *.md"),
        (["evaluate", "chgnet", "nowhere.extxyz"], 3, "nowhere.extxyz"),
        (["evaluate", "chgnet", "bare.extxyz"], 3, "matgraft predict chgnet bare.extxyz -o predictions.extxyz"),
        (["predict", "chgnet", "bare.extxyz", "-o", "x.csv"], 2, "*.extxyz, *.xyz, *.parquet"),
        (["predict", "chgnet", "bare.extxyz", "--formula", "f"], 2, "--formula is not read"),
        (["predict", "chgnet", "bare.extxyz", "want=[energy]"], 2, "want is not read by `matgraft predict`"),
        (["predict", "chgnet"], 2, "WHAT is missing\nallowed: formulas, or tables"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    models: dict[str, Any], matgraft: Call, words: list[str], code: int, said: str
) -> None:
    written(labelled(1))
    written([bulk("Si")], "bare.extxyz")
    found, out, err = matgraft(*words)
    assert (found, said in err + out) == (code, True), err


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "chgnet", "mce:x", "frames.extxyz"],
        ["evaluate", "chgnt", "frames.extxyz"],
        ["predict", "chgnt", "POSCAR"],
    ],
)
def test_a_name_that_is_nearly_that_of_a_model(tmp_path: Path, matgraft: Call, words: list[str]) -> None:
    code, _, err = matgraft(*words)
    assert code == 2 and "did you mean" in err, err


def test_structures_of_several_files_are_predicted_by_one_model(models: dict[str, Any], matgraft: Call) -> None:
    first = labelled(1)[0]
    ase.io.write("POSCAR", bulk("Si"))
    ase.io.write("b.cif", bulk("Ge"))
    written([first, bulk("Si", cubic=True)], "c.extxyz")
    code, out, err = matgraft("predict", "chgnet", "POSCAR", "b.cif", "c.extxyz", "-o", "out.extxyz", "--quiet")
    assert code == 0, err
    assert "out.extxyz: 4 structures, energy in eV, forces in eV/Å, stress in eV/Å³" in " ".join(out.split())
    back = ase.io.read("out.extxyz", ":")
    assert [str(a.symbols) for a in back] == ["Si2", "Ge2", "Si8", "Si8"]
    for a in back:
        expected = models["made"]["chgnet"](Atoms(a.numbers, a.positions, cell=a.cell, pbc=True))
        assert a.get_forces() == pytest.approx(expected["forces"], abs=1e-6)
    assert back[2].get_potential_energy() == pytest.approx(float(models["made"]["chgnet"](first)["energy"]))
    assert back[2].info["config_type"] == "bulk" and back[2].get_stress() == pytest.approx([0.01] * 3 + [0] * 3)
    assert read("out.extxyz").count("stress") == 4


def test_several_models_are_written_beside_each_other_with_their_disagreement(models: dict[str, Any]) -> None:
    models["made"]["mace"] = lambda a: {
        "energy": np.array(truth(a) + 5.0 * len(a)), "forces": pull(a) + np.array([0.3, 0, 0.4]),
        "stress": np.eye(3) * 0.01,
    }  # fmt: skip
    models["made"]["chgnet"] = lambda a: {"energy": np.array(truth(a)), "forces": pull(a), "stress": np.eye(3) * 0.02}
    file = written([a for a in labelled() if a.info["config_type"] == "bulk"])
    found = predict_structures(["chgnet", "mace"], [file], Path("out.extxyz"))
    apart = found.structures[0].disagreement
    assert apart is not None and apart.forces_eV_per_A == pytest.approx(0.5)
    assert apart.energy_meV_per_atom == pytest.approx(0.0, abs=1e-6), "the 5 eV an atom are references"
    assert apart.stress_GPa == pytest.approx(1.602, abs=1e-3)
    back = ase.io.read("out.extxyz")
    assert back.info["mace_energy"] - back.info["chgnet_energy"] == pytest.approx(40.0)
    assert back.arrays["forces_disagreement"] == pytest.approx(np.full(8, 0.5))
    assert (
        read("out.extxyz", keys={"energy": "mace_energy", "forces": "mace_forces", "stress": "mace_stress"}).count(
            "stress"
        )
        == 9
    )
    (alone,) = predict_structures(["chgnet", "mace"], [written(labelled()[:1], "one.extxyz")]).structures
    assert alone.disagreement is not None and alone.disagreement.energy_meV_per_atom is None
    predict_structures(["chgnet", "mace"], [file], Path("out.parquet"))
    import pandas as pd

    table = pd.read_parquet("out.parquet")
    assert table.model.value_counts().to_dict() == {"chgnet": 9, "mace": 9}


def test_isolated_atoms_molecules_and_unknown_elements_among_structures(models: dict[str, Any], matgraft: Call) -> None:
    models["unable"]["chgnet"] = "Ge"
    written([Atoms("Si", cell=[20] * 3, pbc=True), bulk("Ge"), bulk("Si")])
    found = predict_structures(["chgnet"], [Path("frames.extxyz")])
    assert [one.formula for one in found.structures] == ["Si", "Si2"] and found.left_out[0].frames == (1,)
    code, out, _ = matgraft("predict", "chgnet", "frames.extxyz", "--json")
    assert code == 0 and json.loads(out)["structures"][1]["values"]["chgnet"]["energy_eV"] is not None


def test_prefixes_are_names_that_a_file_can_hold_and_no_two_are_equal() -> None:
    assert prefixes_of(["chgnet", "mace:a/b.model@1f#pbe", "mace:a.b/model@1f#pbe", "runs/x"]) == {
        "chgnet": "chgnet", "mace:a/b.model@1f#pbe": "mace_a_b_model_1f_pbe",
        "mace:a.b/model@1f#pbe": "mace_a_b_model_1f_pbe_2", "runs/x": "runs_x",
    }  # fmt: skip


def test_what_the_screen_shows_of_many_structures(models: dict[str, Any]) -> None:
    import io

    from rich.console import Console

    found = predict_structures(["chgnet"], [written(labelled(8, 3))])
    file = io.StringIO()
    show_structures(Console(file=file, width=160), found)
    assert "… and 4 more; -o predictions.extxyz writes all" in file.getvalue()
    evaluated = io.StringIO()
    show_side_by_side(Console(file=evaluated, width=160), evaluate_models(["chgnet"], [Path("frames.extxyz")]))
    assert "no frame has a part in its own shift" in " ".join(evaluated.getvalue().split())


def test_a_model_named_twice_is_refused_from_python(models: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="named twice"):
        predict_structures(["chgnet", "chgnet"], [Path("x.cif")])


def test_a_run_alone_is_judged_beside_its_foundation_and_names_what_it_cannot_take(
    models: dict[str, Any], matgraft: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files; the frames with germanium, which neither model takes, are in no figure and in the verdict."""
    frames = labelled()
    run = run_on(frames[:3])
    models["made"] |= {run: wrong(0.005), "chgnet": wrong(0.05)}
    models["unable"] |= {run: "Ge", "chgnet": "Ge"}
    REFERENCES.write(Path(run), ReferenceShift(mode="refit", shift_eV=OFF, rank=2, n_elements=2))
    for name in ("load_potential", "refuse_unknown"):
        monkeypatch.setattr(
            f"matgraft.potentials.run.evaluation.{name}",
            lambda word: SimpleNamespace(card=SimpleNamespace(name=str(word), cutoff_A=None), module=nn.Module()),
        )
    files = [written(frames[:9], "a.extxyz"), written(frames[9:], "b.extxyz")]
    code, out, err = matgraft("evaluate", run, *files, "--json", "-o", "run.md")
    assert code == 0, err
    said = json.loads(out)
    assert said["frames"] == {"trained_on": 3, "validated_on": 0, "unseen": 6} and said["part"] == "unseen"
    assert said["test"]["forces_rmse_eV_per_A"] == pytest.approx(0.005)
    assert said["untuned"]["forces_rmse_eV_per_A"] == pytest.approx(0.05)
    assert said["left_out"][0]["frames"] == [3, 4, 5, 0, 1, 2, 6, 7, 8]
    cautions = [one["text"] for one in said["verdict"]["cautions"]]
    assert any("Left out: frames a.extxyz 3, 4, 5; b.extxyz 0, 1, 2, 6, 7, 8" in text for text in cautions)
    assert json.loads(next((Path(run) / "evaluations").glob("a-*.json")).read_text()) == said
    assert "6 are unseen" in Path("run.md").read_text()
    code, _, err = matgraft("evaluate", run, files[0], "references.mode=keep")
    assert code == 2 and "references.mode is not read by `matgraft evaluate RUN`" in err


def test_a_name_that_is_meant_is_a_word_here_and_no_option(
    models: dict[str, Any], matgraft: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`foundation=` is read by neither verb."""

    def refuse(name: str) -> None:
        raise OptionError("a pickle", where=name, remedy="add its hash", options=[{"foundation": f"{name}@1f3b"}])

    monkeypatch.setattr("matgraft.potentials.run.several.load_potential", refuse)
    frames = written(labelled(1))
    for verb in ("evaluate", "predict"):
        code, _, err = matgraft(verb, "mace:my.model", frames)
        assert code == 2 and "allowed: mace:my.model@1f3b" in err and "option:" not in err
