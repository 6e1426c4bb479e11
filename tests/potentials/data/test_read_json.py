"""JSON records of pymatgen structures: mlearn's, MPtrj's and CHGNet's forms."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry, ConstantEnergyAdjustment

from matgraft.core.errors import DataError
from matgraft.core.quantities import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS, full_to_voigt, voigt_to_full
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read

KBAR = STRESS_UNITS["kBar"]
ALL = ("energy", "forces", "stress")


def record(energy: float, forces: np.ndarray, stress: np.ndarray, structure: Structure) -> dict[str, Any]:
    """Return a record as mlearn has it: kBar, VASP's sign, xx yy zz xy yz zx."""
    xx, yy, zz, yz, xz, xy = full_to_voigt(stress) / -KBAR
    outputs = {"energy": energy, "forces": forces.tolist(), "virial_stress": [xx, yy, zz, xy, yz, xz]}
    return {"structure": structure.as_dict(), "outputs": outputs, "tag": "train", "group": "AIMD", "num_atoms": 2}


def iron_oxide() -> Structure:
    return Structure(Lattice.cubic(4.3), ["Fe2+", "O2-"], [[0, 0, 0], [0.5, 0.5, 0.48]])


def dump(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def computed(value: np.ndarray | float) -> bool:
    """Zeros throughout stand for what was not computed."""
    return bool(np.abs(value).max() > 1e-9)


@settings(max_examples=25, deadline=None)
@given(
    voigt=hnp.arrays(float, 6, elements=st.floats(-0.1, 0.1)).filter(computed),
    energy=st.floats(-1e3, 1e3).filter(computed),
    forces=hnp.arrays(float, (2, 3), elements=st.floats(-50, 50)).filter(computed),
)
def test_mlearn_records_come_back(tmp_path_factory, voigt: np.ndarray, energy: float, forces: np.ndarray) -> None:
    stress = voigt_to_full(voigt)
    path = dump(tmp_path_factory.mktemp("json") / "a.json", [record(energy, forces, stress, iron_oxide())])
    data = read(path, want=ALL)
    assert data[0].labels["energy"] == energy
    np.testing.assert_array_equal(data[0].labels["forces"], forces)
    np.testing.assert_allclose(data[0].labels["stress"], stress, rtol=1e-12, atol=1e-15)
    assert data.provenance.files[0].units["stress"] == "-kBar"
    assert data[0].content.get_chemical_symbols() == ["Fe", "O"]
    assert dict(data[0].tags) | {"tag": "train", "group": "AIMD"} == dict(data[0].tags)


def test_published_frames_survive_the_round_trip(shared: Path, tmp_path: Path) -> None:
    original: Dataset = read(shared / "data/potentials/Mo_test.extxyz", want=ALL)
    records = []
    for sample in original:
        atoms, labels = sample.content, sample.labels
        structure = Structure(atoms.cell[:], atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)
        records.append(record(float(labels["energy"]), labels["forces"], labels["stress"], structure))
    again = read(dump(tmp_path / "Mo.json", records), want=ALL)
    for one, other in zip(original, again, strict=True):
        for name in ALL:
            np.testing.assert_allclose(one.labels[name], other.labels[name], atol=1e-12)
        np.testing.assert_allclose(
            one.content.get_all_distances(mic=True), other.content.get_all_distances(mic=True), atol=1e-8
        )


def test_another_shear_order_is_put_right(tmp_path: Path) -> None:
    """The published Mo records list xy zx yz where VASP's order is xy yz zx."""
    stress = voigt_to_full(np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006]))
    wrong = record(-10.0, np.ones((2, 3)), stress, iron_oxide())
    six = wrong["outputs"]["virial_stress"]
    six[4], six[5] = six[5], six[4]
    path = dump(tmp_path / "a.json", [wrong])
    assert not np.allclose(read(path, want=ALL)[0].labels["stress"], stress)
    np.testing.assert_allclose(read(path, want=ALL, shear="xz,yz,xy")[0].labels["stress"], stress)


