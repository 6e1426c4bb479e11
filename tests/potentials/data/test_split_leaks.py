"""Sets of simulations whose true groups are known: in any order, no test frame comes from a trained simulation."""

from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from matgraft.potentials.data import chains
from matgraft.potentials.data.chains import find_chains
from matgraft.potentials.data.correlation import label_trajectories
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.distance import Gallery, bond_signature, prepare, separation
from matgraft.potentials.data.groups import BY_STRUCTURE, find_groups
from matgraft.potentials.data.kin import overlaps
from matgraft.potentials.data.order import in_time
from matgraft.potentials.data.reading import read
from matgraft.potentials.data.runs import natural
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.deal import deal
from matgraft.potentials.data.splits.given import leaks_between
from matgraft.potentials.data.splits.split import split

MATERIALS = {
    "Si": bulk("Si", cubic=True) * (2, 1, 1),
    "NaCl": bulk("NaCl", "rocksalt", 5.64, cubic=True),
    "MgO": bulk("MgO", "rocksalt", 4.21, cubic=True),
    "Al": bulk("Al", cubic=True) * (2, 2, 1),
    "Cu": bulk("Cu", cubic=True) * (2, 1, 1),
    "GaAs": bulk("GaAs", "zincblende", 5.65, cubic=True),
}
MOLECULES = {name: molecule(name) for name in ("CH3CH2OH", "CH3OCH3", "C6H6", "H2O", "CH3COOH", "HCOOCH3", "C2H6")}


def dynamics(atoms: Atoms, n: int, seed: int, amplitude: float = 0.12, memory: float = 0.85) -> list[Atoms]:
    """Vibrations about the places of `atoms`, correlated from step to step by `memory` (Ornstein and Uhlenbeck)."""
    rng = np.random.default_rng(seed)
    moved = rng.normal(0, amplitude, atoms.positions.shape)
    frames = []
    for _ in range(n):
        moved = memory * moved + np.sqrt(1 - memory**2) * rng.normal(0, amplitude, moved.shape)
        frames.append(Atoms(atoms, positions=atoms.positions + moved))
    return frames


def relaxation(start: Atoms, end: Atoms, n: int) -> list[Atoms]:
    """Steps that halve the way left."""
    left = [0.5**k for k in range(n)]
    return [Atoms(start, positions=end.positions + x * (start.positions - end.positions)) for x in left]


def in_order(sets: dict[str, list[Atoms]]) -> list[tuple[str, Atoms]]:
    return [(name, atoms) for name, frames in sets.items() for atoms in frames]


def shuffled(frames: list, seed: int = 0) -> list:
    return [frames[i] for i in np.random.default_rng(seed).permutation(len(frames))]


def interleaved(frames: list[tuple[str, Atoms]]) -> list[tuple[str, Atoms]]:
    seen: Counter[str] = Counter()
    turns = []
    for k, (name, _) in enumerate(frames):
        turns.append((seen[name], k))
        seen[name] += 1
    return [frames[k] for _, k in sorted(turns)]


def dataset(frames: list[tuple[str, Atoms]], file: str = "all.extxyz") -> Dataset:
    return Dataset(tuple(Sample(atoms, {}, file=file, index=i) for i, (_, atoms) in enumerate(frames)))


def leaked(parts, truth: list[str]) -> int:
    """Test frames from simulations that are trained on."""
    trained = {truth[i] for i in parts.train}
    return sum(truth[i] in trained for i in parts.test)


def over_and_under(labels, truth: list[str]) -> tuple[int, int]:
    """Groups that hold several true ones; true groups that were cut."""
    pairs = {*zip(labels, truth, strict=True)}
    return tuple(sum(count > 1 for count in Counter(pair[k] for pair in pairs).values()) for k in (0, 1))


# --- several simulations in one file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("arrange", [list, shuffled, interleaved])
def test_materials_in_any_order(arrange) -> None:
    frames = arrange(in_order({name: dynamics(atoms, 30, k) for k, (name, atoms) in enumerate(MATERIALS.items())}))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth) == (0, 0) and len(set(parts.groups)) == 6
    assert leaked(parts, truth) == 0 and len(parts.test) == 30
    assert not parts.practically_random and "no near-duplicates across the parts" in parts.describe()


