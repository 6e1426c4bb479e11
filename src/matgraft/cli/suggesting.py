"""The verb that ranks what to measure next: suggest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matgraft.cli.common import is_table_file, tell
from matgraft.cli.options import FileOptions, FormulaColumn, Json
from matgraft.cli.outputs import new_file
from matgraft.cli.own import flags_of, refuse_own
from matgraft.core.errors import OptionError

if TYPE_CHECKING:
    from matgraft.formulas.suggest.candidates import Given


@dataclass(frozen=True)
class WantedTargets:
    """Options of `suggest`: what is wanted of which target."""

    target: Annotated[str | None, typer.Option(help="of the run, where it has several")] = None
    maximise: Annotated[bool, typer.Option("--maximise", help="suggest the highest values")] = False
    minimise: Annotated[bool, typer.Option("--minimise", help="suggest the lowest values")] = False
    target_value: Annotated[float | None, typer.Option(help="suggest values near this one")] = None
    wanted_class: Annotated[str | None, typer.Option("--class", help="suggest this class")] = None
    explore: Annotated[bool, typer.Option("--explore", help="suggest what informs most")] = False
    information: Annotated[
        float | None, typer.Option(help="share of suggestions chosen for information, 0 to 1; by default 0.2")
    ] = None
    seed: Annotated[int, typer.Option(help="random seed")] = 0


@dataclass(frozen=True)
class MadeOf:
    """Options of `suggest`: candidates that are made of elements."""

    elements: Annotated[str | None, typer.Option(help="elements to make candidates of: Li,Fe,P,O")] = None
    most_elements: Annotated[int | None, typer.Option(help="in one candidate; by default 4")] = None
    most_atoms: Annotated[int | None, typer.Option(help="in the formula of one; by default 12")] = None
    charge: Annotated[str | None, typer.Option(help="balanced (default), or any")] = None

    def given(self, words: Sequence[str], formula: str | None, file: FileOptions) -> Given:
        """Return the candidates as they are named: a table, formulas, or elements."""
        from matgraft.core.settings import validated
        from matgraft.formulas.suggest.compositions import Compositions

        how = {name: value for name, value in vars(self).items() if name != "elements" and value is not None}
        is_table = len(words) == 1 and is_table_file(words[0])
        kind = "elements" if self.elements is not None else "table" if is_table else "formulas"
        flags = {f"--{name.replace('_', '-')}": value for name, value in how.items()}
        refuse_own("suggest", {"--formula": formula, **flags_of(file), **flags}, kind)
        if (self.elements is None) == (not words):
            found = "candidates and --elements are both named" if words else "no candidates are named"
            raise OptionError(found, allowed=["a table of candidates", "formulas", "--elements Li,Fe,P,O"])
        if self.elements is None:
            return Path(words[0]) if is_table else list(words)
        symbols = [symbol.strip() for symbol in self.elements.split(",") if symbol.strip()]
        return validated(Compositions, {"elements": symbols, **how}, "--elements")


def suggest_command(
    run: Annotated[Path, typer.Argument(help="a run on a table of formulas")],
    candidates: Annotated[
        list[str] | None,
        typer.Argument(help="a table of candidates, or formulas; and conditions of all, such as temperature=300"),
    ] = None,
    *,
    n: Annotated[int, typer.Option("-n", "--count", help="how many suggestions", min=1)] = 10,
    wanted: WantedTargets,
    made: MadeOf,
    formula: FormulaColumn = None,
    file: FileOptions,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV file", callback=new_file)] = None,
    as_json: Json = False,
) -> None:
    """Rank what to measure next by expected improvement and information, spread over chemistry."""
    from matgraft.formulas.report.rows import write_rows
    from matgraft.formulas.report.suggested import suggestion_rows
    from matgraft.formulas.report.text import show_suggested
    from matgraft.formulas.suggest.suggest import keep_suggestions, suggest

    words = list(candidates or ())
    given = made.given([one for one in words if "=" not in one], formula, file)
    shared = dict(one.split("=", 1) for one in words if "=" in one)
    found = suggest(run, given, n, conditions=shared, formula=formula, reading=file.reading(), **vars(wanted))
    if out is not None:
        write_rows(suggestion_rows(found), out)
    keep_suggestions(run, found)
    tell(found, show_suggested, as_json)
