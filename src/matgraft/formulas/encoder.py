"""The encoder behind matgraft's contract, with its files: `matgraft.formulas.encoder_network` is the network itself.

backbone = CompositionBackbone.shipped("1")
backbone.embed(["Fe2O3", "LiCoO2"])            # (2, features)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from matgraft.core.errors import DataError
from matgraft.core.files import whole, write_json
from matgraft.core.manifest import checked, is_there
from matgraft.core.model import Backbone, Batch, Encoded, ModelCard, Stage
from matgraft.core.quantities import Quantity
from matgraft.core.registry import card_of
from matgraft.core.training.batching import Sized
from matgraft.core.weights import load_arrays, put_state
from matgraft.formulas.elements import N_ELEMENTS, element_table
from matgraft.formulas.encoder_inference import Tokens, features_of
from matgraft.formulas.encoder_network import CompositionEncoder
from matgraft.formulas.formula import Formula, padded, parse_formula
from matgraft.formulas.seen_labels import LABELS, SeenLabels

PROPERTIES = Quantity("properties", "sample", (), "standardised", "standardised")
SHIPPED = Path(__file__).parent / "composition_weights"
CONFIG = "config.json"
"""What an encoder is built with, beside its weights."""
CHUNK = 1024
TOGETHER = 8192
"""Formulas whose different tokens are found together."""
SHORT = (3, 5)
"""Bounds of the lengths computed together."""


class Size(NamedTuple):
    """What a formula costs."""

    n_atoms: int
    n_edges: int


class Sizes(Sequence[Sized]):
    """Sizes of many formulas, made when asked for."""

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = lengths
        self.known = [Size(n, n * n) for n in range(int(lengths.max(initial=0)) + 1)]

    def __len__(self) -> int:
        """Return the number of formulas."""
        return len(self.lengths)

    def __getitem__(self, i: int) -> Sized:  # type: ignore[override]
        """Return one size."""
        return self.known[self.lengths[i]]


class CompositionBackbone(Backbone):
    """The encoder behind matgraft's contract: a row is a formula.

    Parameters
    ----------
    siblings
        Encoders pretrained alike from other seeds. What they say of the properties is averaged; features are those of
        the first.
    labels
        Which formulas had labels in the pretraining; None where that is not known.
    """

    native_file = "model.safetensors"
    quantities = MappingProxyType({PROPERTIES.name: PROPERTIES})

    def __init__(
        self,
        module: CompositionEncoder,
        card: ModelCard,
        siblings: Sequence[CompositionEncoder] = (),
        labels: SeenLabels | None = None,
    ) -> None:
        self.module: CompositionEncoder = module.eval()
        self.siblings = tuple(sibling.eval() for sibling in siblings)
        self.card = card
        self.labels = labels

    @classmethod
    def scratch(cls, seed: int = 0, **sizes: Any) -> Self:
        """Return an untrained encoder; `sizes` are those of `CompositionEncoder`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = CompositionEncoder(**sizes)
        module.elements.table[: N_ELEMENTS + 1] = torch.from_numpy(element_table())
        card = _card(module, name="composition, untrained", weights_from=f"seed {seed}")
        return cls(module, card, labels=SeenLabels.made_of({}))

    def untrained(self, seed: int = 0) -> CompositionBackbone:
        """Return an encoder of the same sizes that nothing has taught: what pretraining is held against."""
        module = self.module
        return type(self).scratch(
            seed,
            width=module.elements.learned.embedding_dim,
            layers=len(module.layers),
            heads=module.layers[0].heads,
            features=module.width_of_features,
            property_names=module.property_names,
        )

    @classmethod
    def shipped(cls, release: str) -> Self:
        """Return the encoder that lies inside the package."""
        backbone = cls.from_file(SHIPPED / cls.native_file)
        backbone.card = card_of(SHIPPED, backbone).model_copy(
            update={"name": f"composition {release}", "weights_from": "inside the matgraft wheel, no network needed"}
        )
        return backbone

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Load a folder that `save` wrote; `path` is its safetensors file."""
        files = [path]
        while is_there(another := _sibling(path.parent, len(files)) / path.name):
            files.append(another)
        module, *siblings = (_encoder(file) for file in files)
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        card = _card(*siblings, module, name="composition", weights_from=str(path), sha256=digest)
        labels = path.with_name(LABELS)
        return cls(module, card, siblings, SeenLabels.load(labels) if is_there(labels) else None)

    @property
    def encoders(self) -> tuple[CompositionEncoder, ...]:
        """The encoder and its siblings, which follow it to its device."""
        return self.module, *(sibling.to(self.device) for sibling in self.siblings)

    def alone(self, i: int) -> CompositionBackbone:
        """Return one of the encoders, counted round and round: what a fine-tuning starts from."""
        return CompositionBackbone(self.encoders[i % len(self.encoders)], self.card)

    @property
    def property_names(self) -> tuple[str, ...]:
        """Names of the pretraining properties, in the order of `properties`."""
        return self.module.property_names

    @property
    def head(self) -> nn.Module:
        """(n_rows, features) -> (n_rows, n_properties)."""
        return self.module.head

    def encode(self, formula: Formula) -> Encoded:
        """Return the elements and fractions of a formula."""
        return encode_formula(formula)

    def collate(self, encoded: Sequence[Encoded]) -> Batch:
        """Pad to the formula with most elements."""
        numbers = nn.utils.rnn.pad_sequence([one.tensors["numbers"] for one in encoded], batch_first=True)
        fractions = nn.utils.rnn.pad_sequence([one.tensors["fractions"] for one in encoded], batch_first=True)
        counts = torch.ones(len(encoded), dtype=torch.long)
        return Batch(counts, torch.arange(len(encoded)), {"numbers": numbers, "fractions": fractions})

    def features(self, batch: Batch) -> Tensor:
        """Return (B, features)."""
        return self.module.features(batch["numbers"], batch["fractions"])

    def stages(self) -> list[Stage]:
        """Return embedding, layers, pool and readout."""
        layers = [Stage(f"layer-{i}", {f"layers.{i}": layer}) for i, layer in enumerate(self.module.layers)]
        embedding = Stage("embedding", {"elements": self.module.elements, "amounts": self.module.amounts})
        pool, readout = Stage("pool", {"pool": self.module.pool}), Stage("readout", {"head": self.module.head})
        return [embedding, *layers, pool, readout]

    def forward(self, batch: Batch, wanted: Collection[str], *, create_graph: bool = False) -> dict[str, Tensor]:
        """Return the standardised properties (B, n_properties), if wanted."""
        if PROPERTIES.name not in wanted:
            return {}
        with torch.set_grad_enabled(create_graph):
            everyone = [encoder(batch["numbers"], batch["fractions"]) for encoder in self.encoders]
            return {PROPERTIES.name: torch.stack(everyone).mean(0)}

    def save(self, path: Path) -> None:
        """Write safetensors and, beside it, config.json: the files of a model on the Hugging Face hub.

        The list of the labels that the pretraining saw lies beside them, where it is known.
        """
        _save(self.module, path.parent)
        if self.labels is not None:
            self.labels.save(path.with_name(LABELS))
        for i, sibling in enumerate(self.siblings, start=1):
            _save(sibling, _sibling(path.parent, i))

    def embed(self, formulas: Sequence[Formula | str], progress: str = "") -> NDArray[np.float32]:
        """Return the frozen features (n, features)."""
        return self._map(parsed_formulas(formulas), lambda tokens: features_of(self.module, tokens), progress)

    def embed_elements(self, formulas: Sequence[Formula | str]) -> list[NDArray[np.float32]]:
        """Return of each formula a vector an element (n_elements, width): what the layers made of it in this formula.

        The elements stand by atomic number, as in `Formula.numbers`.
        """
        return element_vectors(self.module.tokens, parsed_formulas(formulas))

    def properties(self, formulas: Sequence[Formula], progress: str = "") -> NDArray[np.float32]:
        """Return the pretraining properties (n, n_properties), standardised as in pretraining."""
        return self.embed_with_properties(formulas, progress)[1]

    def embed_with_properties(
        self, formulas: Sequence[Formula], progress: str = ""
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `embed` and `properties` of one pass."""
        module = self.module

        def both(tokens: Tokens) -> Tensor:
            features = features_of(module, tokens)
            siblings = [sibling.head(features_of(sibling, tokens)) for sibling in self.encoders[1:]]
            return torch.cat([features, torch.stack([module.head(features), *siblings]).mean(0)], 1)

        joined = self._map(formulas, both, progress)
        return joined[:, : module.width_of_features], joined[:, module.width_of_features :]

    @torch.no_grad()
    def _map(
        self, formulas: Sequence[Formula], function: Callable[[Tokens], Tensor], progress: str
    ) -> NDArray[np.float32]:
        from rich.console import Console
        from rich.progress import track

        parts = [formulas[i : i + TOGETHER] for i in range(0, len(formulas), TOGETHER)]
        shown = track(parts, progress, console=Console(stderr=True), disable=not progress, transient=True)
        found = [function(Tokens.of(part)).cpu().numpy() for part in shown]
        return np.concatenate(found) if found else np.zeros((0, 1), np.float32)


