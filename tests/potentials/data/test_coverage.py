"""Coverage says what is there, and what is missing and why that matters."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.potentials.audit.coverage import Coverage, coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import has_vacuum, vacuum
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample


@pytest.fixture(scope="module", params=["Si", "Mo"])
def whole(request, shared):
    return read(shared / f"data/potentials/{request.param}_train.extxyz")


def dataset(*structures, **labels) -> Dataset:
    return Dataset(tuple(Sample(atoms, labels) for atoms in structures))


def sentences(found: Coverage) -> list[str]:
    return [f"{one.use} ({one.reason})" for one in found.missing]


def missing(data: Dataset, word: str) -> bool:
    return any(word in sentence for sentence in sentences(coverage(data)))


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
    assert not any(word in " ".join(sentences(found)) for word in ("compressed", "surface", "vacancy", "sheared"))
    assert any("other compositions" in sentence for sentence in sentences(found))


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
    said = " ".join(sentences(coverage(dataset(strained(), strained()))))
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


def test_a_slab_is_a_surface_and_a_molecule_in_a_box_is_none():
    """Whatever a file says of periodicity across the vacuum."""
    from ase.build import molecule

    slabs = [fcc111("Cu", (2, 2, 4), vacuum=8.0, periodic=periodic) for periodic in (True, False)]
    found = coverage(dataset(bulk("Cu"), *slabs))
    assert (found.families["surface"], found.families["no cell"]) == (2, 0)
    assert not any("surface" in sentence for sentence in sentences(found))
    box = molecule("H2O", cell=[15.0] * 3, pbc=True)
    box.center()
    found = coverage(dataset(bulk("Cu"), box))
    assert (found.families["surface"], found.families["molecule"], found.families["bulk"]) == (0, 1, 1)
    assert any("no frame has a surface" in sentence for sentence in sentences(found))


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
@pytest.mark.parametrize("third", [0.0, 7.0, 40.0])
def test_a_slab_is_a_surface_whatever_its_third_vector_is(order, third):
    """Zero, or shorter than the vacuum that a file says is open; the normal along any axis; skewed."""
    slab = fcc111("Cu", (2, 2, 4), vacuum=0.0)
    slab.set_cell([*slab.cell[:2], [0.3 * third, 0, third]])
    slab.pbc = [True, True, False]
    slab = Atoms(slab.numbers, slab.positions[:, order], cell=slab.cell[:][order][:, order], pbc=slab.pbc[order])
    found = coverage(dataset(bulk("Cu"), slab)).families
    assert (found["surface"], found["molecule"], found["no cell"], found["bulk"]) == (1, 0, 0, 1)
    np.testing.assert_array_equal(np.isinf(vacuum(slab)), ~slab.pbc)
    assert not has_vacuum(bulk("Cu"))


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


# --- strains known by construction

CELLS = {
    "fcc": bulk("Al"),
    "fcc cubic": bulk("Al", cubic=True),
    "fcc 2x2x2": bulk("Al") * (2, 2, 2),
    "diamond": bulk("Si"),
    "bcc": bulk("Fe"),
    "bcc 3x2x1": bulk("Fe") * (3, 2, 1),
    "hcp": bulk("Mg"),
    "hcp 3x3x2": bulk("Mg") * (3, 3, 2),
    "rocksalt": bulk("MgO", "rocksalt", 4.2),
}
MODES = {
    "xx": np.diag([1.0, 0, 0]),
    "zz": np.diag([0, 0, 1.0]),
    "xy": np.array([[0, 1.0, 0], [1, 0, 0], [0, 0, 0]]),
    "yz": np.array([[0, 0, 0], [0, 0, 1.0], [0, 1, 0]]),
    "tetragonal": np.diag([1.0, -0.5, -0.5]),
    "volume": np.eye(3),
}
# The largest principal strain without its mean, by hand.
TRACELESS = {"xx": 2 / 3, "zz": 2 / 3, "xy": 1.0, "yz": 1.0, "tetragonal": 1.0, "volume": 0.0}
OTHER_BASES = [np.eye(3), np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]]), np.array([[0, 0, 1], [1, 0, 0], [1, 1, 1]])]


def deformed(atoms, strain, basis=None, turn=0.0):
    """Strain a frame, write its lattice in another basis, and turn it."""
    out = atoms.copy()
    out.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    out.set_cell((np.eye(3) if basis is None else basis) @ out.cell[:])
    out.rotate(turn, (1, 2, 3), rotate_cell=True)
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_strain_is_found_as_it_was_applied(cell, mode):
    for size in (0.004, 0.028, 0.05):
        frames = [deformed(CELLS[cell], step * size * MODES[mode]) for step in (-1, -0.5, 0, 0.5, 1)]
        found = coverage(dataset(*frames))
        assert found.shear_strain == pytest.approx(size * TRACELESS[mode], rel=1e-6, abs=1e-9)
        sheared = sum(abs(step) * size * TRACELESS[mode] > 0.01 for step in (-1, -0.5, 0, 0.5, 1))
        assert found.families["sheared"] == sheared
        assert any("sheared" in sentence for sentence in sentences(found)) == (sheared == 0)


@pytest.mark.parametrize(
    "cell", [name for name in CELLS if name != "bcc 3x2x1"]
)  # whose lattice has no symmetry to lose
@pytest.mark.parametrize("steps", [(0, 1), (1, 0), (0, 0.3, 0.6, 1.0)])
def test_series_to_one_side_are_held_against_the_undeformed_cell(cell, steps):
    frames = [deformed(CELLS[cell], 0.03 * step * MODES["xy"]) for step in steps]
    assert coverage(dataset(*frames)).shear_strain == pytest.approx(0.03, rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_choice_of_lattice_vectors_and_rotations_change_nothing(cell):
    frames = [
        deformed(CELLS[cell], step * 0.03 * MODES["xy"], basis, turn)
        for step, turn in ((-1, 40.0), (-0.5, 0.0), (0, 0.0), (0.5, 110.0), (1, 77.0))
        for basis in OTHER_BASES
    ]
    found = coverage(dataset(*frames))
    assert found.shear_strain == pytest.approx(0.03, rel=1e-6)
    assert found.families["sheared"] == 12


def test_cells_of_several_structures_are_not_one_sheared_cell():
    """Of one atom, but fcc, bcc and simple cubic: far more than a strain apart."""
    found = coverage(dataset(*(bulk("Fe", kind, a=a) for kind, a in (("fcc", 3.5), ("bcc", 2.87), ("sc", 2.4)))))
    assert found.shear_strain is None and found.families["sheared"] == 0


@given(st.integers(0, 10**6))
def test_the_least_strain_is_no_more_than_what_was_applied(seed):
    """Random lattices, strained and written in a random basis: the correspondence found is as good as the true one."""
    from matgraft.potentials.audit.strain import match, metric, principal_strains

    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3, 6, 3)) + rng.uniform(-1, 1, (3, 3))
    strain = rng.uniform(-0.02, 0.02, (3, 3))
    strain = (strain + strain.T) / 2
    basis = np.eye(3, dtype=int)
    for _ in range(3):
        i, k = rng.choice(3, 2, replace=False)
        basis[i] += rng.choice([-1, 1]) * basis[k]
    matched = match(cell, basis @ cell @ (np.eye(3) + strain), within=0.15)
    assert matched is not None
    applied = np.abs(np.linalg.eigvalsh(strain)).max()
    assert np.linalg.norm(principal_strains(metric(cell), matched)) <= np.sqrt(3) * applied * 1.1 + 1e-9


# --- what cannot be told


def test_the_only_frame_of_a_composition_tells_no_volume_strain():
    alone = [bulk("Al"), bulk("Cu"), bulk("Fe")]
    found = coverage(dataset(*alone))
    said = " ".join(sentences(found))
    assert found.volume_ratio is None and found.shear_strain is None
    assert "compression and expansion are unknown" in said and "shear is unknown" in said
    assert "no frame is compressed" not in said and "no cell is sheared" not in said
    paired = coverage(dataset(*alone, bulk("Al")))
    assert paired.volume_ratio is not None and paired.volume_ratio.high == 1.0
    assert "no frame is compressed" in " ".join(sentences(paired))


def test_what_is_said_of_forces_agrees_with_the_largest():
    """One atom of 216 at 3 eV/Å is no hot frame, and no sentence denies it."""
    atoms = bulk("Si", cubic=True) * (3, 3, 3)
    forces = np.zeros((216, 3))
    forces[0, 0], forces[1, 0] = 3.0, -3.0
    found = coverage(dataset(atoms, forces=forces))
    (said,) = [sentence for sentence in sentences(found) if "high temperature" in sentence]
    assert "root mean square force above 0.5" in said
    assert found.force_eV_per_A.high == 3.0


@pytest.mark.parametrize(
    ("tags", "kelvin"),
    [
        ({"temperature": "300"}, 300), ({"temperature": "300 K"}, 300), ({"temperature_K": "300"}, 300),
        ({"Temperature": "300.0"}, 300), ({"temp": "1200"}, 1200), ({"T": "77"}, 77), ({"T_K": "300"}, 300),
        ({"T(K)": "300"}, 300), ({"md_temperature": "3e2"}, 300), ({"TEBEG": "500"}, 500),
        ({"config_type": "aimd_300K"}, 300), ({"config_type": "300 K"}, 300), ({"config_type": "AIMD-NVT 300K"}, 300),
        ({"trajectory": "md_300K_1"}, 300), ({"trajectory": "md/300K/vasprun.xml"}, 300),
        ({"description": "a melt at 1687.5 kelvin"}, 1687.5), ({"temperature": "300 Kelvin"}, 300),
        ({"t": "300"}, None), ({"T": "True"}, None), ({"temp": "folder"}, None), ({"trajectory": "KCl_2Kpoints"}, None),
        ({"temperature": "nan"}, None), ({"note": "300K"}, None),
    ],
)  # fmt: skip
def test_temperatures_are_read_from_tags(tags, kelvin):
    found = coverage(Dataset((Sample(bulk("Al"), {}, tags),))).temperature_K
    assert found is None if kelvin is None else (found.low, found.high) == (kelvin, kelvin)


def test_a_crystal_beside_an_interstitial_has_no_vacancy():
    """It has an atom less than another frame of its cell, and lacks none."""
    whole = bulk("Cu", cubic=True).repeat(2)
    more = whole + Atoms("Cu", positions=[[1.8, 1.8, 1.8]])
    frames = [Sample(whole, {}), Sample(more, {}, tags={"config_type": "interstitial"})]
    families = coverage(Dataset(tuple(frames))).families
    assert (families["interstitial"], families["vacancy"], families["defect"]) == (1, 0, 1)
    less = Dataset((*frames, Sample(whole[1:], {})))
    assert coverage(less).families["vacancy"] == 1


def test_frames_without_sense_are_counted_by_why():
    flat, nowhere = bulk("Si"), bulk("Si")
    flat.cell[2] = [0, 0, 1e-3]
    nowhere.positions[0, 0] = np.nan
    found = coverage(dataset(bulk("Si"), flat, nowhere, flat))
    assert found.left_out == {"flat": 2, "not finite": 1} and found.families["bulk"] == 1
    assert found.left_out_in_words.startswith("3 of 4 frames make no sense and are left out: 2 with a flat")
    assert coverage(dataset(bulk("Si"))).left_out_in_words == ""
