"""The loop with stages that take no time: what is learned from and scored on, where it ends, and what a kill loses."""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as read_frames
from ase.io import write as write_frames

from matgraft.core.errors import AuditError, DataError, OptionError, RunError
from matgraft.core.run_folder import kind_of, resume_commands
from matgraft.core.verdict import Outcome, Verdict
from matgraft.potentials.active.labelling.labelled import Failure, Labelled
from matgraft.potentials.active.rounds import CURVE, ENDED, Ended, Errors, RoundFacts, rounds_in
from matgraft.potentials.active.sampling.sampled import Sampled
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.selection.selected import Chosen, Selected
from matgraft.potentials.active.settings import ActiveRecipe, budget_only, make_active_recipe
from matgraft.potentials.data.groups import find_groups
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.active import write_active_report
from matgraft.potentials.run import active_stages
from matgraft.potentials.run.active import active
from matgraft.potentials.run.loop import Loop, Stages
from matgraft.potentials.run_files import METRICS, VERDICT
from matgraft.potentials.scoring.scores import Scores


class Killed(BaseException):
    """As a process ends that is killed: nothing catches it."""


class Toy:
    """Stages that take no time: rattled copper, labels of springs, an error that falls with what is learned."""

    def __init__(self, error: Callable[[int], float] = lambda n: 1 / (1 + n), outside: float = 0.5) -> None:
        self.error, self.outside = error, outside
        self.labelled: list[bytes] = []
        self.tuned: list[Recipe] = []
        self.killed_at: tuple[str, int] | None = None
        self.calls: dict[str, int] = {}
        self.fails: set[int] = set()
        self.audit, self.learn = 1, 3

    def stages(self) -> Stages:
        return Stages(self.sample, self.select, self.label, self.tune, self.check, self.evaluate, lambda recipe: None)

    def at(self, stage: str, moment: str) -> None:
        """Count the moments of each stage, and die at the one that is asked for."""
        self.calls[f"{stage} {moment}"] = self.calls.get(f"{stage} {moment}", 0) + 1
        if self.killed_at == (f"{stage} {moment}", self.calls[f"{stage} {moment}"]):
            raise Killed

    def sample(self, loop: Loop, number: int, block: int, settings: SampleSettings) -> Sampled:
        self.at("sample", "begins")
        rng = np.random.default_rng([loop.recipe.seed, number])
        frames = []
        for i in range(8):
            atoms = bulk("Cu", cubic=True)
            atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
            atoms.info |= {"origin": "md nvt 300 K", "walker": i, "step": 10 * i}
            frames.append(atoms)
        write_frames(loop.folder(number) / f"pool-{block}.extxyz", frames)
        self.at("sample", "ends")
        return Sampled(
            model=loop.model(number), pool="", n_frames=8, origins={"md nvt 300 K": 8}, dropped={}, walkers=(),
            kinds={"md": 8}, has_gate=number > 0, seconds=1.0,
        )  # fmt: skip

    def select(self, loop: Loop, number: int, n: int) -> Selected:
        self.at("select", "begins")
        pool = read_frames(loop.folder(number) / "pool-0.extxyz", index=":")
        n = min(n, self.audit + self.learn)
        chosen = tuple(
            Chosen(index=i, why="audit" if i < self.audit else "uncertain", walker=str(i), origin="md nvt 300 K")
            for i in range(n)
        )
        for one in chosen:
            pool[one.index].info["why"] = one.why
        write_frames(loop.folder(number) / "chosen.extxyz", [pool[one.index] for one in chosen])
        self.at("select", "ends")
        return Selected(
            model="toy", settings=loop.recipe.select, asked=n, n_pool=8, chosen=chosen, left_out={"not needed": 8 - n},
            outside=None if number == 0 else self.outside,
        )  # fmt: skip

    def label(self, loop: Loop, number: int) -> Labelled:
        """Label as the store does: what was labelled before a kill is not computed again."""
        self.at("label", "begins")
        frames, labelled, failures = read_frames(loop.folder(number) / "chosen.extxyz", index=":"), [], []
        for i, atoms in enumerate(frames):
            if i in self.fails:
                failures.append(Failure(frame=i, where=f"frame {i}", reason="did not converge"))
                continue
            key = atoms.positions.tobytes()
            if key not in self.labelled:
                self.at("label", "computes")
                self.labelled.append(key)
            made, away = atoms.copy(), atoms.positions - atoms.positions.mean(0)
            made.calc = SinglePointCalculator(made, energy=float((away**2).sum()), forces=-2 * away)
            labelled.append(made)
        write_frames(loop.folder(number) / "labelled.extxyz", labelled)
        (loop.folder(number) / "labelled.yaml").write_text("code: spring\n")
        self.at("label", "ends")
        return Labelled(
            engine="emt", engine_key="0", n_asked=len(frames), n_labelled=len(labelled), n_from_store=0,
            n_computed=len(labelled), failures=tuple(failures), theory=None, seconds=1.0, calculation_s=1.0, store="",
        )  # fmt: skip

    def tune(self, recipe: Recipe, run: Path, quiet: bool) -> None:
        self.at("tune", "begins")
        run.mkdir(parents=True, exist_ok=True)
        (run / "history.csv").write_text("step\n")
        self.at("tune", "writes")
        (run / "recipe.yaml").write_text("train: x\n")
        self.at("tune", "fits")
        n = sum(len(read_frames(one, index=":")) for one in recipe.train)
        figures = {
            "n_frames": 1,
            "energy_rmse_meV_per_atom": 1000 * self.error(n),
            "forces_rmse_eV_per_A": self.error(n),
        }
        scores = Scores(
            test=figures, part="test" if recipe.test else "validation", n_groups=1, n_groups_with={}, intervals={},
            by_config_type={}, worst_force_decile={}, gain={},
        )  # fmt: skip
        METRICS.write(run, scores)
        (run / "learned.txt").write_text(str(n))
        VERDICT.write(run, Verdict(outcome=Outcome.BETTER, against="the foundation", headline="better"))
        self.tuned.append(recipe)
        self.at("tune", "ends")

    def check(self, run: Path, recipe: ActiveRecipe, quiet: bool) -> None:
        raise AssertionError("no check was asked for")

    def evaluate(self, run: str, files: Sequence[str]) -> Errors:
        assert files
        n = int((Path(run) / "learned.txt").read_text())
        frames = sum(len(read_frames(one, index=":")) for one in files)
        return Errors(n_frames=frames, forces_eV_per_A=self.error(n), energy_meV_per_atom=1000 * self.error(n))


