"""The benchmarks: their own functions on tiny inputs. Nothing of the vendor's is trained."""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.io import write
from hypothesis import given
from hypothesis import strategies as st

from matgraft import load
from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.training.schedule import FitSettings
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.loss import LossSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import _chgnet_trainer as theirs
import common
import step_time
import store as frame_store
import strategies
import time_to_accuracy as race


def silicon(count: int, seed: int = 0) -> Dataset:
    """Return rattled two-atom cells with labels of their own."""
    rng = np.random.default_rng(seed)
    return Dataset(tuple(_sample(rng, i) for i in range(count)))


def _sample(rng: np.random.Generator, i: int) -> Sample:
    atoms: Atoms = bulk("Si", "diamond", a=5.4 + 0.05 * rng.random())
    atoms.positions += 0.05 * rng.standard_normal((2, 3))
    stress = rng.standard_normal((3, 3))
    labels = {"energy": np.array(-10.0), "forces": rng.standard_normal((2, 3)), "stress": (stress + stress.T) / 200}
    return Sample(atoms, labels, file="Si.extxyz", index=i)


@pytest.fixture(scope="module")
def parts() -> common.Parts:
    return common.Parts(silicon(4), silicon(2, seed=1), silicon(3, seed=2))


# -------------------------------------------------------------------- common


def test_circumstances_are_plain_and_complete() -> None:
    found = json.loads(json.dumps(common.circumstances()))
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["cpu"]
    assert set(common.PACKAGES) < set(found["versions"])


