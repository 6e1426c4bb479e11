"""Two levels of theory, from the audit's finding by its own option to one verified model a head."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from ase.io import write
from rich.console import Console

from matgraft.core.errors import AuditError, DataError, OptionError
from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Use, Verdict
from matgraft.foundations import load
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.exports import export
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.report.facts import read_facts
from matgraft.potentials.report.screen import run_facts, show_run
from matgraft.potentials.run import audit_file, evaluate_run, resume_run, tune_frames
from matgraft.potentials.run.fitting import refuse_idle_options
from matgraft.potentials.run.frames import read_parts
from matgraft.potentials.run.references import references_for
from matgraft.potentials.run_files import VERDICT
from matgraft.potentials.scoring.heads import judge_heads
from matgraft.potentials.scoring.table import read_predictions
from matgraft.potentials.sources import repeat_command
from matgraft.potentials.tuning.references import HeadShifts

TRAJECTORIES = ("Si NVT 300 K", "Ge NVT 900 K", "Si4Ge4 NVT 300 K", "Si6Ge2 NVT 1500 K")
QUICK = ("fit.epochs=1", "fit.processes=1", "split.validation=0.25", "split.test=0.25")


def written(frames: Dataset, path: Path, slope: float, offset: float, **theory: Any) -> Path:
    """Write frames with the labels of another level of theory, and that level beside them."""
    atoms = []
    for sample in frames:
        one = sample.content.copy()
        one.info = {"trajectory": sample.tags["trajectory"], "config_type": path.stem}
        one.info["energy"] = slope * float(sample.labels["energy"]) + offset * len(one)
        one.arrays["forces"] = slope * sample.labels["forces"]
        atoms.append(one)
    write(path, atoms)
    path.with_suffix(".yaml").write_text(yaml.safe_dump({"code": "VASP", **theory}))
    return path


@pytest.fixture(scope="module")
def chosen(sige: Dataset) -> Dataset:
    """Two frames of four trajectories."""
    found = [i for name in TRAJECTORIES for i in np.flatnonzero([t == name for t in sige.tag("trajectory")])[:8:4]]
    return sige[found]


@pytest.fixture(scope="module")
def files(chosen: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("mixed")
    pbe = written(chosen, folder / "pbe.extxyz", 1.0, 0.0, functional="PBE")
    return [pbe, written(chosen, folder / "scan.extxyz", 1.2, -30.0, metagga="R2SCAN")]


def recipe(files: list[Path], *options: str) -> Any:
    return make_recipe(None, [f"train=[{','.join(map(str, files))}]", *QUICK, *options])


@pytest.fixture(scope="module")
def run(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the option that the audit names, word for word."""
    _, findings = audit_file(recipe(files), quiet=True)
    (mixed,) = [finding for finding in findings if finding.code == "theory-stated"]
    assert mixed.blocks and mixed.option == "strategy.name=multihead heads.by=theory"
    out = tmp_path_factory.mktemp("runs") / "mixed"
    tune_frames(recipe(files, *shlex.split(mixed.option)), out, quiet=True)
    return out


def test_the_same_frames_are_refused_by_one_head(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"theory-stated: 2 levels of theory(.|\n)*strategy.name=multihead"):
        tune_frames(recipe(files), tmp_path / "runs" / "one", quiet=True)
    assert list(tmp_path.iterdir()) == []  # the corrected command may name the same folder


def test_each_head_is_audited_apart(run: Path) -> None:
    findings = json.loads((run / "audit.json").read_text())["findings"]
    said = [one["evidence"] for one in findings if one["code"] == "theory-stated"]
    assert [one.split(":")[0] for one in said] == ["PBE", "r2SCAN"]
    assert not [one["code"] for one in findings if one["outcome"] == "failed" and one["severity"] == "error"]
    notes = json.loads((run / "provenance.json").read_text())["notes"]
    assert "heads by theory: PBE (8 frames; PBE, VASP); r2SCAN (8 frames; R2SCAN, VASP)" in notes


