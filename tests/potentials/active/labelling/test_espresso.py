"""Quantum ESPRESSO: its input, its level of theory, and what becomes of outputs that are no labels."""

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import OptionError
from matgraft.potentials.active.labelling import espresso as qe
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.fingerprint import compare_theories
from matgraft.potentials.active.labelling.server import Server
from matgraft.potentials.data.reading.theory import read_theory

PSEUDO = "/usr/share/espresso/pseudo"
NO_PWX = shutil.which("pw.x") is None
needs_pwx = pytest.mark.skipif(NO_PWX, reason="Quantum ESPRESSO's pw.x is not installed (apt install quantum-espresso)")


def a_frame(how=0.2):
    return Atoms("Si2", [[how, 0.1, 0.2], [9.0, 0.3, 0.4]], cell=[12, 10, 10], pbc=True)


def test_every_fault_of_a_program_is_a_reason(espresso, here):
    with Server(qe.settled_espresso(espresso(timeout=2)), here / "work", str(here)) as server:
        answer, _ = server.ask(a_frame(1))
        assert "ran past the timeout" in answer.failed
    with Server(qe.settled_espresso(espresso()), here / "work", str(here)) as server:
        for how, told, again in [
            (2, "charge is wrong", True),
            (3, "its output cannot be read", True),
            (4, "the electrons did not converge", False),
            (5, "cannot be used", True),
            (6, "its forces: not finite", True),
            (8, "other positions", True),
        ]:
            answer, label = server.ask(a_frame(how))
            assert answer.failed and answer.again is again and "energy" not in label, (how, answer)
            assert told in answer.failed, answer.failed
        answer, label = server.ask(a_frame())
    assert not answer.failed and answer.output == "espresso.pwo"
    assert float(label["energy"]) == pytest.approx(
        (0.01 * np.square(a_frame().positions).sum() - 0.2) * 13.605693, rel=1e-6
    )
    assert label["forces"][0, 0] == pytest.approx(-0.004 * 25.7110, rel=1e-4) and label["stress"][0, 0] < 0
    assert answer.theory.functional == "PBE" and answer.theory.energy == "free"


@pytest.mark.parametrize(
    ("cell", "pbc", "spacing", "divisions"),
    [
        ([10, 10, 10], True, 0.63, (1, 1, 1)),
        ([10, 10, 10], True, 0.62, (2, 2, 2)),
        ([5, 10, 20], True, 0.3, (5, 3, 2)),
        ([5, 10, 20], (True, True, False), 0.3, (5, 3, 1)),
    ],
)
def test_a_mesh_by_density(cell, pbc, spacing, divisions):
    atoms = Atoms("Si", cell=cell, pbc=pbc)
    assert qe.mesh_of({"kspacing": spacing}, atoms) == (divisions, (0.0, 0.0, 0.0))
    shifted = qe.mesh_of({"kspacing": spacing, "koffset": [1, 0, 1]}, atoms)
    assert shifted == (divisions, (0.5, 0.0, 0.5))


def test_meshes_as_ase_has_them():
    atoms = bulk("Si")
    assert qe.mesh_of({"kpts": [4, 4, 4], "koffset": True}, atoms) == ((4, 4, 4), (0.5, 0.5, 0.5))
    assert qe.mesh_of({}, atoms) == ((1, 1, 1), (0.0, 0.0, 0.0))
    assert qe.mesh_of({"kpts": {"size": [4, 4, 4], "gamma": True}}, atoms) == ((4, 4, 4), (0.0, 0.0, 0.0))
    assert qe.mesh_of({"kpts": {"size": [4, 4, 4], "gamma": False}}, atoms) == ((4, 4, 4), (0.5, 0.5, 0.5))
    assert qe.mesh_of({"kpts": {"path": "GX", "npoints": 5}}, atoms) is None


