"""Reference energies: planted shifts come back, and what the data cannot tell is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.tuning.references import (
    ReferenceShift,
    fit_references,
    given_references,
    keep_references,
    undetermined_directions,
)

SHIFTS = {"O": -431.25, "Si": 3.5, "Ge": 0.125}


def frames(formulas: Sequence[str], shifts: dict[str, float], physics: Sequence[float]) -> Dataset:
    """Frames whose energy is the foundation's (`physics`) plus the planted shift of each atom."""
    samples = []
    for formula, energy in zip(formulas, physics, strict=True):
        atoms = Atoms(formula)
        planted = energy + sum(shifts[symbol] for symbol in atoms.symbols)
        samples.append(Sample(atoms, {"energy": np.array(planted)}))
    return Dataset(tuple(samples))


def predictions(physics: Sequence[float]) -> list[dict[str, Array]]:
    return [{"energy": np.array(energy)} for energy in physics]


FORMULAS = ["Si2", "SiO2", "Si3O6", "GeO2", "Ge4", "SiGe", "Ge2Si6"]
energies = st.lists(st.floats(-500, 500), min_size=len(FORMULAS), max_size=len(FORMULAS))


@given(energies)
def test_planted_shifts_come_back_whatever_the_physics(physics: list[float]) -> None:
    """Raw energies play no role: any structure-dependent energy that the foundation knows drops out."""
    shift = fit_references(frames(FORMULAS, SHIFTS, physics), predictions(physics))
    assert list(shift.shift_eV) == ["O", "Si", "Ge"]
    assert shift.shift_eV == pytest.approx(SHIFTS, abs=1e-9)
    assert (shift.rank, shift.n_elements, shift.n_frames, shift.undetermined) == (3, 3, 7, ())
    assert shift.residual_after_meV == pytest.approx(0, abs=1e-6)
    shifts_per_atom = [np.mean([SHIFTS[symbol] for symbol in Atoms(f).symbols]) for f in FORMULAS]
    assert shift.residual_before_meV == pytest.approx(1000 * np.sqrt(np.mean(np.square(shifts_per_atom))))


def test_energies_count_per_atom() -> None:
    """Least squares on eV/atom: a large cell weighs no more than a small one."""
    energies_eV = {"Si": 1.0, "Si100": 300.0}
    data = Dataset(tuple(Sample(Atoms(formula), {"energy": np.array(e)}) for formula, e in energies_eV.items()))
    assert fit_references(data, predictions([0.0, 0.0])).shift_eV["Si"] == pytest.approx((1 + 3) / 2)


def test_frames_without_an_energy_are_left_out() -> None:
    data = frames(["Si2", "SiO2"], SHIFTS, [1.0, 2.0])
    unlabelled = Sample(Atoms("Ge"), {"forces": np.zeros((1, 3))})
    shift = fit_references(Dataset((unlabelled, *data)), [{"energy": np.array(99.0)}, *predictions([1.0, 2.0])])
    assert (shift.n_frames, list(shift.shift_eV)) == (2, ["O", "Si"])
    assert shift.shift_eV["Si"] == pytest.approx(SHIFTS["Si"])


def test_no_energies_at_all() -> None:
    data = Dataset((Sample(Atoms("Ge"), {}),))
    with pytest.raises(DataError, match=r"no frame has an energy(.|\n)*references.mode=keep"):
        fit_references(data, predictions([0.0]))


