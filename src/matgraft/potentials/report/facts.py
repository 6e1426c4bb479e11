"""All that a run folder says, as one plain value: what every form of the report is made from.

>>> said = facts(Path("runs/silicon"))
>>> said["metrics"]["test"]["forces_rmse_eV_per_A"]
0.137

The value holds nothing but dicts, lists, text, finite numbers, booleans and None, so it is `report.json` as it stands.
A file that is absent is None and named in ``absent``; one that cannot be read is None and stands in ``unreadable`` with
the reason: a report of half a run is better than none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from matgraft.core.errors import MatgraftError, RunError
from matgraft.core.version import __version__
from matgraft.potentials.report.parity import parity
from matgraft.potentials.run_files import CHECKS, VERDICT
from matgraft.potentials.scoring.table import read_predictions

Json = Any


def facts(run: Path) -> dict[str, Json]:
    """Gather the files of a run folder.

    Parameters
    ----------
    run
        The folder that `matgraft tune` wrote.

    Returns
    -------
    dict
        ``run`` (the folder's name), ``folder`` (its path, as it was given), ``recipe_text``, ``absent``,
        ``unreadable``, and one entry a file: ``recipe``, ``provenance``, ``audit``, ``coverage``, ``split``,
        ``references``, ``fit``, ``metrics``, ``checks``, ``verdict``, ``card`` as they were written; ``ladder``
        likewise, None where the run climbed none; ``history`` as columns; ``parity`` as
        `matgraft.potentials.report.parity.parity` returns it.

    Raises
    ------
    RunError
        If the folder is not there, or holds no file of a run.
    """
    run = Path(run)
    files = FILES | ({"card": ("model/heads.json", _json)} if (run / "model/heads.json").is_file() else {})
    absent = [name for name, _ in files.values() if not (run / name).is_file()]
    if len(absent) == len(files):
        raise RunError(
            "no file of a run is here" if run.is_dir() else "there is no such folder",
            where=str(run),
            allowed=[name for name, _ in files.values()],
            remedy="give the folder that `matgraft tune` wrote",
        )
    unreadable: dict[str, str] = {}
    read = {key: _read(run, name, reader, unreadable) for key, (name, reader) in (files | SOMETIMES).items()}
    table = read.pop("predictions")
    part = str((read["metrics"] or {}).get("part", ""))
    gathered = {
        "matgraft_version": __version__,
        "run": run.resolve().name,
        "folder": str(run),
        "recipe_text": _read(run, "recipe.yaml", _text, {}) or "",
        **read,
        "parity": None if table is None else _parity(table, part, unreadable),
        "absent": absent,
        "unreadable": unreadable,
    }
    return {key: plain(value) for key, value in gathered.items()}


def plain(value: object) -> Json:
    """Return `value` as strict JSON can hold it: NaN as the text "nan", no control characters."""
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    # An escape sequence in a file name must not reach a terminal; a lone surrogate cannot be written as UTF-8.
    text = str(value).encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def _read(run: Path, name: str, reader: Callable[[Path], Any], unreadable: dict[str, str]) -> Any:
    if not (run / name).is_file():
        return None
    try:
        return reader(run / name)
    except (OSError, ValueError, RecursionError, yaml.YAMLError, MatgraftError) as error:
        unreadable[name] = f"{type(error).__name__}: {error}"
        return None


def _parity(table: pd.DataFrame, part: str, unreadable: dict[str, str]) -> Json:
    try:
        return parity(table, part) or None
    except (ValueError, KeyError, TypeError) as error:
        unreadable["predictions.parquet"] = f"{type(error).__name__}: {error}"
        return None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"holds {type(value).__name__}, not names with values")
    return value


def _json(path: Path) -> dict[str, Any]:
    return _mapping(json.loads(_text(path)))


def _yaml(path: Path) -> dict[str, Any]:
    return _mapping(yaml.safe_load(_text(path)))


def _history(path: Path) -> dict[str, list[float | None]]:
    """Columns of numbers; None where nothing was evaluated. A killed run may leave a torn last line."""
    table = pd.read_csv(path, on_bad_lines="skip").apply(pd.to_numeric, errors="coerce")
    return {str(name): [v if np.isfinite(v) else None for v in table[name].tolist()] for name in table.columns}


FILES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "recipe": ("recipe.yaml", _yaml),
    "provenance": ("provenance.json", _json),
    "audit": ("audit.json", _json),
    "coverage": ("coverage.json", _json),
    "split": ("split.json", _json),
    "references": ("references.json", _json),
    "fit": ("fit.json", _json),
    "history": ("history.csv", _history),
    "predictions": ("predictions.parquet", read_predictions),
    "metrics": ("metrics.json", _json),
    "checks": ("checks.json", lambda path: CHECKS.read(path.parent).model_dump(mode="json")),
    "verdict": ("verdict.json", lambda path: VERDICT.read(path.parent).model_dump(mode="json")),
    "card": ("model/card.json", _json),
}
"""Entry of the facts -> file in the run folder, and how to read it; with several heads, heads.json is the card."""

SOMETIMES: dict[str, tuple[str, Callable[[Path], Any]]] = {"ladder": ("ladder.json", _json)}
"""Files of some strategies alone: nothing is missing where they are not."""
