"""The recipe of a loop: one YAML file says what is sampled, chosen, computed, learned, checked, and when to end.

start: [si.cif]                       # what sampling begins with
tune: {foundation: chgnet, fit: {max_minutes: 10}}     # a recipe of `matgraft tune`, without its frames
sample: {md: nvt, temperature: "300:1200", walkers: 8, ps: 2}
select: {audit: 0.2}
engine: engine.yaml
check: {uses: [md], temperature_K: [300, 1200]}
stop: {energy_meV_per_atom: 5, forces_eV_per_A: 0.1, frames: 200}
per_round: 20
rounds: 5
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.settings import parted, read_yaml, section_of, validated
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.selection.settings import SelectSettings
from matgraft.potentials.checks.settings import CheckSettings, uses_of

SAVED = "active.yaml"
"""The resolved recipe in the folder of a loop."""
BUDGET = ("rounds", "per_round", "stop")
ALLOWED = "tune.audit"
"""Keys that a loop may go on with other values of: its budget, and what is allowed of findings on its labels."""


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str | dict) else value


Files = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]


class StopSettings(Frozen):
    """When the loop ends. Of targets and checks, all that are stated must be met.

    Attributes
    ----------
    energy_meV_per_atom, forces_eV_per_A
        Errors (root mean square) on the frames that are scored on, which count as reached.
    outside
        Part of the sampled frames outside the gate of the model that sampled them, which counts as reached.
    on_target
        Rounds one after another in which these targets must be met.
    gain
        Part by which a round must lower the error of forces on the same frames; below it for `on_target` rounds the
        loop ends. 0: never.
    frames
        Most frames with a label of the engine, from the store or computed.
    hours
        Most hours, of all sessions together; looked at between stages.
    """

    energy_meV_per_atom: float | None = Field(None, gt=0)
    forces_eV_per_A: float | None = Field(None, gt=0)
    outside: float | None = Field(None, ge=0, le=1)
    on_target: int = Field(2, ge=1)
    gain: float = Field(0.02, ge=0, lt=1)
    frames: int | None = Field(None, ge=1)
    hours: float | None = Field(None, gt=0)

    @property
    def has_target(self) -> bool:
        """True if an error or a share is aimed for."""
        return any(one is not None for one in (self.energy_meV_per_atom, self.forces_eV_per_A, self.outside))


class ActiveRecipe(Frozen):
    """Everything a loop does.

    Attributes
    ----------
    start
        Files of structures that sampling and checks begin with.
    train, test
        Files of labelled frames of one's own: to learn from beside those of the loop, and to score on beside them.
    tune
        Keys of a recipe of `matgraft tune`, without ``train`` and ``test``. Each round tunes its foundation anew.
    sample
        What is sampled in each round; several blocks one after another.
    select
        How frames are chosen.
    engine
        File of the engine, or its keys.
    store
        Folder of the labels, which several loops may share; by default ``labels`` in the folder of the loop.
    executor
        YAML of where walkers run; the engine names its own.
    check
        Physical checks of each round's model.
    per_round
        Frames that are labelled in a round.
    rounds
        Most rounds.
    seed
        Of sampling and selection; each round has its own.
    """

    start: Files = ()
    train: Files = ()
    test: Files = ()
    tune: dict[str, JsonValue] = Field(default_factory=dict)
    sample: Annotated[tuple[SampleSettings, ...], BeforeValidator(_one_or_several)]
    select: SelectSettings = SelectSettings()
    engine: str | dict[str, JsonValue]
    store: str | None = None
    executor: str | None = None
    check: CheckSettings | None = None
    stop: StopSettings = StopSettings()
    per_round: int = Field(20, ge=2)
    rounds: int = Field(5, ge=1, le=1000)
    seed: int = Field(0, ge=0)

    @field_validator("check", mode="before")
    @classmethod
    def _as_for(cls, content: object) -> object:
        """Read ``uses: md:300-1200K,elastic`` as it is read behind ``--for``."""
        if not isinstance(content, dict) or "uses" not in content:
            return content
        words = [content["uses"]] if isinstance(content["uses"], str) else content["uses"]
        try:
            return {**content, **uses_of([str(word) for word in words])}
        except OptionError as error:
            raise ValueError(f"{error.found}; allowed: {', '.join(error.allowed)}") from None

    @field_validator("tune")
    @classmethod
    def _without_frames(cls, content: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for key in content:
            if key in ("train", "test"):
                raise ValueError(f"{key} stands beside tune, not in it: the loop adds its own frames")
            if key in ("keys", "units", "shear", "delta", "elements", "check"):
                raise ValueError(f"{key} is not read in a loop, whose frames state their labels by ASE's names")
        return content

    @model_validator(mode="after")
    def _can_end(self) -> ActiveRecipe:
        if not self.sample:
            raise ValueError("sample: at least one block is needed, such as {md: nvt, temperature: 300}")
        if not (self.stop.has_target or (self.check and self.check.uses)):
            raise ValueError(
                "nothing says when the model is good enough: state stop.forces_eV_per_A, stop.energy_meV_per_atom, "
                "stop.outside, or check.uses"
            )
        if not (self.start or self.train):
            raise ValueError("there is nothing to begin with: state start (structures) or train (labelled frames)")
        return self

    @property
    def foundation(self) -> str:
        """The model that each round tunes."""
        return str(self.tune.get("foundation", "chgnet"))

    def to_yaml(self) -> str:
        """Return the recipe as YAML, without what is not set."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def make_active_recipe(file: Path, options: Sequence[str] = ()) -> ActiveRecipe:
    """Resolve a recipe: a YAML file, then ``key=value`` items.

    Raises
    ------
    OptionError
        If a key is unknown, is missing, or holds a value that does not fit.
    DataError
        If the file cannot be read.
    """
    content = read_yaml(file)
    for option in options:
        key, value = parted(option, ["rounds=8", "stop.frames=200"])
        section, name = section_of(content, key)
        section[name] = value
    return validated(ActiveRecipe, content, str(file))


def budget_only(options: Sequence[str]) -> None:
    """Raise an OptionError for an option beside ``--resume`` that would change what the loop does."""
    for option in options:
        key, _ = parted(option, ["rounds=8", "stop.frames=200"])
        if key.partition(".")[0] not in BUDGET and not key.startswith(ALLOWED):
            raise OptionError(
                f"{key} cannot change in a loop that has begun",
                allowed=["rounds", "per_round", "stop.*", f"{ALLOWED}.*"],
                remedy="start a new loop; its engine takes labels from the store of this one, where `store` names it",
            )
