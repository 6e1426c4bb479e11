"""An in-context predictor over the encoder: does a network that was trained on tables beat one that is fitted to this?

    python benchmarks/in_context.py --minutes 40 --kept build/in_context       # train, then score
    python benchmarks/in_context.py --minutes 40 --kept build/in_context --wheels wheels
    python benchmarks/in_context.py --report

A transformer reads rows with labels and answers rows without, in one pass and without a fit (a prior-fitted network:
Müller et al., ICLR 2022; TabPFN: Hollmann et al., ICLR 2023). Its input is a formula's features of the encoder and its
descriptors. It learns from episodes of 10 to 400 rows: a pretraining property, or a random function of descriptors, or
a sum of both, bent by a monotone function and with noise added. It is scored on tables of measured properties, which
give no episode, beside ``--strategy feature``, the closed form on the encoder alone and randomised trees on
descriptors, from the same few rows.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _measured import TABLES, write_tables
from common import DATA, HERE, RESULTS, Results, Row, circumstances, number, prepare, run, show
from measured_tables import read
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.ensemble import ExtraTreesRegressor
from torch import Tensor, nn
from torch.nn import functional

from matgraft.formulas import descriptors
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula, parse_formula
from matgraft.formulas.learners.closed_form import ClosedForm
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.learners.inputs import Labels, Rows
from matgraft.formulas.predictor.fitting import fit_predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.formula_table import FormulaTable

KEPT = HERE.parent / "build" / "in_context"
FORMULAS = DATA.parent / "formulas" / "dft_properties.csv.gz"
TOLD = torch.linspace(0.05, 0.95, 19)
"""Quantiles that the network gives; the tenth is the median."""
METHODS = ("in context", "feature", "closed form on the encoder", "trees on descriptors")
SIZES = (20, 50, 100, 400)
DRAWS = 5
MEASURED = [name for name, one in TABLES.items() if not one.covariates]
Array = NDArray[np.float64]


class InContext(nn.Module):
    """Rows that see the labelled rows and no other.

    Parameters
    ----------
    width_in
        Columns of a row.
    """

    def __init__(self, width_in: int, width: int = 192, layers: int = 6, heads: int = 4) -> None:
        super().__init__()
        self.row, self.label = nn.Linear(width_in, width), nn.Linear(1, width)
        self.unknown = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(TOLD)))

    def forward(self, rows: Tensor, labels: Tensor) -> Tensor:
        """Return quantiles (b, q, 19) of the last q of `rows` (b, n + q, width_in); `labels` (b, n) standardised."""
        known = labels.shape[1]
        told = self.label(labels[..., None])
        asked = self.unknown.expand(len(rows), rows.shape[1] - known, -1)
        x = self.row(rows) + torch.cat([told, asked], 1)
        for block in self.blocks:
            x = block(x, known)
        return self.out(x[:, known:])


class Block(nn.Module):
    """Attention to the labelled rows, then two layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.pair, self.mix = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor, known: int) -> Tensor:
        """Return rows (b, n, width); the first `known` are labelled."""
        normal = self.before(x)
        key, value = self.pair(normal[:, :known]).chunk(2, -1)
        found = functional.scaled_dot_product_attention(*(self._split(one) for one in (self.query(normal), key, value)))
        x = x + self.mix(found.transpose(1, 2).flatten(2))
        return x + self.layers(self.after(x))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


# ------------------------------------------------------------------ inputs


class Inputs:
    """Rows of the network: features and descriptors, each column standardised over the pretraining formulas."""

    def __init__(self, encoder: CompositionBackbone, formulas: list[Formula]) -> None:
        self.encoder = encoder
        raw = self._raw(formulas)
        self.mean, self.width = raw.mean(0), raw.std(0) + 1e-6
        self.rows = self._standard(raw)

    def __call__(self, formulas: list[Formula]) -> Array:
        """Return (n, width) float64."""
        return self._standard(self._raw(formulas))

    def _raw(self, formulas: list[Formula]) -> Array:
        return np.concatenate([self.encoder.embed(formulas), descriptors.magpie(formulas)], 1)

    def _standard(self, raw: Array) -> Array:
        return np.clip((raw - self.mean) / self.width, -6, 6)


