"""A predictor as files, without pickles: its training data, its choices, and the weights of its networks.

    predictor.json  train.npz  networks/<member>-<fold>.safetensors

Trees and closed forms are not stored: they follow from the training data and the seed, and are fitted again when first
asked. So whoever holds the folder holds the training data: a model of confidential alloys is confidential.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from matgraft.backbones.composition import CompositionBackbone
from matgraft.data.formula import Formula
from matgraft.errors import DataError
from matgraft.predictors.calibration import IntervalRule
from matgraft.predictors.inputs import Inputs, Labels
from matgraft.predictors.members import BY_NAME, Member, Tools
from matgraft.predictors.network import Network
from matgraft.predictors.predictor import Calibration, Predictor, PredictorSettings
from matgraft.predictors.transform import Transform

FILE, DATA, NETWORKS = "predictor.json", "train.npz", "networks"


def save_predictor(predictor: Predictor, folder: Path, more: Mapping[str, Any]) -> None:
    """Write a predictor.

    Parameters
    ----------
    more
        Further plain facts for predictor.json, such as the names of classes and columns.
    """
    (folder / NETWORKS).mkdir(parents=True, exist_ok=True)
    for member, weight in zip(predictor.members, predictor.calibration.weights, strict=True):
        for k, network in enumerate(predictor.networks.get(member.name, []) if weight else []):
            arrays = {key: np.ascontiguousarray(value) for key, value in network.arrays().items()}
            save_file(arrays, folder / NETWORKS / f"{_file_name(member.name)}-{k}.safetensors")
    formulas = predictor.inputs.formulas
    np.savez(
        folder / DATA,
        y=predictor.labels.y,
        weights=predictor.labels.weights,
        covariates=predictor.inputs.blocks["covariates"],
        lengths=np.array([len(formula.numbers) for formula in formulas]),
        numbers=np.concatenate([formula.numbers for formula in formulas]),
        fractions=np.concatenate([formula.fractions for formula in formulas]),
    )
    calibration = predictor.calibration
    content = {
        "settings": predictor.settings.model_dump(mode="json"),
        "members": [member.name for member in predictor.members],
        "n_classes": predictor.labels.n_classes,
        "calibration": {
            "weights": calibration.weights.tolist(),
            "interval": calibration.interval and calibration.interval.model_dump(),
            "temperatures": calibration.temperatures.tolist(),
            "priors": calibration.priors.tolist(),
            "transform": calibration.transform.model_dump(),
        },
        "facts": predictor.facts,
        **more,
    }
    part = folder / (FILE + ".part")
    part.write_text(json.dumps(content, indent=2), encoding="utf-8")
    part.replace(folder / FILE)  # last: a folder with this file is whole


def load_predictor(folder: Path, backbone: CompositionBackbone) -> tuple[Predictor, dict[str, Any]]:
    """Read a predictor, and everything in its predictor.json.

    Raises
    ------
    DataError
        If the folder holds none.
    """
    if not (folder / FILE).is_file():
        raise DataError("this folder holds no predictor", where=str(folder), remedy="matgraft tune makes one")
    content = json.loads((folder / FILE).read_text(encoding="utf-8"))
    settings = PredictorSettings.model_validate(content["settings"])
    with np.load(folder / DATA, allow_pickle=False) as data:
        ends = np.cumsum(data["lengths"])[:-1]
        parts = zip(np.split(data["numbers"], ends), np.split(data["fractions"], ends), strict=True)
        formulas = [Formula(tuple(map(int, z)), tuple(map(float, x))) for z, x in parts]
        inputs = Inputs.of(formulas, backbone, data["covariates"])
        labels = Labels(data["y"], data["weights"], content["n_classes"])
    if unknown := [name for name in content["members"] if name not in BY_NAME]:
        raise DataError(f"a predictor of another release: no member {unknown[0]!r}", where=str(folder), allowed=BY_NAME)
    members = tuple(BY_NAME[name] for name in content["members"])
    networks = _networks(members, folder / NETWORKS, backbone, labels.n_classes)
    chosen = content["calibration"]
    calibration = Calibration(
        np.array(chosen["weights"]),
        chosen["interval"] and IntervalRule.model_validate(chosen["interval"]),
        np.array(chosen["temperatures"]),
        np.array(chosen["priors"]),
        Transform.model_validate(chosen["transform"]),
        settings.ordinal,
    )
    tools = Tools(backbone, settings.network)
    return Predictor(tools, inputs, labels, members, settings, calibration, networks, content["facts"]), content


def _networks(
    members: tuple[Member, ...], folder: Path, backbone: CompositionBackbone, n_classes: int
) -> dict[str, list[Network]]:
    found: dict[str, list[Network]] = {}
    for member in members:
        if not member.refits:
            files = sorted(folder.glob(f"{_file_name(member.name)}-*.safetensors"))
            found[member.name] = [Network.from_arrays(load_file(file), backbone, n_classes) for file in files]
    return found


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
