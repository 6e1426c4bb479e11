"""A pretraining run: tables in, encoder out, resumable.

settings.json  checkpoints/  history.csv  model/ (safetensors, config.json, card.json)
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd

from matgraft.backbones.base import ModelCard
from matgraft.backbones.composition import CompositionBackbone
from matgraft.backbones.registry import save_folder
from matgraft.errors import OptionError
from matgraft.pretrain.objectives import PretrainModule, PretrainObjective, named_parameters
from matgraft.pretrain.settings import PretrainSettings
from matgraft.pretrain.tables import Tables, read_tables
from matgraft.transfer.fit import FitResult, fit
from matgraft.transfer.strategy import ParamGroup


def pretrain(
    corpus: Path | None,
    properties: Path | None,
    settings: PretrainSettings,
    out: Path,
    resume: bool = False,
    quiet: bool = False,
) -> CompositionBackbone:
    """Pretrain an encoder and write it to ``out/model``; returns it with its card.

    Raises
    ------
    OptionError
        If the folder holds another run, or the objectives ask for tables that are not given.
    """
    _refuse(settings, properties, out, resume)
    out.mkdir(parents=True, exist_ok=True)
    (out / "settings.json").write_text(settings.model_dump_json(indent=2), encoding="utf-8")
    tables = read_tables(corpus, properties, exclude=settings.exclude, validation=settings.validation)
    sizes = settings.encoder.model_dump()
    backbone = CompositionBackbone.scratch(settings.seed, property_names=tables.names, **sizes)
    module = PretrainModule.seeded(backbone.module, settings.seed)
    objective = PretrainObjective(module, tables, settings.weights, settings.views)
    learning = ParamGroup("all", dict(named_parameters(module)))
    result = fit(
        objective,
        module,
        [learning],
        settings.fit,
        folder=out / "checkpoints",
        seed=settings.seed,
        resume=resume,
        title="pretraining",
        quiet=quiet,
    )
    return finish(backbone, tables, settings, result, _files(corpus, properties), out)


def finish(
    backbone: CompositionBackbone,
    tables: Tables,
    settings: PretrainSettings,
    result: FitResult,
    files: dict[str, str],
    out: Path,
) -> CompositionBackbone:
    """Write the model, its card and the curves."""
    backbone.module.eval()
    pd.DataFrame(result.history).to_csv(out / "history.csv", index=False)
    best = min(result.history, key=lambda row: row["validation_loss"])
    facts: dict[str, Any] = {
        "name": "composition",
        "weights_from": "matgraft pretrain",
        "recipe": settings.model_dump(mode="json"),
        "data_sha256": files,
        "metrics": {
            "formulas": len(tables.numbers),
            "labels": int((tables.targets == tables.targets).sum()),
            "held_out_formulas": int(tables.held_out.sum()),
            "minutes": result.seconds / 60,
            "steps": result.steps,
            "epochs": result.epochs,
            "processes": result.processes,
            "best": best,
        },
    }

    def described(card: ModelCard) -> ModelCard:
        return card.model_copy(update=facts)

    save_folder(backbone, out / "model", described)
    return backbone


def _refuse(settings: PretrainSettings, properties: Path | None, out: Path, resume: bool) -> None:
    if out.exists() and any(out.iterdir()) and not resume:
        raise OptionError(f"the run folder {out} is not empty", remedy=f"another --out, or --resume {out}")
    if resume and (out / "settings.json").is_file():
        before = json.loads((out / "settings.json").read_text(encoding="utf-8"))
        if before != settings.model_dump(mode="json"):
            raise OptionError(
                "the run was begun with other settings", where=str(out), remedy="resume it as it was begun"
            )
    if not any(settings.weights.model_dump().values()):
        raise OptionError("every objective has weight 0: there is nothing to learn")
    if settings.weights.properties and properties is None:
        raise OptionError(
            "weights.properties needs --properties", remedy="weights.properties=0 learns from formulas alone"
        )


def _files(*paths: Path | None) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path is not None}
