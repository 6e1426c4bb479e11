"""The composition encoders that matgraft knows, and how one is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from matgraft.core.registry import Row, load_folder_from, load_from
from matgraft.formulas.encoder import CompositionBackbone

ENCODERS: dict[str, Row] = {
    "composition": Row(
        adapter="matgraft.formulas.encoder:CompositionBackbone",
        package="safetensors",
        extra="",
        releases=("1",),
        weights_from="inside the matgraft wheel, no network needed",
        licence="MIT",
        stages=("embedding", "layer-*", "pool", "readout"),
    ),
}
_INSTEAD = {
    name: f"{name} reads structures; formulas need a composition encoder" for name in ("chgnet", "mace", "matgl")
}


def load_encoder(name: str | Path) -> CompositionBackbone:
    """Load an encoder by name, or one's own by its folder; errors as of `load_from`."""
    return cast(CompositionBackbone, load_from(ENCODERS, name, _INSTEAD))


def load_encoder_folder(folder: Path) -> CompositionBackbone:
    """Load the encoder of a run folder."""
    return cast(CompositionBackbone, load_folder_from(ENCODERS, folder, _INSTEAD))