def test_results_are_read_again_replaced_by_key_and_one_line_each(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.json"
    results = common.Results(file, ("name", "seed"), lambda rows: {"count": len(rows)})
    for name, value in (("a", 1), ("b", 2), ("a", 3)):
        results.put({"name": name, "seed": 0, "value": value})
    again = common.Results(file, ("name", "seed"))
    assert [row["value"] for row in again.rows] == [3, 2]
    assert again.find(name="b", seed=0) == {"name": "b", "seed": 0, "value": 2}
    assert again.find(name="b", seed=1) is None
    assert json.loads(file.read_text())["count"] == 2
    assert sum('"value"' in line for line in file.read_text().splitlines()) == 2


def test_a_failed_write_leaves_the_old_results(tmp_path: Path) -> None:
    results = common.Results(tmp_path / "results.json", ("name",))
    results.put({"name": "good"})
    with pytest.raises(TypeError):
        results.put({"name": "bad", "value": object()})
    assert common.Results(results.path, ("name",)).rows == [{"name": "good"}]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    for content in ("{", "{}"):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(DataError, match="no results of a benchmark"):
            common.Results(tmp_path / "results.json", ("name",))


@given(st.integers(1, 200), st.integers(2, 60))
def test_columns_keep_first_last_and_order(count: int, most: int) -> None:
    found = common.columns([{"step": i} for i in range(count)], ["step"], most)["step"]
    assert found[0] == 0
    assert found[-1] == count - 1
    assert len(found) == min(count, most)
    assert found == sorted(set(found))


def test_frames_are_spread_and_chosen_by_size() -> None:
    dataset = silicon(9)
    assert [sample.index for sample in common.spread(dataset, 3)] == [0, 4, 8]
    assert common.spread(dataset, None) is dataset
    assert [sample.index for sample in common.frames_of_size(dataset, 2, 4)] == [0, 1, 2, 3]
    with pytest.raises(OptionError, match="4 frames of 63 atoms asked for, 0 found"):
        common.frames_of_size(dataset, 63, 4)


def test_published_parts_hold_out_validation_from_train_alone(tmp_path: Path) -> None:
    for part, count in (("train", 20), ("test", 5)):
        atoms = [sample.content.copy() for sample in silicon(count)]
        for i, one in enumerate(atoms):
            one.info |= {"energy": -10.0, "trajectory": f"{part}{i % 2}", "number": i}
            one.arrays["forces"] = np.array([[0.1, 0, 0], [-0.1, 0, 0]])
        write(tmp_path / f"Si_{part}.extxyz", atoms)
    with pytest.raises(DataError, match="the published frames are missing"):
        common.published_parts("Mo", tmp_path)
    found = common.published_parts("Si", tmp_path, seed=3)
    assert [len(part) for part in found] == [18, 2, 5]
    train, validation = (set(part.tag("number")) for part in found[:2])
    assert not train & validation
    assert common.published_parts("Si", tmp_path, seed=3).validation.hash() == found.validation.hash()


def test_tables_for_readers_and_for_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    common.show("Title", ["", "eV"], [["a", common.number(None)], ["b", common.number(1.234)]], as_markdown=True)
    assert "### Title\n\n|  | eV |\n| --- | --- |\n| a | – |\n| b | 1.23 |" in capsys.readouterr().out
    common.show("Title", ["", "eV"], [["a", "1.23"]])
    assert "1.23" in capsys.readouterr().out
    common.show("Title", ["", "eV"], [])
    assert capsys.readouterr().out == ""


def test_an_error_for_the_user_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise DataError("broken", where="here")

    with pytest.raises(SystemExit) as left:
        common.run(main)
    assert left.value.code == DataError.exit_code
    assert "here: broken" in capsys.readouterr().err


# ---------------------------------------------------------------- strategies


def test_the_shift_takes_the_mean_error_away(parts: common.Parts) -> None:
    parent = load("chgnet")
    untuned, shift = (strategies.baseline(parent, parts, name) for name in ("untuned", "shift"))
    assert shift["test"]["energy_rmse_meV_per_atom"] < 0.2 * untuned["test"]["energy_rmse_meV_per_atom"]
    assert shift["test"]["forces_rmse_eV_per_A"] == untuned["test"]["forces_rmse_eV_per_A"]
    assert untuned == strategies.baseline(parent, parts, "untuned") | {"minutes": untuned["minutes"]}


def test_what_is_there_is_not_fitted_again(
    parts: common.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fake(parent: object, parts: object, what: Any) -> common.Row:
        asked.append(what if isinstance(what, str) else what["strategy"])
        return {"minutes": 1.0, "minutes_fit": 0.5, "test": {}, "validation": {}}

    monkeypatch.setattr(strategies, "baseline", fake)
    monkeypatch.setattr(strategies, "tuned", fake)
    monkeypatch.setattr(strategies, "published_parts", lambda *_, **__: parts)
    out = tmp_path / "strategies.json"

    def call(*arguments: str) -> list[str]:
        asked.clear()
        options = strategies.parse(["--elements", "Si", "--out", str(out), *arguments])
        strategies.benchmark("Si", options, common.Results(out, strategies.KEYS, strategies.head))
        return list(asked)

    assert call("--strategies", "shift", "full") == ["shift", "full"]
    assert call() == ["untuned", "feature", "partial", "lora", "gradual", "replay"]
    assert call() == []
    assert call("--minutes", "40") == ["feature", "partial", "lora", "gradual", "full", "replay"]
    assert call("--strategies", "feature", "--again") == ["feature"]
    assert call("--strategies", "shift", "--foundation", "chgnet:r2scan") == ["shift"]
    assert call("--strategies", "shift", "--train-frames", "2") == ["shift"]
    content = json.loads(out.read_text())
    assert len(content["rows"]) == 16
    assert [row["n_train"] for row in content["rows"][-2:]] == [4, 2]
    assert {"element": "Si", "potential": "MTP"}.items() <= content["published"][2].items()


def test_a_fit_is_accounted_for(parts: common.Parts) -> None:
    history = [{"step": i, "seconds": 60.0 * i, "train_loss": 1.0, "validation_loss": 1.0 / i} for i in (1, 2)]
    fit = SimpleNamespace(history=history, steps=2, epochs=2.0, best_step=2, stopped="the plan was done", processes=1)
    adapted = SimpleNamespace(
        fit=fit,
        settings=FitSettings(rate=1e-3),
        loss=LossSettings(),
        references=SimpleNamespace(shift_eV={"Si": 0.1}),
        trained=1,
        total=2,
    )
    found = strategies.account(adapted, parts)  # type: ignore[arg-type]
    assert found["history"]["minutes"] == [1.0, 2.0]
    assert found["history"]["validation_loss"] == [1.0, 0.5]
    assert found["settings"]["rate"] == 1e-3
    assert set(found["loss_weights"]) == {"energy", "forces", "stress"}


def test_the_table_puts_ours_in_order_before_the_published() -> None:
    test = {"energy_rmse_meV_per_atom": 5.0, "forces_rmse_eV_per_A": 0.1}
    row = {"element": "Si", "max_minutes": None, "n_train": 9, "test": test, "minutes": 1.0, "minutes_fit": 0.5}
    row |= {"settings": {"batch": 2}, "loss_weights": {"energy": 10.0, "forces": 1.0}}
    row |= {"foundation": "b", "forgetting": {strategies.OUTSIDE_ENERGY: 20.0, strategies.OUTSIDE_FORCES: 0.05}}
    rows = [row | {"strategy": name} for name in ("full", "untuned")] + [row | {"strategy": "full", "element": "Mo"}]
    lines = strategies.table("Si", [*rows, rows[0] | {"foundation": "a"}])
    assert [line[:2] for line in lines[:4]] == [["a", "full"], ["b", "untuned"], ["b", "full"], ["SNAP", "published"]]
    assert lines[2] == ["b", "full", "5.00", "0.100", "–", "20.0", "0.050", "1.0", "0.5", "9", "2", "10, 1"]
    assert {len(line) for line in lines} == {len(strategies.HEADER)}


# ---------------------------------------------------------- time to accuracy


def contender(name: str, minutes: list[float], errors: list[float]) -> common.Row:
    key = {
        "contender": name,
        "foundation": "chgnet:0.3.0",
        "element": "Si",
        "max_minutes": 20.0,
        "n_train": 9,
        "seed": 0,
    }
    scores = {"forces_rmse_eV_per_A": min(errors), "energy_rmse_meV_per_atom": 5.0}
    return key | {"minutes": minutes, "validation_forces": errors, "untuned": 0.28, "best_test": scores}


def test_a_duel_counts_minutes_to_the_others_best() -> None:
    ours = contender("full", [1.0, 2.0, 4.0], [0.25, 0.19, 0.15])
    vendors = contender("vendor-all", [5.0, 10.0, 20.0], [0.30, 0.20, 0.22])
    (found,) = race.comparisons([vendors, ours])
    assert found["our_minutes_to_vendor_best"] == 2.0
    assert found["vendor_minutes_to_its_best"] == 10.0
    assert found["ratio_to_vendor_best"] == 0.2
    assert found["vendor_minutes_to_our_best"] is None
    assert found["ratio_to_our_best"] is None
    assert found["vendor_beats_untuned"]
    (line,) = race.duels_table([vendors, ours])
    assert line[-1] == "not in 20.0"
    assert len(line) == len(race.DUELS_HEADER)
    assert {len(line) for line in race.contenders_table([vendors, ours])} == {len(race.CONTENDERS_HEADER)}


def test_only_runs_on_the_same_terms_are_compared() -> None:
    ours, vendors = contender("full", [1.0], [0.2]), contender("vendor-all", [1.0], [0.2])
    assert len(race.comparisons([ours, vendors])) == 1
    assert race.comparisons([ours, vendors | {"max_minutes": 5.0}]) == []
    assert race.comparisons([ours, vendors | {"n_train": 8}]) == []
    assert race.comparisons([ours, ours]) == []


def test_of_a_vendors_runs_the_longest_counts() -> None:
    ours = contender("full", [1.0], [0.2])
    short, long = (contender("vendor-all", [minutes], [0.2]) | {"max_minutes": minutes} for minutes in (20.0, 60.0))
    (found,) = race.comparisons([short, ours, long])
    assert found["vendor_minutes_in_all"] == 60.0


def test_both_errors_must_be_reached_by_one_checkpoint() -> None:
    ours = with_energies(contender("full", [1.0, 2.0], [0.25, 0.15]), [9.0, 8.0], best=1)
    vendors = contender("vendor-all", [1.0, 4.0, 8.0, 9.0], [0.30, 0.10, 0.20, 0.14])
    (found,) = race.comparisons([with_energies(vendors, [50.0, 40.0, 7.0, 6.0], best=1), ours])
    assert (found["our_minutes_to_both"], found["vendor_minutes_to_both"]) == (2.0, 9.0)
    assert found["ratio_to_both"] == pytest.approx(2 / 9, abs=1e-4)
    never = with_energies(vendors, [50.0, 40.0, 7.0, 8.1], best=1)
    (line,) = race.both_table([ours, never])
    assert line[4] == "not in 9.0"
    assert len(line) == len(race.BOTH_HEADER)
    assert race.both_table([ours, vendors]) == []  # a row of an earlier day has no energies


def with_energies(row: common.Row, energies: list[float], *, best: int) -> common.Row:
    kept = {race.FORCES: row["validation_forces"][best], race.ENERGY: energies[best]}
    return row | {"validation_energies": energies, "best_checkpoint": best, "best_validation": kept}


def test_a_vendor_no_better_than_the_foundation_is_marked() -> None:
    ours, vendors = contender("full", [1.0], [0.2]), contender("vendor-frozen", [1.0], [0.29])
    assert "above untuned" in race.duels_table([ours, vendors])[0][1]


def test_epochs_fit_into_the_minutes_but_are_never_fewer_than_the_notebooks() -> None:
    assert theirs.planned_epochs(20, seconds=1.0, n_train=193) == 48  # 25 batches of 1 s
    assert theirs.planned_epochs(1, seconds=10.0, n_train=193) == theirs.NOTEBOOK_EPOCHS


def test_a_history_that_evaluate_contradicts_is_refused() -> None:
    race.agree(0.1500, 0.1501)
    with pytest.raises(RunError, match=r"0\.1500 eV/Å in the history, 0\.2000 by evaluate"):
        race.agree(0.15, 0.2)


@pytest.mark.parametrize("contender", ["full", "full-forces"])
def test_our_contenders_train_by_the_loss_that_their_row_names(
    parts: common.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contender: str
) -> None:
    weighed: list[dict[str, float]] = []
    adapt = race.adapt

    def noted(*arguments: Any, loss: LossSettings, **options: Any) -> Any:
        weighed.append(loss.weights(parts.train))
        return adapt(*arguments, loss=loss, epochs=1, processes=1, **{**options, "max_minutes": None})

    monkeypatch.setattr(race, "adapt", noted)
    found = race.run_ours("chgnet", contender, race.Race(parts, 1.0, 0, tmp_path, threads=1))
    assert [found["settings"]["loss_weights"]] == weighed
    assert (weighed[0]["energy"] < 1) == (contender == "full-forces")
    # The start and the one epoch.
    assert len(found["minutes"]) == len(found["validation_forces"]) == len(found["validation_energies"]) == 2


def test_the_vendor_gets_energies_an_atom_and_stresses_in_gpa() -> None:
    dataset = silicon(2)
    data = theirs.vendor_data(dataset)
    for i, sample in enumerate(dataset):
        graph, targets = data[i]
        np.testing.assert_array_equal(graph.atomic_number.numpy(), sample.content.numbers)
        assert float(targets["e"]) == pytest.approx(-5.0)
        np.testing.assert_allclose(targets["f"].numpy(), sample.labels["forces"], rtol=1e-6)
        # 1/V dE/dstrain in GPa, which is what its model predicts: ASE's sign
        np.testing.assert_allclose(targets["s"].numpy(), sample.labels["stress"] / units.GPa, rtol=1e-5)


def test_the_notebooks_layers_are_frozen() -> None:
    model = theirs.vendor_model()
    theirs.freeze(model)
    free = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    # As the notebook leaves it: what it does not name learns (the trainer itself switches the composition model off).
    assert free >= {"atom_conv_layers", "mlp", "readout_norm"}
    assert not free & {*theirs.FROZEN, *theirs.FROZEN_LAYERS}
    layers = model.atom_conv_layers
    assert [any(p.requires_grad for p in layer.parameters()) for layer in layers] == [False, False, False, True]


def test_every_epochs_weights_are_kept_with_its_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = theirs.make_trainer(frozen=False, epochs=2, seed=0)
    trainer.minutes, trainer.began = [], 0.0
    for epoch, error in enumerate((0.2, 0.3)):
        for target in "efs":
            trainer.training_history[target]["val"].append(error)
        with torch.no_grad():
            next(trainer.model.mlp.parameters()).fill_(epoch)
        trainer.save_checkpoint(epoch, {"e": error, "f": error, "s": error}, str(tmp_path))
    assert trainer.minutes == sorted(trainer.minutes)
    for epoch in range(2):
        kept = load(f"chgnet:{theirs.kept(tmp_path, epoch)}")
        assert next(iter(kept.head.parameters())).flatten()[0] == epoch


def test_the_vendors_best_checkpoint_is_found_by_our_own_scores(parts: common.Parts, tmp_path: Path) -> None:
    foundation = load("chgnet")
    files = [tmp_path / f"{epoch}.pth.tar" for epoch in range(2)]
    foundation.save(files[1])
    with torch.no_grad():
        for parameter in foundation.module.mlp.parameters():  # type: ignore[union-attr]
            parameter.mul_(3)
    foundation.save(files[0])
    found = race.scored({"minutes": [1.0, 2.0], "models": [f"chgnet:{file}" for file in files], "settings": {}}, parts)
    first, second = found["validation_forces"]
    assert first > second
    assert found["validation_energies"][1] == pytest.approx(found["best_validation"][race.ENERGY], abs=1e-5)
    assert found["best_validation"]["forces_rmse_eV_per_A"] == pytest.approx(second, abs=1e-5)
    with pytest.raises(RunError, match="before its first checkpoint"):
        race.scored({"minutes": [], "models": [], "settings": {}}, parts)


def test_matgls_trainer_leaves_models_with_their_minutes(parts: common.Parts, tmp_path: Path) -> None:
    (tmp_path / "start").mkdir()
    name = small_tensornet(tmp_path / "start")
    found = race.VENDORS["mgl train"].run(name, race.Race(parts, 0.5, 0, tmp_path, threads=1, epochs=2))
    assert len(found["minutes"]) == len(found["models"]) == 2
    assert 0 < found["minutes"][0] < found["minutes"][1]
    scored = race.scored(found, parts)
    assert scored["validation_forces"][0] != scored["validation_forces"][1]


def test_a_checkpoint_of_mace_run_train_becomes_a_model(parts: common.Parts, tmp_path: Path) -> None:
    """The command itself takes a minute to start: it runs in the benchmark alone."""
    small_mace(tmp_path)
    state = torch.load(tmp_path / "small.model", weights_only=False).state_dict()
    for name, tensor in state.items():
        state[name] = 2 * tensor if name.startswith("readouts") else tensor
    state["atomic_energies_fn.atomic_energies"] = torch.tensor([[-7.0]])  # (heads, elements), as the command has it
    torch.save({"model": state}, tmp_path / "race_epoch-0.pt")
    small_mace(tmp_path, numbers=(14, 42))  # of the foundation's elements the command keeps those of the frames
    from _mace_trainer import model_of

    model = load(model_of(tmp_path / "race_epoch-0.pt", tmp_path / "small.model"))
    assert isinstance(model, Potential)
    assert model.card.elements == ("Si",)
    assert float(model.references[13]) == -7.0
    weights = model.module.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items() if name.startswith("readouts"))


# ----------------------------------------------------------------- step time


def small_mace(folder: Path, numbers: tuple[int, ...] = (14,)) -> str:
    """Return the name of a small MACE with random weights, in the vendor's file."""
    pytest.importorskip("matgraft.potentials.models.mace.potential", reason='needs pip install "matgraft[mace]"')
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # e3nn compiles its layers by TorchScript, which is deprecated
        model = modules.ScaleShiftMACE(
            r_max=4.0, num_bessel=4, num_polynomial_cutoff=5, max_ell=1, num_interactions=2, num_elements=len(numbers),
            hidden_irreps=o3.Irreps("4x0e+4x1o"), MLP_irreps=o3.Irreps("4x0e"), gate=torch.nn.functional.silu,
            interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
            interaction_cls_first=modules.interaction_classes["RealAgnosticInteractionBlock"],
            atomic_energies=np.full(len(numbers), -5.0), avg_num_neighbors=8.0, atomic_numbers=[*numbers],
            correlation=2, atomic_inter_scale=[1.0], atomic_inter_shift=[0.0], radial_MLP=[8], heads=["Default"],
        )  # fmt: skip
    file = folder / "small.model"
    torch.save(model, file)
    return f"mace:{file}@{hashlib.sha256(file.read_bytes()).hexdigest()}"


def small_tensornet(folder: Path) -> str:
    """Return the name of a small TensorNet with random weights, in the vendor's folder."""
    pytest.importorskip("matgraft.potentials.models.matgl", reason='needs pip install "matgraft[matgl]"')
    from matgl.apps.pes import Potential
    from matgl.models import TensorNet

    torch.manual_seed(0)
    network = TensorNet(element_types=("Si",), units=8, nblocks=1, rbf_type="Gaussian", is_intensive=False)
    Potential(network, element_refs=np.array([-5.0])).save(folder / "small")
    return f"matgl:{folder / 'small'}"


@pytest.mark.parametrize("foundation", ["chgnet", small_mace, small_tensornet])
def test_both_sides_compute_the_same_and_leave_gradients(foundation: Any, parts: common.Parts, tmp_path: Path) -> None:
    name = foundation if isinstance(foundation, str) else foundation(tmp_path)
    vendor, ours = step_time.vendor(name, parts.train), step_time.Ours(name, parts.train)
    np.testing.assert_allclose(vendor.prediction(), ours.prediction(), atol=1e-3)
    for side in (vendor, ours):
        side.step()
        learning = [parameter for parameter in side.model.parameters() if parameter.requires_grad]
        assert sum(parameter.grad is not None for parameter in learning) > max(10, 0.9 * len(learning))
        assert max(float(parameter.grad.abs().max()) for parameter in learning if parameter.grad is not None) > 0
        before = [parameter.detach().clone() for parameter in learning]
        for _ in range(2):
            side.update()
        assert all(float((old - new).abs().max()) < 1e-20 for old, new in zip(before, learning, strict=True))
    assert len(vendor._adam.state) > 10 and all(state["step"] >= 1 for state in ours.optimizer.state.values())


def test_turns_are_taken_in_rounds_and_the_first_does_not_count() -> None:
    order: list[str] = []

    class Pool:
        def __init__(self, case: step_time.Case) -> None:
            self.case, self.turns = case, 0

        def submit(self, work: object, task: str) -> Any:
            order.append(self.case.name)
            self.turns += 1
            return SimpleNamespace(result=lambda value=100.0 * (self.turns == 1) + self.turns: value)

    pools = {case: Pool(case) for case in step_time.CASES}
    found = step_time.take_turns(pools, "step", rounds=2)  # type: ignore[arg-type]
    assert order == [case.name for case in step_time.CASES] * 3
    assert found == {case.name: [2.0, 3.0] for case in step_time.CASES}


def test_ratios_are_taken_within_a_round() -> None:
    seconds = {"vendor": [1.0, 10.0, 2.0], "ours": [0.5, 5.0, 1.0]}
    seconds |= {"vendor-kept": [1.0, 1.0, 1.0], "ours-kept": [0.25, 2.5, 0.5]}
    found = step_time.summary(seconds)
    assert found["ours_by_vendor"] == {"as it comes": 0.5, "memory kept": 0.5, "as each trains": 0.25}
    assert found["kept_by_not"] == {"vendor": 0.5, "ours": 0.5}
    peaks = dict.fromkeys(seconds, 7)
    row = {"foundation": "a", "element": "Si", "frames": 4, "n_atoms": 63} | {
        task: found | {"peak_MiB": peaks} for task in step_time.TASKS
    }
    lines = step_time.table([row])
    assert lines[6] == ["a", "4 × 63 Si, step, as it comes", "2.00", "1.00", "0.50", "7", "7"]
    assert {len(line) for line in lines} == {len(step_time.HEADER)}


@pytest.mark.parametrize("script", [strategies, race, step_time])
def test_defaults_parse(script: Any) -> None:
    options = script.parse([])
    assert options.out.parent.name == "results"
    assert not options.report


# --------------------------------------------------------------------- store


def test_a_run_over_a_store_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "STEPS", 1)
    rows = [{"frames": n} | frame_store.walk_through(n, audited) for n, audited in ((30, True), (40, False))]
    assert [set(frame_store.STAGES) - set(row["seconds"]) for row in rows] == [set(), {"audit"}]
    assert list(rows[0]["peak_MiB"].values()) == sorted(rows[0]["peak_MiB"].values())
    first, second = frame_store.table(rows)
    assert (first[0], first[-1], second[4]) == ("30", "–", "–")


def test_frames_of_the_store_are_a_harmonic_crystal() -> None:
    samples = list(frame_store.copies(3))
    assert [sample.n_atoms for sample in samples] == [2, 2, 2]
    for sample in samples:
        np.testing.assert_allclose(sample.labels["forces"].sum(axis=0), 0, atol=1e-12)
        squares = np.sum((sample.labels["forces"] / 5.0) ** 2)
        assert sample.labels["energy"] == pytest.approx(-10.8 + 2.5 * squares)
