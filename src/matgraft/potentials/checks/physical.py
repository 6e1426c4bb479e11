"""The contract of a physical check: it observes a model, and judges what it saw beside references and the foundation.

    class Elastic(PhysicalCheck[ElasticConstants]):
        code, title, gates_uses = "elastic", "Elastic constants", frozenset({"elastic"})
        def observe(self, subject, case): ...      # expensive: relaxes, deforms; returns numbers alone
        def judge(self, seen, case): ...           # cheap: holds the numbers against gates; returns a Finding

An observation is kept under the hash of everything that it follows from, so a check that is asked a second time, of the
same model, is free; and so is the foundation's, whatever model is held against it. Model, foundation and references
come into one plot from observations alone.

A check = one file with one class, a section of the docs, one test that fires and one that does not. `SUITE`
(`matgraft.potentials.checks.suite`) lists them.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

import numpy as np
from ase import Atoms
from pydantic import JsonValue

from matgraft.core.findings import Action, Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.core.report.document import Block
from matgraft.potentials.checks.gates import source
from matgraft.potentials.checks.references import Reference, References, of_structure
from matgraft.potentials.checks.settings import CheckedUse, CheckSettings, Suite
from matgraft.potentials.checks.structures import Kind, Structure
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.simulation.subject import Subject

Seeing = TypeVar("Seeing", bound=Frozen)
FOUNDATION = "the foundation"
SEEN_TAG = "seen_by_fit"
"""Tag of the frames of a case: ``trained_on``, ``validated_on`` or ``unseen``; absent where there was no fit."""


@dataclass(frozen=True)
class Case:
    """What a check looks at, beside the model.

    Attributes
    ----------
    structures
        All of them.
    structure
        The one in turn; None for a check whose scope is ``"all"``.
    settings
        What is asked.
    frames
        Labelled frames of the user's, with the tag `SEEN_TAG`; none for a model without a run.
    references
        Values of the user's DFT.
    asked
        Names of the values that were looked for; judging fills it.
    """

    structures: tuple[Structure, ...]
    structure: Structure | None
    settings: CheckSettings
    frames: Dataset = field(default_factory=lambda: Dataset(()))
    references: References = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    @property
    def own(self) -> Structure:
        """The structure in turn."""
        assert self.structure is not None
        return self.structure

    def reference(self, name: str) -> Reference | None:
        """Return the user's value of a property of the structure in turn: by its name, else by its formula."""
        return self.reference_of(self.own.name, self.own.formula, name)

    def reference_of(self, structure: str, formula: str, name: str) -> Reference | None:
        """Return the user's value of a property of any structure, by its name, else by its formula."""
        self.asked.add(name)
        return of_structure(self.references, structure, formula).get(name)


@dataclass(frozen=True)
class Seen(Generic[Seeing]):
    """What was observed of the model, and of its foundation where there is one and it could be observed."""

    own: Seeing
    foundation: Seeing | None = None


class PhysicalCheck(ABC, Generic[Seeing]):
    """One physical look at a model.

    Attributes
    ----------
    code, title
        As of the finding; the code is stable.
    observation
        The type of what is observed.
    kinds
        Kinds of structures that it applies to.
    scope
        ``"structure"``: once for each; ``"all"``: once for all of them together.
    needs
        Quantities that the model must predict.
    gates_uses
        Uses that a model is not fit for where it fails.
    suite
        The smallest suite that it belongs to.
    version
        Raised whenever the same settings observe something else: observations are kept by it.
    cost
        Rough number of force calls on a cell of ten atoms: the dearest begin first.
    beside_foundation
        Whether the foundation is observed as well; not where a gate needs no comparison, such as the drift of energy.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    observation: ClassVar[type[Frozen]]
    kinds: ClassVar[frozenset[Kind]] = frozenset({"bulk"})
    scope: ClassVar[Literal["structure", "all"]] = "structure"
    needs: ClassVar[frozenset[str]] = frozenset({"energy", "forces"})
    gates_uses: ClassVar[frozenset[CheckedUse]]
    suite: ClassVar[Suite] = "quick"
    version: ClassVar[int] = 1
    cost: ClassVar[int] = 50
    beside_foundation: ClassVar[bool] = True

    def why_not(self, subject: Subject, case: Case) -> str:
        """Return why the check does not apply; empty where it does. A check with more conditions adds its own."""
        if missing := sorted(self.needs - subject.quantities):
            return f"the model predicts no {', '.join(missing)}"
        if case.structure is None:
            return ""
        if case.structure.kind not in self.kinds:
            return f"the structure is a {case.structure.kind}; the check is for {' and '.join(sorted(self.kinds))}"
        known = subject.elements
        unknown = [] if known is None else sorted(set(case.structure.atoms.symbols) - known)
        return f"the model does not know {', '.join(unknown)}" if unknown else ""

    def protocol(self, case: Case) -> Mapping[str, JsonValue]:
        """Return what of the settings, frames and structures decides the observation, beside the structure in turn."""
        return {}

    @abstractmethod
    def observe(self, subject: Subject, case: Case) -> Seeing:
        """Measure the model. Expensive; what it raises becomes the outcome ``errored``."""

    @abstractmethod
    def judge(self, seen: Seen[Seeing], case: Case) -> Finding:
        """Hold what was seen against references, foundation and gates. Cheap."""

    def to_label(self, seen: Seen[Seeing], case: Case) -> Sequence[Atoms]:
        """Return structures whose labels would mend a failure; they are written beside the findings."""
        return ()

    def figures(self, seen: Seen[Seeing], case: Case) -> Sequence[Block]:
        """Return tables and plots for the page: model, foundation and references in one.

        The page is made from what was kept: the case has no labelled frames here.
        """
        return ()

    # ------------------------------------------------------------------------------------- what all checks share

    def key(self, subject: Subject, case: Case) -> str:
        """Return the hash under which an observation is kept."""
        atoms = case.structure.atoms if case.structure else None
        what = {
            "check": [self.code, self.version, dict(self.protocol(case))],
            "structure": None if atoms is None else structure_hash(atoms),
            "model": subject.key,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]

    def finding(
        self,
        case: Case,
        measures: Sequence[Measure],
        evidence: str,
        *,
        remedy: str = "",
        actions: Sequence[Action] = (),
        details: Frozen | None = None,
    ) -> Finding:
        """Return the finding that measures make: failed where one lies outside of its allowed range.

        A failure against the foundation alone is a warning: nothing of the user's own says that the model is wrong.
        """
        failed = [one for one in measures if not one.passes]
        judged = any(one.allowed is not None for one in measures)
        beyond_doubt = any(one.reference_from != FOUNDATION for one in failed)
        return Finding(
            code=self.code,
            title=self.title,
            about=case.structure.name if case.structure else "",
            outcome="failed" if failed else "passed" if judged else "not applicable",
            severity="info" if not failed else "error" if beyond_doubt else "warning",
            evidence=evidence,
            measures=tuple(measures),
            remedy=remedy if failed else "",
            actions=tuple(actions) if failed else (),
            details={} if details is None else details.model_dump(mode="json"),
        )

    def unable(self, case: Case, outcome: Literal["not applicable", "errored"], reason: str) -> Finding:
        """Return the finding of a check that does not apply, or that broke off."""
        about = case.structure.name if case.structure else ""
        return Finding(code=self.code, title=self.title, about=about, outcome=outcome, evidence=reason)


@dataclass(frozen=True)
class ReferenceChoice:
    """What a measured value may be compared with: the user's DFT first, the foundation where there is none."""

    reference: Reference | None
    foundation: float | None

    def chosen(self) -> Reference | None:
        """Return what counts."""
        if self.reference is not None:
            return self.reference
        if self.foundation is not None and np.isfinite(self.foundation):
            return Reference(value=self.foundation, source=FOUNDATION)
        return None


