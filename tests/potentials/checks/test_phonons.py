"""Phonons: frequencies against frozen phonons, unstable crystals, references, bands, cells that are too large."""

from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from matgraft.potentials.checks.phonons import PhononsCheck, repeats_of
from matgraft.potentials.checks.physical import Case, Seen
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure, kind_of_structure
from matgraft.potentials.simulation.subject import Subject

COPPER, BCC = bulk("Cu", a=3.6), bulk("Cu", "bcc", a=2.86)
HCP = bulk("Cu", "hcp", a=2.55, covera=1.63)
THZ = 1e-12 * units.second  # ASE's unit of time in picoseconds


def subject(make=EMT, name="model") -> Subject:
    return Subject(name, f"{name}-{make.__name__}", make, frozenset({"energy", "forces", "stress"}))


class Soft(EMT):
    """Copper whose energies are lower by a fifth: its frequencies are lower by a factor of 0.8 ** 0.5."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results = {name: 0.8 * value for name, value in self.results.items() if name != "energies"}


def case_of(atoms, **references) -> Case:
    structure = Structure("s", atoms, kind_of_structure(atoms), "a test")
    values = {"s": {key: Reference(value=value, source="your DFT") for key, value in references.items()}}
    return Case((structure,), structure, CheckSettings(), references=values)


def judged(model, folder, atoms, foundation=None, **references):
    case = case_of(atoms, **references)
    return run_physical([PhononsCheck()], model, foundation, case, folder, processes=1)[0].finding


def failing(finding):
    return [one.name for one in finding.measures if not one.passes]


def frozen(cell, pattern, amplitude=0.01) -> float:
    """Return the frequency in THz of a mode that moves atoms by a pattern of +1 and -1 along z."""
    moved = []
    for sign in (1, -1):
        atoms = cell.copy()
        atoms.positions[:, 2] += sign * amplitude * np.asarray(pattern)
        atoms.calc = EMT()
        moved.append(atoms.get_forces()[0, 2])
    stiffness = (moved[1] - moved[0]) / (2 * amplitude)
    return float(np.sqrt(stiffness / cell.get_masses()[0]) / (2 * np.pi) * THZ)


@pytest.fixture(scope="module")
def copper():
    return PhononsCheck().observe(subject(), case_of(COPPER))


def test_the_longitudinal_mode_at_the_edge_is_that_of_a_frozen_phonon(copper) -> None:
    a = np.cbrt(4 * copper.start.atoms().get_volume())
    cell = bulk("Cu", a=a, cubic=True)
    planes = np.where(np.isclose(cell.positions[:, 2], 0), 1, -1)  # X: planes along z move against each other
    place = copper.bands.at.index(copper.bands.ticks[copper.bands.labels.index("X")])
    assert max(copper.bands.frequencies_THz[place]) == pytest.approx(frozen(cell, planes), rel=0.005)
    assert copper.displaced == 1 and copper.repeats == (4, 4, 4) and copper.optical_THz is None
    assert abs(copper.lowest_THz) < 1e-3  # the acoustic modes at the zone's centre


def test_an_optical_mode_is_that_of_a_frozen_phonon() -> None:
    found = PhononsCheck().observe(subject(), case_of(HCP))
    cell = found.start.atoms()
    assert found.optical_THz == pytest.approx(frozen(cell, [1, -1]), rel=0.005)
    assert found.lowest_THz > -1e-3 and found.highest_THz >= found.optical_THz


def test_an_imaginary_mode_fails_unless_foundation_or_dft_has_it(tmp_path: Path) -> None:
    found = judged(subject(), tmp_path, BCC)
    assert (found.outcome, found.severity) == ("failed", "error") and failing(found) == ["lowest frequency"]
    assert "imaginary mode of" in found.evidence and "min_frequency_THz" in found.remedy
    assert found.actions[-1].structures == "to-label/phonons-s.extxyz"
    beside = judged(subject(), tmp_path, BCC, subject(name="foundation"))
    assert beside.outcome == "passed" and "in the foundation" in beside.evidence
    assert judged(subject(), tmp_path, BCC, min_frequency_THz=found.measures[1].value + 0.2).outcome == "passed"
    assert failing(judged(subject(), tmp_path, BCC, min_frequency_THz=1.0)) == ["lowest frequency"]


def test_soft_frequencies_fail_against_dft_and_pass_beside_the_foundation(copper, tmp_path: Path) -> None:
    references = {"max_frequency_THz": copper.highest_THz, "mean_frequency_THz": copper.mean_THz}
    assert judged(subject(), tmp_path, COPPER, **references).outcome == "passed"
    found = judged(subject(Soft), tmp_path, COPPER, **references)
    assert failing(found) == ["highest frequency", "mean frequency"] and found.option == "loss.forces=3.0"
    assert found.measures[2].value == pytest.approx(np.sqrt(0.8) * copper.highest_THz, rel=1e-3)
    assert judged(subject(Soft), tmp_path, COPPER, subject(name="foundation")).outcome == "passed"  # 18 % pass


def test_bands_of_both_are_drawn_with_the_reference(copper) -> None:
    soft = PhononsCheck().observe(subject(Soft), case_of(COPPER))
    (plots,) = PhononsCheck().figures(Seen(copper, soft), case_of(COPPER, max_frequency_THz=7.4))
    figure = plots.plots[0].drawings[0].figure
    assert [key.text for key in plots.legend] == ["model", "foundation", "reference: highest"]
    theirs, own, level = figure.data
    assert len(own.x) == len(own.y) and np.nanmax(own.y) == pytest.approx(np.nanmax(theirs.y) / np.sqrt(0.8), rel=1e-3)
    assert set(level.y) == {7.4}
    assert "K|U" in figure.layout.xaxis.ticktext
    assert np.isnan(own.x).sum() == 3 * (1 + sum("|" in label for label in copper.bands.labels))


def test_displaced_cells_to_label_have_forces_worth_a_label(copper) -> None:
    (cell,) = PhononsCheck().to_label(Seen(copper), case_of(COPPER))
    assert len(cell) == 64 and cell.pbc.all()
    cell.calc = EMT()
    assert 0.1 < np.abs(cell.get_forces()).max() < 1.0


def test_model_and_foundation_have_one_supercell_and_large_cells_a_reason(tmp_path: Path) -> None:
    assert repeats_of(bulk("Cu", a=3.53), COPPER) == repeats_of(bulk("Cu", a=3.65), COPPER) == (4, 4, 4)
    disordered = bulk("Cu", cubic=True).repeat((3, 3, 6))
    disordered.rattle(0.1, seed=3)
    found = judged(subject(), tmp_path, disordered)
    assert found.outcome == "not applicable" and "216 atoms" in found.evidence
    small = disordered[:150]
    assert "more than 60,000" in PhononsCheck().why_not(subject(), case_of(small))
    assert "slab" in judged(subject(), tmp_path, fcc111("Cu", (1, 1, 3), vacuum=8)).evidence
