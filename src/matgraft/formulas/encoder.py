"""The composition encoder: a transformer over the set of elements of a formula and their amounts.

A formula is a set of tokens, one an element, and one token that gathers the whole. A token is the sum of

    a learned embedding of the element + its tabulated properties + an embedding of its atomic fraction

There is no position: the order of writing cannot matter. Fractions are embedded from 1e-6 to 1 on a linear and on a
logarithmic scale, so that Li0.5 and a steel's 0.01 % of boron are both resolved.

    (B, L) elements, (B, L) fractions -> tokens (B, L + 1, width) -> layers -> pooled (B, 2 width) -> features (B, n)
    features -> head -> properties (B, n_properties), standardised

The pooled value is the gathering token beside the mean of the element tokens weighted by their fractions.
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
from huggingface_hub import PyTorchModelHubMixin
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from matgraft.core.errors import DataError
from matgraft.core.files import part_name, whole
from matgraft.core.manifest import checked, is_there
from matgraft.core.model import Backbone, Batch, Encoded, ModelCard, Stage
from matgraft.core.quantities import Quantity
from matgraft.core.registry import card_of
from matgraft.core.signals import temporary_folder
from matgraft.core.training.batching import Sized
from matgraft.core.weights import load_arrays, put_state
from matgraft.formulas.elements import N_ELEMENTS, element_table
from matgraft.formulas.formula import Formula, padded, parse_formula
from matgraft.formulas.seen_labels import LABELS, SeenLabels

GATHER, MASK = N_ELEMENTS + 1, N_ELEMENTS + 2
"""Numbers of the two tokens that are no elements; 0 is padding."""
PROPERTIES = Quantity("properties", "sample", (), "standardised", "standardised")
SHIPPED = Path(__file__).parent / "composition_weights"
TABLE_WIDTH = 16
FREQUENCIES = 8
CHUNK = 1024
SHORT = (3, 5)
"""Bounds of the lengths computed together."""


class CompositionEncoder(nn.Module, PyTorchModelHubMixin):
    """Elements and fractions in, features and standardised properties out.

    Parameters
    ----------
    width, layers, heads
        Of the transformer.
    features
        Width of what enters the head.
    property_names
        Pretraining properties, in the order of the head's outputs.
    dropout
        Part of each layer's output that is dropped while training.
    """

    def __init__(
        self,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        features: int = 256,
        property_names: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.property_names = tuple(property_names)
        self.width_of_features = features
        self.elements = ElementEmbedding(width)
        self.amounts = AmountEmbedding(width)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.pool = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, features), nn.GELU(), nn.LayerNorm(features)
        )
        self.head = nn.Sequential(
            nn.Linear(features, features), nn.GELU(), nn.Linear(features, max(1, len(self.property_names)))
        )

    def tokens(self, numbers: Tensor, fractions: Tensor, prompts: Tensor | None = None) -> Tensor:
        """Return (B, L + 1, width): the gathering token, then the elements; `numbers` 0 is padding.

        Prompts (B, layers, P, width) stand behind them as P further tokens, (B, L + 1 + P, width): the first of the
        layers' enters before the first layer, each further one is added to what has become of it before its own layer.
        """
        gather = torch.full_like(numbers[:, :1], GATHER)
        everyone = torch.cat([gather, numbers], 1)
        x = self.elements(everyone)
        x = torch.cat([x[:, :1], x[:, 1:] + self.amounts(fractions)], 1)
        present = (everyone > 0)[:, None, None, :]
        if prompts is None:
            for layer in self.layers:
                x = layer(x, present)
            return x
        n, asked = x.shape[1], torch.zeros_like(prompts[:, 0])
        present = functional.pad(present, (0, prompts.shape[2]), value=True)
        for i, layer in enumerate(self.layers):
            x = layer(torch.cat([x[:, :n], asked + prompts[:, i]], 1), present)
            asked = x[:, n:]
        return x

    def features(self, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return (B, features)."""
        return self.pooled(self.tokens(numbers, fractions), numbers, fractions)

    def pooled(self, tokens: Tensor, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return (B, features) of tokens (B, L + 1, width); prompts behind them are left out."""
        weights = (fractions * (numbers > 0)).unsqueeze(-1)
        elements = tokens[:, 1 : numbers.shape[1] + 1]
        return self.pool(torch.cat([tokens[:, 0], (elements * weights).sum(1)], -1))

    def forward(self, numbers: Tensor, fractions: Tensor) -> Tensor:
        """Return the standardised properties (B, n_properties)."""
        return self.head(self.features(numbers, fractions))


class ElementEmbedding(nn.Module):
    """A learned vector an element, and a linear map of its tabulated properties."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.learned = nn.Embedding(N_ELEMENTS + 3, width, padding_idx=0)
        self.tabulated = nn.Linear(TABLE_WIDTH, width)
        self.register_buffer("table", torch.zeros(N_ELEMENTS + 3, TABLE_WIDTH))
        nn.init.normal_(self.learned.weight, std=0.3)

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (..., width)."""
        return self.learned(numbers) + self.tabulated(self.table[numbers])


class AmountEmbedding(nn.Module):
    """An atomic fraction as sines and cosines of itself and of its logarithm, mixed by two layers."""

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Linear(4 * FREQUENCIES + 2, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("frequencies", torch.pi * 2.0 ** torch.arange(FREQUENCIES).float() / 2)

    def forward(self, fractions: Tensor) -> Tensor:
        """Return (..., width)."""
        logarithm = fractions.clamp_min(1e-6).log10() / 6 + 1  # 1e-6 .. 1 -> 0 .. 1
        both = torch.stack([fractions, logarithm], -1)
        angles = (both.unsqueeze(-1) * self.frequencies).flatten(-2)
        return self.mix(torch.cat([both, angles.sin(), angles.cos()], -1))


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a norm and beside a shortcut (Xiong et al. 2020)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Return (B, L, width); `present` (B, 1, 1, L) leaves padding out of the attention."""
        B, L, width = x.shape
        query, key, value = self.project(self.norm_attention(x)).view(B, L, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=present)
        x = x + self.drop(self.out(attended.transpose(1, 2).reshape(B, L, width)))
        return x + self.drop(self.feed(self.norm_forward(x)))


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
        """Load a folder that `save` wrote (or ``save_pretrained``); `path` is its safetensors file."""
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
        """Write safetensors and, beside it, config.json: what `CompositionEncoder.from_pretrained` opens.

        The list of the labels that the pretraining saw lies beside them, where it is known.
        """
        _save(self.module, path.parent)
        if self.labels is not None:
            self.labels.save(path.with_name(LABELS))
        for i, sibling in enumerate(self.siblings, start=1):
            _save(sibling, _sibling(path.parent, i))

    def embed(self, formulas: Sequence[Formula | str], progress: str = "") -> NDArray[np.float32]:
        """Return the frozen features (n, features)."""
        return self._map(parsed(formulas), self.module.features, progress)

    def embed_elements(self, formulas: Sequence[Formula | str]) -> list[NDArray[np.float32]]:
        """Return of each formula a vector an element (n_elements, width): what the layers made of it in this formula.

        The elements stand by atomic number, as in `Formula.numbers`.
        """
        return element_vectors(self.module.tokens, parsed(formulas))

    def properties(self, formulas: Sequence[Formula], progress: str = "") -> NDArray[np.float32]:
        """Return the pretraining properties (n, n_properties), standardised as in pretraining."""
        return self.embed_with_properties(formulas, progress)[1]

    def embed_with_properties(
        self, formulas: Sequence[Formula], progress: str = ""
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `embed` and `properties` of one pass."""
        module = self.module

        def both(numbers: Tensor, fractions: Tensor) -> Tensor:
            features = module.features(numbers, fractions)
            siblings = [sibling(numbers, fractions) for sibling in self.encoders[1:]]
            return torch.cat([features, torch.stack([module.head(features), *siblings]).mean(0)], 1)

        joined = self._map(formulas, both, progress)
        return joined[:, : module.width_of_features], joined[:, module.width_of_features :]

    @torch.no_grad()
    def _map(
        self, formulas: Sequence[Formula], function: Callable[[Tensor, Tensor], Tensor], progress: str
    ) -> NDArray[np.float32]:
        from rich.console import Console
        from rich.progress import track

        # Formulas of equal length share a batch, so that one alloy of 20 elements does not pad a thousand oxides.
        order = np.argsort([len(formula.numbers) for formula in formulas], kind="stable")
        blocks = [order[i : i + 1024] for i in range(0, len(order), 1024)]
        shown = track(blocks, progress, console=Console(stderr=True), disable=not progress, transient=True)
        parts = [
            function(*(tensor.to(self.device) for tensor in tensors_of([formulas[i] for i in block]))).cpu().numpy()
            for block in shown
        ]
        out = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
        back = np.empty_like(out)
        back[order] = out
        return back


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


def parsed(formulas: Sequence[Formula | str]) -> list[Formula]:
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
    """Write what ``save_pretrained`` writes, each file whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder, prefix=part_name("")) as temporary:
        encoder.save_pretrained(temporary)
        for file in temporary.iterdir():
            with whole(folder / file.name) as part:
                file.replace(part)


def _sibling(folder: Path, i: int) -> Path:
    return folder / f"sibling-{i}"


def _encoder(path: Path) -> CompositionEncoder:
    for name in (path, path.with_name("config.json")):
        if not name.is_file():
            raise DataError("there is no such file", where=str(name))
    # What from_pretrained does, which prints to stdout and would spoil --json.
    config = checked(path.with_name("config.json"))
    try:
        module = CompositionEncoder(**json.loads(config))
    except (TypeError, ValueError, RuntimeError) as error:  # whatever the constructor makes of damaged arguments
        raise DataError(
            f"no encoder can be built from it: {error}",
            where=str(path.with_name("config.json")),
            remedy="copy the folder anew from where it is whole",
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
