"""Write the predictor of a run on a table for scikit-learn, and prove that it says the same without matgraft.

predictor.py  constants.json  members.skops  *.safetensors  README.md

``from predictor import Predictor`` is an estimator that is fitted already. It needs numpy, scipy, scikit-learn, skops
and safetensors. After writing, a process of its own without matgraft predicts rows of the run's table, and what it says
is compared with the run.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import WhiteKernel

from matgraft.core.errors import ExtraError, OptionError, RunError, choose
from matgraft.core.files import to_json, whole, write_text
from matgraft.core.run_folder import new_folder, refuse_full_folder
from matgraft.core.version import __version__
from matgraft.formulas import descriptors, formula, valence
from matgraft.formulas.elements import N_ELEMENTS, element_table
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.encoder_network import Layer
from matgraft.formulas.exports import contents
from matgraft.formulas.exports.contents import (
    Constants,
    ExportedMember,
    FittedClasses,
    FittedClosedForm,
    FittedMembers,
    FittedProcess,
    FittedRegression,
    FittedTrees,
    IntervalConstants,
    ScaleConstants,
)
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners import forest, network, quantiles
from matgraft.formulas.learners.closed_form import ClosedForm, Logistic, Process
from matgraft.formulas.learners.forest import Classifier, Forest
from matgraft.formulas.learners.inputs import Inputs, OnBlocks
from matgraft.formulas.learners.network import FittedNetwork
from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.predict import PropertyModel
from matgraft.formulas.predictor import calibration
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.store import TargetNames, save_network

TARGETS = {"sklearn": "scikit-learn"}
UNABLE = {"onnx": "it has no operator for sums over oxidation states, which descriptors of bonding are"}
"""Tool -> why."""
STANDALONE = Path(__file__).with_name("standalone.py")
"""Copied, never imported here: it needs skops."""
MOST_COMPARED = 300
"""Rows of the table on which the export is compared with the run."""
ALLOWED = 1e-3
"""Of the scatter, or of a probability: sums in another order may lead one tree of hundreds to another leaf."""
_RUN = """
import sys, json
class Absent:
    def find_spec(self, name, *args):
        if name.split(".")[0] in ("matgraft", "torch"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, ".")