def chgnet_record(energy: float, **more: Any) -> dict[str, Any]:
    stress = [[10.0, 1.0, 2.0], [1.0, 20.0, 3.0], [2.0, 3.0, 30.0]]
    labels = {"force": [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]], "stress": stress, "magmom": [4.0, 0.0]}
    return {"structure": iron_oxide().as_dict(), "energy_per_atom": energy, **labels, **more}


def check_chgnet(data: Dataset, energies: list[float]) -> None:
    assert [float(sample.labels["energy"]) for sample in data] == pytest.approx([2 * energy for energy in energies])
    assert data[0].labels["stress"][0, 0] == pytest.approx(-10.0 * KBAR)
    assert data[0].labels["forces"][0, 2] == 0.1
    assert data.provenance.files[0].units["energy"] == "eV/atom"


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_mptrj_records_are_trajectories_by_material(tmp_path: Path, name: str) -> None:
    content = {
        "mp-1": {"mp-1-0-0": chgnet_record(-5.0), "mp-1-0-1": chgnet_record(-5.5)},
        "mp-2": {"mp-2-0-0": chgnet_record(-6.0)},
    }
    opener = gzip.open if name.endswith("gz") else open
    with opener(tmp_path / name, "wt") as file:
        json.dump(content, file)
    data = read(tmp_path / name, want=ALL)
    check_chgnet(data, [-5.0, -5.5, -6.0])
    assert data.tag("trajectory") == ["mp-1", "mp-1", "mp-2"]
    assert data.tag("record") == ["mp-1-0-0", "mp-1-0-1", "mp-2-0-0"]


def test_records_by_graph_id_and_in_columns(tmp_path: Path) -> None:
    records = [chgnet_record(-5.0, uncorrected_total_energy=-10.0), chgnet_record(-6.0, uncorrected_total_energy=-12.0)]
    by_id = read(dump(tmp_path / "ids.json", {"g0": records[0], "g1": records[1]}), want=ALL)
    columns = {key: [one[key] for one in records] for key in records[0]}
    in_columns = read(
        dump(tmp_path / "columns.json", columns),
        want=ALL,
        units={"energy": "eV/atom"},
        keys={"energy": "energy_per_atom"},
    )
    check_chgnet(in_columns, [-5.0, -6.0])
    assert [float(sample.labels["energy"]) for sample in by_id] == [-10.0, -12.0]
    assert in_columns.tag("trajectory") == ["", ""]


def test_energies_that_mean_different_things_ask_for_a_choice(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.json", [chgnet_record(-5.0, ef_per_atom=-1.0)])
    with pytest.raises(DataError) as caught:
        read(path)
    assert "option: keys.energy=ef_per_atom" in str(caught.value)
    assert read(path, keys={"energy": "ef_per_atom"})[0].labels["energy"] == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[{", "not valid JSON"),
        ("[]", "no record with a structure"),
        ('{"a": 3}', "'a' is not a record"),
        ('[{"structure": {"lattice": 1}}]', "structure cannot be read"),
        ('{"structure": [{}, {}], "energy": [1]}', "'energy' has 1 entries for 2 structures"),
    ],
)
def test_wrong_files_say_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / "a.json")
    assert caught.value.where.startswith("a.json")


def test_partly_occupied_sites_are_refused(tmp_path: Path) -> None:
    alloy = Structure(Lattice.cubic(3.0), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(DataError, match="partly occupied"):
        read(dump(tmp_path / "a.json", [{"structure": alloy.as_dict(), "outputs": {"energy": 1.0}}]))


def test_null_labels_are_absent(tmp_path: Path) -> None:
    records = [record(-10.0, np.ones((2, 3)), np.eye(3), iron_oxide()) for _ in range(2)]
    records[1]["outputs"]["energy"] = None
    assert read(dump(tmp_path / "a.json", records)).count("energy") == 1


def test_units_that_a_record_states_act_and_its_stress_keeps_the_sign_of_vasp(tmp_path: Path) -> None:
    units = {"energy_unit": "hartree", "forces_unit": "Hartree/Bohr", "stress_unit": "kBar"}
    labels = {"energy": -0.5, "forces": [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]], "stress": (10 * np.eye(3)).tolist()}
    (sample,) = read(dump(tmp_path / "a.json", [{"structure": iron_oxide().as_dict()} | labels | units]))
    assert sample.labels["energy"] == pytest.approx(-0.5 * ENERGY_UNITS["Hartree"])
    assert sample.labels["forces"][0, 0] == pytest.approx(0.1 * FORCE_UNITS["Hartree/Bohr"])
    np.testing.assert_allclose(sample.labels["stress"], -10 * KBAR * np.eye(3))


