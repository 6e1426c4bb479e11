"""What the first line of a .nqx file says of a network, and the shapes of the arrays that follow from it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from matgraft.potentials.models.nequix.algebra import parse_channels

HIGHEST_DEGREE = 6
"""Of features and of directions: published networks have 3."""
WIDEST = 4096
"""Channels of a layer, and layers of all kinds: published networks have 128 and 4."""

_Count = Annotated[int, Field(gt=0, le=WIDEST)]
_Element = Annotated[int, Field(ge=1, le=118)]


def _rising(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError("atomic numbers that do not rise")
    return numbers


def _known_kinds(text: str) -> str:
    channels = parse_channels(text)
    if 0 not in channels or max(channels) > HIGHEST_DEGREE or not all(0 < n <= WIDEST for n in channels.values()):
        raise ValueError(f"no scalars, degrees beyond {HIGHEST_DEGREE}, or channels that are not 1 to {WIDEST}")
    return text


class NequixConfiguration(BaseModel):
    """Of a network; further keys of the file say how it was trained, and are kept beside these.

    Attributes
    ----------
    cutoff
        Å.
    scale, shift
        eV: energies of atoms are ``scale * readout + shift`` and a reference.
    references_eV
        Of what matgraft wrote: atomic number -> reference energy in float64; the arrays hold what float32 resolves.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    atomic_numbers: Annotated[tuple[_Element, ...], Field(min_length=1), AfterValidator(_rising)]
    atom_energies: dict[str, FiniteFloat]
    cutoff: Annotated[float, Field(gt=0, le=100)]
    hidden_irreps: Annotated[str, Field(max_length=200), AfterValidator(_known_kinds)]
    lmax: Annotated[int, Field(ge=0, le=HIGHEST_DEGREE)]
    n_layers: Annotated[int, Field(gt=0, le=64)]
    radial_basis_size: _Count
    radial_mlp_size: _Count
    radial_mlp_layers: Annotated[int, Field(ge=0, le=64)]
    radial_polynomial_p: Annotated[float, Field(gt=0, le=100)]
    mlp_init_scale: FiniteFloat = 4.0
    index_weights: Literal[False]
    layer_norm: bool
    scale: FiniteFloat
    shift: FiniteFloat
    avg_n_neighbors: Annotated[float, Field(gt=0, le=1e6)]
    references_eV: dict[str, FiniteFloat] | None = None

    @model_validator(mode="after")
    def _is_reached(self) -> NequixConfiguration:
        if max(self.channels) > self.lmax:
            raise ValueError(f"features of degree {max(self.channels)}, and directions of {self.lmax} at most")
        if lacking := {str(Z) for Z in self.atomic_numbers} - set(self.atom_energies):
            raise ValueError(f"no reference energy of {', '.join(sorted(lacking, key=int)[:3])}")
        return self

    @property
    def channels(self) -> dict[int, int]:
        """Degree of features -> channels, in rising order."""
        return parse_channels(self.hidden_irreps)
