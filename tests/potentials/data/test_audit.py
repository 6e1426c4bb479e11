"""The audit on real frames: silent where they are right, and every fault that is planted comes out with its remedy."""

import shlex
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding, blocking
from matgraft.core.provenance import LevelOfTheory, Provenance, SourceFile
from matgraft.core.quantities import Array, parse_shear, parse_unit, reorder_shear
from matgraft.potentials.audit import energy, forces, stress, theory
from matgraft.potentials.audit.audit import LOOKS, Look, run_looks
from matgraft.potentials.audit.base import Evidence
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.repair import reorder_groups
from matgraft.potentials.data.sample import Sample

ELEMENTS = ("Si", "Mo")
DOCS = Path(__file__).resolve().parents[3] / "docs/audit.md"


def findings(data, frames: Dataset | None = None, *looks: Look) -> dict[str, Finding]:
    """Audit frames with the predictions of `data`, by all looks or by some; by code."""
    evidence = Evidence(data.frames if frames is None else frames, data.predictions, ELEMENTS, "CHGNet")
    return {finding.code: finding for look in looks or LOOKS for finding in look(evidence)}


def plant(
    dataset: Dataset,
    quantity: str,
    change: Callable[[Array, Sample], Array],
    of: Callable[[Sample], bool] = lambda sample: True,
) -> Dataset:
    """Change one label in some frames."""
    return dataset.map(lambda s: s.with_labels(**{quantity: change(s.labels[quantity], s)}) if of(s) else s)


def written_in(dataset: Dataset, quantity: str, unit: str) -> Dataset:
    """Labels as they come out if numbers in one unit are taken for the canonical one."""
    return plant(dataset, quantity, lambda x, s: parse_unit(unit, quantity).from_canonical(x, s.n_atoms))


def failed(found: dict[str, Finding]) -> set[str]:
    return {code for code, finding in found.items() if finding.outcome == "failed"}