def test_crystals_shifted_turned_and_with_atoms_in_another_order() -> None:
    rng = np.random.default_rng(3)
    frames = []
    for name, atoms in shuffled(in_order({n: dynamics(a, 20, k, 0.08) for k, (n, a) in enumerate(MATERIALS.items())})):
        changed = atoms[rng.permutation(len(atoms))]
        changed.positions += rng.random(3) @ changed.cell[:]
        turn = Rotation.random(rng=rng).as_matrix()
        changed.set_cell(changed.cell[:] @ turn.T, scale_atoms=True)
        changed.wrap()
        frames.append((name, changed))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth)[0] == 0
    assert leaked(parts, truth) == 0


@pytest.mark.parametrize("box", [None, 8.0, 25.0])
def test_molecules_turned_shifted_and_with_atoms_in_another_order(box: float | None) -> None:
    rng = np.random.default_rng(5)
    frames = []
    for name, atoms in shuffled(in_order({n: dynamics(a, 15, k, 0.04) for k, (n, a) in enumerate(MOLECULES.items())})):
        changed = atoms[rng.permutation(len(atoms))]
        changed.positions = changed.positions @ Rotation.random(rng=rng).as_matrix().T + rng.normal(0, 5, 3)
        if box:
            changed.set_cell([box] * 3)
            changed.pbc = True
            changed.wrap()
        frames.append((name, changed))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth) == (0, 0)  # CH3CH2OH and CH3OCH3, CH3COOH and HCOOCH3 are isomers
    assert leaked(parts, truth) == 0


def test_hot_molecules_with_atoms_in_another_order() -> None:
    rng = np.random.default_rng(7)
    frames = []
    for name, atoms in shuffled(in_order({n: dynamics(a, 15, k, 0.1) for k, (n, a) in enumerate(MOLECULES.items())})):
        changed = atoms[rng.permutation(len(atoms))]
        changed.positions = changed.positions @ Rotation.random(rng=rng).as_matrix().T
        frames.append((name, changed))
    assert over_and_under(find_groups(dataset(frames)).labels, [name for name, _ in frames]) == (0, 0)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("K", "bcc", 5.3, cubic=True),
        bulk("Cs", "bcc", 6.1),
        Atoms("C", cell=[1.4, 9, 9], pbc=True) * (4, 1, 1),
        Atoms("H4", [[0, 0, 0], [0.74, 0, 0], [4, 4, 4], [4, 4, 4.74]], cell=[8, 8, 8], pbc=True),
    ],
    ids=["K", "Cs", "wire", "two molecules"],
)
def test_what_is_no_single_molecule_keeps_its_cell(atoms: Atoms) -> None:
    assert not prepare(atoms).is_molecule


@pytest.mark.parametrize("scale", [1.2, 1.26, 1.32])
def test_a_stretched_crystal_is_never_a_molecule(scale: float) -> None:
    """Where the bonds are about to break, some are counted in one frame and not in the next."""
    crystal = bulk("Si", cubic=True, a=5.43 * scale) * (2, 1, 1)
    assert not any(prepare(atoms).is_molecule for atoms in dynamics(crystal, 125, 12, 0.1, 0.9))


def test_the_first_step_of_a_relaxation_stays_with_the_rest() -> None:
    """The cell shrinks by more in that step than a frame may differ from the one before it."""
    sets = {}
    for k, (name, crystal) in enumerate(MATERIALS.items()):
        sets[name] = []
        for left in 0.5 ** np.arange(12):
            atoms = crystal.copy()
            atoms.set_cell(crystal.cell[:] * (1 + 0.15 * left), scale_atoms=True)
            atoms.rattle(0.2 * left, seed=k)
            sets[name].append(atoms)
    frames = shuffled(in_order(sets))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth) == (0, 0) and leaked(parts, truth) == 0


