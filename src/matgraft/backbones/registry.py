"""Names of foundations -> adapters, and model folders back to models.

    load("chgnet")                    shipped weights, by default the latest
    load("chgnet:r2scan")             a named release
    load("chgnet:my/model.pth.tar")   a file or folder in the vendor's format
    load("matgl:NAME")                weights that the vendor fetches by their name, where its loader can
    load("runs/si")                   a run of `matgraft tune`, or a folder of `matgraft export --to native`

A backbone is one row here, one adapter beside it, one extra. Vendors are imported when their adapter is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matgraft.backbones.base import Backbone, ModelCard
from matgraft.errors import DataError, ExtraError, OptionError, choose

CARD = "card.json"


@dataclass(frozen=True)
class Row:
    """One backbone.

    Attributes
    ----------
    adapter
        ``module:Class`` with ``shipped(release)`` and ``from_file(path)``.
    package, extra
        What it needs, and the extra that brings it (empty: always installed).
    releases
        Named weights; the first is the default.
    weights_from
        Where they come from, and whether that needs a network.
    any_name
        True if the vendor's loader knows more names than the releases listed.
    """

    adapter: str
    package: str
    extra: str
    releases: tuple[str, ...]
    weights_from: str
    licence: str
    any_name: bool = False

    @property
    def installed(self) -> bool:
        """True if the vendor's package can be imported."""
        return importlib.util.find_spec(self.package) is not None


BACKBONES: dict[str, Row] = {
    "chgnet": Row(
        adapter="matgraft.backbones.chgnet:CHGNetPotential",
        package="chgnet",
        extra="",
        releases=("0.3.0", "r2scan"),
        weights_from="inside the chgnet wheel, no network needed",
        licence="BSD-3-Clause (modified)",
    ),
    "composition": Row(
        adapter="matgraft.backbones.composition:CompositionBackbone",
        package="safetensors",
        extra="",
        releases=("1",),
        weights_from="inside the matgraft wheel, no network needed",
        licence="MIT",
    ),
    "matgl": Row(
        adapter="matgraft.backbones.matgl:MatGLPotential",
        package="matgl",
        extra="matgl",
        releases=("TensorNet-PES-MatPES-PBE-2025.2", "TensorNet-PES-MatPES-r2SCAN-2025.2"),
        weights_from="a folder, MatGL's cache, or its download from the Hugging Face Hub (materialyze)",
        licence="BSD-3-Clause",
        any_name=True,
    ),
}


def load(name: str | Path) -> Backbone:
    """Load a foundation by name, or a tuned model by its folder.

    Raises
    ------
    OptionError
        If the name is unknown; the nearest one is named.
    ExtraError
        If the vendor's package is not installed.
    """
    folder = Path(name)
    if folder.is_dir():
        return load_folder(folder)
    backbone, _, which = str(name).partition(":")
    row = choose(backbone, BACKBONES, "backbone")
    if not row.installed:
        raise ExtraError(row.package, row.extra)
    adapter = _adapter(row)
    which = which or row.releases[0]
    if which in row.releases:
        return adapter.shipped(which)  # type: ignore[attr-defined]
    if Path(which).exists():
        return adapter.from_file(Path(which))  # type: ignore[attr-defined]
    if row.any_name and Path(which).name == which:
        return adapter.shipped(which)  # type: ignore[attr-defined]
    raise OptionError(f"{name!s} is neither a release nor a file", allowed=[f"{backbone}:{r}" for r in row.releases])


def load_folder(folder: Path) -> Backbone:
    """Load the tuned model of a run folder, or of an exported one."""
    model = folder / "model" if (folder / "model" / CARD).is_file() else folder
    if not (model / CARD).is_file():
        raise DataError(
            "neither a finished run nor a model folder",
            where=str(folder),
            remedy=f"matgraft tune --resume {folder} finishes a run that was broken off",
        )
    card = ModelCard.model_validate_json((model / CARD).read_text())
    row = choose(card.backbone, BACKBONES, "backbone")
    if not row.installed:
        raise ExtraError(row.package, row.extra)
    adapter = _adapter(row)
    backbone: Backbone = adapter.from_file(model / adapter.native_file)  # type: ignore[attr-defined]
    if backbone.card.weights_sha256 != card.weights_sha256:
        raise DataError("the weights are not the ones that the card describes", where=str(model))
    backbone.card = card
    return backbone


def save_folder(backbone: Backbone, folder: Path, card: Callable[[ModelCard], ModelCard] = lambda card: card) -> None:
    """Write the native file or folder and its card.

    Parameters
    ----------
    card
        Makes the card to write from the backbone's own, whose hash is that of the file written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    backbone.save(folder / backbone.native_file)
    fresh = type(backbone).from_file(folder / backbone.native_file).card  # type: ignore[attr-defined]
    backbone.card = card(fresh)
    (folder / CARD).write_text(backbone.card.model_dump_json(indent=2), encoding="utf-8")


def _adapter(row: Row) -> type[Backbone]:
    module, _, name = row.adapter.partition(":")
    return getattr(importlib.import_module(module), name)
