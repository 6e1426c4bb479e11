"""The gate for structures without sense, and the count of neighbours that it needs."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.calculators.calculator import CalculatorError
from ase.io import write
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft import load
from matgraft.core.errors import DataError
from matgraft.core.machine import Memory
from matgraft.potentials.active.sampling.plausible import Bounds, StartFrames
from matgraft.potentials.audit.audit import TO_JUDGE, run_looks
from matgraft.potentials.checks.structures import structures_given, structures_in, structures_of
from matgraft.potentials.data.cells import boxed
from matgraft.potentials.data.crowds import CENTRES, StructureBytes, WrappedAtoms, expected_bytes, most_bytes
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.geometry import neighbours_within
from matgraft.potentials.data.pack import pack
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.sense import (
    CLOSEST_A,
    DENSEST_A3,
    certainly_sensible,
    nonsense,
    require_room,
    require_sense,
)
from matgraft.potentials.simulation.dynamics import _closest

SILICON = bulk("Si", cubic=True)
ANY = np.random.default_rng(0)


def lone(cell: object, pbc: object = True) -> Atoms:
    return Atoms("Si", cell=cell, pbc=pbc)


def with_first(**what: object) -> Atoms:
    changed = SILICON.copy()
    for name, value in what.items():
        getattr(changed, name)[0] = value
    return changed


def as_arrays(**arrays: np.ndarray) -> Atoms:
    changed = SILICON.copy()
    changed.arrays |= arrays
    return changed


SENSELESS: dict[str, tuple[str, Atoms]] = {
    "no atoms": ("empty", Atoms(cell=[5] * 3, pbc=True)),
    "neither atoms nor a cell": ("empty", Atoms()),
    "positions of text": ("array", as_arrays(positions=np.full((8, 3), "a"))),
    "positions of two columns": ("array", as_arrays(positions=np.zeros((8, 2)))),
    "complex positions": ("array", as_arrays(positions=np.zeros((8, 3), complex))),
    "numbers of text": ("array", as_arrays(numbers=np.array(["Si"] * 8))),
    "number 0": ("number", with_first(numbers=0)),
    "number -1": ("number", with_first(numbers=-1)),
    "number 119": ("number", with_first(numbers=119)),
    "number 2^40": ("number", with_first(numbers=2**40)),
    "NaN": ("not finite", with_first(positions=np.nan)),
    "infinity": ("not finite", with_first(positions=-np.inf)),
    "NaN in the cell": ("not finite", lone([5, 5, np.nan])),
    "infinity in a cell that does not repeat": ("not finite", lone([5, 5, np.inf], False)),
    "1e200 long": ("far", lone([5, 5, 1e200])),
    "1e200 each": ("far", lone([1e200] * 3)),
    "at 1e10": ("far", with_first(positions=1e10)),
    "apart by 1e10": ("far", Atoms("Si2", [[0, 0, 0], [1e10, 0, 0]])),
    "apart by 1e5 in space": ("far", Atoms("Si3", [[0, 0, 0], [1e5, 1e5, 1e5], [2, 0, 0]])),
    "spread over a huge cell": ("far", Atoms("Si2", [[0, 0, 0], [4e4, 4e4, 4e4]], cell=[9e4] * 3, pbc=True)),
    "planes at 1e-3": ("flat", lone([[5, 0, 0], [0, 5, 0], [5, 5, 1e-3]])),
    "planes at 0.05": ("flat", lone([[5, 0, 0], [0, 5, 0], [5, 5, 0.05]])),
    "a vector of 1e-3": ("flat", lone([[5, 0, 0], [0, 5, 0], [0, 0, 1e-3]])),
    "a vector of 0.09": ("flat", lone([[5, 0, 0], [0, 5, 0], [0, 0, 0.09]])),
    "in a plane": ("flat", lone([[5, 0, 0], [0, 5, 0], [5, 5, 0]])),
    "in a line": ("flat", lone([[5, 0, 0], [10, 0, 0], [15, 0, 0]])),
    "two periods in a line": ("flat", lone([[5, 0, 0], [0, 0, 9], [15, 0, 0]], [True, False, True])),
    "a sheet's two periods nearly in a line": ("flat", lone([[5, 0, 0], [5, 0.01, 0], [0, 0, 9]], [True, True, False])),
    "100 in 1 Å³": ("crowded", Atoms("Si100", ANY.random((100, 3)), cell=[1] * 3, pbc=True)),
    "100 in 1 Å³ of a large box": ("crowded", Atoms("Si100", 25 + ANY.random((100, 3)), cell=[50] * 3, pbc=True)),
    "100 in 1 Å³ and no cell": ("crowded", Atoms("Si100", ANY.random((100, 3)))),
    "100 in 1 Å³ across a corner": ("crowded", Atoms("Si100", ANY.random((100, 3)) - 0.5, cell=[50] * 3, pbc=False)),
    "one in 0.1 Å": ("crowded", lone([0.1] * 3)),
    "one in 0.4 Å": ("crowded", lone([0.4] * 3)),
    "1000 at one place": ("crowded", Atoms("Si1000", np.zeros((1000, 3)), cell=[30] * 3, pbc=True)),
    "two at one place": ("close", with_first(positions=SILICON.positions[1])),
    "two at one place, a period apart": ("close", with_first(positions=SILICON.positions[1] + SILICON.cell[2])),
    "across a face": ("close", Atoms("Si2", [[0, 0, 0.01], [0, 0, 5.99]], cell=[6] * 3, pbc=True)),
    "across a corner": ("close", Atoms("Si2", [[0.01] * 3, [5.99] * 3], cell=[6] * 3, pbc=True)),
}


def gas() -> Atoms:
    waters = [molecule("H2O") for _ in range(40)]
    for k, one in enumerate(waters):
        one.translate(12.0 * np.array([k % 4, k // 4 % 4, k // 16]))
    joined = sum(waters[1:], waters[0])
    joined.set_cell([48, 48, 36])
    joined.pbc = True
    return joined


SENSIBLE: dict[str, Atoms] = {
    "silicon": SILICON,
    "left-handed": Atoms(SILICON.numbers, SILICON.positions, cell=SILICON.cell[[1, 0, 2]], pbc=True),
    "10,000 atoms": bulk("Si").repeat((10, 20, 25)),
    "slab under 40 Å of vacuum": fcc111("Cu", (2, 2, 4), vacuum=40),
    "sheet without a third vector": graphene(vacuum=None),
    "sheet with a third vector of 1e-9 Å": Atoms("C", cell=[[2.46, 0, 0], [1.23, 2.13, 0], [0, 0, 1e-9]], pbc=True),
    "molecule in 50 Å": Atoms("OH2", molecule("H2O").positions + 25, cell=[50] * 3, pbc=True),
    "molecule, no cell, pbc": Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], pbc=True),
    "gas": gas(),
    "H2": Atoms("H2", [[0, 0, 0], [0, 0, 0.74]], cell=[10] * 3, pbc=True),
    "atomic hydrogen at 500 GPa": bulk("H", "bcc", a=1.34),
    "LaH10 at 150 GPa": bulk("H", "fcc", a=1.6).repeat(2),
    "helium at 100 GPa": bulk("He", "fcc", a=2.18),
    "diamond at 1 TPa": bulk("C", "diamond", a=2.9),
    "a collision at 0.3 Å": Atoms("HH", [[0, 0, 0], [0, 0, 0.3]]),
    "nm taken for Å, hydrogen": Atoms("H2", [[0, 0, 0], [0, 0, 0.074]]),
    "far from the origin": Atoms("Si", [[7e4, -7e4, 7e4]], cell=bulk("Si").cell, pbc=True),
    "a lone atom": Atoms("Og"),
    "integers": as_arrays(positions=np.arange(24).reshape(8, 3)),
}  # fmt: skip


@pytest.mark.parametrize("kind", SENSELESS)
def test_what_makes_no_sense_is_refused_at_once(kind: str) -> None:
    expected, atoms = SENSELESS[kind]
    begun = time.process_time()
    found = nonsense(atoms)
    assert found is not None and found.kind == expected and found.found and found.allowed and found.remedy
    assert time.process_time() - begun < 0.5
    with pytest.raises(DataError, match=r"(?s)^a\.xyz frame 7: .+\nallowed: .+\nremedy: ") as error:
        require_sense(atoms, "a.xyz frame 7")
    assert error.value.where == "a.xyz frame 7"


@pytest.mark.parametrize("kind", SENSIBLE)
def test_what_makes_sense_passes(kind: str) -> None:
    assert nonsense(SENSIBLE[kind]) is None


def test_nothing_without_sense_passes_the_first_look_at_many() -> None:
    broken = [atoms for _, atoms in SENSELESS.values()]
    assert not certainly_sensible(broken).any()
    mixed = [one for atoms in broken for one in (SILICON, atoms)]
    assert certainly_sensible(mixed).tolist() == [True, False] * len(broken)
    assert certainly_sensible([]).tolist() == []


def test_the_first_look_at_many_knows_most_of_what_makes_sense() -> None:
    names = ("silicon", "left-handed", "10,000 atoms", "molecule in 50 Å", "gas", "diamond at 1 TPa", "a lone atom")
    assert certainly_sensible([SENSIBLE[name] for name in names]).all()
    assert certainly_sensible([SENSIBLE["far from the origin"], SENSIBLE["integers"]]).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.floats(-2, 2.5), st.floats(0, 3), st.booleans(), st.integers(0, 99)),
        min_size=1,
        max_size=6,
    )
)
def test_the_first_look_at_many_passes_what_the_gate_passes(made: list[tuple[int, float, float, bool, int]]) -> None:
    many = []
    for n, room, skew, periodic, seed in made:
        rng = np.random.default_rng(seed)
        cell = np.cbrt(n * 10**room) * (np.eye(3) + skew * rng.uniform(-1, 1, (3, 3)))
        many.append(Atoms(f"H{n}", rng.uniform(-1, 2, (n, 3)) @ cell, cell=cell, pbc=periodic))
    together = certainly_sensible(many)
    assert together.tolist() == [certainly_sensible([atoms])[0] for atoms in many]
    for atoms, certain in zip(many, together, strict=True):
        if certain:
            assert nonsense(atoms) is None
            assert not len(neighbours_within(0.75, atoms.positions, atoms.cell[:], atoms.pbc)[0])


def test_the_gate_changes_nothing() -> None:
    atoms = gas()
    atoms.positions -= 1000
    before = atoms.copy()
    nonsense(atoms)
    assert atoms == before


@pytest.mark.parametrize(("room", "passes"), [(1.02, True), (0.98, False)])
def test_the_limit_of_density_is_the_one_that_is_stated(room: float, passes: bool) -> None:
    atoms = bulk("H", "sc", a=(room * DENSEST_A3) ** (1 / 3))
    assert (nonsense(atoms) is None) == passes
    assert (nonsense(Atoms("H2", [[0, 0, 0], [0, 0, room * CLOSEST_A]])) is None) == passes


# --- how many neighbours ---------------------------------------------------------------------------------------------


def n_pairs(atoms: Atoms, reach: float) -> int:
    return len(neighbours_within(reach, atoms.positions, atoms.cell[:], atoms.pbc)[0])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 60),
    lengths=st.tuples(*[st.floats(1.5, 25)] * 3),
    shear=st.floats(-2, 2),
    pbc=st.tuples(*[st.booleans()] * 3),
    spread=st.floats(0.05, 1.5),
)
def test_neighbours_are_those_of_a_neighbour_list(
    seed: int, n: int, lengths: tuple[float, ...], shear: float, pbc: tuple[bool, ...], spread: float
) -> None:
    rng = np.random.default_rng(seed)
    cell = np.diag(lengths) + shear * np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    atoms = Atoms(f"Si{n}", spread * rng.random((n, 3)) @ cell, cell=cell, pbc=pbc)
    if nonsense(atoms) is not None:
        return
    place = WrappedAtoms.of(atoms)
    exact = n_pairs(boxed(atoms, 4.0), 4.0)
    assert n <= CENTRES and place.counts(4.0).sum() == exact
    assert most_bytes(place, StructureBytes(4.0, 1.0)) >= exact


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), part=st.floats(0, 0.6), radius=st.floats(4, 9))
def test_a_cluster_in_a_thin_gas_is_counted_within_a_factor_of_two(seed: int, part: float, radius: float) -> None:
    """More atoms than are counted one by one, and as uneven as it gets."""
    rng = np.random.default_rng(seed)
    n = 1500
    inside = int(part * n)
    cluster = 30 + radius * rng.random((inside, 3))
    atoms = Atoms(f"Si{n}", np.concatenate([cluster, 60 * rng.random((n - inside, 3))]), cell=[60] * 3, pbc=True)
    expected = n * WrappedAtoms.of(atoms).counts(5.0).mean()
    exact = n_pairs(atoms, 5.0)
    assert exact / 2 <= expected <= 2 * exact


def test_angles_count() -> None:
    place = WrappedAtoms.of(SILICON)
    assert expected_bytes(place, StructureBytes(3.0, 10.0, 3.0, 100.0)) == pytest.approx(8 * (4 * 10 + 12 * 100))


def test_room_is_asked_for_only_where_it_may_lack() -> None:
    def never() -> Memory:
        raise AssertionError

    require_room(WrappedAtoms.of(SILICON), StructureBytes(6.0, 16_000), never, "a")
    large = WrappedAtoms.of(SILICON.repeat(6))
    require_room(large, StructureBytes(6.0, 16_000), lambda: Memory(2**32, "the job"), "a")
    with pytest.raises(
        DataError, match=r"(?s)^a: a prediction of 1728 atoms takes some 1.\d+ GiB.*that the job leaves"
    ):
        require_room(large, StructureBytes(6.0, 16_000), lambda: Memory(2**30, "the job"), "a")


# --- the ways in -----------------------------------------------------------------------------------------------------

BROKEN = [SENSELESS[kind][1] for kind in ("planes at 1e-3", "100 in 1 Å³", "two at one place", "at 1e10")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "a.extxyz", [SILICON, *BROKEN, SILICON])
    return tmp_path / "a.extxyz"


def test_files_are_refused_with_the_first_frames_and_a_count(file: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)4 of 6 structures make no sense, here the first 3\n.*frame 1: .*frame 3"):
        read(file, want=())
    assert len(read(file, want=(), audited=True)) == 6
    with pytest.raises(DataError, match=r"a\.extxyz frame 1: the periodic cell is flat"):
        pack(file, tmp_path / "a.h5", want=())
    assert not (tmp_path / "a.h5").exists()
    with pytest.raises(DataError, match="make no sense"):
        structures_of([file])


def test_an_audit_names_them_and_offers_to_leave_them_out(file: Path) -> None:
    frames = read(file, want=(), audited=True)
    found = {one.code: one for one in run_looks(frames, None, looks=TO_JUDGE)}
    assert found["senseless"].frames == (1, 4) and found["senseless"].blocks
    assert "a.extxyz frame 1: the periodic cell is flat" in found["senseless"].evidence
    assert found["outlier-distance"].frames == (2, 3) and found["outlier-distance"].blocks
    assert found["senseless"].option == "'audit.drop=[1,4]'"
    assert not [one for one in run_looks(frames[[0, 5]], None, looks=TO_JUDGE) if one.blocks]


@pytest.mark.parametrize("kind", SENSELESS)
def test_no_look_falls_over_what_makes_no_sense(kind: str) -> None:
    frames = Dataset([Sample(SILICON, {}), Sample(SENSELESS[kind][1], {}, index=1)])
    begun = time.process_time()
    blocked = [one for one in run_looks(frames, None, looks=TO_JUDGE) if one.blocks]
    assert [one.frames for one in blocked] == [(1,)]
    assert time.process_time() - begun < 2


def test_structures_of_checks_are_refused_or_passed_over() -> None:
    with pytest.raises(DataError, match="structures frame 1: the periodic cell is flat"):
        structures_given([SILICON, BROKEN[0]])
    found, _ = structures_in(Dataset([Sample(one, {}) for one in [*BROKEN, SILICON]]))
    assert [one.formula for one in found] == ["Si"]


@pytest.mark.parametrize("kind", SENSELESS)
def test_a_simulation_that_makes_it_ends(kind: str) -> None:
    atoms = SENSELESS[kind][1]
    assert Bounds().why_not_shape(atoms, StartFrames()) in ("not finite", "too close", "volume")
    closest: Any = _closest(atoms)
    assert np.isnan(closest) or closest == 0


def test_a_model_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    from matgraft.potentials.models import potential

    model: Any = SimpleNamespace(cost=StructureBytes(6.0, 16_000), device=None)
    monkeypatch.setattr(potential, "free_memory", lambda device: Memory(2**20, "the job"))
    for _, atoms in SENSELESS.values():
        with pytest.raises(DataError, match=r"^a frame 0: "):
            potential.Potential.require_sense(model, Sample(atoms, {}, file="a"))
    with pytest.raises(DataError, match="that the job leaves"):
        potential.Potential.require_sense(model, Sample(SILICON.repeat(6), {}, file="a"))
    potential.Potential.require_sense(model, Sample(SILICON, {}, file="a"))


def test_users_of_ase_get_an_error_of_ase_that_is_one_of_ours() -> None:
    atoms = SENSELESS["planes at 1e-3"][1].copy()
    atoms.calc = load("chgnet").calculator()
    with pytest.raises(CalculatorError, match=r"^atoms: the periodic cell is flat") as error:
        atoms.get_potential_energy()
    assert isinstance(error.value, DataError) and error.value.allowed and error.value.exit_code == 3
    atoms.set_cell([5.43] * 3)
    assert np.isfinite(atoms.get_potential_energy()), "the calculator is as good as before"
