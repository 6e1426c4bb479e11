"""The verbs of frames: audit, pack, evaluate, export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from matgraft.cli.common import Frames, From, Json, Model, Options, Quiet, data_and_options, is_recipe, tell
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.core.findings import Finding
    from matgraft.potentials.recipe import Recipe


def audit_command(
    frames: Frames = None, options: Options = None, foundation: From = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Look for trouble in the labels before any training; exit 1 when a finding blocks."""
    from matgraft.potentials.report.screen import audit_facts, show_findings
    from matgraft.potentials.run import audit_file

    asked = recipe_of("audit", frames, options, foundation=foundation)
    recipe, _ = asked.named()
    idle = asked.unread("audit")
    notes = [f"of the recipe `matgraft audit` does not read {', '.join(idle)}"] if idle else []
    silent = quiet or as_json
    facts = audit_facts(*audit_file(recipe, quiet=silent, tell=tell_first(silent)), recipe.audit.allow, notes)
    tell(facts, show_findings, as_json)
    raise typer.Exit(1 if facts.blocking else 0)


def pack_command(
    what: Annotated[list[str], typer.Argument(help="files and folders of frames, and key=value of how to read them")],
    out: Annotated[Path, typer.Option("-o", "--out", help="store, new: frames.h5")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put frames of any format into one store on disk, to train on more of them than fit into memory."""
    from matgraft.potentials.data.pack import pack

    options = [word for word in what if "=" in word and not Path(word).exists()]
    sources = [word for word in what if word not in options]
    recipe = reading_of(options, sources)
    count = pack(sources, out, **recipe.reading, progress=not (quiet or as_json))
    size = out.stat().st_size
    facts = {"store": str(out), "n_frames": count, "bytes": size}
    tell(facts, lambda *_: print(f"{out}: {count} frames, {size / 2**20:.1f} MiB"), as_json, indent=None)


def evaluate_command(
    run: Model,
    frames: Annotated[Path, typer.Argument(help="frames to score on")],
    options: Options = None,
    as_json: Json = False,
) -> None:
    """Score a tuned model on further frames, beside its foundation.

    Frames that the fit was trained or validated on are counted and left out of the figures.
    Keys and units are those of the run; say others as key=value, such as keys.energy=REF_energy.
    """
    from matgraft.potentials.report.screen import show_evaluation
    from matgraft.potentials.run import evaluate_run

    tell(evaluate_run(run, frames, options or (), quiet=as_json), show_evaluation, as_json)


def export_command(
    run: Model,
    to: Annotated[str, typer.Option(help="native, ase, lammps or torch-sim")],
    out: Annotated[Path, typer.Option("-o", "--out", help="folder, new")],
    as_json: Json = False,
) -> None:
    """Write the model for other tools, and verify what was written with their own code.

    What cannot be verified on this machine is written and said, and is no error; what differs from the model is.
    """
    from matgraft.potentials.exports import export

    exported = export(run, to, out)
    tell(exported.facts(), lambda *_: print(exported.text), as_json, indent=None)


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
    raise typer.Exit(facts.verdict.exit_code)


def recipe_of(verb: str, frames: str | None, options: list[str] | None, **given: Any) -> Any:
    """Return the recipe that the words of a command make."""
    from matgraft.potentials.recipe import make_recipe

    frames, words = data_and_options(frames, options)
    files = [word for word in words if is_recipe(word)]
    if len(files) > 1:
        raise OptionError(f"several recipes: {', '.join(files)}", allowed=["one recipe.yaml, then key=value"])
    rest = [word for word in words if word not in files]
    return make_recipe(Path(files[0]) if files else None, rest, verb=verb, train=frames, **given)


def reading_of(options: list[str], sources: list[str]) -> Recipe:
    """Return a recipe of how files are read."""
    from matgraft.potentials.recipe import make_recipe

    recipe = make_recipe(None, options, verb="pack", train=" ".join(sources))
    if isinstance(recipe.shear, dict):
        raise OptionError("shear of groups of frames is put right when they are trained on", allowed=["shear=xz,yz,xy"])
    return recipe
