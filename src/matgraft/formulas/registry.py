"""The composition encoders that matgraft knows, how one is loaded, and what was learned on one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from pydantic import Field, JsonValue

from matgraft.core.errors import DataError, OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import note_older
from matgraft.core.registry import BackboneRow, load_folder_from, load_from
from matgraft.core.run_folder import RunFile
from matgraft.formulas.encoder import CompositionBackbone

ENCODERS: dict[str, BackboneRow] = {
    "composition": BackboneRow(
        adapter="matgraft.formulas.encoder:CompositionBackbone",
        package="safetensors",
        extra="",
        releases=("1",),
        opens="model.safetensors of `matgraft pretrain`, with config.json beside it",
        weights_from="inside the matgraft wheel, no network needed",
        licence="MIT",
        stages=("embedding", "layer-*", "pool", "readout"),
    ),
}
_INSTEAD = {
    name: f"{name} reads structures; formulas need a composition encoder"
    for name in ("chgnet", "mace", "matgl", "nequix")
}


def load_encoder(name: str | Path) -> CompositionBackbone:
    """Load an encoder by name, or one's own by its folder; errors as of `load_from`."""
    return cast(CompositionBackbone, load_from(ENCODERS, name, _INSTEAD))


def load_encoder_folder(folder: Path) -> CompositionBackbone:
    """Load the encoder of a run folder."""
    return cast(CompositionBackbone, load_folder_from(ENCODERS, folder, _INSTEAD))


class LearnedCard(Frozen):
    """What a folder that was learned on an encoder says of itself.

    Attributes
    ----------
    encoder_sha256
        Of the encoder's weights; empty if nothing was learned.
    recipe, data_sha256, minutes
        How it was made.
    """

    encoder_sha256: str = ""
    recipe: dict[str, JsonValue] = Field(default_factory=dict)
    data_sha256: dict[str, str] = Field(default_factory=dict)
    minutes: float = 0.0


Card = TypeVar("Card", bound=LearnedCard)
Content = TypeVar("Content")


@dataclass(frozen=True)
class LearnedFolder(Generic[Card, Content]):
    """A kind of folder that was learned on one encoder: prompts, metrics. One lies inside the package.

    Attributes
    ----------
    what
        The content, for messages.
    card
        Written last, so that a folder with a card is whole.
    opened
        The content of a folder, by its name and its card.
    shipped
        The folder inside the package.
    option
        Option that names such a folder.
    verb
        Command that makes one.
    """

    what: str
    card: RunFile[Card]
    opened: Callable[[Path, str, Card], Content]
    shipped: Path
    option: str
    verb: str

    def read(self, folder: Path, name: str = "") -> Content:
        """Open a folder.

        Raises
        ------
        DataError
            If it is none of this kind.
        """
        card = self._card(folder)
        if folder != self.shipped:
            note_older(folder)
        return self.opened(folder, name or str(folder), card)

    def choose(self, name: str | None, backbone: CompositionBackbone) -> Content | None:
        """Return the content of a name: ``none``, ``shipped`` or a folder; None takes the shipped one if it belongs.

        Raises
        ------
        OptionError
            If it was learned on another encoder.
        """
        wanted = name or "shipped"
        folder = self.shipped if wanted == "shipped" else Path(wanted)
        if wanted == "none":
            return None
        if self._belongs(folder, backbone):
            return self.read(folder, wanted)
        if name is None:
            return None
        fitting = ["shipped"] * self._belongs(self.shipped, backbone) + ["none"]
        raise OptionError(
            f"the {self.what} {name} was learned on another encoder",
            remedy=f"take one of this encoder; `matgraft {self.verb}` learns one",
            options=[{self.option: one} for one in fitting],
        )

    def _belongs(self, folder: Path, backbone: CompositionBackbone) -> bool:
        return self._card(folder).encoder_sha256 == backbone.card.weights_sha256

    def _card(self, folder: Path) -> Card:
        if not (folder / self.card.name).is_file():
            remedy = f"`matgraft {self.verb}` makes one"
            raise DataError(f"this folder holds no {self.what}", where=str(folder), remedy=remedy)
        return self.card.read(folder)
