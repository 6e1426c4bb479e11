"""Write docs/options.md: which option works with which strategy and backbone, and what is said where it does not.

    python docs/make_options.py

Everything in it comes from the code: the backbones from their registry, the options of a strategy from its
constructor, the errors by making them. A test fails while the page is not what this script writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from matgraft.backbones.registry import BACKBONES, Row, load
from matgraft.errors import MatgraftError
from matgraft.exports import TARGETS, refuse
from matgraft.predictors.members import STRATEGIES as TABLE_STRATEGIES
from matgraft.predictors.members import members_of
from matgraft.transfer.ladder import LADDER
from matgraft.transfer.loss import LossSettings
from matgraft.transfer.strategy import OF_FORMULAS, STRATEGIES, Partial, make_strategy
from matgraft.transfer.tangents import require_squares

PAGE = Path(__file__).with_name("options.md")
NOTHING = "–"


def options_page() -> str:
    """Return the page."""
    sections = [
        "# Options by strategy and backbone",
        "Written by `python docs/make_options.py` from the code. Where an option does not apply, the command ends "
        "before the first step, with the error that stands here and exit code 2. What the options mean: "
        "[tuning.md](tuning.md), [backbones.md](backbones.md).",
        "## Strategies of potentials",
        "The default stands where a strategy reads the option; every strategy works with every potential.",
        table(["`strategy.`", *(f"`{name}`" for name in STRATEGIES)], strategy_rows()),
        "What does not apply:",
        table(["recipe", "what is said"], strategy_refusals()),
        "## Strategies of formulas",
        f"`matgraft tune table.csv --target ...` has strategies of its own: {_code(TABLE_STRATEGIES)}.",
        table(["option", "what is said"], formula_refusals()),
        "## Backbones",
        table(["", *(f"`{name}`" for name in BACKBONES)], backbone_rows()),
        "What does not apply:",
        table(["`--from`", "what is said"], backbone_refusals()),
        "## Exports",
        table(["`--to`", "opened by", *(f"`{name}`" for name in BACKBONES)], export_rows()),
        "What does not apply:",
        table(["backbone, `--to`", "what is said"], export_refusals()),
    ]
    return "\n\n".join(sections) + "\n"


def strategy_rows() -> list[list[str]]:
    """Return a row an option of any strategy, with its default in each strategy that reads it."""
    rows = []
    for option in _options():
        defaults = [inspect.signature(kind).parameters.get(option) for kind in STRATEGIES.values()]
        rows.append([f"`{option}`", *(NOTHING if one is None else _default(one.default) for one in defaults)])
    return rows


def strategy_refusals() -> list[list[str]]:
    """Return what is said to each option in the first strategy that does not read it, and to what cannot be meant."""
    rows = []
    for option in _options():
        kinds = {name: inspect.signature(kind).parameters for name, kind in STRATEGIES.items()}
        value = next(_example(option, read[option].default) for read in kinds.values() if option in read)
        idle = next((name for name, read in kinds.items() if option not in read), None)
        if idle is not None:
            said = refusal(lambda idle=idle, given={option: value}: make_strategy(idle, **given))
            rows.append([_recipe(idle, option, value), said])
    chgnet = load("chgnet")
    return [
        *rows,
        ["`strategy.name=ful`", refusal(lambda: make_strategy("ful"))],
        *([f"`strategy.name={name}`", refusal(lambda n=name: make_strategy(n))] for name in OF_FORMULAS),
        ["`strategy.name=full strategy.rang=4`", refusal(lambda: make_strategy("full", rang=4))],
        [
            "`strategy.name=partial strategy.stages=[interaction-9]`, with CHGNet",
            refusal(lambda: Partial(["interaction-9"]).learning(chgnet)),
        ],
        [
            "`strategy.name=partial strategy.stages=[readout] strategy.decay=0.5`",
            refusal(lambda: Partial(["readout"], decay=0.5).learning(chgnet)),
        ],
        [
            "`strategy.name=feature loss.kind=huber`",
            refusal(lambda: require_squares(LossSettings(kind="huber"))),
        ],
    ]


def formula_refusals() -> list[list[str]]:
    """Return what is said to a strategy of potentials that formulas do not have."""
    missing = [name for name in (*STRATEGIES, LADDER) if name not in TABLE_STRATEGIES]
    return [[f"`--strategy {name}`", refusal(lambda n=name: members_of(n, 1000))] for name in missing]


def backbone_rows() -> list[list[str]]:
    """Return a row a property of the registry."""
    behind = {"sha256": "`@HASH`", "head": "`#HEAD`"}

    def row(title: str, cell: Callable[[Row], str]) -> list[str]:
        return [title, *(cell(one) or NOTHING for one in BACKBONES.values())]

    return [
        row("comes with", lambda one: f'`pip install "matgraft[{one.extra}]"`' if one.extra else "matgraft"),
        row("releases", lambda one: _code(one.releases)),
        row("other names", lambda one: "files" + (", whatever the vendor's loader knows" if one.any_name else "")),
        row("behind the name", lambda one: ", ".join(behind[option] for option in one.options)),
        row("weights", lambda one: one.weights_from),
        row("licence", lambda one: one.licence),
        row("stages", lambda one: _code(one.stages)),
    ]


def backbone_refusals() -> list[list[str]]:
    """Return what is said to names that lead nowhere; of backbones that need no extra."""
    names = ["chgnett", "chgnet:0.4.0", "chgnet:0.3.0#pbe", "composition:1@0123456789abcdef"]
    return [[f"`{name}`", refusal(lambda n=name: load(n))] for name in names]


def export_rows() -> list[list[str]]:
    """Return what is written for each target beside the native file and the card."""
    return [
        [f"`{name}`", target.opens, *(row.exports.get(name, NOTHING) for row in BACKBONES.values())]
        for name, target in TARGETS.items()
    ]


def export_refusals() -> list[list[str]]:
    """Return what is said to each target that a backbone does not have."""
    missing = [(name, to) for name, row in BACKBONES.items() for to in TARGETS if to not in row.exports]
    return [[f"{name}, `{to}`", refusal(lambda n=name, t=to: refuse(n, t))] for name, to in missing]


def refusal(attempt: Callable[[], object]) -> str:
    """Return what is said when this is tried; that nothing is said is an error of this page."""
    try:
        attempt()
    except MatgraftError as error:
        return str(error).replace("\n", "; ").replace("|", "\\|")
    raise AssertionError("nothing is refused here: the page would claim what the code does not do")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def _options() -> list[str]:
    return list(dict.fromkeys(name for kind in STRATEGIES.values() for name in inspect.signature(kind).parameters))


def _default(value: Any) -> str:
    return "its own choice" if value in ((), None) else _shown(value)


def _example(option: str, default: Any) -> Any:
    return ("readout",) if option == "stages" else 1 if default is None else default


def _shown(value: Any) -> str:
    return (
        f"[{','.join(value)}]" if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def _recipe(strategy: str, option: str, value: Any) -> str:
    return f"`strategy.name={strategy} strategy.{option}={_shown(value)}`"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    part = PAGE.with_suffix(".md.part")
    part.write_text(options_page(), encoding="utf-8")
    part.replace(PAGE)
    print(PAGE)
