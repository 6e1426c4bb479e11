"""What every verb shares: how options are typed, what is refused, how facts are told."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from rich.console import Console
from typer import BadParameter
from typer.core import TyperCommand

from matgraft.cli.ending import ReaderGoneError, print_json, reader_gone
from matgraft.cli.logs import logged
from matgraft.cli.options import Log
from matgraft.cli.outputs import clean_stdout, new_file, new_file_and_folder, refuse_inputs
from matgraft.cli.own import OWN, is_setting_of
from matgraft.core.buffers import take_buffers
from matgraft.core.errors import OptionError
from matgraft.core.failures import failure_of
from matgraft.core.locks import locked_files
from matgraft.core.reads import changed_keys, refuse_unread
from matgraft.core.run_folder import next_run as next_run
from matgraft.core.vocabulary import keys_called

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import BaseModel

screen = Console()
S = TypeVar("S", bound="BaseModel")
T = TypeVar("T")


def settings_of(kind: type[S], words: Sequence[str] | None) -> S:
    """Return settings of files and ``key=value`` items, as they stand among the words of a command."""
    from matgraft.core.settings import make_settings

    recipes = [Path(word) for word in words or () if is_recipe(word)]
    return make_settings(kind, recipes, [word for word in words or () if not is_recipe(word)])


def seeded(seed: int | None, words: Sequence[str] | None) -> list[str]:
    """Return the words of a command with what ``--seed`` says, which a typed ``seed=...`` overrides."""
    return [*([] if seed is None else [f"seed={seed}"]), *(words or ())]


def typed(kind: type[BaseModel], words: Sequence[str] | None) -> list[str]:
    """Return the keys that are typed among the words of a command."""
    from matgraft.core.settings import typed_keys

    return typed_keys(kind, [word for word in words or () if not is_recipe(word)])


def is_recipe(word: str) -> bool:
    """Say whether a word of a command names a recipe."""
    return word.endswith((".yaml", ".yml")) and "=" not in word


def is_table_file(word: str) -> bool:
    """Say whether a word of a command names a table."""
    from matgraft.formulas.table.sources import TYPES

    return word.lower().endswith(TYPES)


def refuse_beside_resume(
    data: str | Path | None, options: list[str] | None, out: Path | None, given: Mapping[str, object]
) -> None:
    """Refuse what is typed beside ``--resume``."""
    asked = {"DATA": data, "options": options, "--out": out, **given}
    beside = [name for name, value in asked.items() if value or type(value) in (int, float)]  # also --seed 0
    if beside:
        raise OptionError(
            f"{', '.join(beside)} {'is' if beside[1:] == [] else 'are'} not read: --resume takes the run as it began",
            remedy="start a new run to change its settings",
        )


def refuse_no_data(verb: str, data: str | None, options: Sequence[str] | None) -> None:
    """Refuse a command without data, and one whose data are a run folder."""
    from matgraft.core.run_folder import kind_of

    if data is None and not options:
        raise OptionError(
            "no data are named",
            allowed=[
                f"matgraft {verb} FRAMES",
                f"matgraft {verb} TABLE.csv --target COLUMN",
                f"matgraft {verb} RECIPE.yaml",
            ],
        )
    if data is not None and kind_of(Path(data)):
        raise OptionError(
            f"{data} is a run folder, and data are wanted",
            allowed=["frames with DFT labels", "a table of formulas with values"],
            remedy=f"--from {data} begins with its model, and --resume {data} goes on with it"
            if verb == "tune"
            else "",
        )


def tell(facts: T, show: Callable[[Console, T], object], as_json: bool, indent: int | None = 2) -> None:
    """Print facts for machines, or let `show` print them for people: it knows nothing that the JSON lacks."""
    if as_json:
        from pydantic_core import to_jsonable_python

        print_json(to_jsonable_python(facts, inf_nan_mode="constants"), indent=indent)
    else:
        show(screen, facts)


def data_and_options(data: str | None, options: list[str] | None) -> tuple[str | None, list[str]]:
    """Part data and options: without data the first word is a recipe or key=value."""
    words = list(options or [])
    if data and (is_recipe(data) or ("=" in data and not Path(data).exists())):
        return None, [data, *words]
    return data, words


def refuse_idle_keys(verb: str, settings: BaseModel, options: list[str] | None, asked: dict[str, object]) -> None:
    """Refuse keys of a file or of the command that are not read with what is asked."""
    from matgraft.core.processes import forks_on_cpu

    kind = type(settings)
    keys = [*typed(kind, options), *changed_keys(settings, kind())]
    refuse_unread(verb, OWN[verb], keys, {**asked, "forks": forks_on_cpu()})


class Verb(TyperCommand):
    """A command that says what it lacks, and which setting was meant by an option that it does not have."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; raises an OptionError where one is missing, or an unknown option is a setting's name."""
        known = [name for one in self.get_params(ctx) for name in (*one.opts, *one.secondary_opts)]
        for word in args:
            name = word.partition("=")[0]
            if not name.startswith("--") or name in known:
                continue
            if keys := [key for key in keys_called(name) if is_setting_of(str(ctx.info_name), key)]:
                raise OptionError(
                    f"`matgraft {ctx.info_name}` has no option {name.lstrip('-')!r}",
                    allowed=[option for option in known if option.startswith("--") and option != "--help"],
                    remedy=f"settings are typed as key=value, here {' or '.join(f'{key}=...' for key in keys)}",
                )
        try:
            return super().parse_args(ctx, args)
        except BadParameter as error:
            if error.message or error.param is None:
                raise
            name, wanted = max(error.param.opts, key=len), getattr(error.param, "help", "")
            raise OptionError(
                f"{name if name.startswith('-') else name.upper()} is missing",
                where=f"matgraft {ctx.info_name}",
                allowed=[wanted] if wanted else (),
                remedy=f"`matgraft {ctx.info_name} --help` shows the whole command",
            ) from error


