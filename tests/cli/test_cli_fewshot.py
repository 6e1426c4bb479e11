"""`matgraft fewshot` and `matgraft episodes`, as a user types them."""

from __future__ import annotations

import json

import pandas as pd
import pytest


@pytest.fixture
def files(tmp_path):
    """Metals and insulators, energies of some of them, and what is asked."""
    (tmp_path / "kinds.csv").write_text(
        "formula,kind\nCu,metal\nNi3Al,metal\nTiB2,metal\nFeAl,metal\nNaCl,insulator\nMgO,insulator\nCaF2,insulator\n"
        "Al2O3,insulator\nLiF,\n"
    )
    (tmp_path / "energies.csv").write_text(
        "formula,note,energy\nNaCl,a,-2.1\nMgO,b,-3.0\nCaF2,c,-4.1\nAl2O3,d,-3.4\nNi3Al,e,-0.4\nFeAl,f,-0.3\nLiF,g,-3.1\n"
    )
    (tmp_path / "asked.csv").write_text("material\nKCl\nNiAl\nSrO\n")
    return tmp_path


def test_classes_are_named_with_probabilities_and_what_to_expect(files, matgraft):
    words = ["fewshot", files / "kinds.csv", files / "asked.csv", "--report", files / "page.html"]
    code, out, err = matgraft(*words, "-o", files / "out.csv")
    assert code == 0, err
    assert "examples: insulator (4), metal (4)" in out and "distance: mahalanobis" in out
    assert "left-out examples were named rightly" in out
    assert "On 240 tasks of 2 classes with 5 examples each" in out
    written = pd.read_csv(files / "out.csv")
    assert list(written.columns) == ["formula", "value", "distance", "p_insulator", "p_metal", "none_of_these"]
    assert written["value"].tolist() == ["insulator", "metal", "insulator"]
    assert not written["none_of_these"].any()
    assert (files / "page.html").read_text().startswith("<!doctype html>")
    code, out, err = matgraft(*words[:3], "--json", "--distance", "cosine", "--metric", "none")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["metric"], facts["distance"], facts["without_value"]) == ("none", "cosine", 1)
    assert facts["expectation"]["counted"] == 8
    assert facts["threshold_from"] == "left-out examples"
    assert len(facts["map"]) == 8 + 3 + 2
    assert "left-out examples were named rightly" in facts["promise"]
    assert "untaught-probabilities" in [one["code"] for one in facts["cautions"]]
    assert facts["predictions"][0].keys() >= {"formula", "value", "p_insulator", "p_metal", "none_of_these"}
    assert facts["map"][0].keys() == {"kind", "name", "class", "x", "y"}
    assert (facts["examples"], facts["repeated"]) == (8, 0)


def test_rows_that_repeat_a_formula_are_one_example_and_that_is_said(files, matgraft):
    with (files / "kinds.csv").open("a") as table:
        table.write("Cu2,metal\nAlNi3,metal\nCu,metal\n")
    _, out, _ = matgraft("fewshot", files / "kinds.csv", files / "asked.csv", "--metric", "none")
    assert "insulator (4), metal (4)" in out
    assert "rows left out, since an earlier row has their formula: 3" in out


def test_one_shot_says_what_it_cannot_say(files, matgraft):
    (files / "one.csv").write_text("formula,kind\nCu,metal\nNaCl,insulator\n")
    code, out, err = matgraft("fewshot", files / "one.csv", files / "asked.csv")
    assert code == 0, err
    assert "nothing can be left out" in out
    assert "a class of one formula cannot be left out: insulator, metal" in out


def test_values_are_predicted_by_the_closed_form(files, matgraft):
    words = ["fewshot", files / "energies.csv", files / "asked.csv", "--target", "energy", "--quiet"]
    code, out, err = matgraft(*words, "-o", files / "out.csv", "--report", files / "page.html")
    assert code == 0, err
    assert "than the mean of the labels" in out
    written = pd.read_csv(files / "out.csv").set_index("formula")
    assert written.loc["SrO", "value"] < written.loc["NiAl", "value"]
    assert (written["lower"] < written["upper"]).all()
    code, out, err = matgraft(*words[:-1], "--distance", "cosine")
    assert code == 2
    assert "--distance is not read" in err


@pytest.mark.parametrize(
    ("support", "words", "code", "said"),
    [
        ("formula,kind\nCu,metal\nFe2Ox,insulator\n", [], 3, "line 3"),
        ("formula,kind\nCu,metal\nNi,metal\n", [], 3, "one class only"),
        ("formula,a,b\nCu,metal,1\n", [], 2, "--target a"),
        ("formula,kind\nCu,metal\nNaCl,salt\n", ["--distance", "far"], 2, "euclidean"),
        ("formula,kind\nCu,metal\nNaCl,salt\n", ["--metric", "nowhere"], 3, "holds no metric"),
        ("formula,kind\nCu,metal\nNaCl,salt\n", ["--from", "chgnet"], 2, "structures"),
        ("formula,kind\n" + "Cu,metal\n" * 250 + "NaCl,salt\n", [], 3, "matgraft tune"),
    ],
)
def test_mistakes_are_said(files, matgraft, support, words, code, said):
    (files / "bad.csv").write_text(support)
    found, _, err = matgraft("fewshot", files / "bad.csv", files / "asked.csv", *words)
    assert found == code
    assert said in err


def test_a_table_without_queries_is_an_error(files, matgraft):
    (files / "none.csv").write_text("formula\n")
    code, _, err = matgraft("fewshot", files / "kinds.csv", files / "none.csv")
    assert code == 3
    assert "no formula to predict" in err


def test_episodes_refuses_what_it_cannot_use(files, matgraft):
    code, _, err = matgraft("episodes", files / "kinds.csv", "--out", files / "m", "shots=3")
    assert code == 2
    assert "shots" in err
    code, _, err = matgraft("episodes", files / "kinds.csv", "--out", files / "m")
    assert code == 3
    assert "no column 'property'" in err