def test_frames_of_one_trajectory_stay_together_and_every_part_has_every_head(run: Path, files: list[Path]) -> None:
    parts = json.loads((run / "split.json").read_text())
    for part in ("train", "validation", "test"):
        assert {i % 8 for i in parts[part] if i < 8} == {i % 8 for i in parts[part] if i >= 8}, part


def test_no_head_is_fallen_back_to(run: Path, files: list[Path], tmp_path: Path) -> None:
    for act in (
        lambda: load(run),
        lambda: load(str(run / "model")),
        lambda: export(run, "native", tmp_path / "out"),
        lambda: evaluate_run(run, files[0], quiet=True),
        lambda: make_and_tune(files, run, tmp_path),
    ):
        with pytest.raises(OptionError, match=f"2 heads and none is chosen\nallowed: {run}.*#PBE, {run}.*#r2SCAN"):
            act()
    assert not (tmp_path / "out").exists()
    with pytest.raises(OptionError, match="did you mean 'r2SCAN'"):
        load(f"{run}#R2SCAN")


def make_and_tune(files: list[Path], foundation: Path, tmp_path: Path) -> None:
    tune_frames(recipe(files, f"foundation={foundation}"), tmp_path / "next", quiet=True)


@pytest.mark.parametrize("head", ["PBE", "r2SCAN"])
def test_a_head_is_a_plain_verified_model(run: Path, files: list[Path], tmp_path: Path, head: str) -> None:
    plain = load(f"{run}#{head}")
    assert isinstance(plain, Potential)
    card = plain.card
    assert (card.head, card.elements) == (head, ("Si", "Ge"))
    assert (card.theory.metagga or card.theory.functional or "").lower() == head.lower()
    shift = json.loads((run / "references.json").read_text())["heads"][head]["shift_eV"]
    for symbol, energy in card.references_eV.items():
        assert energy == pytest.approx(float(load("chgnet").references[{"Si": 13, "Ge": 31}[symbol]]) + shift[symbol])
    # What the run was judged by is what this model says.
    table = read_predictions(run / "predictions.parquet")
    mine = table[(table["model"] == "tuned") & (table["config_type"] == ("pbe" if head == "PBE" else "scan"))]
    frames = read(files[head == "r2SCAN"])
    for _, row in mine.iterrows():
        (again,) = predict_samples(plain, [frames[int(row["index"])]])
        assert float(again["energy"]) == pytest.approx(row["energy"], abs=1e-4)
        np.testing.assert_allclose(again["forces"].ravel(), row["forces"], atol=1e-5)
    assert len(mine) > 0
    export(Path(f"{run}#{head}"), "ase", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "card.json").read_text())["head"] == head
    assert load(tmp_path / "out").card.references_eV == card.references_eV
    with pytest.raises(OptionError, match="has no heads, so that #PBE names none"):
        load(f"{tmp_path / 'out'}#PBE")


def test_errors_stand_by_head_beside_their_own_baselines(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics["heads"]) == ["PBE", "r2SCAN"]
    key = "energy_rmse_meV_per_atom"
    for one in metrics["heads"].values():
        assert one["shift"][key] < 0.1 * one["untuned"][key]  # its own shift, not that of the other
        assert set(one["gain"]) == {"untuned", "shift"}
    assert sum(one["test"]["n_frames"] for one in metrics["heads"].values()) == metrics["test"]["n_frames"]
    said = " ".join(reason.text for reason in VERDICT.read(run).reasons)
    assert "Head PBE: Energy" in said and "Head r2SCAN: Forces" in said


def test_the_report_and_the_screen_have_a_table_by_head(run: Path, tmp_path: Path) -> None:
    page, short = (run / "report.html").read_text(), (run / "report.md").read_text()
    assert "square error by head" in page and "Head r2SCAN</h3>" in page
    assert "square error by head" in short and "model/card.json" not in read_facts(run).absent
    assert f"matgraft evaluate '{run}#PBE' FRAMES" in page.replace("&#39;", "'")
    with (tmp_path / "screen.txt").open("w") as file:
        show_run(Console(file=file, width=160), run_facts(run, run / "report.html"))
    assert f"{run}#r2SCAN" in (tmp_path / "screen.txt").read_text()


