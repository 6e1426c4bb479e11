"""A hash of what a potential is: its numbers, whatever file they came from."""

from __future__ import annotations

import hashlib
import json

import torch

from matgraft.potentials.models.potential import Potential


def fingerprint(potential: Potential) -> str:
    """Return the SHA-256 of a potential's weights, references, elements and precision."""
    card = potential.card  # the name says which head of several
    digest = hashlib.sha256(json.dumps([card.backbone, card.name, card.dtype, card.elements]).encode())
    digest.update(json.dumps(card.quantities).encode())
    state = {**potential.module.state_dict(), "references": potential.references.detach()}
    for name in sorted(state):
        if isinstance(state[name], torch.Tensor):
            digest.update(name.encode() + state[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
