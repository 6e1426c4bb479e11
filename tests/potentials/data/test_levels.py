"""Levels of theory: none invented, none missed, and no guess where a file states too little.

Each input is one whose answer is known: the same k-points under two names, the same mesh in a supercell, two settings
whose energies differ.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.audit.theory import theory_foundation, theory_stated
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import assign_heads
from matgraft.potentials.data.levels import Levels, contradicting, energy_scales
from matgraft.potentials.data.reading.formats.vasp.theory import Mesh, Species, level_of_theory
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample

SI = bulk("Si")
SI_TITLE = "PAW_PBE Si 05Jan2001"
TETRAHEDRON = "tetrahedron (Blöchl)"
FEO = bulk("FeO", "rocksalt", 4.3)
SPECIES = (Species("Fe", 1, "PAW_PBE Fe 06Sep2000"), Species("O", 1, "PAW_PBE O 08Apr2002"))


def level(**stated: object) -> LevelOfTheory:
    return LevelOfTheory.model_validate({"code": "VASP", "functional": "PBE", "cutoff_eV": 520.0, **stated})


def mesh(n: int | tuple[int, int, int], scheme: str | None = "Gamma", offset: float | None = 0.0) -> LevelOfTheory:
    divisions = (n, n, n) if isinstance(n, int) else n
    return level(kpoints=divisions, kpoint_scheme=scheme, kpoint_offset=None if offset is None else (offset,) * 3)


def vasp(**tags: str) -> LevelOfTheory:
    words = {"ENMAX": "520", "ISPIN": "2"} | tags
    return level_of_theory({name: text.split() for name, text in words.items()}, SPECIES, Mesh(), "6.3.0")


def frame(theory: LevelOfTheory | None, atoms: Atoms = SI, index: int = 0) -> Sample:
    return Sample(atoms, {"energy": -1.0}, file="all.xyz", index=index, theory=theory)


def scales(*theories: LevelOfTheory, atoms: Atoms = SI) -> list[int | None]:
    return energy_scales([frame(theory, atoms) for theory in theories])


def looked(*samples: Sample) -> Finding:
    (found,) = [one for one in run_looks(Dataset(samples), None) if one.code == "theory-stated"]
    return found


# --- what is one level


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mesh(4, "Monkhorst-Pack", 0.5), mesh(4, "Gamma", 0.5)),
        (mesh(5, "Monkhorst-Pack", 0.0), mesh(5, "Gamma", 0.0)),
        (mesh(5, "Monkhorst-Pack", 0.0), mesh(5, None, 0.0)),
        (mesh(5, "Monkhorst-Pack", 0.0), mesh(5, None, None)),
        (mesh(4, "Monkhorst-Pack", None), mesh(4, "Gamma", 0.5)),
        (mesh(4, None, 0.25), mesh(4, None, -0.25)),
        (mesh(4, None, 0.5), mesh(4, None, 0.499999999)),
        (level(), level(kpoint_scheme="Gamma", spin=False, soc=False, energy="free", potentials=[SI_TITLE])),
        (level(cutoff_eV=816.3), level(cutoff_eV=816.34)),
        (level(code="vasp"), level(code="VASP", version="6.3.0")),
        (level(functional=None, metagga="R2SCAN"), level(functional=None, metagga="r2SCAN")),
        (level(functional="PBE", metagga="r2SCAN"), level(functional="r2SCAN")),
        (level(hybrid="HSE06"), level(hybrid="HSE06 (AEXX=0.25, HFSCREEN=0.2)")),
        (level(smearing=TETRAHEDRON, smearing_width_eV=0.2), level(smearing=TETRAHEDRON, smearing_width_eV=0.05)),
        (level(smearing=TETRAHEDRON, smearing_width_eV=0.2), level(smearing="Gaussian", smearing_width_eV=0.05)),
        (level(smearing="gaussian", smearing_width_eV=0.136057), level(smearing="Gaussian", smearing_width_eV=0.1361)),
        (level(smearing="Gaussian"), level(smearing="Gaussian", smearing_width_eV=0.2)),
        (level(potentials=["PAW_PBE Si 05Jan2001"]), level(potentials=["Si"])),
        (level(density_cutoff_eV=605.4), level(density_cutoff_eV=322.1)),
        (level(functional=None), level(hubbard_u={"Si": 2.0}, hubbard_orbital={"Si": "p"})),
        (LevelOfTheory(source="a paper"), level(hubbard_u={"Si": 2.0, "Si (J)": 0.5})),
        (level(potentials=["Si", "PAW_PBE Si 05Jan2001"]), level(potentials=["Si"])),
        (level(code="QE"), level(code="Quantum ESPRESSO")),
        (level(code="PWSCF"), level(code="pw.x")),
        (level(code="quantum-espresso"), level(code="qe")),
        (level(dispersion="D3(BJ)"), level(dispersion="D3BJ")),
        (level(dispersion="DFT-D3(BJ)"), level(dispersion="d3-bj")),
        (level(dispersion="D3"), level(dispersion="DFT-D3 (0)")),
    ],
)  # fmt: skip
def test_two_names_of_one_setting_are_one_level(one: LevelOfTheory, other: LevelOfTheory) -> None:
    assert scales(one, other) == scales(other, one) == [0, 0]
    assert looked(frame(one), frame(other)).outcome == "passed"


@pytest.mark.parametrize("cells", [(2, 2, 2), (4, 2, 1), (2, 3, 1), (1, 1, 4)])
def test_a_mesh_and_its_like_in_a_supercell_are_one_level(cells: tuple[int, int, int]) -> None:
    twelve = bulk("Si", cubic=True)
    samples = [frame(mesh(12), twelve), frame(mesh(tuple(12 // n for n in cells)), twelve * cells)]
    assert energy_scales(samples) == [0, 0]
    assert energy_scales([samples[0], frame(mesh(12), twelve * (4, 4, 4))]) == [0, 1]


@settings(max_examples=30)
@given(
    st.sampled_from(["up", "down", "nearest"]),
    st.floats(15, 60),
    st.lists(st.tuples(st.floats(2.4, 30), st.floats(2.4, 30), st.floats(2.4, 30)), min_size=2, max_size=6),
)
def test_meshes_by_one_rule_are_one_level(rule: str, target: float, cells: list[tuple[float, float, float]]) -> None:
    """Divisions are chosen so that divisions times length come to one number, rounded up, down or to the nearest."""
    rounding = {"up": np.ceil, "down": np.floor, "nearest": np.round}[rule]
    samples = []
    for lengths in cells:
        divisions = np.maximum(1, rounding(target / np.array(lengths))).astype(int)
        x, y, z = (np.arange(0, length, 1.2)[:, None] * axis for length, axis in zip(lengths, np.eye(3), strict=True))
        atoms = Atoms(positions=np.concatenate([x, y[1:], z[1:]]), cell=lengths, pbc=True)  # no vacuum in any direction
        atoms.numbers[:] = 14
        samples.append(frame(mesh(tuple(divisions.tolist())), atoms))
    for one, other in itertools.combinations(samples, 2):
        assert energy_scales([one, other]) == [0, 0]


@pytest.mark.parametrize("strain", [-0.12, -0.05, 0.01, 0.05, 0.12])
def test_one_mesh_along_an_equation_of_state_is_one_level(strain: float) -> None:
    strained = SI.copy()
    strained.set_cell(SI.cell[:] * (1 + strain), scale_atoms=True)
    assert energy_scales([frame(mesh(8), SI), frame(mesh(8), strained)]) == [0, 0]


def test_directions_without_atoms_need_no_mesh() -> None:
    slab = fcc111("Cu", (1, 1, 4), vacuum=9.0, periodic=True)
    box = Atoms("Cu", positions=[[6, 6, 6]], cell=[12, 12, 12], pbc=True)
    samples = [frame(mesh(12), bulk("Cu")), frame(mesh((12, 12, 1)), slab), frame(mesh(1), box)]
    assert energy_scales(samples) == [0, 0, 0]


def scaled(atoms: Atoms, factor: float) -> Atoms:
    out = atoms.copy()
    out.set_cell(atoms.cell[:] * factor, scale_atoms=True)
    return out


@pytest.mark.parametrize("n", [4, 8, 12])
def test_one_mesh_for_one_crystal_is_one_level_under_any_pressure(n: int) -> None:
    series = [frame(mesh(n), scaled(bulk("Cu"), factor)) for factor in (0.84, 0.94, 1.0, 1.08, 1.17)]
    assert energy_scales(series) == [0] * 5


def test_a_rule_may_take_another_mesh_for_a_cell_that_hardly_differs() -> None:
    """Divisions are 20 Å over the length, rounded up: 4 for 5.0 Å, 5 for 4.985 Å."""
    four, five = (scaled(bulk("Si", cubic=True, a=5.0), a / 5.0) for a in (5.0, 4.985))
    assert energy_scales([frame(mesh(4), four), frame(mesh(5), five)]) == [0, 0]
    assert energy_scales([frame(mesh(4), four), frame(mesh(5), four)]) == [0, 1]


@pytest.mark.parametrize(
    ("crystal", "thin"),
    [
        (mesh(5, None, 0.5), level(kpoints=(5, 5, 1), kpoint_offset=(0.5, 0.5, 0.0))),
        (mesh(8, "Gamma", 0.0), level(kpoints=(8, 8, 2), kpoint_offset=(0.0, 0.0, 0.5))),
        (mesh(8, None, 0.25), level(kpoints=(8, 8, 1), kpoint_offset=(0.75, 0.75, 0.0))),
    ],
)
def test_a_shift_across_vacuum_is_no_other_level(crystal: LevelOfTheory, thin: LevelOfTheory) -> None:
    slab = fcc111("Cu", (1, 1, 4), vacuum=9.0, periodic=True)
    box = Atoms("Cu", positions=[[6, 6, 6]], cell=[12, 12, 12], pbc=True)
    samples = [frame(crystal, bulk("Cu")), frame(thin, slab), frame(mesh(1), box)]
    assert energy_scales(samples) == energy_scales(samples[::-1]) == [0, 0, 0]
    assert energy_scales([samples[0], frame(level(kpoints=(8, 8, 1), kpoint_offset=(0.0, 0.5, 0.0)), slab)]) == [0, 1]


def test_a_frame_without_atoms_is_left_to_other_looks() -> None:
    assert energy_scales([frame(mesh(4)), frame(mesh(4), Atoms(cell=[5, 5, 5], pbc=True))]) == [0, 0]


# --- what is not


@pytest.mark.parametrize(
    ("one", "other", "field"),
    [
        (mesh(4), mesh(4, "Gamma", 0.5), "offset of the k-mesh"),
        (mesh(4), mesh(4, "Monkhorst-Pack", 0.5), "offset of the k-mesh"),
        (mesh(4), mesh(4, "Monkhorst-Pack", None), "offset of the k-mesh"),
        (mesh(4), mesh(4, "Gamma", 0.25), "offset of the k-mesh"),
        (mesh(1), mesh(8), "k-mesh density of Si"),
        (mesh(1), mesh(2), "k-mesh density of Si"),
        (mesh(4), mesh(5), "k-mesh density of Si"),
        (mesh((4, 4, 4)), mesh((4, 4, 2)), "k-mesh density of Si"),
        (level(cutoff_eV=500.0), level(cutoff_eV=520.0), "cutoff"),
        (level(code="QE", density_cutoff_eV=3265.0), level(code="QE", density_cutoff_eV=6530.0), "density cutoff"),
        (level(spin=False), level(spin=True), "spin polarisation"),
        (level(soc=False), level(soc=True), "spin-orbit coupling"),
        (level(aspherical=False), level(aspherical=True), "non-spherical terms"),
        (level(energy="free"), level(energy="sigma0"), "energy taken"),
        (level(), level(functional=None, metagga="SCAN"), "functional"),
        (level(), level(hybrid="HSE06"), "hybrid"),
        (level(), level(dispersion="D3(BJ)"), "dispersion"),
        (level(dispersion="D3(0)"), level(dispersion="D3(BJ)"), "dispersion"),
        (level(basis="6-31G"), level(basis="6-31+G(d)"), "basis set"),
        (level(dispersion="vdW-DF (Zab=-1)"), level(dispersion="vdW-DF (Zab=1)"), "dispersion"),
        (level(code="QE"), level(), "code"),
        (level(smearing="Fermi-Dirac (tetrahedron)", smearing_width_eV=0.1),
         level(smearing="Fermi-Dirac (tetrahedron)", smearing_width_eV=0.2), "smearing"),
        (level(smearing="Gaussian", smearing_width_eV=0.05),
         level(smearing="Gaussian", smearing_width_eV=0.2), "smearing"),
        (level(smearing="Methfessel-Paxton 1", smearing_width_eV=0.1),
         level(smearing="Methfessel-Paxton 1", smearing_width_eV=0.2), "smearing"),
        (level(smearing="Gaussian", smearing_width_eV=0.2),
         level(smearing="Fermi-Dirac", smearing_width_eV=0.2), "smearing"),
        (level(energy="free", smearing="Fermi-Dirac", smearing_width_eV=0.05),
         level(energy="free", smearing="Gaussian", smearing_width_eV=0.02), "smearing"),
        (level(potentials=["PAW_PBE Si 05Jan2001"]), level(potentials=["PAW_PBE Si_sv 05Jan2001"]), "potential of Si"),
        (level(potentials=["Si", "Si_sv"]), level(potentials=["Si"]), "potential of Si"),
        (level(), level(hubbard_u={"Si": 2.0}), "U of Si"),
    ],
)  # fmt: skip
def test_two_settings_are_two_levels_and_the_field_is_named(
    one: LevelOfTheory, other: LevelOfTheory, field: str
) -> None:
    assert scales(one, other) == scales(other, one) == [0, 1]
    found = looked(frame(one), frame(one, index=1), frame(other, index=2))
    assert found.blocks and found.frames == (2,)
    assert field in found.evidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"LDAU": "T", "LDAUTYPE": "1", "LDAUL": "2 -1", "LDAUU": "4 0", "LDAUJ": "0.5 0"},
         {"LDAU": "T", "LDAUTYPE": "1", "LDAUL": "2 -1", "LDAUU": "4 0", "LDAUJ": "1.5 0"}),
        ({"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "2 -1", "LDAUU": "4 0", "LDAUJ": "0 0"},
         {"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "1 -1", "LDAUU": "4 0", "LDAUJ": "0 0"}),
        ({"LDAU": "T", "LDAUTYPE": "1", "LDAUL": "2 -1", "LDAUU": "4 0", "LDAUJ": "1 0"},
         {"LDAU": "T", "LDAUTYPE": "4", "LDAUL": "2 -1", "LDAUU": "4 0", "LDAUJ": "1 0"}),
        ({}, {"LVDW": ".TRUE."}),
        ({}, {"IVDW": "11"}),
        ({"IVDW": "11"}, {"IVDW": "12"}),
        ({"LUSE_VDW": "T", "GGA": "MK", "PARAM1": "0.1234", "PARAM2": "1.0"},
         {"LUSE_VDW": "T", "GGA": "MK", "PARAM1": "0.1234", "PARAM2": "0.711357", "Zab_vdW": "-1.8867"}),
        ({"LUSE_VDW": "T", "GGA": "MK", "PARAM1": "0.1234", "PARAM2": "1.0"},
         {"LUSE_VDW": "T", "GGA": "MK", "PARAM1": "0.1", "PARAM2": "1.0"}),
        ({"LUSE_VDW": "T", "GGA": "RE"}, {"LUSE_VDW": "T", "GGA": "RE", "ZAB_VDW": "-1.8867"}),
        ({"LUSE_VDW": "T", "GGA": "RE"}, {"LUSE_VDW": "T", "GGA": "RE", "BPARAM": "6.3"}),
        ({"LASPH": "T"}, {"LASPH": "F"}),
        ({"GGA": "BO", "PARAM1": "0.1833333333", "PARAM2": "0.22"}, {"GGA": "BO", "PARAM1": "0.1234", "PARAM2": "1.0"}),
        ({"GGA": "BO", "PARAM1": "0.1833333333", "PARAM2": "0.22"}, {"GGA": "BO", "PARAM2": "0.22"}),
        ({"METAGGA": "LIBXC", "LIBXC1": "MGGA_X_SCAN", "LIBXC2": "MGGA_C_SCAN"},
         {"METAGGA": "LIBXC", "LIBXC1": "MGGA_X_TPSS", "LIBXC2": "MGGA_C_TPSS"}),
        ({"GGA": "LIBXC", "LIBXC1": "GGA_X_B86", "LIBXC2": "GGA_C_PBE"},
         {"GGA": "LIBXC", "LIBXC1": "GGA_X_B86", "LIBXC2": "GGA_C_LYP"}),
        ({"LUSE_VDW": "T", "GGA": "MK", "AGGAC": "0.0"}, {"LUSE_VDW": "T", "GGA": "MK", "AGGAC": "1.0"}),
        ({"GGA": "PE", "AGGAC": "0.0"}, {"GGA": "PE"}),
        ({"AGGAC": "0.5"}, {"AGGAC": "1.0"}),
    ],
)  # fmt: skip
def test_tags_of_vasp_that_shift_energies_are_two_levels(one: dict[str, str], other: dict[str, str]) -> None:
    assert scales(vasp(**one), vasp(**other), atoms=FEO) == [0, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"IVDW": "1"}, {"LVDW": "T"}),
        ({"LUSE_VDW": "T", "GGA": "MK"},
         {"LUSE_VDW": "T", "GGA": "MK", "PARAM1": "0.1234", "PARAM2": "1.0", "Zab_VDW": "-0.8491"}),
        ({"LDAU": "T", "LDAUTYPE": "2", "LDAUL": "2 -1", "LDAUU": "5.3 0", "LDAUJ": "1 0"},
         {"LDAU": "T", "LDAUTYPE": "1", "LDAUL": "2 -1", "LDAUU": "4.3 0", "LDAUJ": "0 0"}),
        ({"ISMEAR": "-5", "SIGMA": "0.2"}, {"ISMEAR": "-5", "SIGMA": "0.05"}),
        ({"LUSE_VDW": "T", "GGA": "BO"},
         {"LUSE_VDW": "T", "GGA": "BO", "PARAM1": "0.18333333", "PARAM2": "0.22000000", "AGGAC": "0.0"}),
        ({"GGA": "LIBXC", "LIBXC1": "GGA_X_PBE_SOL", "LIBXC2": "GGA_C_PBE_SOL"}, {"GGA": "PS"}),
        ({"METAGGA": "LIBXC", "LIBXC1": "267", "LIBXC2": "263"}, {"METAGGA": "SCAN"}),
        ({"METAGGA": "SCAN", "LUSE_VDW": "T", "BPARAM": "15.7"},
         {"METAGGA": "SCAN", "LUSE_VDW": "T", "BPARAM": "15.7", "AGGAC": "1.0"}),
        ({"GGA": "B3", "LHFCALC": "T", "AEXX": "0.2", "AGGAC": "0.81"}, {"GGA": "B3", "LHFCALC": "T", "AEXX": "0.2"}),
        ({"AGGAC": "1.0", "PARAM1": "0.1234", "PARAM2": "1.0"}, {}),
        ({"LHFCALC": "T", "AEXX": "1.0", "AGGAC": "0.0"}, {"LHFCALC": "T", "AEXX": "1.0"}),
    ],
)  # fmt: skip
def test_tags_of_vasp_that_say_the_same_are_one_level(one: dict[str, str], other: dict[str, str]) -> None:
    assert scales(vasp(**one), vasp(**other), atoms=FEO) == [0, 0]


def with_two_irons(**tags: str) -> LevelOfTheory:
    species = (SPECIES[0], *SPECIES)
    words = {"LDAU": "T", "LDAUL": "2 2 -1", "LDAUJ": "0 0 0"} | tags
    return level_of_theory({name: text.split() for name, text in words.items()}, species, Mesh(), "6.3.0")


def test_two_species_of_an_element_may_have_two_u() -> None:
    theory = with_two_irons(LDAUU="2 4 0", LDAUJ="0.5 1 0", LDAUTYPE="1", LDAUL="1 2 -1")
    assert theory.hubbard_u == {"Fe 1": 4.0, "Fe 1 (J)": 1.0, "Fe 2": 2.0, "Fe 2 (J)": 0.5}
    assert theory.hubbard_orbital == {"Fe 1": "d", "Fe 2": "p"}
    assert with_two_irons(LDAUU="4 4 0").hubbard_u == {"Fe": 4.0}
    assert with_two_irons(LDAUU="0 4 0").hubbard_u == {"Fe 1": 4.0, "Fe 2": 0.0}


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [("4 2 0", "2 4 0", [0, 0]), ("4 2 0", "3 2 0", [0, 1]), ("4 0 0", "4 4 0", [0, 1]), ("4 4 0", "4 4 0", [0, 0])],
)
def test_all_species_of_an_element_are_compared(one: str, other: str, found: list[int]) -> None:
    assert scales(with_two_irons(LDAUU=one), with_two_irons(LDAUU=other), atoms=FEO) == found


def test_functionals_of_the_tag_mk_are_named_by_their_parameters() -> None:
    assert vasp(GGA="MK").functional == "optB86b"
    revised = vasp(GGA="MK", PARAM1="0.1234", PARAM2="0.711357", LUSE_VDW="T", Zab_VDW="-1.8867")
    assert (revised.functional, revised.dispersion) == ("B86R", "vdW-DF2")
    assert vasp(GGA="MK", PARAM1="0.2", PARAM2="1.0").functional == "MK (PARAM1=0.2, PARAM2=1)"


# --- what is undetermined

COARSE, FINE, SILENT = level(cutoff_eV=300.0), level(cutoff_eV=600.0), level(cutoff_eV=None)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_what_agrees_with_two_levels_joins_neither(order: tuple[int, ...]) -> None:
    theories = [COARSE, FINE, SILENT]
    found = dict(zip(order, scales(*[theories[i] for i in order]), strict=True))
    assert found[2] is None
    assert {found[0], found[1]} == {0, 1}


def test_the_audit_names_what_undetermined_frames_do_not_state() -> None:
    samples = [frame(theory, index=i) for i, theory in enumerate([COARSE, COARSE, SILENT, FINE, SILENT])]
    found = looked(*samples)
    assert found.blocks
    assert "2 frames fit several levels, since they do not state cutoff" in found.evidence
    assert found.frames == (3,)  # without it the frames that state no cutoff fit all that is left
    kept = [sample for i, sample in enumerate(samples) if i not in found.frames]
    assert looked(*kept).outcome == "passed"
    with pytest.raises(DataError, match=r"2 of 5 frames fit several levels of theory.*cutoff"):
        assign_heads([Dataset(tuple(samples))])


def test_undetermined_frames_that_contradict_each_other_are_never_kept_together() -> None:
    """Every frame agrees with two that contradict each other: no level can be told, and what is left is one."""
    theories = [
        level(spin=None),
        level(cutoff_eV=None, spin=True),
        level(cutoff_eV=400.0),
        level(cutoff_eV=None, spin=False),
    ]
    samples = [frame(theory, index=i) for i, theory in enumerate(theories)]
    assert energy_scales(samples) == [None] * 4
    found = looked(*samples)
    assert found.blocks and found.evidence.startswith("At least 2 levels")
    kept = [sample for i, sample in enumerate(samples) if i not in found.frames]
    assert kept and looked(*kept).outcome == "passed"


STATED = st.builds(
    level,
    cutoff_eV=st.sampled_from([None, 400.0, 520.0]),
    spin=st.sampled_from([None, True, False]),
    energy=st.sampled_from([None, "free", "sigma0"]),
    kpoint_scheme=st.sampled_from([None, "Gamma", "Monkhorst-Pack"]),
    kpoints=st.sampled_from([None, (4, 4, 4), (5, 5, 5)]),
)


@settings(max_examples=40)
@given(st.lists(STATED, min_size=1, max_size=8))
def test_no_two_frames_of_a_level_contradict_each_other(theories: list[LevelOfTheory]) -> None:
    found = scales(*theories)
    for (i, one), (k, other) in itertools.combinations(enumerate(theories), 2):
        if found[i] is not None and found[i] == found[k]:
            assert not Levels([frame(one), frame(other)]).contested
    samples = [frame(theory, index=i) for i, theory in enumerate(theories)]
    finding = looked(*samples)
    pairs = itertools.combinations(samples, 2)
    assert (finding.outcome == "failed") == any(Levels(pair).contested for pair in pairs)
    if finding.blocks:
        kept = [sample for i, sample in enumerate(samples) if i not in finding.frames]
        assert kept and looked(*kept).outcome == "passed"


# --- real files


@pytest.mark.parametrize("name", ["Si-PBE", "Si-LDA", "Si-PBEsol", "Cu_QHA"])
def test_runs_of_one_real_set_are_one_level(shared, tmp_path, name: str) -> None:
    import lzma
    import tarfile

    packed = shared / f"data/real/phonons/{name}_vaspruns.tar.lzma"
    if not packed.exists():
        pytest.skip(f"{packed.name} is not there")
    with lzma.open(packed) as file, tarfile.open(fileobj=file, mode="r|") as archive:
        runs = (member for member in archive if member.isfile() and Path(member.name).name.startswith("vasprun"))
        for member in itertools.islice(runs, 8):
            archive.extract(member, tmp_path, filter="data")
    data = read(tmp_path, want=())
    assert len(data) > 5
    assert looked(*data).outcome == "passed"


# ------------------------------------------------------------------ the foundation's level


@pytest.mark.parametrize(
    ("known", "own", "named"),
    [
        ({"functional": "PBE"}, {"functional": "pbe", "code": "CP2K", "cutoff_eV": 9000.0}, ""),
        ({"functional": "PBE"}, {"metagga": "R2SCAN"}, "R2SCAN"),
        ({"metagga": "r2SCAN"}, {"metagga": "R2SCAN"}, ""),
        ({"functional": "PBE"}, {"functional": "PS"}, "PS"),
        ({"functional": "PBE"}, {"functional": "PBE", "dispersion": "D3(BJ)"}, "PBE-D3(BJ)"),
        ({"functional": "PBE"}, {"functional": "PBE", "hybrid": "HSE06"}, "HSE06"),
        ({"functional": "PBE"}, {"code": "VASP"}, ""),
        ({}, {"metagga": "R2SCAN"}, ""),
        ({"functional": "PBE", "correction": "MP2020"}, {"functional": "PBE", "correction": "none"}, ""),
    ],
)
def test_frames_of_another_functional_than_a_foundation(known: dict[str, Any], own: dict[str, Any], named: str) -> None:
    samples = [frame(None), frame(LevelOfTheory(**own)), frame(LevelOfTheory(**own))]
    assert contradicting(LevelOfTheory(**known), samples) == ({1: named, 2: named} if named else {})


def told(foundation: LevelOfTheory | None, *theories: LevelOfTheory | None, **options: Any) -> Finding:
    frames = Dataset(tuple(map(frame, theories)))
    (found,) = run_looks(frames, None, model_name="base", level=foundation, looks=[theory_foundation], **options)
    return found


PBE, SCAN = LevelOfTheory(functional="PBE"), LevelOfTheory(metagga="R2SCAN")
RAW, MP = (PBE.model_copy(update={"correction": scheme}) for scheme in ("none", "MP2020"))


def test_the_foundations_level_is_compared_with_that_of_the_frames() -> None:
    other = told(PBE, PBE, SCAN, None)
    assert (other.outcome, other.severity, other.frames) == ("failed", "warning", (1,))
    assert other.evidence.startswith("1 of 3 frames by R2SCAN; base knows PBE.")
    assert other.option == "strategy.name=multihead"
    assert told(PBE, SCAN, own_heads=True).outcome == "passed"
    assert told(PBE, PBE, None).outcome == "passed"
    for known, theory in ((None, PBE), (LevelOfTheory(), PBE), (PBE, None)):
        assert told(known, theory).outcome == "not applicable"


def test_corrected_energies_on_a_foundation_of_uncorrected_ones_are_told() -> None:
    found = told(RAW, RAW, MP, PBE, PBE.model_copy(update={"correction": "corrected"}))
    assert (found.outcome, found.frames) == ("failed", (1, 3))
    assert "corrected by MP2020; those of base are as DFT gave them" in found.evidence
    assert "keys.energy=uncorrected_total_energy" in found.remedy and not found.actions
    # The references take up what is constant, and a scheme is itself by any of its names.
    for known, theory in ((MP, RAW), (MP, MP), (MP, PBE), (RAW, PBE)):
        assert told(known, theory).outcome == "passed"


def test_corrected_and_uncorrected_energies_are_two_levels() -> None:
    by_name = PBE.model_copy(update={"correction": "MaterialsProject2020Compatibility"})
    unnamed = PBE.model_copy(update={"correction": "corrected"})
    legacy = PBE.model_copy(update={"correction": "MP legacy"})
    assert energy_scales([frame(RAW), frame(MP), frame(by_name)]) == [0, 1, 1]
    assert energy_scales([frame(RAW), frame(unnamed)]) == [0, 1]
    assert energy_scales([frame(MP), frame(unnamed)]) == [0, 0]
    assert energy_scales([frame(MP), frame(legacy)]) == [0, 1]
    assert energy_scales([frame(RAW), frame(MP), frame(PBE)]) == [0, 1, None]
    (mixed,) = run_looks(Dataset((frame(RAW), frame(MP))), None, looks=[theory_stated])
    assert mixed.blocks and "they differ in energy corrections (none, mp2020)" in mixed.evidence
    assert "uncorrected_total_energy" in mixed.remedy
