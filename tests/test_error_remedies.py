"""What errors print as ``option:`` or ``command:`` is typed as printed, behind the command that failed, and must cure.

Cured means: the command comes to a later step, or fails of something else that it would have failed of anyway.
"""

from __future__ import annotations

import ast
import copy
import errno
import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.multiprocessing import ProcessExitedException

from matgraft.core.errors import DataError, ExtraError, MatgraftError, RunError
from matgraft.core.failures import failure_of
from matgraft.core.findings import Finding
from matgraft.core.machine import Memory
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.run_folder import BEGUN, Begun, open_run
from matgraft.core.training.execution import Execution
from matgraft.core.training.fit import fit
from matgraft.core.training.strategy import ParamGroup
from matgraft.formulas.settings import SETTINGS, TableRun, TableSettings
from matgraft.potentials.active.labelling.labelled import Failure
from matgraft.potentials.data.crowds import StructureBytes
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run import conduct, evaluation
from matgraft.potentials.run.active import _refuse_none_labelled
from matgraft.potentials.run.frames import Parts, read_parts
from matgraft.potentials.tuning import memory
from matgraft.potentials.tuning.judging import validation_errors
from matgraft.potentials.tuning.memory import bound_by_memory
from matgraft.potentials.tuning.replay import ReplaySettings, replay_frames
from matgraft.verbs.run import Run

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCE = REPOSITORY / "src/matgraft"
Call = Callable[..., tuple[int, str, str]]
NAME = "a file.extxyz"


class PassedError(MatgraftError):
    """Raised where a run would go on to predict and to fit."""

    exit_code = 77


