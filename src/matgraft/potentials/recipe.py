"""A recipe says all that a run does: one YAML file, then ``key=value`` on the command line; the later one wins.

A few options add to what was said (`ADDED`), so that the options of two findings can be typed one after another.
Unknown keys are errors at every level and name the nearest known one. So are keys that are typed and that the verb does
not read (`READS`). A file describes the whole run, and may hold what other verbs read: what the verb does not read is
named (`Recipe.unread`). The resolved recipe is saved in the run folder; ``matgraft tune RUN/recipe.yaml`` repeats it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, FiniteFloat, field_validator, model_validator

from matgraft.core.errors import OptionError, RunError
from matgraft.core.frozen import Frozen
from matgraft.core.manifest import check_file
from matgraft.core.processes import forks_on_cpu
from matgraft.core.reads import Read, changed_keys, refuse_unread, unread
from matgraft.core.run_folder import kind_of
from matgraft.core.settings import parted, read_yaml, section_of, typed_keys, validated
from matgraft.core.training.schedule import FitSettings
from matgraft.core.training.strategy import MultiHead, Replay, through_network
from matgraft.potentials.checks.settings import Suite
from matgraft.potentials.data.heads import THEORY
from matgraft.potentials.data.numbering import Numbers, expand
from matgraft.potentials.data.reading.keys import Reading
from matgraft.potentials.tuning.e0s import E0S, by_symbol, meant_by_e0s
from matgraft.potentials.tuning.ladder import DEFAULT_MINUTES, LADDER, LadderSettings
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.purposes import PurposeName
from matgraft.potentials.tuning.replay import ReplaySettings

SAVED = "recipe.yaml"
"""The resolved recipe in a run folder."""

LADDER_MINUTES = 5.0
"""Time from which the ladder is the default. In less a fit through the network makes a pass or two over some hundred
frames on two cores, and the readout alone is the better bargain."""


ADDED = ("audit.allow", "audit.drop", "audit.drop_test", "shear")
"""Lists and mappings to which an option adds; null takes back what was said. Each finding names its own frames."""

RETIRED = ("evaluate",)
"""Sections that older versions wrote into the recipes of their runs, and that nothing reads any more."""


READING = tuple(map(Read, ("keys*", "units*", "shear*", "elements", "theory", "want")))
"""How files of frames are read."""

PROCESSES = Read("fit.processes", "fits on a CPU, by processes that can be forked", lambda _: forks_on_cpu())

DELTA = "delta"
"""Mode of references of a model that is added to a cheap method."""

_CHEAP = Read(
    "delta.*",
    "a difference to cheap labels",
    lambda recipe: recipe.references.mode == DELTA,
    (),
    ({"references.mode": DELTA},),
)

READS: dict[str, tuple[Read, ...]] = {
    "audit": (
        *READING,
        *(Read("references.mode"), _CHEAP),
        *map(Read, ("train", "test", "foundation", "audit.*", "heads.*")),
        *map(Read, ("loss.energy", "loss.forces", "loss.stress", "loss.magmom")),
        Read("strategy.name", "frames of several heads", lambda recipe: bool(recipe.heads_by), (MultiHead.name,)),
    ),
    "pack": READING,
    "coverage": tuple(read for read in READING if read.key != "want"),
    "tune": (
        Read("*"),
        Read("split.test", "a split of the training file without --test", lambda recipe: not recipe.test),
        Read("split.test", "splits that draw the test", lambda recipe: recipe.split.by != "element"),
        Read("split.hold", "a split of the training file without --test", lambda recipe: not recipe.test),
        Read(
            "loss.huber_delta*",
            "the loss huber",
            lambda recipe: recipe.loss.kind == "huber",
            (),
            ({"loss.kind": "huber"},),
        ),
        Read("ladder.*", "the ladder", lambda recipe: recipe.strategy.name == LADDER, (), ({"strategy.name": LADDER},)),
        _CHEAP,
        PROCESSES,
    ),
    "evaluate": (*READING, Read("references.*"), Read("audit.drop_test*"), Read("scores.*")),
    "evaluate RUN": (*READING, Read("foundation"), Read("audit.drop_test*"), Read("scores.*"), _CHEAP),
    "predict": (*(read for read in READING if read.key != "want"), Read("audit.drop_test*")),
}
"""The keys of a recipe that each verb reads; a run is evaluated with its own reference energies. Those that depend on
the frames or on the strategy's own options are refused where these are known."""


class AuditSettings(Frozen):
    """What to do about findings."""

    allow: tuple[str, ...] = ()
    """Codes of findings that shall not block."""
    drop: Numbers = ()
    """Training frames to leave out, by their number in the file, from 0: ``[3, 5-9]``; of several ``{file: [3]}``.

    Said again, it adds frames; null takes back what was said."""
    drop_test: Numbers = ()
    """The same of the test file."""

    @field_validator("drop", "drop_test", mode="before")
    @classmethod
    def _written_out(cls, numbers: object) -> object:
        return expand(numbers)


