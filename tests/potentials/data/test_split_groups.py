"""Each route by which trajectories are found, and what must not mislead it."""

from collections import defaultdict

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read as ase_read

from matgraft.potentials.data import chains
from matgraft.potentials.data.groups import BY_STRUCTURE, WALKER_KEY, Groups, find_groups, is_consecutive
from matgraft.potentials.data.sample import Sample

SI = bulk("Si", cubic=True, a=5.47)


def rattled(atoms: Atoms, stdev: float, seed: int) -> Atoms:
    moved = atoms.copy()
    moved.rattle(stdev, seed=seed)
    return moved


def tagged(*tags: dict[str, str]) -> list[Sample]:
    """Frames that differ so much that structure says nothing."""
    return [Sample(bulk("Si", cubic=True, a=5 * 1.1**i), {}, tag, index=i) for i, tag in enumerate(tags)]


def partition(labels) -> set[frozenset[int]]:
    members = defaultdict(set)
    for i, label in enumerate(labels):
        members[label].add(i)
    return {frozenset(group) for group in members.values()}


def groups(*members: tuple[int, ...]) -> set[frozenset[int]]:
    return {frozenset(group) for group in members}


@pytest.mark.parametrize(
    "key",
    [
        "trajectory",
        "traj",
        "MD-ID",
        "mptrj_traj_id",
        "source.run-id",
        "run_id",
        "material_id",
        "mp_id",
        "system",
        "task_id",
    ],
)
def test_a_key_names_the_groups(key: str) -> None:
    labels, reason, *_ = find_groups(tagged({key: "a"}, {key: "b"}, {key: "a"}))
    assert labels == ("a", "b", "a")
    assert reason == f"info key '{key}'"


def test_the_simulation_comes_before_its_parent_and_the_parent_before_the_task() -> None:
    tags = [{"task_id": "x", "mp_id": "m", "traj": "1"}, {"task_id": "x", "mp_id": "n", "traj": "1"}]
    assert find_groups(tagged(*tags, {"traj": "2"})).reason == "info key 'traj'"
    materials = [{"task_id": "x", "mp_id": "m"}, {"task_id": "y", "mp_id": "m"}, {"task_id": "y", "mp_id": "n"}]
    assert find_groups(tagged(*materials)).labels == ("m", "m", "n")


def test_a_key_that_counts_frames_is_passed_over() -> None:
    tags = [{"task_id": str(i), "mp_id": "ab"[i % 2]} for i in range(4)]
    assert find_groups(tagged(*tags)).labels == ("a", "b", "a", "b")
    assert find_groups(tagged(*[{"task_id": str(i)} for i in range(4)])).reason == BY_STRUCTURE


def test_walkers_of_a_loop_are_believed_though_each_gave_one_frame() -> None:
    """Beside frames of one's own, which are told apart as ever."""
    walkers = [{WALKER_KEY: f"round {k}", "trajectory": f"round {k}"} for k in range(3)]
    labels, *_ = find_groups(tagged(*walkers, {"trajectory": "own"}, {"trajectory": "own"}))
    assert labels[:3] == ("round 0", "round 1", "round 2")
    assert labels[3] == labels[4] not in labels[:3]


def test_one_value_counts_for_a_simulation_but_not_for_a_parent() -> None:
    assert set(find_groups(tagged({"trajectory": "a"}, {"trajectory": "a"})).labels) == {"a"}
    labels, reason, *_ = find_groups(tagged({"system": "Si"}, {"system": "Si"}))
    assert len(set(labels)) == 2 and reason == BY_STRUCTURE


def test_frames_without_the_key_go_to_the_next_route() -> None:
    labels, reason, *_ = find_groups(tagged({"traj": "a"}, {"traj": "a"}, {"run": "b"}, {"run": "b"}, {"traj": ""}))
    assert partition(labels) == groups((0, 1), (2, 3), (4,))
    assert reason == f"info key 'traj' (2 frames); info key 'run' (2 frames); {BY_STRUCTURE} (1 frames)"


@pytest.mark.parametrize(
    ("first", "second", "other"),
    [
        ("Snapshot 3 of 32 of MD at 300 K", "Snapshot 4 of 32 of MD at 300 K", "Snapshot 4 of 32 of MD at 900 K"),
        ("cell, mode 0, strain -0.02", "cell, mode 0, strain 0.1", "cell, mode 1, strain 0.1"),
        ("melt frame=12", "melt frame=13", "glass frame=13"),
        ("slab, step 7/90", "slab, step 8/90", "bulk, step 8/90"),
    ],
)
def test_a_description_without_its_counter(first: str, second: str, other: str) -> None:
    labels, reason, *_ = find_groups(tagged(*({"description": text} for text in (first, other, second))))
    assert partition(labels) == groups((0, 2), (1,))
    assert "'description' without its counter" in reason


def test_a_mere_counter_and_a_temperature_are_no_groups() -> None:
    labels, reason, *_ = find_groups(tagged({"comment": "frame 1"}, {"comment": "frame 2"}, {"comment": "300 K"}))
    assert len(set(labels)) == 3 and reason == BY_STRUCTURE


def in_files(*files: str, elements: str = "") -> list[Sample]:
    kinds = elements or "Si," * len(files)
    return [
        Sample(Atoms(kind, cell=[3 * 1.1**i] * 3, pbc=True), {}, file=file, index=i)
        for i, (file, kind) in enumerate(zip(files, kinds.strip(",").split(","), strict=True))
    ]