@torch.no_grad()
def element_vectors(
    tokens: Callable[[Tensor, Tensor], Tensor], formulas: Sequence[Formula]
) -> list[NDArray[np.float32]]:
    """Return the elements' tokens (n_elements, width) of each formula, without padding and the gathering token."""
    found: list[NDArray[np.float32]] = []
    for start in range(0, len(formulas), CHUNK):
        some = formulas[start : start + CHUNK]
        rows = by_length(tokens, *tensors_of(some)).numpy()
        found += [row[1 : len(formula) + 1] for row, formula in zip(rows, some, strict=True)]
    return found


def parsed_formulas(formulas: Sequence[Formula | str]) -> list[Formula]:
    """Return formulas that may be texts.

    Raises
    ------
    DataError
        If there is one text instead of a list, or a text is no formula.
    """
    if isinstance(formulas, str):
        raise DataError(f"one text, {formulas!r}, where formulas are wanted", remedy=f"a list: [{formulas!r}]")
    return [one if isinstance(one, Formula) else parse_formula(one) for one in formulas]


def by_length(function: Callable[[Tensor, Tensor], Tensor], numbers: Tensor, fractions: Tensor) -> Tensor:
    """Return ``function(numbers, fractions)``, computed apart for short and long formulas: padding costs as well.

    Outputs are (n, width), or (n, L + 1, width), which comes back padded with zeros.
    """
    lengths = (numbers > 0).sum(1)
    parts, rows = [], []
    for low, high in zip((0, *SHORT), (*SHORT, numbers.shape[1]), strict=True):
        chosen = torch.nonzero((lengths > low) & (lengths <= high)).squeeze(1)
        if len(chosen):
            part = function(numbers[chosen, :high], fractions[chosen, :high])
            parts.append(
                functional.pad(part, (0, 0, 0, numbers.shape[1] + 1 - part.shape[1])) if part.ndim == 3 else part
            )
            rows.append(chosen)
    return torch.cat(parts)[torch.cat(rows).argsort()]