class SplitSettings(Frozen):
    """How the frames are parted; see `matgraft.potentials.data.splits.split`."""

    by: str = "auto"
    validation: float = Field(0.1, gt=0, lt=1)
    test: float = Field(0.1, ge=0, lt=1)
    """Part held out for the test, where no test file is given."""
    gap: int | None = Field(None, ge=0)
    """Frames left out at each cut between blocks of one trajectory."""
    element: str | None = None
    hold: str = ""
    """A condition that the test frames meet and no other, ``temperature>=1500``: `matgraft.potentials.data.conditions`.

    `test` is then the part of the other frames that is held out beside it."""
    seed: int = 0


class ReferenceSettings(Frozen):
    """Per-element energies: refitted on residuals, those of isolated atoms, given (eV an atom to add), or kept."""

    mode: Literal["refit", "isolated", "given", "keep", "delta"] = "refit"
    """``isolated`` where `isolated_eV` is given and no mode is, ``delta`` where a key of `DeltaSettings` is."""
    shift_eV: dict[str, float] = Field(default_factory=dict)
    isolated_eV: dict[str, FiniteFloat] = Field(default_factory=dict)
    """Energies of isolated atoms, by symbol or atomic number, as isolated atoms among the frames have them."""

    @model_validator(mode="before")
    @classmethod
    def _isolated_where_given(cls, content: object) -> object:
        given = isinstance(content, dict) and content.get("isolated_eV") and "mode" not in content
        return {**content, "mode": "isolated"} if given and isinstance(content, dict) else content

    @field_validator("shift_eV", "isolated_eV", mode="before")
    @classmethod
    def _of_elements(cls, content: object) -> object:
        return by_symbol(content) if isinstance(content, dict) else content


class DeltaSettings(Frozen):
    """Keys of the same labels by a cheap method: what is learned is the difference. Of ``references.mode=delta``."""

    energy: str | None = None
    forces: str | None = None
    stress: str | None = None
    units: dict[str, str] = Field(default_factory=dict)
    """Units of these, where they are others than those of the labels."""

    @property
    def keys(self) -> dict[str, str]:
        """Quantity -> key, those that are given."""
        found = {"energy": self.energy, "forces": self.forces, "stress": self.stress}
        return {quantity: key for quantity, key in found.items() if key}


class StrategySettings(Frozen):
    """What learns; see `strategy.py`. None: the strategy's own default, where it reads the option."""

    name: str | None = None
    """None: the ladder where time allows (`named`)."""
    stages: tuple[str, ...] = ()
    rank: int | None = Field(None, ge=1)
    """Of the updates of `lora`, which are scaled by alpha/rank."""
    alpha: float | None = Field(None, gt=0)
    decay: float | None = Field(None, gt=0, le=1)
    """Factor of the learning rate from a stage to the one before it."""
    unfreeze: float | None = Field(None, gt=0, lt=1)
    """Part of the steps after which `gradual` trains every stage."""


class HeadSettings(Frozen):
    """Which head a frame belongs to, where there are several; see `matgraft.potentials.data.heads`."""

    by: str | None = None
    """``theory`` (the default of strategy multihead), or a tag of the frames."""
    foundation: bool | None = None
    """Whether the foundation has its own head too, kept by replay. None: where the frames have one head."""


class ForgettingSettings(Frozen):
    """Structures that the tuned model is held against its foundation on; see `checks.forgetting`."""

    size: int = Field(96, ge=8)
    """How many are made; a seventh of them are dimers."""
    file: str | None = None
    """Further frames, which the foundation labels."""


class ScoreSettings(Frozen):
    """What the errors are told apart by, beside the quantities and the config types."""

    by: tuple[str, ...] = ()
    """Tags or conditions, ``temperature,element``: see `matgraft.potentials.data.conditions`."""
    phases: str = ""
    """Tag that tells phases apart for relative energies; empty: see `matgraft.potentials.data.phases`."""

    @field_validator("by", mode="before")
    @classmethod
    def _one_by_one(cls, names: object) -> object:
        return tuple(filter(None, (name.strip() for name in names.split(",")))) if isinstance(names, str) else names