def test_one_composition_determines_one_sum() -> None:
    physics = [-10.0, -20.0, -30.0]
    shift = fit_references(frames(["SiO2", "Si2O4", "OSiO"], SHIFTS, physics), predictions(physics))
    assert shift.undetermined == ("only the sum 2 O + Si is determined",)
    assert (shift.rank, shift.n_elements) == (1, 2)
    total = 2 * SHIFTS["O"] + SHIFTS["Si"]
    assert shift.energy(Atoms("SiO2").numbers) == pytest.approx(total)
    # The smallest that fits: along the composition itself.
    assert shift.shift_eV == pytest.approx({"O": 2 * total / 5, "Si": total / 5})
    assert shift.residual_after_meV == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("fractions", "elements", "text"),
    [
        ([[1 / 3, 2 / 3]], ["Si", "O"], "only the sum Si + 2 O is determined"),
        ([[0.5, 0.5], [0.5, 0.5]], ["Ga", "As"], "only the sum Ga + As is determined"),
        ([[0.2, 0.2, 0.6]] * 2, ["Ca", "Ti", "O"], "only the sum Ca + Ti + 3 O is determined"),
        ([[2 / 5, 3 / 5]], ["Al", "O"], "only the sum Al + 1.5 O is determined"),
        # Fe and O only together, Si also alone.
        ([[0.5, 0.5, 0], [0, 0, 1], [0.25, 0.25, 0.5]], ["Fe", "O", "Si"], "1 combination of Fe, O undetermined"),
        ([[0.25, 0.25, 0.5, 0], [0, 0, 0, 1]], ["H", "C", "N", "O"], "2 combinations of H, C, N undetermined"),
        ([[1, 0, 0]], ["A", "B", "C"], "2 combinations of B, C undetermined"),
        # Phosphorus is too dilute to be told.
        ([[1, 0], [0.9996, 0.0004]], ["Si", "P"], "1 combination of P undetermined"),
    ],
)
def test_undetermined_directions_in_words(fractions: list[list[float]], elements: list[str], text: str) -> None:
    (said,) = undetermined_directions(np.array(fractions), elements)
    assert said.startswith(text)


def test_what_is_determined_says_nothing() -> None:
    assert undetermined_directions(np.array([[1.0]]), ["Si"]) == ()
    assert undetermined_directions(np.array([[0.5, 0.5], [0.4, 0.6]]), ["Si", "O"]) == ()


def test_a_spread_of_nothing_determines_nothing() -> None:
    """A thousandth of a composition is no lever: the difference would be fitted on noise."""
    barely = np.array([[0.5, 0.5], [0.5001, 0.4999]])
    assert undetermined_directions(barely, ["Ga", "As"]) == ("only the sum Ga + As is determined",)


structure = cache(Atoms)


def alloy(formula: str, energy_per_atom: float, weight: float = 1.0) -> Sample:
    """A frame that the foundation gives no energy at all."""
    atoms = structure(formula)
    return Sample(atoms, {"energy": np.array(len(atoms) * energy_per_atom)}, weight=weight)


def refit(samples: Sequence[Sample]) -> ReferenceShift:
    return fit_references(Dataset(tuple(samples)), predictions([0.0] * len(samples)))


@pytest.mark.parametrize("n_pure", [1, 100, 10_000])
@pytest.mark.parametrize(("n_atoms", "n_dilute"), [(64, 20), (216, 1), (512, 5), (2000, 2)])
def test_a_dilute_element_is_found_beside_any_number_of_pure_frames(n_pure: int, n_atoms: int, n_dilute: int) -> None:
    noise = 0.005 * np.random.default_rng(0).standard_normal(n_pure + n_dilute)
    pure = [alloy("Si8", -50 + e) for e in noise[:n_pure]]
    mixed = (-50 * (n_atoms - 1) - 1000) / n_atoms
    shift = refit([*pure, *(alloy(f"Si{n_atoms - 1}Ge", mixed + e) for e in noise[n_pure:])])
    assert (shift.rank, shift.undetermined) == (2, ())
    assert shift.shift_eV["Si"] == pytest.approx(-50, abs=0.02)
    # The error of a mean over the dilute frames, times the atoms that share it, by five.
    assert shift.shift_eV["Ge"] == pytest.approx(-1000, abs=5 * 0.005 * n_atoms * (1 / n_dilute + 1 / n_pure) ** 0.5)


@pytest.mark.parametrize("n_first", [1, 20, 5000])
@pytest.mark.parametrize("half", [500, 2000])
def test_what_noise_alone_parts_stays_undetermined(n_first: int, half: int) -> None:
    """Two compositions at most 0.1 % apart, in whatever numbers: the difference is no lever."""
    noise = 0.005 * np.random.default_rng(1).standard_normal(n_first + 3)
    frames = [alloy(f"Ga{half}As{half}", -4 + e) for e in noise[:n_first]]
    shift = refit([*frames, *(alloy(f"Ga{half + 1}As{half - 1}", -4 + e) for e in noise[n_first:])])
    assert shift.undetermined == ("only the sum Ga + As is determined",)
    assert shift.shift_eV == pytest.approx({"Ga": -4, "As": -4}, abs=0.02)


