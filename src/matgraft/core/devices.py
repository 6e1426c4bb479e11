"""Where a fit computes. One function decides for the loop, the batch, the memory and the ladder's timing."""

from __future__ import annotations

import os
import re

import torch

from matgraft.core.errors import OptionError

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""What CUDA reads when it starts: the GPUs that this process, and those it starts, may see."""
_DEVICE = re.compile(r"auto|cpu|cuda(:(?P<number>\d{1,4}))?")
ASKED = "MATGRAFT_DEVICE"
"""Set in this process, and so in those it starts, where a device was chosen; nobody has to set it by hand."""


def training_device() -> torch.device:
    """Return the GPU if torch finds one, else the CPU.

    A user who wants another one says ``--device``, or hides the GPU from torch: ``CUDA_VISIBLE_DEVICES= matgraft tune
    ...``. All else computes where its model lies (`Backbone.device`), and a model that was loaded or tuned lies on the
    CPU.
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prediction_device() -> torch.device:
    """Return where models are put that predict: on the CPU, unless a device was chosen."""
    return training_device() if os.environ.get(ASKED) else torch.device("cpu")


def choose_device(name: str) -> str:
    """Have this process, and those that it starts, compute on one device; to be called before any tensor is on a GPU.

    Other devices are hidden from CUDA, so that nothing can take them by mistake.

    Parameters
    ----------
    name
        ``auto`` (the GPU where there is one), ``cpu``, ``cuda``, or ``cuda:1``: the second of the visible GPUs.

    Raises
    ------
    OptionError
        If it is none of these, or PyTorch finds no such GPU.
    """
    found = _DEVICE.fullmatch(name)
    if not found:
        raise OptionError(f"--device {name} is not a device", allowed=["auto", "cpu", "cuda", "cuda:0, cuda:1, ..."])
    if name == "cpu":
        os.environ[VISIBLE] = ""
    elif name != "auto":
        _choose_gpu(name, int(found["number"]) if found["number"] else None)
    os.environ[ASKED] = name
    return name


def _choose_gpu(name: str, number: int | None) -> None:
    if torch.version.cuda is None and not torch.cuda.is_available():
        raise OptionError(
            f"--device {name}: PyTorch {torch.__version__} is built for the CPU alone",
            allowed=["--device cpu"],
            remedy="install PyTorch for CUDA: docs/gpu.md",
        )
    before = os.environ.get(VISIBLE)
    visible = before.split(",") if before else []
    if number is not None and (not visible or number < len(visible)):
        os.environ[VISIBLE] = visible[number] if visible else str(number)
    elif number is not None:
        raise OptionError(f"--device {name}: {VISIBLE} shows {len(visible)} of the GPUs: {before}")
    if not torch.cuda.is_available():
        raise OptionError(
            f"--device {name}: PyTorch finds no such GPU" + (f" with {VISIBLE}={before}" if before is not None else ""),
            allowed=["--device cpu", "--device auto"],
            remedy="`nvidia-smi` lists the GPUs of the machine and their driver",
        )
