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

from matgraft.core.errors import DataError
from matgraft.core.files import whole, write_json
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.predictor.members import BY_NAME, Member, Tools, Tuned
from matgraft.formulas.predictor.predictor import ONE_SIGMA, Calibration, Predictor, PredictorSettings

FILE, DATA, NETWORKS = "predictor.json", "train.npz", "networks"


def save_predictor(
    predictor: Predictor, folder: Path, more: Mapping[str, Any], *, shared: str = "", asked: str = ""
) -> None:
    """Write a predictor.

    Parameters
    ----------
    more
        Further plain facts for predictor.json, such as the names of classes and columns.
    shared
        Where, seen from the folder, its networks already lie, which answer other targets too; empty: write them.
    asked
        The target's name among those of such networks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for member, weight in zip(predictor.members, predictor.calibration.weights, strict=True):
        for k, network in enumerate(predictor.networks.get(member.name, []) if weight and not shared else []):
            save_network(network.arrays(), network_file(folder / NETWORKS, member, k))
    formulas = predictor.inputs.formulas
    with whole(folder / DATA) as part:
        np.savez(
            part,
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
            "deviation": calibration.deviation and calibration.deviation.model_dump(),
            "temperatures": calibration.temperatures.tolist(),
            "priors": calibration.priors.tolist(),
            "transform": calibration.transform.model_dump(),
        },
        "facts": predictor.facts,
        "networks": {"folder": shared or NETWORKS, "asked": asked},
        **more,
    }
    write_json(folder / FILE, content)  # last: a folder with this file is whole


def load_predictor(folder: Path, backbone: CompositionBackbone) -> tuple[Predictor, dict[str, Any]]:
    """Read a predictor, and everything in its predictor.json.

    Raises
    ------
    DataError
        If the folder holds none.
    """
    if not (folder / FILE).is_file():
        raise DataError("this folder holds no predictor", where=str(folder), remedy="name the folder of a predictor")
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
    kept = content.get("networks", {"folder": NETWORKS, "asked": ""})  # absent from folders of an earlier release
    networks = _networks(members, folder / kept["folder"], backbone, labels.n_classes, kept["asked"])
    calibration = _calibration(content["calibration"], settings, labels)
    tools = Tools(backbone, settings.network, prompt=settings.prompt)
    return Predictor(tools, inputs, labels, members, settings, calibration, networks, content["facts"]), content


def _calibration(chosen: Mapping[str, Any], settings: PredictorSettings, labels: Labels) -> Calibration:
    """Return what out-of-fold predictions decided; folders of earlier releases lack two of the facts."""
    interval, deviation = chosen["interval"], chosen.get("deviation")
    transform = Transform.model_validate(chosen["transform"])
    if interval and not deviation:
        deviation = {"level": ONE_SIGMA, "part": ONE_SIGMA}
        positive = bool((transform.back(labels.y) >= 0).all())
        transform = transform.model_copy(update={"positive": positive})
    return Calibration(
        np.array(chosen["weights"]),
        interval and IntervalRule.model_validate(interval),
        np.array(chosen["temperatures"]),
        np.array(chosen["priors"]),
        transform,
        settings.ordinal,
        deviation and IntervalRule.model_validate(deviation),
    )


def _networks(
    members: tuple[Member, ...], folder: Path, backbone: CompositionBackbone, n_classes: int, asked: str
) -> dict[str, list[Tuned]]:
    found: dict[str, list[Tuned]] = {}
    for member in members:
        if not member.refits:
            files = sorted(folder.glob(network_file(folder, member, "*").name))
            found[member.name] = [member.restore(load_file(file), backbone, n_classes, asked) for file in files]
    return found


def save_network(arrays: Mapping[str, Any], file: Path) -> None:
    """Write arrays as safetensors, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as part:
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, part)


def network_file(folder: Path, member: Member, k: int | str) -> Path:
    """Return where the fit of an inner fold is kept."""
    name = "".join(letter if letter.isalnum() else "-" for letter in member.name)
    return folder / f"{name}-{k}.safetensors"