def test_a_small_spread_that_the_energies_tell_is_determined() -> None:
    """The same lever where one element's shift is that of another pseudopotential: 0.5 eV/atom is no noise."""
    frames = [alloy("Ga500As500", -525.0)] * 20 + [alloy("Ga501As499", (-50 * 501 - 1000 * 499) / 1000)] * 3
    shift = refit(frames)
    assert shift.undetermined == ()
    assert shift.shift_eV == pytest.approx({"Ga": -50, "As": -1000}, abs=1e-6)


def test_a_plain_spread_is_determined_however_few_the_frames() -> None:
    """One frame of Si3Ge among ten thousand of SiGe."""
    shift = refit([*([alloy("SiGe", -2.0)] * 10_000), alloy("Si3Ge", -1.5)])
    assert shift.shift_eV == pytest.approx({"Si": -1, "Ge": -3}, abs=1e-9)
    assert shift.undetermined == ()


def test_a_weight_is_a_number_of_copies() -> None:
    frames = [("Si2", 1.0, 1), ("Si2", 1.3, 3), ("SiO2", -2.0, 2), ("SiO2", -2.4, 1), ("O2", 5.0, 4)]
    weighed = refit([alloy(formula, energy, weight) for formula, energy, weight in frames])
    copied = refit([alloy(formula, energy) for formula, energy, n in frames for _ in range(n)])
    for name in ("shift_eV", "residual_before_meV", "residual_after_meV", "rank"):
        assert getattr(weighed, name) == pytest.approx(getattr(copied, name), rel=1e-9), name
    tenth = refit([alloy(formula, energy, weight / 10) for formula, energy, weight in frames])
    assert tenth.shift_eV == pytest.approx(weighed.shift_eV)
    energies = [replace(alloy(f, energy), label_weights={"energy": n, "forces": 9.0}) for f, energy, n in frames]
    assert refit(energies) == weighed


def test_a_weight_of_zero_is_no_frame() -> None:
    kept = [alloy("Si2", 1.0), alloy("SiGe", 2.0)]
    ignored = [alloy("Ge2", 99.0, weight=0), alloy("O2", -300.0, weight=0), alloy("Si2", 7.0, weight=0)]
    assert refit([*ignored[:1], *kept, *ignored[1:]]) == refit(kept)
    shift = refit([alloy("SiGe", 2.0), *ignored[:1]])  # the only pure Ge weighs nothing: it gives no rank either
    assert shift.undetermined == ("only the sum Si + Ge is determined",)
    with pytest.raises(DataError, match="no frame with an energy has a weight above zero"):
        refit(ignored)


def test_the_rank_of_the_fit_and_the_words_agree() -> None:
    data = frames(["Fe100O100", "Fe100O101"], {"Fe": 1.0, "O": 2.0}, [0.0, 0.0])
    shift = fit_references(data, predictions([0.0, 0.0]))
    assert (shift.rank == 2) == (shift.undetermined == ())


def test_given() -> None:
    data = frames(FORMULAS, SHIFTS, [0.0] * 7)
    shift = given_references({"Si": 1.5}, data)
    assert (shift.mode, shift.shift_eV) == ("given", {"Si": 1.5})
    assert shift.energy(Atoms("SiO2").numbers) == 1.5
    with pytest.raises(OptionError, match=r"references given for Mo, Zr, which no frame has\nallowed: O, Si, Ge"):
        given_references({"Zr": 1.0, "Si": 1.0, "Mo": 2.0}, data)


def test_keep() -> None:
    shift = keep_references(frames(FORMULAS, SHIFTS, [0.0] * 7))
    assert (shift.mode, shift.shift_eV, shift.n_elements) == ("keep", {}, 3)
    assert shift.energy(Atoms("SiO2").numbers) == 0.0
    assert shift.text.startswith("keep: none eV/atom")


def test_the_line_for_reports() -> None:
    physics = [-10.0, -20.0]
    shift = fit_references(frames(["SiO2", "Si2O4"], {"O": 1.0, "Si": 0.5}, physics), predictions(physics))
    assert shift.text == ("refit: O +1.0000, Si +0.5000 eV/atom (rank 1 of 2); only the sum 2 O + Si is determined")


def test_predictions_must_match_the_frames() -> None:
    with pytest.raises(ValueError, match="shorter"):
        fit_references(frames(["Si2", "Ge"], SHIFTS, [0.0, 0.0]), predictions([0.0]))
