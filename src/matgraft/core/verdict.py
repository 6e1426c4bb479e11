"""One verdict for everything that is judged: a tuned potential, a predictor, a domain.

    judged = Verdict(outcome=Outcome.BETTER, against="the foundation", headline="Energy 7.6 instead of 40.1 meV/atom.")
    judged.level          # "better than the foundation"
    judged.tone           # "good": the colour on a page and on the screen
    judged.exit_code      # 0; 6 where the outcome is worse, 1 where a model is not fit for what was asked

A verdict is data to the end. A wing decides the outcome and collects reasons, cautions and uses; pages and screens lay
them out. No code reads a sentence of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Literal

from pydantic import Field, computed_field, field_validator

from matgraft.core.findings import Action
from matgraft.core.frozen import Frozen
from matgraft.core.notebook import bullets, card, paragraph

Tone = Literal["good", "caution", "bad", "unknown"]
Side = Literal["for", "against", "neither"]

EXIT_WORSE = 6
"""Exit code of a command whose result is worse than what it began with, or could not be judged."""


class Outcome(StrEnum):
    """What came of the comparison with the baseline."""

    BETTER = "better"
    RESERVED = "better on the test, with reservations"
    MIXED = "mixed"
    NO_BETTER = "no better"
    UNDECIDED = "undecided"
    WORSE_FOR_SOME = "worse for some heads"
    WORSE = "worse"
    NOT_COMPARED = "not compared"
    FIT = "fit for what was asked"
    NOT_FIT = "not fit for what was asked"
    UNJUDGED = "could not be judged"


THAN = (Outcome.BETTER, Outcome.NO_BETTER, Outcome.WORSE)
"""Outcomes that are read with the baseline: better *than the foundation*."""

TONES: dict[Outcome, Tone] = {
    Outcome.BETTER: "good",
    Outcome.RESERVED: "caution",
    Outcome.MIXED: "caution",
    Outcome.NO_BETTER: "caution",
    Outcome.UNDECIDED: "caution",
    Outcome.WORSE_FOR_SOME: "bad",
    Outcome.WORSE: "bad",
    Outcome.NOT_COMPARED: "unknown",
    Outcome.FIT: "good",
    Outcome.NOT_FIT: "bad",
    Outcome.UNJUDGED: "unknown",
}

EXIT_CODES: dict[Outcome, int] = {
    Outcome.WORSE_FOR_SOME: EXIT_WORSE,
    Outcome.WORSE: EXIT_WORSE,
    Outcome.NOT_FIT: 1,
    Outcome.UNJUDGED: EXIT_WORSE,
}
"""Of a command that ends with this outcome; 0 for all others."""


class Damage(IntEnum):
    """What it costs to ignore a caution; cautions are sorted by it, the gravest first."""

    WRONG = 4
    """The figures, or what is predicted, are wrong: leaks, blocking findings that were allowed, no finite numbers."""
    HARM = 3
    """The model lost what its foundation could do: forgetting, a quantity that worsened on validation."""
    DOUBT = 2
    """The figures may be right by chance: few trajectories, frames that chose the checkpoint."""
    NOTE = 1
    """Good to know; it changes no decision."""


class Caution(Frozen):
    """Why a verdict may mislead.

    Attributes
    ----------
    code
        Stable identifier, such as ``"forgetting"`` or ``"few-groups"``.
    damage
        What it costs to ignore it.
    text
        One or two sentences with the figures.
    remedy
        What to change, in words.
    actions
        Options that change it; each is enough.
    """

    code: str
    damage: Damage
    text: str
    remedy: str = ""
    actions: tuple[Action, ...] = ()


class Reason(Frozen):
    """One comparison.

    Attributes
    ----------
    about
        The quantity, the kind of frames or the head that was compared.
    speaks
        ``"for"``, ``"against"``, or ``"neither"`` where chance or too few data leave it open.
    text
        One sentence with the figures.
    """

    about: str
    speaks: Side
    text: str


class Use(Frozen):
    """A use that a model is fit for, or not.

    Attributes
    ----------
    use
        What somebody would do with the model, or the structures that it would be used on.
    reason
        Why, in a few words.
    """

    use: str
    reason: str = ""


class Verdict(Frozen):
    """What to think of a model.

    Attributes
    ----------
    outcome
        What came of the comparison.
    against
        The baseline, such as ``"the foundation"``.
    headline
        Outcome and figures in one sentence, without a caution.
    reasons
        What was compared, one sentence each.
    cautions
        Why the verdict may mislead, the gravest first.
    fit_for, not_fit_for
        Uses that the figures speak for, and uses that nothing here speaks for.
    chosen
        How the model was chosen among several, where it was.
    level
        Outcome and baseline in a few words: ``"better than the foundation"``. It follows from the two.
    tone
        ``"good"``, ``"caution"``, ``"bad"`` or ``"unknown"``. It follows from the outcome.
    exit_code
        Of a command that ends with this verdict, see `EXIT_CODES`. It follows from the outcome.
    """

    outcome: Outcome
    against: str = ""
    headline: str
    reasons: tuple[Reason, ...] = ()
    cautions: tuple[Caution, ...] = ()
    fit_for: tuple[Use, ...] = ()
    not_fit_for: tuple[Use, ...] = ()
    chosen: str = Field("")

    @field_validator("cautions")
    @classmethod
    def _gravest_first(cls, cautions: tuple[Caution, ...]) -> tuple[Caution, ...]:
        return tuple(sorted(cautions, key=lambda caution: -caution.damage))  # stable: equals keep their order

    @computed_field  # type: ignore[prop-decorator]
    @property
    def level(self) -> str:
        """Outcome and baseline in a few words."""
        return f"{self.outcome} than {self.against}" if self.against and self.outcome in THAN else str(self.outcome)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def tone(self) -> Tone:
        """The colour."""
        return TONES[self.outcome]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """0, 1 where the model is not fit, 6 where it is worse than its baseline or could not be judged."""
        return EXIT_CODES.get(self.outcome, 0)

    def __repr__(self) -> str:
        """Return outcome, figures and the caution to read first."""
        caution = f" Caution: {self.first.text}" if self.first else ""
        return f"Verdict({self.level}: {self.headline}{caution})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        fit = [f"not fit for {use.use}" + f": {use.reason}" * bool(use.reason) for use in self.not_fit_for]
        lines = [*(reason.text for reason in self.reasons), *(one.text for one in self.cautions), *fit]
        return card(self.level, self.tone, paragraph(self.headline), bullets(lines))

    @property
    def first(self) -> Caution | None:
        """The caution to read first: the gravest, unless it is a mere note."""
        return next((caution for caution in self.cautions if caution.damage > Damage.NOTE), None)

    def speaking(self, side: Side) -> list[Reason]:
        """Return the reasons of one side."""
        return [reason for reason in self.reasons if reason.speaks == side]


def worst_exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the exit code of a command with several verdicts."""
    return max((verdict.exit_code for verdict in verdicts), default=0)
