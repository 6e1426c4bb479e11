"""Many small tensors as few large ones: torch writes an entry of its file, and calls Python, for every tensor.

flat = laid_flat({"weights": [a, b], "step": 3})
flat["tensors"]["torch.float32"]        # all numbers of a and b, one after another
flat["structure"]                       # JSON: where each lies, and the plain values
raised(flat)                            # {"weights": [a, b], "step": 3} again, to the bit
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from matgraft.core.texts import parse_json

DTYPES = {str(one): one for one in (torch.float64, torch.float32, torch.bfloat16, torch.float16,
                                    torch.int64, torch.int32, torch.bool)}  # fmt: skip


def laid_flat(content: object) -> dict[str, object]:
    """Lay the tensors of nested dictionaries, lists and tuples one after another, on the CPU.

    Raises
    ------
    TypeError
        If there is a value that is neither a tensor, nor plain, nor holds such ones.
    """
    pieces: dict[str, list[Tensor]] = {}
    filled: dict[str, int] = {}

    def laid(value: object) -> object:
        if isinstance(value, Tensor):
            kind = str(value.dtype)
            start = filled.get(kind, 0)
            filled[kind] = start + value.numel()
            strides = value.stride()
            order = sorted(range(value.ndim), key=lambda axis: -strides[axis])
            lying = value.detach().permute(order)
            pieces.setdefault(kind, []).append(lying.reshape(-1))
            return {"tensor": [kind, start, order, list(lying.shape)]}
        if isinstance(value, Mapping):
            return {"pairs": [[laid(key), laid(one)] for key, one in value.items()]}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [laid(one) for one in value]}
        if value is None or isinstance(value, str | bool | int | float):
            return value
        raise TypeError(f"{type(value).__name__} is not a plain value")

    structure = json.dumps(laid(content))
    return {"structure": structure, "tensors": {kind: _joined(own) for kind, own in pieces.items()}}


def raised(flat: Mapping[str, Any]) -> Any:
    """Return what `laid_flat` was given.

    Raises
    ------
    DataError
        If the structure is no JSON.
    KeyError, RuntimeError, TypeError, ValueError
        If structure and tensors do not belong together.
    """

    def found(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, inside),) = value.items()
        if kind == "tensor":
            dtype, start, order, shape = inside
            own: Tensor = flat["tensors"][dtype]
            if own.dtype != DTYPES[dtype] or start < 0:
                raise ValueError(f"a tensor of {dtype} from {start} on among numbers of {own.dtype}")
            size = torch.Size(shape)
            axes = [order.index(axis) for axis in range(len(order))]
            return own.narrow(0, start, size.numel()).reshape(size).permute(axes).clone()
        if kind == "pairs":
            return {found(key): found(one) for key, one in inside}
        return {"list": list, "tuple": tuple}[kind](found(one) for one in inside)

    return found(parse_json(flat["structure"]))


def _joined(pieces: list[Tensor]) -> Tensor:
    """Join vectors that may lie on several devices; each device hands over its numbers at once."""
    if len({piece.device for piece in pieces}) > 1:
        pieces = [piece.cpu() for piece in pieces]
    return torch.cat(pieces).cpu()
