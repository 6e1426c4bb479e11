"""What a header says of its own numbers acts: units, weights, kinds of energy; and what is not read is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import units

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import parse_unit
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.reading.stated import stated_units

LATTICE = 'Lattice="5 0 0 0 5 0 0 0 5"'
FORCES = "Properties=species:S:1:pos:R:3:forces:R:3"
ROWS = ["Si 0 0 0 0.1 0.2 0.3", "Si 1 1 1.2 -0.1 -0.2 -0.3"]


def write(folder: Path, *headers: str, columns: str = FORCES, rows: list[str] = ROWS, name: str = "a.xyz") -> Path:
    frames = [
        f"{len(rows)}\n{LATTICE} {columns} {header}\n" + "".join(f"{row}\n" for row in rows) for header in headers
    ]
    (folder / name).write_text("".join(frames), encoding="utf-8")
    return folder / name


def notes(data: Dataset) -> str:
    return "\n".join(data.provenance.notes)


# ------------------------------------------------------------------------ units


@pytest.mark.parametrize(
    ("text", "of", "factor"),
    [
        ("a.u.", "energy", units.Hartree),
        ("Atomic units", "forces", units.Hartree / units.Bohr),
        ("Eh", "energy", units.Hartree),
        ("kcal mol^-1", "energy", units.kcal / units.mol),
        ("kcal/(mol Å)", "forces", units.kcal / units.mol),
        ("kJ/mol/nm", "forces", units.kJ / units.mol / 10),
        ("eV/nm", "forces", 0.1),
        ("eV Å⁻³", "stress", 1.0),
        ("au/bohr^3", "stress", units.Hartree / units.Bohr**3),
        ("Ha/a0^3", "stress", units.Hartree / units.Bohr**3),
        ("MPa", "stress", 1e6 * units.Pascal),
        ("-bar", "stress", -1e5 * units.Pascal),
        ("nm", "length", 10.0),
        ("bohr", "length", units.Bohr),
    ],
)
def test_products_of_units_have_their_factor(text: str, of: str, factor: float) -> None:
    assert parse_unit(text, of).factor == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize(("text", "of"), [("kcal", "energy"), ("eV/Å", "stress"), ("mol", "energy"), ("eV?", "energy")])
def test_a_product_of_another_dimension_is_refused(text: str, of: str) -> None:
    with pytest.raises(OptionError, match="not a unit"):
        parse_unit(text, of)


@pytest.mark.parametrize(
    ("header", "energy", "force"),
    [
        (
            "energy=-0.5 energy-unit=hartree force-unit=hartree/bohr",
            -0.5 * units.Hartree,
            0.1 * units.Hartree / units.Bohr,
        ),
        ("energy=-0.5 energy_units=Ry forces_unit=eV/Angstrom", -0.5 * units.Rydberg, 0.1),
        ("energy=-0.5 unit_energy=meV units.forces=meV/A", -0.5e-3, 0.1e-3),
        ("energy=-0.5 energy-unit=hartree energy_units=Ha", -0.5 * units.Hartree, 0.1),
        ("REF_energy=-0.5 REF_energy_unit=Ha", -0.5 * units.Hartree, 0.1),
        ("energy_per_atom=-0.5 energy_unit=Ha", -1.0 * units.Hartree, 0.1),
        ('energy=-0.5 units="kcal/mol, angstrom"', -0.5 * units.kcal / units.mol, 0.1 * units.kcal / units.mol),
        ('energy=-0.5 units="energy:Ry forces:Ry/Bohr"', -0.5 * units.Rydberg, 0.1 * units.Rydberg / units.Bohr),
        (
            'energy=-0.5 units={"energy": "Ry", "forces": "Ry/Bohr"}',
            -0.5 * units.Rydberg,
            0.1 * units.Rydberg / units.Bohr,
        ),
        ("energy=-0.5 units=real", -0.5 * units.kcal / units.mol, 0.1 * units.kcal / units.mol),
        ("energy=-0.5 units=eV n_formula_units=2 time_unit=fs", -0.5, 0.1),
    ],
)
def test_a_unit_that_a_header_states_acts(tmp_path: Path, header: str, energy: float, force: float) -> None:
    (sample,) = read(write(tmp_path, header))
    assert float(sample.labels["energy"]) == pytest.approx(energy, rel=1e-9)
    assert sample.labels["forces"][0, 0] == pytest.approx(force, rel=1e-9)
    assert np.ptp(sample.content.positions[:, 2]) == pytest.approx(1.2)


def test_stresses_and_virials_have_stated_units(tmp_path: Path) -> None:
    stress = 'stress="10 0 0 0 10 0 0 0 10"'
    (kbar,) = read(write(tmp_path, f"energy=-1 {stress} stress-unit=kbar"))
    np.testing.assert_allclose(kbar.labels["stress"], units.GPa * np.eye(3))
    virial = 'virial="1 0 0 0 1 0 0 0 1"'
    (pressure,) = read(write(tmp_path, f"energy=-1 {stress} pressure_unit=kbar"))
    np.testing.assert_array_equal(pressure.labels["stress"], kbar.labels["stress"])
    (by_energy,) = read(write(tmp_path, f"energy=-1 {virial} energy-unit=hartree"))
    np.testing.assert_allclose(by_energy.labels["stress"], -units.Hartree / 125 * np.eye(3))
    (own,) = read(write(tmp_path, f"energy=-1 {virial} energy-unit=hartree virial-unit=eV"))
    np.testing.assert_allclose(own.labels["stress"], -np.eye(3) / 125)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("energy=-1 energy-unit=nonsense", "'nonsense' is not a unit of energy"),
        ("energy=-1 units=hartree", "'hartree' is not a unit of forces"),
        ('energy=-1 units=metal stress="1 0 0 0 1 0 0 0 1"', "'metal' is not a unit of stress"),
        ("energy=-1 energy-unit=hartree unit_energy=eV", "'hartree and eV' is not a unit of energy"),
        ("energy=-1 cell_unit=bohr length_unit=angstrom", "'bohr and angstrom' for positions"),
        ("energy=-1 length_unit=parsec", "'parsec' for positions, which is not a unit of length"),
    ],
)
def test_a_word_that_is_no_unit_is_an_error_that_names_it(tmp_path: Path, header: str, said: str) -> None:
    path = write(tmp_path, "energy=-1", header)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert "a.xyz frame 1" in caught.value.where and caught.value.options
    said_by_user = {"energy": "eV", "forces": "eV/Å", "length": "Å"} | ({"stress": "GPa"} if "stress" in header else {})
    assert len(read(path, units=said_by_user)) == 2


@pytest.mark.parametrize(
    "header", ["unit_cell=conventional", "unit=cell", "formula_units=4", "repeat_unit=monomer", "energy_unit=None"]
)
def test_keys_that_speak_of_no_unit_are_passed_over(tmp_path: Path, header: str) -> None:
    (sample,) = read(write(tmp_path, f"energy=-1 {header}"))
    assert sample.labels["energy"] == -1
    assert sample.content.cell[0, 0] == 5


def test_the_option_for_a_word_of_several_labels_is_complete(tmp_path: Path) -> None:
    path = write(tmp_path, "energy=-1 units=SI")
    with pytest.raises(DataError, match="'SI' is not a unit of energy") as caught:
        read(path)
    (option,) = caught.value.options
    assert option == {"units.energy": "eV", "units.forces": "eV/Å"}
    assert read(path, units={"energy": "eV", "forces": "eV/Å"})[0].labels["energy"] == -1


def test_an_option_leaves_the_unit_that_the_word_is_of(tmp_path: Path) -> None:
    path = write(tmp_path, "energy=-1 unit=eV/atom")
    with pytest.raises(DataError, match="'eV/atom' is not a unit of forces") as caught:
        read(path)
    assert caught.value.options == ({"units.forces": "eV/Å"},)
    assert read(path, units={"forces": "eV/Å"})[0].labels["energy"] == -2
    with pytest.raises(DataError, match="'kbar' is not a unit of virial") as caught:
        read(write(tmp_path, 'energy=-1 virial_unit=kbar virial="1 0 0 0 1 0 0 0 1"'))
    assert caught.value.options == ({"units.virial": "eV"},)


@pytest.mark.parametrize(
    ("key", "energy"),
    [
        ("energy_hartree", -units.Hartree),
        ("E_kcal_per_mol", -units.kcal / units.mol),
        ("energy_eV_per_atom", -2),
        ("energy_old", -1),
    ],
)
def test_a_key_that_ends_with_a_unit_is_read_in_it(tmp_path: Path, key: str, energy: float) -> None:
    (sample,) = read(write(tmp_path, f"{key}=-1"), keys={"energy": key})
    assert sample.labels["energy"] == pytest.approx(energy, rel=1e-12)


def test_keys_of_forces_and_virials_may_end_with_a_unit(tmp_path: Path) -> None:
    columns = FORCES.replace("forces", "forces_Ha_bohr")
    path = write(tmp_path, 'energy=-1 virial_Ry="1 0 0 0 1 0 0 0 1"', columns=columns)
    (sample,) = read(path, keys={"forces": "forces_Ha_bohr", "stress": "virial_Ry"})
    assert sample.labels["forces"][0, 0] == pytest.approx(0.1 * units.Hartree / units.Bohr, rel=1e-12)
    np.testing.assert_allclose(sample.labels["stress"], -units.Rydberg / 125 * np.eye(3), rtol=1e-12)


def test_the_user_comes_before_the_file_and_a_note_says_so(tmp_path: Path) -> None:
    path = write(tmp_path, "energy=-0.5 energy-unit=hartree force_unit=ev/A")
    data = read(path, units={"energy": "eV", "forces": "eV/Å"})
    assert float(data[0].labels["energy"]) == -0.5
    assert "energy is taken in eV, as units.energy says, in place of hartree" in notes(data)
    assert "units.forces says" not in notes(data)  # the same unit in other words


def test_positions_have_a_unit(tmp_path: Path) -> None:
    """Two atoms 0.12 nm apart in a box of 5 nm; forces and virials stay what they are, the stress is per Å³."""
    header = 'energy=-1 virial="1 0 0 0 1 0 0 0 1"'
    plain, stated = write(tmp_path, header), write(tmp_path, f"{header} length_unit=nm", name="b.xyz")
    for data in (read(plain, units={"length": "nm"}), read(stated)):
        atoms = data[0].content
        np.testing.assert_allclose(atoms.positions[1], [10, 10, 12])
        np.testing.assert_allclose(atoms.cell[:], 50 * np.eye(3))
        np.testing.assert_allclose(data[0].labels["forces"][0], [0.1, 0.2, 0.3])
        np.testing.assert_allclose(data[0].labels["stress"], -np.eye(3) / 125e3)
        assert "positions and cell are read in nm" in notes(data) and data.provenance.files[0].units["length"] == "nm"
    overruled = read(stated, units={"length": "Bohr"})
    np.testing.assert_allclose(overruled[0].content.cell[:], 5 * units.Bohr * np.eye(3))
    assert "as units.length says, in place of nm" in notes(overruled)


def test_a_system_of_units_reaches_the_positions() -> None:
    assert stated_units({"units": "a.u.", "energy": 1.0})["length"] == "au"
    assert stated_units({"units": {"energy": "Ry", "Length": "bohr"}}) == {
        "energy": "Ry",
        "length": "bohr",
        "virial": "Ry",
    }
    assert stated_units({"unit": 4, "community": "x", "temperature_unit": "K"}) == {}


def test_other_numbers_have_units_of_their_own() -> None:
    assert stated_units({"units": "Angstrom", "energy": -1.0}) == {"length": "Angstrom"}
    assert stated_units({"pressure": 3.0, "pressure_unit": "bar", "stress": 1.0}) == {"pressure": "bar"}
    assert stated_units({"distance": 0.2, "distance_unit": "nm"}) == {"distance": "nm"}
    assert stated_units({"unit": "primitive"}) == {} and stated_units({"unit": "bohr"}) == {"length": "bohr"}
    assert stated_units({"units": "primitive"})["energy"] == "primitive"


# ------------------------------------------------------------- labels and their keys


def test_a_key_named_like_a_label_that_is_not_read_is_named(tmp_path: Path) -> None:
    columns = FORCES + ":energies:R:1:initial_magmoms:R:1"
    rows = [f"{row} -0.5 1.0" for row in ROWS]
    data = read(
        write(
            tmp_path,
            'energy=-1 stresses="1 0 0 0 1 0 0 0 1" energy_weight=2 max_force=3 energy_sigma=1',
            columns=columns,
            rows=rows,
        )
    )
    moments = "'initial_magmoms' (keys.magmom=initial_magmoms reads it)"
    assert f"named like labels: 'energies', {moments}, 'stresses' (keys.stress=stresses reads it)" in notes(data)
    stressed = read(tmp_path / "a.xyz", keys={"stress": "stresses"})
    np.testing.assert_allclose(stressed[0].labels["stress"], np.eye(3))
    assert "'stresses' (" not in notes(stressed)
    assert "named like labels" not in notes(read(write(tmp_path, "energy=-1")))


def test_the_free_energy_is_read_where_forces_belong_to_it(tmp_path: Path) -> None:
    header = "energy=-1.0 free_energy=-1.25"
    data = read(write(tmp_path, header))
    assert float(data[0].labels["energy"]) == -1.25 and data.provenance.files[0].energies == ("free",)
    assert "'free_energy' is read in place of 'energy', which differs" in notes(data)
    assert float(read(tmp_path / "a.xyz", keys={"energy": "energy"})[0].labels["energy"]) == -1.0
    with pytest.raises(DataError, match="2 keys with different values"):
        read(write(tmp_path, header + " REF_energy=-9"))  # another source's: which is meant nobody says


@pytest.mark.parametrize(("header", "unit"), [("energy=-1", "-eV/Å"), ("energy=-1 energy-unit=Ha", "-Hartree/Bohr")])
@pytest.mark.parametrize("name", ["gradient", "dft_grad", "dE_dR"])
def test_a_gradient_is_offered_with_its_sign(tmp_path: Path, header: str, unit: str, name: str) -> None:
    path = write(tmp_path, header, columns=FORCES.replace("forces", name))
    with pytest.raises(DataError, match="minus the gradient") as caught:
        read(path)
    assert caught.value.options[0] == {"keys.forces": name, "units.forces": unit}
    (sample,) = read(path, keys={"forces": name}, units={"forces": unit})
    scale = units.Hartree / units.Bohr if "Hartree" in unit else 1.0
    np.testing.assert_allclose(sample.labels["forces"][0], -scale * np.array([0.1, 0.2, 0.3]))


# ----------------------------------------------------------------------- weights


def test_each_label_has_the_weight_of_its_key(tmp_path: Path) -> None:
    stress, virial = (f'{key}="1 0 0 0 1 0 0 0 1"' for key in ("stress", "REF_virials"))
    data = read(
        write(
            tmp_path,
            f"energy=-1 {stress} config_weight=2 config_energy_weight=0.5 config_forces_weight=0 stress_weight=3",
            f"energy=-1 {virial} config_stress_weight=3 config_virials_weight=0.25",
            f"energy=-1 {stress} Config_Virials_Weight=7 force_weight=1",
            "energy=-1",
        )
    )
    assert [sample.weight for sample in data] == [2.0, 1.0, 1.0, 1.0]
    assert [dict(sample.label_weights) for sample in data] == [
        {"energy": 0.5, "forces": 0.0, "stress": 3.0},
        {"stress": 0.25},
        {"stress": 7.0},
        {},
    ]
    assert data[0].weight_of("energy") == 1.0 and data[0].weight_of("forces") == 0.0
    assert "labels of forces are weighted in the loss by their key 'config_forces_weight'" in notes(data)
    with pytest.raises(DataError, match="config_stress_weight=-1 is not a weight"):
        read(write(tmp_path, f"energy=-1 {stress} config_stress_weight=-1"))


# ------------------------------------------------------- files beside the frames


@pytest.mark.parametrize(
    "text",
    [
        "name: my_model\nfoundation_model: small\nseed: 3\nenergy_key: energy\n",
        "- a\n- b\n",
        "",
        "!include b\n",
        "{{ x }}: [\n",
    ],
)
def test_settings_of_another_program_beside_the_frames_are_passed_over(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "energy=-1")
    path.with_suffix(".yaml").write_text(text)
    data = read(path)
    assert data[0].theory is None
    assert "a.yaml beside it states no level of theory, and is ignored" in notes(data)
    path.with_suffix(".yml").write_text("functional: PBE\ncode: VASP\n")
    assert read(path)[0].theory is not None
