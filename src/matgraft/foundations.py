"""Every foundation of both wings, for whoever does not know yet which one is meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matgraft.core.model import Backbone
from matgraft.core.plugins import Extended, Plugin, plugins_of
from matgraft.core.registry import BackboneRow, load_folder_from, load_from
from matgraft.core.run_folder import kind_of
from matgraft.formulas.registry import ENCODERS
from matgraft.potentials.models.registry import POTENTIALS

BACKBONES = Extended({**POTENTIALS.data, **ENCODERS}, "matgraft.backbones", BackboneRow)

if TYPE_CHECKING:
    from matgraft.formulas.predict import PropertyModel


def listed() -> dict[str, BackboneRow | Plugin]:
    """Return what can be tuned: the rows of matgraft's own; of other packages what their metadata says."""
    return {**{one.name: one for one in plugins_of("matgraft.backbones")}, **BACKBONES.data}


def load(name: str | Path) -> Backbone | PropertyModel:
    """Load a foundation by name, or a tuned model by its folder; of a run on a table what predicts its targets.

    Raises
    ------
    OptionError
        If the name is unknown; the nearest one is named.
    ExtraError
        If the vendor's package is not installed.
    """
    if Path(name).is_dir() and kind_of(Path(name)) == "formulas":
        from matgraft.formulas.predict import PropertyModel  # with all that predictors need

        return PropertyModel.open(name)
    return load_from(BACKBONES, name)


def load_folder(folder: Path) -> Backbone:
    """Load the tuned model of a run folder, or of an exported one; of several heads the one that ``#`` names."""
    return load_folder_from(BACKBONES, folder)
