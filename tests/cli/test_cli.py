"""The command line, from frames to an exported potential, as a user types it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.io import read, write

from matgraft import cli
from matgraft.core.files import write_text
from matgraft.core.manifest import FILE as MANIFEST
from matgraft.core.verdict import Outcome
from matgraft.foundations import load
from matgraft.potentials.models.uncertainty import UNCERTAINTY
from matgraft.potentials.run_files import METRICS, VERDICT

REPOSITORY = Path(__file__).resolve().parents[2]
SIGE = REPOSITORY / "examples" / "data" / "sige"
InProcess = Callable[..., tuple[int, str, str]]
"""The fixture `matgraft` of conftest.py, for what needs no process of its own."""
QUICK = ["fit.epochs=10", "split.validation=0.2", "forgetting.size=14"]


@pytest.fixture(scope="module")
def few_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every third frame of the embedded set, with its level of theory beside it."""
    folder = tmp_path_factory.mktemp("data")
    write(folder / "few.extxyz", read(SIGE / "frames.extxyz", "::3"))
    (folder / "few.yaml").write_text((SIGE / "frames.yaml").read_text())
    return folder / "few.extxyz"


@pytest.fixture(scope="module")
def run(few_frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "feature"
    words = ["--from", "chgnet", "--strategy", "feature", "--test", SIGE / "test.extxyz", "--out", folder, *QUICK]
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setenv("COLUMNS", "160")
        patch.setattr("sys.argv", ["matgraft", *map(str, ["tune", few_frames, *words])])
        try:
            cli.run_command_line()
        except SystemExit as stop:
            assert not stop.code
    assert said.getvalue().rstrip().endswith("report.html")
    return folder


def test_a_run_folder_says_all(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "run.json", "recipe.yaml", "provenance.json", "audit.json", "coverage.json", "split.json", "references.json",
        "history.csv", "fit.json", "checkpoints", "model", "predictions.parquet", "metrics.json", "seen.json",
        "checks.json", "verdict.json", "report.html",
    }  # fmt: skip
    assert not list(run.glob("*.part*"))


def test_tuning_beats_both_baselines_and_loses_nothing_on_validation(run: Path) -> None:
    """Of ten epochs those are kept that lose nothing: the energies of the test may be better later."""
    scores = METRICS.read(run)
    for key in ("forces_rmse_eV_per_A", "stress_rmse_GPa"):
        assert set(scores.test) == set(scores.untuned) == set(scores.shift)
        assert scores.test[key] < min(scores.untuned[key], scores.shift[key])
    assert scores.shift["energy_rmse_meV_per_atom"] < scores.untuned["energy_rmse_meV_per_atom"] / 1000
    assert [one.quantity for one in scores.validation] == ["energy", "forces", "stress"]
    # The fit estimates forces and stresses along random directions.
    assert all(one.after < 1.05 * one.before for one in scores.validation)


def test_forgetting_is_measured(run: Path) -> None:
    (finding,) = json.loads((run / "checks.json").read_text())["findings"]
    assert finding["code"] == "forgetting"
    assert {row["chemistry"] for row in finding["details"]["rows"]} == {"inside", "outside"}
    assert finding["numbers"]["outside_energy_rmse_meV_per_atom"] > 0
    assert "with other elements" in (run / "report.md").read_text()


def test_evaluate_gives_the_runs_own_figures_again(run: Path, matgraft: InProcess) -> None:
    code, out, err = matgraft("evaluate", run, SIGE / "test.extxyz", "--json")
    assert code == 0, err
    again, first = json.loads(out), json.loads((run / "metrics.json").read_text())
    for key, value in first["test"].items():
        assert again["test"][key] == pytest.approx(value, rel=1e-4), key
    assert again["frames"] == {"trained_on": 0, "validated_on": 0, "unseen": first["test"]["n_frames"]}
    assert again["n_groups"] == first["n_groups"] and again["n_groups_with"] == first["n_groups_with"]
    (written,) = (run / "evaluations").glob("test-*.json")
    assert json.loads(written.read_text()) == again


def test_evaluate_tells_the_frames_that_were_trained_on(
    run: Path, few_frames: Path, tmp_path: Path, matgraft: InProcess
) -> None:
    """Figures and verdict are those of the unseen frames; the seen are known in any file, with any labels."""
    split = json.loads((run / "split.json").read_text())
    trained, fresh = read(few_frames, ":"), read(SIGE / "test.extxyz", ":")
    seen = [trained[i] for i in (*split["train"][:3], *split["validation"][:2])]
    for atoms in seen:
        atoms.calc.results["energy"] += 0.5
        atoms.positions = np.round(atoms.positions, 5)
    alone, mixed = (tmp_path / name / "test.extxyz" for name in ("alone", "mixed"))
    for path, frames in ((alone, fresh), (mixed, [*seen[:4], *fresh, seen[4]])):
        path.parent.mkdir()
        write(path, frames)
        (path.parent / "test.yaml").write_text((SIGE / "frames.yaml").read_text())
    before = set((run / "evaluations").glob("*.json"))
    said = {}
    for path in (alone, mixed):
        code, out, err = matgraft("evaluate", run, path, "--json")
        assert code == 0, err
        said[path] = json.loads(out)
    assert said[mixed]["frames"] == {"trained_on": 3, "validated_on": 2, "unseen": len(fresh)}
    assert (said[mixed]["part"], said[alone]["part"]) == ("unseen", "unseen")
    assert said[mixed]["test"] == pytest.approx(said[alone]["test"], rel=1e-4)
    assert said[mixed]["with_seen"]["test"]["n_frames"] == len(fresh) + 5
    assert said[alone]["with_seen"] is None
    assert f"RMSE on {len(fresh)} unseen frames" in said[mixed]["verdict"]["headline"]
    written = set((run / "evaluations").glob("*.json")) - before
    assert {json.loads(path.read_text())["file"] for path in written} >= {str(mixed)}
    assert len(set((run / "evaluations").glob("test-*.json"))) >= 2  # of equal names, in two folders


def test_evaluate_says_that_every_frame_was_seen(run: Path, few_frames: Path, matgraft: InProcess) -> None:
    code, out, err = matgraft("evaluate", run, few_frames)
    assert code == 0, err
    n = len(read(few_frames, ":"))
    words = " ".join(out.replace("│", " ").split())
    assert f"of {n} frames were trained on" in words and "0 are unseen" in words
    assert "not compared" in words and "say nothing about new frames" in words
    assert f"On the seen part: {n} frames" in words


@pytest.mark.filterwarnings("ignore:.*has no manifest")
def test_evaluate_reads_a_run_that_does_not_say_what_it_has_seen(
    run: Path, few_frames: Path, tmp_path: Path, matgraft: InProcess
) -> None:
    older = Path(shutil.copytree(run, tmp_path / "older"))
    (older / "seen.json").unlink()
    for manifest in older.rglob(MANIFEST):
        manifest.unlink()
    begun = json.loads((older / "run.json").read_text())
    (older / "run.json").write_text(json.dumps({**begun, "has_manifest": False}))
    recipe = (older / "recipe.yaml").read_text()
    (older / "recipe.yaml").write_text(f"{recipe}evaluate:\n  resamples: 4000\n  seed: 0\n")
    code, out, err = matgraft("evaluate", older, few_frames, "--json")
    assert code == 0, err
    said = json.loads(out)
    assert (said["frames"], said["part"]) == (None, "given")
    assert "does not say which frames it was trained on" in said["verdict"]["cautions"][0]["text"]


@pytest.mark.parametrize("target", ["native", "ase"])
def test_an_export_opens_without_matgraft(run: Path, tmp_path: Path, target: str, matgraft: InProcess) -> None:
    code, out, err = matgraft("export", run, "--to", target, "-o", tmp_path / "model", "--json")
    assert code == 0, err
    exported = json.loads(out)
    assert exported["verified"] is True and exported["reason"] == ""
    assert exported["difference"]["forces"] < 1e-3
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert set(card["elements"]) == {"Si", "Ge"} == set(card["references_eV"])
    assert card["theory"]["code"] == "Quantum ESPRESSO"
    assert card["recipe"]["strategy"]["name"] == "feature"
    assert card["metrics"]["test"]["n_frames"] > 0
    if target == "ase":
        script = (
            "import sys; from calculator import calculator; from ase.io import read\n"
            f"atoms = read({str(SIGE / 'test.extxyz')!r}); atoms.calc = calculator(); atoms.get_potential_energy()\n"
            "assert 'matgraft' not in sys.modules; print('energy', atoms.get_potential_energy())"
        )
        calculated = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path / "model", capture_output=True, text=True, check=False
        )
        assert calculated.returncode == 0, calculated.stderr
        energy = float(calculated.stdout.split("energy")[-1])
        label = read(SIGE / "test.extxyz").get_potential_energy()
        assert energy == pytest.approx(label, abs=0.5)