def test_what_is_wrong_is_refused_before_anything_runs(espresso):
    for parameters, told in [
        ({"pseudopotentials": {"Si": "Si.upf"}}, "'Si.UPF'"),
        ({"pseudopotentials": {}}, "pseudopotentials is missing"),
        ({"input_data": {"calculation": "relax", "ecutwfc": 20}}, "another structure"),
        ({"kpts": [2, 2, 2]}, "kspacing and kpts"),
        ({"pseudo_dir": "/nowhere"}, "/nowhere is not a folder"),
        ({"input_data": "ecutwfc=20"}, "not a mapping"),
    ]:
        with pytest.raises(OptionError, match=r"parameters|input_data|kspacing") as caught:
            qe.settled_espresso(espresso(parameters=parameters))
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"kspacing": "0.2"}, "kspacing is '0.2'"),  # a mesh of Γ alone without this, as all of the next
        ({"kspacing": -0.2}, "kspacing is -0.2"),
        ({"kspacng": 0.2}, "'kspacing'"),
        ({"kspacing": 0}, "kspacing is 0"),
        ({"kspacing": True}, "kspacing is True"),
        ({"koffset": [1, 1]}, r"koffset is \[1, 1\]"),
        ({"koffset": 0.5}, "koffset is 0.5"),
        ({"kspacing": None, "kpts": [4, 4]}, r"kpts is \[4, 4\]"),
        ({"kspacing": None, "kpts": [[0, 0, 0]] * 3}, "kpts is"),
        ({"kspacing": None, "kpts": {"density": 4, "gama": True}}, "kpts is"),
        ({"calculation": "relax"}, "input_data: {calculation: relax}"),
        ({"ecutwfc": 30}, "input_data: {ecutwfc: 30}"),
        ({"input_data": {"ecutwfc": 20, "degaus": 0.01}}, "'degauss'"),  # passed over without this
        ({"input_data": {"sytem": {"ecutwfc": 20}}}, "'system'"),
        ({"input_data": {"ecutwfc": "20 Ry"}}, "ecutwfc is '20 Ry'"),
        ({"input_data": {"ecutwfc": 20, "noncolin": ".false."}}, "noncolin is '.false.'"),
        ({"input_data": {"ecutwfc": 20, "scf_must_converge": False}}, "has converged"),
    ],
)
def test_no_parameter_is_passed_over_or_read_as_another(espresso, parameters, told):
    engine = espresso(parameters=parameters)
    given = {name: value for name, value in engine.parameters.items() if value is not None}
    with pytest.raises(OptionError, match=told):
        qe.settled_espresso(engine.model_copy(update={"parameters": given}))


def test_the_hash_of_a_pseudopotential_belongs_to_the_key(espresso, tmp_path):
    from matgraft.potentials.active.labelling.fingerprint import engine_key

    engine = qe.settled_espresso(espresso())
    before = engine_key(engine)
    other = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "pseudo", other)
    assert engine_key(qe.settled_espresso(espresso(parameters={"pseudo_dir": str(other)}))) == before
    (other / "Si.UPF").write_text('<UPF version="2.0.1"><PP_HEADER functional="PBE" z_valence="4"/></UPF>')
    assert engine_key(qe.settled_espresso(espresso(parameters={"pseudo_dir": str(other)}))) != before


def test_the_level_of_theory_follows_from_the_input(espresso):
    theory = qe.espresso_theory(
        qe.settled_espresso(
            espresso(
                parameters={
                    "input_data": {
                        "system": {
                            "ecutwfc": 28, "ecutrho": 140, "occupations": "smearing", "smearing": "mv", "degauss": 0.01,
                            "vdw_corr": "grimme-d3", "dftd3_version": 4, "hubbard_u(1)": 3.5,
                        }
                    },
                    "koffset": [1, 1, 1],
                }
            )
        ),
        bulk("Si"),
    )  # fmt: skip
    assert theory.functional == "PBE" and theory.cutoff_eV == pytest.approx(380.959, abs=1e-3)
    assert theory.density_cutoff_eV == pytest.approx(1904.797, abs=1e-3)
    assert (theory.smearing, theory.smearing_width_eV) == ("Marzari-Vanderbilt", pytest.approx(0.136057, abs=1e-6))
    assert theory.kpoint_offset == (0.5, 0.5, 0.5) and theory.dispersion == "D3(BJ)" and theory.hubbard_u == {"Si": 3.5}
    assert theory.spin is False and theory.potentials == ("Si.UPF",)
    magnetic = bulk("Si")
    magnetic.set_initial_magnetic_moments([1.0, 0.0])
    assert qe.espresso_theory(qe.settled_espresso(espresso()), magnetic).spin is True


