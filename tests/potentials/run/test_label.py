"""Labels from files to a file: equal frames once, nothing twice, two levels of theory never mixed."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read as read_atoms
from ase.io import write

import matgraft
from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.active.labelling.store import LabelStore
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.run.label import failures_file, label, like_frames

HERE = Path(__file__).resolve().parents[1] / "active" / "labelling"


@pytest.fixture
def fakes(monkeypatch):
    """The engines of the neighbouring tests."""
    monkeypatch.syspath_prepend(HERE)
    yield importlib.import_module("fakes")
    sys.modules.pop("fakes", None)


@pytest.fixture
def here(tmp_path, monkeypatch, fakes):
    (tmp_path / "fickle.py").write_text(fakes.MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def a_frame(how=0.25, **info):
    atoms = Atoms("Si2", [[how, 0.1, 0.2], [5.0, 0.3, 0.4]], cell=[12, 12, 12], pbc=True)
    atoms.info.update(info)
    return atoms


def fickle(here, **changed):
    return Engine(
        calculator="fickle:make",
        parameters={"side": str(here / "side.txt"), **changed.pop("parameters", {})},
        **changed,
    )


def computed(here):
    words = [line.split() for line in (here / "side.txt").read_text().splitlines()]
    return [place for word, place in words if word == "end"]


def test_the_whole_way(here):
    """Frames that are equal are computed once, a second call computes nothing, failures are told with each try."""
    pool = [a_frame(0.25, origin="md nvt 300 K", energy=99.0), a_frame(0.3), a_frame(3), a_frame(0.25, origin="other")]
    pool[0].set_array("forces", np.full((2, 3), 9.0))
    write("pool.extxyz", pool)
    out = here / "labelled.extxyz"
    theory = LevelOfTheory(code="springs", functional="PBE", energy="free", kpoints=(1, 1, 1))
    given = fickle(here, theory=theory)
    found = label([Path("pool.extxyz")], given, out=out, quiet=True)
    assert (found.n_asked, found.n_labelled, found.n_computed, found.n_from_store, found.exit_code) == (4, 3, 2, 0, 1)
    (failure,) = found.failures
    assert failure.where == "pool.extxyz frame 2" and failure.reason == "ValueError: no such thing"
    assert len(failure.tries) == 2 and not failure.before
    assert json.loads(failures_file(out).read_text())[0]["frame"] == 2
    assert sorted(computed(here)) == ["0.250000", "0.300000"]
    # What every reader takes as it stands, with its level of theory.
    data = read(out, want=("energy", "forces", "stress"))
    assert len(data) == 3 and data[0].theory == theory and data[0].tags["origin"] == "md nvt 300 K"
    assert data[2].tags["origin"] == "other" and data[0].tags["label_key"] == data[2].tags["label_key"]
    assert float(data[0].labels["energy"]) == pytest.approx(0.5 * (0.25**2 + 0.05 + 25 + 0.25))
    np.testing.assert_allclose(data[0].labels["forces"][0], [-0.25, -0.1, -0.2], atol=1e-8)
    # Again: from the store, and what failed is not tried unless it is asked for.
    again = label([Path("pool.extxyz")], given, out=out, quiet=True)
    assert (again.n_from_store, again.n_computed, again.n_labelled) == (3, 0, 3) and again.failures[0].before
    assert (here / "side.txt").read_text().count("begin 3.0") == 2
    label([Path("pool.extxyz")], given, out=out, retry_failed=True, quiet=True)
    assert (here / "side.txt").read_text().count("begin 3.0") == 4
    # Frames in memory, another engine: labels of its own; nothing is left of the failures.
    other = label(pool[:1], fickle(here, parameters={"spring": 2.0}), out=out, quiet=True)
    assert other.n_computed == 1 and other.engine_key != found.engine_key and not failures_file(out).exists()
    assert not out.with_suffix(".yaml").exists(), "no level of theory is stated, and the old one would be wrong"
    assert any("states no level of theory" in note for note in other.notes)
    assert not (here / "labels" / "work").exists()


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers(here):
    pool = [a_frame(0.2 + 0.01 * i) for i in range(6)] + [a_frame(3)]
    one = label(pool, fickle(here), store=Path("a"), quiet=True)
    two = label(pool, fickle(here, workers=2), store=Path("b"), quiet=True)
    assert one.n_labelled == two.n_labelled == 6 and one.failures[0].reason == two.failures[0].reason
    with LabelStore(Path("a")) as first, LabelStore(Path("b")) as second:
        assert first.all_keys() == second.all_keys()
        for key in first.all_keys():
            np.testing.assert_array_equal(first.label(key).arrays["forces"], second.label(key).arrays["forces"])


def test_another_level_of_theory_is_refused_with_every_difference(here):
    own = LevelOfTheory(code="springs", functional="PBE", cutoff_eV=400.0, energy="free", spin=False)
    write("train.extxyz", read_atoms_with_labels())
    Path("train.yaml").write_text("code: springs\nfunctional: PBEsol\ncutoff_eV: 520\nsmearing: gaussian\n")
    given = fickle(here, theory=own)
    with pytest.raises(DataError, match="another level of theory") as caught:
        label([a_frame()], given, against=like_frames(["train.extxyz"]), quiet=True)
    assert "functional: pbe of the engine, pbesol of the data" in str(caught.value)
    assert "cutoff: 400 eV of the engine, 520 eV of the data" in str(caught.value)
    assert not (here / "side.txt").exists() and not (here / "labels").exists(), "before any calculation"
    Path("train.yaml").write_text("code: springs\nfunctional: PBE\ncutoff_eV: 400\nsmearing: gaussian\n")
    found = label([a_frame()], given, against=like_frames(["train.extxyz"]), quiet=True)
    assert found.compared.differing == () and found.compared.only_data == ("smearing",)
    assert any("smearing" in note for note in found.notes) and "spin polarisation" in found.compared.only_engine
    Path("train.yaml").unlink()
    silent = label([a_frame()], given, against=like_frames(["train.extxyz"]), quiet=True)
    assert any("compared with nothing" in note for note in silent.notes)
    with pytest.raises(DataError, match="cutoff"):
        label([a_frame()], given, against=own.model_copy(update={"cutoff_eV": 300.0}), quiet=True)


def test_an_output_of_another_functional_ends_the_work(here, fakes, tmp_path):
    """The pseudopotential says PBE, and the program computes by another functional."""
    given = fake_espresso(fakes, tmp_path, xc="PBESOL")
    with pytest.raises(RunError, match="functional pbesol, asked was pbe"):
        label([silicon()], given, probed=False, quiet=True)
    with LabelStore(Path("labels")) as store:
        assert store.all_keys() == []


def test_the_probe_is_made_once_and_kept(here, fakes, tmp_path):
    given = fake_espresso(fakes, tmp_path)
    pool = [silicon(0.2), silicon(0.25)]
    found = label(pool, given, quiet=True)
    moved = {one.setting: one for one in found.probe.moved}
    assert set(moved) == {"k-mesh", "cutoff", "shift"} and found.probe.partner == "frame 1"
    # The program's energy falls by the cutoff over 100 Ry, in every frame; its stress and forces do not move.
    assert moved["cutoff"].energy_meV_per_atom == pytest.approx(-0.06 * 13605.693 / 2, rel=1e-4)
    assert moved["cutoff"].difference_meV_per_atom == pytest.approx(0.0, abs=1e-3)
    assert moved["cutoff"].forces_eV_per_A == 0.0 and moved["cutoff"].beyond == ()
    assert moved["k-mesh"].energy_meV_per_atom == 0.0
    assert moved["shift"].beyond, "an energy that depends on where the crystal stands is noise"
    assert found.probe.noise == moved["shift"]
    log = (tmp_path / "pwx.log").read_text().splitlines()
    assert len(log) == 7 and sum("26 " in line for line in log) == 2, "each setting on two frames, and one moved"
    assert len({line.split(" ", 2)[2] for line in log}) == 2
    again = label(pool, given, quiet=True)
    assert again.probe == found.probe and (tmp_path / "pwx.log").read_text().splitlines() == log
    assert label(pool, given, probed=False, quiet=True).probe is None


def test_what_cannot_be_labelled_is_told_before_anything_runs(here, fakes, tmp_path):
    given = fickle(here)
    atoms = a_frame()
    atoms.positions[0, 0] = np.nan
    write("pool.extxyz", [a_frame()])
    for frames, out, error, told in [
        ([atoms], None, DataError, "not finite"),
        ([Atoms()], None, DataError, "no atoms"),
        ([], None, DataError, "no frame to label"),
        ([Path("none.extxyz")], None, DataError, "no such file"),
        ([Path("fickle.py")], None, DataError, "py format is not read"),
        ([Path("pool.extxyz")], Path("pool.extxyz"), OptionError, "would be written over"),
        ([Path("pool.extxyz")], Path("pool.h5"), OptionError, "extended XYZ"),
        ([Path("pool.extxyz")], Path("none/out.extxyz"), OptionError, "no folder"),
        ([Path("pool.extxyz")], Path("engine.extxyz"), OptionError, "engine.yaml would be written over"),
    ]:
        Path("engine.yaml").write_text("calculator: emt\nworkers: 1\n")
        with pytest.raises(error, match=told):
            label(frames, given, out=out, quiet=True)
    with pytest.raises(OptionError, match="has none for Ge"):
        label([bulk("Ge")], fake_espresso(fakes, tmp_path), quiet=True)
    assert not (here / "labels").exists()


def test_a_calculator_that_cannot_be_made_leaves_the_store_sound(here):
    with pytest.raises(OptionError, match="no licence"):
        label([a_frame()], Engine(calculator="fickle:broken"), quiet=True)
    assert label([a_frame()], fickle(here), quiet=True).n_labelled == 1


def test_constraints_and_own_labels_stay_behind(here):
    from ase.constraints import FixAtoms

    atoms = a_frame(magic=3)
    atoms.set_constraint(FixAtoms([0]))
    found = label([atoms], fickle(here), out=here / "out.extxyz", quiet=True)
    assert found.n_labelled == 1
    assert read_atoms(here / "out.extxyz").get_forces()[0, 0] == pytest.approx(-0.25)
    assert atoms.constraints and atoms.info == {"magic": 3}, "what was given is as it was"


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_where_it_was(here):
    """Killed with SIGKILL thrice in the midst of calculations: the labels are those of an undisturbed run."""
    count = 12
    write("pool.extxyz", [a_frame(0.2 + 0.01 * i) for i in range(count)])
    side = str(here / "side.txt")
    given = {"calculator": "fickle:make", "parameters": {"side": side, "wait": 0.25}, "retries": 0}
    Path("engine.yaml").write_text(yaml.safe_dump(given))
    code = (
        "from pathlib import Path\nfrom matgraft.potentials.run.label import label\n"
        "label([Path('pool.extxyz')], Path('engine.yaml'), out=Path('out.extxyz'), quiet=True)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(matgraft.__file__).parents[1])}

    def begun():
        return Path(side).read_text().count("begin") if Path(side).exists() else 0

    for kills in range(3):
        driver = subprocess.Popen([sys.executable, "-c", code], env=environment)
        before, until = begun(), time.monotonic() + 120
        while begun() < before + 3 and driver.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.07 * kills)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    undisturbed = label([Path("pool.extxyz")], Path("engine.yaml"), store=Path("other"), quiet=True)
    assert undisturbed.n_labelled == count
    times = [computed(here).count(place) for place in set(computed(here))]
    assert len(times) == count and max(times) <= 3, "one more at most for each kill, beside the undisturbed run"
    assert sum(times) <= 2 * count + 3, "a kill loses at most the calculation in flight"
    with LabelStore(Path("labels")) as first, LabelStore(Path("other")) as second:
        assert first.all_keys() == second.all_keys()
        for key in first.all_keys():
            assert first.label(key).arrays["energy"] == second.label(key).arrays["energy"]
    assert len(read_atoms("out.extxyz", ":")) == count


def test_tblite_needs_no_binary(here):
    pytest.importorskip("tblite", reason="the extra xtb is not installed")
    water = molecule("H2O")
    crystal = bulk("Si", "diamond", a=5.43)
    engine = Engine(calculator="tblite", parameters={"method": "GFN1-xTB"})
    found = label([water, crystal], engine, out=here / "out.extxyz", quiet=True)
    assert found.exit_code == 0 and found.theory.functional == "GFN1-xTB" and found.theory.code == "tblite"
    from tblite.ase import TBLite

    for atoms, written in zip([water, crystal], read_atoms(here / "out.extxyz", ":"), strict=True):
        own = atoms.copy()
        own.calc = TBLite(method="GFN1-xTB", verbosity=0)
        assert written.get_potential_energy() == pytest.approx(own.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(written.get_forces(), own.get_forces(), atol=1e-5)
    np.testing.assert_allclose(written.get_stress(), own.get_stress(), atol=1e-6)


def silicon(how=0.2):
    return Atoms("Si2", [[how, 0.1, 0.2], [3.0, 0.3, 0.4]], cell=[6, 5, 5], pbc=True)


def fake_espresso(fakes, tmp_path, xc="PBE"):
    return fakes.espresso(tmp_path, xc=xc)


def read_atoms_with_labels():
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = a_frame()
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    return atoms


def test_units_that_a_frame_states_are_those_of_its_file_and_not_of_its_new_labels(here):
    atoms = a_frame(**{"energy-unit": "hartree", "length_unit": "nm", "REF_energy_unit": "Ry", "from": "md"})
    atoms.set_cell(atoms.cell[:] / 10, scale_atoms=True)
    write("in.extxyz", atoms)
    (given,) = read(["in.extxyz"], want=())
    done = label([Path("in.extxyz")], fickle(here), out=Path("o.extxyz"), quiet=True)
    (own,) = read(["o.extxyz"])
    assert done.n_labelled == 1 and np.allclose(own.content.positions, given.content.positions)
    assert own.labels["energy"] == pytest.approx(0.5 * np.square(a_frame().positions).sum())
    assert read_atoms("o.extxyz").info.keys() - {"label_key"} == {"from"}


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({"charge": [1, 0]}, "its tag 'charge'"),
        ({"spin": np.array([1, 1])}, "its tag 'spin'"),
        ({"length_unit": "furlong"}, "'furlong' for positions"),
    ],
)
def test_tags_that_cannot_be_meant_are_told(here, tags, told):
    write("in.extxyz", a_frame(**tags))
    with pytest.raises(DataError, match=told) as caught:
        label([Path("in.extxyz")], fickle(here), quiet=True)
    assert "in.extxyz frame 0" in str(caught.value)


def test_a_program_counts_from_the_folder_of_the_engine_file(here, fakes):
    made = fakes.espresso(here)
    (here / "engines").mkdir()
    (here / "pw.x").rename(here / "engines" / "own.x")
    said = made.model_copy(update={"command": ("./own.x",)})
    Path("engines/engine.yaml").write_text(
        yaml.safe_dump(said.model_dump(mode="json", include={"calculator", "command", "parameters"}))
    )
    assert label([a_frame(0.2)], Path("engines/engine.yaml"), probed=False, quiet=True).n_labelled == 1
    own = made.model_copy(update={"command": ("engines/own.x",)})
    assert label([a_frame(0.3)], own, probed=False, quiet=True).n_labelled == 1


def test_a_program_that_is_not_there_is_told_though_nobody_named_it(here, fakes, monkeypatch):
    made = fakes.espresso(here).model_copy(update={"command": ()})
    monkeypatch.setenv("PATH", str(here / "nothing"))
    with pytest.raises(OptionError, match=r"no program 'pw\.x'"):
        label([a_frame()], made, quiet=True)
    assert not Path("labels").exists()


def test_an_ion_is_not_labelled_as_a_neutral_frame(here):
    water = molecule("H2O")
    water.info["charge"] = 1
    with pytest.raises(DataError, match="charge of 1, which emt does not read"):
        label([molecule("H2O"), water], Engine(calculator="emt"), quiet=True)
    assert label([a_frame(charge=1)], fickle(here), quiet=True).n_labelled == 1, "a function may read it"


def test_a_keyword_by_species_is_of_one_element(here, fakes):
    made = fakes.espresso(
        here,
        parameters={
            "pseudopotentials": {"Si": "Si.UPF", "Ge": "Si.UPF"},
            "input_data": {"system": {"ecutwfc": 20, "hubbard_u(1)": 4.0}},
        },
    )
    frames = [Atoms(formula, [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True) for formula in ("SiGe", "Si2", "GeSi")]
    with pytest.raises(OptionError, match=r"hubbard_u\(1\) is that of Si in frame 0, Ge in frame 2"):
        label(frames, made, probed=False, quiet=True)
    with pytest.raises(DataError, match="no whole cell"):
        label([frames[0], Atoms("Si")], made, probed=False, quiet=True)
    frames[0].set_initial_magnetic_moments(np.ones((2, 3)))
    with pytest.raises(DataError, match="moments are vectors"):
        label(frames[:2], made, probed=False, quiet=True)


def test_a_lower_limit_of_forces_holds_for_labels_of_the_store_too(here):
    assert label([a_frame()], fickle(here), quiet=True).n_labelled == 1
    again = label([a_frame()], fickle(here, max_force_eV_per_A=1), quiet=True)
    assert again.n_labelled == 0 and "beyond max_force_eV_per_A=1" in again.failures[0].reason


def test_a_file_of_other_frames_is_not_written_over(here):
    write("train.extxyz", a_frame())
    before = Path("train.extxyz").read_bytes()
    with pytest.raises(OptionError, match="not a file of labelled frames"):
        label([a_frame(0.3)], fickle(here), out=Path("train.extxyz"), quiet=True)
    assert Path("train.extxyz").read_bytes() == before
    Path("own.yaml").write_text("functional: PBE\n")
    with pytest.raises(OptionError, match=r"own\.yaml would be written over"):
        label([a_frame(0.3)], fickle(here), out=Path("own.extxyz"), quiet=True)
    Path("own.yaml").unlink()
    for how in (0.3, 0.4):  # but one of its own is
        label([a_frame(how)], fickle(here), out=Path("own.extxyz"), quiet=True)
    assert read_atoms("own.extxyz").positions[0, 0] == pytest.approx(0.4)


def test_a_charge_is_one_number_however_it_is_written(here):
    done = label([a_frame(charge=1), a_frame(charge=1.0), a_frame(charge=2)], fickle(here), quiet=True)
    assert done.n_computed == 2


def test_files_may_be_named_by_text(here):
    (here / "engine.yaml").write_text(yaml.safe_dump({"calculator": "fickle:make", "parameters": {"side": "side.txt"}}))
    write(here / "one.extxyz", a_frame())
    found = label(["one.extxyz"], "engine.yaml", out="labelled.extxyz", store="kept", quiet=True)
    assert found.n_labelled == 1 and (here / "labelled.extxyz").is_file() and (here / "kept").is_dir()