def test_single_points_stay_apart() -> None:
    """Independent structures of the same atoms, also beside a simulation that is smaller than they are."""
    rng = np.random.default_rng(0)
    alloy = bulk("Cu", cubic=True, a=3.9) * 2
    frames = []
    for k in range(20):
        atoms = alloy.copy()
        atoms.symbols = rng.permutation(["Cu"] * 16 + ["Au"] * 16)
        frames.append((str(k), atoms))
    frames += [("md", atoms) for atoms in dynamics(frames[0][1], 8, 0, 0.05)]
    truth = ["md" if name == "0" else name for name, _ in frames]
    assert over_and_under(find_groups(dataset(frames)).labels, truth) == (0, 0)


def test_a_cluster_whose_bonds_come_and_go_is_followed_by_its_shape() -> None:
    gold = bulk("Au", cubic=True) * 2
    gold.pbc = False
    frames = [atoms.copy() for atoms in shuffled(dynamics(gold, 30, 1, 0.12))]
    rng = np.random.default_rng(0)
    for atoms in frames:
        atoms.positions = atoms.positions @ Rotation.random(rng=rng).as_matrix().T
    assert len({bond_signature(prepare(atoms)) for atoms in frames}) > 1
    assert len(set(find_groups([Sample(atoms, {}) for atoms in frames]).labels)) == 1


def test_a_barostat_and_strains_are_followed_whatever_their_order() -> None:
    crystal = bulk("Si", cubic=True) * 2
    frames = []
    for k, scale in enumerate(np.linspace(0.9, 1.1, 21)):
        atoms = crystal.copy()
        atoms.set_cell(crystal.cell[:] * [scale, 1, 1], scale_atoms=True)
        atoms.rattle(0.05, seed=k)
        frames.append(atoms)
    for seed in range(5):
        assert len(set(find_groups([Sample(a, {}) for a in shuffled(frames, seed)]).labels)) == 1


def test_a_melt_is_one_group_but_decorations_of_an_alloy_are_several() -> None:
    rng = np.random.default_rng(0)
    lattice = bulk("Cu", cubic=True) * 2
    ordered, split_ = lattice.copy(), lattice.copy()
    ordered.symbols = ["Au" if z % 1 < 0.25 else "Cu" for z in lattice.positions[:, 2] / 3.61]
    split_.symbols = ["Au" if z < 3.6 else "Cu" for z in lattice.positions[:, 2]]
    sorted_ = [atoms[np.argsort(atoms.numbers, kind="stable")] for atoms in (ordered, split_)]
    frames = [(str(k), a) for k, atoms in enumerate(sorted_) for a in dynamics(atoms, 8, k, 0.05)]
    frames = shuffled(frames)
    labels = find_groups(dataset(frames)).labels
    assert over_and_under(labels, [name for name, _ in frames]) == (0, 0)
    melt = [_jumble(rng) for _ in range(12)]
    assert min(separation(prepare(a), prepare(b)) for a in melt for b in melt if a is not b) > 1
    assert len(set(find_groups([Sample(atoms, {}) for atoms in melt]).labels)) == 1


def _jumble(rng: np.random.Generator) -> Atoms:
    """Atoms that keep their distance, as in a melt, in another arrangement each time."""
    atoms = bulk("Al", cubic=True) * 3
    places = atoms.positions + rng.normal(0, 0.45, atoms.positions.shape)
    return Atoms("Al108", positions=places[rng.permutation(108)], cell=atoms.cell, pbc=True)


# --- several simulations of one material -----------------------------------------------------------------------------


@pytest.mark.parametrize("arrange", [list, shuffled])
@pytest.mark.parametrize("amplitudes", [(0.1, 0.1, 0.1), (0.06, 0.12, 0.2)])
def test_dense_simulations_of_one_crystal_are_told_apart(arrange, amplitudes) -> None:
    crystal = bulk("Si", cubic=True) * 2
    frames = arrange(in_order({str(k): dynamics(crystal, 30, k, x, 0.9) for k, x in enumerate(amplitudes)}))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth) == (0, 0) and parts.by == "trajectory"
    assert leaked(parts, truth) == 0


def breathing(frames: list[Atoms], seed: int, size: float, memory: float = 0.9) -> list[Atoms]:
    """Strain the cells as a barostat does, correlated from step to step."""
    rng = np.random.default_rng(seed)
    strain = rng.normal(0, size, (3, 3))
    strained = []
    for atoms in frames:
        strain = memory * strain + np.sqrt(1 - memory**2) * rng.normal(0, size, (3, 3))
        changed = atoms.copy()
        changed.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        strained.append(changed)
    return strained


