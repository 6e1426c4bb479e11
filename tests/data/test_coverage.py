"""Coverage says what is there, and what is missing and why that matters."""

import numpy as np
import pytest
from ase.build import bulk, fcc111
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.data.coverage import coverage
from matgraft.data.dataset import Dataset, Sample
from matgraft.data.read import read


@pytest.fixture(scope="module", params=["Si", "Mo"])
def whole(request, shared):
    return read(shared / f"data/potentials/{request.param}_train.extxyz")


def dataset(*structures, **labels) -> Dataset:
    return Dataset(tuple(Sample(atoms, labels) for atoms in structures))


def missing(data: Dataset, word: str) -> bool:
    return any(word in sentence for sentence in coverage(data).missing)


def strained(**strain: float):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    deformation = np.eye(3)
    for name, value in strain.items():
        deformation["xyz".index(name[0]), "xyz".index(name[1])] += value
    atoms.set_cell(atoms.cell[:] @ deformation, scale_atoms=True)
    return atoms


def test_the_published_sets(whole):
    found = coverage(whole)
    tags = whole.tag("config_type")
    assert found.n_frames == len(whole)
    assert found.families["surface"] == tags.count("Surface")
    assert found.families["vacancy"] == tags.count("Vacancy")
    for family in ("bulk", "compressed", "expanded", "sheared", "hot", "relaxed"):
        assert found.families[family] > 0
    assert found.temperature_K is not None and found.temperature_K.low == 300
    assert not any(word in " ".join(found.missing) for word in ("compressed", "surface", "vacancy", "sheared"))
    assert any("other compositions" in sentence for sentence in found.missing)


def test_geometry_finds_what_tags_do_not_say(whole):
    from dataclasses import replace

    untagged = whole.map(lambda sample: replace(sample, tags={}))
    assert coverage(untagged).families["surface"] == coverage(whole).families["surface"]


def test_geometry_finds_vacancies_where_the_whole_crystal_is_there_too(shared):
    """In the Mo set it is; in the Si set the vacancy has a cell of its own."""
    from dataclasses import replace

    data = read(shared / "data/potentials/Mo_train.extxyz")
    untagged = coverage(data.map(lambda sample: replace(sample, tags={})))
    assert untagged.families["vacancy"] == data.tag("config_type").count("Vacancy")


def test_everything_is_missing_from_one_perfect_crystal():
    said = " ".join(coverage(dataset(strained(), strained())).missing)
    for word in (
        "compressed",
        "expanded",
        "sheared",
        "surface",
        "vacancy",
        "forces",
        "stress",
        "compositions",
        "atoms",
    ):
        assert word in said


@pytest.mark.parametrize(
    ("word", "structures"),
    [
        ("compressed", [strained(xx=-0.05)]),
        ("expanded", [strained(xx=0.05)]),
        ("sheared", [strained(xy=0.05)]),
        ("surface", [fcc111("Cu", (2, 2, 4), vacuum=8.0, periodic=True)]),
        ("vacancy", [strained()[1:]]),
        ("every frame has", [bulk("Cu", cubic=True)]),
        ("other compositions", [bulk("CuZn", "cesiumchloride", a=2.95)]),
    ],
)
def test_what_is_there_is_not_missing(word, structures):
    perfect = [strained(), strained(), strained()]
    assert missing(dataset(*perfect), word)
    assert not missing(dataset(*perfect, *structures), word)


def test_hot_and_relaxed_frames():
    atoms = strained()
    forces = np.tile([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]], (len(atoms) // 2, 1))
    assert missing(dataset(atoms, forces=0 * forces), "high temperature")
    assert missing(dataset(atoms, forces=forces), "relaxed")
    both = Dataset((Sample(atoms, {"forces": forces}), Sample(atoms, {"forces": 0 * forces})))
    assert not missing(both, "high temperature") and not missing(both, "relaxed")
    assert coverage(both).force_eV_per_A.high == 1.0


def test_frames_that_are_not_finite_are_left_out():
    broken = strained()
    broken.positions[0] = np.nan
    found = coverage(dataset(strained(), broken))
    assert found.n_frames == 2 and found.families["bulk"] == 1


def test_a_molecule_has_no_cell():
    from ase.build import molecule

    found = coverage(dataset(molecule("H2O")))
    assert found.families["no cell"] == 1 and found.families["bulk"] == 0
    assert found.volume_ratio is None and found.shear_strain is None


@settings(max_examples=10)
@given(st.floats(-0.1, 0.1), st.floats(0, 3))
def test_shear_is_measured_free_of_rotation(shear, angle):
    """A simple shear g has the traceless strain g/2 to first order, however the cell is turned."""
    turned = strained(xy=shear)
    turned.rotate(np.degrees(angle), (1, 2, 3), rotate_cell=True)
    found = coverage(dataset(strained(), strained(), strained(), turned)).shear_strain
    assert found == pytest.approx(abs(shear) / 2, abs=shear**2 + 1e-9)


def test_it_is_data():
    found = coverage(dataset(strained()))
    assert type(found).model_validate_json(found.model_dump_json()) == found
