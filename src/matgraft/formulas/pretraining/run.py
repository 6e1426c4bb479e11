"""A pretraining run: tables in, encoders out, resumable.

run.json  pretraining.json (files, settings)  checkpoints/0 1 ...  history.csv  map.csv (formulas in two dimensions)
model/ (safetensors, config.json, card.json, labels.npz)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from ase.data import chemical_symbols

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.files import write_text
from matgraft.core.frozen import Frozen
from matgraft.core.locks import works_in
from matgraft.core.model import ModelCard
from matgraft.core.provenance import file_hash
from matgraft.core.registry import save_folder
from matgraft.core.run_folder import Begun, RunFile, open_run, refuse_full_folder
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.objective import FitResult
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.pretraining.labels import labels_seen
from matgraft.formulas.pretraining.objectives import PretrainModule, PretrainObjective, named_parameters
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.formulas.pretraining.tables import Tables, read_tables


class PretrainingRun(Frozen):
    """What a run was begun with: two files may have one name, so each has its role."""

    corpus: Path | None
    properties: Path | None
    settings: PretrainSettings


class PretrainingFigures(Frozen):
    """What came of a pretraining, as the encoder's card holds it.

    Attributes
    ----------
    formulas, labels, held_out_formulas
        How many there were.
    minutes
        Of all encoders together, on so many `processes`.
    steps, epochs
        Of each encoder.
    best
        Of each encoder, the row of its curves with the lowest validation loss.
    """

    formulas: int
    labels: int
    held_out_formulas: int
    minutes: float
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    processes: int
    best: tuple[dict[str, int | float], ...]

    @classmethod
    def of(cls, card: ModelCard) -> Self:
        """Return what the card of a pretrained encoder says."""
        return cls.model_validate(card.metrics)

    @property
    def losses(self) -> list[float]:
        """The lowest validation loss of each encoder."""
        return [row["validation_loss"] for row in self.best]


RUN = RunFile("pretraining.json", PretrainingRun)
HISTORY, MAP = "history.csv", "map.csv"
MOST_ON_MAP = 3000
"""Formulas that are drawn for the map."""


@works_in("out", new=True)
def pretrain(
    corpus: Path | None, properties: Path | None, settings: PretrainSettings, out: Path, *, quiet: bool = False
) -> CompositionBackbone:
    """Pretrain encoders and write them to ``out/model``; return them as one backbone with its card.

    Raises
    ------
    OptionError
        If the folder is not empty, or the objectives ask for tables that are not given.
    """
    _refuse(settings, properties, out)
    run = PretrainingRun(
        corpus=corpus and corpus.resolve(), properties=properties and properties.resolve(), settings=settings
    )
    return _conduct(run, out, resume=False, quiet=quiet)


@works_in("out")
def resume_pretraining(out: Path, *, quiet: bool = False) -> CompositionBackbone:
    """Go on with a run that was stopped, to the same weights that an unbroken one would have.

    Raises
    ------
    RunError
        If the folder holds no such run, or its tables are no longer those that it began with.
    """
    if not (out / RUN.name).is_file():
        raise RunError(f"this is not a pretraining: {RUN.name} is missing", where=str(out))
    run = RUN.read(out)
    if gone := [str(path) for path in (run.corpus, run.properties) if path is not None and not path.is_file()]:
        raise RunError(f"{' and '.join(gone)}: this file no longer exists", where=str(out / RUN.name))
    return _conduct(run, out, resume=True, quiet=quiet)


def _conduct(run: PretrainingRun, out: Path, *, resume: bool, quiet: bool) -> CompositionBackbone:
    settings, files = run.settings, _hashes(run.corpus, run.properties)
    options = settings.model_dump(mode="json")
    with open_run(out, Begun(kind="pretraining", decides={**files, "settings": options}), resume=resume):
        RUN.write(out, run)
        tables = read_tables(run.corpus, run.properties, exclude=settings.exclude, validation=settings.validation)
        _refuse_one_part(tables, run)
        results, encoders = [], []
        for i in range(settings.encoders):
            backbone = CompositionBackbone.scratch(
                settings.seed + i, property_names=tables.names, **settings.encoder.model_dump()
            )
            results.append(_train(backbone, tables, settings, i, out, resume, quiet))
            encoders.append(backbone.module)
        first, *siblings = encoders
        backbone = CompositionBackbone(first, backbone.card, siblings, labels_seen(run.properties, settings))
        return finish(backbone, tables, settings, results, files, out)


def _refuse_one_part(tables: Tables, run: PretrainingRun) -> None:
    """Raise a DataError unless there are formulas to train on and others to validate on."""
    held_out, n = int(tables.held_out.sum()), len(tables.held_out)
    if not 0 < held_out < n:
        raise DataError(
            f"{held_out} of {n} formulas are held out: both training and validation need some",
            where=str(run.corpus or run.properties),
            remedy="give formulas of more chemical systems, or hold another part of them out by the option validation",
        )


def _train(
    backbone: CompositionBackbone,
    tables: Tables,
    settings: PretrainSettings,
    i: int,
    out: Path,
    resume: bool,
    quiet: bool,
) -> FitResult:
    module = PretrainModule.seeded(backbone.module, settings.seed + i)
    return fit(
        PretrainObjective(module, tables, settings.weights, settings.views, settings.mask_fraction),
        module,
        [ParamGroup("all", dict(named_parameters(module)), weight_decay=settings.weight_decay)],
        settings.fit,
        Execution(
            folder=out / "checkpoints" / str(i),
            seed=settings.seed + i,
            resume=resume,
            title=f"pretraining {i + 1} of {settings.encoders}",
            quiet=quiet,
        ),
    )


def finish(
    backbone: CompositionBackbone,
    tables: Tables,
    settings: PretrainSettings,
    results: Sequence[FitResult],
    files: dict[str, str],
    out: Path,
) -> CompositionBackbone:
    """Write the model with its card and its list of labels, and the curves."""
    for encoder in backbone.encoders:
        encoder.eval()
    history = [{"encoder": i} | row for i, result in enumerate(results) for row in result.history]
    write_text(out / HISTORY, pd.DataFrame(history).to_csv(index=False))
    write_text(out / MAP, embedding_map(backbone, tables).to_csv(index=False))
    figures = PretrainingFigures(
        formulas=len(tables.numbers),
        labels=int((tables.targets == tables.targets).sum()),
        held_out_formulas=int(tables.held_out.sum()),
        minutes=sum(result.seconds for result in results) / 60,
        steps=tuple(result.steps for result in results),
        epochs=tuple(result.epochs for result in results),
        processes=results[0].processes,
        best=tuple(min(result.history, key=lambda row: row["validation_loss"]) for result in results),
    )
    present = np.unique(tables.numbers[~tables.held_out])
    said = {
        "name": "composition",
        "elements": tuple(chemical_symbols[Z] for Z in present if Z),
        "weights_from": "matgraft pretrain",
        "recipe": settings.model_dump(mode="json"),
        "data_sha256": files,
        "metrics": figures.model_dump(mode="json"),
    }
    save_folder(backbone, out / "model", lambda card: card.model_copy(update=said))
    return backbone


def embedding_map(backbone: CompositionBackbone, tables: Tables) -> pd.DataFrame:
    """Return formulas at the first two principal components of their features: formula, held_out, x, y."""
    rows = np.sort(np.random.default_rng(0).permutation(len(tables.numbers))[:MOST_ON_MAP])
    formulas = [tables.formula(int(row)) for row in rows]
    vectors = backbone.embed(formulas)
    centred = vectors - vectors.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    places = centred @ axes[:2].T
    texts = [formula.reduced for formula in formulas]
    return pd.DataFrame({"formula": texts, "held_out": tables.held_out[rows], "x": places[:, 0], "y": places[:, 1]})


def _refuse(settings: PretrainSettings, properties: Path | None, out: Path) -> None:
    refuse_full_folder(out)
    if not any(settings.weights.model_dump().values()):
        raise OptionError("every objective has weight 0: there is nothing to learn")
    if settings.weights.properties and properties is None:
        raise OptionError(
            "weights.properties needs --properties",
            remedy="give a table of properties, or learn from formulas alone",
            options=[{"weights.properties": 0}],
        )


def _hashes(corpus: Path | None, properties: Path | None) -> dict[str, str]:
    files = {"corpus": corpus, "properties": properties}
    return {role: file_hash(path) for role, path in files.items() if path is not None}
