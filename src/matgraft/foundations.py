"""Every foundation of both wings, for whoever does not know yet which one is meant."""

from __future__ import annotations

from pathlib import Path

from matgraft.core.model import Backbone
from matgraft.core.registry import load_folder_from, load_from
from matgraft.formulas.registry import ENCODERS
from matgraft.potentials.models.registry import POTENTIALS

BACKBONES = POTENTIALS | ENCODERS


def load(name: str | Path) -> Backbone:
    """Load a foundation by name, or a tuned model by its folder.

    Raises
    ------
    OptionError
        If the name is unknown; the nearest one is named.
    ExtraError
        If the vendor's package is not installed.
    """
    return load_from(BACKBONES, name)


def load_folder(folder: Path) -> Backbone:
    """Load the tuned model of a run folder, or of an exported one; of several heads the one that ``#`` names."""
    return load_folder_from(BACKBONES, folder)