def frames(n: int = 48) -> list[Atoms]:
    """Cells of two atoms, SiGe and Si by turns, of three trajectories, and of silicon alone in a fourth, with labels of any value."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        atoms = bulk("Si", "diamond", a=5.5)
        atoms.symbols[0] = "Ge" if i % 2 and i < 36 else "Si"
        atoms.positions += 0.1 * rng.standard_normal((2, 3))
        atoms.info |= {"trajectory": f"t{i // 12}", "kind": "cold" if i % 12 < 6 else "hot"}
        forces = rng.standard_normal((2, 3))
        forces -= forces.mean(axis=0)  # none is left over
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0, forces=forces, stress=0.01 * np.eye(3))
        made.append(atoms)
    return made


def plain(made: list[Atoms]) -> list[Atoms]:
    return made


def every(how: Callable[[Atoms], object]) -> Callable[[list[Atoms]], list[Atoms]]:
    return lambda made: [how(atoms) for atoms in made] and made


def renamed(atoms: Atoms, **names: str) -> None:
    for quantity, name in names.items():
        value = atoms.calc.results.pop(quantity)
        (atoms.arrays if quantity == "forces" else atoms.info)[name] = value


def without(atoms: Atoms, *quantities: str) -> None:
    for quantity in quantities:
        atoms.calc.results.pop(quantity)


def twice(atoms: Atoms) -> None:
    atoms.info["dft energy"] = 0.0
    atoms.info["REF_energy"] = -11.0


def with_moments(atoms: Atoms) -> None:
    atoms.calc.results["magmoms"] = np.array([1.0, -1.0])


def untagged(made: list[Atoms]) -> list[Atoms]:
    del made[3].info["kind"]
    return made


def with_cheap_energy(atoms: Atoms) -> None:
    atoms.info["their energy"] = -9.0


def with_lone_atoms(made: list[Atoms]) -> list[Atoms]:
    for symbol, energy in (("Si", -0.8), ("Ge", -0.7)):
        lone = Atoms(symbol, info={"config_type": "IsolatedAtom"})
        lone.calc = SinglePointCalculator(lone, energy=energy, forces=np.zeros((1, 3)))
        made.append(lone)
    return made


def one_trajectory(made: list[Atoms]) -> list[Atoms]:
    for atoms in made:
        atoms.info["trajectory"] = "t0"
    return made


# ruff: noqa: E501
TUNE: dict[str, list[tuple[Callable[[list[Atoms]], list[Atoms]], str]]] = {
    "potentials/data/heads.py:_levels": [(plain, "strategy.name=multihead")],
    "potentials/data/heads.py:_one_head": [(every(lambda a: a.info.update(same="x")), "strategy.name=multihead heads.by=same")],
    "potentials/data/heads.py:_values": [(untagged, "strategy.name=multihead heads.by=kind")],
    "potentials/recipe.py:_refuse_e0s": [(plain, "'E0s={14:-0.8, 32: -1}'"), (plain, "references.e0s=average")],
    "potentials/run/references.py:refuse_idle_references": [
        (plain, "'references.shift_eV={Si: 1, Ge: 1}'"),
        (plain, "'references.isolated_eV={Si: 1, Ge: 1}' references.mode=keep"),
    ],
    "potentials/run/correction.py:refuse_idle_delta": [(every(with_cheap_energy), "references.mode=delta")],
    "potentials/run/references.py:isolated_energies": [
        (plain, "references.mode=isolated"),
        (plain, "'references.isolated_eV={Si: 1}'"),
        (plain, "'references.isolated_eV={Si: 1, Ge: 1, O: 2}'"),
    ],
    "potentials/run/references.py:_refuse_contradiction": [(with_lone_atoms, "'references.isolated_eV={Si: 1}'")],
    "potentials/run/references.py:_of_isolated": [
        (plain, "'references.isolated_eV={Si: 1, Ge: 1}'"),
        (with_lone_atoms, "references.mode=isolated"),
    ],
    "potentials/data/reading/keys.py:parse": [(plain, "units.stress=GPa units.virial=eV")],
    "potentials/data/reading/keys.py:unmatched": [
        (every(lambda a: renamed(a, energy="my energy")), "'keys.energy=my energi'"),
        (every(lambda a: renamed(a, forces="their_gradient")), "keys.forces=their_gradiens"),
        (every(with_cheap_energy), "'delta.energy=their energi'"),
    ],
    "potentials/data/reading/labels.py:_ambiguous": [(every(twice), "")],
    "potentials/data/reading/labels.py:_per_area": [
        (plain, "units.stress=eV/A^2"),
        (every(lambda a: a.info.update(stress_unit="N/m")), ""),
    ],
    "potentials/data/reading/wishes.py:refuse_unmet": [(every(lambda a: without(a, "stress")), "units.stress=GPa shear=xz,yz,xy")],
    "potentials/data/reading/wishes.py:_nowhere": [
        (every(lambda a: renamed(a, energy="my total energy")), ""),
        (every(lambda a: renamed(a, forces="total_force")), ""),
        (every(lambda a: without(a, "forces")), ""),
        (every(lambda a: renamed(a, forces="gradient")), ""),
    ],
    "potentials/data/reading/labels.py:_unit": [
        (every(lambda a: a.info.update(energy_unit="nonsense")), ""),
        (every(lambda a: a.info.update(units="Hartree")), "units.stress=GPa"),
    ],
    "potentials/data/reading/stated.py:in_angstrom": [(every(lambda a: a.info.update(length_unit="parsec")), "")],
    "potentials/run/fitting.py:_refuse_idle_moments": [(every(with_moments), "strategy.name=feature loss.magmom=1")],
    "potentials/data/numbering.py:_by_file": [(plain, "audit.drop=[3]")],
    "potentials/data/splits/ways.py:_by_groups": [(one_trajectory, "split.by=trajectory")],
    "potentials/data/splits/ways.py:_by_tag": [(untagged, "split.by=kind split.test=0")],
    "potentials/data/splits/checks.py:check_options": [
        (plain, "split.validation=0.7 split.test=0.6"),
        (plain, "split.gap=2 split.by=random"),
        (plain, "split.by=element"),
        (plain, "split.element=Ge"),
    ],
    "potentials/data/splits/blocks.py:_cut": [(one_trajectory, "split.by=blocks split.gap=30")],
    "core/reads.py:refuse_unread": [
        (plain, "strategy.name=full ladder.rungs=[feature,full]"),
        (plain, "strategy.name=full loss.huber_delta.energy=0.1"),
    ],
    "potentials/run/frames.py:read_parts": [(plain, "audit.drop_test=[3]")],
    "potentials/tuning/ladder.py:make_rungs": [(plain, "strategy.name=ladder strategy.rank=2 ladder.rungs=[feature,full]")],
    "potentials/tuning/loss.py:weights": [(every(lambda a: without(a, "stress")), "loss.stress=1")],
    "potentials/tuning/replay.py:rehearses": [(plain, "strategy.name=replay replay.labels=file")],
    "potentials/recipe.py:heads_by": [(plain, "strategy.name=full heads.foundation=false")],
}  # fmt: skip
"""Where an error with options is raised on the way to a fit -> frames and words that raise it."""

HERE: dict[str, str] = {
    "verbs/run.py:__init__": "test_a_run_on_a_table_that_is_not_finished",
    "core/failures.py:failure_of": "test_a_full_disk",
    "core/unpack.py:refuse_archive": "test_an_archive",
    "core/failures.py:failures_told": "test_a_full_disk",
    "core/manifest.py:_changed": "test_a_file_that_was_changed",
    "cli/outputs.py:_checked": "test_a_file_in_a_folder_that_is_not_there",
    "potentials/run/active.py:_tune": "test_labels_of_a_loop_that_block",
    "potentials/run/active.py:_refuse_none_labelled": "test_an_engine_that_labels_nothing",
    "potentials/models/mace/potential.py:_chosen_head": "test_a_file_of_mace",
    "potentials/models/mace/pickles.py:_refuse_untrusted": "test_a_file_of_mace",
    "potentials/models/mace/potential.py:shipped": "test_a_foundation_that_is_not_here",
    "potentials/models/nequix/potential.py:shipped": "test_a_nequix_that_is_not_here",
    "core/fetch.py:_unreachable": "test_a_foundation_that_is_not_here",
    "formulas/domain/adaptation.py:choose_method": "test_a_target_far_from_the_source",
    "formulas/predictor/fitting.py:labels_of": "test_a_scale_that_does_not_exist",
    "formulas/predictor/together.py:shared_folds": "test_targets_that_share_no_folds",
    "core/training/loop.py:_launch_workers": "test_a_worker_that_dies",
    "potentials/tuning/loss.py:weigh_moments": "test_a_foundation_without_moments",
    "potentials/tuning/loss.py:refuse_stress_without_volume": "test_stress_without_a_cell",
    "formulas/registry.py:choose": "test_a_metric_of_another_encoder",
    "cli/table_settings.py:refuse_no_target_option": "test_a_table",
    "potentials/data/heads.py:require_heads": "test_what_stops_a_run_before_its_fit",  # the second step of potentials/data/heads.py:_values
    "potentials/data/pack.py:pack": "test_a_store",
    "potentials/run/coverage.py:refuse_pool": "test_a_pool_of_frames",
    "potentials/run/sample.py:_refuse_subject": "test_a_pool_of_frames",
    "potentials/active/sampling/work.py:parts": "test_a_pool_of_frames",
    "potentials/data/reading/asked.py:_asked": "test_units_that_no_file_states",
    "potentials/data/reading/read.py:_open_store": "test_a_store",
    "formulas/table/names.py:formula_column": "test_a_table",
    "formulas/table/faults.py:refuse": "test_tables_that_people_have",
    "formulas/table/columns.py:_agreed": "test_tables_that_people_have",
    "formulas/table/values.py:_refuse_open_words": "test_tables_that_people_have",
    "formulas/table/values.py:refuse_rare_classes": "test_tables_that_people_have",
    "formulas/table/workbook.py:_sheet": "test_tables_that_people_have",
    "core/errors.py:__init__": "test_an_extra",
    "formulas/few_shot/run.py:_only_column": "test_few_shots",
    "core/run_folder.py:refuse_full_folder": "test_a_full_folder",
    "core/run_folder.py:read": "test_a_run_that_is_not_finished",
    "formulas/pretraining/run.py:_refuse": "test_pretraining",
    "formulas/pretraining/tables.py:read_property_table": "test_pretraining",
    "potentials/run/evaluation.py:refuse_unfit": "test_broken_frames_to_evaluate",
    "potentials/run/side_by_side.py:_refuse_unlabelled": "test_frames_without_labels_to_evaluate",
    "potentials/run/frames.py:_too_large": "test_frames_too_large_for_the_memory",
    "potentials/run/frames.py:_refuse_to_keep": "test_frames_too_large_for_the_memory",
    "core/registry.py:model_folder": "test_a_run_that_is_not_finished",
    "core/registry.py:_no_model": "test_a_file_of_mace",
    "formulas/settings.py:refuse_prompt_class": "test_a_table",
    "formulas/report/pretraining.py:pretraining_report": "test_a_pretraining_that_is_not_finished",
    "potentials/tuning/replay.py:read_rehearsed": "test_frames_to_rehearse_without_labels",
    "potentials/tuning/replay.py:rehearsing_heads": "test_frames_of_another_functional_that_rehearse",
    "potentials/tuning/replay.py:_with_labels_of_file": "test_frames_to_rehearse_in_another_convention",
    "formulas/predict.py:open": "test_a_run_on_a_table_that_is_not_finished",
    "formulas/suggest/suggest.py:_target": "test_what_to_measure_next",
    "formulas/suggest/compositions.py:make": "test_what_to_measure_next",
    "formulas/suggest/compositions.py:_too_many": "test_what_to_measure_next",
}
"""Where it takes more than frames -> the test below that types what is printed."""


class Straight:
    """A loss that is no number for a weight above five; Adam's first step is as long as the rate."""

    def __init__(self) -> None:
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.training = [SimpleNamespace(n_atoms=1, n_edges=1)] * 4
        self.validation = self.training

    def losses(self, positions: Sequence[int], device: torch.device) -> Tensor:
        weight = self.module.weight.squeeze()
        return ((weight - 1) ** 2 * (torch.nan if weight > 5 else 1)).expand(len(positions))

    def validation_sums(self, positions: Sequence[int], device: torch.device) -> Tensor:
        return torch.ones(2, dtype=torch.float64)

    def validation_metrics(self, sums: Tensor) -> dict[str, float]:
        return {"validation_loss": 1.0}