@pytest.fixture
def start(tmp_path: Path) -> str:
    path = tmp_path / "cu.cif"
    write_frames(path, bulk("Cu", cubic=True))
    return str(path)


def recipe_of(start: str, **more: Any) -> ActiveRecipe:
    content = {
        "start": start,
        "tune": {"foundation": "chgnet", "strategy": {"name": "full"}},
        "sample": {"md": "nvt", "steps": 10},
        "engine": {"calculator": "emt"},
        "stop": {"forces_eV_per_A": 0.01, "gain": 0},
        "per_round": 4,
        "rounds": 3,
    }
    return ActiveRecipe.model_validate({**content, **more})


def run_of(recipe: ActiveRecipe, out: Path, toy: Toy | None = None, *, resume: bool = False) -> Ended:
    return active(recipe, out, resume=resume, stages=(toy or Toy()).stages(), quiet=True)


def every_frame(out: Path, name: str) -> list[Atoms]:
    return [atoms for file in sorted(out.glob(f"rounds/*/{name}")) for atoms in read_frames(file, index=":")]


def test_a_loop_ends_unconverged_where_its_rounds_are_spent(start: str, tmp_path: Path) -> None:
    out, toy = tmp_path / "loop", Toy()
    ended = run_of(recipe_of(start), out, toy)
    assert (ended.reason, ended.rounds, ended.dft_frames, ended.exit_code) == ("rounds", 3, 12, 1)
    assert not ended.converged and "0.1 eV/Å, at most 0.01" in ended.lacking[0]
    assert ended.model == "rounds/02/run" and ENDED.read(out) == ended
    rounds = rounds_in(out)
    assert [one.dft_frames for one in rounds] == [4, 8, 12]
    assert [one.n_learn for one in rounds] == [3, 6, 9] and [one.n_audit for one in rounds] == [1, 2, 3]
    assert rounds[0].fresh is None and rounds[0].outside is None
    assert rounds[2].fresh == Errors(n_frames=1, forces_eV_per_A=1 / 7, energy_meV_per_atom=1000 / 7)
    assert rounds[2].before == rounds[2].fresh.model_copy(update={"n_frames": 3})
    assert rounds[2].gain == pytest.approx(1 - 7 / 10)
    assert set(rounds[1].seconds) == {"sample", "select", "label", "tune"}
    curve = CURVE.read(out)
    assert [point.errors.forces_eV_per_A for point in curve.points] == [1 / 4, 1 / 7, 1 / 10]
    assert {point.errors.n_frames for point in curve.points} == {3}
    assert kind_of(out) == "active" and resume_commands(out) == [["matgraft", "active", "--resume", str(out)]]


