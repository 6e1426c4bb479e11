"""Numbers in the pages are those that the code decides: each sentence below must stand in its page, word for word."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units

from matgraft.core import options, quantities, statistics
from matgraft.core.training import schedule
from matgraft.core.training.schedule import decay_start
from matgraft.core.training.strategy import Gradual, LoRA
from matgraft.formulas import formula
from matgraft.formulas.domain import alignment as domain
from matgraft.formulas.domain import overlap
from matgraft.formulas.encoder import SHIPPED
from matgraft.formulas.few_shot import base_classes, metric
from matgraft.formulas.few_shot import classifier as fewshot
from matgraft.formulas.few_shot import values as few_values
from matgraft.formulas.learners import forest, novelty, quantiles, transform
from matgraft.formulas.learners.forest import LEVELS
from matgraft.formulas.predictor import members, stack
from matgraft.formulas.predictor.calibration import IntervalRule
from matgraft.formulas.pretraining.tables import ZERO_INFLATED
from matgraft.formulas.prompts import bank as prompt_bank
from matgraft.formulas.prompts import material_class, prompts
from matgraft.formulas.prompts import member as prompted
from matgraft.formulas.report import plots as property_plots
from matgraft.formulas.table import covariates, layout
from matgraft.potentials import recipe
from matgraft.potentials.audit import coverage, forces, labels, same, scale, steps, stress, theory
from matgraft.potentials.audit import structures as shapes
from matgraft.potentials.checks import forgetting
from matgraft.potentials.data import (
    boxes,
    chains,
    correlation,
    distance,
    geometry,
    lazy,
    neighbours,
    runs,
    structures,
)
from matgraft.potentials.data.reading import raw
from matgraft.potentials.data.reading.weights import FRAME_WEIGHTS
from matgraft.potentials.data.splits import blocks, cautions, split
from matgraft.potentials.exports import comparison
from matgraft.potentials.models import potential, pseudolabels
from matgraft.potentials.recipe import ForgettingSettings
from matgraft.potentials.report import parity
from matgraft.potentials.scoring import comparison as compared
from matgraft.potentials.scoring import verdict
from matgraft.potentials.tuning import defaults as defaults_of_fits
from matgraft.potentials.tuning import ladder, loss, memory, replay, tangents

REPOSITORY = Path(__file__).resolve().parents[1]


def in_words(number: float) -> str:
    """Return a small number as pages say it."""
    words = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[int(number)] if number == int(number) and number < len(words) else f"{number:g}"


def spelled(number: float) -> str:
    """Return 0.0001 as 1e-4."""
    return np.format_float_scientific(number, trim="-", exp_digits=1)


def default(function: Callable[..., object], name: str) -> Any:
    """Return the default of a parameter."""
    return inspect.signature(function).parameters[name].default


def holds_all(n: int) -> bool:
    """Say whether a 90 % interval that is set on n truths, one of them far out, holds that one too."""
    quantiles, truths = np.tile(100 * LEVELS, (n, 1)), np.r_[np.full(n - 1, 50.0), 99.0]
    return IntervalRule.of(quantiles, truths, 0.9).part > 0.9


def pinned(package: str) -> str:
    """Return the version of a package in constraints.txt."""
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    return "".join(re.findall(rf"^{package}==(.+)$", text, re.MULTILINE))


def read_json(path: Path) -> Any:
    """Read a card of what ships."""
    return json.loads(path.read_text(encoding="utf-8"))


CARD = read_json(SHIPPED / "card.json")["metrics"]
BANK = read_json(prompt_bank.SHIPPED / prompt_bank.CARD.name)
LEARNED = read_json(metric.SHIPPED / metric.CARD.name)
FEWEST = next(n for n in range(2, 50) if np.ceil(0.9 * (n + 1)) <= n)
"""Truths that an interval must have been set on to hold 90 % of new ones."""
ALL_HELD = max(filter(holds_all, range(1, 50)))
"""Truths of which a 90 % interval holds all, the odd one too."""
FALLS = decay_start(1000, defaults_of_fits.SOAP_WARMUP, hold=defaults_of_fits.SOAP_HOLD)
WEIGHTS = [f"{value:g}" for value in loss.DEFAULT_WEIGHTS.values()]
CACHED_WEIGHTS = [f"{value:g}" for value in (loss.DEFAULT_WEIGHTS | defaults_of_fits.HEAD_WEIGHTS).values()]
_PICKLES = (REPOSITORY / "src/matgraft/potentials/models/mace/pickles.py").read_text(
    encoding="utf-8"
)  # imports are slow
MACE_DIGITS = "".join(re.findall(r"^HASH_DIGITS = (\d+)$", _PICKLES, re.MULTILINE))
CHANGED = "the code has another number than the word or the fraction in the page"
CLAIMS: dict[str, list[str]] = {
    "README.md": [
        f"pip install torch=={pinned('torch')} ",
        f"fewer than {in_words(statistics.MIN_UNITS)} trajectories",
    ],
    "concepts/foundations.md": [f"pretrained on {round(CARD['formulas'], -5):,} formulas"],
    "concepts/verdict.md": [f"fewer than {in_words(statistics.MIN_UNITS)} units"],
    "troubleshooting.md": [f"fewer than {in_words(statistics.MIN_UNITS)} independent trajectories"],
    "audit.md": [
        f"an option of more than {options.LONGEST:,} bytes",
        f"more than {scale.REFUSED:g} deviations off, or the other sign",
        f"or {in_words(scale.MISFIT_REFUSED)} times the misfit",
        f"more than {scale.NORMAL:g} deviations off |",
        f"within {scale.EXACT:g} deviations of what is expected",
        f"{scale.BLOCKS} trajectories; or",
        f"or more than {scale.ALONE:g} deviations",
        f"a single frame by {forces.ALIKE:g}.",
        f"forces above {forces.LARGE:g} eV/Å (root mean square)",
        f"(cosine below {forces.ASTRAY:g};",
        f"correlates by {stress.FITS:g} or more, at {in_words(stress.SIGMAS)} standard errors more",
        f"They count as two if they are {steps.LEAST:g} eV/atom apart or more",
        f"It **blocks** from {steps.SURE:g} eV/atom on",
        f"between groups: {theory.LIMIT:g} eV/atom",
        f"above {labels.NET_LIMIT:g} eV/Å per atom in a component",
        f"exceed {labels.NET_BLOCKS:g} eV/Å per atom",
        f"above {labels.ENERGY_LIMIT:g} eV/atom and {in_words(labels.ENERGY_TIMES)} times the spread",
        f"Without a foundation, {labels.ENERGY_LIMIT_ALONE:g} eV/atom from the references alone",
        f"above {labels.FORCE_LIMIT:g} eV/Å and {labels.FORCE_TIMES:g} times the median",
        f"Without a foundation, {labels.FORCE_LIMIT_ALONE:g} eV/Å in size",
        f"covalent radii: below {shapes.CLOSEST:g} (",
        f"a factor of {np.exp(shapes.VOLUME_LIMIT):.2f} or more",
        f"and {in_words(shapes.VOLUME_TIMES)} times the spread. Frames",
        f"Frames with {geometry.SLAB_A:g} Å without atoms",
        f"more than {same.SAME_A:g} Å",
        f"by more than {1000 * shapes.CONFLICT['energy']:g} meV/atom",
        f"the sizes of forces by {shapes.CONFLICT['forces']:g} eV/Å",
        f"or principal stresses by {shapes.CONFLICT['stress'] / units.GPa:.1f} GPa",
        f"volume per atom {100 * coverage.VOLUME_STRAIN:g} % from the median",
        f"above {100 * coverage.SHEAR_STRAIN:g} %, against",
        f"above {coverage.HOT:g} and below {coverage.RELAXED:g} eV/Å",
    ],
    "backbones.md": [
        f"# mace-torch {pinned('mace-torch')}",
        f"MatGL {pinned('matgl')} warns",
        f"the first {MACE_DIGITS} digits or more",
        f"a vector of {boxes.SHORTEST_A:g} Å or more",
        f"In float32, {1000 * comparison.TOLERANCE['float32']['energy']:g} meV/atom",
        f"{spelled(comparison.TOLERANCE['float32']['forces'])} eV/Å and "
        f"{spelled(comparison.TOLERANCE['float32']['stress'])} eV/Å³ are allowed, in float64 a ten-thousandth",
        f"{in_words(comparison.ROUNDING)} units in the last place",
        f"resolves {1000 * potential.RESOLVED_EV:g} meV of it (in float32, up to "
        f"{potential.RESOLVED_EV / float(np.finfo('float32').eps):.0f} eV)",
    ],
    "domain.md": [
        f"above {overlap.TOLD_APART:g} |",
        f"below {100 * overlap.WITHIN:g} %",
        f"below {overlap.FEWEST}, or a tenth of a small source" if overlap.LEAST_PART == 0.1 else CHANGED,
        f"under {in_words(len(domain.BANDWIDTHS))} Gaussian kernels",
        f"exp(-{domain.STEEPNESS:g} p)",
    ],
    "evaluation.md": [
        f"With **fewer than {in_words(statistics.MIN_UNITS)}** there is no interval",
        f"every interval ({100 * statistics.LEVEL:g} %)",
        f"by more than the {compared.ROUNDING:g} that single precision",
        f"RMSE {'twice' if verdict.HOT_RATIO == 2 else '?'} that of all atoms",
        f"rose by more than {100 * (verdict.NOTICED_RISE - 1):.0f} %",
        f"smaller than {100 * (1 - verdict.SMALL_GAIN):.0f} %",
    ],
    "fewshot.md": [
        f"values from {few_values.FEWEST} to {few_values.MOST} labels",
        f"More than {fewshot.MOST_EXAMPLES} rows are refused",
        f"Of up to {ALL_HELD} different formulas it holds all of their truths",
        f"fewer than {FEWEST} are too few for 90 %",
        f"{100 * LEARNED['numbers']['mahalanobis']['trust']:.0f} % of that being believed",
        f"{len(LEARNED['base_classes'])} questions",
        f"{len({one['family'] for one in LEARNED['base_classes']})} families",
        f"a background of {LEARNED['recipe']['background']} formulas",
        f"(rank correlation above {base_classes.KIN:g})",
        f"where {100 * ZERO_INFLATED:g} % and more are zero",
    ],
    "formulas.md": [
        f"`{layout.FORMULA_NAMES[-2]}` or `{layout.FORMULA_NAMES[-1]}`",
        f"a column named {', '.join(f'`{name}`' for name in layout.FORMULA_NAMES[:-1])}",
        f"at most {covariates.MOST_WORDS} different words",
        f"up to {formula.MAX_ELEMENTS} elements, each at least {spelled(10.0**-formula.DIGITS)} of the atoms",
        f"only from {members.FEWEST_FOR_NETWORK} rows on",
        f"From {stack.FEW} formulas on",
        f"compounds of at most {stack.LARGEST_UNIT} atoms",
        f"worse by {in_words(-stack.TRUST)} standard errors",
        f"must be better by {in_words(stack.DOUBT)}",
        f"Where {100 * forest.ZERO_INFLATED:g} % or more of the values are exactly zero",
        f"from {forest.FEWEST_FOR_BOOSTING} rows on half boosted",
        f"over {transform.DECADES:g} decades",
        f"than {novelty.PERCENTILE} % of the training formulas",
    ],
    "prompts.md": [
        f"one of {' '.join(f'`[{name}]`' for name in material_class.MATERIAL_CLASSES)} |",
        f"in whole numbers of up to {material_class.LARGEST_UNIT} atoms",
        "anions count from a tenth of the atoms on" if material_class.LEAST_ANION == 0.1 else CHANGED,
        "make up half of the atoms are organic" if material_class.ORGANIC_PART == 0.5 else CHANGED,
        f"and {in_words(prompts.TOKENS)} of the property",
        f"It gives {len(quantiles.LEVELS)} quantiles",
        f"(at most {prompted.STARTING_ROWS} of them)",
        f"prompts of the {len(BANK['questions'])} pretraining properties",
        f"learned once from {BANK['labels']:,} labels",
        f"{BANK['minutes']:.0f} minutes on one busy core",
        f"{np.mean(list(BANK['scores'].values())):.3f}, by the encoder's own head "
        f"{np.mean(list(BANK['head_scores'].values())):.3f}",
    ],
    "formats.md": [f"packed ({', '.join(f'`{ending}`' for ending in raw.COMPRESSED)}) or not"],
    "reading.md": [
        f"`units.energy` | {', '.join(quantities.ENERGY_UNITS)}, each also `/atom`",
        f"`units.forces` | {', '.join(quantities.FORCE_UNITS)} |",
        f"`units.stress` | {', '.join(quantities.STRESS_UNITS)} |",
        f"`units.length` | {', '.join(quantities.LENGTH_UNITS)};",
        f"one block of {lazy.BLOCK} frames",
        " or ".join(f"`{key}`" for key in FRAME_WEIGHTS),
    ],
    "replay.md": [
        f"on {ForgettingSettings().size} small structures",
        f"{forgetting.LARGEST_ENERGY:g} meV/atom | nine in ten",
        "a fifth of the foundation's own" if forgetting.LARGEST_PART == 0.2 else CHANGED,
        f"from {replay.FEWEST} to {replay.MOST}",
        f"on {replay.WATCHED} of the frames at each validation",
        "Eighteen prototypes" if len(structures.PROTOTYPES) == 18 else CHANGED,
        f"an atom in {structures.DENSEST:g} Å³",
        f"under {structures.VACUUM:g} Å of vacuum",
        f"closer than {structures.CLOSEST:g} of a bond",
        f"forces above {pseudolabels.LARGEST_FORCE:g} eV/Å",
        f"stresses above {pseudolabels.LARGEST_STRESS:g} eV/Å³",
        f"{in_words(replay.CANDIDATES)} times as many are made",
    ],
    "report.md": [
        f"At most {parity.DRAWN_POINTS:,} points a model",
        "a tenth of them the largest errors" if parity.WORST_SHARE == 0.1 else CHANGED,
        f"at most {property_plots.MOST:,} rows: the {property_plots.WORST} of the largest errors",
    ],
    "splits.md": [
        f'by="{default(split.split, "by")}", fractions={default(split.split, "fractions")}',
        f"each trajectory of {in_words(blocks.SHORTEST_CUT)} frames or more",
        f"({100 * blocks.GAP_FRACTION:g} % of the trajectory by default",
        f"more than {100 * cautions.TOLERATED:g} % off",
        f"differ by at most {100 * distance.JUMP_STRAIN:g} %",
        f"the mean displacement is below {distance.JUMP_A:g} Å",
        f"if it has {distance.ROOM_A:g} Å of room",
        f"less than {chains.ALIKE_A:g} Å apart",
        f"no farther apart than {runs.STEP:g} times",
        f"Groups of fewer than {in_words(correlation.FEWEST)} frames",
        f"above {correlation.BEYOND_CHANCE:g} times that, and above {correlation.LEAST_CORRELATION:g}",
        f"up to {neighbours.CUTOFF_A:g} Å in steps of {neighbours.STEP_A:g} Å",
        f"more than {neighbours.COMPARED:,} frames, {neighbours.COMPARED:,} evenly spread ones",
        f"one frame of each of {chains.HELD} arrangements",
        f"among at most {chains.TOLD_APART:,} frames",
        f"Frames closer than {neighbours.NEAR_A:g} Å",
    ],
    "tuning.md": [
        f"up to {tangents.Directions().atoms} of the atoms and {tangents.Directions().strain} of the strain",
        f"in half of these minutes; {in_words(tangents.FEWEST)} at least",
        f"at most {tangents.MEMORY_BYTES / 2**30:g} GiB (and at most {100 * memory.SHARE:g} % of the memory",
        f"from {FALLS / 10:.0f} % of the plan on, by Adam from {100 * schedule.WARMUP:g} %",
        f"{in_words(schedule.LEAST_PATIENCE)} at least; `fit.patience=30`",
        f"({', '.join(WEIGHTS)} by default)",
        f"by weights of its own ({', '.join(CACHED_WEIGHTS)})",
        f"{ladder.DEFAULT_MINUTES:g} if nothing is said",
        f"`fit.max_minutes` is at least {recipe.LADDER_MINUTES:g} or not given",
        f"{in_words(ladder.IN_A_ROW)} tuned rungs in a row",
        f"| `strategy.rank`, `strategy.alpha` | {default(LoRA, 'rank')}, {default(LoRA, 'alpha'):g} |",
        f"| `strategy.unfreeze` | {default(Gradual, 'unfreeze'):g} |",
        f"`lora` {spelled(defaults_of_fits.UPDATE_RATE)}; with replay a third of Adam's, "
        f"{spelled(defaults_of_fits.REPLAY_RATE)} at most",
    ],
}


@pytest.mark.parametrize("page", CLAIMS)
def test_numbers_in_a_page_are_those_of_the_code(page: str) -> None:
    path = REPOSITORY / page if page == "README.md" else REPOSITORY / "docs" / page
    text = " ".join(path.read_text(encoding="utf-8").split())
    missing = [said for said in CLAIMS[page] if said not in text]
    assert not missing, "\n".join(missing)