def test_report_is_written_again(run: Path, matgraft: InProcess) -> None:
    (run / "report.html").unlink()
    code, _, err = matgraft("report", run)
    assert code == 0, err
    assert (run / "report.html").stat().st_size > 10_000


def test_a_run_is_not_overwritten(run: Path, few_frames: Path, matgraft: InProcess) -> None:
    code, _, err = matgraft("tune", few_frames, "--out", run)
    assert code == 2
    assert "not empty" in err and "--resume" in err


def test_a_model_that_became_worse_has_an_exit_code_of_its_own(run: Path, tmp_path: Path, matgraft: InProcess) -> None:
    """After all that there is to say, also where a finished run only gets its report again."""
    worse = Path(shutil.copytree(run, tmp_path / "worse"))
    said = VERDICT.read(run)
    VERDICT.write(worse, said.model_copy(update={"outcome": Outcome.WORSE}))
    code, out, err = matgraft("tune", "--resume", worse, "--json")
    assert code == json.loads(out)["verdict"]["exit_code"] == 6, err
    assert json.loads(out)["verdict"]["level"] == "worse than the foundation"


def test_a_run_is_checked_beside_its_foundation_and_its_report_says_so(
    run: Path, tmp_path: Path, matgraft: InProcess
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)
    code, out, _ = matgraft("check", own, "--only", "repulsion", "--json")
    facts = json.loads(out)
    assert code == facts["verdict"]["exit_code"]
    assert (facts["foundation"], facts["folder"]) == ("chgnet", str(own / "physics"))
    assert facts["structures"] and all(".extxyz frame " in one["source"] for one in facts["structures"])
    (result,) = facts["results"]
    assert result["own"] != result["foundation"] and (own / "physics" / result["foundation"]).is_file()
    assert {one["code"] for one in facts["verdict"]["cautions"]} >= {one.code for one in VERDICT.read(run).cautions}
    assert "Physical checks" in (own / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_fit_that_shall_end_with_checks_makes_them_when_it_is_gone_on_with(
    run: Path, tmp_path: Path, matgraft: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run, own)
    for name, before, after in (
        ("recipe.yaml", "seed: 0\n", "seed: 0\ncheck: quick\n"),
        ("run.json", '"option check": null', '"option check": "quick"'),
    ):
        text = (own / name).read_text(encoding="utf-8")
        assert before in text
        write_text(own / name, text[::-1].replace(before[::-1], after[::-1], 1)[::-1])
    asked = []
    monkeypatch.setattr("matgraft.potentials.run.conduct.check_run", lambda *given, quiet: asked.append(given))
    code, _, err = matgraft("tune", "--resume", own, "--quiet")
    assert code == 0, err
    assert asked == [(own, "quick")]


def test_a_run_says_how_sure_it_is(run: Path, tmp_path: Path, matgraft: InProcess) -> None:
    card = UNCERTAINTY.read(run / "model")
    assert card.weights_sha256 == load(run).card.weights_sha256
    assert card.elements == ("Si", "Ge")
    squeezed = read(SIGE / "test.extxyz", 0)
    squeezed.set_cell(squeezed.cell * 0.8, scale_atoms=True)
    write(tmp_path / "two.extxyz", [read(SIGE / "frames.extxyz", 0), squeezed])
    code, said, err = matgraft("predict", run, tmp_path / "two.extxyz", "-o", tmp_path / "said.extxyz")
    assert code == 0, err
    assert "Extrapolation" in said
    known, strange = read(tmp_path / "said.extxyz", ":")
    assert known.arrays["extrapolation"].max() < 1 < strange.arrays["extrapolation"].max()
    assert known.arrays["forces_std"].mean() < strange.arrays["forces_std"].mean()
    assert 0 < known.info["energy_std"] < strange.info["energy_std"]
    code, said, err = matgraft("predict", run, tmp_path / "two.extxyz", "-o", tmp_path / "said.parquet", "--json")
    assert code == 0, err
    values = json.loads(said)["structures"][0]["values"][str(run)]
    assert values["extrapolation"] == pytest.approx(known.arrays["extrapolation"].tolist(), abs=1e-6)
    table = pd.read_parquet(tmp_path / "said.parquet")
    assert table["energy_std"][0] == pytest.approx(known.info["energy_std"])
    assert "energy_std_label" not in table
    code, said, err = matgraft("predict", "chgnet", tmp_path / "two.extxyz")
    assert "Extrapolation" not in said


def test_resume_takes_no_other_settings(run: Path, matgraft: InProcess) -> None:
    code, _, err = matgraft("tune", "--resume", run, "--strategy", "full")
    assert code == 2
    assert "is not read" in err


@pytest.mark.parametrize(
    "strategy",
    [["lora", "strategy.rank=2"], pytest.param(["gradual", "strategy.decay=0.5"], marks=pytest.mark.slow)],
)
def test_a_killed_run_resumes_to_the_same_weights(
    few_frames: Path, tmp_path: Path, strategy: list[str], matgraft: InProcess
) -> None:
    """kill -9 in the middle of the fit, then --resume: every weight equals that of the unbroken run."""
    write(tmp_path / "fewer.extxyz", read(few_frames, "::3"))
    words = ["tune", str(tmp_path / "fewer.extxyz"), "--strategy", *strategy, "--quiet", *QUICK]
    words += ["fit.epochs=4", "fit.processes=1", "forgetting.size=8"]
    code, _, err = matgraft(*words, "--out", tmp_path / "whole")  # which needs no checkpoint on its way
    assert code == 0, err
    killed = subprocess.Popen(
        [sys.executable, "-m", "matgraft", *words, "fit.checkpoint_minutes=0.01", "--out", str(tmp_path / "killed")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(tmp_path / "killed" / "checkpoints" / "last.pt", killed)
    killed.kill()  # SIGKILL
    killed.wait()
    assert not (tmp_path / "killed" / "model").exists()
    code, _, err = matgraft("tune", "--resume", tmp_path / "killed", "--quiet")
    assert code == 0, err
    whole, again = (_weights(tmp_path / name) for name in ("whole", "killed"))
    for name, tensor in whole.items():
        np.testing.assert_array_equal(again[name], tensor, err_msg=name)
    sure, sure_again = (UNCERTAINTY.read(tmp_path / name / "model") for name in ("whole", "killed"))
    assert sure_again == sure


def _wait_for(file: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(3000):
        if file.exists():
            return
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.1)
    raise AssertionError(f"{file} was never written")


def _weights(run: Path) -> dict[str, np.ndarray]:
    import torch

    content = torch.load(run / "model" / "chgnet.pth.tar", weights_only=True)
    return {name: tensor.numpy() for name, tensor in content["model"]["state_dict"].items()}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tune", "absent.extxyz"], 3, "absent.extxyz"),
        (["tune", "few.extxyz", "--strategy", "ful"], 2, "did you mean 'full'"),
        (["tune", "few.extxyz", "--from", "chgnett"], 2, "did you mean 'chgnet'"),
        (["tune", "few.extxyz", "fit.rat=1"], 2, "did you mean 'rate'"),
        (["tune", "few.extxyz", "fit.rate=-1"], 2, "greater than 0"),
        (["tune", "few.extxyz", "keys.energy=nothing"], 2, "matches no key"),
        (["tune", "few.extxyz", "split.by=trajektory"], 2, "did you mean 'trajectory'"),
        (["tune", "few.extxyz", "--strategy", "partial", "strategy.stages=[nostage]"], 2, "matches no stage"),
        (["tune", "few.extxyz", "--strategy", "lora", "strategy.stages=[readout_norm]"], 2, "linear layer"),
        (["tune", "few.extxyz", "--strategy", "full", "strategy.rank=4"], 2, "allowed: lora"),
        (["tune", "few.extxyz", "--strategy", "feature", "replay.size=9"], 2, "allowed: full, partial"),
        (["tune", "few.extxyz", "audit.allow=[nonsense]"], 2, "nonsense"),
        (["evaluate", ".", "few.extxyz"], 3, "neither a finished run nor a model folder"),
        (
            ["evaluate", "runs/absent", "few.extxyz"],
            3,
            "there is no such folder\nremedy: name the folder of",
        ),
        (["export", "."], 2, "matgraft export: --to is missing\nallowed: native, ase, lammps"),
        (["check"], 2, "matgraft check: MODEL is missing\nallowed: a run, a foundation"),
        (["export", ".", "--to", "lamps", "-o", "x"], 2, "did you mean 'lammps'"),
    ],
)
def test_bad_input_says_what_to_do(
    few_frames: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    """In this process: what is refused before any work needs no fresh one."""
    (tmp_path / "few.extxyz").write_text(few_frames.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.argv", ["matgraft", *words, "--quiet" if words[0] == "tune" else "--json"])
    with pytest.raises(SystemExit) as stop:
        cli.run_command_line()
    assert stop.value.code == code
    assert said in capsys.readouterr().err


def test_the_audit_blocks_with_exit_code_one(few_frames: Path, tmp_path: Path, matgraft: InProcess) -> None:
    frames = read(few_frames, "::3")
    for atoms in frames:
        atoms.calc.results["forces"] = -atoms.calc.results["forces"]
    write(tmp_path / "wrong.extxyz", frames)
    code, out, err = matgraft("audit", tmp_path / "wrong.extxyz", "--from", "chgnet", "--json")
    assert code == 1, err
    failed = {one["code"]: one for one in json.loads(out)["findings"] if one["outcome"] == "failed"}
    assert "units.forces=-eV/Å" in failed["force-unit"]["option"]
    code, _, err = matgraft("tune", tmp_path / "wrong.extxyz", "--out", tmp_path / "run")
    assert code == 1
    assert "force-unit" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("verb", "flag"), [("tune", "--mask-prob"), ("evaluate", "--lr"), ("crossval", "--swa")])
def test_no_setting_is_named_that_the_verb_does_not_read(
    verb: str, flag: str, matgraft: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = matgraft(verb, "frames.extxyz", flag, "3")
    assert code == 2 and "No such option" in err and "key=value" not in err


def test_backbones_are_listed(matgraft: InProcess) -> None:
    _, out, _ = matgraft("backbones", "--json")
    assert json.loads(out)["chgnet"]["installed"] is True


@pytest.mark.parametrize(
    ("flag", "key"),
    [("--lr", "fit.rate=... or network.rate=..."), ("--batch-size", "fit.batch="), ("--epochs", "fit.epochs=")],
)
def test_an_option_of_another_program_is_told_as_a_setting(
    flag: str, key: str, matgraft: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = matgraft("tune", "frames.extxyz", flag, "3")
    assert code == 2
    assert f"has no option {flag.lstrip('-')!r}" in err and f"settings are typed as key=value, here {key}" in err
    code, _, err = matgraft("tune", "frames.extxyz", "--nonsense-of-mine", "3")
    assert code == 2 and "No such option" in err