class Recipe(Frozen):
    """Everything a run does."""

    train: str | tuple[str, ...]
    test: str | tuple[str, ...] | None = None
    foundation: str = "chgnet"
    keys: dict[str, str] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    shear: str | dict[str, str] | None = None
    """Order of the shear components, of all frames or of groups: ``{"config_type=Vacancy": "xz,yz,xy"}``."""
    elements: tuple[str, ...] | None = None
    """Symbols of the atom types of files that have numbers for them, the lowest type first: ``Cu,S``."""
    theory: str | None = None
    want: tuple[str, ...] = ("energy", "forces")
    """Labels that must be there."""
    audit: AuditSettings = AuditSettings()
    split: SplitSettings = SplitSettings()
    references: ReferenceSettings = ReferenceSettings()
    delta: DeltaSettings = DeltaSettings()
    strategy: StrategySettings = StrategySettings()
    heads: HeadSettings = HeadSettings()
    ladder: LadderSettings = LadderSettings()
    loss: LossSettings = LossSettings()
    replay: ReplaySettings = ReplaySettings()
    fit: FitSettings = FitSettings()
    forgetting: ForgettingSettings = ForgettingSettings()
    scores: ScoreSettings = ScoreSettings()
    uncertainty: bool = True
    """Whether the model is told how sure it is of a prediction: `matgraft.potentials.uncertainty`."""
    purpose: PurposeName | None = None
    """What the model is for (``--for``): sets weights of the loss, see `matgraft.potentials.tuning.purposes`."""
    check: Suite | None = None
    """Physical checks of the tuned model at the end (``--check``): ``quick``, ``crystal`` or ``full``."""
    seed: int = 0

    @model_validator(mode="before")
    @classmethod
    def _difference_where_keys_are_given(cls, content: object) -> object:
        if not isinstance(content, dict) or not isinstance(given := content.get("delta"), dict):
            return content
        references = content.get("references") or {}
        if not any(given.values()) or not isinstance(references, dict) or "mode" in references:
            return content
        return {**content, "references": {"mode": "delta", **references}}

    @field_validator("keys", "units", mode="before")
    @classmethod
    def _without_what_is_taken_back(cls, content: object) -> object:
        """``units.stress=null`` takes back what a file or an option before it said."""
        return {k: v for k, v in content.items() if v is not None} if isinstance(content, dict) else content

    @field_validator("elements", mode="before")
    @classmethod
    def _one_by_one(cls, symbols: object) -> object:
        return tuple(symbols.replace(",", " ").split()) if isinstance(symbols, str) else symbols

    @property
    def reading(self) -> Reading:
        """How files are read, but for the shear of groups of frames."""
        shear = self.shear if isinstance(self.shear, str) else None
        return {
            "keys": self.keys,
            "units": self.units,
            "shear": shear,
            "elements": self.elements,
            "want": self.want,
            "delta": self.corrects,
            "delta_units": self.delta.units,
            "theory": self.theory,
        }

    @property
    def corrects(self) -> dict[str, str]:
        """Quantity -> key of the cheap label that is subtracted from it; empty where whole energies are learned."""
        return self.delta.keys if self.references.mode == DELTA else {}

    @property
    def title(self) -> str:
        """The training files by name."""
        return ", ".join(Path(file).name for file in self.train_files)

    @property
    def train_files(self) -> tuple[str, ...]:
        """The training files, one or several."""
        return (self.train,) if isinstance(self.train, str) else self.train

    @property
    def heads_by(self) -> str:
        """What parts the frames into heads; empty where the strategy has one head.

        Raises
        ------
        OptionError
            If an option of heads is given to a strategy that has one head.
        """
        name, by = self.strategy.name, self.heads.by
        if name == MultiHead.name or self.heads.foundation:
            by = by or THEORY
        if by and name not in through_network():
            key = "by" if self.heads.by else "foundation"
            raise OptionError(f"heads.{key} is not read with strategy {name!r}", allowed=through_network())
        if not by and self.heads.foundation is not None:
            raise OptionError(
                f"heads.foundation=false is not read with strategy {name!r}: it has one head",
                options=[{"heads.foundation": None}],
            )
        return by or ""

    def to_yaml(self) -> str:
        """Return the recipe as YAML, defaults filled in; what is left to the strategy or the model is left out."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    def refuse_unread(self, verb: str, given: Sequence[str]) -> None:
        """Raise an `OptionError` if a key that was given is not read by a verb."""
        refuse_unread(verb, READS[verb], given, self.named()[0], READS)

    def unread(self, verb: str) -> list[str]:
        """Return the keys whose value is not the default, and which a verb does not read."""
        return unread(READS[verb], self.changed(), self.named()[0])

    def changed(self) -> list[str]:
        """Return the keys whose value is not the default."""
        return list(changed_keys(self, Recipe(train=self.train)))

    def named(self) -> tuple[Recipe, str]:
        """Return the recipe with its strategy named and the ladder's minutes set, and a line that says what was chosen.

        The line is empty where the recipe says it all. The choice follows from the recipe alone, so that a run and its
        repetition choose alike.
        """
        name, minutes = self.strategy.name, self.fit.max_minutes
        climbs = self.ladder != LadderSettings() or minutes is None or minutes >= LADDER_MINUTES
        # Cached tangents know squares alone: no user shall meet that error by a default.
        one_fit = LADDER if climbs else "feature" if self.loss.kind == "mse" else "full"
        chosen = name or (MultiHead.name if self.heads.by or self.heads.foundation else one_fit)
        if chosen == LADDER:
            minutes = minutes or DEFAULT_MINUTES
        ladder = self.ladder
        if chosen == LADDER and self.references.mode == DELTA and "rungs" not in ladder.model_fields_set:
            # The foundation's whole energies are no labels of a difference.
            ladder = ladder.model_copy(update={"rungs": tuple(rung for rung in ladder.rungs if rung != Replay.name)})
        strategy = self.strategy.model_copy(update={"name": chosen})
        fit = self.fit.model_copy(update={"max_minutes": minutes})
        bound = f", at most {minutes:g} minutes" if minutes else ""
        line = "" if name else f"no --strategy given: {chosen}{bound}; --strategy full for one fit of everything"
        return self.model_copy(update={"strategy": strategy, "fit": fit, "ladder": ladder}), line


def make_recipe(file: Path | None, options: Sequence[str], *, verb: str = "", **given: Any) -> Recipe:
    """Resolve a recipe.

    Parameters
    ----------
    file
        A YAML file, or None.
    options
        ``key=value`` items with dots for levels, such as ``fit.rate=1e-3``; values are YAML.
    verb
        One of `READS`, which must read what `options` say; empty: any.
    given
        Values from the command line's own options, stronger than the file and weaker than `options`; None is unset.

    Raises
    ------
    OptionError
        If a key is unknown, a value does not fit, or the verb does not read an option.
    """
    content = {key: value for key, value in read_yaml(file).items() if key not in RETIRED} if file else {}
    for key, value in given.items():
        if value is not None:
            _set(content, key.replace("__", "."), value)
    for option in options:
        _set(content, *parted(option, ["keys.energy=REF_energy", "units.energy=eV"]))
    _refuse_e0s(content, verb)
    recipe = validated(Recipe, content, str(file) if file else "options")
    if verb:
        recipe.refuse_unread(verb, typed_keys(Recipe, options))
    return recipe


def _refuse_e0s(content: dict[str, object], verb: str) -> None:
    """Raise an OptionError for MACE's ``E0s``, with the option that means the same; null takes the key back."""
    inner = content.get("references")
    for prefix, section in (("", content), ("references.", inner if isinstance(inner, dict) else {})):
        for key in [key for key in section if str(key).lower() in E0S]:
            if (value := section.pop(key)) is None:
                continue
            reads = not verb or any(read.matches("references.isolated_eV") for read in READS[verb])
            raise OptionError(
                f"unknown key {prefix + key!r}",
                remedy="did you mean 'references'? MACE's E0s are the energies of isolated atoms"
                + ("" if reads else ", and `matgraft tune` reads them: leave the key out"),
                options=[{f"{prefix}{key}": None} | meant_by_e0s(value)] if reads else [],
            )


