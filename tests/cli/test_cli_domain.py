"""`matgraft tune --adapt-to`, as a user types it, with a small encoder in the place of the shipped one."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from matgraft import cli
from matgraft.core.registry import save_folder
from matgraft.formulas.encoder import CompositionBackbone

METALS, ANIONS = ["Li", "Na", "K", "Mg", "Ca", "Sr", "Fe", "Ni", "Zn", "Al"], {"O": 2.0, "S": 1.0, "F": 4.0, "Cl": 3.0}
QUICK = ["network.epochs=1", "network.fewest_steps=3", "network.batch=20", "inner_folds=2", "domain.rows=50"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder, a source of 60 rows, the target of 20 with and without its labels."""
    folder = tmp_path_factory.mktemp("domain")
    small = CompositionBackbone.scratch(1, width=16, layers=1, heads=2, features=16, property_names=("a", "b"))
    save_folder(small, folder / "encoder", lambda card: card)
    rows = [(f"{m}{n}{x}", value + 0.1 * n) for m in METALS for x, value in ANIONS.items() for n in (1, 2)]
    table = pd.DataFrame(rows, columns=["formula", "gap"]).sample(80, random_state=0)
    table[:60].to_csv(folder / "source.csv", index=False)
    table[60:].to_csv(folder / "labelled.csv", index=False)
    table[60:][["formula"]].to_csv(folder / "target.csv", index=False)
    return folder


def words(folder, *more):
    return [
        "tune",
        folder / "source.csv",
        "--target",
        "gap",
        "--from",
        folder / "encoder",
        "--strategy",
        "domain",
        *more,
    ]


@pytest.fixture(scope="module")
def run(folder):
    """A finished run toward the target with its labels."""
    with pytest.MonkeyPatch.context() as patch:
        given = words(folder, "--adapt-to", folder / "labelled.csv", *QUICK, "--out", folder / "run", "--quiet")
        patch.setattr("sys.argv", ["matgraft", *map(str, given)])
        cli.run_command_line()  # anything but 0 is an exit
    return folder / "run"


def test_the_run_says_what_was_compared_and_chosen(run):
    assert {"target_predictions.csv", "domains.csv"} <= {path.name for path in run.iterdir()}
    part = json.loads((run / "metrics.json").read_text())["targets"]["gap"]
    assert [row["method"] for row in part["domain"]["compared"]] == ["source", "reversal", "coral", "mmd", "weights"]
    assert [finding["code"] for finding in part["domain"]["findings"]] == ["domain-overlap", "domain-harm"]
    assert "source-only" in part["verdict"]["level"]
    assert part["domain"]["target"]["n_labelled"] == 20
    assert set(part["domain"]["target"]["errors"]) == {row["method"] for row in part["domain"]["compared"]}
    predicted = pd.read_csv(run / "target_predictions.csv")
    assert part["domain"]["target"]["scores"]["mae"] == pytest.approx((predicted.value - predicted.truth).abs().mean())


def test_the_map_has_both_domains_before_and_after(run):
    spots = pd.read_csv(run / "domains.csv")
    assert spots.domain.value_counts().to_dict() == {"source": 60, "target": 20}
    assert spots[spots.domain == "source"].weight.mean() == pytest.approx(1)
    assert not np.allclose(spots.x_before, spots.x_after)
    page = (run / "report.html").read_text()
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.S).group(1))
    assert {"domains-before-0", "domains-after-0", "proxies-0", "weights-0"} <= set(figures)
    for name in ("domains-before-0", "domains-after-0"):
        assert f'id="plot-{name}"' in page
        assert [len(trace["text"]) for trace in figures[name]["data"]] == [60, 20]
    ranges = [figures[f"domains-{when}-0"]["layout"]["xaxis"]["range"] for when in ("before", "after")]
    assert ranges[0] == ranges[1]
    assert "used for scoring alone" in page


def test_labels_of_the_target_touch_nothing(run, folder, matgraft):
    given = words(folder, "--adapt-to", folder / "target.csv", *QUICK, "--out", folder / "bare", "--json")
    code, out, err = matgraft(*given)
    assert code == 0, err
    said = json.loads(out)["targets"]["gap"]
    known = json.loads((run / "metrics.json").read_text())["targets"]["gap"]
    assert said["verdict"] == known["verdict"] | {"cautions": said["verdict"]["cautions"]}
    assert said["domain"]["target"] == {"unlike": known["domain"]["target"]["unlike"], "n_labelled": 0}
    assert said["domain"]["compared"] == known["domain"]["compared"]
    with_labels, bare = (pd.read_csv(path / "target_predictions.csv") for path in (run, folder / "bare"))
    pd.testing.assert_frame_equal(with_labels.drop(columns="truth"), bare)
    assert (folder / "bare" / "report.html").is_file()


def test_a_run_broken_off_goes_on_to_the_same_and_predicts(run, folder, matgraft):
    before = {name: (run / name).read_text() for name in ("predictions.csv", "target_predictions.csv", "domains.csv")}
    for name in before:
        (run / name).unlink()
    code, _, err = matgraft("tune", "--resume", run, "--quiet")
    assert code == 0, err
    assert {name: (run / name).read_text() for name in before} == before
    code, out, err = matgraft("predict", run, folder / "target.csv", "--json")
    assert code == 0, err
    values = [row["value"] for row in json.loads(out)]
    assert values == pytest.approx(pd.read_csv(run / "target_predictions.csv").value.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ([], 2, "needs a table of the target"),
        (["--adapt-to", "target.csv", "--strategy", "feature"], 2, "is not read with strategy 'feature'"),
        (["--adapt-to", "nowhere.csv"], 3, "no such file"),
        (["--adapt-to", "target.csv", "domain.method=corral"], 2, "domain.method"),
        (["--adapt-to", "target.csv", "domain.method=weights", "domain.strength=2"], 2, "domain.strength is not read"),
    ],
)
def test_mistakes_are_said_before_any_work(folder, matgraft, monkeypatch, more, code, said):
    monkeypatch.chdir(folder)
    found, _, err = matgraft(*words(folder, *more, "--out", folder / "none"))
    assert (found, said in err) == (code, True), err
    assert not (folder / "none").exists()


def test_crossval_knows_no_target(folder, matgraft):
    given = ["crossval", folder / "source.csv", "--target", "gap", "--from", folder / "encoder", "--strategy", "domain"]
    code, _, err = matgraft(*given, "--quiet")
    assert code == 2
    assert "--adapt-to" in err


def test_frames_have_no_target(folder, matgraft):
    code, _, err = matgraft("tune", "frames.extxyz", "--adapt-to", folder / "target.csv")
    assert code == 2
    assert "--adapt-to" in err
