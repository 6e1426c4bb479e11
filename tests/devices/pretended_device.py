"""A GPU that is not there: tensors say they lie on it, their numbers lie on the CPU, and to mix the two fails.

    with PretendedDevice():
        x = torch.ones(3).to(DEVICE)
        x + torch.ones(3)                # PlacementError, as on a GPU
        x + torch.tensor(1.0)            # fine, as on a GPU: a number from the CPU
        x.cpu().numpy()                  # fine

A `Placed` tensor wraps one on the CPU. Torch sees its device as `DEVICE`, also from C++, from autograd and from
TorchScript: whatever makes a tensor "on the device of x" makes it there. Each operation is executed on the CPU, after a
look at where its arguments lie. So vendors' networks run whole, with their own numbers and on any machine, and tell
which tensor was made on the wrong device. The rules are those of CUDA:

* all tensors of an operation lie on one device,
* but a pointwise operation takes numbers (tensors without dimensions) from the CPU, unless it writes to them,
* and indices may come from the CPU;
* `copy_`, `to` and `cpu` move; numbers are drawn on a device by a generator of that device;
* no numpy array is made of a tensor on the device.

The device is named ``meta``, the one accelerator without memory that every build of torch knows. Torch makes tensors
without numbers on it in a few places of its own; these are caught here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
aten = torch.ops.aten

_MOVES = {aten._to_copy, aten.copy_}
_EMPTY = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._unsafe_index, aten._index_put_impl_}


class PlacementError(RuntimeError):
    """An operation that a GPU would refuse."""


class Placed(Tensor):
    """A tensor on the pretended device; its numbers are in ``here``."""

    here: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> Self:
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        return Tensor._make_wrapper_subclass(cls, here.size(), dtype=here.dtype, device=DEVICE, **layout)

    def __init__(self, here: Tensor) -> None:
        self.here = here

    def __repr__(self) -> str:
        return f"Placed({self.here})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = self.detach().clone()
        return nn.Parameter(copied, self.requires_grad) if isinstance(self, nn.Parameter) else copied

    def __reduce_ex__(self, protocol: int) -> Any:
        """Be written to a file as what ``map_location="cpu"`` reads back."""
        return self.here.clone().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return execute(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Within it the pretended device can be used."""

    def __enter__(self) -> Self:
        self._constructors = _Constructors()
        self._swapped = torch.__future__.get_swap_module_params_on_conversion()
        # `Module.to` keeps the parameter objects on a GPU; of a wrapped tensor it does so by a swap.
        torch.__future__.set_swap_module_params_on_conversion(True)
        self._constructors.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._constructors.__exit__(*error)
        torch.__future__.set_swap_module_params_on_conversion(self._swapped)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return execute(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """Makes tensors of numbers on the CPU and moves them: torch itself would make them without numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": CPU}).to(kwargs["device"])
        if func is Tensor.new_tensor and isinstance(args[0], Placed):
            options = {"dtype": args[0].dtype, "device": DEVICE} | kwargs
            return torch.tensor(args[1], **options | {"device": CPU}).to(options["device"])
        if func is Tensor.numpy and isinstance(args[0], Placed):
            raise PlacementError(f"no numpy array is made of a tensor on {DEVICE}")
        if func is Tensor.tolist and isinstance(args[0], Placed):
            return args[0].cpu().tolist()
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            args = (args[0], _index(args[1]), *args[2:])
        return func(*args, **kwargs)


def _index(index: Any) -> Any:
    """Return an index whose lists and arrays are tensors on the CPU."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.as_tensor(index) if isinstance(index, list | np.ndarray) else index


def execute(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Execute an operation on the CPU, and say of the outcome where it would lie."""
    tensors = list(_tensors((*args, *kwargs.values())))
    if not tensors:
        args = _declared(func, args)
    if any(one.device == DEVICE and not isinstance(one, Placed) for one in tensors):
        raise NotImplementedError(f"{func}: torch made a tensor without numbers, `_Constructors` must catch how")
    placed = any(isinstance(one, Placed) for one in tensors)
    asked = kwargs.get("device")
    if not placed and (asked is None or torch.device(asked) != DEVICE):
        return func(*args, **kwargs)
    rule = Rule.of(func)
    rule.refuse_mixed(args, kwargs, tensors)
    here, inside = _here(args), {name: _here(value) for name, value in kwargs.items()}
    if asked is not None:
        inside["device"], placed = CPU, torch.device(asked) == DEVICE
    out = func(*here, **inside)
    if written := rule.written(args, kwargs):
        return written[0] if len(written) == 1 else tuple(written)
    if rule.empty and out.is_floating_point():
        out.fill_(torch.nan)  # whoever reads what was never written is seen
    return _placed(out) if placed else out


def _declared(func: Any, args: Sequence[Any]) -> tuple[Any, ...]:
    """Return arguments where no number stands for the only tensor: torch hands over a traced constant so."""
    kinds = [str(one.type) for one in func._schema.arguments]
    return tuple(
        torch.tensor(arg) if kind == "Tensor" and isinstance(arg, int | float) else arg
        for arg, kind in zip(args, kinds, strict=False)
    )


@dataclass(frozen=True)
class Rule:
    """What an operation allows of the places of its arguments.

    Attributes
    ----------
    moves
        It copies from one device to another.
    numbers
        It takes tensors without dimensions from the CPU.
    indices
        It takes indices from the CPU: its second argument.
    writes
        Position or name of the arguments that it writes to.
    empty
        It makes a tensor without writing to it.
    """

    name: str
    moves: bool
    numbers: bool
    indices: bool
    writes: tuple[tuple[int, str], ...]
    empty: bool

    @classmethod
    @functools.cache
    def of(cls, func: Any) -> Rule:
        """Return the rule of an overload of torch."""
        packet, indices = func.overloadpacket, func.overloadpacket in _INDEXING
        written = [
            (i, one.name)
            for i, one in enumerate(func._schema.arguments)
            if one.alias_info is not None and one.alias_info.is_write
        ]
        numbers = torch.Tag.pointwise in func.tags or indices
        if torch.Tag.inplace_view in func.tags:
            raise NotImplementedError(f"{func} changes the shape of a tensor in place")
        return cls(str(func), packet in _MOVES, numbers, indices, tuple(written), packet in _EMPTY)

    def written(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor]:
        """Return the arguments that it writes to."""
        found = [args[i] if i < len(args) else kwargs.get(name) for i, name in self.writes]
        return [one for one in found if isinstance(one, Tensor)]

    def refuse_mixed(self, args: Sequence[Any], kwargs: dict[str, Any], tensors: Sequence[Tensor]) -> None:
        """Raise a `PlacementError` where a GPU would refuse: the arguments are not all of the CPU."""
        if self.moves:
            return
        if any(isinstance(one, torch.Generator) for one in kwargs.values()):
            raise PlacementError(f"{self.name}: a generator of the CPU draws no numbers on {DEVICE}")
        excused = {id(one) for one in tensors if self.numbers and one.dim() == 0}
        if self.indices and isinstance(args[0], Placed):
            excused |= {id(one) for one in args[1]}
        excused -= {id(one) for one in self.written(args, kwargs)}
        for one in tensors:
            if not isinstance(one, Placed) and id(one) not in excused:
                raise PlacementError(f"{self.name}: a tensor {tuple(one.shape)} on the CPU among others on {DEVICE}")


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _here(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_here, value))
    return value.here if isinstance(value, Placed) else value


def _placed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(map(_placed, value))
    return Placed(value) if isinstance(value, Tensor) else value
