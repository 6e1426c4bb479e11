"""The level of theory stated in a YAML file."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from matgraft.core.errors import DataError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.theory import combine

STATED = "code: Quantum ESPRESSO\nfunctional: PBE\nkpoints: [4, 4, 4]\nkpoint_offset: [0, 0, 0]\nhubbard_u: {Fe: 4.0}\n"


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    atoms = bulk("Si")
    atoms.info["energy"] = -10.0
    ase.io.write(tmp_path / "frames.extxyz", atoms)
    return tmp_path / "frames.extxyz"


@pytest.mark.parametrize("name", ["frames.yaml", "frames.yml"])
def test_a_file_beside_the_data_states_it(frames: Path, name: str) -> None:
    frames.with_name(name).write_text(STATED)
    data = read(frames, want=["energy"])
    assert data[0].theory == LevelOfTheory(
        code="Quantum ESPRESSO", functional="PBE", kpoints=(4, 4, 4), kpoint_offset=(0, 0, 0), hubbard_u={"Fe": 4.0}
    )
    assert f"frames.extxyz: level of theory from {name}" in data.provenance.notes


def test_none_beside_the_data_is_noted(frames: Path) -> None:
    data = read(frames, want=["energy"])
    assert data[0].theory is None
    assert any("level of theory: not stated" in note for note in data.provenance.notes)


def test_the_named_file_wins(frames: Path, tmp_path: Path) -> None:
    frames.with_name("frames.yaml").write_text(STATED)
    (tmp_path / "other.yaml").write_text("functional: PBEsol\nenergy: sigma0\n")
    theory = read(frames, want=["energy"], theory=tmp_path / "other.yaml")[0].theory
    assert theory == LevelOfTheory(functional="PBEsol", energy="sigma0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("functionl: PBE\n", "did you mean 'functional'"),
        ("kpoints: [4, 4]\n", "kpoints"),
        ("energy: total\n", "got 'total'"),
        ("- PBE\n", "states no level of theory"),
        ("", "states no level of theory"),
        ("functional: [1\n", "not valid YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(frames: Path, text: str, said: str) -> None:
    (stated := frames.with_name("frames.yaml")).write_text(text)
    named = {"theory": stated} if text in ("", "- PBE\n") else {}  # beside the frames these are another program's
    with pytest.raises(DataError, match=said) as caught:
        read(frames, want=["energy"], **named)
    assert caught.value.where == "frames.yaml"


def test_a_missing_or_doubled_file_is_an_error(frames: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read(frames, want=["energy"], theory="absent.yaml")
    frames.with_name("frames.yaml").write_text(STATED)
    frames.with_name("frames.yml").write_text(STATED)
    with pytest.raises(DataError, match="both"):
        read(frames, want=["energy"])


def test_statements_fill_gaps_and_must_not_contradict() -> None:
    run = LevelOfTheory(code="VASP", functional="PBE")
    both = combine(run, LevelOfTheory(licence="CC-BY-4.0", functional="PBE"), "here")
    assert both == LevelOfTheory(code="VASP", functional="PBE", licence="CC-BY-4.0")
    with pytest.raises(DataError, match="functional is 'PBE' in the run, 'LDA' was stated"):
        combine(run, LevelOfTheory(functional="LDA"), "here")
    rounded = combine(LevelOfTheory(cutoff_eV=816.34), LevelOfTheory(cutoff_eV=816.3), "here")
    assert rounded is not None and rounded.cutoff_eV == 816.34
    with pytest.raises(DataError, match=r"cutoff_eV is 816.34 in the run, 820.0 was stated"):
        combine(LevelOfTheory(cutoff_eV=816.34), LevelOfTheory(cutoff_eV=820.0), "here")


RUN = LevelOfTheory.model_validate(
    {
        "code": "VASP",
        "functional": "PBE",
        "hybrid": "HSE06 (AEXX=0.25, HFSCREEN=0.2)",
        "dispersion": "D3(BJ)",
        "hubbard_u": {"Fe": 4.0},
        "hubbard_orbital": {"Fe": "d"},
        "density_cutoff_eV": 605.4,
        "kpoints": (5, 5, 4),
        "kpoint_scheme": "Monkhorst-Pack",
        "kpoint_offset": (0.0, 0.0, 0.5),
        "smearing": "Gaussian",
        "smearing_width_eV": 0.1,
        "potentials": ("PAW_PBE Fe_pv 02Aug2007",),
    }
)


@pytest.mark.parametrize(
    "stated",
    [
        {"code": "vasp"},
        {"functional": "pbe"},
        {"hybrid": "HSE06"},
        {"dispersion": "DFT-D3BJ"},
        {"hubbard_u": {"Fe": 4, "O": 0}},
        {"hubbard_orbital": {"Fe": "D"}},
        {"kpoint_offset": [0, 0, -0.5]},
        {"kpoint_scheme": "Gamma", "kpoint_offset": [0, 0, 0.5]},
        {"smearing": "gaussian"},
        {"potentials": ["Fe_pv"]},
    ],
)
def test_other_names_of_what_a_run_says_are_no_contradiction(stated: dict[str, object]) -> None:
    assert combine(RUN, LevelOfTheory.model_validate(stated), "here") == RUN


def test_a_meta_gga_and_a_mesh_centred_on_gamma_have_two_names() -> None:
    run = LevelOfTheory(metagga="r2SCAN", kpoints=(5, 5, 5), kpoint_scheme="Monkhorst-Pack")
    assert combine(run, LevelOfTheory(metagga="R2SCAN", kpoint_scheme="Gamma"), "here") == run


@pytest.mark.parametrize(
    "stated",
    [
        {"code": "QE"},
        {"hybrid": "PBE0"},
        {"hybrid": "HSE06 (AEXX=0.3, HFSCREEN=0.2)"},
        {"dispersion": "D3"},
        {"hubbard_u": {"Fe": 4, "O": 2}},
        {"hubbard_orbital": {"Fe": "p"}},
        {"density_cutoff_eV": 500.0},
        {"kpoints": [5, 5, 5]},
        {"kpoint_offset": [0, 0.5, 0]},
        {"kpoint_scheme": "Gamma"},
        {"smearing": "Fermi-Dirac"},
        {"smearing_width_eV": 0.2},
        {"potentials": ["Fe"]},
    ],
)
def test_another_setting_than_the_run_s_is_refused(stated: dict[str, object]) -> None:
    (name,) = stated
    with pytest.raises(DataError, match=f"^.*{name} is .* in the run, .* was stated"):
        combine(RUN, LevelOfTheory.model_validate(stated), "here")