def test_evaluate_takes_the_frames_for_the_head_named(run: Path, files: list[Path]) -> None:
    scores = {head: evaluate_run(Path(f"{run}#{head}"), files[1], quiet=True) for head in ("PBE", "r2SCAN")}
    key = "energy_rmse_meV_per_atom"
    assert scores["r2SCAN"].test[key] < 0.1 * scores["PBE"].test[key]  # labels of r2SCAN
    assert all(each.frames and each.frames.total == len(read(files[1])) for each in scores.values())
    names = sorted(file.name for file in (run / "evaluations").iterdir())
    assert [re.sub("-[0-9a-f]{8}.json$", "", name) for name in names] == ["scan-PBE", "scan-r2SCAN"]


def test_a_run_broken_off_before_its_models_are_whole_resumes(run: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    for name in ("model/heads.json", "verdict.json", "report.html"):
        (broken / name).unlink()
    with pytest.raises(DataError, match="neither a finished run"):
        load(f"{broken}#PBE")
    resume_run(broken, quiet=True)
    for head in ("PBE", "r2SCAN"):
        weights = [(path / "model" / head / "chgnet.pth.tar").read_bytes() for path in (run, broken)]
        assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            ["strategy.name=feature", "heads.by=config_type"],
            OptionError,
            "is not read with strategy 'feature'\nallowed: full, partial, gradual, lora, replay, multihead",
        ),
        (["strategy.name=ladder", "heads.by=theory"], OptionError, "is not read with strategy 'ladder'"),
        (["strategy.name=multihead", "heads.by=config_typ"], OptionError, "did you mean 'config_type'"),
        (["strategy.name=multihead", "strategy.rank=3"], OptionError, "strategy.rank is not read"),
        (["strategy.name=multihead", "references.mode=given"], OptionError, "one shift(.|\n)*allowed: refit, keep"),
        (["strategy.name=multihead", "heads.by=trajectory"], AuditError, "theory-stated(.|\n)*2 levels of theory"),
        (
            ["strategy.name=multihead", "heads.by=trajectory", "audit.allow=[theory-stated,duplicates]"],
            DataError,
            "each head needs training and validation",
        ),
        (["strategy.name=multihead", "loss.groups={head=SCAN: 2}"], OptionError, "did you mean 'head=r2SCAN'"),
    ],
)
def test_what_cannot_be_is_refused_before_any_prediction(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], error: Any, message: str
) -> None:
    monkeypatch.setattr("matgraft.potentials.run.frames.predict_samples", lambda *_, **__: pytest.fail("predicted"))
    with pytest.raises(error, match=message):
        tune_frames(recipe(files, *options), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()  # so that the next try needs no other name


def test_one_level_of_theory_needs_the_foundations_own_head(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"one head by theory(.|\n)*option: strategy.name=full (.|\n)*heads.by=trajectory"
    ):
        tune_frames(
            recipe(files[:1], "strategy.name=multihead", "heads.foundation=false"), tmp_path / "run", quiet=True
        )


# --------------------------------------------------- the foundation's own head


@pytest.fixture(scope="module")
def original(chosen: Dataset, chgnet: Potential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames with labels that the foundation might have learned from: near its own, but not these."""
    frames = []
    for sample, known in zip(chosen, predict_samples(chgnet, chosen.samples), strict=True):
        atoms = sample.content.copy()
        atoms.info["REF_energy"] = float(known["energy"]) + 0.03 * len(atoms)
        atoms.arrays["REF_forces"] = 1.2 * known["forces"]
        frames.append(atoms)
    path = tmp_path_factory.mktemp("original") / "mptrj.extxyz"
    write(path, frames)
    return path


@pytest.fixture(scope="module")
def own(files: list[Path], original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames of r2SCAN alone on a foundation of PBE, by the option that the audit names."""
    _, findings = audit_file(recipe(files[1:]), quiet=True)
    (told,) = [finding for finding in findings if finding.code == "theory-foundation"]
    assert told.severity == "warning" and told.option == "strategy.name=multihead"
    assert "by R2SCAN; chgnet:0.3.0 knows PBE" in told.evidence
    out = tmp_path_factory.mktemp("runs") / "own"
    options = [told.option, f"replay.file={original}", "replay.labels=file", "forgetting.size=8"]
    tune_frames(recipe(files[1:], *options), out, quiet=True)
    return out


def test_the_foundation_has_a_plain_model_of_its_own(own: Path, files: list[Path], chgnet: Potential) -> None:
    heads = json.loads((own / "model" / "heads.json").read_text())["heads"]
    assert list(heads) == ["r2SCAN", "foundation"] and heads["foundation"]["n_train"] == 8
    kept, tuned = (load(f"{own}#{head}") for head in ("foundation", "r2SCAN"))
    assert isinstance(kept, Potential) and isinstance(tuned, Potential)
    assert (kept.card.head, kept.card.elements) == ("foundation", chgnet.card.elements)
    assert kept.card.theory == chgnet.card.theory and tuned.card.theory.metagga == "R2SCAN"
    assert torch.equal(kept.references, chgnet.references)
    frame = read(files[0])[0]
    ours, theirs, scan = (
        float(predict_samples(model, [frame])[0]["energy"]) / frame.n_atoms for model in (kept, chgnet, tuned)
    )
    assert abs(ours - theirs) < 0.5 < abs(scan - theirs)  # r2SCAN's labels lie elsewhere by 30 eV/atom and more


def test_the_run_says_what_was_rehearsed_under_which_head(own: Path) -> None:
    said = {name: json.loads((own / f"{name}.json").read_text()) for name in ("fit", "references", "metrics", "audit")}
    rehearsed = said["fit"]["replay"]
    assert (rehearsed["labels"], rehearsed["heads"], rehearsed["n_frames"]) == ("file", ["foundation"], 8)
    assert rehearsed["loss_at_start"] > 10 * 0.03**2 * 0.99  # the weight of energies, times the square of their offset
    assert said["references"]["heads"]["foundation"]["mode"] == "keep"
    assert list(said["metrics"]["heads"]) == ["r2SCAN"]
    (level,) = [one for one in said["audit"]["findings"] if one["code"] == "theory-foundation"]
    assert level["outcome"] == "passed" and level["evidence"].startswith("r2SCAN: All 8 frames by R2SCAN")
    notes = json.loads((own / "provenance.json").read_text())["notes"]
    assert "heads by theory: r2SCAN (8 frames; R2SCAN, VASP); foundation (kept by replay frames)" in notes
    checks = json.loads((own / "checks.json").read_text())["findings"]
    assert [one["title"].split(":")[0] for one in checks] == ["Head r2SCAN", "Head foundation"]
    assert not [use for use in VERDICT.read(own).not_fit_for if "foundation" in use.use]
    page = (own / "report.html").read_text()
    assert "8 frames with their own labels at weight 1 under foundation" in page
    assert f"matgraft evaluate '{own}#foundation' FRAMES" in page.replace("&#39;", "'")


def test_frames_are_evaluated_under_the_foundations_own_head(own: Path, files: list[Path]) -> None:
    found = evaluate_run(Path(f"{own}#foundation"), files[0], quiet=True)
    untuned, shift = found.untuned, found.shift
    assert untuned and shift and untuned == shift  # its references are the foundation's


def test_a_run_with_the_foundations_own_head_resumes(own: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(own, tmp_path / "broken"))
    for name in ("model/heads.json", "verdict.json", "report.html"):
        (broken / name).unlink()
    resume_run(broken, quiet=True)
    weights = [(path / "model" / "foundation" / "chgnet.pth.tar").read_bytes() for path in (own, broken)]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("options", [["strategy.name=replay"], ["strategy.name=lora", "replay.size=8"]])
def test_one_head_of_another_functional_rehearses_nothing_and_the_option_that_is_named_works(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chgnet: Potential, options: list[str]
) -> None:
    monkeypatch.setattr("matgraft.potentials.run.frames.predict_samples", lambda *_, **__: pytest.fail("predicted"))
    with pytest.raises(OptionError, match=r"R2SCAN, chgnet:0\.3\.0 is of PBE(.|\n)*option: heads.foundation=true"):
        tune_frames(recipe(files[1:], *options), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    asked = recipe(files[1:], *options, "heads.foundation=true")
    refuse_idle_options(asked, chgnet, *read_parts(asked))  # raises nothing


def test_a_shift_that_is_given_is_that_of_the_one_head_of_the_frames(files: list[Path], chgnet: Potential) -> None:
    asked = recipe(files[:1], "strategy.name=multihead", "references.mode=given", "references.shift_eV={Si: 1.5}")
    train, test = read_parts(asked)
    refuse_idle_options(asked, chgnet, train, test)
    nothing = [{"energy": np.array(0.0)}] * len(train)
    found = references_for(asked, train, nothing, chgnet)
    assert isinstance(found, HeadShifts)
    assert {name: shift.shift_eV for name, shift in found.heads.items()} == {"PBE": {"Si": 1.5}, "foundation": {}}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["strategy.name=full", "heads.foundation=false"], "heads.foundation=false is not read with strategy 'full'"),
        (["strategy.name=feature", "heads.foundation=true"], "heads.foundation is not read with strategy 'feature'"),
        (["strategy.name=ladder", "heads.foundation=true"], "heads.foundation is not read with strategy 'ladder'"),
    ],
)
def test_the_foundations_head_where_there_is_none(options: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make_recipe(None, ["train=a.xyz", *options]).heads_by  # noqa: B018


def test_the_foundations_head_alone_chooses_the_strategy() -> None:
    chosen, said = make_recipe(None, ["train=a.xyz", "heads.foundation=true"]).named()
    assert (chosen.strategy.name, chosen.heads_by) == ("multihead", "theory") and "multihead" in said


def test_a_test_frame_of_an_unknown_head_is_refused_before_training(
    files: list[Path], chosen: Dataset, tmp_path: Path
) -> None:
    other = written(chosen[:2], tmp_path / "other.extxyz", 1.0, 0.0, hybrid="HSE06")
    with pytest.raises(DataError, match=r"2 frames to score on(.|\n)*HSE06(.|\n)*allowed: PBE, r2SCAN"):
        tune_frames(
            recipe(files, "strategy.name=multihead", "split.test=0.1", f"test={other}"), tmp_path / "run", quiet=True
        )


def test_the_command_that_repeats_a_run_of_several_files(files: list[Path]) -> None:
    assert repeat_command(recipe(files)) == "matgraft tune RUN/recipe.yaml --out NEW"
    assert repeat_command(make_recipe(None, ["train=a b.xyz"])) == "matgraft tune 'a b.xyz' RUN/recipe.yaml --out NEW"


def said_of(outcome: Outcome, **more: Any) -> Verdict:
    return Verdict(outcome=outcome, against="the foundation", headline="Together.", **more)


def test_a_head_without_a_frame_to_judge_it_by_is_named() -> None:
    gained = Reason(about="energy", speaks="for", text="Energy: better.")
    lost = Reason(about="energy", speaks="against", text="Energy: worse.")
    better = said_of(Outcome.BETTER, reasons=(gained,), fit_for=(Use(use="phonons"),))
    worse = said_of(Outcome.WORSE, reasons=(lost,), not_fit_for=(Use(use="all"),))
    alike = judge_heads(better, {"A": better, "B": better}, ["A", "B", "C"])
    assert (alike.outcome, alike.headline, alike.reasons) == (Outcome.BETTER, "Together.", (gained,))
    assert alike.not_fit_for == (Use(use="head C", reason="no frame to judge it by"),)
    mixed = judge_heads(better, {"A": better, "B": worse}, ["A", "B"])
    assert [one.text for one in mixed.speaking("against")] == ["Head B: Energy: worse."]
    assert mixed.not_fit_for == (Use(use="head B: all"),) and mixed.exit_code == 6
    assert judge_heads(better, {}, []) == better  # a model of one head


def test_what_one_head_lost_is_a_reservation_of_the_whole() -> None:
    lost = Caution(code="validation-worsened", damage=Damage.HARM, text="The RMSE rose.")
    remark = Caution(code="small-gain", damage=Damage.NOTE, text="The gain is small.")
    better, reserved = said_of(Outcome.BETTER), said_of(Outcome.RESERVED, cautions=(lost, remark))
    found = judge_heads(better, {"A": better, "B": reserved}, ["A", "B"])
    assert found.outcome is Outcome.RESERVED
    assert [one.text for one in found.cautions] == ["Head B: The RMSE rose."]
    alone = judge_heads(reserved, {"A": reserved}, ["A", "foundation"])
    assert [one.text for one in alone.cautions] == ["The RMSE rose.", "The gain is small."], "said once"


B, N, U, M, W, S, C = (
    *(Outcome.BETTER, Outcome.NO_BETTER, Outcome.UNDECIDED, Outcome.MIXED),
    *(Outcome.WORSE, Outcome.WORSE_FOR_SOME, Outcome.NOT_COMPARED),
)


@pytest.mark.parametrize(
    ("whole", "heads", "outcome", "first"),
    [
        (B, [B, W], S, "head B"),
        (N, [W, N], S, "head A"),
        (M, [W, W, N], S, "heads A, B"),
        (C, [W, U], S, "head A"),
        (N, [W, W], W, "heads A, B"),
        (B, [W, W], W, "heads A, B"),
        (B, [M, M], M, ""),
        (W, [B, W], W, "head B"),
        (W, [N, U], W, ""),
        (B, [B, N], M, ""),
        (B, [B, U], M, ""),
        (U, [U, U], U, ""),
    ],
)
def test_a_head_that_became_worse_is_in_the_outcome_and_in_the_first_sentence(
    whole: Outcome, heads: list[Outcome], outcome: Outcome, first: str
) -> None:
    by_head = {name: said_of(one) for name, one in zip("ABC", heads, strict=False)}
    found = judge_heads(said_of(whole), by_head, list(by_head))
    assert found.outcome is outcome
    if first:
        opening = f"Worse than the foundation for {first}. By head: A {by_head['A'].level}; "
    else:
        opening = "Together." if len({*heads, whole}) == 1 else f"By head: A {by_head['A'].level}; "
    assert found.headline.startswith(opening)
    assert found.headline.endswith("Together." if opening == "Together." else ". All frames together: Together.")


def test_other_strategies_have_heads_where_they_are_asked_for(files: list[Path], tmp_path: Path) -> None:
    """Low-rank updates of one body and of each readout, merged into a plain model a head."""
    out = tmp_path / "run"
    tune_frames(recipe(files, "strategy.name=lora", "strategy.rank=2", "heads.by=theory"), out, quiet=True)
    fit, metrics = (json.loads((out / name).read_text()) for name in ("fit.json", "metrics.json"))
    assert 0 < fit["parameters_trained"] < 0.2 * fit["parameters_total"]
    assert set(metrics["heads"]) == {"PBE", "r2SCAN"}
    ours, theirs = load(f"{out}#PBE"), load(f"{out}#r2SCAN")
    assert any(torch.equal(a, b) for a, b in zip(ours.module.parameters(), theirs.module.parameters(), strict=True))
    frame = read(files[0])[0]
    pbe, scan = (float(predict_samples(model, [frame])[0]["energy"]) / frame.n_atoms for model in (ours, theirs))
    assert scan - pbe < -20  # the labels of the second head lie 30 eV/atom and a fifth of the energy lower


def test_heads_rehearse_what_the_foundation_knew(files: list[Path], tmp_path: Path) -> None:
    """Whatever their references: before the first step the frames rehearsed have no loss under any head."""
    tune_frames(recipe(files, "strategy.name=multihead", "replay.size=8"), tmp_path / "run", quiet=True)
    rehearsed = json.loads((tmp_path / "run" / "fit.json").read_text())["replay"]
    losses = pd.read_csv(tmp_path / "run" / "history.csv")["replay_loss"]
    assert 6 <= rehearsed["n_frames"] <= 8
    assert rehearsed["loss_at_start"] < 1e-4 < losses.max()  # the best may be the start itself
