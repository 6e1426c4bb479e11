"""What predictor.py of an exported folder holds beside copies of our own functions: no matgraft, no torch.

The encoder's forward is written over NumPy here (`matgraft.formulas.encoder` is the model of it), and the fitted trees,
processes and regressions are scikit-learn's own. `matgraft.formulas.exports.folder` copies this text, with that of the
descriptors and of the calibration, into the folder, and compares what it says with the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.special import erf
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from matgraft.formulas.descriptors import element_fractions, magpie
from matgraft.formulas.exports.contents import (
    Constants,
    ExportedMember,
    FittedClasses,
    FittedClosedForm,
    FittedMembers,
    FittedRegression,
    FittedTrees,
    IntervalConstants,
)
from matgraft.formulas.formula import DIGITS, _whole
from matgraft.formulas.learners.forest import LEVELS, _at, _at_weighted, leaf_weights, with_zeros
from matgraft.formulas.learners.network import between
from matgraft.formulas.predictor.calibration import apply_temperature, central, pooled
from matgraft.formulas.valence import Array, ElementTable, valence

HERE = Path(__file__).parent
GATHER = 119
"""Number of the token that gathers a formula."""


@dataclass(frozen=True)
class Formula:
    """A composition: atomic numbers, ascending, and their atomic fractions, rounded to 1e-9."""

    numbers: tuple[int, ...]
    fractions: tuple[float, ...]

    @property
    def unit_atoms(self) -> int | None:
        """Atoms of the formula in small whole numbers; None where there are none."""
        amounts = _whole(self.fractions)
        return sum(amounts) if amounts else None

    @property
    def key(self) -> str:
        """What equal formulas share."""
        return f"{self.numbers}{self.fractions}"


@cache
def tables() -> Constants:
    """Return what is known of the elements: constants.json of the folder."""
    found: Constants = json.loads((HERE / "constants.json").read_text(encoding="utf-8"))
    return found


@cache
def element_table() -> NDArray[np.float32]:
    """Return (119, width) properties of the elements."""
    return np.array(tables()["element_table"], np.float32)


@cache
def elements() -> ElementTable:
    """Return what the descriptors of bonding read of the elements."""
    known = tables()["elements"]
    states = {name: tuple(np.array(one, float) for one in known[name]) for name in ("common", "icsd")}
    arrays = {name: np.array(value) for name, value in known.items() if name not in states}
    return ElementTable(**arrays, **states)  # type: ignore[arg-type]


def read_formula(given: str | Mapping[str, float]) -> Formula:
    """Read ``"Li0.5CoO2"``, ``"Ca(OH)2"``, ``"CuSO4·5H2O"`` or ``{"Fe": 2, "O": 3}``; raises a ValueError."""
    symbols = {symbol: Z for Z, symbol in enumerate(tables()["symbols"])}
    amounts = _amounts(given) if isinstance(given, str) else {name: Fraction(str(x)) for name, x in given.items()}
    if strange := [name for name in amounts if name not in symbols]:
        raise ValueError(f"{given!r}: {strange[0]!r} is not an element")
    found = {symbols[name]: amount for name, amount in amounts.items() if amount > 0}
    if not found or min(amounts.values()) < 0:
        raise ValueError(f"{given!r}: there is no element with an amount above 0, or an amount is negative")
    total = sum(found.values(), Fraction(0))
    total = Fraction(1) if abs(total - 1) < Fraction(1, 10**7) else total  # fractions that were rounded
    numbers = tuple(sorted(found))
    return Formula(numbers, tuple(float(round(found[Z] / total, DIGITS)) for Z in numbers))


_TOKEN = re.compile(r"([A-Z][a-z]?)|([(\[{])|([)\]}])|[·•∙⋅*]\s?(\d+\.?\d*)?|\s+")
_NUMBER = re.compile(r"\d++\.?\d*+|\.\d++")


def _amounts(text: str) -> dict[str, Fraction]:
    """Read elements, brackets, decimals and the raised dot of adducts; anything else raises a ValueError."""
    whole: dict[str, Fraction] = {}
    for part in re.split(r"\s?[·•∙⋅*]\s?", text.translate(str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")).strip()):
        factor = _NUMBER.match(part)
        stack: list[dict[str, Fraction]] = [{}]
        at = factor.end() if factor else 0
        while at < len(part):
            token = _TOKEN.match(part, at)
            if token is None or (token[3] and len(stack) == 1):
                hint = "write elements with amounts, or give a mapping such as {'Fe': 2, 'O': 3}"
                raise ValueError(f"{text!r} character {at + 1}: not read here; {hint}")
            at = token.end()
            if token[2]:
                stack.append({})
                continue
            inner = {token[1]: Fraction(1)} if token[1] else stack.pop() if token[3] else {}
            number = _NUMBER.match(part, at) if inner else None
            at = number.end() if number else at
            for name, amount in inner.items():
                stack[-1][name] = stack[-1].get(name, Fraction(0)) + amount * Fraction(number[0] if number else 1)
        if len(stack) > 1:
            raise ValueError(f"{text!r}: a bracket is not closed")
        for name, amount in stack[0].items():
            whole[name] = whole.get(name, Fraction(0)) + amount * Fraction(factor[0] if factor else 1)
    return whole


class Encoder:
    """The composition encoder over NumPy, by the names of its weights.

    Attributes
    ----------
    w
        Weights by name.
    """

    def __init__(self, weights: Mapping[str, Array], heads: int) -> None:
        self.w, self.heads = weights, heads

    def linear(self, name: str, x: Array) -> Array:
        """Return ``x @ weight.T + bias``."""
        return np.asarray(x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"])

    def norm(self, name: str, x: Array) -> Array:
        """Return x with mean 0 and variance 1 a row, scaled."""
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"])

    def features(self, formula: Formula) -> Array:
        """Return (features,) of one formula."""
        numbers = np.array([GATHER, *formula.numbers])
        fractions = np.array(formula.fractions, np.float32)
        x = self.w["elements.learned.weight"][numbers] + self.linear(
            "elements.tabulated", self.w["elements.table"][numbers]
        )
        x[1:] += self._amounts(fractions)
        n, width = x.shape
        layers = {name.split(".")[1] for name in self.w if name.startswith("layers.")}
        for i in sorted(layers, key=int):
            one = f"layers.{i}"
            asked = self.linear(f"{one}.project", self.norm(f"{one}.norm_attention", x))
            query, key, value = asked.reshape(n, 3, self.heads, -1).transpose(1, 2, 0, 3)
            scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            shares /= shares.sum(-1, keepdims=True)
            x = x + self.linear(f"{one}.out", (shares @ value).transpose(1, 0, 2).reshape(n, width))
            x = x + self.linear(
                f"{one}.feed.2", gelu(self.linear(f"{one}.feed.0", self.norm(f"{one}.norm_forward", x)))
            )
        gathered = np.concatenate([x[0], (x[1:] * fractions[:, None]).sum(0)])[None]
        return self.norm("pool.3", gelu(self.linear("pool.1", self.norm("pool.0", gathered))))[0]

    def _amounts(self, fractions: NDArray[Any]) -> Array:
        both = np.stack([fractions, np.log10(np.maximum(fractions, 1e-6)) / 6 + 1], -1)
        angles = (both[..., None] * self.w["amounts.frequencies"]).reshape(len(fractions), -1)
        mixed = np.concatenate([both, np.sin(angles), np.cos(angles)], -1)
        return self.linear("amounts.mix.2", gelu(self.linear("amounts.mix.0", mixed)))

    def properties(self, features: Array) -> Array:
        """Return (n, n_properties) of features (n, width)."""
        return self.linear("head.2", gelu(self.linear("head.0", features)))


def gelu(x: Array) -> Array:
    """Return the exact form of GELU (Hendrycks and Gimpel 2016)."""
    return np.asarray(x * 0.5 * (1 + erf(x / np.sqrt(2))))


def classes_by(fitted: FittedClasses, x: NDArray[Any], n_classes: int) -> Array:
    """Return (n, n_classes): the mean of several classifiers, of weighted trees by the weights of their leaves."""
    out = np.zeros((len(x), n_classes))
    for model in fitted["models"]:
        said = model.predict_proba(x)
        if fitted["weighted"] and hasattr(model, "estimators_"):
            weights = np.stack([leaf_weights(tree, x) for tree in model.estimators_])[..., None]
            answers = np.stack([tree.predict_proba(x, check_input=False) for tree in model.estimators_])
            said = (weights * answers).sum(0) / weights.sum(0)
        out[:, model.classes_] += said / len(fitted["models"])
    return out


def trees_say(fitted: FittedTrees, x: Array) -> Array:
    """Return (n, 99) quantiles, or (n, n_classes) probabilities, of a forest."""
    x32 = np.ascontiguousarray(x, np.float32)
    if fitted["classes"] is not None:
        return classes_by(fitted["classes"], x32, fitted["n_classes"])
    trees = fitted["values"].estimators_
    answers = np.stack([tree.predict(x32, check_input=False) for tree in trees], 1)
    order = np.argsort(answers, axis=1)
    ascending = np.take_along_axis(answers, order, 1)
    weights = np.take_along_axis(np.stack([leaf_weights(tree, x32) for tree in trees], 1), order, 1)

    def alone(levels: Array) -> Array:
        return _at_weighted(ascending, weights, levels) if fitted["weighted"] else _at(ascending, levels)

    change: Any = 0.0
    if fitted["median"] is not None:  # boosted trees move the whole distribution
        change = fitted["median"].predict(x32)[:, None] - alone(np.full((len(x), 1), LEVELS[49]))

    def at(levels: Array) -> Array:
        return np.asarray(alone(levels) + change)

    if fitted["zero"] is None:
        return at(np.broadcast_to(LEVELS, (len(x), len(LEVELS))))
    return with_zeros(classes_by(fitted["zero"], x32, 2)[:, 1], at)


def process_says(fitted: FittedClosedForm, x: Array) -> Array:
    """Return (n, 99) quantiles, or (n, n_classes) probabilities, of a closed form."""
    if fitted["classes"] is not None:
        return regression_says(fitted["classes"], x, fitted["n_classes"])
    body = fitted["process"]
    assert body is not None  # there are no classes
    mean, deviation = body["process"].predict(body["scaler"].transform(x), return_std=True)
    said = body["centre"] + body["width"] * (mean[:, None] + deviation[:, None] * norm.ppf(LEVELS)[None])
    if fitted["zero"] is None:
        return np.asarray(said)
    none = regression_says(fitted["zero"], x, 2)[:, 1]
    return with_zeros(
        none, lambda levels: np.stack([np.interp(a, LEVELS, b) for a, b in zip(levels, said, strict=True)])
    )


def regression_says(fitted: FittedRegression, x: Array, n_classes: int) -> Array:
    """Return (n, n_classes) probabilities of a logistic regression."""
    out = np.zeros((len(x), n_classes))
    out[:, fitted["model"].classes_] = fitted["model"].predict_proba(fitted["scaler"].transform(x))
    return out


def network_says(weights: Mapping[str, Array], heads: int, formulas: Sequence[Formula], beside: Array) -> Array:
    """Return (n, 99) quantiles, or (n, n_classes) probabilities, of a fine-tuned encoder.

    Parameters
    ----------
    beside
        (n, k) descriptors of bonding, and covariates.
    """
    inner = {name.removeprefix("weights.encoder."): one for name, one in weights.items() if ".encoder." in name}
    encoder = Encoder(inner, heads)
    scaled = (beside - weights["scaling.covariate_centres"]) / weights["scaling.covariate_widths"]
    features = np.stack([encoder.features(one) for one in formulas])
    given = np.concatenate([features, encoder.properties(features), scaled.clip(-5.0, 5.0).astype(np.float32)], 1)
    head = Encoder({name.removeprefix("weights."): one for name, one in weights.items()}, heads)
    out = head.linear("head.4", gelu(head.linear("head.2", head.norm("head.0", given)))).astype(float)
    if tables()["classes"]:
        shares = np.exp(out - out.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True))
    learned = np.sort(out, axis=1) * weights["scaling.width"] + weights["scaling.centre"]
    learned = np.where(learned < weights["scaling.zero"], 0.0, learned)
    return between(learned) if learned.shape[1] > 1 else np.repeat(learned, len(LEVELS), axis=1)


class Predictor(BaseEstimator):  # type: ignore[misc]
    """The predictor of the run, as an estimator of scikit-learn that is fitted already.

    X is a sequence of formulas (text, or mappings of elements to amounts), or a table whose first column holds them and
    whose others are the covariates that `covariates_` lists.
    """

    def __sklearn_is_fitted__(self) -> bool:
        """Say that it is fitted."""
        return True

    def fit(self, X: Any, y: Any = None) -> Any:
        """Refuse: the training is behind it, as `Pipeline.predict` asks by this method's being there."""
        raise TypeError("this predictor is fitted already: `matgraft tune` fits another")

    @property
    def covariates_(self) -> dict[str, list[str]]:
        """Covariates by name, in order: the words that each may hold, or none for numbers."""
        return dict(tables()["code"])

    @property
    def classes_(self) -> Array:
        """Names of the classes; empty for values."""
        return np.array(tables()["classes"])

    @property
    def _estimator_type(self) -> str:
        return "classifier" if tables()["classes"] else "regressor"

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return values (n,), or classes; with `return_std` half of the interval that holds 68 % beside values."""
        said = self.distribution(X)
        if tables()["classes"]:
            return self.classes_[said["value"].astype(int)]
        return (said["value"], said["std"]) if return_std else said["value"]

    def predict_proba(self, X: Any) -> Array:
        """Return (n, n_classes) probabilities, in the order of `classes_`."""
        if not tables()["classes"]:
            raise AttributeError("predict_proba is for classes: this predictor gives values")
        return np.asarray(self.distribution(X)["probabilities"])

    def predict_interval(self, X: Any) -> tuple[Array, Array]:
        """Return lower and upper bounds (n,) of the calibrated interval."""
        said = self.distribution(X)
        return said["lower"], said["upper"]

    def unlike(self, X: Any) -> Array:
        """Return (n,) True for formulas unlike the training set, whose intervals are not to be believed."""
        return np.asarray(self.distribution(X)["distance"] > 1)

    def distribution(self, X: Any) -> dict[str, Array]:
        """Return value, lower, upper, std and distance (n,), and of classes the probabilities (n, n_classes)."""
        formulas, covariates = _rows(X)
        blocks = _blocks(formulas, covariates)
        said, shares, weights = [], [], tables()["calibration"]
        for member, weight, t in zip(tables()["members"], weights["weights"], weights["temperatures"], strict=True):
            if not weight:
                continue
            answers = _answers(member, formulas, blocks)
            mean = np.mean(answers, 0)
            said.append(weight * (apply_temperature(mean, t) if tables()["classes"] else mean))
            shares += [(one, weight / len(answers)) for one in answers]
        mixed = np.sum(said, axis=0)
        distance = _distance(blocks["embedding"])
        if tables()["classes"]:
            return _classes_of(mixed, distance)
        spread = pooled(*map(list, zip(*shares, strict=True)))
        return _values_of(mixed, spread, distance, formulas, covariates)


def _rows(X: Any) -> tuple[list[Formula], Array]:
    """Return formulas, and covariates (n, k) as the predictor reads them."""
    code = tables()["code"]
    rows = (
        [list(row) for row in (X.to_numpy() if hasattr(X, "to_numpy") else X)]
        if code or hasattr(X, "columns")
        else [[one] for one in X]
    )
    formulas = [read_formula(row[0]) for row in rows]
    columns: list[list[float]] = []
    for row in rows:
        if len(row) != 1 + len(code):
            raise ValueError(
                f"a row has {len(row)} columns: wanted are the formula and {', '.join(code) or 'no other'}"
            )
        made: list[float] = []
        for cell, (name, words) in zip(row[1:], code.items(), strict=True):
            if words and str(cell) not in words:
                raise ValueError(f"{name}: {cell!r} is none of {', '.join(words)}")
            made += [float(str(cell) == word) for word in words] if words else [float(cell)]
        columns.append(made)
    return formulas, np.array(columns, float).reshape(len(rows), -1)


@cache
def _fitted() -> FittedMembers:
    trusted = [name for name in tables()["trusted"] if name.startswith("sklearn.")]
    found: FittedMembers = skops.io.load(HERE / "members.skops", trusted=trusted)
    return found


@cache
def _weights(name: str) -> dict[str, Array]:
    found: dict[str, Array] = load_file(HERE / name)
    return found


def _blocks(formulas: Sequence[Formula], covariates: Array) -> dict[str, Array]:
    encoders = [Encoder(_weights(name), tables()["heads"]) for name in tables()["encoders"]]
    features = np.stack([encoders[0].features(one) for one in formulas])
    properties = [encoders[0].properties(features)]
    properties += [one.properties(np.stack([one.features(formula) for formula in formulas])) for one in encoders[1:]]
    return {
        "fractions": element_fractions(formulas),  # type: ignore[arg-type]
        "magpie": magpie(formulas),  # type: ignore[arg-type]
        "valence": valence(formulas),  # type: ignore[arg-type]
        "embedding": features.astype(float),
        "properties": np.mean(properties, axis=0).astype(float),
        "covariates": covariates,
    }


def _answers(member: ExportedMember, formulas: Sequence[Formula], blocks: Mapping[str, Array]) -> list[Array]:
    """Return what each fit of a member says."""
    if member["kind"] == "network":
        beside = np.concatenate([blocks["valence"], blocks["covariates"]], 1)
        return [network_says(_weights(name), tables()["heads"], formulas, beside) for name in member["files"]]
    x = np.concatenate([blocks[name] for name in (*member["blocks"], "covariates")], 1)
    if member["kind"] == "closed-form":
        return [process_says(_fitted()["closed_forms"][member["name"]], x)]
    return [trees_say(_fitted()["trees"][member["name"]], x)]


@cache
def _neighbours() -> NearestNeighbors:
    return NearestNeighbors(n_neighbors=1).fit(_weights("training.safetensors")["points"])


def _distance(embedding: Array) -> Array:
    return np.asarray(_neighbours().kneighbors(embedding)[0][:, 0] / tables()["unit"])


def _classes_of(mixed: Array, distance: Array) -> dict[str, Array]:
    if tables()["ordinal"]:
        value = (mixed.cumsum(1) >= 0.5).argmax(1).astype(float)
    else:
        value = (mixed / np.array(tables()["calibration"]["priors"])).argmax(1).astype(float)
    unsure = 1 - mixed[np.arange(len(mixed)), value.astype(int)]
    return {"value": value, "lower": value, "upper": value, "std": unsure, "distance": distance, "probabilities": mixed}


def _values_of(
    mixed: Array, spread: Array, distance: Array, formulas: Sequence[Formula], covariates: Array
) -> dict[str, Array]:
    """Return values with their intervals, of training rows those of fits that did not see them."""
    known = tables()["calibration"]
    interval, deviation = known["interval"], known["deviation"]
    assert interval is not None and deviation is not None  # there are no classes
    value = _back(mixed[:, 49])
    low, high = _back_bounds(*_interval(interval, spread))
    if known["transform"]["positive"]:
        value, low, high = (np.maximum(one, 0.0) for one in (value, low, high))
    low, high = np.minimum(low, value), np.maximum(high, value)
    left, right = (_back(bound) for bound in _interval(deviation, spread))
    std = np.maximum(right - left, 0) / 2
    held = _weights("training.safetensors")
    rows: dict[str, list[int]] = {}
    for k, key in enumerate(tables()["training"]):
        rows.setdefault(key, []).append(k)
    for i, (formula, beside) in enumerate(zip(formulas, covariates, strict=True)):
        same = rows.get(f"{formula.key} {(beside + 0.0).tolist()}")
        if same and "held_lower" in held:
            low[i], high[i] = min(low[i], held["held_lower"][same].min()), max(high[i], held["held_upper"][same].max())
            std[i] = max(std[i], held["held_std"][same].max())
    return {"value": value, "lower": low, "upper": high, "std": std, "distance": distance}


def _interval(rule: IntervalConstants, quantiles: Array) -> tuple[Array, Array]:
    low, high = central(quantiles, rule["part"])
    return low - rule["margin"], high + rule["margin"]


def _back(z: Array) -> Array:
    """Return values in the target's own units."""
    one = tables()["calibration"]["transform"]
    if one["scale"] == "log":
        return np.exp(z)
    return np.asarray(one["centre"] + one["width"] * np.sinh(z)) if one["scale"] == "asinh" else z


def _back_bounds(low: Array, high: Array) -> tuple[Array, Array]:
    """Return bounds in the target's own units, moved outward by what rounding may take."""
    one = tables()["calibration"]["transform"]
    low, high = _back(low), _back(high)
    if one["scale"] == "none":
        return low, high
    slack = [1e-12 * np.clip(np.abs(bound), abs(one["centre"]), np.finfo(float).max) for bound in (low, high)]
    return low - slack[0], high + slack[1]
