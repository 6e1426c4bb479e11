"""The level of theory that parameters ask for, and labels taken from what a calculator or an output holds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.calculators import Maker
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.fingerprint import common, compare_theories, kinds
from matgraft.potentials.active.labelling.outcome import FailedError, asked_of, of_calculator, order_of, refuse_unsound
from matgraft.potentials.active.labelling.theories import theory_of, theory_of_label


def theory(calculator, atoms=None, stated=None, **parameters):
    return theory_of(Engine(calculator=calculator, parameters=parameters, theory=stated), atoms or bulk("Si"))


def test_vasp():
    found = theory("vasp", xc="PBE", encut=520, kpts=[4, 4, 4], gamma=True, ismear=0, sigma=0.05, lasph=True)
    assert (found.code, found.functional, found.cutoff_eV, found.spin) == ("VASP", "PBE", 520, False)
    assert (found.smearing, found.smearing_width_eV, found.aspherical) == ("Gaussian", 0.05, True)
    assert found.kpoints == (4, 4, 4) and found.kpoint_offset == (0.0, 0.0, 0.0) and found.energy == "free"
    assert theory("vasp", xc="PBE", kpts=[4, 4, 4]).kpoint_offset == (0.5, 0.5, 0.5)
    assert theory("vasp", xc="PBE", kspacing=0.3).kpoint_scheme == "Gamma"
    assert theory("vasp", xc="r2scan").metagga == "r2SCAN" and theory("vasp", xc="HSE06").hybrid.startswith("HSE06")
    assert theory("vasp", xc="PBE", ivdw=12).dispersion == "D3(BJ)"
    assert theory("vasp").functional is None, "left to the pseudopotentials"
    on = theory("vasp", xc="PBE", ldau=True, ldau_luj={"Fe": {"L": 2, "U": 5.0, "J": 1.0}, "O": {"L": -1}})
    assert on.hubbard_u == {"Fe": 4.0} and on.hubbard_orbital == {"Fe": "d"}
    magnetic = bulk("Fe")  # ASE gives it the moment of iron
    assert theory("vasp", magnetic, xc="PBE").spin is True


def test_gpaw():
    occupations = {"name": "fermi-dirac", "width": 0.1}
    found = theory("gpaw", mode={"name": "pw", "ecut": 450}, xc="PBE", kpts=[4, 4, 4], occupations=occupations)
    assert (found.functional, found.cutoff_eV, found.kpoint_offset) == ("PBE", 450, (0.5, 0.5, 0.5))
    assert (found.smearing, found.smearing_width_eV) == ("fermi-dirac", 0.1)
    assert theory("gpaw", kpts={"size": [4, 4, 4], "gamma": True}).kpoint_offset == (0.0, 0.0, 0.0)
    assert theory("gpaw").functional == "LDA" and theory("gpaw", mode="fd").cutoff_eV is None


def test_what_is_stated_replaces_what_follows_and_stands_for_what_does_not():
    stated = LevelOfTheory(functional="my own", licence="CC0")
    assert theory("emt") is None and theory("emt", stated=stated) == stated
    found = theory("tblite", stated=stated)
    assert (found.code, found.functional, found.licence) == ("tblite", "my own", "CC0")
    engine = Engine(calculator="tblite", parameters={"method": "GFN1-xTB"})
    printed = LevelOfTheory(version="7")
    label = theory_of_label(engine, bulk("Si"), printed)
    assert label.functional == "GFN1-xTB" and label.version == "7"


def test_what_all_have_in_common():
    one = LevelOfTheory(code="x", kpoints=(1, 1, 1), functional="PBE")
    assert common([one, one.model_copy(update={"kpoints": (2, 2, 2)})]) == LevelOfTheory(code="x", functional="PBE")
    assert common([]) is None and common([LevelOfTheory(code="a"), LevelOfTheory(code="b")]) is None


def test_what_is_stated_by_element_is_put_together():
    iron = LevelOfTheory(
        functional="PBE", hubbard_u={"Fe": 4.0}, hubbard_orbital={"Fe": "d"}, potentials=("Fe.upf", "O.upf")
    )
    oxygen = LevelOfTheory(functional="PBE", potentials=("O.upf",))
    both = common([oxygen, iron])
    assert both.hubbard_u == {"Fe": 4.0} and both.hubbard_orbital == {"Fe": "d"}
    assert set(both.potentials) == {"Fe.upf", "O.upf"}
    atoms = Atoms("FeO", [[0, 0, 0], [0, 0, 2]], cell=[4, 4, 4], pbc=True)
    assert compare_theories([(both, atoms)], [(iron, atoms)]).differing == ()
    assert common([iron, iron.model_copy(update={"hubbard_u": {"Fe": 5.0}})]).hubbard_u == {}


def test_one_of_each_kind_is_compared():
    one, atoms = LevelOfTheory(code="x", functional="PBE"), [*[bulk("Si")] * 50, bulk("Ge")]
    assert len(kinds((one, each) for each in atoms)) == 2
    assert kinds([(None, bulk("Si"))]) == []


@given(st.sampled_from(["PBE", "PBEsol", None]), st.sampled_from([300.0, 500.0, None]), st.booleans())
def test_a_level_of_theory_agrees_with_itself_and_comparing_is_symmetric(functional, cutoff, spin):
    one = LevelOfTheory(functional=functional, cutoff_eV=cutoff, spin=spin)
    other = LevelOfTheory(functional="PBE", cutoff_eV=500.0)
    atoms = bulk("Si")
    assert compare_theories([(one, atoms)], [(one, atoms)]).differing == ()
    there, back = compare_theories([(one, atoms)], [(other, atoms)]), compare_theories([(other, atoms)], [(one, atoms)])
    assert [(d.field, d.engine, d.data) for d in there.differing] == [
        (d.field, d.data, d.engine) for d in back.differing
    ]
    assert there.only_engine == back.only_data and there.only_data == back.only_engine
    assert bool(there.differing) == (functional == "PBEsol" or cutoff == 300.0)


@pytest.mark.parametrize(
    ("name", "profile"), [("aims", "AimsProfile"), ("orca", "OrcaProfile"), ("abinit", "AbinitProfile")]
)
def test_programs_that_ase_has_profiles_of(tmp_path, name, profile):
    extra = {"abinit": {"pp_paths": [str(tmp_path)]}, "aims": {"default_species_directory": str(tmp_path)}}.get(
        name, {}
    )
    engine = Engine(calculator=name, command=["mpirun", "-np", "2", "my code"], parameters={"xc": "PBE", **extra})
    made = Maker(engine, tmp_path)(bulk("Si"))
    assert type(made.profile).__name__ == profile and made.profile._split_command == ["mpirun", "-np", "2", "my code"]
    assert made.directory == tmp_path and not set(extra) & set(made.parameters)
    assert Maker(engine, tmp_path)(bulk("Si")) is not made


@given(st.permutations(range(6)), st.integers(0, 2**32 - 1))
def test_atoms_in_another_order_are_found(order, seed):
    rng = np.random.default_rng(seed)
    atoms = Atoms(
        "Si3Ge2O", rng.uniform(0, 6, (6, 3)) + np.linspace(0, 40, 6).reshape(6, 1), cell=[50, 50, 50], pbc=True
    )
    printed = atoms[list(order)]
    printed.positions += np.round(rng.uniform(-1e-4, 1e-4, (6, 3)), 5) + np.array([50, 0, -50])
    found = order_of(atoms, printed)
    np.testing.assert_array_equal(np.array(order)[found], np.arange(6))


def test_an_output_of_something_else_is_no_label():
    atoms = bulk("Si", cubic=True)
    moved, strained, other = atoms.copy(), atoms.copy(), atoms.copy()
    moved.positions[3] += 0.01
    strained.set_cell(atoms.cell[:] * 1.01, scale_atoms=True)
    other.symbols[0] = "Ge"
    for printed, told in [
        (moved, "other positions"),
        (strained, "another cell"),
        (other, "that of Si7Ge|that of GeSi7"),
    ]:
        with pytest.raises(FailedError, match=told):
            order_of(atoms, printed)


class _Holds:
    def __init__(self, **results):
        self.results = results


def test_forces_belong_to_the_free_energy():
    forces = np.zeros((2, 3))
    found = of_calculator(
        _Holds(energy=-1.0, free_energy=-1.1, forces=forces, stress=np.arange(6.0)), ("energy", "forces", "stress")
    )
    assert found.labels["energy"] == -1.1
    np.testing.assert_array_equal(found.labels["stress"], [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    assert of_calculator(_Holds(energy=-1.0, forces=forces), ("energy", "forces")).labels["energy"] == -1.0
    with pytest.raises(FailedError, match="it gave no forces"):
        refuse_unsound(
            of_calculator(_Holds(energy=-1.0), ("energy", "forces")).labels, bulk("Si"), ("energy", "forces"), 9.0
        )


def test_stress_is_asked_of_crystals_alone():
    every = ("energy", "forces", "stress")
    assert asked_of(every, bulk("Si")) == every and asked_of(("energy", "forces"), bulk("Si")) == every[:2]
    slab = bulk("Si")
    slab.pbc = (True, True, False)
    assert asked_of(every, slab) == every[:2] and asked_of(every, molecule("H2O")) == every[:2]