def minimise(recipe: Recipe, parts: Parts, out: Path) -> None:
    objective = Straight()
    settings = recipe.fit.model_copy(
        update={"epochs": 3, "batch": 4, "clip": 0.0, "ema": 0.5, "rate": recipe.fit.rate or 0.1}
    )
    groups = [ParamGroup("all", dict(objective.module.named_parameters()))]
    fit(objective, objective.module, groups, settings, Execution(out / "checkpoints"))


def validate(recipe: Recipe, parts: Parts, out: Path) -> None:
    """The model knows no forces of the frames that are lost to it."""
    weights = recipe.loss.weights(parts.train)
    predictions = [
        {k: v * (np.nan if k == "forces" and "lost" in s.tags else 1) for k, v in s.labels.items()}
        for s in parts.validation
    ]
    validation_errors(parts.validation, predictions, weights, recipe.loss)


def step(recipe: Recipe, parts: Parts, out: Path) -> None:
    """What a step takes grows with the frame; the readout alone takes a tenth."""
    size = 1 if recipe.strategy.name == "feature" else 10
    sizes = [SimpleNamespace(n_atoms=s.n_atoms, n_edges=40 * s.n_atoms) for s in parts.train]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "saved_bytes", lambda objective, i: size * sizes[i].n_edges)
        patch.setattr(memory, "free_memory", lambda: SimpleNamespace(bytes=1e4, by="a test"))
        bound_by_memory(SimpleNamespace(train=parts.train, training=sizes), [], recipe.fit)


def nothing(recipe: Recipe, parts: Parts, out: Path) -> None:
    """What comes before the fit raises."""


def lost(made: list[Atoms]) -> list[Atoms]:
    """One frame of each trajectory, so that the validation frames hold one, whichever they are."""
    for atoms in made[3::12]:
        atoms.info["lost"] = True
    return made


def cold_without_energy(made: list[Atoms]) -> list[Atoms]:
    for atoms in made:
        if atoms.info["kind"] == "cold":
            without(atoms, "energy")
    return made


def spoilt(made: list[Atoms]) -> list[Atoms]:
    for i in (7, 20):
        made[i].calc.results["forces"][0] = np.nan
    return made


def with_a_large_one(made: list[Atoms]) -> list[Atoms]:
    made[30] = made[30].repeat(2)
    made[30].calc = SinglePointCalculator(made[30], energy=-80.0, forces=np.ones((16, 3)) - 1, stress=np.zeros((3, 3)))
    return made


Stage = Callable[[Recipe, Parts, Path], None]
IN_THE_RUN: dict[str, tuple[Callable[[list[Atoms]], list[Atoms]], str, Stage]] = {
    "core/audit.py:refuse_findings": (spoilt, "", nothing),
    "potentials/tuning/judging.py:_require_finite": (lost, "loss.stress=0", validate),
    "core/training/loop.py:_backward": (plain, "fit.rate=10", minimise),
    "potentials/tuning/memory.py:bound_by_memory": (with_a_large_one, "", step),
    "potentials/tuning/references.py:_residuals": (cold_without_energy, "'loss.groups={kind=hot: 0}'", nothing),
}  # fmt: skip
"""Where it is raised behind the foundation's predictions -> frames, words, and what of a fit raises it there."""


def sites() -> set[str]:
    """Return where the source raises an error with options or commands, ``file.py:function``."""
    found = set()

    def walk(node: ast.AST, file: str, function: str) -> None:
        for child in ast.iter_child_nodes(node):
            named = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            inner = child.name if named else function
            if isinstance(child, ast.Call) and {"options", "commands"} & {word.arg for word in child.keywords}:
                called = ast.unparse(child.func)
                if called.endswith("Error") or called == "super().__init__":
                    found.add(f"{file}:{inner}")
            walk(child, file, inner)

    for path in SOURCE.rglob("*.py"):
        walk(ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(SOURCE)), "")
    return found


def printed(text: str, kind: str = "option") -> list[str]:
    return [
        line.strip().removeprefix(f"{kind}: ") for line in text.splitlines() if line.strip().startswith(f"{kind}: ")
    ]


def must_cure(call: Call, *words: object, steps: int = 3) -> None:
    """Type each option that the error of a command prints, and those of the next error: in a few steps, none is left."""
    code, _, said = call(*words)
    assert code in (1, 2, 3, 5), f"no error: {code} {said}"
    found = said.splitlines()[0]
    assert printed(said), said
    for option in printed(said):
        again = [*words, *shlex.split(option)]
        after, _, text = call(*again)
        assert found not in text, f"{option} does not cure {text}"
        if after not in (0, PassedError.exit_code):
            assert steps > 1, text
            must_cure(call, *again, steps=steps - 1)


@pytest.fixture
def to_the_fit(monkeypatch: pytest.MonkeyPatch, chgnet: Potential) -> None:
    def passed(*_: object) -> None:
        raise PassedError("on to the fit")

    monkeypatch.setattr(conduct, "open_run", lambda *_, **__: nullcontext())
    monkeypatch.setattr(conduct, "write_text", lambda *_: None)
    monkeypatch.setattr(conduct, "PROVENANCE", SimpleNamespace(write=lambda *_: None))
    monkeypatch.setattr(conduct, "load_potential", lambda name: chgnet)
    monkeypatch.setattr(conduct, "predict_frames", passed)


@pytest.mark.usefixtures("to_the_fit")
@pytest.mark.parametrize(("site", "number"), [(site, k) for site, ways in TUNE.items() for k in range(len(ways))])
def test_what_stops_a_run_before_its_fit(site: str, number: int, matgraft: Call, tmp_path: Path) -> None:
    made, words = TUNE[site][number]
    write(tmp_path / NAME, made(frames()))
    files = [str(tmp_path / NAME)]
    if site in ("potentials/data/numbering.py:_by_file", "potentials/data/heads.py:_levels"):
        write(tmp_path / "other.extxyz", frames())
        files = [f"train=[{tmp_path / NAME}, {tmp_path / 'other.extxyz'}]"]
    must_cure(matgraft, "tune", *files, "--out", tmp_path / "run", "--quiet", *shlex.split(words))