def test_files_are_trajectories() -> None:
    labels, reason, *_ = find_groups(in_files("hot.xyz", "cold.xyz", "hot.xyz", "cold.xyz"))
    assert labels == ("hot.xyz", "cold.xyz", "hot.xyz", "cold.xyz")
    assert reason == "file and folder names"


def test_files_of_one_frame_belong_to_their_folder() -> None:
    files = ["md/0001/OUTCAR", "md/0002/OUTCAR", "hot/frame_1.xyz", "hot/frame_2.xyz", "mp-1/OUTCAR", "mp-2/OUTCAR"]
    labels, *_ = find_groups(in_files(*files))
    assert partition(labels) == groups((0, 1), (2, 3), (4,), (5,))


def test_a_run_of_one_frame_named_by_its_path_belongs_to_its_folder() -> None:
    files = ["md/1/OUTCAR", "md/2/OUTCAR", "relax/OUTCAR", "relax/OUTCAR"]
    samples = [sample.with_tags(trajectory=sample.file) for sample in in_files(*files)]
    assert partition(find_groups(samples).labels) == groups((0, 1), (2, 3))


@pytest.mark.parametrize("files", [("train.xyz", "test.xyz"), ("Si_train.xyz", "Si_test.xyz"), ("all.xyz", "all.xyz")])
def test_names_of_parts_and_a_single_file_say_nothing(files: tuple[str, str]) -> None:
    assert find_groups(in_files(*files, *files)).reason == BY_STRUCTURE


def test_a_file_of_several_compositions_is_a_collection() -> None:
    labels, *_ = find_groups(in_files("a.xyz", "a.xyz", "b.xyz", "b.xyz", elements="Si,Ge,Si,Si"))
    assert partition(labels) == groups((0,), (1,), (2, 3))


def test_consecutive_frames_belong_together_and_a_jump_parts() -> None:
    crystal = SI * 2
    other = Atoms(
        "Si64", np.random.default_rng(0).random((64, 3)) * crystal.cell.lengths(), cell=crystal.cell, pbc=True
    )
    frames = [rattled(crystal, 0.15, seed) for seed in range(4)] + [rattled(other, 0.15, seed) for seed in range(3)]
    labels, reason, *_ = find_groups([Sample(frame, {}) for frame in frames])
    assert partition(labels) == groups((0, 1, 2, 3), (4, 5, 6))
    assert reason == BY_STRUCTURE


def test_a_shuffled_file_is_put_together_by_near_duplicates() -> None:
    small, large = SI * 2, bulk("Si", cubic=True, a=5.9) * 2
    frames = [rattled(crystal, 0.03, seed) for seed in range(4) for crystal in (small, large)]
    assert partition(find_groups([Sample(frame, {}) for frame in frames]).labels) == groups((0, 2, 4, 6), (1, 3, 5, 7))


def test_in_a_large_set_stretches_are_still_followed_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near-duplicates are looked for among a few, evenly spread: they join stretches, they do not make them."""
    monkeypatch.setattr(chains, "COMPARED", 3)
    small, large = SI * 2, bulk("Si", cubic=True, a=5.9) * 2
    stretches = [small] * 4 + [large] * 3 + [small] * 4
    frames = [rattled(crystal, 0.03, seed) for seed, crystal in enumerate(stretches)]
    labels = find_groups([Sample(frame, {}) for frame in frames]).labels
    assert partition(labels) == groups((0, 1, 2, 3, 7, 8, 9, 10), (4, 5, 6))


def test_consecutive_means_like_atoms_cell_and_positions() -> None:
    moved = rattled(SI, 0.1, 0)
    moved.positions += 4.0  # drift
    moved.wrap()
    assert is_consecutive(SI, moved)
    barostat, strained = SI.copy(), SI.copy()
    barostat.set_cell(SI.cell[:] * 1.02, scale_atoms=True)
    strained.set_cell(SI.cell[:] * 1.08, scale_atoms=True)
    assert is_consecutive(SI, barostat) and not is_consecutive(SI, strained)
    assert not is_consecutive(SI, SI[::-1] * (2, 1, 1))
    assert not is_consecutive(bulk("NaCl", "rocksalt", a=5.6), bulk("KCl", "rocksalt", a=5.6))
    assert not is_consecutive(SI, Atoms(SI, pbc=False))


def test_molecules_without_a_cell_are_followed_too() -> None:
    water = Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    assert is_consecutive(water, rattled(water, 0.05, 0))
    assert not is_consecutive(water, Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [9.0, 0.93, 0]]))


def test_no_frames_no_groups() -> None:
    assert find_groups([]) == Groups((), "")


@pytest.mark.parametrize(("name", "n_guessed"), [("Si", 13), ("Mo", 11)])
def test_descriptions_give_the_trajectories_that_the_authors_named(shared, name: str, n_guessed: int) -> None:
    frames = ase_read(shared / "data" / "potentials" / f"{name}_train.extxyz", ":")
    told = [frame.info["trajectory"] for frame in frames]
    samples = [Sample(frame, {}, {"description": frame.info["description"]}, index=i) for i, frame in enumerate(frames)]
    labels, reason, *_ = find_groups(samples)
    assert f"({n_guessed} frames)" in reason
    described = [i for i, label in enumerate(labels) if not label.startswith("stretch")]
    assert partition([labels[i] for i in described]) == partition([told[i] for i in described])
