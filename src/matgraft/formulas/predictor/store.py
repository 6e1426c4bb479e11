"""A predictor as files, without pickles: its training data, its choices, and the weights of its networks.

    predictor.json  train.npz  fits.safetensors  networks/<member>-<fold>.safetensors

Trees and closed forms follow from the training data and the seed. Those of a small table are kept as arrays
(`matgraft.formulas.predictor.fits`); the others are fitted again when they are first asked. The folder holds the
training data: a model of confidential alloys is confidential.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from safetensors.numpy import save_file

from matgraft.core.errors import DataError
from matgraft.core.files import whole
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import begin, folder_of, note_older
from matgraft.core.run_folder import RunFile
from matgraft.core.weights import load_arrays, refuse_infinite, refuse_other_names
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.transform import Transform
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.predictor.fits import FITS, MOST_ROWS, arrays_of, load_fits
from matgraft.formulas.predictor.members import BY_NAME, Member, Tools, Tuned
from matgraft.formulas.predictor.out_of_fold import ONE_SIGMA, OutOfFoldCalibration
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.predictor.training_rows import TrainingRows

LONGEST_NAME = 240
"""Bytes of a target in the name of its folder; file systems take 255, seven of which tell long names apart."""
DATA, NETWORKS = "train.npz", "networks"
WHOLE = "copy the whole folder, its .npz and .safetensors files as well"


class TargetNames(Frozen):
    """What the numbers of a predictor are called in its table.

    Attributes
    ----------
    target
        Column of the values.
    classes
        Names of the classes in order; empty for numbers.
    code
        How columns became covariates: name -> its words, or () for numbers.
    groups
        What the column of groups held, where one was named; folders of earlier versions do not say (None).
    prompt_classes
        The user's own classes, token -> word.
    fill
        What stands in for covariates that are missing, by column.
    """

    target: str = ""
    classes: tuple[str, ...] = ()
    code: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    groups: tuple[str, ...] | None = None
    prompt_classes: dict[str, str] = Field(default_factory=dict)
    fill: dict[str, float | str] = Field(default_factory=dict, exclude_if=lambda value: not value)


class StoredCalibration(Frozen):
    """A `OutOfFoldCalibration` as plain numbers; folders of earlier versions have no `deviation`."""

    weights: tuple[float, ...]
    interval: IntervalRule | None
    deviation: IntervalRule | None = None
    temperatures: tuple[float, ...]
    priors: tuple[float, ...]
    transform: Transform


class StoredNetworks(Frozen):
    """Where networks lie.

    Attributes
    ----------
    folder
        Seen from the folder of the predictor.
    asked
        Name of the target among those that the networks answer; empty where they answer one.
    fits
        Of each member that counts; folders of earlier versions do not say how many.
    """

    folder: str = NETWORKS
    asked: str = ""
    fits: int = 1


class StoredPredictor(TargetNames):
    """What predictor.json holds: everything that predictions need beside the training data and the networks."""

    settings: PredictorSettings
    members: tuple[str, ...]
    n_classes: int
    calibration: StoredCalibration
    networks: StoredNetworks = StoredNetworks()
    fits: tuple[str, ...] | None = None
    """Members whose fits are in fits.safetensors; None where there is no such file. Earlier versions wrote none."""

    @model_validator(mode="before")
    @classmethod
    def _without_figures(cls, content: object) -> object:
        """Leave out what earlier versions wrote here, and what now stands in metrics.json beside it."""
        return (
            {k: v for k, v in content.items() if k not in ("facts", "metrics")}
            if isinstance(content, dict)
            else content
        )


PREDICTOR = RunFile("predictor.json", StoredPredictor)


def save_predictor(predictor: Predictor, folder: Path, names: TargetNames | None = None, *, shared: str = "") -> None:
    """Write a predictor.

    Parameters
    ----------
    shared
        Where, seen from the folder, its networks already lie, which answer other targets too; empty: write them.
    """
    names = names or TargetNames()
    folder.mkdir(parents=True, exist_ok=True)
    if folder_of(folder / DATA) is None:
        begin(folder)
    for member, weight in zip(predictor.members, predictor.calibration.weights, strict=True):
        for k, network in enumerate(predictor.networks.get(member.name, []) if weight and not shared else []):
            save_network(network.arrays(), network_file(folder / NETWORKS, member, k))
    labels, inputs = predictor.labels, predictor.inputs
    rows = TrainingRows(
        inputs.formulas, labels.y, labels.weights, inputs.blocks["covariates"], predictor.held_intervals
    )
    rows.save(folder / DATA)
    fits = None
    if len(labels.y) <= MOST_ROWS:
        fits, arrays = arrays_of(predictor)
        save_network(arrays, folder / FITS)
    calibration = predictor.calibration
    stored = StoredPredictor(
        settings=predictor.settings,
        members=tuple(member.name for member in predictor.members),
        n_classes=predictor.labels.n_classes,
        calibration=StoredCalibration(
            weights=tuple(calibration.weights.tolist()),
            interval=calibration.interval,
            deviation=calibration.deviation,
            temperatures=tuple(calibration.temperatures.tolist()),
            priors=tuple(calibration.priors.tolist()),
            transform=calibration.transform,
        ),
        networks=StoredNetworks(
            folder=shared or NETWORKS,
            asked=names.target if shared else "",
            fits=max(map(len, predictor.networks.values()), default=1),
        ),
        fits=fits,
        **dict(names),
    )
    PREDICTOR.write(folder, stored)  # last: a folder with this file is whole


def load_predictor(folder: Path, backbone: CompositionBackbone) -> tuple[Predictor, TargetNames]:
    """Read a predictor and what its numbers are called.

    Raises
    ------
    DataError
        If the folder holds none, or lacks a file of it.
    """
    if (stored := PREDICTOR.find(folder)) is None:
        raise DataError("this folder holds no predictor", where=str(folder), remedy="name the folder of a predictor")
    note_older(folder)
    data = TrainingRows.load(folder / DATA, stored.n_classes)
    inputs = Inputs.later(data.formulas, backbone, data.covariates)
    labels = Labels(data.y, data.weights, stored.n_classes)
    if unknown := [name for name in stored.members if name not in BY_NAME]:
        raise DataError(f"a predictor of another release: no member {unknown[0]!r}", where=str(folder), allowed=BY_NAME)
    members, settings, kept = tuple(BY_NAME[name] for name in stored.members), stored.settings, stored.networks
    networks = _networks(members, folder / kept.folder, backbone, labels.n_classes, kept.asked)
    calibration = _calibration(stored.calibration, settings, labels)
    for member, weight in zip(members, calibration.weights, strict=True):
        if weight and not member.refits and (n := len(networks[member.name])) != kept.fits:
            lack = f"{n} of {kept.fits} networks of {member.name!r} are there"
            raise DataError(lack, where=str(folder / kept.folder), remedy=WHOLE)
    tools = Tools(backbone, settings.network, prompt=settings.prompt)
    predictor = Predictor(tools, inputs, labels, members, settings, calibration, networks, data.held)
    if stored.fits is not None:
        one = Inputs.of(data.formulas[:1], backbone, data.covariates[:1])
        fitted = {name: BY_NAME[name] for name in stored.fits}
        predictor.stored, predictor._neighbourhood = load_fits(folder / FITS, fitted, one)
    return predictor, stored


def _calibration(stored: StoredCalibration, settings: PredictorSettings, labels: Labels) -> OutOfFoldCalibration:
    """Return what out-of-fold predictions decided; folders of earlier versions lack two of the facts."""
    transform, deviation = stored.transform, stored.deviation
    if stored.interval and not deviation:
        deviation = IntervalRule(level=ONE_SIGMA, part=ONE_SIGMA)
        transform = transform.model_copy(update={"positive": bool((transform.back(labels.y) >= 0).all())})
    return OutOfFoldCalibration(
        np.array(stored.weights),
        stored.interval,
        np.array(stored.temperatures),
        np.array(stored.priors),
        transform,
        settings.ordinal,
        deviation,
    )


def _networks(
    members: tuple[Member, ...], folder: Path, backbone: CompositionBackbone, n_classes: int, asked: str
) -> dict[str, list[Tuned]]:
    found: dict[str, list[Tuned]] = {}
    for member in members:
        if not member.refits:
            files = sorted(folder.glob(network_file(folder, member, "*").name))
            restore = partial(member.restore, backbone=backbone, n_classes=n_classes, asked=asked)
            found[member.name] = [read_network(file, restore) for file in files]
    return found


class _Stored(Protocol):
    def arrays(self) -> dict[str, NDArray[Any]]: ...


Made = TypeVar("Made", bound=_Stored)


def read_network(file: Path, make: Callable[[Mapping[str, NDArray[Any]]], Made]) -> Made:
    """Return the network of a file all of whose arrays are used, and which has all that the network needs.

    Raises
    ------
    DataError
        If it lacks one, has another, or one does not fit.
    ChangedError
        If it is not what was written.
    """
    arrays = load_arrays(file)
    refuse_infinite({name: one for name, one in arrays.items() if name.startswith("weights.")}, file)
    if nan := [name for name, one in arrays.items() if name.startswith("scaling.") and np.isnan(one).any()]:
        raise DataError(f"{nan[0]} is not a number", where=str(file), remedy=WHOLE)
    try:
        network = make(arrays)
        own = network.arrays()
    except (KeyError, ValueError, IndexError, RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"no network can be made of it: {error}", where=str(file), remedy=WHOLE) from error
    refuse_other_names(arrays, own, file)
    for name, one in own.items():
        one = np.atleast_1d(one)  # as `save_network` wrote it
        if (one.shape, one.dtype) != (arrays[name].shape, arrays[name].dtype):
            raise DataError(f"{name} has another shape or type than its network", where=str(file), remedy=WHOLE)
    return network


def save_network(arrays: Mapping[str, NDArray[Any]], file: Path) -> None:
    """Write arrays as safetensors, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as part:
        save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, part)


def network_file(folder: Path, member: Member, k: int | str) -> Path:
    """Return where the fit of an inner fold is kept."""
    name = "".join(letter if letter.isalnum() else "-" for letter in member.name)
    return folder / f"{name}-{k}.safetensors"


def folder_name(target: str) -> str:
    """Return the name of the folder of a target, which may be called anything."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in target)
    plain = plain.encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"{plain}-{hashlib.sha256(target.encode()).hexdigest()[:6]}"
