"""Engine files: what they say, and what they may not."""

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from matgraft.core.errors import DataError, ExtraError, OptionError
from matgraft.core.provenance import LevelOfTheory
from matgraft.potentials.active.labelling.engine import Engine, read_engine, refuse_unusable, seconds
from matgraft.potentials.active.labelling.outcome import too_large


def written(tmp_path, text):
    path = tmp_path / "engine.yaml"
    path.write_text(text)
    return path


def test_a_whole_file(tmp_path):
    (tmp_path / "frames.yaml").write_text("code: my code\nfunctional: PBE\n")
    (tmp_path / "pseudo").mkdir()
    engine = read_engine(
        written(
            tmp_path,
            "calculator: emt\nparameters: {asap_cutoff: true, deep: {conv_thr: 1e-8}, pseudo_dir: pseudo}\n"
            "workers: 3\ntimeout: 2h\nretries: 0\ntheory: frames.yaml\nexecutor: slurm.yaml\n"
            "aim: {forces_eV_per_A: 0.1}\n",
        )
    )
    assert engine.timeout_s == 7200 and engine.workers == 3 and engine.retries == 0
    assert engine.parameters["deep"] == {"conv_thr": 1e-8}, "YAML 1.1 reads 1e-8 as text"
    assert engine.theory == LevelOfTheory(code="my code", functional="PBE")
    assert engine.executor == tmp_path / "slurm.yaml" and engine.parameters["pseudo_dir"] == str(tmp_path / "pseudo")
    assert engine.aim.forces_eV_per_A == 0.1


def test_it_travels_as_json():
    engine = Engine(calculator="emt", timeout="90 min", parameters={"a": [1, 2.5, True, None, "x"]})
    assert Engine.model_validate_json(engine.model_dump_json(by_alias=True)) == engine
    assert engine.timeout_s == 5400 and Engine(calculator="emt", timeout_s=30).timeout_s == 30


@pytest.mark.parametrize(
    ("text", "found", "told"),
    [
        ("calculator: emt\ntimout: 2h\n", "unknown key 'timout'", "timeout"),
        ("calculator: espreso\n", "'espreso' is unknown", "espresso"),
        ("calculator: emt\naim: {force: 1}\n", "aim.force", "forces_eV_per_A"),
        ("calculator: emt\ntimeout: soon\n", "timeout", ""),
        ("calculator: emt\ntimeout: 0\n", "timeout", ""),
        ("calculator: emt\nworkers: 0\n", "workers", ""),
        ("workers: 2\n", "'calculator' is missing", ""),
        ("calculator: my.module:make\ncommand: pw.x\n", "command is not read", "parameters"),
        ("calculator: vasp\ncommand: [no-such-program, -x]\n", "no program 'no-such-program'", ""),
        ("calculator: emt\ntheory: {functionel: PBE}\n", "functionel", "functional"),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path, text, found, told):
    with pytest.raises((OptionError, DataError)) as caught:
        read_engine(written(tmp_path, text))
    assert found in str(caught.value) and told in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError):
        read_engine(tmp_path / "none.yaml")


def test_a_command_is_words_whichever_way_it_is_written():
    assert Engine(calculator="vasp", command="mpirun -np 4 'my vasp'").command == ("mpirun", "-np", "4", "my vasp")
    assert Engine(calculator="vasp", command=["vasp_std"]).command == ("vasp_std",)


def test_on_a_cluster_the_program_is_elsewhere(tmp_path):
    refuse_unusable(Engine(calculator="vasp", command=["no-such-program"], executor=tmp_path / "slurm.yaml"))


def test_without_tblite_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("matgraft.potentials.active.labelling.engine.find_spec", lambda name: None)
    with pytest.raises(ExtraError, match=r"matgraft\[xtb\]"):
        refuse_unusable(Engine(calculator="tblite"))


@given(st.floats(0.001, 1e6), st.sampled_from(["s", "m", "min", "h", "d"]), st.booleans())
def test_durations(number, unit, spaced):
    factor = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}[unit]
    text = f"{number:.6f}"
    assert np.isclose(seconds(f"{text}{' ' * spaced}{unit}"), float(text) * factor)


def test_keys_follow_what_a_label_depends_on(tmp_path, monkeypatch):
    from matgraft.potentials.active.labelling.fingerprint import engine_key, frame_key

    engine = Engine(calculator="emt", parameters={"a": 30, "b": {"x": 1, "y": 2}})
    same = Engine(calculator="emt", parameters={"b": {"y": 2, "x": 1.0}, "a": 30.0}, workers=8, timeout=5, retries=4)
    assert engine_key(engine) == engine_key(same)
    assert engine_key(engine) != engine_key(engine.with_parameters(a=31))
    assert engine_key(engine) != engine_key(engine.model_copy(update={"theory": LevelOfTheory(functional="PBE")}))
    monkeypatch.chdir(tmp_path)
    own = Engine(calculator="mine_of_test:make")
    (tmp_path / "mine_of_test.py").write_text("CUTOFF = 3\n")
    first = engine_key(own)
    (tmp_path / "mine_of_test.py").write_text("CUTOFF = 4\n")
    assert engine_key(own) != first, "a function that has changed is another engine"
    atoms = bulk("Cu")
    key = frame_key(atoms, "e")
    for change in (_moved, _magnetic, _charged, _tagged, _slab):
        other = atoms.copy()
        change(other)
        assert frame_key(other, "e") != key, change.__name__
    same_frame = atoms.copy()
    same_frame.positions += 1e-11
    same_frame.info["origin"] = "md"
    same_frame.set_initial_magnetic_moments([0.0])
    assert frame_key(same_frame, "e") == key and frame_key(atoms, "f") != key


def _moved(atoms):
    atoms.positions[0, 0] += 1e-6


def _magnetic(atoms):
    atoms.set_initial_magnetic_moments([1.0])


def _charged(atoms):
    atoms.set_initial_charges([1.0])


def _tagged(atoms):
    atoms.info["charge"] = 1


def _slab(atoms):
    atoms.pbc = (True, True, False)


def test_a_force_is_held_against_the_limit_by_its_size():
    assert too_large({"forces": np.array([[0.0, 0, 0], [60, 60, 60]])}, 100) == (
        "a force of 103.9 eV/Å: beyond max_force_eV_per_A=100"
    )
    assert too_large({"forces": np.array([[57.0, 57, 57]])}, 100) == too_large({"forces": np.zeros((0, 3))}, 100) == ""
