"""The verbs of active learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from matgraft.cli import completion
from matgraft.cli.common import next_run, refuse_beside_resume, seeded, settings_of, tell, typed
from matgraft.cli.options import Device, ExecutorFile, Json, PredictionDevice, Seed, Shown
from matgraft.cli.outputs import folder_to_make, new_file, new_file_and_folder
from matgraft.cli.potentials import refuse_device
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.potentials.active.rounds import RoundFacts
    from matgraft.potentials.active.sampling.settings import SampleSettings

Workers = Annotated[int | None, typer.Option(help="processes; default: one for each core")]


def coverage_command(
    what: Annotated[list[str], typer.Argument(help="files of frames, and key=value of how they are read")],
    uses: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="relax, phonons, elastic, md:300-1200K, defects, surfaces, phases, molecules; may be repeated",
            autocompletion=completion.purposes,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="proposed frames, new: proposed.extxyz", callback=new_file)
    ] = None,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 0,
    as_json: Json = False,
) -> None:
    """Say what a training set lacks for a use, and propose frames that fill it; exit 1 where something is lacking.

    Without --for: relax, phonons, elastic, md, defects, surfaces.
    """
    from matgraft.core.settings import validated
    from matgraft.potentials.active.demands import Wanted
    from matgraft.potentials.checks.settings import uses_of
    from matgraft.potentials.report.sampling import show_gaps
    from matgraft.potentials.run import find_gaps

    options = [word for word in what if "=" in word and not Path(word).exists()]
    files = [word for word in what if word not in options]
    if not files:
        raise OptionError(
            "no file of frames is named", allowed=["matgraft coverage FRAMES [FRAMES ...] [key=value ...]"]
        )
    wanted = validated(Wanted, uses_of(uses) if uses else {})
    gaps = find_gaps(files, wanted, out, options, seed)
    tell(gaps, show_gaps, as_json)
    raise typer.Exit(gaps.exit_code)


@dataclass(frozen=True)
class SampleOptions:
    """Options of `sample`: what is moved or made, and how far."""

    structure: Annotated[
        list[str] | None,
        typer.Option(
            help="crystal, slab or molecule to begin with (CIF, ...); default: those of the run; may be repeated"
        ),
    ] = None
    md: Annotated[str | None, typer.Option(help="dynamics: nvt or npt")] = None
    temperature: Annotated[
        str | None, typer.Option(help="K: 300, or 300,600,900 (walkers at each), or 300:2000 (a ramp)")
    ] = None
    pressure: Annotated[str | None, typer.Option(help="GPa, of npt: 0, or 0,10 (walkers at each)")] = None
    walkers: Annotated[int | None, typer.Option(help="of each structure at each temperature and pressure")] = None
    ps: Annotated[float | None, typer.Option(help="length of a walk in ps")] = None
    steps: Annotated[int | None, typer.Option(help="length of a walk in steps")] = None
    make: Annotated[
        str | None,
        typer.Option(help="structures to make: strain,rattle,vacancy,interstitial,surface,substitute,prototype"),
    ] = None
    seed: Annotated[int | None, typer.Option(help="of all that is drawn")] = None


def sample_command(
    model: Annotated[
        str,
        typer.Argument(help="a run, a foundation, a vendor's file, or module:function that makes an ASE calculator"),
    ],
    options: Annotated[list[str] | None, typer.Argument(help="settings.yaml and key=value, such as gate=1.5")] = None,
    *,
    asked: SampleOptions,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="pool of frames, new: pool.extxyz", callback=new_file_and_folder)
    ],
    workers: Workers = None,
    executor: ExecutorFile = None,
    device: PredictionDevice = None,  # chosen as it is read
    shown: Shown,
) -> None:
    """Make frames to label: walkers of dynamics until the model does not know the frame, and structures of many kinds.

    A command that was stopped continues when it is typed again. Exit with 5 where a part of the pool is missing.
    """
    from matgraft.core.executor import read_executor
    from matgraft.potentials.report.sampling import show_sampled
    from matgraft.potentials.run import SampleQuestion, sample

    refuse_device(model, device)
    question = SampleQuestion(out, tuple(asked.structure or ()), read_executor(executor, workers))
    sampled = sample(model, question, sample_settings(asked, options), quiet=shown.silent)
    tell(sampled, show_sampled, shown.as_json)
    raise typer.Exit(5 if sampled.lost else 0)


def sample_settings(asked: SampleOptions, options: list[str] | None) -> SampleSettings:
    """Return the settings that the options of a command make; those typed as flags count."""
    from matgraft.core.settings import validated
    from matgraft.potentials.active.sampling.settings import SampleSettings

    names = ("md", "temperature", "walkers", "ps", "steps", "make", "seed")
    flags = {name: getattr(asked, name) for name in names} | {"pressure_GPa": asked.pressure}
    settings = settings_of(SampleSettings, options)
    given = {name: value for name, value in flags.items() if value is not None}
    return validated(SampleSettings, {**settings.model_dump(), **given}) if given else settings


def select_command(
    model: Annotated[str, typer.Argument(help="a run; or a foundation, which chooses by diversity alone")],
    what: Annotated[list[str], typer.Argument(help="pool of structures, and key=value such as low=0.5, gap=100")],
    n: Annotated[int, typer.Option("-n", "--count", help="how many frames, with those to score on")],
    out: Annotated[Path, typer.Option("-o", "--out", help="chosen frames, .extxyz", callback=new_file)],
    beside: Annotated[
        list[str] | None, typer.Option(help="further labelled frames that are not chosen again; may be repeated")
    ] = None,
    seed: Seed = None,
    checks: Annotated[bool, typer.Option("--checks", help="add the structures of failed checks of the run")] = False,
    *,
    shown: Shown,
) -> None:
    """Choose frames of a pool to label: uncertain, unlike each other, and a random part to score on."""
    from matgraft.potentials.active.selection.settings import SelectSettings
    from matgraft.potentials.report.selection import show_selected
    from matgraft.potentials.run.select import refuse_other_frame_file, select

    refuse_other_frame_file(out)
    options = [word for word in what if "=" in word and not Path(word).exists()]
    pool = [word for word in what if word not in options]
    selected = select(
        model,
        pool,
        n,
        settings_of(SelectSettings, seeded(seed, options)),
        beside=beside or (),
        typed=typed(SelectSettings, seeded(seed, options)),
        checks=checks,
        out=out,
        quiet=shown.silent,
    )
    tell(selected, show_selected, shown.as_json)


def label_command(
    frames: Annotated[list[Path], typer.Argument(help="structures to label: extxyz, CIF, POSCAR, ...; several files")],
    engine: Annotated[Path, typer.Option(help="YAML file of the engine: see docs/engines.md")],
    out: Annotated[Path, typer.Option("-o", "--out", help="labelled frames, .extxyz", callback=new_file)],
    store: Annotated[
        Path | None, typer.Option(help="folder that keeps every label; default: labels in the current folder")
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(help="training frames; the engine must have their level of theory; may be repeated"),
    ] = None,
    probe: Annotated[
        bool | None,
        typer.Option("--probe/--no-probe", help="measure convergence and noise first; default: once, by DFT"),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="try frames again that failed before")] = False,
    *,
    shown: Shown,
) -> None:
    """Label frames by DFT or any ASE calculator; type it again to go on, and nothing is computed twice.

    Exit with 1 where a frame has no label.
    """
    from matgraft.potentials.active.labelling.frames import refuse_out
    from matgraft.potentials.report.labelled import show_labelled
    from matgraft.potentials.run.label import label, like_frames

    refuse_out(out, [*frames, *map(Path, like or ())])
    labelled = label(
        frames,
        engine,
        out=out,
        store=store,
        against=like_frames(like) if like else None,
        probed=probe,
        retry_failed=retry_failed,
        quiet=shown.silent,
    )
    tell(labelled, show_labelled, shown.as_json)
    raise typer.Exit(labelled.exit_code)


def active_command(
    recipe: Annotated[str | None, typer.Argument(help="recipe.yaml of the loop")] = None,
    options: Annotated[list[str] | None, typer.Argument(help="key=value, such as rounds=8, stop.frames=200")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder, new", callback=folder_to_make)] = None,
    resume: Annotated[
        Path | None, typer.Option(help="continue a loop; rounds, per_round and stop.* may be changed")
    ] = None,
    seed: Seed = None,
    device: Device = None,  # chosen as it is read
    *,
    shown: Shown,
) -> None:
    """Sample, select, label, tune and check, round by round, until the model is good enough or the budget is spent.

    Exit with 1 where the loop ended without what was asked for.
    """
    from matgraft.potentials.active.settings import SAVED, budget_only, make_active_recipe
    from matgraft.potentials.report.active import read_loop, show_loop, write_active_report
    from matgraft.potentials.run.active import active

    items = [word for word in (recipe, *(options or ())) if word and "=" in word]
    files = [word for word in (recipe, *(options or ())) if word and "=" not in word]
    if resume is not None:
        refuse_beside_resume(" ".join(files), None, out, {"--seed": seed})
        budget_only(items)
    elif len(files) != 1:
        raise OptionError(f"{len(files)} recipes are named", allowed=["matgraft active recipe.yaml [key=value ...]"])
    folder = resume or out or next_run()
    asked = make_active_recipe(resume / SAVED if resume else Path(files[0]), seeded(seed, items))
    try:
        ended = active(asked, folder, resume=resume is not None, tell=_line(shown.silent), quiet=shown.silent)
    finally:
        if (folder / SAVED).is_file():
            write_active_report(folder)
    tell(read_loop(folder), show_loop, shown.as_json)
    raise typer.Exit(ended.exit_code)


def _line(silent: bool) -> Callable[[int, str | RoundFacts], None]:
    """Return what prints each stage as it begins, and each round when it is done, on standard error."""
    from matgraft.potentials.report.active import round_line

    screen = Console(stderr=True)

    def line(number: int, what: str | RoundFacts) -> None:
        if not silent:
            said = f"round {number}: {what}" if isinstance(what, str) else round_line(what)
            screen.print(said, highlight=False, soft_wrap=True, markup=False)

    return line