def one_by_one(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer reads it: each option of its groups (dataclasses) is an option of its own."""
    groups: dict[str, type[DataclassInstance]] = {}
    options: list[inspect.Parameter] = []
    hints = get_type_hints(command, include_extras=True)
    for one in inspect.signature(command).parameters.values():
        if is_dataclass(kind := hints[one.name]):
            assert isinstance(kind, type)
            groups[one.name] = kind
            own = inspect.signature(kind, eval_str=True).parameters.values()
            options += [option.replace(kind=option.KEYWORD_ONLY) for option in own]
        else:
            options.append(one.replace(kind=one.KEYWORD_ONLY, annotation=hints[one.name]))
    options += [one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(Log, eval_str=True).parameters.values()]
    written = [one.name for one in options if _callback(one.annotation) in (new_file, new_file_and_folder)]

    @wraps(command)
    def with_groups(**given: Any) -> None:
        targets = {f"--{name.replace('_', '-')}": given[name] for name in written if given[name] is not None}
        for target in targets.values():
            refuse_inputs(target, [value for name, value in given.items() if name not in written])
        with clean_stdout(targets, bool(given.get("as_json"))), locked_files(targets.values()):
            log = Log(**{one.name: given.pop(one.name) for one in fields(Log)})
            made = {
                name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()
            }
            try:
                take_buffers()
                with logged(command.__name__.removesuffix("_command"), sys.argv[1:], log.verbose, log.log_file):
                    command(**given, **made)
            except BrokenPipeError as error:
                if reader_gone(error):
                    raise ReaderGoneError from error
                raise failure_of(error) or error from error

    with_groups.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return with_groups


def _callback(annotation: object) -> object:
    """Return what looks at an option before the command begins."""
    return next((one.callback for one in getattr(annotation, "__metadata__", ()) if hasattr(one, "callback")), None)
