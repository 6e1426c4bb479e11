"""The potentials that matgraft knows, and how one is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from matgraft.core.errors import MatgraftError
from matgraft.core.model_files import recognise
from matgraft.core.plugins import Extended
from matgraft.core.registry import CARD, BackboneRow, load_folder_from, load_from, opener_of, part_head
from matgraft.core.run_folder import kind_of
from matgraft.potentials.models.potential import Potential

_OWN: dict[str, BackboneRow] = {
    "chgnet": BackboneRow(
        adapter="matgraft.potentials.models.chgnet:CHGNetPotential",
        package="chgnet",
        extra="",
        newest_python=(3, 12),
        releases=("0.3.0", "r2scan", "0.2.0"),
        opens="a file of chgnet: .pth.tar with model.state_dict and model.model_args",
        weights_from="inside the chgnet wheel, no network needed",
        licence="BSD-3-Clause (modified)",
        exports={"native": "chgnet.pth.tar", "ase": "calculator.py (CHGNetCalculator)"},
    ),
    "mace": BackboneRow(
        adapter="matgraft.potentials.models.mace.potential:MACEPotential",
        package="mace",
        extra="mace",
        releases=(
            *("medium-mpa-0", "small", "medium", "large", "small-0b", "medium-0b", "small-0b2", "medium-0b2"),
            *("large-0b2", "medium-0b3", "small-omat-0", "medium-omat-0", "mace-matpes-pbe-0", "mace-matpes-r2scan-0"),
            *("mh-0", "mh-1", "off-small", "off-medium", "off-large"),
        ),
        opens="a .model of mace-torch, named with its hash, or mace.pt of matgraft",
        weights_from="`matgraft fetch mace:NAME`, or mace-torch's cache; nothing is fetched unasked",
        licence="MIT or ASL (academic use only), by model",
        options=("sha256", "head"),
        exports={
            "native": "mace.model, mace.pt",
            "ase": "calculator.py (MACECalculator)",
            "lammps": "mace-lammps.pt for pair_style mace",
            "torch-sim": "model.py (MaceModel)",
        },
    ),
    "matgl": BackboneRow(
        adapter="matgraft.potentials.models.matgl:MatGLPotential",
        package="matgl",
        extra="matgl",
        releases=("TensorNet-PES-MatPES-PBE-2025.2", "TensorNet-PES-MatPES-r2SCAN-2025.2"),
        opens="a folder of MatGL with model.json, model.pt and state.pt",
        weights_from="a folder, MatGL's cache, or its download from the Hugging Face Hub (materialyze)",
        licence="BSD-3-Clause",
        any_name=True,
        exports={
            "native": "the folder matgl/",
            "ase": "calculator.py (PESCalculator)",
            "lammps": "matgl-lammps.pt for pair_style matgl (TensorNet, M3GNet)",
        },
    ),
    "nequix": BackboneRow(
        adapter="matgraft.potentials.models.nequix.potential:NequixPotential",
        package="torch",
        extra="",
        releases=("nequix-oam-1", "nequix-omat-1", "nequix-mp-1"),
        opens="a .nqx file of nequix",
        weights_from="a file, `matgraft fetch nequix:NAME`, or nequix's cache; nothing is fetched unasked",
        licence="MIT",
        stages=("interaction-*", "readout"),
        exports={"native": "nequix.nqx", "ase": "calculator.py (NequixCalculator)"},
    ),
}
POTENTIALS = Extended(_OWN, "matgraft.backbones", BackboneRow)
"""By name: matgraft's own, and those that other packages add by entry points."""
INSTEAD = {"composition": "composition reads formulas; frames need an interatomic potential"}


def load_potential(name: str | Path) -> Potential:
    """Load a potential by name, or a tuned one by its folder; errors as of `load_from`."""
    return cast(Potential, load_from(POTENTIALS, name, INSTEAD))


def refuse_unknown(name: str | Path) -> None:
    """Raise what `load_potential` raises on a name that nothing stands behind, without loading anything."""
    opener_of(POTENTIALS, name, INSTEAD)


def names_model(word: str) -> bool:
    """Say whether a word of a command names a model: a backbone, a run or a model folder, a file of weights.

    What else there is on disk is taken for frames.
    """
    folder, head = part_head(word)
    if folder.is_dir():
        return bool(head or kind_of(folder) or recognise(folder).name)
    if word.partition(":")[0] in POTENTIALS.keys() | INSTEAD.keys():
        return True
    return Path(word).is_file() and bool(recognise(Path(word)).name)


def is_potential(word: str) -> bool:
    """Say whether a word names a model that reads structures: a run on formulas, or an encoder, does not."""
    folder, _ = part_head(word)
    if kind := kind_of(folder):
        return kind == "frames"
    if folder.is_dir() and names_model(word):
        card = next((one for one in (folder / "model", folder) if (one / CARD.name).is_file()), None)
        return card is None or CARD.read(card).backbone in POTENTIALS
    return names_model(word) and word not in INSTEAD


def load_potential_folder(folder: Path) -> Potential:
    """Load the potential of a run folder, or of an exported one."""
    return cast(Potential, load_folder_from(POTENTIALS, folder, INSTEAD))


@contextmanager
def names_are_words() -> Iterator[None]:
    """Say which names are accepted, where an error offers them as the option ``foundation``: here they are words."""
    try:
        yield
    except MatgraftError as error:
        names = [str(one["foundation"]) for one in error.options if "foundation" in one]
        if not names:
            raise
        raise type(error)(error.found, where=error.where, allowed=names, remedy=error.remedy) from error
