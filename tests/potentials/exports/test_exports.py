"""Exports beside their vendors: what is refused, what LAMMPS would see, and a run in an lmp that plays its part."""

from __future__ import annotations

import copy
import fnmatch
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from matgraft.core.errors import OptionError, RunError
from matgraft.core.registry import save_folder
from matgraft.foundations import BACKBONES, load
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import TARGETS, ExportCheck, Exported, export, lammps, refuse_target
from matgraft.potentials.exports.comparison import distorted_cell
from matgraft.potentials.models.lammps import LammpsFile, with_ghosts
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples

PYTHON = sys.executable
FILE = LammpsFile("model.pt", "mine", "a LAMMPS of my own", (), lambda path: None, lambda path, atoms: {})
FAKE_LMP = """#!{python}
import shutil, sys
from pathlib import Path

assert sys.argv[1] == "-in" and sys.argv[3:] == ["-log", "none"]
assert Path(sys.argv[2]).read_text().startswith("include in.lammps")
for name in ("energy", "atoms"):
    shutil.copy(Path(__file__).with_name(name), Path(sys.argv[2]).with_name(name))
"""


@pytest.fixture
def model(chgnet: Potential) -> Potential:
    """CHGNet of two elements, as a tuned one is."""
    few = copy.copy(chgnet)
    few.card = chgnet.card.model_copy(update={"elements": ("Si", "Ge")})
    return few


@pytest.fixture
def lmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where an `lmp` is looked for: alone in a folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", "")
    return tmp_path / "bin" / "lmp"


def write_lmp(path: Path, script: str) -> None:
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)


# --------------------------------------------------------------------- LAMMPS


@pytest.mark.parametrize("reach", [3.0, 7.5])
def test_a_domain_of_lammps_has_every_neighbour_of_its_own_atoms(model: Potential, reach: float) -> None:
    atoms = distorted_cell(model)
    atoms.positions[2] += 2 * atoms.cell[0]  # outside of the cell
    domain, owner = with_ghosts(atoms, reach)
    np.testing.assert_array_equal(owner[:8], np.arange(8))
    np.testing.assert_array_equal(domain.numbers, atoms.numbers[owner])
    assert not domain.pbc.any()
    centre, lengths = neighbor_list("id", domain, reach - 1e-9)
    expected = neighbor_list("id", atoms, reach - 1e-9)
    for i in range(8):
        theirs = np.sort(expected[1][expected[0] == i])
        np.testing.assert_allclose(np.sort(lengths[centre == i]), theirs, atol=1e-9)


def test_the_domain_of_a_large_crystal_takes_little_memory() -> None:
    """The distances of all images from all atoms would take 2 GB."""
    crystal = bulk("Si", "diamond", a=5.43, cubic=True) * (4, 4, 4)
    tracemalloc.start()
    domain, owner = with_ghosts(crystal, 12.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(domain) == len(owner) > 3000
    assert peak < 50e6


def test_without_lmp_the_check_says_so(model: Potential, lmp: Path, tmp_path: Path) -> None:
    check = lammps.run(model, tmp_path, FILE)
    assert check.difference is None
    assert check.text == (
        "not verified: in.lammps run in LAMMPS: no lmp beside Python or on the PATH: LAMMPS is not installed"
    )


def test_an_lmp_without_the_pair_style_is_quoted(model: Potential, lmp: Path, tmp_path: Path) -> None:
    write_lmp(lmp, "#!/bin/sh\necho LAMMPS\necho \"ERROR: Unrecognized pair style 'mine'\"\necho Last line\nexit 1\n")
    check = lammps.run(model, tmp_path, FILE)
    assert check.difference is None
    assert check.reason == f"{lmp} did not run pair_style mine: ERROR: Unrecognized pair style 'mine'"


def test_reference_energies_that_float32_does_not_carry_stand_in_the_input(model: Potential) -> None:
    assert "v_total" not in lammps.input_text(model, FILE)
    heavy = copy.deepcopy(model)
    heavy.references[31] = -57164.123456789
    text = lammps.input_text(heavy, FILE)
    assert 'variable        references atom "0.0*(type==1)+-57164.123456789*(type==2)"\n' in text
    assert "variable        total equal pe+c_references\nthermo_style    custom step temp pe ke v_total press\n" in text


def test_the_last_step_of_lammps_is_compared(model: Potential, lmp: Path, tmp_path: Path) -> None:
    write_lmp(lmp, FAKE_LMP.format(python=PYTHON))
    atoms = distorted_cell(model)
    atoms.positions += 0.05 * np.random.default_rng(1).standard_normal((8, 3))
    (ours,) = predict_samples(model, [Sample(atoms, {})], ("energy", "forces"))
    columns = np.column_stack([np.arange(1, 9), atoms.positions, ours["forces"]])
    np.savetxt(lmp.with_name("atoms"), columns, header="\n".join("123456789"))
    lmp.with_name("energy").write_text(f"{float(ours['energy'])}\n")
    check = lammps.run(model, tmp_path, FILE)
    assert check.difference is not None and max(check.difference.values()) < 1e-5
    lmp.with_name("energy").write_text(f"{float(ours['energy']) + 1}\n")
    with pytest.raises(
        RunError, match=r"does not give the model's predictions: energy 1\.2e\+02 meV/atom \(0\.1 allow"
    ):
        lammps.run(model, tmp_path, FILE)


# -------------------------------------------------------------------- targets


def test_the_registry_says_what_the_adapters_can(chgnet: Potential) -> None:
    for name, model in {"chgnet": chgnet, "composition": load("composition")}.items():
        row, stages = BACKBONES[name], [stage.name for stage in model.stages()]
        assert [glob for glob in row.stages if fnmatch.filter(stages, glob)] == list(row.stages)
        assert all(any(fnmatch.fnmatch(stage, glob) for glob in row.stages) for stage in stages)
        assert set(row.exports) <= set(TARGETS)
    for ask in (chgnet.lammps_file, chgnet.torch_sim_source):
        with pytest.raises(OptionError, match="allowed: --to native, --to ase"):
            ask()


def test_a_target_that_a_backbone_has_not_names_what_works(chgnet: Potential, tmp_path: Path) -> None:
    save_folder(copy.deepcopy(chgnet), tmp_path / "model")
    with pytest.raises(OptionError, match=r"chgnet has no export to lammps\nallowed: --to native, --to ase\n.*mace"):
        export(tmp_path / "model", "lammps", tmp_path / "out")
    with pytest.raises(OptionError, match="composition reads formulas"):
        refuse_target("composition", "native")
    with pytest.raises(OptionError, match="did you mean 'torch-sim'"):
        export(tmp_path / "model", "torchsim", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_breaks_off_leaves_no_folder(
    chgnet: Potential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_folder(copy.deepcopy(chgnet), tmp_path / "run")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("matgraft.potentials.exports.targets.verify_export", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "run", "ase", tmp_path / "deep" / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_verified_means_that_every_check_was_made(tmp_path: Path) -> None:
    made = (ExportCheck("a", {"energy": 1e-6, "forces": 2e-5}), ExportCheck("b", {"forces": 3e-5}))
    assert Exported(tmp_path, "ase", made).verified
    assert Exported(tmp_path, "ase", made).difference == {"energy": 1e-6, "forces": 3e-5}
    half = Exported(tmp_path, "lammps", (*made, ExportCheck("c", reason="no such program")))
    facts = half.facts()
    assert facts["verified"] is False and facts["reason"] == "c: no such program"
    assert facts["checks"][2] == {"what": "c", "difference": None, "reason": "no such program", "allowed": {}}
    assert "not verified: c: no such program" in half.text
