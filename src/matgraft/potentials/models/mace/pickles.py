"""Files of mace-torch are pickles: one is opened where its hash is given, and where nothing of it is unknown here."""

from __future__ import annotations

import importlib.util
import pydoc
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from matgraft.core.errors import DataError, OptionError
from matgraft.core.model_files import recognise
from matgraft.potentials.models.mace.rebuilding import with_scale_shift
from matgraft.potentials.models.mace.vendor import blocks, modules, vendor_noise

HASH_DIGITS = 16
"""Least digits of a SHA-256 that say which file is trusted: 64 bits."""

_READOUTS = (blocks.LinearReadoutBlock, blocks.NonLinearReadoutBlock, blocks.NonLinearBiasReadoutBlock)


def open_pickle(path: Path, sha256: str, found: str, source: str) -> Any:
    """Return the vendor's model of a pickle, as a ScaleShiftMACE.

    Parameters
    ----------
    sha256
        The hash that is trusted, or its first digits.
    found
        Hash of the file.
    source
        What a foundation's name begins with.

    Raises
    ------
    DataError
        If classes are unknown here, or it is no MACE of energies alone.
    OptionError
        If no hash is given, or another one.
    """
    _refuse_unknown_classes(path)
    _refuse_untrusted(path, sha256.lower(), found, source)
    try:
        with vendor_noise():
            vendor = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever the classes of another version make of it
        raise _other_version(path, str(error)) from error
    _refuse_other_models(vendor, path)
    return with_scale_shift(vendor)


def _refuse_unknown_classes(path: Path) -> None:
    """Refuse a pickle of classes that are not on this machine. None is called, and mace and e3nn alone are imported."""
    unknown = [name for name in recognise(path).classes if not _is_known(name)]
    if unknown:
        raise _other_version(path, f"it needs {', '.join(unknown[:3])}")


def _is_known(name: str) -> bool:
    package = name.partition(".")[0]
    if package not in ("mace", "e3nn"):
        return package in ("__builtin__", "copy_reg") or importlib.util.find_spec(package) is not None
    with vendor_noise():
        return pydoc.locate(name) is not None


def _other_version(path: Path, reason: str) -> DataError:
    return DataError(
        f"mace-torch {version('mace-torch')} cannot open it: {reason}",
        where=str(path),
        allowed=[f"a model of the parts that mace-torch {version('mace-torch')} has"],
        remedy="a newer mace-torch, or code of its author's, has saved it: ask there for a file of this version",
    )


def _refuse_untrusted(path: Path, sha256: str, found: str, source: str) -> None:
    if not sha256:
        raise OptionError(
            "a file of MACE is a pickle: opening it runs code that lies in it",
            where=str(path),
            remedy="name the file with its hash, if you trust where it comes from",
            options=[{"foundation": f"{source}@{found[:HASH_DIGITS]}"}],
        )
    if len(sha256) < HASH_DIGITS:
        raise OptionError(f"@{sha256} is too short to say which file is trusted", allowed=[f"{HASH_DIGITS} digits up"])
    if not found.startswith(sha256):
        raise OptionError(f"its SHA-256 is {found}, not {sha256}: another file than the one trusted", where=str(path))


def _refuse_other_models(vendor: Any, path: Path) -> None:
    """Refuse what is no MACE of energies alone, or not built of e3nn's modules."""
    kind = type(vendor)
    if kind not in (modules.MACE, modules.ScaleShiftMACE):
        raise DataError(f"holds a {kind.__name__}", where=str(path), allowed=["MACE", "ScaleShiftMACE"])
    other = [f"readout {type(one).__name__}" for one in vendor.readouts if type(one) not in _READOUTS]
    other += ["inputs of charge or spin"] if hasattr(vendor, "joint_embedding") else []
    accelerated = getattr(vendor.products[0], "cueq_config", None) or getattr(
        vendor.interactions[0], "oeq_config", None
    )
    other += ["kernels of cuequivariance or openequivariance"] if accelerated else []
    if other:
        raise DataError(f"this MACE has {', '.join(other)}", where=str(path), allowed=["plain energy models of e3nn"])