@pytest.mark.usefixtures("to_the_fit")
def test_a_foundation_without_moments(
    matgraft: Call, tmp_path: Path, chgnet: Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy.copy(chgnet)
    other.quantities = {name: one for name, one in chgnet.quantities.items() if name != "magmom"}
    monkeypatch.setattr(conduct, "load_potential", lambda name: chgnet if name == "chgnet" else other)
    write(tmp_path / NAME, every(with_moments)(frames()))
    words = ["tune", tmp_path / NAME, "--from", "chgnet:r2scan", "--out", tmp_path / "run", "--quiet"]
    must_cure(matgraft, *words, "loss.magmom=1", "strategy.name=full")


@pytest.mark.usefixtures("to_the_fit")
def test_units_that_no_file_states(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    columns = {"Z": [a.numbers for a in made], "cell": [a.cell[:] for a in made], "R": [a.positions for a in made]}
    columns |= {"E": [a.calc.results["energy"] for a in made], "F": [a.calc.results["forces"] for a in made]}
    np.savez(tmp_path / "a set.npz", **columns, N=np.full(len(made), 2))
    must_cure(matgraft, "tune", tmp_path / "a set.npz", "--out", tmp_path / "run", "--quiet")


def test_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("frames.extxyz", frames())
    subprocess.run(["tar", "czf", "frames.tar.gz", "frames.extxyz"], check=True)
    Path("frames.extxyz").unlink()
    with pytest.raises(DataError, match="packed by tar") as told:
        read("frames.tar.gz")
    subprocess.run(told.value.commands[0], check=True)
    assert len(read("frames.extxyz")) == len(frames())


def test_every_error_that_prints_an_option_has_a_case() -> None:
    assert sites() == {*TUNE, *IN_THE_RUN, *HERE}
    assert set(HERE.values()) <= set(globals())


def test_no_sentence_holds_what_could_be_typed() -> None:
    """An option or a command inside a remedy's words would be tested by nothing."""
    typed = re.compile(r"\b[a-z]+\.[a-z]+=|(?:^|\s)-{1,2}[a-z-]+[ =]\S|\bmatgraft (?!does )[a-z]+ |pip install")
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                words = [word.value for word in node.keywords if word.arg == "remedy"]
                texts = [part.value for word in words for part in ast.walk(word) if isinstance(part, ast.Constant)]
                found += [f"{path.name}: {text}" for text in texts if isinstance(text, str) and typed.search(text)]
    assert found == []


@pytest.fixture
def to_a_stage(monkeypatch: pytest.MonkeyPatch, chgnet: Potential) -> Callable[[Stage], None]:
    """A run whose foundation agrees with every label, with one stage of a fit in the place of the fit.

    The command line, the reading, the audit and the split are the product's: what is typed goes their way to the stage.
    """
    passed = Finding(code="not-encodable", title="x", outcome="passed")
    monkeypatch.setattr(conduct, "load_potential", lambda name: chgnet)
    monkeypatch.setattr(conduct, "refuse_full_folder", lambda out: None)
    monkeypatch.setattr(
        "matgraft.potentials.run.frames.foundation_predictions",
        lambda p, frames, *_: ([s.labels for s in frames], passed, None),
    )

    def until(stage: Stage) -> None:
        def adapt(recipe: Recipe, _: object, parts: Parts, __: object, out: Path, *___: object) -> None:
            stage(recipe, parts, out)
            raise PassedError("on to what comes after")

        monkeypatch.setattr(conduct, "adapt_by_recipe", adapt)

    return until


@pytest.mark.parametrize("site", IN_THE_RUN)
def test_what_stops_a_run_later(site: str, matgraft: Call, tmp_path: Path, to_a_stage: Callable[[Stage], None]) -> None:
    change, words, stage = IN_THE_RUN[site]
    write(tmp_path / NAME, change(frames()))
    to_a_stage(stage)
    must_cure(matgraft, "tune", tmp_path / NAME, "--out", tmp_path / "run", "--quiet", *shlex.split(words))


def test_what_blocks_is_data_too(matgraft: Call, tmp_path: Path, to_a_stage: Callable[[Stage], None]) -> None:
    """Each finding has its options on lines of their own, and ``--json`` has them as data."""
    write(tmp_path / NAME, spoilt(frames()))
    to_a_stage(nothing)
    code, out, said = matgraft("tune", tmp_path / NAME, "--out", tmp_path / "run", "--json")
    assert (code, printed(said)) == (1, ["'audit.drop=[7,20]'", "'audit.allow=[non-finite]'"])
    error = json.loads(out)["error"]
    (cause,) = error["causes"]
    assert cause["found"].startswith("non-finite: ") and cause["options"] == [{"audit.drop": [7, 20]}]
    assert (error["kind"], error["options"]) == ("AuditError", [{"audit.allow": ["non-finite"]}])


def test_labels_of_a_loop_that_block(matgraft: Call, tmp_path: Path, to_a_stage: Callable[[Stage], None]) -> None:
    write(tmp_path / NAME, spoilt(frames()))
    loop = {
        "train": [str(tmp_path / NAME)],
        "tune": {"strategy": {"name": "full"}},
        "sample": {"md": "nvt"},
        "engine": {"calculator": "emt"},
        "stop": {"forces_eV_per_A": 0.1},
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(loop))
    to_a_stage(nothing)
    must_cure(matgraft, "active", tmp_path / "recipe.yaml", "--out", tmp_path / "run", "--quiet")


def test_an_engine_that_labels_nothing(matgraft: Call, tmp_path: Path) -> None:
    """tests/potentials/run/test_active.py resumes such a loop; here the command is typed as printed."""
    failure = Failure(frame=0, where="pool.extxyz frame 0", reason="did not converge", before=False, output="")
    labelled = SimpleNamespace(n_labelled=0, n_asked=1, failures=[failure], engine="engine.yaml")
    with pytest.raises(RunError) as caught:
        _refuse_none_labelled(SimpleNamespace(out=tmp_path / "a loop"), 0, labelled)
    (command,) = re.findall(r"^command: (.*)$", str(caught.value), re.MULTILINE)
    assert shlex.split(command) == ["matgraft", "active", "--resume", str(tmp_path / "a loop")]
    code, _, said = matgraft(*shlex.split(command)[1:])
    assert code in (3, 5) and "a loop" in said  # the command is one, and there is no such loop here


def test_a_worker_that_dies(
    matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_a_stage: Callable[[Stage], None]
) -> None:
    """tests/transfer/test_fit.py kills a worker; here its death is pretended, since the command is what is shown."""
    died = ["yes"]

    class Mortal(Fabric):
        def launch(self, *words: object) -> object:
            if died:
                raise ProcessExitedException("exit code -9", 0, 0, -9, died.pop())
            return None

    def fit_and_die(recipe: Recipe, parts: Parts, out: Path) -> None:
        if died:
            minimise(recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"processes": 2})}), parts, out)

    monkeypatch.setattr("lightning_fabric.Fabric", Mortal)
    write(tmp_path / NAME, frames())
    to_a_stage(fit_and_die)
    code, _, said = matgraft("tune", tmp_path / NAME, "--out", tmp_path / "my run", "--quiet")
    (command,) = printed(said, "command")
    assert (code, "a worker died" in said) == (5, True)
    assert matgraft(*shlex.split(command)[1:], "--quiet")[0] == PassedError.exit_code