@pytest.mark.parametrize("size", [0.01, 0.02])
def test_simulations_at_constant_pressure_are_told_apart(size: float) -> None:
    """Their cells differ by more than a frame may from the one before it: displacements do not depend on that."""
    crystal = bulk("Si", cubic=True) * 2
    sets = {str(k): breathing(dynamics(crystal, 30, k, 0.1, 0.9), k, size) for k in range(3)}
    frames = shuffled(in_order(sets))
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert over_and_under(parts.groups, truth) == (0, 0) and leaked(parts, truth) == 0


@pytest.mark.parametrize("memory", [0.0, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("n_cells", [1, 2, 8])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_no_simulation_is_cut_however_it_was_sampled(
    monkeypatch: pytest.MonkeyPatch, memory: float, n_cells: int, share: float
) -> None:
    """Where two simulations cannot be told apart, they stay together: a group too small leaks."""
    monkeypatch.setattr(chains, "COMPARED", 2)  # nor do near-duplicates join again what was cut
    crystal = bulk("Si", cubic=True) * {1: (1, 1, 1), 2: (2, 1, 1), 8: (2, 2, 2)}[n_cells]
    for seed in range(2):
        sets = {str(k): dynamics(crystal, 30, 10 * seed + k, 0.08 + 0.04 * k, memory) for k in range(2)}
        frames = shuffled(in_order(sets), seed)[: int(60 * share)]
        labels = find_chains(dataset(frames).samples).label.tolist()
        assert over_and_under(labels, [name for name, _ in frames])[1] == 0


def test_a_relaxation_is_not_cut() -> None:
    crystal = bulk("Si", cubic=True) * 2
    start = dynamics(crystal, 1, 0, 0.3)[0]
    frames = [("relaxation", atoms) for atoms in shuffled(relaxation(start, crystal, 14))]
    assert len(set(find_groups(dataset(frames)).labels)) == 1


@pytest.mark.parametrize("n", [20, 60, 200])
def test_independent_frames_are_never_told_apart(n: int) -> None:
    """The null: one state, no memory. Any cut would be an invention."""
    rng = np.random.default_rng(n)
    cut = [label_trajectories(rng.normal(size=(n, atoms, 3))).any() for atoms in (1, 2, 8, 30) for _ in range(10)]
    assert not any(cut)


# --- the statement on leaks is independent of the groups -------------------------------------------------------------


def test_neighbours_in_time_are_counted_though_no_group_says_so() -> None:
    crystal = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 1)
    frames = [Sample(atoms, {}, {"trajectory": "md"}) for atoms in dynamics(crystal, 80, 0, 0.2, 0.9)]
    parts = split(Dataset(tuple(frames)), by="random")
    test = next(one for one in parts.leaks if (one.part, one.against) == ("test", "train"))
    assert len(test.neighbours) >= 7 and not test.frames  # 8 test frames; none is a near-duplicate
    assert any(
        f"{len(test.neighbours)} of 8 test frames are neighbours in time" in line.text for line in parts.warnings
    )
    assert "no near-duplicates" not in parts.describe()


def test_two_dense_simulations_across_the_parts_are_no_neighbours() -> None:
    crystal = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 1)
    sets = {str(k): dynamics(crystal, 40, k, 0.2, 0.9) for k in range(2)}
    samples = [Sample(atoms, {}) for _, atoms in in_order(sets)]
    (found,) = overlaps(samples, {"train": range(40), "test": range(40, 80)})
    assert (found.neighbours, found.unclear, found.frames) == ((), (), ())