def compared(
    name: str,
    unit: str,
    value: float,
    against: ReferenceChoice,
    gate: str,
    case: Case,
    *,
    relative: bool = True,
    least: float = 0.0,
) -> Measure:
    """Return a measure that is held against a reference within a gate.

    Parameters
    ----------
    gate
        Name of the field of `Gates`: the largest difference, as a part of the reference where it is `relative`.
    least
        A difference that passes in any case, in the unit of the value: references near zero have no relative error.
    """
    chosen, gates = against.chosen(), case.settings.gates
    if chosen is None:
        return Measure(name=name, unit=unit, value=value)
    width = max(float(getattr(gates, gate)) * (abs(chosen.value) if relative else 1.0), least)
    width *= gates.foundation if chosen.source == FOUNDATION else 1.0
    return Measure(
        name=name,
        unit=unit,
        value=value,
        allowed=(chosen.value - width, chosen.value + width),
        reference=chosen.value,
        reference_from=chosen.source,
        gate=source(gate),
    )


def no_worse(measure: Measure, other: float | None, of: str = FOUNDATION) -> Measure:
    """Return a measure that another one fails itself with a wider bound: half as much again as that one's value.

    A tuned model is not to blame for what its foundation does as well, nor for what the user's DFT does.

    Parameters
    ----------
    other, of
        The value of the foundation, or of what `of` names; None where it is not known.
    """
    if other is None or not np.isfinite(other) or measure.allowed is None:
        return measure
    if measure.model_copy(update={"value": other}).passes:
        return measure
    low, high = measure.allowed
    below = low is not None and other < low
    bound = other + abs(other) / 2 * (-1 if below else 1)
    allowed = (bound, high) if below else (low, bound)
    return measure.model_copy(update={"allowed": allowed, "reference": other, "reference_from": of})


def limited(
    name: str, unit: str, value: float | None, allowed: tuple[float | None, float | None], gate: str
) -> Measure:
    """Return a measure that is held against a limit of its own, whatever DFT or foundation say.

    Parameters
    ----------
    gate
        Name of the field of `Gates` that the limit comes from.
    """
    return Measure(name=name, unit=unit, value=value, allowed=allowed, gate=source(gate))


def failing_measures(measures: Sequence[Measure]) -> str:
    """Say which measures fail, with what passes: ``. Out of range: B0 72.4 GPa (80.8 to 109 pass; 95 by ref.yaml)``."""
    said = []
    for one in measures:
        if one.passes or one.allowed is None:
            continue
        low, high = (None if end is None else f"{end:.3g}" for end in one.allowed)
        within = (
            f"{low} to {high} pass" if low and high else f"at least {low} passes" if low else f"at most {high} passes"
        )
        reference = f"; {one.reference:.4g} by {one.reference_from}" if one.reference is not None else ""
        value = "none" if one.value is None else f"{one.value:.4g}"
        said.append(f"{one.name} {value}{f' {one.unit}' if one.unit else ''} ({within}{reference})")
    return f". Out of range: {', '.join(said)}" if said else ""


def structure_hash(atoms: Atoms) -> str:
    """Return the SHA-256 of a structure, positions and cell to 1e-8 Å."""
    digest = hashlib.sha256(np.asarray(atoms.numbers, dtype=np.int64).tobytes())
    for array in (atoms.positions, atoms.cell[:]):
        digest.update((np.round(np.asarray(array, dtype=float), 8) + 0.0).tobytes())
    digest.update(np.asarray(atoms.pbc, dtype=bool).tobytes())
    return digest.hexdigest()