@pytest.mark.usefixtures("to_the_fit")
def test_stress_without_a_cell(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files with such frames lose the label as they are read; frames that are made in Python keep it."""

    def as_in_python(recipe: Recipe) -> tuple[Dataset, Dataset]:
        train, test = read_parts(recipe)
        for sample in train:
            sample.content.cell = np.zeros((3, 3))
        return train, test

    write(tmp_path / NAME, frames())
    monkeypatch.setattr(conduct, "read_parts", as_in_python)
    must_cure(matgraft, "tune", tmp_path / NAME, "--out", tmp_path / "run", "--quiet")


def test_a_file_of_mace(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle is opened for its hash alone, and a model of two heads for one of them; no weights are needed for that."""
    mace = pytest.importorskip("matgraft.potentials.models.mace.potential", reason="needs mace-torch")

    def passed(*_: object) -> None:
        raise PassedError("on to the build")

    write(tmp_path / NAME, frames())
    with zipfile.ZipFile(tmp_path / "my model.model", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02cmace.modules.models\nScaleShiftMACE\n)\x81.")
    monkeypatch.setattr(mace.torch, "load", lambda *_, **__: SimpleNamespace(heads=["pbe d3", "scan"]))
    monkeypatch.setattr("matgraft.potentials.models.mace.pickles._refuse_other_models", lambda *_: None)
    monkeypatch.setattr("matgraft.potentials.models.mace.pickles.with_scale_shift", lambda vendor: vendor)
    monkeypatch.setattr(mace, "architecture_of", passed)
    words = ("tune", tmp_path / NAME, f"foundation={tmp_path / 'my model.model'}", "--out", tmp_path / "run")
    words += ("--quiet",)
    said = matgraft(*words)[2]
    assert "its backbone is not named" in said and len(printed(said)) == 1
    said = matgraft(*words, *shlex.split(printed(said)[0]))[2]
    assert "is a pickle" in said and len(printed(said)) == 1
    chosen = matgraft(*words, *shlex.split(printed(said)[0]))[2]
    assert "has 2 heads" in chosen and len(printed(chosen)) == 2
    must_cure(matgraft, *words)


def test_a_foundation_that_is_not_here(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first command fetches; the second, of a machine without a network, takes the file that was brought by hand."""
    mace = pytest.importorskip("matgraft.potentials.models.mace.potential", reason="needs mace-torch")
    content = b"what a server would send"
    address, digits = "https://example.invalid/small.model", hashlib.sha256(content).hexdigest()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(mace.MACE, "small", (address, digits))
    monkeypatch.setattr("matgraft.core.fetch.open_https", lambda *_: (_ for _ in ()).throw(OSError("no route to host")))
    write(tmp_path / NAME, frames())
    words = ("tune", tmp_path / NAME, "--from", "mace:small", "--out", tmp_path / "run", "--quiet")
    (fetching,) = printed(matgraft(*words)[2], "command")
    assert fetching == "matgraft fetch mace:small"
    (by_hand,) = printed(matgraft(*shlex.split(fetching)[1:])[2], "command")
    (tmp_path / "small.model").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert matgraft(*shlex.split(by_hand)[1:])[0] == 0
    assert "are not on this machine" not in matgraft(*words)[2]


def test_a_nequix_that_is_not_here(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of MACE; a file of another hash in its place is named, and the command fetches once it is moved away."""
    from matgraft.potentials.models import published

    content = b"what a server would send"
    digits = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(published, "NEQUIX_CACHE", tmp_path / "cache")
    monkeypatch.setitem(published.NEQUIX, "nequix-mp-1", ("https://example.invalid/nequix-mp-1.nqx", digits))
    monkeypatch.setattr("matgraft.core.fetch.open_https", lambda *_: (_ for _ in ()).throw(OSError("no route to host")))
    write(tmp_path / NAME, frames())
    words = ("tune", tmp_path / NAME, "--from", "nequix:nequix-mp-1", "--out", tmp_path / "run", "--quiet")
    (fetching,) = printed(matgraft(*words)[2], "command")
    assert fetching == "matgraft fetch nequix:nequix-mp-1"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "nequix-mp-1.nqx").write_bytes(b"another file")
    assert printed(matgraft(*words)[2], "command") == [fetching]
    (tmp_path / "cache" / "nequix-mp-1.nqx").unlink()
    (by_hand,) = printed(matgraft(*shlex.split(fetching)[1:])[2], "command")
    (tmp_path / "nequix-mp-1.nqx").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert matgraft(*shlex.split(by_hand)[1:])[0] == 0
    assert "are not on this machine" not in matgraft(*words)[2]


@pytest.mark.usefixtures("to_the_fit")
def test_a_full_folder(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / NAME, frames())
    (tmp_path / "my run").mkdir()
    (tmp_path / "my run/notes.txt").write_text("mine")
    words = ("tune", tmp_path / NAME, "--out", tmp_path / "my run", "--quiet")
    must_cure(matgraft, *words)
    assert printed(matgraft(*words)[2], "command") == [], "there is no run to go on with"
    (tmp_path / "my run/recipe.yaml").write_text(f"train: {tmp_path / NAME}\n")
    (command,) = printed(matgraft(*words)[2], "command")
    assert matgraft(*shlex.split(command)[1:], "--quiet")[0] == PassedError.exit_code


def test_a_run_that_is_not_finished(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "a run"
    run.mkdir()
    write(tmp_path / NAME, frames())
    (run / "recipe.yaml").write_text(f"train: {tmp_path / NAME}\n")
    resumed: list[Path] = []
    monkeypatch.setattr(
        "matgraft.potentials.run.resume_run", lambda out, **_: resumed.append(out) or run / "report.html"
    )
    finished = SimpleNamespace(exit_code=0)
    monkeypatch.setattr("matgraft.potentials.report.screen.run_facts", lambda *_: finished)
    monkeypatch.setattr("matgraft.potentials.report.screen.show_run", lambda *_: None)
    code, _, said = matgraft("evaluate", run, tmp_path / NAME)
    (command,) = printed(said, "command")
    assert (code, matgraft(*shlex.split(command)[1:])[0], resumed) == (3, 0, [run])


def test_a_run_on_a_table_that_is_not_finished(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, resumed = tmp_path / "a run", []
    run.mkdir()
    asked = TableRun(table=str(table(tmp_path / "my table.csv", OXIDES, gap=lambda i: i)), targets=("gap",))
    SETTINGS.write(run, TableSettings(run=asked, table_sha256=""))
    code, _, said = matgraft("predict", run, "NaCl")
    (command,) = printed(said, "command")
    BEGUN.write(run, Begun(kind="formulas", decides={}))
    with pytest.raises(RunError, match="not finished") as told:
        Run(run)
    assert printed(str(told.value), "command") == [command]
    monkeypatch.setattr("matgraft.formulas.tune.resume_table_run", lambda out, quiet: resumed.append(out))
    monkeypatch.setattr("matgraft.cli.both.end_table_run", lambda *_: sys.exit(0))
    assert (code, matgraft(*shlex.split(command)[1:])[0], resumed) == (5, 0, [run])


def test_a_full_disk(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, resumed = tmp_path / "a run", []
    asked = TableRun(table=str(table(tmp_path / "my table.csv", OXIDES, gap=lambda i: i)), targets=("gap",))
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(RunError) as told, open_run(run, Begun(kind="formulas", decides={}), resume=False):
        SETTINGS.write(run, TableSettings(run=asked, table_sha256=""))
        raise full
    (command,) = printed(str(told.value), "command")
    assert printed(str(failure_of(full, [shlex.split(command)])), "command") == [command]
    monkeypatch.setattr("matgraft.formulas.tune.resume_table_run", lambda out, quiet: resumed.append(out))
    monkeypatch.setattr("matgraft.cli.both.end_table_run", lambda *_: sys.exit(0))
    assert (matgraft(*shlex.split(command)[1:])[0], resumed) == (0, [run])


def test_a_file_that_was_changed(matgraft: Call, tmp_path: Path) -> None:
    run = tmp_path / "a run"
    asked = TableRun(table=str(table(tmp_path / "my table.csv", OXIDES, gap=lambda i: i)), targets=("gap",))
    with open_run(run, Begun(kind="formulas", decides={}), resume=False):
        SETTINGS.write(run, TableSettings(run=asked, table_sha256=""))
    path = run / SETTINGS.name
    path.write_text(path.read_text().replace("gap", "gas"))
    code, _, said = matgraft("predict", run, "NaCl")
    (command,) = printed(said, "command")
    assert code == 3
    code, shown, _ = matgraft(*shlex.split(command)[1:])
    assert code == 3 and SETTINGS.name in shown


def test_a_file_in_a_folder_that_is_not_there(matgraft: Call, tmp_path: Path) -> None:
    out = tmp_path / "a folder" / "out.csv"
    words = ("predict", tmp_path / "no run", "NaCl", "-o", out)
    code, _, said = matgraft(*words)
    (command,) = printed(said, "command")
    subprocess.run(shlex.split(command), check=True)
    assert code == 2 and out.parent.is_dir() and str(out) not in matgraft(*words)[2]


def test_a_store(matgraft: Call, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="stores need h5py")
    made = frames()
    for atoms in made:
        without(atoms, "forces")
    write(tmp_path / NAME, made)
    must_cure(matgraft, "pack", tmp_path / NAME, "want=[energy]", "-o", tmp_path / "some frames.txt", "--quiet")
    must_cure(matgraft, "pack", tmp_path / NAME, "want=[energy]", "-o", tmp_path / "some frames.h5", "--quiet")


def test_a_table(matgraft: Call, tmp_path: Path) -> None:
    rows = "".join(f"{name},{i}\n" for i, name in enumerate(["Si", "GaAs", "NaCl"]))
    (tmp_path / "t.csv").write_text("what it is,band gap\n" + rows)
    for words in ((), ("--formula", "what it is")):
        code, _, said = matgraft("tune", tmp_path / "t.csv", *words, "--out", tmp_path / "run")
        (option,) = printed(said)
        expected = ["--target", "band gap"] if words else ["--formula", "what it is"]
        assert (code, shlex.split(option)) == (2, expected)
    known = ["tune", tmp_path / "t.csv", *words, *expected, "--out", tmp_path / "run", "--quiet"]
    code, _, said = matgraft(*known, "--prompt-class", "what it is")
    assert (code, printed(said)) == (2, ["--strategy prompt"])
    assert "--prompt-class" not in matgraft(*known, "--prompt-class", "what it is", *shlex.split(printed(said)[0]))[2]
    code, _, said = matgraft(*known)
    assert (code, "3 rows with a value" in said) == (3, True), "three rows are too few, but both columns are found"


def test_a_pretraining_that_is_not_finished(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matgraft.formulas.pretraining.run import RUN, PretrainingRun
    from matgraft.formulas.pretraining.settings import PretrainSettings

    run, resumed = tmp_path / "a run", []
    run.mkdir()
    BEGUN.write(run, Begun(kind="pretraining", decides={}))
    RUN.write(run, PretrainingRun(corpus=tmp_path / "formulas.txt", properties=None, settings=PretrainSettings()))
    code, _, said = matgraft("report", run)
    (command,) = printed(said, "command")

    def resume(out: Path, **_: object) -> None:
        resumed.append(out)
        raise PassedError("on to the fit")

    monkeypatch.setattr("matgraft.formulas.pretraining.run.resume_pretraining", resume)
    assert (code, matgraft(*shlex.split(command)[1:])[0], resumed) == (5, PassedError.exit_code, [run])


@pytest.mark.usefixtures("to_the_fit")
def test_frames_of_another_functional_that_rehearse(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / NAME, frames())
    (tmp_path / NAME).with_suffix(".yaml").write_text("code: VASP\nfunctional: LDA\n")
    must_cure(matgraft, "tune", tmp_path / NAME, "--out", tmp_path / "run", "--quiet", "strategy.name=replay")


@pytest.mark.usefixtures("to_the_fit")
def test_frames_to_rehearse_without_labels(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / NAME, frames())
    write(tmp_path / "b.extxyz", every(lambda a: without(a, "energy", "forces"))(frames(6)))
    words = ["strategy.name=replay", f"replay.file={tmp_path / 'b.extxyz'}", "replay.labels=file"]
    must_cure(matgraft, "tune", tmp_path / NAME, "--out", tmp_path / "run", "--quiet", *words)


def test_frames_to_rehearse_in_another_convention(tmp_path: Path, chgnet: Potential, pairs: Dataset) -> None:
    write(tmp_path / NAME, every(lambda a: a.calc.results.update(energy=-40.0))(frames(6)))
    settings = ReplaySettings(file=str(tmp_path / NAME), labels="file")
    with pytest.raises(MatgraftError) as refused:
        replay_frames(chgnet, pairs, settings)
    (option,) = printed(str(refused.value))
    key, _, value = option.partition("=")
    assert (key, len(replay_frames(chgnet, pairs, settings.model_copy(update={"labels": value})))) == (
        "replay.labels",
        6,
    )


def test_a_pool_of_frames(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("soft.py").write_text(
        "from ase.calculators.emt import EMT\n\nclass Soft(EMT):\n"
        "    implemented_properties = ['energy', 'forces']\n\ndef copper():\n    return Soft()\n"
    )
    write("a structure.xyz", bulk("Cu", cubic=True), format="extxyz")
    words = (
        "sample",
        "soft:copper",
        "--structure",
        "a structure.xyz",
        "--workers",
        1,
        "--steps",
        1,
        "atoms=4",
        "--quiet",
    )
    must_cure(matgraft, *words, "--md", "nvt", "-o", "a pool.h5")
    must_cure(matgraft, *words, "--md", "nvt", "-o", "a pool.extxyz")  # which is there now
    must_cure(matgraft, *words, "--md", "npt", "-o", "another pool.extxyz")
    Path("pool.extxyz.parts").mkdir()
    Path("pool.extxyz.parts/began.json").write_text("{}")
    must_cure(matgraft, *words, "--md", "nvt", "-o", "pool.extxyz")


def test_few_shots(matgraft: Call, tmp_path: Path) -> None:
    rows = "".join(
        f"{name},{i % 2},{'ab'[i % 2]}\n" for i, name in enumerate(["Si", "GaAs", "NaCl", "KCl", "Ge", "MgO"])
    )
    (tmp_path / "support.csv").write_text("formula,is it,a class\n" + rows)
    (tmp_path / "queries.csv").write_text("formula\nAlN\n")
    must_cure(matgraft, "fewshot", tmp_path / "support.csv", tmp_path / "queries.csv", "--quiet")


@pytest.mark.parametrize(
    "words",
    [
        ("--elements", "Fe,O"),
        ("--target", "gap", "--elements", "Fe,Ni,Cr"),
        ("--target", "gap", "--elements", "Li,Na,K,Mg,Ca,Fe,Mn,Co,O,S", "--most-elements", 7),
    ],
)
def test_what_to_measure_next(words: tuple[object, ...], matgraft: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from matgraft.formulas.predictor.store import TargetNames

    def passed(*_: object) -> None:
        raise PassedError("on to the candidates")

    names = {name: TargetNames(target=name) for name in ("gap", "band width")}
    model = SimpleNamespace(folder="runs/two", targets=tuple(names), names=names, shared=lambda *_: None)
    monkeypatch.setattr("matgraft.formulas.suggest.suggest.PropertyModel.open", lambda _: model)
    monkeypatch.setattr("matgraft.formulas.suggest.candidates._formulas", passed)
    must_cure(matgraft, "suggest", "runs/two", "--maximise", *words)


def of_another_encoder(folder: Path, name: str, to: Path) -> Path:
    shutil.copytree(folder, to)
    card = json.loads((to / name).read_text())
    (to / name).write_text(json.dumps(card | {"encoder_sha256": "0" * 64}))
    return to


def test_a_metric_of_another_encoder(matgraft: Call, tmp_path: Path) -> None:
    from matgraft.formulas.few_shot import metric

    rows = "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(["Si", "GaAs", "NaCl", "KCl", "Ge", "MgO"]))
    (tmp_path / "support.csv").write_text("formula,class\n" + rows)
    (tmp_path / "queries.csv").write_text("formula\nAlN\n")
    folder = of_another_encoder(metric.SHIPPED, metric.CARD.name, tmp_path / "a metric")
    tables = (tmp_path / "support.csv", tmp_path / "queries.csv")
    must_cure(matgraft, "fewshot", *tables, "--target", "class", "--metric", folder, "--quiet")


ELEMENTS = [
    "Li",
    "Be",
    "Na",
    "Mg",
    "Al",
    "K",
    "Ca",
    "Sc",
    "Ti",
    "V",
    "Cr",
    "Mn",
    "Fe",
    "Co",
    "Ni",
    "Cu",
    "Zn",
    "Ga",
    "Ge",
    "Rb",
]
OXIDES = [f"{metal}{other}" for other in ("O", "O2", "S") for metal in ELEMENTS]


def table(file: Path, formulas: Sequence[str], **columns: Callable[[int], object]) -> Path:
    lines = [",".join([formula, *(str(of(i)) for of in columns.values())]) for i, formula in enumerate(formulas)]
    file.write_text("\n".join([",".join(["formula", *columns]), *lines]) + "\n")
    return file


@pytest.fixture
def to_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on a table goes on until its formulas would be encoded."""

    def passed(*_: object, **__: object) -> None:
        raise PassedError("on to the encoder")

    monkeypatch.setattr("matgraft.formulas.predictor.predictor.Inputs.of", passed)
    monkeypatch.setattr("matgraft.formulas.tune.open_run", lambda *_, **__: nullcontext())
    for name in ("SETTINGS", "AUDIT", "READINGS"):
        monkeypatch.setattr(f"matgraft.formulas.tune.{name}", SimpleNamespace(write=lambda *_: None))
    monkeypatch.setattr("matgraft.formulas.tune.write_skipped", lambda *_: None)
    monkeypatch.setattr("matgraft.formulas.tune.save_folder", lambda *_: None)


@pytest.mark.usefixtures("to_the_inputs")
def test_a_scale_that_does_not_exist(matgraft: Call, tmp_path: Path) -> None:
    file = table(tmp_path / "my table.csv", OXIDES, gap=lambda i: i - 5)
    must_cure(matgraft, "tune", file, "--target", "gap", "scale=log", "--out", tmp_path / "run", "--quiet")


@pytest.mark.usefixtures("to_the_inputs")
def test_tables_that_people_have(matgraft: Call, tmp_path: Path) -> None:
    """Bad cells, uncertainties, alloys, open words, rare classes, elements without a basis, several sheets."""
    n = len(OXIDES)
    words = {
        "bad": ("--target", "gap"), "stated": ("--target", "gap"), "open": ("--target", "kind"),
        "rare": ("--target", "kind"),
    }  # fmt: skip
    table(tmp_path / "bad.csv", OXIDES, gap=lambda i: "<0.1" if i == 3 else 0.1 + i / n)
    table(tmp_path / "stated.csv", OXIDES, gap=lambda i: f"{0.1 + i / n}±{0.01 + i / n / 10}")
    table(tmp_path / "open.csv", OXIDES, kind=lambda i: ("none", "AFM", "FM")[i % 3])
    table(tmp_path / "rare.csv", OXIDES, kind=lambda i: "lone" if i == 3 else ("AFM", "FM")[i % 2])
    for name, named in words.items():
        must_cure(matgraft, "tune", tmp_path / f"{name}.csv", *named, "--out", tmp_path / "run", "--quiet")
    rows = [f"{60 + i / 10:.1f},{20 - i / 10:.1f},20,{300 + 7 * i}" for i in range(40)]
    (tmp_path / "steels.csv").write_text("\n".join(["Fe,Cr,Ni,strength", *rows]))
    (tmp_path / "alloys.csv").write_text(
        "\n".join(["alloy,strength", *(f"Ti-{i / 10}Al-4V,{300 + 7 * i}" for i in range(1, 60))])
    )
    for name in ("steels.csv", "alloys.csv"):
        must_cure(matgraft, "tune", tmp_path / name, "--target", "strength", "--out", tmp_path / "run", "--quiet")
    frame = pd.DataFrame({"formula": OXIDES, "gap": [0.1 + i / n for i in range(n)]})
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        for sheet in ("measured", "my other sheet"):
            frame.to_excel(book, sheet_name=sheet, index=False)
    must_cure(matgraft, "tune", tmp_path / "book.xlsx", "--target", "gap", "--out", tmp_path / "run", "--quiet")


@pytest.mark.usefixtures("to_the_inputs")
def test_targets_that_share_no_folds(matgraft: Call, tmp_path: Path) -> None:
    """Twelve rows of the second target are of ten laboratories, which no draw puts into ten folds one by one."""
    file = table(
        tmp_path / "t.csv",
        OXIDES,
        a=lambda i: i,
        b=lambda i: i if i > 47 else "",
        lab=lambda i: f"l{min(i, 48 + i % 10)}",
    )
    words = ("--target", "a", "--target", "b", "--group", "lab", "--strategy", "prompt", "inner_folds=10")
    must_cure(matgraft, "tune", file, *words, "--out", tmp_path / "run", "--quiet")


@pytest.mark.usefixtures("to_the_inputs")
def test_prompts_of_another_encoder(matgraft: Call, tmp_path: Path) -> None:
    from matgraft.formulas.prompts import bank as prompt_bank

    folder = of_another_encoder(prompt_bank.SHIPPED, prompt_bank.CARD.name, tmp_path / "a bank")
    file = table(tmp_path / "t.csv", OXIDES, gap=lambda i: i)
    words = ("--target", "gap", "--strategy", "prompt", f"prompt.bank={folder}")
    must_cure(matgraft, "tune", file, *words, "--out", tmp_path / "run", "--quiet")


def test_a_target_far_from_the_source(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def passed(*_: object) -> None:
        raise PassedError("on to the trial")

    monkeypatch.setattr("matgraft.formulas.domain.adaptation._Trial.of", passed)
    file = table(tmp_path / "t.csv", [*OXIDES, "WPt"], gap=lambda i: i)
    far = table(tmp_path / "far.csv", [f"{a}{b}" for a in ("W", "Re", "Os", "Ir") for b in ("Pt", "Au", "Hg", "Pb")])
    words = ("--target", "gap", "--strategy", "domain", "--adapt-to", far, "domain.method=weights", "domain.clip=1e6")
    must_cure(matgraft, "tune", file, *words, "--out", tmp_path / "run", "--quiet")


def test_an_extra() -> None:
    (line,) = printed(str(ExtraError("mace", "mace")), "command")
    done = subprocess.run(
        ["bash", "-c", f"pip() {{ printf '%s\n' \"$@\"; }}; {line}"], capture_output=True, text=True, check=True
    )
    install, what = done.stdout.splitlines()
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert install == "install" and what.removeprefix("matgraft[").removesuffix("]") in extras
    raised = re.findall(r'ExtraError\("[^"]+", "([^"]+)"\)', "".join(p.read_text() for p in SOURCE.rglob("*.py")))
    assert set(raised) <= set(extras)


def test_pretraining(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matgraft.formulas.pretraining.tables import read_property_table

    def passed(*_: object, **__: object) -> None:
        raise PassedError("on to the fit")

    (tmp_path / "formulas.txt").write_text("Si\nGe\n")
    monkeypatch.setattr("matgraft.formulas.pretraining.run._conduct", passed)
    must_cure(matgraft, "pretrain", tmp_path / "formulas.txt", "--out", tmp_path / "run", "--quiet")
    (tmp_path / "long.csv").write_text("property,formula,target\ngap,Si,1.1\n")
    with pytest.raises(MatgraftError) as refused:
        read_property_table(tmp_path / "long.csv", "in_matbench_task")
    assert printed(str(refused.value)) == ["exclude=null"]
    assert len(read_property_table(tmp_path / "long.csv", None)) == 1


def test_broken_frames_to_evaluate(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused before a model is loaded."""
    made = frames(9)
    made[4].calc.results["forces"][0, 0] = np.nan
    write(tmp_path / NAME, made)
    (tmp_path / "recipe.yaml").write_text(f"train: {tmp_path / NAME}\n")

    def passed(*_: object, **__: object) -> None:
        raise PassedError("on to the models")

    monkeypatch.setattr(evaluation, "refuse_unknown", lambda name: None)
    monkeypatch.setattr(evaluation, "load_potential", passed)
    must_cure(matgraft, "evaluate", tmp_path, tmp_path / NAME)


def test_frames_without_labels_to_evaluate(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that is printed predicts them instead."""

    def passed(*_: object, **__: object) -> None:
        raise PassedError("on to the model")

    bare = [bulk("Si")]
    write(tmp_path / NAME, bare)
    code, _, said = matgraft("evaluate", "chgnet", tmp_path / NAME)
    (command,) = printed(said, "command")
    monkeypatch.setattr("matgraft.potentials.run.several.load_potential", passed)
    assert (code, matgraft(*shlex.split(command)[1:])[0]) == (3, PassedError.exit_code)


def test_frames_too_large_for_the_memory(matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def passed(*_: object, **__: object) -> None:
        raise PassedError("on to the graphs")

    write(tmp_path / NAME, with_a_large_one(frames()))
    card = SimpleNamespace(elements=("Si", "Ge"), name="x", cutoff_A=6.0, theory=LevelOfTheory())
    monkeypatch.setattr(
        conduct, "load_potential", lambda name: SimpleNamespace(card=card, cost=StructureBytes(6.0, 16_000))
    )
    monkeypatch.setattr("matgraft.potentials.run.frames.encode_what_can_be", passed)
    monkeypatch.setattr("matgraft.potentials.run.frames.free_memory", lambda: Memory(12 * 10**6, "the job"))
    must_cure(matgraft, "audit", tmp_path / NAME, "--quiet")
    monkeypatch.setattr("matgraft.potentials.run.frames.available_memory", lambda: Memory(1000, "the job"))
    (command,) = printed(matgraft("audit", tmp_path / NAME, "--quiet")[2], "command")
    assert shlex.split(command)[:2] == ["matgraft", "pack"]


@pytest.mark.usefixtures("to_the_fit")
def test_a_test_file_need_not_have_every_label_that_is_spoken_of(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / "train.extxyz", frames())
    write(tmp_path / "test.extxyz", every(lambda a: without(a, "stress"))(frames(6)))
    words = ("tune", tmp_path / "train.extxyz", "--test", tmp_path / "test.extxyz", "--out", tmp_path / "run")
    for said in ("units.stress=GPa", "shear=xz,yz,xy", "keys.stress=stress"):
        assert matgraft(*words, said, "--quiet")[0] == PassedError.exit_code


def test_options_of_two_findings_add_up() -> None:
    from matgraft.potentials.recipe import make_recipe

    recipe = make_recipe(
        None,
        ["train=a", "audit.drop=[3,7-9]", "audit.drop=[5, 8]", "shear={a=b: 'xz,yz,xy'}", "shear={a=c: 'xy,xz,yz'}"],
    )
    assert (recipe.audit.drop, len(recipe.shear or ())) == ((3, 7, 8, 9, 5), 2)
    recipe = make_recipe(None, ["train=[a, b]", "audit.drop={a: [1]}", "audit.drop={b: [2], a: [4-6]}"])
    assert recipe.audit.drop == {"a": (1, 4, 5, 6), "b": (2,)}
    assert make_recipe(None, ["train=a", "audit.drop=[3]", "audit.drop=null"]).audit.drop == ()
