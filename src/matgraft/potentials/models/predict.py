"""Predictions for a whole dataset, batch by batch, on one process or several.

Frames differ in size: they are batched by a budget of edges. On a CPU several single-threaded processes are used, since
threads hardly speed these networks up and processes do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import torch

from matgraft.core.errors import DataError
from matgraft.core.model import Batch, Encoded
from matgraft.core.processes import map_in_processes
from matgraft.core.quantities import FORCES, STRESS, Array
from matgraft.core.training.batching import Budget, plan_batches
from matgraft.potentials.data.lazy import LazySamples, Samples
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.graphs import Graphs, KeptGraphs, measure
from matgraft.potentials.models.network import AtomicNetwork
from matgraft.potentials.models.uncertainty import Uncertainty

PREDICTION_BUDGET = Budget(edges=40_000)


def encode_all(
    backbone: AtomicNetwork, samples: Sequence[Sample], *, processes: int = 1, progress: str = ""
) -> Sequence[Encoded]:
    """Encode every sample; those read from a store again whenever their tensors are asked for.

    Parameters
    ----------
    processes, progress
        Of the pass over a store that measures the graphs: workers, and title of the progress bar.

    Raises
    ------
    DataError
        If the backbone cannot take a sample.
    """
    encoded, _, reasons = encode_what_can_be(backbone, samples, processes=processes, progress=progress)
    if reasons:
        backbone.encode(samples[min(reasons)])  # raises in full what was noted in short
    return encoded


def encode_what_can_be(
    backbone: AtomicNetwork, samples: Sequence[Sample], *, processes: int = 1, progress: str = ""
) -> tuple[Graphs | KeptGraphs, list[int], dict[int, str]]:
    """Encode the samples that the backbone can take; parameters as of `encode_all`.

    Returns
    -------
    encoded, taken
        The graphs, and the positions of their samples.
    reasons
        Position of every other sample -> why it was refused.
    """

    def lazily(samples: LazySamples) -> tuple[Graphs | KeptGraphs, list[int], dict[int, str]]:
        sizes, reasons = measure(backbone, samples, processes=processes, progress=progress)
        taken = [i for i in range(len(samples)) if i not in reasons]
        return Graphs(backbone, samples.take(taken), sizes[taken]), taken, reasons

    return Samples.of(samples).dispatch(partial(_kept, backbone), lazily)


def _kept(backbone: AtomicNetwork, samples: Samples) -> tuple[Graphs | KeptGraphs, list[int], dict[int, str]]:
    encoded, reasons = {}, {}
    for i, sample in enumerate(samples):
        try:
            encoded[i] = backbone.encode(sample)
        except DataError as error:
            reasons[i] = error.found
    return KeptGraphs(encoded.values()), list(encoded), reasons


def predict_samples(
    backbone: AtomicNetwork,
    samples: Sequence[Sample],
    wanted: Collection[str] = (),
    *,
    encoded: Sequence[Encoded] | None = None,
    budget: Budget = PREDICTION_BUDGET,
    processes: int = 1,
    progress: str = "",
    uncertainty: Uncertainty | None = None,
) -> list[dict[str, Array]]:
    """Predict each sample.

    Parameters
    ----------
    wanted
        Quantities; empty for all that the backbone predicts.
    encoded
        The samples as `AtomicNetwork.encode` gave them, if at hand.
    processes
        Worker processes on a CPU.
    progress
        Title of a progress bar; none if empty.
    uncertainty
        Of this model, where its `UNCERTAINTIES` are wanted as well.

    Returns
    -------
    list of dict
        For each sample, quantity -> float64 array in canonical units: energy (), forces (n, 3), stress (3, 3),
        magmom (n,). A stress of a frame without three independent cell vectors is absent.
    """
    wanted = wanted or tuple(backbone.quantities)
    if encoded is None:
        title = f"graphs for {progress}" if progress else ""
        encoded = encode_all(backbone, samples, processes=processes, progress=title)

    def one_batch(positions: list[int]) -> list[tuple[int, dict[str, Array]]]:
        batch = backbone.collate([encoded[i] for i in positions]).to(backbone.device)
        with torch.no_grad():
            out, rows = backbone.forward_with_rows(batch, wanted)
        found = _unbatch(backbone, out, batch)
        if uncertainty is not None:
            _add_uncertainty(uncertainty, found, rows, batch)
        return list(zip(positions, found, strict=True))

    was_training = backbone.module.training
    backbone.module.eval()
    batches = plan_batches(encoded, budget)
    parts = map_in_processes(one_batch, batches, processes, progress)
    found = dict(pair for part in parts for pair in part)
    backbone.module.train(was_training)
    return [found[i] for i in range(len(encoded))]


def _unbatch(backbone: AtomicNetwork, out: Mapping[str, torch.Tensor], batch: Batch) -> list[dict[str, Array]]:
    counts = batch.counts.tolist()
    samples: list[dict[str, Array]] = [{} for _ in counts]
    # A frame without a volume has no stress. Any NaN is the model's own and must be seen.
    volumes = batch["volume"].tolist() if STRESS.name in out else counts
    for name, tensor in out.items():
        values = tensor.detach().cpu().double().numpy()
        rows = np.split(values, np.cumsum(counts)[:-1]) if backbone.quantities[name].per == "atom" else values
        for sample, value, volume in zip(samples, rows, volumes, strict=True):
            if name != STRESS.name or volume:
                sample[name] = np.asarray(value)
    return samples


def _add_uncertainty(
    uncertainty: Uncertainty, found: Sequence[dict[str, Array]], rows: torch.Tensor, batch: Batch
) -> None:
    """Add to the predictions of each sample how sure the model is of them."""
    cuts = np.cumsum(batch.counts.tolist())[:-1]
    of_atoms = (np.split(tensor.cpu().numpy(), cuts) for tensor in (rows, batch["numbers"]))
    for sample, own, numbers in zip(found, *of_atoms, strict=True):
        sample |= uncertainty.estimate(own, numbers, sample.get(FORCES.name))