# ------------------------------------------------------------------ energy corrections


BOTH = {"uncorrected_total_energy": -10.0, "corrected_total_energy": -11.4}


@pytest.mark.parametrize(
    ("beside", "key", "said"),
    [
        (BOTH, "uncorrected_total_energy", "none"),
        (BOTH, "corrected_total_energy", "corrected"),
        (BOTH, "energy_per_atom", "corrected"),
        ({"uncorrected_total_energy": -11.4}, "energy_per_atom", "none"),
        ({"uncorrected_energy_per_atom": -5.0}, "energy_per_atom", "corrected"),
        ({"uncorrected_total_energy": -11.4, "corrected_total_energy": -11.4}, "energy_per_atom", None),
        ({"uncorrected_total_energy": None}, "energy_per_atom", None),
        ({"uncorrected_total_energy": "n/a"}, "energy_per_atom", None),
        ({}, "energy_per_atom", None),
    ],
)
def test_what_stands_beside_an_energy_says_whether_it_was_corrected(
    tmp_path: Path, beside: dict[str, Any], key: str, said: str | None
) -> None:
    (sample,) = read(dump(tmp_path / "a.json", [chgnet_record(-5.7, **beside)]), keys={"energy": key})
    assert (sample.theory and sample.theory.correction) == said


def test_an_entry_of_pymatgen_has_the_energy_of_dft(tmp_path: Path) -> None:
    fix = ConstantEnergyAdjustment(-1.4, name="MP2020 anion correction (oxide)")
    entry = ComputedStructureEntry(iron_oxide(), -10.0, energy_adjustments=[fix])
    assert entry.energy == pytest.approx(-11.4)
    data = read(dump(tmp_path / "a.json", [entry.as_dict()]), want=("energy",))
    assert float(data[0].labels["energy"]) == -10.0
    assert data[0].theory is not None and data[0].theory.correction == "none"
    named = entry.as_dict() | {"@class": "mine", "corrected_total_energy": -10.0}
    (sample,) = read(dump(tmp_path / "b.json", [named]), want=("energy",), keys={"energy": "energy"})
    assert sample.theory is not None and sample.theory.correction == "MP2020"


def test_a_correction_that_may_be_in_the_energy_or_not_is_told(tmp_path: Path) -> None:
    records = [chgnet_record(-5.0, correction=value) for value in (-1.4, 0.0, -0.7)]
    path = dump(tmp_path / "a.json", records)
    data = read(path)
    assert [sample.theory for sample in data] == [None] * 3
    (note,) = [one for one in data.provenance.notes if "correction" in one]
    assert note.startswith("a.json: 2 of 3 frames have a correction beside their energy")
    (tmp_path / "a.yaml").write_text("code: VASP\ncorrection: MP2020\n")
    assert {sample.theory.correction for sample in read(path) if sample.theory} == {"MP2020"}


def test_a_statement_on_corrections_that_the_key_contradicts_is_an_error(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.json", [chgnet_record(-5.0, **BOTH)])
    (tmp_path / "a.yaml").write_text("code: VASP\ncorrection: MP2020\n")
    with pytest.raises(DataError, match="as DFT gave them by their key, corrected by MP2020 as stated"):
        read(path, keys={"energy": "uncorrected_total_energy"})
    (sample,) = read(path, keys={"energy": "corrected_total_energy"})
    assert sample.theory is not None and sample.theory.correction == "MP2020"  # the name that was stated
