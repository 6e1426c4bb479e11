"""Couplings and harmonics are e3nn's, and turn with their directions; each bond finds its own reverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.potentials.models.bonds import find_bonds, pair_up
from matgraft.potentials.models.nequix.algebra import Harmonics, coupling, parse_channels
from matgraft.testing import crystals

HIGHEST = 4
TRIPLES = [
    (one, two, three)
    for one in range(HIGHEST + 1)
    for two in range(HIGHEST + 1)
    for three in range(abs(one - two), min(one + two, HIGHEST) + 1, 2)
]


def test_couplings_and_harmonics_are_those_of_e3nn() -> None:
    o3 = pytest.importorskip("matgraft.potentials.models.mace.vendor", reason='needs pip install "matgraft[mace]"').o3
    for triple in TRIPLES:
        torch.testing.assert_close(coupling(*triple), o3.wigner_3j(*triple, dtype=torch.float64), atol=1e-6, rtol=0)
    vectors = torch.tensor(np.random.default_rng(0).standard_normal((7, 3)))
    theirs = o3.spherical_harmonics(list(range(7)), vectors, normalize=True, normalization="component")
    torch.testing.assert_close(Harmonics(6)(vectors, vectors.norm(dim=1)), theirs)


@pytest.mark.parametrize("triple", TRIPLES)
def test_a_coupling_of_three_harmonics_does_not_change_when_they_turn(triple: tuple[int, int, int]) -> None:
    random = np.random.default_rng(1)
    vectors = torch.tensor(random.standard_normal((3, 3)))
    turn = torch.tensor(np.linalg.qr(random.standard_normal((3, 3)))[0])

    def invariant(vectors: torch.Tensor) -> float:
        harmonics = Harmonics(HIGHEST)(vectors, vectors.norm(dim=1))
        parts = [harmonics[i, degree**2 : (degree + 1) ** 2] for i, degree in enumerate(triple)]
        return float(torch.einsum("ijk,i,j,k->", coupling(*triple), *parts))

    assert invariant(vectors @ turn) == pytest.approx(invariant(vectors), abs=1e-9)


@settings(max_examples=20)
@given(st.integers(0, 2), st.floats(2.0, 7.0))
def test_each_bond_finds_its_own_reverse(which: int, cutoff: float) -> None:
    atoms = crystals()[which]
    centre, neighbour, images = find_bonds(atoms, cutoff)
    owner, one = pair_up(centre, neighbour, images)
    assert len(one) * 2 == len(centre) and (np.bincount(owner, minlength=len(one)) == 2).all()
    vectors = atoms.positions[neighbour] + images @ atoms.cell[:] - atoms.positions[centre]
    np.testing.assert_allclose(np.linalg.norm(vectors[one][owner], axis=1), np.linalg.norm(vectors, axis=1), atol=1e-9)
    assert not np.bincount(owner, weights=vectors[:, 0], minlength=len(one)).round(9).any()


def test_no_bonds_make_no_pairs() -> None:
    owner, one = pair_up(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3), int))
    assert owner.shape == one.shape == (0,)


def test_channels_are_read_as_e3nn_writes_them() -> None:
    assert parse_channels("128x0e + 64x1o+32x2e") == {0: 128, 1: 64, 2: 32}
    assert parse_channels("0e") == {0: 1}
    for wrong in ("", "8x0", "8x0e+8x0e", "8x1o+8x0e", "8x1e", "x0e", "8x0e+", "999999x0e"):
        with pytest.raises(ValueError):
            parse_channels(wrong)