def saved_recipe(run: Path, options: Sequence[str] = (), verb: str = "") -> Recipe:
    """Return the recipe of a run folder, with some values replaced, which the verb must read.

    Raises
    ------
    OptionError
        If the run reads formulas: it has no recipe.
    RunError
        If the folder is none.
    """
    file = run / SAVED
    if not file.is_file() and kind_of(run) == "active":
        raise OptionError(
            "this is a loop of active learning, not a run",
            where=str(run),
            remedy=f"its models lie in {run}/rounds, each in the folder run of its round",
        )
    if not file.is_file() and kind_of(run) not in (None, "frames"):
        raise OptionError(
            "this run reads formulas, not structures",
            where=str(run),
            remedy="`matgraft predict` predicts formulas with it, and `matgraft crossval` scores such a predictor",
        )
    if not file.is_file():
        raise RunError(f"this is not a run: {SAVED} is missing", where=str(run))
    return make_recipe(check_file(file), options, verb=verb)


def _set(content: dict[str, object], key: str, value: object) -> None:
    content, last = section_of(content, key)
    if value is None and key in ADDED:
        content.pop(last, None)
        return
    content[last] = _together(expand(content.get(last)), expand(value)) if key in ADDED else value


def _together(said: object, value: object) -> object:
    """Return a list or a mapping with what is added to it; of two kinds, the later one."""
    if isinstance(said, Mapping) and isinstance(value, Mapping):
        return {**said, **{name: _together(said.get(name), own) for name, own in value.items()}}
    if isinstance(said, (list, tuple)) and isinstance(value, (list, tuple)):
        return [*said, *(one for one in value if one not in said)]
    return value
