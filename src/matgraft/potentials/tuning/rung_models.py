"""The model of a finished rung on disk, and the shifted foundation as one that trained nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matgraft.core.errors import DataError
from matgraft.core.training.objective import FitResult
from matgraft.core.training.schedule import FitSettings
from matgraft.core.weights import load_tensors, save_tensors
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.tuning.adapt import TunedPotential, shift_references
from matgraft.potentials.tuning.ladder import RungResult
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.references import ReferenceShift
from matgraft.potentials.tuning.replay import Rehearsal
from matgraft.potentials.tuning.step_zero import StepZero


def save_adapted(adapted: TunedPotential, path: Path) -> None:
    """Write a finished adaptation: tensors and plain values."""
    content = {
        "weights": adapted.backbone.module.state_dict(),
        "references": adapted.backbone.references.detach(),  # of some backbones no part of the weights
        "fit": asdict(adapted.fit),
        "step_zero": adapted.step_zero.model_dump(),
        "settings": adapted.settings.model_dump(),
        "loss": adapted.loss.model_dump(),
        "trained": adapted.trained,
        "strategy": adapted.strategy,
        "replay": adapted.replay and adapted.replay.model_dump(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(content, path)


def load_adapted(foundation: Potential, references: ReferenceShift, path: Path) -> TunedPotential:
    """Read back what `save_adapted` wrote."""
    content = load_tensors(path)
    try:
        return _adapted(content, copy.deepcopy(foundation), references)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"it does not hold what a rung left: {type(error).__name__}: {error}",
            where=str(path),
            remedy="remove the file and resume the run: the rung is fitted again",
        ) from error


def _adapted(content: Mapping[str, Any], backbone: Potential, references: ReferenceShift) -> TunedPotential:
    backbone.module.load_state_dict(content["weights"])
    backbone.references.data.copy_(content["references"])
    return TunedPotential(
        backbone=_plain(backbone),
        references=references,
        fit=FitResult(**content["fit"]),
        step_zero=StepZero(**content["step_zero"]),
        settings=FitSettings(**content["settings"]),
        loss=LossSettings(**content["loss"]),
        trained=content["trained"],
        strategy=content["strategy"],
        replay=Rehearsal(**content["replay"]) if content["replay"] else None,
    )


def baseline(foundation: Potential, shift: ReferenceShift, rung: RungResult, loss: LossSettings) -> TunedPotential:
    """Return the shifted foundation as an adaptation that trained nothing."""
    backbone = copy.deepcopy(foundation)
    shift_references(backbone, shift)
    row = {"step": 0, "epoch": 0.0, "seconds": 0.0, "learning_rate": 0.0, "train_loss": 0.0, **rung.errors}
    fit = FitResult([row], 0, rung.loss, "nothing was trained", 0, 0.0, 0.0, 1)
    return TunedPotential(_plain(backbone), shift, fit, StepZero(), FitSettings(), loss, 0, rung.name)


def _plain(backbone: Potential) -> Potential:
    """Return the model as a fit leaves it: on the CPU wherever its foundation lies, frozen, in evaluation mode."""
    backbone.module.to("cpu").requires_grad_(False)
    backbone.module.eval()
    return backbone
