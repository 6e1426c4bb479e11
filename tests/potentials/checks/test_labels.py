"""Agreement with labels: sound models pass; soft ones, flipped stress, another theory, a shuffled element do not."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from ase.io import read as read_frames

from matgraft.core.findings import Finding
from matgraft.potentials.checks import agreement
from matgraft.potentials.checks.chosen_frames import MOST_ATOMS, chosen_frames
from matgraft.potentials.checks.labels import LabelsCheck
from matgraft.potentials.checks.physical import SEEN_TAG, Case, Seen
from matgraft.potentials.checks.runner import run_physical
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.checks.structures import Structure
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.simulation.subject import Subject, one_prediction


class Changed(EMT):
    """EMT with its results changed; `noise` in eV/Å depends on the positions alone."""

    def __init__(self, forces=1.0, stress=1.0, offset=0.0, noise=0.0, shuffled="", soft_above=np.inf):
        super().__init__()
        self.how = forces, stress, offset, noise, shuffled, soft_above

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        factor, stress, offset, noise, shuffled, soft_above = self.how
        rng = np.random.default_rng(abs(int(1e6 * float(self.atoms.positions.sum()))))
        forces = self.results["forces"] * factor + noise * rng.standard_normal((len(self.atoms), 3))
        if np.sqrt((forces**2).mean()) > soft_above:
            forces = 0.7 * forces
        mask = np.array(self.atoms.symbols) == shuffled
        forces[mask] = forces[mask][:, [1, 2, 0]] * -1.5
        self.results["forces"] = forces
        if "stress" in self.results:
            self.results["stress"] *= stress
        self.results["energy"] += offset * len(self.atoms)


def frames_of(n=24, alloy=False, seed=0, tags=None) -> Dataset:
    """Strained and hot cells of copper in six trajectories, labelled by EMT."""
    rng, samples = np.random.default_rng(seed), []
    for i in range(n):
        atoms = bulk("Cu", cubic=True)
        if alloy:
            atoms.symbols[0] = "Au"
        strain = 0.03 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += (0.02 + 0.02 * (i % 6)) * rng.standard_normal((4, 3))
        labels = one_prediction(atoms, EMT())
        samples.append(Sample(atoms, labels, {"trajectory": f"T{i % 6}", **(tags or {})}, file="cu.xyz", index=i))
    return Dataset(tuple(samples))


COPPER, ALLOY = frames_of(), frames_of(alloy=True)
FITTED = frames_of(tags={SEEN_TAG: "unseen"})


def subject(name="model", elements=None, **changes):
    make = lambda: Changed(**changes)  # noqa: E731 - each subject has its own
    return Subject(name, name + repr(changes), make, frozenset({"energy", "forces", "stress"}), elements)


def run(own, folder: Path, frames=COPPER, foundation=None) -> Finding:
    structures = (Structure("Cu", bulk("Cu", cubic=True), "bulk", "a test"),)
    case = Case(structures, None, CheckSettings(), frames)
    (found,) = run_physical([LabelsCheck()], own, foundation, case, folder, processes=1)
    return found.finding


def value(found: Finding, name: str) -> float:
    return next(one.value for one in found.measures if one.name == name)


def test_a_sound_model_passes_with_slopes_of_one(tmp_path: Path) -> None:
    found = run(subject(noise=0.1), tmp_path, FITTED, subject("foundation", forces=0.8, offset=2.0))
    assert found.outcome == "passed", found.evidence
    assert value(found, "slope of forces") == pytest.approx(1.0, abs=0.05)
    assert value(found, "slope of stress") == pytest.approx(1.0, abs=1e-3)
    assert "24 frames of 6 trajectories" in found.evidence


@pytest.mark.parametrize(
    ("changes", "said", "option"),
    [
        ({"forces": 0.8}, "slope of forces 0.8", "loss.forces"),
        ({"forces": -1.0}, "slope of forces -1", "loss.forces"),
        ({"stress": -1.0}, "slope of stress -1", "loss.stress"),
        ({"offset": 0.3}, "offset of energies 0.3", "references.mode"),
        ({"noise": 3.0}, "error of forces over forces, Cu", "loss.forces"),
        ({"soft_above": 2.0}, "tenth with the largest 0.8", "loss.forces"),
        ({"forces": np.nan}, "frames whose predictions are not numbers 24", "loss.forces"),
    ],
)
def test_what_was_broken_on_purpose_is_caught(changes, said: str, option: str, tmp_path: Path) -> None:
    found = run(subject(**changes), tmp_path, FITTED)
    assert (found.outcome, found.severity) == ("failed", "error")
    assert said in found.evidence and option in found.option


def test_one_element_that_is_wrong_is_named(tmp_path: Path) -> None:
    found = run(subject(shuffled="Au"), tmp_path, ALLOY)
    failed = [one.name for one in found.measures if not one.passes]
    assert "error of forces over forces, Au" in failed and "error of forces over forces, Cu" not in failed


def test_a_model_that_is_worse_than_its_foundation_fails_though_its_errors_are_small(tmp_path: Path) -> None:
    found = run(subject(noise=0.3), tmp_path, COPPER, subject("foundation", noise=0.1))
    assert [one.name for one in found.measures if not one.passes] == ["error of forces over the foundation's"]
    assert value(found, "error of forces over the foundation's") == pytest.approx(3.0, abs=0.1)


def test_an_offset_is_nothing_wrong_with_a_model_that_was_not_fitted_to_these_labels(tmp_path: Path) -> None:
    assert run(subject(offset=3.0), tmp_path).outcome == "passed"
    assert run(subject(offset=3.0), tmp_path, COPPER, subject("foundation", offset=3.1)).outcome == "passed"
    wrong = run(subject(offset=3.0), tmp_path, COPPER, subject("foundation", offset=0.1))
    assert (wrong.outcome, wrong.severity) == ("failed", "warning")


def test_structures_to_label_are_strained_and_displaced(tmp_path: Path) -> None:
    found = run(subject(forces=0.8), tmp_path)
    labelled = read_frames(tmp_path / found.actions[-1].structures, index=":")
    volumes = [one.get_volume() / len(one) / bulk("Cu").get_volume() for one in labelled]
    assert volumes == pytest.approx([0.96**3, 1.04**3], rel=1e-6)


def test_the_slope_is_that_of_least_squares_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    label = rng.standard_normal(600)
    found = 0.8 * label + 0.1 * rng.standard_normal(600)
    groups = [f"T{i // 60}" for i in range(600)]
    clean = agreement.slope(label, found, groups, 0.05)
    assert clean is not None and clean.interval is not None
    assert clean.value == pytest.approx(float(label @ found / (label @ label)), abs=0.005)
    assert clean.interval[0] < 0.8 < clean.interval[1] and clean.n_units == 10
    found[:6] += 50.0  # one broken frame
    spoiled = agreement.slope(label, found, groups, 0.05)
    assert spoiled is not None and spoiled.value == pytest.approx(0.8, abs=0.02)
    assert agreement.slope(label * 1e-3, found, groups, 0.05) is None


def test_trajectories_take_turns_unseen_frames_come_first_and_a_sample_ends() -> None:
    many = bulk("Cu", cubic=True).repeat((5, 5, 5))
    labels = {"energy": np.array(0.0), "forces": np.zeros((500, 3))}
    tags = [{"trajectory": "A" if i < 30 else "B", SEEN_TAG: "unseen" if i % 2 else "trained_on"} for i in range(60)]
    frames = Dataset(tuple(Sample(many, labels, tags[i], index=i) for i in range(60)))
    positions, groups = chosen_frames(frames)
    assert len(positions) == MOST_ATOMS // 500 and sorted(groups) == ["A"] * 3 + ["B"] * 3
    assert all(i % 2 for i in positions) and chosen_frames(frames)[0] == positions


def test_it_does_not_apply_without_labels_and_frames_of_unknown_elements_are_left_out() -> None:
    nothing = Case((), None, CheckSettings())
    assert LabelsCheck().why_not(subject(), nothing) == "there are no labelled frames"
    case = Case((), None, CheckSettings(), ALLOY)
    assert "elements of none" in LabelsCheck().why_not(subject(elements=frozenset({"Cu"})), case)
    mixed = Dataset((*COPPER.samples, *ALLOY.samples))
    seen = LabelsCheck().observe(subject(elements=frozenset({"Cu"})), Case((), None, CheckSettings(), mixed))
    assert {symbol for one in seen.frames for symbol in one.symbols} == {"Cu"}


def test_molecules_have_forces_alone(tmp_path: Path) -> None:
    rng, samples = np.random.default_rng(0), []
    for i in range(8):
        atoms = Atoms("Cu4", positions=molecule("CH3").positions * 2.3)
        atoms.positions += 0.1 * rng.standard_normal((4, 3))
        samples.append(Sample(atoms, one_prediction(atoms, EMT()), {}, index=i))
    found = run(subject(forces=0.7), tmp_path, Dataset(tuple(samples)))
    assert found.outcome == "failed", found.evidence
    assert not any("stress" in one.name for one in found.measures)


def test_parity_plots_share_axes_and_name_both_models() -> None:
    case = Case((), None, CheckSettings(), COPPER)
    own, before = LabelsCheck().observe(subject(), case), LabelsCheck().observe(subject(forces=0.8), case)
    table, plots = LabelsCheck().figures(Seen(own, before), Case((), None, CheckSettings()))
    assert [row.cells[0].text for row in table.rows] == ["foundation"] * 3 + ["model"] * 3
    forces, stress = (plot.drawings[0].figure for plot in plots.plots)
    assert forces.layout.xaxis.title.text == "your label (eV/Å)" and stress.layout.yaxis.title.text == "predicted (GPa)"
    assert [key.text for key in plots.legend] == ["foundation", "model"]


def at_rest() -> Dataset:
    atoms = bulk("Cu", cubic=True)
    labels = {name: 0 * value for name, value in one_prediction(atoms, EMT()).items()}
    return Dataset((Sample(atoms, labels, {}, file="cu.xyz"),))


class Pushed(EMT):
    """Forces where there are none."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["forces"] = self.results["forces"] + np.array([[1.0], [-1.0], [1.0], [-1.0]])


def test_a_frame_at_rest_tells_forces_that_should_not_be_there(tmp_path: Path) -> None:
    assert run(subject(), tmp_path, at_rest()).outcome == "passed"
    pushed = Subject("pushed", "pushed", Pushed, frozenset({"energy", "forces", "stress"}))
    found = run(pushed, tmp_path, at_rest())
    assert found.outcome == "failed" and value(found, "error of forces, frames at rest") == pytest.approx(1.0)


def test_what_nothing_can_be_held_against_is_no_pass(tmp_path: Path) -> None:
    (sample,) = at_rest()
    energies = Dataset((Sample(sample.content, {"energy": sample.labels["energy"]}, {}, file="cu.xyz"),))
    assert run(subject(), tmp_path, energies).outcome == "not applicable"