def encode_formula(formula: Formula) -> Encoded:
    """Return atomic numbers (L,) and fractions (L,) as tensors."""
    tensors = {"numbers": torch.tensor(formula.numbers), "fractions": torch.tensor(formula.fractions).float()}
    return Encoded(n_atoms=len(formula.numbers), n_edges=len(formula.numbers) ** 2, tensors=tensors)


def tensors_of(formulas: Sequence[Formula]) -> tuple[Tensor, Tensor]:
    """Return numbers (n, L) and fractions (n, L), padded with zeros."""
    numbers, fractions = padded(formulas)
    return torch.from_numpy(numbers), torch.from_numpy(fractions).float()


def _save(encoder: CompositionEncoder, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, encoder.arguments)
    with whole(folder / CompositionBackbone.native_file) as part:
        save_file({name: tensor.contiguous() for name, tensor in encoder.state_dict().items()}, part)


def _sibling(folder: Path, i: int) -> Path:
    return folder / f"sibling-{i}"


def _encoder(path: Path) -> CompositionEncoder:
    for name in (path, path.with_name(CONFIG)):
        if not name.is_file():
            raise DataError("there is no such file", where=str(name))
    config = checked(path.with_name(CONFIG))
    try:
        module = CompositionEncoder(**json.loads(config))
    except (TypeError, ValueError, RuntimeError) as error:  # whatever the constructor makes of damaged arguments
        raise DataError(
            f"no encoder can be built from it: {error}",
            where=str(path.with_name(CONFIG)),
            remedy="copy the folder again from a complete copy",
        ) from error
    put_state(module, load_arrays(path), path)
    return module


def _card(*modules: CompositionEncoder, name: str, weights_from: str, sha256: str = "") -> ModelCard:
    return ModelCard(
        name=name,
        backbone="composition",
        vendor_version="",
        licence="MIT",
        quantities=(PROPERTIES.name,),
        n_parameters=sum(parameter.numel() for module in modules for parameter in module.parameters()),
        weights_sha256=sha256,
        weights_from=weights_from,
    )