def test_nothing_that_is_scored_on_is_ever_learned_from(start: str, tmp_path: Path) -> None:
    out, toy = tmp_path / "loop", Toy()
    run_of(recipe_of(start), out, toy)
    learned = {one.positions.tobytes() for one in every_frame(out, "learn.extxyz")}
    scored = {one.positions.tobytes() for one in every_frame(out, "audit.extxyz")}
    assert len(learned) == 9 and len(scored) == 3 and not learned & scored
    for number, recipe in enumerate(toy.tuned):
        folders = [f"{out}/rounds/{k:02d}" for k in range(number + 1)]
        assert recipe.train == tuple(f"{folder}/learn.extxyz" for folder in folders)
        assert recipe.test == tuple(f"{folder}/audit.extxyz" for folder in folders)
        assert recipe.foundation == "chgnet"
    for atoms in [*every_frame(out, "learn.extxyz"), *every_frame(out, "audit.extxyz")]:
        assert atoms.info["origin"] == "md nvt 300 K" and atoms.info["why"] in ("audit", "uncertain")
        assert atoms.info["trajectory"] == f"round {atoms.info['round']}: {atoms.info['walker']}"
    found = find_groups(read([*(out / f"rounds/{k:02d}/learn.extxyz" for k in range(3))]))
    assert len(set(found.labels)) == 9 and found.reason == "info key 'matgraft_walker'"  # each walker gave one frame
    walkers = [{one.info["trajectory"] for one in every_frame(out, name)} for name in ("learn.extxyz", "audit.extxyz")]
    assert len(walkers[0]) == 9 and not walkers[0] & walkers[1]
    assert (out / "rounds/01/learn.yaml").read_text() == "code: spring\n"


def test_ones_own_frames_are_learned_from_before_anything_is_sampled(start: str, tmp_path: Path) -> None:
    own, test = tmp_path / "own.extxyz", tmp_path / "test.extxyz"
    for path, n in ((own, 5), (test, 2)):
        write_frames(path, [bulk("Cu", cubic=True)] * n)
    out, toy = tmp_path / "loop", Toy()
    ended = run_of(recipe_of(start, train=str(own), test=[str(test)]), out, toy)
    rounds = rounds_in(out)
    assert ended.dft_frames == 8 and [one.dft_frames for one in rounds] == [0, 4, 8]
    assert toy.tuned[0].train == (str(own),) and toy.tuned[0].test == (str(test),)
    assert toy.tuned[1].train == (str(own), f"{out}/rounds/01/learn.extxyz")
    assert toy.tuned[1].test == (str(test), f"{out}/rounds/01/audit.extxyz")
    assert rounds[1].fresh is not None and rounds[1].fresh.n_frames == 1
    assert rounds[1].before is not None and rounds[1].before.n_frames == 3


