"""`--strategy prompt` and `matgraft prompts`, as a user types them."""

from __future__ import annotations

import json
from html import escape
from itertools import product

import pandas as pd
import pytest

from matgraft.core.verdict import EXIT_WORSE

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Fe", "Zn", "Al"], {"O": 2.0, "S": 1.0, "F": 4.0}
QUICK = ["prompt.epochs=1", "prompt.fewest_steps=1", "inner_folds=2"]


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Small tables: to fork takes longer than the work."""
    for room in ("learners.inputs", "predictor.inner", "predictor.predictor", "predictor.together"):
        monkeypatch.setattr(f"matgraft.formulas.{room}.cores", lambda: 1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Gaps, and for every second formula a kind; one class of a material is stated."""
    rows = []
    for i, (metal, (anion, gap), n) in enumerate(product(METALS, ANIONS.items(), (1, 2))):
        kind = "" if i % 2 == 0 else "wide" if gap > 1 else "narrow"
        rows.append(f"{metal}{n}{anion},{gap},{kind}")
    rows[0] = f"[OXIDE] {rows[0]}"
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    path.write_text("\n".join(["formula,Band gap,kind", *rows]))
    return path


def test_one_run_answers_what_the_prompt_asks(table, matgraft, tmp_path):
    run = tmp_path / "run"
    words = ["--target", "Band gap", "--target", "kind", "--strategy", "prompt", "--out", run, "--json"]
    code, out, err = matgraft("tune", table, *QUICK, *words)
    assert code == EXIT_WORSE, err  # one epoch is worse than descriptors and trees
    said = json.loads(out)
    assert said["prompts"]["tokens"] == {"[BAND_GAP]": "Band gap", "[KIND]": "kind"}
    assert said["prompts"]["bank"] == "shipped"
    assert {row["target"] for row in said["prompts"]["starts"]} == {"Band gap", "kind"}
    assert said["targets"]["kind"]["without_value"] == 24
    assert len(list((run / "prompts").iterdir())) == 2  # a fit an inner fold, for both targets together
    assert not list((run / "predictors").rglob("networks/*"))
    page = (run / "report.html").read_text()
    assert "How alike the prompts are" in page
    assert escape(said["prompts"]["starts"][0]["nearest"]) in page

    code, out, err = matgraft("predict", run, "[OXIDE] Fe2O3 [BAND_GAP]", "[Fe(CN)6]K4", "--json")
    assert code == 0, err
    asked = [(row["formula"], row["target"], row["material_class"]) for row in json.loads(out)]
    assert sorted(asked) == [
        ("Fe2O3", "Band gap", "OXIDE"), ("[Fe(CN)6]K4", "Band gap", "NITRIDE"), ("[Fe(CN)6]K4", "kind", "NITRIDE"),
    ]  # fmt: skip

    same = [f"{stated}Fe2O3 [BAND_GAP]" for stated in ("", "[OXIDE] ", "[HALIDE] ")]
    _, out, _ = matgraft("predict", run, *same, "--json")
    found, stated, other = (row["value"] for row in json.loads(out))
    assert found == pytest.approx(stated, rel=1e-5)
    assert abs(found - other) > 1e-3

    (tmp_path / "asked.csv").write_text("formula\nFe2O3 [KIND]\nNaCl\nMgO [GAP]\n")
    code, _, err = matgraft("predict", run, tmp_path / "asked.csv")
    assert code == 3, err
    assert "line 4" in err
    assert "[BAND_GAP], [KIND]" in err

    before = (run / "predictions.csv").read_text()
    (run / "metrics.json").unlink()
    next((run / "predictors").glob("kind-*/metrics.json")).unlink()
    next((run / "prompts").iterdir()).unlink()
    code, out, err = matgraft("tune", "--resume", run, "--quiet")
    assert code == EXIT_WORSE, err
    assert out.count(said["prompts"]["starts"][0]["nearest"]) >= 1
    assert (run / "predictions.csv").read_text() == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--strategy", "full"], 3, "--strategy prompt"),
        (["--strategy", "prompt", "network.epochs=3"], 2, "network.epochs is not read"),
        (["--strategy", "feature", "network.epochs=3"], 2, "network.epochs is not read"),
        (["--strategy", "full", "network.stages=[pool]"], 2, "network.stages is not read"),
        (["--strategy", "descriptors", "prompt.epochs=3"], 2, "prompt.epochs is not read"),
        (["--strategy", "prompt", "prompt.bank=nowhere"], 3, "no bank of prompts"),
        (["--strategy", "prompt", "prompt.rates=1"], 2, "prompt.rate"),
    ],
)
def test_mistakes_are_said_before_any_work(table, matgraft, tmp_path, words, code, said):
    found, _, err = matgraft("tune", table, "--target", "Band gap", *words, "--out", tmp_path / "run")
    assert found == code
    assert said in err
    assert not (tmp_path / "run").exists()


def test_a_target_too_small_for_shared_folds_leaves_no_run(table, matgraft, tmp_path):
    rows = pd.read_csv(table, keep_default_na=False)
    rows["rare"] = ["1.5"] + [""] * (len(rows) - 1)
    rows.to_csv(tmp_path / "rare.csv", index=False)
    words = ["--target", "Band gap", "--target", "rare", "--strategy", "prompt", "--out", tmp_path / "run"]
    code, _, err = matgraft("tune", tmp_path / "rare.csv", *words)
    assert code == 3, err
    assert "rows of 'rare' cannot fill" in err
    assert not (tmp_path / "run").exists()


def test_crossval_reads_stated_classes(table, matgraft):
    words = ["--target", "Band gap", "--strategy", "prompt", "--folds", "2", *QUICK, "--json"]
    code, out, err = matgraft("crossval", table, *words)
    assert code == 0, err
    assert json.loads(out)["mean"]["mae"] < 3


def test_a_bank_is_learned_from_a_table_of_properties(matgraft, tmp_path):
    rows = [
        {"property": name, "formula": f"{metal}{n}{anion}", "target": value, "in_matbench_task": 0}
        for metal, (anion, gap), n in product(METALS, ANIONS.items(), (1, 2))
        for name, value in (("gap", gap + 0.01 * n), ("metal", float(gap < 2)), ("size", METALS.index(metal) + 0.1 * n))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "properties.csv", index=False)
    out = tmp_path / "bank"
    words = ["labels=40", "fit.batch=16", "fit.rate=0.01", "--out", out, "--quiet"]
    code, said, err = matgraft("prompts", tmp_path / "properties.csv", *words)
    assert code == 0, err
    card = json.loads((out / "bank.json").read_text())
    assert card["questions"] == ["gap", "metal", "size"]
    assert card["labels"] == 3 * 40
    assert set(card["scores"]) == {"gap", "metal", "size"}  # a chemical system of the table is among those held out
    assert "By prompt" in said
    code, _, err = matgraft("prompts", tmp_path / "properties.csv", *words)
    assert code == 2
    assert "not empty" in err
