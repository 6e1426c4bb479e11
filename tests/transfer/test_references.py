"""Reference energies: planted shifts come back, and what the data cannot tell is said."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from matgraft.data.dataset import Dataset, Sample
from matgraft.errors import DataError, OptionError
from matgraft.quantities import Array
from matgraft.transfer.references import (
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