@pytest.mark.parametrize(
    ("stop", "toy", "expected"),
    [
        ({"forces_eV_per_A": 0.15}, Toy(), ("goal", 3)),  # 1/4, 1/7, 1/10: two rounds one after another
        ({"forces_eV_per_A": 0.15, "on_target": 1}, Toy(), ("goal", 2)),
        ({"forces_eV_per_A": 0.15, "outside": 0.2}, Toy(), ("rounds", 4)),
        ({"forces_eV_per_A": 0.15, "outside": 0.6}, Toy(), ("goal", 3)),
        ({"energy_meV_per_atom": 150}, Toy(), ("goal", 3)),
        ({"forces_eV_per_A": 0.01, "gain": 0.1}, Toy(lambda n: 0.5), ("no gain", 3)),
        ({"forces_eV_per_A": 0.01, "gain": 0}, Toy(lambda n: 0.5), ("rounds", 4)),
        ({"forces_eV_per_A": 0.01, "gain": 0, "frames": 10}, Toy(), ("frames", 3)),
        ({"forces_eV_per_A": 0.01, "gain": 0, "hours": 1e-9}, Toy(), ("hours", 0)),
    ],
)
def test_a_loop_ends(start: str, tmp_path: Path, stop: dict[str, float], toy: Toy, expected: tuple[str, int]) -> None:
    ended = run_of(recipe_of(start, stop=stop, rounds=4), tmp_path / "loop", toy)
    assert (ended.reason, ended.rounds) == expected
    assert ended.converged == (expected[0] == "goal") == (ended.exit_code == 0) == (not ended.lacking)


def test_the_budget_of_frames_is_not_overdrawn(start: str, tmp_path: Path) -> None:
    ended = run_of(recipe_of(start, stop={"forces_eV_per_A": 0.01, "gain": 0, "frames": 10}, rounds=9), tmp_path / "a")
    assert ended.dft_frames == 10 and ended.reason == "frames"


def test_errors_on_validation_frames_reach_no_target(start: str, tmp_path: Path) -> None:
    toy = Toy()
    toy.audit = 0
    ended = run_of(recipe_of(start, stop={"forces_eV_per_A": 0.9, "gain": 0}), tmp_path / "loop", toy)
    assert ended.reason == "rounds" and rounds_in(tmp_path / "loop")[-1].part == "validation"


def test_a_pool_without_a_frame_worth_a_label_ends_the_loop(start: str, tmp_path: Path) -> None:
    toy = Toy()
    toy.audit = toy.learn = 0
    ended = run_of(recipe_of(start), tmp_path / "loop", toy)
    assert (ended.reason, ended.rounds, ended.model) == ("nothing to label", 0, "")


def test_frames_without_a_label_are_counted_and_left_out(start: str, tmp_path: Path) -> None:
    toy = Toy()
    toy.fails = {1}
    run_of(recipe_of(start, rounds=1), tmp_path / "loop", toy)
    (facts,) = rounds_in(tmp_path / "loop")
    assert (facts.asked, facts.labelled, facts.failed, facts.n_learn, facts.n_audit) == (4, 3, 1, 2, 1)


@pytest.mark.parametrize("broken", [0, 1])
def test_an_engine_that_labels_nothing_stops_the_loop_until_it_is_mended(
    start: str, tmp_path: Path, broken: int
) -> None:
    """That all calculations of a round fail says something of the engine, and nothing of the frames."""
    out, toy = tmp_path / "loop", Toy()
    recipe = recipe_of(start, rounds=2)
    if broken:
        run_of(recipe_of(start, rounds=1), out, toy)
    toy.fails = {0, 1, 2, 3}
    with pytest.raises(RunError, match=f"none of the 4 chosen frames of round {broken} got a label") as caught:
        run_of(recipe, out, toy, resume=bool(broken))
    assert [one.found for one in caught.value.causes] == ["did not converge"]
    assert len(rounds_in(out)) == broken and toy.calls["select begins"] == broken + 1
    toy.fails = set()
    ended = run_of(recipe, out, toy, resume=True)
    assert (ended.reason, ended.dft_frames) == ("rounds", 8) and toy.calls["select begins"] == 2


