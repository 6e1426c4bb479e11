"""A predictor in a folder for scikit-learn: it runs without matgraft and says what the run says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import numpy as np
import pytest

from matgraft.core.errors import OptionError, RunError
from matgraft.formulas.exports import export_table, folder
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.learners import forest
from matgraft.formulas.learners.inputs import Examples
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.predictor import members
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.store import TargetNames
from matgraft.formulas.registry import load_encoder

TEXTS = [
    *("Fe2O3", "NaCl", "MgO", "SiO2", "TiO2", "ZnO", "GaAs", "InP", "CdTe", "AlN", "CaO", "LiF", "KBr", "Cu2O", "NiO"),
    *("CoO", "SnO2", "ZrO2", "Y2O3", "CeO2", "BaTiO3", "PbTe", "CdS", "La0.7Sr0.3MnO3", "MoS2", "Bi2Te3"),
    *("Fe70Cr20Ni10", "CuSO4", "Ca10(PO4)6(OH)2", "U"),
]
FORMULAS = [parse_formula(text) for text in TEXTS]
N = len(FORMULAS)
RANDOM = np.random.default_rng(3)
Y = RANDOM.normal(5, 2, N)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(forest, "COUNT", 12)
    monkeypatch.setattr(members, "FEWEST_BOOSTED", 20)


def written(tmp_path, strategy, y=Y, names=None, **more):
    network = {"network": NetworkSettings(epochs=1, fewest_steps=3)} if strategy == "full" else {}
    settings = PredictorSettings(strategy=strategy, inner_folds=2, **network)
    examples = Examples(FORMULAS, y, **more)
    backbone = load_encoder("composition")
    predictor = fit_predictor(examples, backbone, settings)
    out = tmp_path / "out"
    out.mkdir()
    names = names or TargetNames(target="gap")
    folder._refuse_members(predictor, tmp_path)
    folder._write(predictor, names, backbone, out)
    return predictor, names, out


CASES = {
    "weighted trees with covariates": (
        "descriptors",
        {
            "weights": RANDOM.uniform(0.5, 2, N),
            "covariates": np.column_stack([np.arange(N) % 2, np.arange(N) % 2 < 1, Y]),
        },
        TargetNames(target="gap", code={"phase": ("b", "a"), "T": ()}),
    ),
    "closed forms of many zeros": ("feature", {"y": np.where(np.arange(N) % 3 == 0, 0.0, np.abs(Y) + 0.1)}, None),
    "networks of classes": (
        "full",
        {"y": (np.arange(N) % 2).astype(float), "n_classes": 2},
        TargetNames(target="metal", classes=("no", "yes")),
    ),
    "boosted trees": ("descriptors", {"y": np.abs(Y) * (np.arange(N) % 4 > 0)}, None),
    "trees of classes": (
        "descriptors",
        {"y": (np.arange(N) % 3).astype(float), "n_classes": 3},
        TargetNames(target="class", classes=("a", "b", "c")),
    ),
    "networks of values over decades": ("full", {"y": np.exp(3 * (Y - 5))}, None),
}


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name.startswith("closed") else pytest.mark.slow) for name in CASES]
)
def test_what_is_written_says_what_the_run_says(tmp_path, case):
    strategy, more, names = CASES[case]
    predictor, names, out = written(tmp_path, strategy, names=names, **more)
    n, difference = folder._compared(predictor, names, out)
    assert n == N and max(difference.values()) < 1e-4
    assert set(difference) == ({"probabilities"} if names.classes else {"value", "lower", "upper"})
    assert not list(out.glob("__pycache__"))


@pytest.mark.slow
def test_what_is_broken_is_no_export(tmp_path):
    predictor, names, out = written(tmp_path, "descriptors")
    constants = json.loads((out / "constants.json").read_text())
    constants["calibration"]["interval"]["margin"] += 5.0
    (out / "constants.json").write_text(json.dumps(constants))
    with pytest.raises(RunError, match=r"says something else than the run: (lower|upper) differs by"):
        folder._compared(predictor, names, out)
    (out / "members.skops").unlink()
    with pytest.raises(RunError, match="does not run"):
        folder._compared(predictor, names, out)


@pytest.mark.slow
def test_the_estimator_reads_formulas_and_says_what_it_does_not_read(tmp_path):
    _, _, out = written(tmp_path, "descriptors")
    script = """
import sys; sys.path.insert(0, ".")
class Absent:  # libraries that find torch import it
    def find_spec(self, name, *args):
        if name.split(".")[0] == "torch":
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
from predictor import Predictor
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
model = clone(Predictor())
a = model.predict(["Ca(OH)2", {"Ca": 1, "O": 2, "H": 2}, "CuSO4·5H2O", "Cu S O4 (H2O)5"])
assert abs(a[0] - a[1]) < 1e-9 and abs(a[2] - a[3]) < 1e-9
low, high = model.predict_interval(["NaCl"])
assert low[0] <= make_pipeline(model).predict(["NaCl"])[0] <= high[0]
for bad in ("Fe2Ox", "Xx2", "Fe(O", "", "Fe2+"):
    try:
        model.predict([bad])
    except ValueError as error:
        assert repr(bad) in str(error)
    else:
        raise AssertionError(bad)
assert "matgraft" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=out, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_text_of_the_predictor_imports_nothing_of_ours():
    found = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(folder.predictor_text()))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom)
            else [one.name for one in node.names] if isinstance(node, ast.Import) else []
        )
    }  # fmt: skip
    assert not found & {"matgraft", "torch", "pymatgen", "pydantic", "ase"}


def test_onnx_and_a_full_folder_are_refused(tmp_path):
    with pytest.raises(OptionError, match="no export to onnx"):
        export_table(tmp_path, "onnx", tmp_path / "new")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(OptionError, match="not empty"):
        export_table(tmp_path, "sklearn", tmp_path / "full")
