"""SOAP: Adam in the eigenbasis of each matrix's gradients.

For a matrix of weights with gradient G, moving averages of G Gᵀ and Gᵀ G are kept, with eigenvectors P and Q, and Adam
works on Pᵀ G Q instead of G: directions that the network couples get rates of their own. The bases are brought up to
date every few steps. What is no matrix (biases, norms, MACE's contractions and products with the elements) is left to
plain Adam.

Few frames leave some directions without a gradient that is worth the name, and which basis these get is a matter of
rounding. Adam would make whole steps along whatever came out: two processes would soon part from one, and the model
would move where no frame asks for it. So undetermined directions share the mean of their squares, a change of basis
turns squares as variances, and what is rounding alone makes no steps: a step no longer depends on that choice.

A tensor may hold several matrices, flattened one after another, as e3nn's equivariant layers do: each has bases of its
own (`Backbone.matrices`; optimizers of libraries take such a tensor for one long vector). All that is kept is tensors
and numbers, so that a checkpoint holds it.

Sources: Vyas et al., ICLR 2025, arXiv:2409.11321 (SOAP); Kingma and Ba, ICLR 2015 (Adam); compared on interatomic
potentials by arXiv:2607.02499.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT, StateDict

Shape = tuple[int, ...]

LARGEST = 1024
"""Sides longer than this keep the identity as their basis: a decomposition costs its third power."""
DETERMINED = 1e-6
"""Smallest eigenvalue, as a part of the largest, whose direction is more than rounding. Gradients in float32 are good
to some 1e-7, and eigenvalues are their squares."""
TINY = 1e-15
"""Gradients below it are none: their squares leave the range of float32."""


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of each matrix's gradients.

    Parameters
    ----------
    groups
        Of torch's kind, with ``params``, ``lr`` and ``matrices``: for each parameter the shapes of the matrices whose
        entries it holds, in order. None where it is a matrix itself, or none at all.
    betas
        Decay of the averages of gradients and of their squares.
    memory
        Decay of the averages of G Gᵀ and Gᵀ G.
    every
        Steps between two looks at the bases.
    eps
        Added to the root of the squares, as a part of the largest in its matrix.
    weight_decay
        Part of the rate by which each step shrinks the weights, apart from the gradient as AdamW does it.
    """

    def __init__(
        self,
        groups: ParamsT,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        memory: float = 0.95,
        every: int = 10,
        eps: float = 1e-5,
        weight_decay: float = 0.0,
    ) -> None:
        averaging = {"betas": betas, "memory": memory, "every": every, "eps": eps}
        super().__init__(groups, averaging | {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one step with the gradients that the parameters carry; those without one stay as they are."""
        for group in self.param_groups:
            averaging = _Averaging(*(group[name] for name in _Averaging._fields))
            for parameter, matrices in zip(group["params"], group["matrices"], strict=True):
                if parameter.grad is not None:
                    self._advance(parameter, matrices, group["lr"], averaging, group["weight_decay"])

    @torch.no_grad()
    def load_state_dict(self, state_dict: StateDict) -> None:
        """Restore also what is kept in float64, which torch rounds to the parameters' dtype."""
        super().load_state_dict(state_dict)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        for i, saved in state_dict["state"].items():
            for block, exact in zip(self.state[parameters[i]]["blocks"], saved["blocks"], strict=True):
                device = parameters[i].device
                block["products"] = [None if one is None else one.to(device).clone() for one in exact["products"]]

    def _advance(
        self, parameter: Tensor, matrices: Sequence[Shape], rate: float, averaging: _Averaging, decay: float
    ) -> None:
        shapes = list(matrices) or [tuple(parameter.shape)]
        gradient = parameter.grad
        assert gradient is not None
        parts = gradient.flatten().split([torch.Size(shape).numel() for shape in shapes])
        gradients = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        state = self.state[parameter]
        if not state:
            state["step"], state["blocks"] = 0, [dict(vars(_Block.begin(part))) for part in gradients]
            if any(block["bases"] for block in state["blocks"]):
                return  # in the basis of this very gradient all but its diagonal is rounding
        state["step"] += 1
        blocks = [_Block(**block) for block in state["blocks"]]
        steps = [block.step(part, state["step"], averaging) for block, part in zip(blocks, gradients, strict=True)]
        state["blocks"] = [dict(vars(block)) for block in blocks]
        if decay:
            parameter.mul_(1 - rate * decay)
        parameter.sub_(rate * torch.cat([step.flatten() for step in steps]).view_as(parameter))


class _Averaging(NamedTuple):
    """How a group averages, see `Soap`."""

    betas: tuple[float, float]
    memory: float
    every: int
    eps: float


@dataclass
class _Block:
    """One matrix or other tensor.

    Attributes
    ----------
    average, squares
        Of the gradient turned into the bases.
    products, bases
        Of each side of a matrix, in float64 and as columns in the gradient's dtype; None for a side that is too long.
    determined
        How many columns of each basis, the first ones, are more than rounding.
    """

    average: Tensor
    squares: Tensor
    products: list[Tensor | None] = field(default_factory=list)
    bases: list[Tensor | None] = field(default_factory=list)
    determined: list[int] = field(default_factory=list)

    @classmethod
    def begin(cls, gradient: Tensor) -> _Block:
        """Find the bases of the first gradient."""
        block = cls(torch.zeros_like(gradient), torch.zeros_like(gradient))
        if gradient.ndim == 2 and min(gradient.shape) > 1:
            short = [n <= LARGEST for n in gradient.shape]
            block.products = [_product(gradient, side) if short[side] else None for side in (0, 1)]
            found = [None if product is None else _eigenvectors(product) for product in block.products]
            block.bases = [None if one is None else one[0].to(gradient) for one in found]
            block.determined = [0 if one is None else one[1] for one in found]
        return block

    def step(self, gradient: Tensor, number: int, averaging: _Averaging) -> Tensor:
        """Return the step of a rate of 1, and bring averages and bases up to date."""
        first, second = averaging.betas
        turned = _turn(gradient, self.bases)
        self.average.lerp_(turned, 1 - first)
        self.squares.lerp_(turned.square(), 1 - second)
        self._share_undetermined()
        size = (self.squares / (1 - second**number)).sqrt()
        size += averaging.eps * size.max() + TINY
        found = _turn(self.average / (1 - first**number) / size, [_transposed(basis) for basis in self.bases])
        for side, product in enumerate(self.products):
            if product is not None:
                product.lerp_(_product(gradient, side), 1 - averaging.memory)
                # Rows and columns that never had a gradient, of elements that no frame holds, stay to the last bit.
                found *= (product.diagonal() != 0).unsqueeze(1 - side)
        if number % averaging.every == 0:
            self._refresh()
        return found

    def _share_undetermined(self) -> None:
        for side, (basis, count) in enumerate(zip(self.bases, self.determined, strict=True)):
            if basis is not None and count < len(basis):
                rest = self.squares.narrow(side, count, len(basis) - count)
                rest.copy_(rest.mean(side, keepdim=True).expand_as(rest))

    def _refresh(self) -> None:
        """Improve each basis, and turn the averages into it: squares as variances that do not know of each other."""
        for side, (product, basis) in enumerate(zip(self.products, self.bases, strict=True)):
            if product is None or basis is None:
                continue
            old = basis.double()
            new, self.determined[side] = _improved(product, old, self.determined[side])
            change = (new.T @ old).to(basis)
            self.average = change @ self.average if side == 0 else self.average @ change.T
            self.squares = change.square() @ self.squares if side == 0 else self.squares @ change.square().T
            self.bases[side] = new.to(basis)


def _product(gradient: Tensor, side: int) -> Tensor:
    """Return G Gᵀ for side 0, Gᵀ G for side 1."""
    exact = gradient.double()
    return exact @ exact.T if side == 0 else exact.T @ exact


def _eigenvectors(product: Tensor) -> tuple[Tensor, int]:
    """Return the eigenvectors as columns, largest eigenvalue first, and how many of them are determined."""
    values, vectors = torch.linalg.eigh(product / product.abs().max().clamp(min=1e-300))
    return vectors.flip(1), _determined(values)


def _improved(product: Tensor, basis: Tensor, determined: int) -> tuple[Tensor, int]:
    """Improve a basis by a power iteration; where columns are undetermined there is no start for one: make it anew."""
    if determined < len(basis):
        return _eigenvectors(product)
    order = _quotients(product, basis).argsort(descending=True)
    better = torch.linalg.qr(product @ basis[:, order])[0]
    return better, _determined(_quotients(product, better))


def _quotients(product: Tensor, basis: Tensor) -> Tensor:
    return (basis * (product @ basis)).sum(dim=0)


def _determined(values: Tensor) -> int:
    return int((values > DETERMINED * values.max().clamp(min=0)).sum())


def _turn(tensor: Tensor, bases: Sequence[Tensor | None]) -> Tensor:
    """Return Pᵀ G Q; a side without a basis stays as it is, and so does what is no matrix."""
    for side, basis in enumerate(bases):
        if basis is not None:
            tensor = basis.T @ tensor if side == 0 else tensor @ basis
    return tensor


def _transposed(basis: Tensor | None) -> Tensor | None:
    return None if basis is None else basis.T