def test_an_engine_that_was_mended_computes_the_frames_that_failed(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures are in the store; without the second call the loop would read them back for ever."""
    asked: list[bool] = []

    def label(*_: Any, retry_failed: bool = False, **__: Any) -> Labelled:
        asked.append(retry_failed)
        failure = Failure(frame=0, where="frame 0", reason="it crashed", before=not retry_failed)
        return Labelled(
            engine="emt", engine_key="0", n_asked=1, n_labelled=int(retry_failed), n_from_store=0, n_computed=0,
            failures=() if retry_failed else (failure,), theory=None, seconds=1.0, calculation_s=1.0, store="",
        )  # fmt: skip

    monkeypatch.setattr(active_stages, "label", label)
    loop = Loop(recipe_of(start), tmp_path, Toy().stages(), lambda number, what: None, True)
    assert active_stages.label_frames(loop, 0).n_labelled == 1 and asked == [False, True]


def test_another_level_of_theory_than_the_training_frames_have_is_told_before_anything_is_computed(
    start: str, tmp_path: Path
) -> None:
    own = bulk("Cu", cubic=True)
    own.calc = SinglePointCalculator(own, energy=1.0, forces=np.zeros((4, 3)))
    write_frames(tmp_path / "own.extxyz", own)
    (tmp_path / "own.yaml").write_text("functional: PBE\ncutoff_eV: 500\n")
    engine = {"calculator": "emt", "theory": {"functional": "LDA", "cutoff_eV": 400}}
    recipe = recipe_of(start, train=[str(tmp_path / "own.extxyz")], engine=engine)
    with pytest.raises(DataError, match="another level of theory") as caught:
        active_stages.refuse_unusable_recipe(recipe)
    assert sorted(one.found.split(":")[0] for one in caught.value.causes) == ["cutoff", "functional"]
    same = {"calculator": "emt", "theory": {"functional": "PBE", "cutoff_eV": 500}}
    active_stages.refuse_unusable_recipe(recipe.model_copy(update={"engine": same}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Toy]:
    """A loop of two rounds that nothing disturbed."""
    folder, toy = tmp_path_factory.mktemp("whole"), Toy()
    write_frames(folder / "cu.cif", bulk("Cu", cubic=True))
    run_of(recipe_of(str(folder / "cu.cif"), rounds=2), folder / "loop", toy)
    return folder / "loop", toy


MOMENTS = [
    *((f"{stage} {moment}", k) for stage in ("sample", "select") for moment in ("begins", "ends") for k in (1, 2)),
    *(("label computes", k) for k in (1, 3, 6)),
    *((f"tune {moment}", 2) for moment in ("begins", "writes", "fits", "ends")),
    *(("label ends", 2), ("label begins", 1)),
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_loses_the_stage_in_flight_alone(
    start: str, tmp_path: Path, moment: tuple[str, int], whole: tuple[Path, Toy]
) -> None:
    undisturbed, expected = whole
    out, toy = tmp_path / "loop", Toy()
    toy.killed_at = moment
    with pytest.raises(Killed):
        run_of(recipe_of(start, rounds=2), out, toy)
    before = dict(toy.calls)
    toy.killed_at = None
    ended = run_of(recipe_of(start, rounds=2), out, toy, resume=True)
    assert ended == ENDED.read(undisturbed)
    assert len(toy.labelled) == len(set(toy.labelled)) == 8  # nothing is computed twice
    for name in ("chosen", "learn", "audit"):
        mine, theirs = (every_frame(folder, f"{name}.extxyz") for folder in (out, undisturbed))
        assert [one.positions.tolist() for one in mine] == [one.positions.tolist() for one in theirs]
    without_time = [
        [one.model_copy(update={"seconds": {}}) for one in rounds_in(folder)] for folder in (out, undisturbed)
    ]
    assert without_time[0] == without_time[1]
    stage = moment[0].split()[0]
    for name, count in toy.calls.items():  # every stage that had ended was read back
        again = 1 if name.startswith(stage) else 0
        assert count <= expected.calls[name] + again, (name, before)


def test_ten_kills_at_random_moments_change_nothing(start: str, tmp_path: Path, whole: tuple[Path, Toy]) -> None:
    """A killed process cleans up nothing: half-written files stay where they are."""
    out, rng = tmp_path / "loop", np.random.default_rng(0)

    def conduct(seconds: float | None) -> int:
        """Conduct the loop in a process of its own, killed after so many seconds; return how it ended."""
        if not (child := os.fork()):
            try:
                run_of(recipe_of(start, rounds=2), out, Toy(), resume=(out / "active.yaml").is_file())
            except BaseException:
                os._exit(1)
            os._exit(0)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        return os.waitpid(child, 0)[1]

    killed = [conduct(seconds) for seconds in rng.uniform(0, 0.04, 10)]
    assert killed.count(signal.SIGKILL) >= 5
    assert conduct(None) == 0
    assert ENDED.read(out) == ENDED.read(whole[0])
    for name in ("chosen", "learn", "audit"):
        mine, theirs = (every_frame(folder, f"{name}.extxyz") for folder in (out, whole[0]))
        assert [one.positions.tolist() for one in mine] == [one.positions.tolist() for one in theirs]
    facts = [[one.model_copy(update={"seconds": {}}) for one in rounds_in(folder)] for folder in (out, whole[0])]
    assert facts[0] == facts[1]


def test_a_loop_goes_on_with_a_larger_budget_and_with_nothing_else(start: str, tmp_path: Path) -> None:
    out = tmp_path / "loop"
    assert run_of(recipe_of(start, rounds=1), out).rounds == 1
    toy = Toy()
    ended = run_of(recipe_of(start, rounds=3), out, toy, resume=True)
    assert ended.rounds == 3 and len(toy.tuned) == 2
    with pytest.raises(RunError, match="changed since the run began: option seed"):
        run_of(recipe_of(start, rounds=3, seed=1), out, resume=True)
    Path(start).write_text(Path(start).read_text() + "\n")
    with pytest.raises(RunError, match="changed since the run began"):
        run_of(recipe_of(start, rounds=3), out, resume=True)
    with pytest.raises(OptionError, match="is not empty"):
        run_of(recipe_of(start), out)
    budget_only(["rounds=3", "stop.frames=9"])
    with pytest.raises(OptionError, match=r"select\.low cannot change"):
        budget_only(["rounds=3", "select.low=0.1"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"stop": {}}, "nothing says when the model is good enough"),
        ({"start": []}, "there is nothing to begin with"),
        ({"tune": {"train": "x.extxyz"}}, "train stands beside tune"),
        ({"tune": {"keys": {"energy": "e"}}}, "keys is not read in a loop"),
        ({"tune": {"strateg": 1}}, "unknown key 'strateg'"),
        ({"tune": {"strategy": {"name": "multihead"}}}, "a model of one head"),
        ({"tune": {"uncertainty": False}}, "without a gate"),
        ({"tune": {"foundation": "chgnett"}}, "did you mean 'chgnet'"),
        ({"sample": []}, "at least one block"),
        ({"sample": {"md": "nvt", "volumes": [0.9]}}, "volumes is not read"),
        ({"check": {"uses": "md:0-300K"}}, "temperatures cannot be read"),
        ({"check": {"uses": ["flying"]}}, "is no use"),
        ({"select": {"low": 3, "high": 1}}, "the window is empty"),
        ({"per_raund": 3}, "unknown key 'per_raund'"),
        ({"start": "absent.cif"}, "there is no such file"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_anything_is_computed(
    start: str, tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    import yaml

    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**recipe_of(start).model_dump(mode="json", exclude_none=True), **change}))
    toy = Toy()
    with pytest.raises((OptionError, DataError), match=expected):
        run_of(make_active_recipe(file), tmp_path / "loop", toy)
    assert not toy.calls and not (tmp_path / "loop").exists()


def test_a_recipe_is_a_file_then_items(start: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_of(start, check={"uses": "md:300-900K, elastic"}).to_yaml())
    recipe = make_active_recipe(file, ["stop.frames=40", "select.audit=0.3", "rounds=7"])
    assert (recipe.stop.frames, recipe.select.audit, recipe.rounds) == (40, 0.3, 7)
    assert recipe.check is not None and recipe.check.uses == ("md", "elastic")
    assert recipe.check.temperature_K == (300.0, 900.0)
    assert make_active_recipe(file) == recipe_of(start, check={"uses": "md:300-900K, elastic"})


def test_a_loop_that_is_under_way_is_reported(start: str, tmp_path: Path) -> None:
    out, toy = tmp_path / "loop", Toy()
    toy.fails, toy.killed_at = {1}, ("tune begins", 1)
    with pytest.raises(Killed):
        run_of(recipe_of(start), out, toy)
    write_active_report(out)
    said = (out / "report.md").read_text()
    assert "Under way: 0 rounds, 0 DFT frames." in said and "No round is done." in said
    assert "round 0, frame 1: did not converge" in said
    assert f"matgraft active --resume {out}" in said
    with pytest.raises(RunError, match="there is no such folder"):
        write_active_report(tmp_path / "absent")


def test_an_engine_may_have_other_workers_but_no_other_labels(start: str, tmp_path: Path) -> None:
    out, engine = tmp_path / "loop", tmp_path / "engine.yaml"
    engine.write_text("calculator: emt\nworkers: 1\n")
    run_of(recipe_of(start, engine=str(engine), rounds=1), out)
    engine.write_text("calculator: emt\nworkers: 2\n")
    assert run_of(recipe_of(start, engine=str(engine), rounds=2), out, resume=True).rounds == 2
    engine.write_text("calculator: lj\n")
    with pytest.raises(RunError, match="changed since the run began: the engine"):
        run_of(recipe_of(start, engine=str(engine), rounds=3), out, resume=True)


def test_findings_on_labels_stop_a_loop_until_they_are_allowed(start: str, tmp_path: Path) -> None:
    out, toy = tmp_path / "loop", Toy()
    whole_tune = toy.tune

    def blocked(recipe: Recipe, run: Path, quiet: bool) -> None:
        if "net-force" not in recipe.audit.allow:
            raise AuditError("1 finding(s) block training", options=[{"audit.allow": ["net-force"]}])
        whole_tune(recipe, run, quiet)

    toy.tune = blocked  # type: ignore[method-assign]
    with pytest.raises(AuditError, match="the labels of round 0: 1 finding") as error:
        run_of(recipe_of(start, rounds=1), out, toy)
    assert error.value.commands == (("matgraft", "active", "--resume", str(out), "tune.audit.allow=[net-force]"),)
    option = error.value.commands[0][-1]
    budget_only([option])
    ended = run_of(make_active_recipe(out / "active.yaml", [option]), out, toy, resume=True)
    assert ended.rounds == 1 and len(toy.labelled) == 4


def test_the_verb_tells_the_story_and_goes_on(
    start: str, tmp_path: Path, matgraft: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy, module = Toy(), importlib.import_module("matgraft.potentials.run.active")
    monkeypatch.setattr(module, "active", partial(active, stages=toy.stages()))
    file, out = tmp_path / "recipe.yaml", tmp_path / "loop"
    file.write_text(recipe_of(start).to_yaml())
    code, said, told = matgraft("active", file, "rounds=1", "--out", out)
    assert code == 1
    assert "Not converged after 1 round, 4 DFT frames: the rounds are spent" in " ".join(said.split())
    assert "round 0: sample" in told and "round 0: 4 DFT frames" in told
    assert f"matgraft active --resume {out} rounds=4" in said.replace("\n", "")
    code, said, told = matgraft("active", "--resume", out, "rounds=2", "--json")
    facts = json.loads(said)
    assert (code, told) == (1, "") and facts["ended"]["rounds"] == len(facts["rounds"]) == 2
    assert facts["selected"]["1"]["chosen"][0]["why"] == "audit"
    code, said, _ = matgraft("active", "--resume", out, "stop.forces_eV_per_A=0.2", "stop.on_target=1", "--quiet")
    assert code == 0 and "Converged after 2 rounds" in said
    (out / "report.html").unlink()
    code, said, _ = matgraft("report", out)
    assert code == 0 and said.strip() == str(out / "report.html")
    page = (out / "report.html").read_text()
    assert "What was sampled" in page and "md nvt 300 K" in page
    assert "Error against DFT frames" in page and "drawn at random, to score on" in page
    for wrong, expected in (
        (("active",), "0 recipes are named"),
        (("active", "--resume", out, "seed=3"), "seed cannot change"),
        (("active", file, "--resume", out), "is not read: --resume takes the run as it began"),
        (("active", file, "--out", out), "is not empty"),
        (("tune", "--resume", out), f"its models lie in {out}/rounds"),
    ):
        code, _, error = matgraft(*wrong)
        assert code == 2 and expected in error, error


def test_the_verdict_of_the_checks_is_part_of_the_goal(start: str, tmp_path: Path) -> None:
    from matgraft.potentials.active.stopping import lacking, reason_to_end

    recipe = recipe_of(start, check={"uses": "elastic"}, stop={})
    facts = RoundFacts(number=0, part="test", errors=Errors(n_frames=1), outcome=Outcome.BETTER, level="better")
    assert lacking(recipe, [facts]) == ("the checks for elastic: not run",)
    unfit = facts.model_copy(update={"fit_for": Outcome.NOT_FIT})
    assert reason_to_end(recipe, [unfit]) is None and "not fit" in lacking(recipe, [unfit])[0]
    assert reason_to_end(recipe, [unfit, facts.model_copy(update={"fit_for": Outcome.FIT})]) == "goal"


def test_two_blocks_of_sampling_have_their_own_seeds(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(active_stages, "sample", lambda model, question, settings, **_: seeds.append(settings.seed))
    recipe = recipe_of(start, sample=[{"md": "nvt", "steps": 10}, {"md": "nvt", "steps": 20}])
    loop = Loop(recipe, tmp_path, Toy().stages(), lambda number, what: None, True)
    for number in (0, 1):
        for block, settings in enumerate(recipe.sample):
            active_stages.sample_block(loop, number, block, settings)
    assert len(set(seeds)) == 4


def test_no_gain_asked_for_ends_no_loop_that_gets_worse(start: str, tmp_path: Path) -> None:
    ended = run_of(recipe_of(start, rounds=4), tmp_path / "loop", Toy(lambda n: 0.5 + 0.01 * n))
    assert (ended.reason, ended.rounds) == ("rounds", 4)


def test_frames_of_a_round_that_was_not_finished_are_counted_at_the_end(start: str, tmp_path: Path) -> None:
    toy = Toy()
    toy.audit, toy.learn = 4, 0
    ended = run_of(recipe_of(start), tmp_path / "loop", toy)
    assert (ended.reason, ended.rounds, ended.dft_frames) == ("nothing to label", 0, 4)


def test_a_loop_that_cannot_go_on_is_not_told_to(start: str, tmp_path: Path) -> None:
    out, toy = tmp_path / "loop", Toy()
    toy.audit, toy.learn = 4, 0
    run_of(recipe_of(start), out, toy)
    again = run_of(recipe_of(start), out, toy, resume=True)
    assert again.reason == "nothing to label"
    write_active_report(out)
    said = (out / "report.md").read_text()
    assert "Not converged after 0 rounds, 4 DFT frames" in said and "--resume" not in said
