"""A model of mace-torch as plain values, and built of them anew: what is written is no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from matgraft.potentials.models.mace.vendor import blocks, extract_config_mace_model, modules, o3, vendor_noise

_IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
_CLASSES = ("interaction_cls", "interaction_cls_first", "readout_cls")


def with_scale_shift(vendor: Any) -> Any:
    """Return a plain MACE as the ScaleShiftMACE with scale 1 and shift 0, which it equals; the vendor can save that."""
    if type(vendor) is modules.MACE:
        heads = len(getattr(vendor, "heads", None) or ["Default"])
        scale_shift = blocks.ScaleShiftBlock([1.0] * heads, [0.0] * heads)
        vendor.scale_shift = scale_shift.to(next(vendor.parameters()).dtype)
        vendor.__class__ = modules.ScaleShiftMACE
    return vendor


def architecture_of(vendor: Any) -> dict[str, object]:
    """Return as plain values what `build_mace` makes the same model of."""
    plain: dict[str, object] = {}
    for name, value in extract_config_mace_model(vendor).items():
        if name in _IRREPS:
            plain[name] = None if value is None else str(value)
        elif name in _CLASSES:
            plain[name] = value.__name__
        elif name == "gate":
            plain[name] = next(gate for gate, function in modules.gate_dict.items() if function is value)
        else:
            plain[name] = value.tolist() if isinstance(value, np.ndarray | np.generic | Tensor) else value
    dtype = next(vendor.parameters()).dtype
    return plain | {"dtype": str(dtype).removeprefix("torch.")}


def build_mace(architecture: Mapping[str, Any]) -> nn.Module:
    """Return a ScaleShiftMACE with untrained weights, in its precision."""
    options = dict(architecture)
    dtype = {"float32": torch.float32, "float64": torch.float64}[options.pop("dtype")]
    options |= {name: o3.Irreps(options[name]) for name in _IRREPS if options[name] is not None}
    options |= {name: getattr(blocks, options[name]) for name in _CLASSES}
    options |= {"gate": modules.gate_dict[options["gate"]], "atomic_energies": np.array(options["atomic_energies"])}
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with vendor_noise(), torch.random.fork_rng(devices=[]):
            return modules.ScaleShiftMACE(**options).to(dtype)
    finally:
        torch.set_default_dtype(before)
