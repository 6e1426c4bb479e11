"""Where a fit computes. One function decides for the loop, the batch, the memory and the ladder's timing."""

from __future__ import annotations

import torch


def training_device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU.

    A user who wants the CPU hides the GPU from torch: ``CUDA_VISIBLE_DEVICES= matgraft tune ...``. All else computes
    where its model lies (`Backbone.device`), and a model that was loaded or tuned lies on the CPU.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
