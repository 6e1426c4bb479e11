"""The command line for formulas, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from matgraft import cli

TABLE = Path(__file__).resolve().parents[2] / "examples" / "data" / "formation" / "formation_energies.csv"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """100 rows with a covariate of words, a class, a fold, a group, a weight and gaps in the values."""
    rows = pd.read_csv(TABLE, keep_default_na=False).sample(100, random_state=1)
    rows["stable"] = np.where(rows.formation_energy.astype(float) < -0.3, "yes", "no")
    rows["fold"] = [i % 3 for i in range(100)]
    rows["paper"] = [f"p{i % 11}" for i in range(100)]
    rows["trust"] = 1.0
    rows.iloc[:4, rows.columns.get_loc("stable")] = ""
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """A finished run with two targets."""
    out = tmp_path_factory.mktemp("runs") / "two"
    with pytest.MonkeyPatch.context() as patch:
        words = ["matgraft", "tune", str(table), "--target", "formation_energy", "--target", "stable", "--from",
                 "composition", "--strategy", "feature", "--out", str(out), "--weight", "trust", "--quiet"]  # fmt: skip
        patch.setattr("sys.argv", words)
        cli.run_command_line()  # anything but 0 is an exit
    return out


def test_a_run_folder_says_all(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {
        "run.json", "settings.json", "model", "predictors", "predictions.csv", "map.csv", "metrics.json",
        "verdict.json", "report.html", "report.json",
    }  # fmt: skip
    assert not list(run.rglob("*.part*"))
    metrics = json.loads((run / "metrics.json").read_text())["targets"]
    assert metrics["formation_energy"]["n"] == 100
    assert metrics["stable"]["n"] == 96
    assert metrics["stable"]["without_value"] == 4
    energies = metrics["formation_energy"]
    assert energies["score"] < energies["baseline"]["score"]  # the pretrained encoder knows formation energies
    assert energies["verdict"]["level"] == "better than descriptors and trees"


def test_predictions_of_formulas_and_of_tables_agree(run, matgraft, tmp_path):
    code, out, _ = matgraft("predict", run, "NaCl", "O3SrTi", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["formula"], row["target"]) for row in rows[:2]] == [
        ("NaCl", rows[0]["target"]),
        ("O3SrTi", rows[0]["target"]),
    ]
    energies = {row["formula"]: row for row in rows if row["target"] == "formation_energy"}
    assert energies["O3SrTi"]["value"] < energies["NaCl"]["value"] < -0.8
    assert energies["NaCl"]["lower"] < energies["NaCl"]["value"] < energies["NaCl"]["upper"]
    classes = {row["formula"]: row for row in rows if row["target"] == "stable"}
    assert classes["NaCl"]["value"] == "yes"
    assert classes["NaCl"]["p_yes"] + classes["NaCl"]["p_no"] == pytest.approx(1)
    (tmp_path / "formulas.csv").write_text("formula\nNaCl\nSrTiO3\n")
    code, out, _ = matgraft("predict", run, tmp_path / "formulas.csv", "-o", tmp_path / "out.csv")
    assert code == 0
    written = pd.read_csv(tmp_path / "out.csv")
    again = written[(written.formula == "SrTiO3") & (written.target == "formation_energy")].iloc[0]
    assert float(again["value"]) == pytest.approx(energies["O3SrTi"]["value"], abs=1e-5)


def test_a_run_broken_off_goes_on_to_the_same(run, matgraft):
    before = (run / "predictions.csv").read_text()
    for name in ("predictions.csv", "metrics.json", "verdict.json", "report.html"):
        (run / name).unlink()
    target = next((run / "predictors").glob("stable-*"))
    (target / "metrics.json").unlink()
    code, _, err = matgraft("tune", "--resume", run, "--quiet")
    assert code == 0, err
    assert (run / "predictions.csv").read_text() == before
    assert (run / "report.html").is_file()


def test_crossval_prints_what_it_promises(table, matgraft):
    words = ["crossval", table, "inner_folds=2", "--strategy", "descriptors", "--target"]
    code, out, err = matgraft(*words, "formation_energy", "--fold-column", "fold", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert [fold["fold"] for fold in said["folds"]] == ["0", "1", "2"]
    assert sum(fold["n_test"] for fold in said["folds"]) == 100
    assert said["mean"]["mae"] == pytest.approx(np.mean([fold["mae"] for fold in said["folds"]]))
    assert said["std"]["rmse"] == pytest.approx(np.std([fold["rmse"] for fold in said["folds"]]))
    assert 0 < said["pretraining"]["with_label"] < said["pretraining"]["n"] == 100
    assert set(said["pretraining"]["scores"]) == {"with_label", "without_label"}
    code, out, _ = matgraft(*words, "stable", "--json", "--folds", "2", "--group", "chemical-system")
    assert code == 0
    said = json.loads(out)
    assert set(said["mean"]) >= {"balanced_accuracy", "roc_auc", "accuracy"}
    assert (said["n"], said["without_value"]) == (96, 4)
    assert 0 <= said["n_unlike"] <= 96
    code, out, _ = matgraft(*words, "stable", "--folds", "2", "--order", "no,yes", "--quiet")
    assert code == 0
    assert "balance" in out  # the column is cut where the screen is narrow
    assert out.count("not tried") == 2  # of the encoder, in both folds
    assert "4 rows without a value were left out" in out
    assert "computed labels in the encoder's pretraining" in " ".join(out.split())


def test_groups_and_covariates_reach_the_folds(table, matgraft, tmp_path):
    words = ["crossval", table, "inner_folds=2", "--strategy", "descriptors"]
    words += ["--target", "formation_energy", "--folds", "3", "--quiet"]
    code, _, err = matgraft(*words, "--group", "paper", "--covariate", "prototype", "-o", tmp_path / "held.csv")
    assert code == 0, err
    folds = pd.read_csv(tmp_path / "held.csv").set_index("line").fold
    papers = pd.read_csv(table, keep_default_na=False).paper
    homes = folds.groupby(papers.loc[folds.index - 2].to_numpy()).nunique()
    assert (homes == 1).all()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--target", "gap"], 2, "no column 'gap'"),
        (["--target", "formation_energy", "--strategy", "best"], 2, "strategy"),
        (["--target", "formation_energy", "--test", "x.csv"], 3, "there is no such file"),
        (["--target", "formation_energy", "--test", str(TABLE.with_name("none.txt"))], 3, "there is no such file"),
        (["--target", "formation_energy", "networks.epochs=3"], 2, "network"),
        (["--target", "prototype", "--order", "a,b"], 3, "none of the classes"),
        (["--target", "formation_energy", "--from", "chgnet"], 2, "structures"),
        ([], 2, "--target"),
    ],
)
def test_mistakes_are_said_before_any_work(table, matgraft, tmp_path, words, code, said):
    found, _, err = matgraft("tune", table, *words, "--out", tmp_path / "run")
    assert found == code
    assert said in err
    assert not (tmp_path / "run").exists()


def test_a_bad_cell_is_named_with_its_line(matgraft, tmp_path):
    (tmp_path / "bad.csv").write_text("formula,gap\nNaCl,5.0\nFe2Ox,1.0\n")
    code, _, err = matgraft("tune", tmp_path / "bad.csv", "--target", "gap", "--out", tmp_path / "run")
    assert code == 3
    assert "line 3" in err
    assert "character" in err


def test_predict_asks_for_what_is_missing(table, matgraft, tmp_path):
    words = ["tune", table, "--target", "formation_energy", "--covariate", "prototype", "--strategy", "descriptors"]
    code, _, err = matgraft(*words, "inner_folds=2", "--out", tmp_path / "run", "--quiet")
    assert code == 0, err
    code, _, err = matgraft("predict", tmp_path / "run", "NaCl")
    assert code == 2
    assert "prototype" in err
    (tmp_path / "more.csv").write_text("formula,prototype\nNaCl,rock salt\n")
    code, out, err = matgraft("predict", tmp_path / "run", tmp_path / "more.csv", "--json")
    assert code == 0, err
    assert len(json.loads(out)) == 1
    table_said = json.loads(out)[0]
    code, out, err = matgraft("predict", tmp_path / "run", "NaCl", "prototype=rock salt", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["value"] == pytest.approx(table_said["value"], rel=1e-5)
    code, _, err = matgraft("predict", tmp_path / "run", "NaCl", "prototyp=rock salt")
    assert code == 2 and "did you mean 'prototype'" in err
    (tmp_path / "odd.csv").write_text("formula,prototype\nNaCl,wurtzite\n")
    code, _, err = matgraft("predict", tmp_path / "run", tmp_path / "odd.csv")
    assert code == 3
    assert "wurtzite" in err


def test_embed_writes_vectors_and_names_neighbours(table, matgraft, tmp_path):
    code, out, err = matgraft("embed", table, "-o", tmp_path / "v.parquet", "--nearest", "NaF", "--count", "3")
    assert code == 0, err
    vectors = pd.read_parquet(tmp_path / "v.parquet")
    assert vectors.shape == (100, 257)
    lines = out.splitlines()[1:]
    assert len(lines) == 3
    distances = [float(line.split()[0]) for line in lines]
    assert distances == sorted(distances)


def test_pretraining_runs_from_the_command_line(matgraft, tmp_path):
    (tmp_path / "corpus.txt").write_text(
        "\n".join(f"{m}{n}{x}" for m in ("Li", "Na", "K", "Ca", "Sr") for x in ("O", "S", "F") for n in (1, 2, 3))
    )
    small = ["encoder.width=16", "encoder.layers=1", "encoder.heads=2", "encoder.features=16", "validation=0.3"]
    words = [
        "pretrain",
        tmp_path / "corpus.txt",
        "weights.properties=0",
        "fit.max_minutes=0.05",
        "fit.processes=1",
        *small,
    ]
    code, out, err = matgraft(*words, "--out", tmp_path / "run", "--quiet")
    assert code == 0, err
    assert "validation loss" in out
    code, again, err = matgraft("pretrain", "--resume", tmp_path / "run", "--quiet")
    assert (code, again) == (0, out), err
    code, _, err = matgraft("pretrain", tmp_path / "corpus.txt", "--resume", tmp_path / "run")
    assert code == 2
    assert "DATA is not read" in err
    code, _, err = matgraft("embed", tmp_path / "corpus.csv", "-o", tmp_path / "v.parquet")
    assert code == 3
    (tmp_path / "f.csv").write_text("formula\nNaF\n")
    code, _, err = matgraft("embed", tmp_path / "f.csv", "-o", tmp_path / "v.parquet", "--from", tmp_path / "run")
    assert code == 0, err
    assert pd.read_parquet(tmp_path / "v.parquet").shape == (1, 17)