class Episodes:
    """Tables made of pretraining properties and of random functions."""

    def __init__(self, inputs: Inputs, labels: dict[str, tuple[Array, Array]], seed: int) -> None:
        self.rows, self.labels = inputs.rows, labels
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int, asked: int = 64) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows (count, n + asked, width), labels (count, n) and the answers (count, asked)."""
        known = int(np.exp(self.rng.uniform(np.log(10), np.log(400))))
        made = [self.one(known, asked) for _ in range(count)]
        rows, y = (torch.from_numpy(np.stack(one)).float() for one in zip(*made, strict=True))
        return rows, y[:, :known], y[:, known:]

    def one(self, known: int, asked: int) -> tuple[Array, Array]:
        """Return rows and labels, standardised by the labels that are known."""
        names = list(self.labels)
        where, y = self.labels[names[self.rng.integers(len(names))]]
        near = self._near(where, known + asked)
        rows, target = self.rows[where[near]], _scaled(y[near])
        kind = self.rng.random()
        if kind < 0.35:
            target = self._invented(rows)
        elif kind < 0.6:
            target = target + self.rng.uniform(0.2, 2) * self._invented(rows)
        target = self._bent(_scaled(target))
        target = target + self.rng.choice([0, 0.05, 0.2, 0.5]) * self.rng.standard_normal(len(target))
        centre, width = target[:known].mean(), target[:known].std() + 1e-6
        return rows, np.clip((target - centre) / width, -8, 8)

    def _near(self, where: Array, count: int) -> Array:
        """Return rows of a property at random: of all, or of those nearest to one of them, as a laboratory has them."""
        some = self.rng.choice(len(where), min(len(where), 6 * count), replace=False)
        if len(some) > count and self.rng.random() < 0.5:
            rows = self.rows[where[some]]
            some = some[np.argsort(((rows - rows[0]) ** 2).sum(1))[: max(count, int(self.rng.uniform(1, 6) * count))]]
        return self.rng.choice(some, count, replace=len(some) < count)

    def _invented(self, rows: Array) -> Array:
        """Return (n,) a random network's or random trees' answer on a few columns."""
        columns = self.rng.choice(rows.shape[1], self.rng.integers(2, 24), replace=False)
        x = rows[:, columns]
        if self.rng.random() < 0.5:
            hidden = np.tanh(x @ self.rng.standard_normal((len(columns), 16)) / np.sqrt(len(columns)) * 2)
            return _scaled(hidden @ self.rng.standard_normal(16) + x @ self.rng.standard_normal(len(columns)) / 2)
        total = np.zeros(len(x))
        for _ in range(12):
            leaf = np.zeros(len(x), int)
            for column in self.rng.integers(len(columns), size=3):
                leaf = 2 * leaf + (x[:, column] > self.rng.choice(x[:, column]))
            total += self.rng.standard_normal(8)[leaf]
        return _scaled(total)

    def _bent(self, y: Array) -> Array:
        """Return a random monotone function of standardised labels."""
        kind, strength = self.rng.integers(4), self.rng.uniform(0.3, 1.2)
        return _scaled((y, np.exp(strength * y), np.sinh(strength * y), np.tanh(strength * y))[kind])


def _scaled(y: Array) -> Array:
    middle = np.median(y)
    return np.clip((y - middle) / (np.std(y) + 1e-6), -8, 8)


def property_labels(forbidden: set[Formula]) -> tuple[list[Formula], dict[str, tuple[Array, Array]]]:
    """Return pretraining formulas, none of which a test table holds, and of each property rows and labels."""
    table = pd.read_csv(FORMULAS, keep_default_na=False)  # NaN is sodium nitride
    table = table[table["in_matbench_task"] == 0]
    table = table[table["property"] != "mp_is_metal"]
    rare = table[table.groupby("property")["formula"].transform("size") < 10_000]["formula"].unique()
    texts = np.random.default_rng(0).permutation(table["formula"].unique())[:60_000]
    texts = np.union1d(rare, texts)
    formulas = {text: parse_formula(text, is_spelled=True) for text in texts}
    read_ones = {text: formula for text, formula in formulas.items() if formula not in forbidden}
    place = {text: i for i, text in enumerate(read_ones)}
    labels = {}
    for name, part in table.groupby("property"):
        part = part[part["formula"].isin(place)]
        if len(part) >= 600:
            labels[str(name)] = part["formula"].map(place).to_numpy(), part["target"].to_numpy(float)
    return list(read_ones.values()), labels


# ------------------------------------------------------- training and scores


def trained(inputs: Inputs, labels: dict[str, tuple[Array, Array]], minutes: float, kept: Path) -> InContext:
    """Return the network after so many minutes; a state that lies in `kept` is taken."""
    torch.manual_seed(0)
    network = InContext(inputs.rows.shape[1])
    file = kept / f"network-{minutes:g}.safetensors"
    if file.is_file():
        network.load_state_dict(load_file(file))
        return network.eval()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-4, weight_decay=0.01)
    episodes, began, step, losses = Episodes(inputs, labels, 1), time.process_time(), 0, []
    while (gone := (time.process_time() - began) / (60 * minutes)) < 1:
        optimizer.param_groups[0]["lr"] = 5e-4 * min(1, (step + 1) / 100) * max(0.02, np.cos(gone * np.pi / 2))
        rows, known, asked = episodes.batch(8)
        error = asked[..., None] - network(rows, known)
        loss = torch.maximum(TOLD * error, (TOLD - 1) * error).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"{60 * minutes * gone:6.0f} s {step:6d} {np.mean(losses[-50:]):.4f}", flush=True)
    kept.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), file)
    return network.eval()


@torch.no_grad()
def by_network(network: InContext, x: Array, y: Array, asked: Array) -> Array:
    """Return medians (q,)."""
    centre, width = y.mean(), y.std() + 1e-9
    rows = torch.from_numpy(np.concatenate([x, asked])).float()[None]
    told = network(rows, torch.from_numpy((y - centre) / width).float()[None].clip(-8, 8))
    return np.asarray(told[0, :, len(TOLD) // 2].double().numpy() * width + centre)


def scores(table: FormulaTable, network: InContext, inputs: Inputs, size: int) -> Row:
    """Return mean absolute errors of the methods from `size` rows, over some draws, with those of each draw."""
    formulas = list(table.formulas)
    plain = np.concatenate([descriptors.magpie(formulas), descriptors.element_fractions(formulas)], 1)
    x = inputs(formulas)
    features, properties = inputs.encoder.embed_with_properties(formulas)
    both = np.concatenate([features, properties], 1).astype(float)
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    groups = np.array(table.grouped("formula"))
    for draw in range(DRAWS):
        rng = np.random.default_rng(100 * size + draw)
        names = rng.permutation(np.unique(groups))
        held = np.isin(groups, names[: max(60, len(names) // 5)])
        train, test = rng.permutation(np.flatnonzero(~held))[:size], np.flatnonzero(held)
        y, truth = table.values[train], table.values[test]
        process = ClosedForm(both[train], Labels(y, np.ones(len(y)), 0), draw)
        trees = ExtraTreesRegressor(300, random_state=draw).fit(plain[train], y)
        answers = {
            "in context": by_network(network, x[train], y, x[test]),
            "feature": of_feature(table, inputs.encoder, train, test, draw),
            "closed form on the encoder": process(both[test])[:, len(LEVELS) // 2],
            "trees on descriptors": trees.predict(plain[test]),
        }
        for name, answer in answers.items():
            found[name].append(float(np.abs(answer - truth).mean()))
    return {"draws": DRAWS, "mae": {name: float(np.mean(each)) for name, each in found.items()}, "by_draw": found}


def of_feature(table: FormulaTable, encoder: CompositionBackbone, train: Rows, test: Rows, seed: int) -> Array:
    """Return (q,) what ``matgraft tune --strategy feature`` predicts."""
    predictor = fit_predictor(table.examples().take(train), encoder, PredictorSettings(strategy="feature", seed=seed))
    return predictor.predict([table.formulas[i] for i in test]).value


def main() -> None:
    """Train the network, score what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40, help="CPU minutes of training")
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--table", choices=MEASURED, action="append")
    parser.add_argument("--kept", type=Path, default=KEPT)
    parser.add_argument("--out", type=Path, default=RESULTS / "in_context.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("table", "labels", "minutes"))
    if not chosen.report:
        prepare()
        files = write_tables(chosen.wheels, chosen.kept)
        tables = {name: read(name, files[name]) for name in chosen.table or MEASURED}
        encoder = load_encoder("composition")
        formulas, labels = property_labels({formula for table in tables.values() for formula in table.formulas})
        inputs = Inputs(encoder, formulas)
        network = trained(inputs, labels, chosen.minutes, chosen.kept)
        for name, table in tables.items():
            for size in (n for n in SIZES if n <= 0.8 * len(table.formulas)):
                key = {"table": name, "labels": size, "minutes": chosen.minutes}
                if results.find(**key) is None:
                    results.put(key | scores(table, network, inputs, size) | circumstances())
    report(results.rows, chosen.report)


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print a line a table and size."""
    header = ("table", "labels", *METHODS)
    lines = [
        [row["table"], str(row["labels"]), *(number(row["mae"][name], 3) for name in header[2:])]
        for row in sorted(rows, key=lambda row: (row["table"], row["labels"]))
    ]
    show("Mean absolute errors from few rows", header, lines, as_markdown=as_markdown)


if __name__ == "__main__":
    run(main)