@needs_pwx
def test_the_engine_of_the_shipped_frames_has_their_level_of_theory():
    """examples/data/sige: labels that this engine gives join them, and those of its neighbours do not."""
    stated = read_theory(_examples() / "frames.yaml")
    given = {
        "pseudo_dir": PSEUDO,
        "pseudopotentials": {"Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF", "Ge": "Ge.pbe-kjpaw.UPF"},
        "input_data": {
            "ecutwfc": 28, "ecutrho": 140, "nosym": True,
            "occupations": "smearing", "smearing": "gaussian", "degauss": 0.01,
        },
        "kpts": [3, 3, 3],
    }  # fmt: skip
    atoms = bulk("Si", cubic=True)
    atoms.symbols[:4] = "Ge"

    def compared(**changed):
        engine = qe.settled_espresso(Engine(calculator="espresso", parameters={**given, **changed}))
        return compare_theories([(qe.espresso_theory(engine, atoms), atoms)], [(stated, atoms)])

    assert compared().differing == () and compared().only_data == ()
    assert [one.field for one in compared(koffset=[1, 1, 1]).differing] == ["offset of the k-mesh"]
    assert [one.field for one in compared(kpts=[6, 6, 6]).differing] == ["k-mesh density of Ge-Si"]
    higher = compared(input_data={**given["input_data"], "ecutwfc": 40}).differing
    assert [(one.field, one.engine, one.data) for one in higher] == [("cutoff", "544.228 eV", "380.959 eV")]


@needs_pwx
def test_silicon_by_pwx(here):
    """A two-atom cell at a tiny cutoff: energy, forces and stress as ASE reads them, and no convergence is no label."""
    given = {"pseudo_dir": PSEUDO, "pseudopotentials": {"Si": "Si.pz-vbc.UPF"}, "kpts": [2, 2, 2], "koffset": [1, 1, 1]}
    atoms = bulk("Si")
    atoms.positions[0] += 0.05
    loose = Engine(calculator="espresso", parameters={**given, "input_data": {"ecutwfc": 8, "conv_thr": 1e-6}})
    with Server(qe.settled_espresso(loose), here / "work", str(here)) as server:
        answer, label = server.ask(atoms)
    assert not answer.failed, answer.failed
    from ase.calculators.espresso import Espresso, EspressoProfile

    profile = EspressoProfile("pw.x", PSEUDO)
    atoms.calc = Espresso(
        profile=profile, directory=here / "own", pseudopotentials={"Si": "Si.pz-vbc.UPF"},
        kpts=(2, 2, 2), koffset=(1, 1, 1),
        input_data={"ecutwfc": 8, "conv_thr": 1e-6, "tprnfor": True, "tstress": True, "calculation": "scf"},
    )  # fmt: skip
    assert float(label["energy"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-4)  # ASE takes CODATA 2006
    np.testing.assert_allclose(label["forces"], atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(label["stress"], atoms.get_stress(voigt=False), atol=1e-5)
    cut = loose.with_parameters(input_data={"ecutwfc": 8, "conv_thr": 1e-12, "electron_maxstep": 2})
    with Server(qe.settled_espresso(cut), here / "work", str(here)) as server:
        answer, label = server.ask(atoms)
    assert answer.failed == "the electrons did not converge" and "energy" not in label


def _examples():
    from pathlib import Path

    return Path(__file__).resolve().parents[4] / "examples" / "data" / "sige"
