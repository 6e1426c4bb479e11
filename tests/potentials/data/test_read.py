"""Reading through ASE: keys, units, shapes, tags, and errors that say what to do."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError, MatgraftError, OptionError
from matgraft.core.quantities import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS, full_to_voigt
from matgraft.potentials.data.reading.read import read

VOIGT = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])
FULL = np.array([[0.01, 0.006, 0.005], [0.006, 0.02, 0.004], [0.005, 0.004, 0.03]])


def silicon(seed: int = 0, **results: object) -> Atoms:
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    atoms.positions += rng.normal(scale=0.05, size=(8, 3))
    labels = {"energy": -43.0 + seed, "forces": rng.normal(size=(8, 3)), "stress": VOIGT} | results
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def bare_silicon(**info: object) -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.info |= info
    return atoms


def write(path: Path, *frames: Atoms) -> Path:
    ase.io.write(path, list(frames))
    return path


@pytest.fixture
def frames() -> list[Atoms]:
    return [silicon(seed) for seed in range(3)]


@pytest.mark.parametrize(
    "name", ["frames.extxyz", "frames.xyz", "frames.extxyz.gz", "frames.traj", "frames.db", "frames.json"]
)
def test_formats_of_ase_give_the_same_labels(tmp_path: Path, frames: list[Atoms], name: str) -> None:
    data = read(write(tmp_path / name, *frames), want=("energy", "forces", "stress"))
    assert len(data) == 3
    for atoms, sample in zip(frames, data, strict=True):
        assert sample.labels["energy"] == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(sample.labels["forces"], atoms.get_forces(), atol=1e-7)
        np.testing.assert_allclose(sample.labels["stress"], FULL, atol=1e-7)
        np.testing.assert_allclose(sample.content.positions, atoms.positions, atol=1e-7)
    assert data.provenance.files[0].keys == {"energy": "energy", "forces": "forces", "stress": "stress"}
    assert data.provenance.files[0].units == {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å³"}
    assert len(data.provenance.files[0].sha256) == 64


def test_published_frames_have_all_labels(shared: Path) -> None:
    data = read(shared / "data/potentials/Si_train.extxyz", want=("energy", "forces", "stress"))
    assert [data.count(name) for name in ("energy", "forces", "stress")] == [214, 214, 214]
    assert set(data.tag("config_type")) == {"AIMD-NVT", "Vacancy", "Elastic", "Surface"}
    assert "" not in data.tag("trajectory")
    assert sum(sample.n_atoms for sample in data) == 13233


def test_atoms_are_clean_and_scalars_become_tags(tmp_path: Path) -> None:
    atoms = silicon()
    atoms.info |= {"config_type": "hot", "T": 300, "ok": True, "REF_energy": -43.0, "list": [1, 2]}
    atoms.arrays["REF_forces"] = atoms.get_forces()
    atoms.set_constraint(FixAtoms([0]))
    sample = read(write(tmp_path / "a.traj", atoms))[0]
    assert sample.content.calc is None
    assert not sample.content.info
    assert not sample.content.constraints
    assert set(sample.content.arrays) == {"numbers", "positions"}
    assert dict(sample.tags) == {"file": "a.traj", "frame": "0", "config_type": "hot", "T": "300", "ok": "True"}
    assert np.abs(sample.labels["forces"][0]).min() > 0  # a constraint must not zero the label


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("REF_energy", "REF_forces"), ("dft_energy", "force"), ("DFT_Energy", "DFT_FORCES"), ("E0", "vasp_force")],
)
def test_keys_are_found_in_any_case(tmp_path: Path, energy: str, forces: str) -> None:
    atoms = bare_silicon(**{energy: -43.0})
    atoms.arrays[forces] = np.ones((8, 3))
    data = read(write(tmp_path / "a.extxyz", atoms))
    assert data[0].labels["energy"] == -43.0
    assert data.provenance.files[0].keys == {"energy": energy, "forces": forces}
    assert any(f"energy read from '{energy}' in eV" in note for note in data.provenance.notes)


def test_energy_per_atom_is_multiplied_out(tmp_path: Path) -> None:
    data = read(write(tmp_path / "a.extxyz", bare_silicon(energy_per_atom=-5.0)), want=["energy"])
    assert data[0].labels["energy"] == pytest.approx(-40.0)
    assert data.provenance.files[0].units == {"energy": "eV/atom"}


def test_candidates_that_agree_are_no_ambiguity(tmp_path: Path) -> None:
    frame = bare_silicon(
        REF_energy=-40.0, energy_per_atom=-5.0, stress=FULL, virial=-FULL * bulk("Si", cubic=True).cell.volume
    )
    data = read(write(tmp_path / "a.extxyz", frame), want=["energy", "stress"])
    assert data[0].labels["energy"] == -40.0


@pytest.mark.parametrize(
    ("info", "quantity", "option"),
    [
        ({"REF_energy": -40.0, "dft_energy": -41.0}, "energy", "keys.energy=dft_energy"),
        ({"energy": -40.0, "free_energy": -41.0}, "energy", "keys.energy=free_energy"),
        ({"energy": -40.0, "stress": FULL, "virial": FULL}, "stress", "keys.stress=virial"),
    ],
)
def test_candidates_that_differ_ask_for_a_choice(tmp_path: Path, info: dict, quantity: str, option: str) -> None:
    path = write(tmp_path / "a.extxyz", bare_silicon(**info))
    with pytest.raises(DataError) as caught:
        read(path, want=["energy"])
    name, value = option.split("=")
    assert {name: value} in caught.value.options
    assert "a.extxyz frame 0" in str(caught.value)
    chosen = read(path, want=["energy"], keys={quantity: value})
    assert chosen.provenance.files[0].keys[quantity] == value


def test_info_against_calculator_is_an_ambiguity(tmp_path: Path) -> None:
    atoms = silicon()
    atoms.info["energy"] = -1.0
    path = write(tmp_path / "a.traj", atoms)
    with pytest.raises(DataError, match="2 keys with different values"):
        read(path)
    assert read(path, keys={"energy": "energy"})[0].labels["energy"] == -43.0
    assert read(path, keys={"energy": "energy (info)"})[0].labels["energy"] == -1.0


def test_wanted_label_that_is_nowhere_names_keys_and_the_nearest(tmp_path: Path) -> None:
    atoms = bare_silicon(my_enrgy=-43.0, temperature=300.0)
    atoms.arrays["gradient"] = np.ones((8, 3))
    path = write(tmp_path / "a.extxyz", atoms)
    with pytest.raises(DataError, match="no frame has energy") as caught:
        read(path)
    assert caught.value.options[0] == {"keys.energy": "my_enrgy"}
    assert "temperature" in caught.value.found
    data = read(path, keys={"energy": "my_enrgy", "forces": "gradient"})
    assert data.quantities() == ("energy", "forces")
    assert set(data[0].tags) == {"file", "frame", "temperature"}


def test_labels_in_some_frames_stay_absent_in_the_others(tmp_path: Path) -> None:
    data = read(write(tmp_path / "a.extxyz", silicon(), bare_silicon(config_type="bare"), silicon(1)))
    assert [set(sample.labels) for sample in data] == [
        {"energy", "forces", "stress"},
        set(),
        {"energy", "forces", "stress"},
    ]
    assert any("forces is absent in 1 of 3 frames" in note for note in data.provenance.notes)


def test_frames_under_different_keys_are_counted(tmp_path: Path) -> None:
    data = read(write(tmp_path / "a.extxyz", silicon(), bare_silicon(REF_energy=-43.0)))
    assert data.count("energy") == 2
    assert any("'energy' in eV (1 frames) and 'REF_energy' in eV (1 frames)" in note for note in data.provenance.notes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_values_are_kept(tmp_path: Path, value: float) -> None:
    forces = np.ones((8, 3))
    forces[2, 1] = value
    data = read(write(tmp_path / "a.extxyz", silicon(energy=-43.0, forces=forces, stress=VOIGT)))
    np.testing.assert_equal(data[0].labels["forces"][2, 1], value)


def test_virial_becomes_stress_by_volume_and_sign(tmp_path: Path) -> None:
    atoms = bare_silicon(energy=-43.0, virial=-FULL * bulk("Si", cubic=True).cell.volume)
    data = read(write(tmp_path / "a.extxyz", atoms), want=["stress"])
    np.testing.assert_allclose(data[0].labels["stress"], FULL, atol=1e-9)
    assert data.provenance.files[0].units["stress"] == "eV (virial)"


def test_units_say_whether_it_is_a_virial(tmp_path: Path) -> None:
    volume = bulk("Si", cubic=True).cell.volume
    path = write(tmp_path / "a.extxyz", bare_silicon(virial=FULL))
    as_stress = read(path, want=["stress"], units={"stress": "GPa"})
    np.testing.assert_allclose(as_stress[0].labels["stress"], FULL * STRESS_UNITS["GPa"])
    path = write(tmp_path / "b.extxyz", bare_silicon(stress=-FULL * volume))
    as_virial = read(path, want=["stress"], units={"virial": "eV"})
    np.testing.assert_allclose(as_virial[0].labels["stress"], FULL)


@pytest.mark.parametrize(
    "text", ["0.01 0.02 0.03 0.004 0.005 0.006", "0.01 0.006 0.005 0.006 0.02 0.004 0.005 0.004 0.03"]
)
@pytest.mark.parametrize("key", ["stress", "REF_stress"])
def test_stress_as_six_or_nine_numbers(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "a.extxyz"
    path.write_text(f'1\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 {key}="{text}"\nSi 0 0 0\n')
    np.testing.assert_allclose(read(path, want=["stress"])[0].labels["stress"], FULL)


def test_shear_is_put_right_after_assembling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.extxyz", silicon())
    right = read(path, shear="xy,yz,zx")[0].labels["stress"]  # in the places yz, xz, xy stand xy, yz, zx
    np.testing.assert_allclose(full_to_voigt(right), [0.01, 0.02, 0.03, 0.005, 0.006, 0.004], atol=1e-8)


@pytest.mark.parametrize(
    ("info", "columns", "said"),
    [
        ('stress="1 2 3 4 5"', "", r"stress has the shape \(5,\)"),
        ('stress="1 2 3 0 5 6 7 8 9"', "", "not symmetric"),
        ('REF_energy="1 2"', "", r"energy has the shape \(2,\)"),
        ("energy=high", "", "'high|high is not a number"),
        ("", ":force:R:2", r"forces has the shape \(1, 2\)"),
    ],
)
def test_wrong_shapes_name_file_and_frame(tmp_path: Path, info: str, columns: str, said: str) -> None:
    path = tmp_path / "a.extxyz"
    head = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3'
    path.write_text(f"1\n{head} energy=1\nSi 0 0 0\n1\n{head}{columns} {info}\nSi 0 0 0 1 2\n")
    with pytest.raises(DataError, match=said) as caught:
        read(path, want=[])
    assert "a.extxyz frame 1" in caught.value.where


def test_forces_of_wrong_length_name_the_frame(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as db:
        db.write(silicon(), data={"REF_forces": np.zeros((7, 3))})
    with pytest.raises(DataError, match=r"\(7, 3\)") as caught:
        read(tmp_path / "a.db")
    assert "(8, 3) for this frame" in caught.value.allowed


def test_database_rows_give_labels_and_tags(tmp_path: Path) -> None:
    with connect(tmp_path / "a.db") as db:
        db.write(bare_silicon(), dft_energy=-43.0, config_type="bulk", data={"dft_forces": np.ones((8, 3))})
    data = read(tmp_path / "a.db")
    assert data.provenance.files[0].keys == {"energy": "dft_energy", "forces": "dft_forces"}
    assert data.tag("config_type") == ["bulk"]


def test_stress_without_a_cell_is_left_out(tmp_path: Path) -> None:
    water = molecule("H2O")
    water.calc = SinglePointCalculator(water, energy=-14.0, forces=np.zeros((3, 3)), stress=np.zeros(6))
    data = read(write(tmp_path / "a.extxyz", water, silicon()))
    assert "stress" not in data[0].labels
    assert "stress" in data[1].labels
    assert any("stress left out in 1 frames without a cell of three vectors" in note for note in data.provenance.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"keys": {"enrgy": "energy"}},
        {"keys": {"energy": "nowhere"}},
        {"units": {"energy": "parsec"}},
        {"units": {"stress": "GPa", "virial": "eV"}},
        {"units": {"stress": "GPa"}},
        {"shear": "xy,yz,xz"},
        {"shear": "xy,xy,xz"},
        {"want": ["charge"]},
    ],
)
def test_options_that_would_do_nothing_are_errors(tmp_path: Path, options: dict) -> None:
    path = write(tmp_path / "a.extxyz", bare_silicon(energy=-43.0))
    with pytest.raises(OptionError):
        read(path, **({"want": ["energy"]} | options))


def test_truncated_frame_is_named(tmp_path: Path, frames: list[Atoms]) -> None:
    whole = write(tmp_path / "a.extxyz", *frames).read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.extxyz"
    for n_lines in range(1, len(whole)):
        cut.write_text("".join(whole[:n_lines]))
        if n_lines % 10 == 0:
            assert len(read(cut)) == n_lines // 10
            continue
        with pytest.raises(DataError, match="ends in the middle") as caught:
            read(cut)
        assert caught.value.where == f"cut.extxyz frame {n_lines // 10}"


def test_a_line_cut_short_names_its_frame(tmp_path: Path, frames: list[Atoms]) -> None:
    text = write(tmp_path / "a.extxyz", *frames).read_text()
    (tmp_path / "a.extxyz").write_text(text.rstrip()[:-40])
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.extxyz")
    assert caught.value.where == "a.extxyz frame 2"


def test_a_blank_line_does_not_end_the_data_silently(tmp_path: Path, frames: list[Atoms]) -> None:
    text = write(tmp_path / "a.extxyz", *frames).read_text()
    (tmp_path / "a.extxyz").write_text(text + "\n" + text)
    with pytest.raises(DataError, match="line 31 is blank"):
        read(tmp_path / "a.extxyz")
    (tmp_path / "a.extxyz").write_text(text + "\n\n")
    assert len(read(tmp_path / "a.extxyz")) == 3


def test_missing_empty_and_unknown_files(tmp_path: Path) -> None:
    write(tmp_path / "frames.extxyz", silicon())
    with pytest.raises(DataError, match=r"did you mean 'frames.extxyz'"):
        read(tmp_path / "frame.extxyz")
    (tmp_path / "empty.extxyz").touch()
    with pytest.raises(DataError, match="the file is empty"):
        read(tmp_path / "empty.extxyz")
    (tmp_path / "notes.abc").write_text("nothing of use\n")
    (tmp_path / "void.extxyz").write_text("0\nhead\n")
    with pytest.raises(DataError, match="the frame has no atoms"):
        read(tmp_path / "void.extxyz")
    with pytest.raises(DataError, match="format is not recognised"):
        read(tmp_path / "notes.abc")
    with pytest.raises(DataError, match=r"no output of a code"):
        read(tmp_path)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_damaged_archives_are_refused(tmp_path: Path, frames: list[Atoms], ending: str) -> None:
    path = write(tmp_path / f"a.extxyz.{ending}", *frames)
    packed = path.read_bytes()
    assert len(read(path)) == 3
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="not readable text"):
        read(path)
    path.write_bytes(packed[:40] + b"damaged" + packed[47:])
    with pytest.raises(DataError):
        read(path)


def test_all_broken_files_are_named_at_once(tmp_path: Path) -> None:
    good = write(tmp_path / "good.extxyz", silicon())
    for name in ("one.extxyz", "two.extxyz"):
        (tmp_path / name).write_text("3\nhead\nSi 0 0 0\n")
    with pytest.raises(DataError) as caught:
        read([good, tmp_path / "one.extxyz", tmp_path / "two.extxyz"])
    assert "one.extxyz" in str(caught.value)
    assert "two.extxyz" in str(caught.value)


def test_several_files_keep_order_and_have_distinct_names(tmp_path: Path) -> None:
    paths = []
    for seed, name in enumerate(("b", "a")):
        (tmp_path / name).mkdir()
        paths.append(write(tmp_path / name / "frames.extxyz", silicon(seed)))
    data = read(paths, progress=True)
    assert [sample.where for sample in data] == ["b/frames.extxyz frame 0", "a/frames.extxyz frame 0"]
    assert [file.name for file in data.provenance.files] == ["b/frames.extxyz", "a/frames.extxyz"]
    with pytest.raises(OptionError, match="given twice"):
        read([paths[0], paths[0]])
    with pytest.raises(OptionError, match="no file"):
        read([])


@pytest.mark.parametrize("name", ["set@300K.extxyz", "OUTCAR.extxyz", "vasprun.extxyz"])
def test_names_that_could_mean_something_else(tmp_path: Path, name: str) -> None:
    write(tmp_path / "plain.extxyz", silicon(), silicon(1)).rename(tmp_path / name)
    assert len(read(tmp_path / name, want="energy")) == 2


ENERGY_TEXTS = [sign + unit + per for sign in ("", "-") for unit in ENERGY_UNITS for per in ("", "/atom")]
SIGNED_STRESS = [sign + unit for sign in ("", "-") for unit in STRESS_UNITS]


@settings(max_examples=40, deadline=None)
@given(
    energy=st.sampled_from(ENERGY_TEXTS),
    forces=st.sampled_from([*FORCE_UNITS, "-eV/A"]),
    stress=st.sampled_from(SIGNED_STRESS),
    seed=st.integers(0, 50),
)
def test_labels_written_in_any_unit_come_back(
    tmp_path_factory, energy: str, forces: str, stress: str, seed: int
) -> None:
    from matgraft.core.quantities import parse_unit

    rng = np.random.default_rng(seed)
    labels = {"energy": rng.normal(-40), "forces": rng.normal(size=(8, 3)), "stress": FULL * rng.normal()}
    units = {"energy": energy, "forces": forces, "stress": stress}
    told = {name: parse_unit(text, name).from_canonical(labels[name], 8) for name, text in units.items()}
    atoms = silicon(energy=float(told["energy"]), forces=told["forces"], stress=full_to_voigt(told["stress"]))
    path = write(tmp_path_factory.mktemp("units") / "a.traj", atoms)
    sample = read(path, units=units)[0]
    for name, value in labels.items():
        np.testing.assert_allclose(sample.labels[name], value, rtol=1e-9, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, data: st.DataObject) -> None:
    """Whatever stands in a file, a reader answers with frames or with an error a user can act on."""
    folder = tmp_path_factory.mktemp("fuzz")
    whole = bytearray(write(folder / "whole.extxyz", silicon(), silicon(1)).read_bytes())
    start = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, 40))
    whole[start : start + length] = data.draw(st.binary(max_size=12))
    name = data.draw(st.sampled_from(["a.extxyz", "a.json", "vasprun.xml", "OUTCAR", "a.extxyz.gz", "a.db"]))
    (folder / name).write_bytes(bytes(whole))
    try:
        assert len(read(folder / name, want=[])) >= 1
    except MatgraftError as error:
        assert name in str(error)


def test_a_frame_is_weighted_by_its_key(tmp_path: Path) -> None:
    frames = [bulk("Si"), bulk("Si"), bulk("Si")]
    for atoms, weight in zip(frames, (2.5, 0.0, None), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
        if weight is not None:
            atoms.info["config_weight"] = weight
    ase.io.write(tmp_path / "a.extxyz", frames)
    dataset = read(tmp_path / "a.extxyz")
    assert [sample.weight for sample in dataset] == [2.5, 0.0, 1.0]
    assert any("weighted in the loss by their key 'config_weight'" in note for note in dataset.provenance.notes)
    frames[1].info["config_weight"] = -1
    ase.io.write(tmp_path / "b.extxyz", frames)
    with pytest.raises(DataError, match=r"b\.extxyz frame 1: config_weight=-1 is not a weight"):
        read(tmp_path / "b.extxyz")