def test_where_neighbours_cannot_be_told_the_split_does_not_say_that_there_are_none() -> None:
    crystal = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 2, 1)
    names = [str(k // 10) for k in range(100)]
    frames = dynamics(crystal, 100, 0, 0.2, 0.0)
    data = Dataset(tuple(Sample(a, {}, {"trajectory": n}) for a, n in zip(frames, names, strict=True)))
    parts = split(data)
    assert parts.warnings == () and "no near-duplicates" not in parts.describe()
    assert "10 of 10 test frames show the same atoms about the same places" in parts.describe()


def test_guessed_groups_of_single_frames_are_called_practically_random() -> None:
    frames = [Atoms("SiC", [[0, 0, 0], [1.9 * x, 0, 0]], cell=[3 * x] * 3, pbc=True) for x in 1.06 ** np.arange(8)]
    parts = split(Dataset(tuple(Sample(atoms, {}) for atoms in frames)))
    assert parts.practically_random and len(parts.lone) == 8
    assert any("practically a random split" in warning.text for warning in parts.warnings)
    others = [Atoms([Z, Z + 1], [[0, 0, 0], [2, 0, 0]], cell=[4] * 3, pbc=True) for Z in range(3, 23)]
    parts = split(Dataset(tuple(Sample(atoms, {}) for atoms in others)))
    assert not parts.practically_random and parts.lone == ()  # each has a composition of its own


# --- keys that count -------------------------------------------------------------------------------------------------


def with_key(frames: list[tuple[str, Atoms]], key: str, values: list) -> Dataset:
    return Dataset(
        tuple(
            Sample(atoms, {}, {key: str(value)}, file="all.extxyz", index=i)
            for i, ((_, atoms), value) in enumerate(zip(frames, values, strict=True))
        )
    )


@pytest.mark.parametrize("key", ["task_id", "run", "job_id", "mp_id"])
def test_a_counter_with_repeated_values_is_no_group(key: str) -> None:
    frames = shuffled(in_order({name: dynamics(a, 8, k) for k, (name, a) in enumerate(MATERIALS.items())}))
    truth = [name for name, _ in frames]
    once = [i if i != 7 else 6 for i in range(len(frames))]
    some = [i // 2 if i < 20 else i for i in range(len(frames))]
    for values in (once, some):
        found = find_groups(with_key(frames, key, values))
        assert found.reason == BY_STRUCTURE and over_and_under(found.labels, truth) == (0, 0)


def test_a_number_of_the_step_in_each_simulation_is_no_group() -> None:
    frames = in_order({name: dynamics(a, 8, k) for k, (name, a) in enumerate(MATERIALS.items())})
    found = find_groups(with_key(frames, "run", [i % 8 for i in range(len(frames))]))
    assert found.reason == BY_STRUCTURE
    assert over_and_under(found.labels, [name for name, _ in frames]) == (0, 0)


@pytest.mark.parametrize("arrange", [list, shuffled, interleaved])
def test_a_key_that_groups_is_believed_in_any_order(arrange) -> None:
    crystal = bulk("Si", cubic=True)
    frames = arrange(in_order({str(k): dynamics(crystal, 8, k, 0.1, 0.0) for k in range(6)}))
    truth = [name for name, _ in frames]
    found = find_groups(with_key(frames, "trajectory", truth))
    assert found.reason == "info key 'trajectory'" and list(found.labels) == truth and found.guessed == ()


def test_a_key_of_mostly_single_materials_is_believed() -> None:
    frames = [(str(k), Atoms("Si", cell=[3 * 1.06**k] * 3, pbc=True)) for k in range(8)]
    values = [0, 0, *range(1, 7)]
    assert find_groups(with_key(frames, "material_id", values)).reason == "info key 'material_id'"


# --- files -----------------------------------------------------------------------------------------------------------


def in_files(files: dict[str, list[Atoms]], run: bool = False) -> list[Sample]:
    return [
        Sample(atoms, {}, {"trajectory": file} if run else {}, file=file, index=i)
        for file, frames in files.items()
        for i, atoms in enumerate(frames)
    ]


@pytest.mark.parametrize("name", ["part_{:03d}.extxyz", "{}/md.extxyz"])
def test_shards_of_a_shuffled_set_are_no_trajectories(name: str) -> None:
    bases = [bulk("Si", cubic=True, a=a) * 2 for a in (4.9, 5.43, 6.0)]
    frames = shuffled(in_order({str(k): dynamics(atoms, 20, k, 0.1, 0.5) for k, atoms in enumerate(bases)}))
    files = {name.format(k): [atoms for _, atoms in frames[6 * k : 6 * k + 6]] for k in range(10)}
    found = find_groups(in_files(files))
    assert found.reason == BY_STRUCTURE
    assert over_and_under(found.labels, [name for name, _ in frames]) == (0, 0)


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_files_of_simulations_at_other_temperatures_are_trajectories(memory: float) -> None:
    crystal = bulk("Si", cubic=True) * 2
    files = {f"{T}K.xyz": dynamics(crystal, 20, T, 0.005 * T**0.5, memory) for T in (300, 600, 1200)}
    found = find_groups(in_files(files))
    assert found.reason == "file and folder names" and {*found.labels} == {*files}


def test_a_test_file_dealt_from_the_same_set_is_found_whatever_its_name() -> None:
    frames = shuffled(dynamics(bulk("Si", cubic=True) * 2, 60, 0, 0.1, 0.5))
    train, test = (
        Dataset(tuple(in_files({name: own}))) for name, own in (("fit.xyz", frames[:45]), ("x.xyz", frames[45:]))
    )
    assert leaks_between(train, test).frames == tuple(range(15))


@pytest.mark.parametrize(
    "names",
    [
        ("a/vasprun.xml.relax1.gz", "a/vasprun.xml.relax2.gz", "a/vasprun.xml.static.gz"),
        ("a/OUTCAR.relax1", "a/OUTCAR.relax2", "a/OUTCAR"),
        ("relax/01/OUTCAR", "relax/02/OUTCAR", "relax/03/OUTCAR"),
        ("relax1/OUTCAR", "relax2/OUTCAR", "static/OUTCAR"),
    ],
)
def test_a_double_relaxation_and_its_static_step_are_one_trajectory(names: tuple[str, str, str]) -> None:
    crystal = bulk("Si", cubic=True) * 2
    samples: list[Sample] = []
    for k in range(4):
        start = dynamics(crystal, 1, k, 0.3)[0]
        middle, end = (
            Atoms(crystal, positions=crystal.positions + 0.1 * x * (start.positions - crystal.positions))
            for x in (2, 1)
        )
        first, second = relaxation(start, middle, 12)[:9], relaxation(middle, end, 12)
        first = [*first, middle]
        steps = dict(zip((f"m{k}/{name}" for name in names), (first, second, [second[-1]]), strict=True))
        samples += in_files(steps, run=True)
    labels = find_groups(samples).labels
    truth = [sample.file.split("/")[0] for sample in samples]
    assert over_and_under(labels, truth) == (0, 0)


def test_a_run_goes_on_in_the_next_folder_but_two_runs_from_one_start_do_not() -> None:
    crystal = bulk("Si", cubic=True) * 2
    frames = dynamics(crystal, 40, 0, 0.1, 0.9)
    going_on = in_files(
        {"run/1/OUTCAR": frames[:13], "run/2/OUTCAR": frames[13:26], "run/10/OUTCAR": frames[26:]}, run=True
    )
    assert len(set(find_groups(going_on).labels)) == 1
    apart = in_files({f"{k}/OUTCAR": [crystal, *dynamics(crystal, 12, k, 0.1, 0.0)] for k in range(5)}, run=True)
    assert len(set(find_groups(apart).labels)) == 5


def pieces(frames: list[Atoms], n: int, name: str) -> dict[str, list[Atoms]]:
    return {name.format(k // n + 1): frames[k : k + n] for k in range(0, len(frames), n)}


@pytest.mark.parametrize("memory", [0.6, 0.95])
@pytest.mark.parametrize(("n", "total"), [(2, 24), (5, 55), (20, 60)])
def test_pieces_of_one_simulation_in_consecutive_files_are_joined(n: int, total: int, memory: float) -> None:
    """Files as they are listed, `md_10` before `md_2`: the blocks that it is cut into follow the numbers."""
    files = pieces(dynamics(bulk("Si", cubic=True) * 2, total, n, 0.1, memory), n, "md_{}.xyz")
    samples = in_files(dict(sorted(files.items())))
    assert len(set(find_groups(samples).labels)) == 1
    order, known_by = in_time(samples, np.arange(len(samples)))
    assert [samples[i].file for i in order] == [file for file, own in files.items() for _ in own]
    assert known_by == "the order of the file"


def test_pieces_of_the_simulations_of_several_materials_are_joined() -> None:
    files = {}
    for k, (name, atoms) in enumerate(MATERIALS.items()):
        files |= pieces(dynamics(atoms, 60, k, 0.12, 0.85), 20, name + "_{}.xyz")
    samples = in_files(files)
    truth = [sample.file.split("_")[0] for sample in samples]
    assert over_and_under(find_groups(samples).labels, truth) == (0, 0)


@pytest.mark.parametrize("memory", [0.7, 0.97])
@pytest.mark.parametrize("n", [2, 5, 20])
def test_short_simulations_of_one_material_stay_apart(n: int, memory: float) -> None:
    crystal = bulk("Si", cubic=True) * 2
    files = {f"md_{k}.xyz": dynamics(crystal, n, k, 0.05 * (1 + k % 3), memory) for k in range(6)}
    assert {*find_groups(in_files(files)).labels} == {*files}


def test_files_are_sorted_as_people_count() -> None:
    assert sorted(["run_10", "run_2", "run"], key=natural) == ["run", "run_2", "run_10"]
    assert sorted(["3²10", "3²2"], key=natural) == ["3²2", "3²10"]  # a raised digit is no number


# --- order in time ---------------------------------------------------------------------------------------------------


def one_simulation(order, **tag) -> Dataset:
    frames = dynamics(bulk("Si", cubic=True) * 2, 200, 0, 0.1, 0.97)
    tags = {key: [text.format(k) for k in range(200)] for key, text in tag.items()}
    samples = [
        Sample(
            frames[k],
            {},
            {"trajectory": "md", "frame": str(i)} | {key: own[k] for key, own in tags.items()},
            "a",
            index=i,
        )
        for i, k in enumerate(order)
    ]
    return Dataset(tuple(samples))


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("step", "{}"),
        ("time_fs", "{}.5"),
        ("ionic_step", "{}"),
        ("frame", "{}"),
        ("description", "Snapshot {} of 200 of MD at 300 K"),
    ],
)
def test_blocks_of_a_shuffled_trajectory_follow_the_tag(tag: str, text: str) -> None:
    order = np.random.default_rng(0).permutation(200)
    parts = split(one_simulation(order, **{tag: text}))
    assert parts.by == "blocks" and tag in parts.order
    steps = {name: np.sort(order[list(positions)]) for name, positions in parts.parts.items()}
    for own in steps.values():
        assert len(own) == own[-1] - own[0] + 1  # contiguous in time
    assert min(abs(int(a) - int(b)) for a in steps["train"] for b in steps["test"]) > 4
    assert not any("not known" in warning.text for warning in parts.warnings)


def test_the_order_of_the_file_is_believed_where_it_shows_in_the_frames() -> None:
    frames = np.arange(200)
    assert in_time(one_simulation(frames).samples, frames)[1] == "the order of the file"
    parts = split(one_simulation(np.random.default_rng(1).permutation(200)))
    assert parts.order == "" and any("order in time" in w.text and "not known" in w.text for w in parts.warnings)


def test_of_two_shuffled_groups_the_smaller_is_the_test() -> None:
    """Blocks of a shuffled file would leak; two groups cannot fill three parts."""
    sizes = {"Si": 60, "Cu": 20}
    frames = shuffled(
        in_order({n: dynamics(MATERIALS[n], size, k, 0.1, 0.0) for k, (n, size) in enumerate(sizes.items())})
    )
    truth = [name for name, _ in frames]
    parts = split(dataset(frames))
    assert leaked(parts, truth) == 0 and {truth[i] for i in parts.test} == {"Cu"} and parts.validation
    assert any("the smaller one is the test" in warning.text for warning in parts.warnings)
    assert sorted([*parts.train, *parts.validation, *parts.test, *parts.dropped]) == list(range(80))


def test_steps_that_begin_anew_in_each_file_follow_the_files() -> None:
    samples = [
        Sample(bulk("Si"), {}, {"step": str(k)}, file=file) for file in ("run_10", "run_2") for k in np.array([2, 0, 1])
    ]
    order, known_by = in_time(samples, np.arange(6))
    assert order.tolist() == [4, 5, 3, 1, 2, 0] and known_by == "info key 'step'"


# --- distances -------------------------------------------------------------------------------------------------------


def test_separation_is_the_mean_displacement_whatever_the_frame_did() -> None:
    crystal = bulk("NaCl", "rocksalt", 5.64, cubic=True) * (2, 1, 1)
    rng = np.random.default_rng(0)
    moved = rng.normal(0, 0.1, crystal.positions.shape)
    moved -= moved.mean(axis=0)
    other = Atoms(crystal, positions=crystal.positions + moved + crystal.cell[:].sum(axis=0) / 2)
    other.wrap()
    assert separation(prepare(crystal), prepare(other)) == pytest.approx(np.linalg.norm(moved, axis=1).mean())


def test_a_gallery_is_the_same_as_one_by_one() -> None:
    frames = [prepare(atoms) for atoms in dynamics(MATERIALS["MgO"], 6, 0)]
    gallery = Gallery()
    for one in frames[:5]:
        gallery.add(one)
    assert gallery.separations(frames[5]) == pytest.approx([separation(one, frames[5]) for one in frames[:5]])


def test_a_frame_that_is_not_sound_stands_alone() -> None:
    broken = [bulk("Si"), bulk("Si"), Atoms("Si2", [[0, 0, 0], [np.nan, 0, 0]], cell=[5] * 3, pbc=True)]
    assert prepare(broken[2]) is None and prepare(Atoms()) is None
    assert prepare(Atoms("Si", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True)) is None


def test_mirror_images_and_isomers_are_told_from_conformers() -> None:
    ethanol, ether = MOLECULES["CH3CH2OH"], MOLECULES["CH3OCH3"]
    assert bond_signature(prepare(ethanol)) != bond_signature(prepare(ether))
    assert bond_signature(prepare(ethanol)) == bond_signature(prepare(ethanol[::-1]))


# --- limits and real sets --------------------------------------------------------------------------------------------


def test_too_many_arrangements_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "HELD", 5)
    frames = [Atoms("Si", cell=[2 * 1.11**k] * 3, pbc=True) for k in range(8)]
    assert find_chains([Sample(atoms, {}) for atoms in frames]).uncompared == 3
    parts = split(Dataset(tuple(Sample(atoms, {}) for atoms in frames)))
    assert any("3 frames were not compared" in warning.text for warning in parts.warnings)


def test_a_group_too_large_to_be_told_apart_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dense simulations of one crystal, which fewer frames would show."""
    crystal = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    frames = in_order({str(k): dynamics(crystal, 12, k, 0.1, 0.9) for k in range(2)})
    other = in_order({"Si": dynamics(bulk("Si", cubic=True), 5, 3)})
    assert find_chains(dataset([*frames, *other]).samples).untold == 0
    monkeypatch.setattr(chains, "TOLD_APART", 23)
    parts = split(dataset([*frames, *other]))
    assert any(warning.text.startswith("24 frames are in groups of more than") for warning in parts.warnings)
    monkeypatch.setattr(chains, "TOLD_APART", 24)
    assert not any("in groups of more than" in warning.text for warning in split(dataset([*frames, *other])).warnings)


@pytest.mark.parametrize(("name", "over", "under"), [("Si", 4, 1), ("Mo", 2, 0)])
def test_real_sets_without_their_tags_hardly_leak(shared, name: str, over: int, under: int) -> None:
    """One run is cut: one of its 28 frames, whose cell is torn apart, resembles a melt of the same atoms."""
    samples = list(read.read(shared / "data" / "potentials" / f"{name}_train.extxyz"))
    truth = [sample.tags["trajectory"] for sample in samples]
    chosen = np.random.default_rng(0).permutation(len(samples))
    data = Dataset(tuple(Sample(samples[i].content, {}, file="all.extxyz", index=k) for k, i in enumerate(chosen)))
    labels, truth = find_groups(data).labels, np.array([truth[i] for i in chosen])
    assert over_and_under(labels, truth.tolist()) == (over, under)
    for seed in range(3):
        part = deal(labels, [""] * len(labels), (0.8, 0.1, 0.1), seed)
        assert not {*truth[part == 0]} & {*truth[part == 2]}
