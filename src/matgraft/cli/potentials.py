"""The verbs of frames: audit, check, pack, export; and what those of both wings do with frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from matgraft.cli.common import data_and_options, is_recipe, settings_of, tell
from matgraft.cli.options import CheckOptions, ExecutorFile, Json, PredictionDevice, Quiet, Shown
from matgraft.cli.outputs import folder_to_make, new_file_and_folder
from matgraft.core.errors import OptionError
from matgraft.core.targets import is_stream
from matgraft.core.unpack import PACKED

if TYPE_CHECKING:
    from matgraft.core.findings import Finding
    from matgraft.potentials.checks.settings import CheckSettings
    from matgraft.potentials.recipe import Recipe


def audit_frames(frames: str | None, options: list[str] | None, foundation: str | None, shown: Shown) -> NoReturn:
    """Look for trouble in the labels of frames before any training; exit with 1 when a finding blocks."""
    from matgraft.core.report.screen import show_audit
    from matgraft.potentials.report.screen import frames_audited
    from matgraft.potentials.run import audit_file

    asked = recipe_of("audit", frames, options, foundation=foundation)
    recipe, _ = asked.named()
    idle = asked.unread("audit")
    notes = [f"of the recipe `matgraft audit` does not read {', '.join(idle)}"] if idle else []
    silent = shown.silent
    facts = frames_audited(*audit_file(recipe, quiet=silent, tell=tell_first(silent)), recipe.audit.allow, notes)
    tell(facts, show_audit, shown.as_json)
    raise typer.Exit(1 if facts.blocking else 0)


def check_command(
    model: Annotated[
        str,
        typer.Argument(help="a run, a foundation, a vendor's file, or module:function that makes an ASE calculator"),
    ],
    options: Annotated[list[str] | None, typer.Argument(help="key=value, such as gates.foundation=2, seeds=4")] = None,
    *,
    asked: CheckOptions,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="folder; default: physics/ in the run", callback=folder_to_make)
    ] = None,
    executor: ExecutorFile = None,
    device: PredictionDevice = None,  # chosen as it is read
    shown: Shown,
) -> None:
    """Hold a model against physics: relaxation, elasticity, phonons, dynamics, defects, surfaces.

    Exit with 1 where it is not fit for what was asked, with 6 where that could not be judged.
    """
    from matgraft.core.executor import read_executor
    from matgraft.core.registry import part_head
    from matgraft.core.run_folder import kind_of
    from matgraft.potentials.report.physics import show_physics, write_physics
    from matgraft.potentials.report.run import write_report
    from matgraft.potentials.run import CheckQuestion, check

    refuse_device(model, device)
    where = read_executor(executor) if executor else None
    question = CheckQuestion(asked.structure or (), asked.against, asked.frames or (), asked.reference, out, where)
    checked = check(model, question, check_settings(asked, options), quiet=shown.silent)
    write_physics(checked)
    folder, _ = part_head(model)
    if kind_of(folder) == "frames" and out is None:  # the run's own report has them too
        write_report(folder)
    tell(checked, show_physics, shown.as_json)
    raise typer.Exit(checked.verdict.exit_code)


def refuse_device(model: str, device: str | None) -> None:
    """Raise an OptionError where a device is chosen for a calculator that matgraft does not place."""
    from matgraft.potentials.simulation.loading import is_calculator

    if device is not None and is_calculator(model):
        raise OptionError(
            f"--device is not read: {model} makes a calculator of your own", remedy="choose its device where it is made"
        )


def check_settings(asked: CheckOptions, options: list[str] | None) -> CheckSettings:
    """Return the settings that the options of a command make; those typed as flags count."""
    from matgraft.core.settings import validated
    from matgraft.potentials.checks.settings import CheckSettings, uses_of

    if asked.suite and (asked.uses or asked.only):
        raise OptionError(
            f"--suite is not read with {'--for' if asked.uses else '--only'}", remedy="leave one of them out"
        )
    flags = {"suite": asked.suite, "only": asked.only}
    given = {name: value for name, value in flags.items() if value} | uses_of(asked.uses or ())
    typed = settings_of(CheckSettings, options).model_dump()
    return validated(CheckSettings, {**typed, **({name: value for name, value in given.items() if value})})


def pack_command(
    what: Annotated[list[str], typer.Argument(help="files and folders of frames, and key=value of how to read them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="store, new: frames.h5", callback=new_file_and_folder)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put frames of any format into one store on disk, to train on more of them than fit into memory."""
    from matgraft.potentials.data.pack import pack

    options = [word for word in what if "=" in word and not Path(word).exists()]
    sources = [word for word in what if word not in options]
    recipe = reading_of(options, sources)
    count = pack(sources, out, **recipe.reading, progress=not (quiet or as_json))
    size = None if is_stream(out) else out.stat().st_size
    facts = {"store": str(out), "n_frames": count, "bytes": size}
    said = "" if size is None else f", {size / 2**20:.1f} MiB"
    tell(facts, lambda *_: print(f"{out}: {count} frames{said}"), as_json, indent=None)


_PLAIN = (".csv", ".tsv")
TABLES = (*_PLAIN, *(f"{one}{packed}" for one in _PLAIN for packed in PACKED), ".xlsx", ".xlsm")
"""Endings that no file of structures has."""