from predictor import Predictor
rows = json.load(sys.stdin)
said = Predictor().distribution(rows)
print(json.dumps({name: one.tolist() for name, one in said.items()}))
"""


@dataclass(frozen=True)
class ExportedTable:
    """What was written, and how far what it says is from the run.

    Attributes
    ----------
    rows
        Rows of the table that were compared.
    difference
        Largest difference by what was compared: probabilities, or parts of the scatter of the target.
    """

    folder: Path
    target: str
    rows: int
    difference: dict[str, float]

    @property
    def text(self) -> str:
        """Say it in a few lines."""
        of_what = "" if "probabilities" in self.difference else ", in parts of the scatter of the target"
        named = ", ".join(f"{name} {value:.2g}" for name, value in self.difference.items())
        return (
            f"{self.folder}: predictor of {self.target} for scikit-learn\n"
            f"verified: {self.rows} rows of the table predicted without matgraft\n"
            f"largest differences from the run{of_what}: {named}\n"
            f"use: from predictor import Predictor; Predictor().predict(['Fe2O3'])"
        )

    def facts(self) -> dict[str, object]:
        """Return plain values, as ``--json`` prints them."""
        return {
            "folder": str(self.folder), "to": "sklearn", "target": self.target, "verified": True, "rows": self.rows,
            "difference": self.difference,
        }  # fmt: skip


def export_table(run: Path, to: str, out: Path, target: str | None = None) -> ExportedTable:
    """Write one predictor of a run on a table for another tool.

    Parameters
    ----------
    target
        Where the run has several.

    Raises
    ------
    OptionError
        If the tool or the target is open, or a member cannot be written for it.
    RunError
        If what was written says something else than the run; nothing of it is left.
    """
    if to in UNABLE:
        raise OptionError(f"a run on a table has no export to {to}: {UNABLE[to]}", allowed=TARGETS)
    choose(to, TARGETS, "export target of a run on a table")
    refuse_full_folder(out)
    try:
        import skops  # noqa: F401
    except ImportError:
        raise ExtraError("skops", "sklearn") from None
    model = PropertyModel.open(run)
    if target is None and len(model.targets) > 1:
        found = f"the run has {len(model.targets)} targets, and a folder holds one predictor"
        raise OptionError(found, allowed=model.targets, remedy="name the target that is meant")
    named = target or model.targets[0]
    choose(named, dict.fromkeys(model.targets), "target of the run")
    predictor = model.predictor(named).refitted()  # what is written are scikit-learn's own objects
    _refuse_members(predictor, run)
    with new_folder(out):
        _write(predictor, model.names[named], model.backbone, out)
        exported = ExportedTable(out, named, *_compared(predictor, model.names[named], out))
        write_text(out / "README.md", _README.format(target=named, version=__version__, checked=exported.text))
        return exported


def _refuse_members(predictor: Predictor, run: Path) -> None:
    for member, models in zip(predictor.members, predictor.models, strict=True):
        for model in models:
            inside = model.model if isinstance(model, OnBlocks) else model
            if type(inside) not in (Forest, ClosedForm, FittedNetwork):
                raise OptionError(
                    f"member {member.name!r} of the run cannot be written for scikit-learn",
                    where=str(run),
                    remedy="tune with strategy descriptors, feature or full, whose members can",
                )


def _write(predictor: Predictor, names: TargetNames, backbone: CompositionBackbone, out: Path) -> None:
    import skops.io

    fitted: FittedMembers = {"trees": {}, "closed_forms": {}}
    members: list[ExportedMember] = []
    for member, models in zip(predictor.members, predictor.models, strict=True):
        files: list[str] = []
        for k, model in enumerate(models):
            if isinstance(model, FittedNetwork):
                files.append(f"network-{len(members)}-{k}.safetensors")
                save_network(
                    {n: one for n, one in model.arrays().items() if not n.startswith("curves")}, out / files[-1]
                )
            elif isinstance(model, OnBlocks) and isinstance(model.model, Forest):
                fitted["trees"][member.name] = _trees(model.model, predictor.labels.n_classes)
            elif isinstance(model, OnBlocks) and isinstance(model.model, ClosedForm):
                fitted["closed_forms"][member.name] = _closed_form(model.model, predictor.labels.n_classes)
        members.append({"name": member.name, "kind": member.kind, "blocks": list(member.blocks), "files": files})
    content = skops.io.dumps(fitted)
    trusted = skops.io.get_untrusted_types(data=content)
    with whole(out / "members.skops") as part:
        part.write_bytes(content)
    encoders = []
    for k, encoder in enumerate(backbone.encoders):
        encoders.append(f"encoder-{k}.safetensors")
        save_network({name: one.numpy() for name, one in encoder.state_dict().items()}, out / encoders[-1])
    inputs, held = predictor.inputs, predictor.held_intervals
    arrays = {"points": predictor.neighbourhood.points}
    arrays |= {f"held_{name}": one for name, one in vars(held).items()} if held else {}
    save_network(arrays, out / "training.safetensors")
    beside = inputs.blocks["covariates"] + 0.0
    known = [f"{one.key} {row.tolist()}" for one, row in zip(inputs.formulas, beside, strict=True)]
    found = predictor.calibration
    heads = next(one.heads for one in backbone.module.layers if isinstance(one, Layer))
    constants: Constants = {
        "symbols": chemical_symbols[: N_ELEMENTS + 1], "element_table": element_table().tolist(),
        "elements": {name: _listed(one) for name, one in vars(valence.elements()).items()},
        "classes": list(names.classes), "code": {name: list(words) for name, words in names.code.items()},
        "members": members, "trusted": trusted, "encoders": encoders, "heads": heads,
        "unit": predictor.neighbourhood.unit, "training": known if held else [], "ordinal": found.ordinal,
        "calibration": {
            "weights": found.weights.tolist(), "temperatures": found.temperatures.tolist(),
            "priors": found.priors.tolist(), "transform": _scale(found.transform),
            "interval": _interval(found.interval), "deviation": _interval(found.deviation),
        },
    }  # fmt: skip
    write_text(out / "constants.json", to_json(constants))
    write_text(out / "predictor.py", predictor_text())


def _scale(one: Transform) -> ScaleConstants:
    return {"scale": one.scale, "centre": one.centre, "width": one.width, "positive": one.positive}


def _interval(rule: IntervalRule | None) -> IntervalConstants | None:
    return None if rule is None else {"part": rule.part, "margin": rule.margin}


def _listed(value: Any) -> list[Any]:
    return [one.tolist() for one in value] if isinstance(value, tuple) else value.tolist()


def _trees(model: Forest, n_classes: int) -> FittedTrees:
    """Return the scikit-learn objects of a member, without classes of ours."""
    return {
        "n_classes": n_classes, "weighted": model.weighted, "values": model.values, "median": model.median,
        "zero": _classifier(model.zero), "classes": _classifier(model.classes) if n_classes else None,
    }  # fmt: skip


def _classifier(model: Classifier | None) -> FittedClasses | None:
    return None if model is None else {"models": model.models, "weighted": model.weighted}


def _closed_form(model: ClosedForm, n_classes: int) -> FittedClosedForm:
    body, zero = model.body, model.zero
    return {
        "n_classes": n_classes, "process": _process(body) if isinstance(body, Process) else None,
        "zero": None if zero is None else _regression(zero),
        "classes": _regression(body) if isinstance(body, Logistic) else None,
    }  # fmt: skip


def _regression(model: Logistic) -> FittedRegression:
    return {"scaler": model.scaler, "model": model.model}


def _process(model: Process) -> FittedProcess:
    process = model.process
    # Once fitted, weights of the training rows are in its factor; that of a new measurement is plain noise.
    process.kernel_ = process.kernel_.k1 + WhiteKernel(process.kernel_.k2.noise_level)
    process.kernel = process.kernel_
    return {"scaler": model.scaler, "process": process, "centre": model.centre, "width": model.width}


def predictor_text() -> str:
    """Return predictor.py: our own functions, copied, and what stands around them."""
    source = STANDALONE.read_text(encoding="utf-8")
    imports = [
        str(ast.get_source_segment(source, node))
        for node in ast.parse(source).body[2:]
        if isinstance(node, ast.Import | ast.ImportFrom) and "matgraft" not in (getattr(node, "module", "") or "")
    ]
    own = {"element_table", "Formula", "padded", "elements"}
    parts = [
        _DOC,
        "\n".join(["from math import lcm", "from typing import TypedDict", *imports]),
        f"N_ELEMENTS = {N_ELEMENTS}\nDIGITS = {formula.DIGITS}\nLEARNED = np.array({quantiles.LEVELS.tolist()})",
        _code(inspect.getsource(formula), only={"_whole", "padded"}),
        _code(inspect.getsource(valence), without=own),
        _code(inspect.getsource(descriptors), without=own),
        _code(inspect.getsource(forest), only={"LEVELS", "with_zeros", "leaf_weights", "_at", "_at_weighted"}),
        _code(inspect.getsource(network), only={"between"}),
        _code(inspect.getsource(calibration), only={"LEAST", "pooled", "central", "_read", "apply_temperature"}),
        _code(inspect.getsource(contents)),
        _code(source),
    ]
    return "\n\n\n".join(parts) + "\n"


def _code(source: str, only: Collection[str] = (), without: Collection[str] = ()) -> str:
    """Return the text of a module behind its docstring and imports: of some names alone, or without some."""
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body[1:]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.If):
            continue
        if isinstance(node, ast.Expr) and only:
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        name = getattr(node, "name", None) or getattr(target, "id", "")
        if (only and name not in only) or name in without:
            continue
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
        found.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n\n".join(found)


def _compared(predictor: Predictor, names: TargetNames, out: Path) -> tuple[int, dict[str, float]]:
    """Predict rows of the table by the run, and without matgraft; raises where they differ."""
    inputs = predictor.inputs
    chosen = np.random.default_rng(0).permutation(len(inputs))[:MOST_COMPARED]
    part = inputs.take(np.sort(chosen))
    ours = predictor.predict_inputs(part)
    rows = [[_mapping(one), *cells] for one, cells in zip(part.formulas, _cells(part, names), strict=True)]
    asked = to_json(rows if names.code else [row[0] for row in rows])
    done = subprocess.run(
        [sys.executable, "-c", _RUN], input=asked, capture_output=True, text=True, cwd=out, timeout=600, check=False
    )
    for left in out.glob("__pycache__/*"):
        left.unlink()
    (out / "__pycache__").rmdir() if (out / "__pycache__").is_dir() else None
    if done.returncode:
        raise RunError(f"what was written does not run: {done.stderr.strip().splitlines()[-1]}", where=str(out))
    said = {name: np.array(one) for name, one in json.loads(done.stdout).items()}
    found = _differences(ours, said, predictor)
    worst = max(found, key=lambda name: found[name])
    if not found[worst] <= ALLOWED:
        raise RunError(
            f"what was written says something else than the run: {worst} differs by {found[worst]:.3g}",
            where=str(out),
            remedy="write to us with the run; its own folder predicts as before",
        )
    return len(part), found


def _differences(ours: Prediction, said: dict[str, NDArray[np.float64]], predictor: Predictor) -> dict[str, float]:
    """Return the largest differences: of probabilities, or of values and bounds in parts of the target's scatter.

    Values are compared on the scale on which they were learned: there a bound of 1e9 counts as one of 1 does.
    """
    if ours.probabilities is not None:
        return {"probabilities": float(np.max(np.abs(ours.probabilities - said["probabilities"])))}
    learned, scatter = predictor.calibration.transform, max(float(predictor.labels.y.std()), 1e-12)
    tiny = np.finfo(float).tiny if learned.scale == "log" else -np.inf

    def apart(name: str) -> float:
        one, other = (learned.forward(np.maximum(x, tiny)) for x in (getattr(ours, name), said[name]))
        return float(np.max(np.abs(one - other))) / scatter

    return {name: apart(name) for name in ("value", "lower", "upper")}


def _mapping(one: Formula) -> dict[str, float]:
    return dict(zip(one.symbols, one.fractions, strict=True))


def _cells(inputs: Inputs, names: TargetNames) -> list[list[object]]:
    """Return covariates as they stand in a table: numbers, or the words of which ones stand there."""
    rows: list[list[object]] = [[] for _ in range(len(inputs))]
    at = 0
    for words in names.code.values():
        width = len(words) or 1
        block = inputs.blocks["covariates"][:, at : at + width]
        at += width
        for row, numbers in zip(rows, block, strict=True):
            row.append(words[int(numbers.argmax())] if words else float(numbers[0]))
    return rows


_DOC = '''"""A predictor tuned by matgraft, for scikit-learn: needs numpy, scipy, scikit-learn, skops and safetensors.

    from predictor import Predictor
    model = Predictor()                                     # fitted already
    model.predict(["Fe2O3", {"Li": 1, "Co": 1, "O": 2}])    # values, or classes
    model.predict_interval(["Fe2O3"]), model.unlike(["Fe2O3"])

It opens no pickle: members.skops is read by skops, which makes types of scikit-learn and NumPy alone.
"""

from __future__ import annotations'''
_README = """\
# {target}

Written by matgraft {version} for scikit-learn. The folder holds what was learned from the training table, and the
compositions of its rows: if these are confidential, so is the folder.

    from predictor import Predictor
    Predictor().predict(["Fe2O3"])

{checked}

Formulas are read as elements with amounts, brackets, decimals and raised dots; what `matgraft predict` reads beside
these (charges, LaTeX, alloys in per cent of weight) is refused. A mapping of elements to amounts is always read.
"""