def in_trajectory(name: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.tags["trajectory"].startswith(name)


def where(dataset: Dataset, of: Callable[[Sample], bool]) -> tuple[int, ...]:
    return tuple(i for i, sample in enumerate(dataset) if of(sample))


# --- clean -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["si", "mo"])
def test_nothing_fires_on_clean_frames(name, request):
    found = findings(request.getfixturevalue(name))
    assert not failed(found)
    decided = {code for code, finding in found.items() if finding.outcome == "passed"}
    assert {"energy-unit", "force-unit", "stress-unit", "stress-sign", "stress-shear", "theory-labels"} <= decided


def test_the_shared_silicon_mixes_two_shear_orders(si_as_shared):
    found = findings(si_as_shared)
    dynamics = where(si_as_shared.frames, lambda s: s.tags["config_type"] in ("AIMD-NVT", "Vacancy"))
    assert failed(found) == {"stress-shear"}
    assert found["stress-shear"].frames == dynamics
    assert "xz,yz,xy stand in the places" in found["stress-shear"].remedy
    assert not found["stress-shear"].blocks and not found["stress-shear"].actions, "two trajectories are not proof"


def test_every_code_has_a_section_in_the_docs(si):
    text = DOCS.read_text(encoding="utf-8")
    codes = [finding.code for finding in run_looks(si.frames, si.predictions, elements=ELEMENTS, model_name="CHGNet")]
    assert set(codes) == set(findings(si)), "the audit runs every look"
    assert [code for code in codes if f"\n## {code}\n" not in text] == []


def test_every_failure_says_what_to_do(si):
    broken = plant(written_in(si.frames, "energy", "Hartree"), "forces", lambda x, s: -x + 0.1)
    found = findings(si, broken)
    assert failed(found)
    for finding in (found[code] for code in failed(found)):
        assert finding.remedy and finding.evidence and finding.frames and finding.numbers


def test_without_predictions_it_says_so(si):
    found = {finding.code: finding for finding in run_looks(si.frames, None)}
    assert not failed(found)
    assert found["energy-unit"].outcome == found["stress-shear"].outcome == "not applicable"
    assert "no predictions" in found["force-unit"].evidence


def test_empty_and_misaligned_are_errors(si):
    with pytest.raises(DataError, match="empty"):
        run_looks(si.frames[:0], [])
    with pytest.raises(DataError, match="predictions for"):
        run_looks(si.frames, si.predictions[:-1])


def test_one_frame_is_judged_without_a_crash(si):
    assert not blocking(run_looks(si.frames[:1], si.predictions[:1], elements=ELEMENTS))


# --- energy ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["si", "mo"])
@pytest.mark.parametrize(
    "unit", ["eV/atom", "Hartree", "Hartree/atom", "Ry", "kcal/mol", "kcal/mol/atom", "kJ/mol", "meV", "-eV/atom"]
)
def test_energy_in_another_unit(name, unit, request):
    data = request.getfixturevalue(name)
    found = findings(data, written_in(data.frames, "energy", unit), energy.energy_convention)
    said = {code for code in ("energy-unit", "energy-per-atom") if found[code].outcome == "failed"}
    assert said, "neither the unit nor the convention was found wrong"
    for code in said:
        assert shlex.split(found[code].option) == [f"units.energy={unit}"]
        assert found[code].blocks
    assert ("energy-per-atom" in said) == unit.endswith("/atom")
    assert ("energy-unit" in said) == (unit != "eV/atom")


def test_energy_per_atom_of_frames_of_one_size(mo):
    same = [i for i, sample in enumerate(mo.frames) if sample.n_atoms == 54]
    frames = written_in(mo.frames[same], "energy", "eV/atom")
    found = {f.code: f for f in run_looks(frames, [mo.predictions[i] for i in same])}
    assert found["energy-per-atom"].option == "units.energy=eV/atom"


def test_neighbouring_units_are_both_named(si):
    """Hartree and Ry lie within a factor of two: only the absolute energies can tell, and not with another zero."""
    slope = findings(si, si.frames, energy.energy_convention)["energy-unit"].numbers["slope"]
    frames = plant(written_in(si.frames, "energy", "Hartree"), "energy", lambda x, s: 1.9 / slope * x)
    finding = findings(si, frames, energy.energy_convention)["energy-unit"]
    assert finding.option == "units.energy=Hartree"
    assert "Ry" not in finding.remedy
    other_zero = plant(frames, "energy", lambda x, s: x + 5.0 * s.n_atoms)
    finding = findings(si, other_zero, energy.energy_convention)["energy-unit"]
    assert finding.option in ("units.energy=Ry", "units.energy=Hartree", "")
    assert "Ry" in finding.remedy and "Hartree" in finding.remedy


def test_the_unit_taken_counts(si):
    """Hartree taken for kcal/mol is Hartree, whatever factor the labels went through."""
    taken = SourceFile(name="Si_train.extxyz", sha256="", n_samples=0, units={"energy": "kcal/mol"})
    frames = Dataset(written_in(si.frames, "energy", "Hartree").samples, Provenance(files=(taken,)))
    frames = plant(frames, "energy", lambda x, s: x * parse_unit("kcal/mol", "energy").factor)
    assert findings(si, frames, energy.energy_convention)["energy-unit"].option == "units.energy=Hartree"


@settings(max_examples=8)
@given(st.floats(0.55, 1.7), st.floats(-3000, 3000))
def test_softness_and_references_never_fire(softness, reference):
    """Simulated, since softness is what is varied: labels steeper or flatter than predictions, references far off."""
    rng = np.random.default_rng(0)
    frames, predictions = simulated(rng, softness, reference)
    found = {finding.code: finding for finding in energy.energy_convention(Evidence(frames, predictions))}
    assert found["energy-unit"].outcome == found["energy-per-atom"].outcome == "passed"


def simulated(rng, softness, reference):
    from ase.build import bulk

    samples, predictions = [], []
    for i in range(20):
        atoms = bulk("Si", cubic=True) * (1, 1, 1 + i % 2)
        atoms.rattle(0.02 * (1 + i % 5), seed=i)
        energy = len(atoms) * rng.normal(-5.2, 0.1)
        label = softness * energy + reference * len(atoms) + rng.normal(0, 0.01 * len(atoms))
        samples.append(Sample(atoms, {"energy": label}, {"trajectory": f"t{i % 3}"}))
        predictions.append({"energy": np.asarray(energy)})
    return Dataset(tuple(samples)), predictions


def test_constant_energies_decide_nothing(si):
    ground = si.frames[where(si.frames, in_trajectory("Ground"))]
    frames = Dataset(tuple(ground.samples) * 8)
    prediction = si.predictions[where(si.frames, in_trajectory("Ground"))[0]]
    found = {f.code: f for f in run_looks(frames, [prediction] * 8)}
    assert found["energy-unit"].outcome == "not applicable"
    assert "differ by less" in found["energy-unit"].evidence


# --- forces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["si", "mo"])
@pytest.mark.parametrize(
    "unit", ["Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å", "kJ/mol/Å", "meV/Å", "-eV/Å", "-Hartree/Bohr"]
)
def test_forces_in_another_unit(name, unit, request):
    data = request.getfixturevalue(name)
    finding = findings(data, written_in(data.frames, "forces", unit), forces.force_unit)["force-unit"]
    assert finding.blocks
    assert shlex.split(finding.option) == [f"units.forces={unit}"]


def test_forces_of_one_trajectory_with_the_other_sign(mo):
    chosen = in_trajectory("AIMD NVT simulation at 6000 K")
    finding = findings(mo, plant(mo.frames, "forces", lambda x, s: -x, chosen), forces.force_unit)["force-unit"]
    assert finding.frames == where(mo.frames, chosen)
    assert "-eV/Å" in finding.remedy and not finding.option


def test_forces_of_other_atoms(mo):
    chosen = in_trajectory("AIMD NVT simulation at 6000 K")
    shuffled = plant(mo.frames, "forces", lambda x, s: np.random.default_rng(s.index).permutation(x), chosen)
    found = findings(mo, shuffled)
    assert found["force-order"].frames == where(mo.frames, chosen)
    assert found["force-order"].severity == "warning"
    assert found["force-order"].numbers["mean_cosine_reordered"] > 0.9
    assert found["net-force"].outcome == "passed"


# --- stress ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["si", "mo"])
@pytest.mark.parametrize("unit", ["GPa", "kBar", "-kBar", "-GPa", "-eV/Å³", "Ry/Bohr³"])
def test_stress_in_another_unit(name, unit, request):
    data = request.getfixturevalue(name)
    found = findings(data, written_in(data.frames, "stress", unit), stress.stress_unit_and_sign, stress.stress_shear)
    said = {code for code in ("stress-unit", "stress-sign") if found[code].outcome == "failed"}
    assert {found[code].option for code in said} == {shlex.quote(f"units.stress={unit}")}
    assert ("stress-sign" in said) == unit.startswith("-")
    assert ("stress-unit" in said) == (unit != "-eV/Å³")
    assert found["stress-shear"].outcome == "passed"


def as_virial(dataset: Dataset) -> Dataset:
    return plant(dataset, "stress", lambda x, s: -x * s.content.cell.volume)


def test_a_virial_taken_for_a_stress(mo):
    assert findings(mo, as_virial(mo.frames), stress.stress_unit_and_sign)["stress-unit"].option == "units.virial=eV"


def test_a_virial_of_cells_as_large_as_the_unit_is_named_beside_it(si):
    """1300 Å³ in eV cannot be told from the 1602 eV/Å³ of a kBar where all cells are of one size: both are named."""
    finding = findings(si, as_virial(si.frames), stress.stress_unit_and_sign)["stress-unit"]
    assert finding.blocks
    assert "virial" in finding.remedy + finding.option and "-kBar" in finding.remedy + finding.option


def test_a_stress_taken_for_a_virial(mo):
    taken = SourceFile(name="Mo_train.extxyz", sha256="", n_samples=0, units={"stress": "eV (virial)"})
    frames = Dataset(mo.frames.samples, Provenance(files=(taken,)))
    frames = plant(frames, "stress", lambda x, s: -x / s.content.cell.volume)
    assert findings(mo, frames, stress.stress_unit_and_sign)["stress-unit"].option == "'units.stress=eV/Å³'"


def test_a_virial_of_the_other_sign_is_no_stress_in_kbar(si):
    """1300 Å³ in eV are nearly the 1602 eV/Å³ of a kBar: the key says virial, so that its sign is the one mistake."""
    taken = SourceFile(name="Si_train.extxyz", sha256="", n_samples=0, units={"stress": "eV (virial)"})
    frames = Dataset(si.frames.samples, Provenance(files=(taken,)))
    finding = findings(si, plant(frames, "stress", lambda x, s: -x), stress.stress_unit_and_sign)["stress-sign"]
    assert shlex.split(finding.option) == ["units.virial=-eV"]


def test_an_offset_in_pressure_is_no_fault(si):
    """Pulay stress, or the foundation's own offset: 3 GPa on every frame."""
    frames = plant(si.frames, "stress", lambda x, s: x + 3 * 0.00624 * np.eye(3))
    assert not failed(findings(si, frames, stress.stress_unit_and_sign))


# --- shear -----------------------------------------------------------------------------------------------------------


# In these two few trajectories say by themselves which order is right: a warning that names it.
UNSURE = {("mo", ("yz", "xy", "xz")), ("si", ("xz", "yz", "xy"))}


@pytest.mark.parametrize("name", ["si", "mo"])
@pytest.mark.parametrize("order", list(permutations(("yz", "xz", "xy")))[1:])
def test_shear_in_another_order_is_found_and_put_right(name, order, request):
    data = request.getfixturevalue(name)
    misread = plant(data.frames, "stress", lambda x, s: written_as(x, order))
    finding = findings(data, misread, stress.stress_shear)["stress-shear"]
    assert len(finding.frames) == len(data.frames)
    assert finding.blocks == ((name, order) not in UNSURE)
    if not finding.blocks:
        assert finding.severity == "warning"
        assert f"{','.join(order)} stand in the places yz, xz, xy" in finding.remedy
        return
    assert finding.option == f"shear={','.join(order)}"
    found = parse_shear(finding.option.removeprefix("shear="))
    for before, after in zip(data.frames, misread, strict=True):
        assert np.allclose(reorder_shear(after.labels["stress"], found), before.labels["stress"])


def written_as(stress: Array, order: tuple[str, ...]) -> Array:
    """Put the components named in `order` into the places yz, xz, xy: the inverse of `reorder_shear`."""
    places = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
    out = stress.copy()
    for place, component in zip(("yz", "xz", "xy"), order, strict=True):
        i, j = places[place]
        out[i, j] = out[j, i] = stress[places[component]]
    return out


def test_the_published_order_of_molybdenum(mo):
    """xy, zx, yz read as xy, yz, zx: yz and xz are swapped."""
    swapped = plant(mo.frames, "stress", lambda x, s: x[[1, 0, 2]][:, [1, 0, 2]] * off_diagonal() + x * np.eye(3))
    finding = findings(mo, swapped, stress.stress_shear)["stress-shear"]
    assert finding.option == "shear=xz,yz,xy"
    assert finding.numbers["correlation_best"] > finding.numbers["correlation_as_read"] + 0.3


def off_diagonal() -> Array:
    return 1 - np.eye(3)


def test_shear_of_one_trajectory_in_another_order(mo):
    chosen = in_trajectory("AIMD NVT simulation at 6000 K")
    frames = plant(mo.frames, "stress", lambda x, s: written_as(x, ("xy", "yz", "xz")), chosen)
    finding = findings(mo, frames, stress.stress_shear)["stress-shear"]
    assert finding.frames == where(mo.frames, chosen)
    assert "xy,yz,xz stand in the places" in finding.remedy


def test_shear_and_sign_wrong_at_once(mo):
    frames = plant(mo.frames, "stress", lambda x, s: -1602.18 * written_as(x, ("xy", "yz", "xz")))
    found = findings(mo, frames, stress.stress_unit_and_sign, stress.stress_shear)
    assert found["stress-unit"].option == found["stress-sign"].option == "units.stress=-kBar"
    assert found["stress-shear"].option == "shear=xy,yz,xz"


# --- theory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.5, 1.0, -0.5])
@pytest.mark.parametrize(
    ("name", "trajectory"),
    [
        ("si", "AIMD NVT simulation for normal structure at 843 K"),
        ("si", "Si 2x2x2 cell, mode 4"),
        ("mo", "AIMD NVT simulation at 300 K"),
        ("mo", "Mo 3x3x3 cell, mode 5"),
    ],
)
def test_one_trajectory_of_another_pseudopotential(name, trajectory, shift, request):
    data, chosen = request.getfixturevalue(name), in_trajectory(trajectory)
    shifted = plant(data.frames, "energy", lambda x, s: x + shift * s.n_atoms, chosen)
    finding = findings(data, shifted, theory.theory_labels)["theory-labels"]
    assert finding.outcome == "failed"
    assert finding.frames == where(data.frames, chosen)
    assert abs(finding.numbers["largest_offset_eV_per_atom"] - abs(shift)) < 0.2


def stated(dataset: Dataset, theory: Callable[[Sample], LevelOfTheory | None]) -> Dataset:
    from dataclasses import replace

    return dataset.map(lambda sample: replace(sample, theory=theory(sample)))


def test_stated_theories_that_differ(mo):
    pbe, scan = LevelOfTheory(code="VASP", functional="PBE"), LevelOfTheory(code="VASP", metagga="R2SCAN")
    chosen = in_trajectory("AIMD NVT simulation at 300 K")
    finding = findings(mo, stated(mo.frames, lambda s: scan if chosen(s) else pbe))["theory-stated"]
    assert finding.blocks
    assert finding.frames == where(mo.frames, chosen)
    assert "R2SCAN" in finding.evidence
    assert finding.option == "strategy.name=multihead heads.by=theory"
    assert finding.actions[1].drop == finding.frames


def test_levels_with_one_description_are_counted_behind_it_once(mo):
    """Meshes that no description tells: the values shown first are those that differ."""
    meshes = {20: (4, 4, 4), 21: (8, 8, 8)}
    pbe = LevelOfTheory(code="VASP", functional="PBE", cutoff_eV=520.0)
    strained = [mo.frames[0].content.copy() for _ in range(22)]
    for i, atoms in enumerate(strained):
        atoms.set_cell(atoms.cell[:] * (1 + i / 1000), scale_atoms=True)
    samples = [
        Sample(atoms, {"energy": 0.0}, theory=pbe.model_copy(update={"kpoints": meshes.get(i, (2, 2, 2))}))
        for i, atoms in enumerate(strained)
    ]
    finding = next(one for one in run_looks(Dataset(samples), None) if one.code == "theory-stated")
    assert finding.blocks and finding.evidence.count("520 eV cutoff") == 1
    assert "3 levels of theory: PBE, VASP, 520 eV cutoff (20 frames, 1 frame, 1 frame); they differ" in finding.evidence
    assert all(mesh in finding.evidence for mesh in ("2 x 2 x 2", "4 x 4 x 4", "8 x 8 x 8"))


def test_stated_theories_that_agree(mo):
    pbe = LevelOfTheory(code="VASP", functional="PBE")
    finding = findings(mo, stated(mo.frames, lambda s: pbe if s.index % 2 else None))["theory-stated"]
    assert finding.outcome == "passed"
    assert finding.numbers["n_unstated"] > 0


def test_potentials_and_u_are_compared_by_element():
    from ase import Atoms

    def sample(symbols: str, potentials: tuple[str, ...], **u: float) -> Sample:
        atoms = Atoms(symbols, cell=[9, 9, 9], pbc=True)
        atoms.positions[:, 0] = 2.0 * np.arange(len(atoms))
        return Sample(
            atoms, {"energy": 0.0}, theory=LevelOfTheory(functional="PBE", potentials=potentials, hubbard_u=u)
        )

    def outcome(*samples: Sample) -> str:
        return next(f.outcome for f in run_looks(Dataset(samples), None) if f.code == "theory-stated")

    oxide = sample("FeO", ("PAW_PBE Fe_pv 02Aug2007", "PAW_PBE O 08Apr2002"), Fe=5.3)
    assert outcome(oxide, sample("O2", ("PAW_PBE O 08Apr2002",))) == "passed"
    assert outcome(oxide, sample("O2", ("PAW_PBE O_s 07Sep2000",))) == "failed"
    assert outcome(oxide, sample("Fe", ("PAW_PBE Fe_pv 02Aug2007",))) == "failed"
    assert outcome(oxide, sample("Fe", ("PAW_PBE Fe_pv 02Aug2007",), Fe=5.3)) == "passed"


def test_the_option_for_some_groups_puts_the_published_frames_right(si_as_shared, monkeypatch):
    """The shear finding on the published Si frames names the groups, and its option silences it.

    The whole set has more trajectories of dynamics than are needed; these frames are of two.
    """
    monkeypatch.setattr(stress, "BLOCKS", 2)
    frames, predictions = si_as_shared
    (found,) = stress.stress_shear(Evidence(frames, predictions))
    (orders,) = [action.settings["shear"] for action in found.actions]
    assert orders == {"config_type=AIMD-NVT": "xz,yz,xy", "config_type=Vacancy": "xz,yz,xy"}
    (again,) = stress.stress_shear(Evidence(reorder_groups(frames, orders), predictions))
    assert again.outcome == "passed"