def evaluate_frames(words: Sequence[str], page: Path | None, as_json: bool, silent: bool) -> None:
    """Score models on frames, as the words of a command name them, and tell it."""
    from matgraft.core.registry import part_head
    from matgraft.core.run_folder import kind_of
    from matgraft.potentials.report import evaluations as said
    from matgraft.potentials.run import evaluate_models, evaluate_run

    models, files, options = models_and_files("evaluate", words)
    if page is not None:
        said.refuse_other_page(page)
    if len(models) == 1 and kind_of(part_head(models[0])[0]):
        judged = evaluate_run(Path(models[0]), files, options, quiet=silent)
        if page is not None:
            said.write_page(said.evaluation_document(judged), page)
        tell(judged, said.show_evaluation, as_json)
        return
    scored = evaluate_models(models, files, options, quiet=silent)
    if page is not None:
        said.write_page(said.side_by_side_document(scored), page)
    tell(scored, said.show_side_by_side, as_json)


def tell_predictions(words: Sequence[str], out: Path | None, as_json: bool, silent: bool) -> None:
    """Predict structures with models, as the words of a command name them, and tell it."""
    from matgraft.potentials.report.predictions import show_structures
    from matgraft.potentials.run import predict_structures

    models, files, options = models_and_files("predict", words)
    tell(predict_structures(models, files, out, options, quiet=silent), show_structures, as_json)


def predicts_structures(word: str) -> bool:
    """Say whether a word names a potential, or what is nearly the name of one; else it is a predictor of formulas."""
    from matgraft.core.errors import nearest
    from matgraft.core.run_folder import kind_of

    if kind_of(Path(word)) == "formulas":  # said by a file, before the vendors' registry is imported
        return False
    from matgraft.potentials.models.registry import POTENTIALS, is_potential

    return is_potential(word) or bool(not Path(word).exists() and "/" not in word and nearest(word, POTENTIALS))


def models_and_files(verb: str, words: Sequence[str]) -> tuple[list[str], list[Path], list[str]]:
    """Part the words of a command into models, files of frames and ``key=value`` items.

    The first word is a model, and each further one that names a model; the last one is not.

    Raises
    ------
    OptionError
        If no frames are named, or a word that is no file looks like a model and is none.
    """
    from matgraft.potentials.models.registry import names_model, refuse_unknown

    options = [one for one in words if "=" in one and not Path(one).exists() and not names_model(one)]
    names = [one for one in words if one not in options]
    models = [one for i, one in enumerate(names) if i == 0 or names_model(one)]
    files = [Path(one) for one in names[1:] if one not in models]
    if not files:
        raise OptionError(
            f"{' '.join(names) or 'nothing'}: no file of frames is named",
            allowed=[f"matgraft {verb} MODEL [MODEL ...] FRAMES [FRAMES ...] [key=value ...]"],
        )
    for file in files:
        if str(file).lower().endswith(TABLES):
            raise OptionError(
                f"{file} is a table, and {models[0]} reads structures",
                allowed=["files of structures; tables go with a run on a table of formulas"],
            )
    for file in files[:-1]:
        if not file.exists() and (":" in str(file) or not file.suffix):
            refuse_unknown(str(file))
    return models, files, options


def tell_first(silent: bool) -> Callable[[Sequence[Finding]], None] | None:
    """Return what prints the findings that need no foundation while it is being asked: on standard error."""
    if silent:
        return None
    from matgraft.potentials.report.screen import show_first

    return partial(show_first, Console(stderr=True))


def end_run(run: Path, report: Path, as_json: bool) -> NoReturn:
    """Tell what came of a finished run, and leave with the exit code of its verdict."""
    from matgraft.potentials.report.screen import run_facts, show_run

    facts = run_facts(run, report)
    tell(facts, show_run, as_json)
    raise typer.Exit(facts.exit_code)


def recipe_of(verb: str, frames: str | None, options: list[str] | None, **given: Any) -> Any:
    """Return the recipe that the words of a command make."""
    from matgraft.potentials.recipe import make_recipe

    frames, words = data_and_options(frames, options)
    files = [word for word in words if is_recipe(word)]
    if len(files) > 1:
        raise OptionError(f"several recipes: {', '.join(files)}", allowed=["one recipe.yaml, then key=value"])
    rest = [word for word in words if word not in files]
    return make_recipe(Path(files[0]) if files else None, rest, verb=verb, train=frames, **given)


def purpose_lines(recipe: Recipe) -> list[str]:
    """Say which keys the recipe's purpose sets; none where it has no purpose."""
    from matgraft.potentials.tuning.purposes import PURPOSES

    if recipe.purpose is None:
        return []
    purpose = PURPOSES[recipe.purpose]
    keys = [f"loss.{name}={weight:g}" for name, weight in purpose.weights.items() if getattr(recipe.loss, name) is None]
    sets = f"sets {', '.join(keys)} where frames have the label" if keys else "sets no key: each was given"
    return [f"--for {purpose.name} ({purpose.use}) {sets}; give one to keep your own"]


def reading_of(options: list[str], sources: list[str]) -> Recipe:
    """Return a recipe of how files are read."""
    from matgraft.potentials.recipe import make_recipe

    recipe = make_recipe(None, options, verb="pack", train=" ".join(sources))
    if isinstance(recipe.shear, dict):
        raise OptionError(
            "the shear of groups of frames is corrected when they are trained on", allowed=["shear=xz,yz,xy"]
        )
    return recipe
