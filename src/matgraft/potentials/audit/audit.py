"""Look at labels before any training: every trouble that is cheap to see now and dear to find later.

>>> findings = audit(dataset, predictions, elements=card.elements, model_name=card.name)
>>> blocking(findings)                                     # what must be settled before training
[Finding(code='energy-unit', outcome='failed', option='units.energy=Hartree')]

Labels are held against the foundation model's predictions for the same frames: units, signs, conventions and orders
show as slopes and correlations, however soft the model is. Each look says what it saw whether it fires or not, and why
where it cannot tell. `docs/audit.md` has a section for each code. To add a look: one function in `potentials/audit/`,
one row in `FIRST`, `KNOWN` or `COMPARED`, one section in the docs, one test that fires and one that does not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from matgraft.core.errors import DataError
from matgraft.core.findings import Finding
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.audit import cells, cheap, energy, forces, labels, states, stress, structures, theory
from matgraft.potentials.audit.base import UNASKED, Evidence
from matgraft.potentials.audit.trial import nearer_after
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head

Look = Callable[[Evidence], Iterable[Finding]]

FIRST: tuple[Look, ...] = (
    labels.non_finite,
    structures.senseless,
    labels.label_missing,
    theory.theory_stated,
    structures.duplicates,
    labels.unconverged,
    labels.net_force,
    structures.outlier_distance,
    structures.outlier_volume,
    cells.no_cell,
    states.mixed_states,
    cheap.cheap_label,
)
"""Looks that ask no foundation: seconds for 10,000 frames. What blocks here stops before a model is loaded."""

KNOWN: tuple[Look, ...] = (structures.elements_unseen, theory.theory_foundation)
"""Looks that ask for the card of a foundation alone."""

COMPARED: tuple[Look, ...] = (
    energy.energy_convention,
    forces.force_unit,
    forces.force_order,
    stress.stress_unit_and_sign,
    stress.stress_shear,
    theory.theory_labels,
    labels.outlier_energy,
    labels.outlier_force,
)
"""Looks that hold labels against the foundation, or know more with it."""

LOOKS = FIRST + KNOWN + COMPARED

TO_JUDGE: tuple[Look, ...] = (labels.non_finite, structures.senseless, structures.outlier_distance)
"""Looks at frames that are only judged: what they find cannot be predicted or scored."""


def run_looks(
    dataset: Dataset,
    predictions: Sequence[Mapping[str, Array]] | None,
    *,
    elements: Collection[str] = (),
    model_name: str = "",
    level: LevelOfTheory | None = None,
    own_heads: bool = False,
    looks: Sequence[Look] = LOOKS,
    unasked: str = "",
) -> list[Finding]:
    """Run looks over a dataset.

    Parameters
    ----------
    dataset
        Frames with labels in canonical units, as they were read.
    predictions
        The foundation's, one mapping a frame: energy () eV, forces (n, 3) eV/Å, stress (3, 3) eV/Å³. What is absent or
        not finite is not compared. None leaves out the looks that need them, which say so.
    elements
        Chemical symbols that the foundation has seen.
    model_name
        What to call it.
    level
        Its level of theory.
    own_heads
        True where the frames have a head of their own.
    looks
        All of them, or those of one stage: `FIRST`, `COMPARED`.
    unasked
        Why there are no predictions.

    Returns
    -------
    list of Finding
        One for each code, or several where files were read in several units; passed ones too.

    Raises
    ------
    DataError
        If the dataset is empty, or the predictions are not one a frame.
    """
    if not len(dataset):
        raise DataError("the dataset is empty: there is nothing to audit")
    if predictions is not None and len(predictions) != len(dataset):
        raise DataError(
            f"{len(predictions)} predictions for {len(dataset)} frames", remedy="predict the frames that are audited"
        )
    name = model_name or "the foundation"
    evidence = Evidence(dataset, predictions, tuple(elements), name, unasked or UNASKED, level, own_heads)
    found = [nearer_after(evidence, finding) for look in looks for finding in look(evidence)]
    return [_without_foreign_action(finding, found) for finding in found]


def audit_heads(
    dataset: Dataset,
    predictions: Sequence[Mapping[str, Array]] | None,
    **options: Any,
) -> list[Finding]:
    """Run looks over the frames of each head apart: across heads, energies of one structure may differ.

    Parameters
    ----------
    dataset
        Frames that `matgraft.potentials.data.heads.assign_heads` has tagged.
    predictions, options
        As of `run_looks`.

    Returns
    -------
    list of Finding
        Those of each head, its name before the evidence, frames counted in the whole dataset. An option that acts on
        all frames stays only where it cures all heads.
    """
    found: list[Finding] = []
    for name, frames in frames_by_head(dataset).items():
        known = None if predictions is None else [predictions[i] for i in frames]
        findings = run_looks(dataset[frames], known, own_heads=True, **options)
        found += [_of_head(finding, name, frames) for finding in findings]
    return [_without_foreign_action(finding, found) for finding in found]


def _of_head(finding: Finding, head: str, frames: Sequence[int]) -> Finding:
    """Name the head, and count frames as the whole dataset does."""
    return finding.counted(frames).model_copy(update={"evidence": f"{head}: {finding.evidence}"})


def _without_foreign_action(finding: Finding, others: Sequence[Finding]) -> Finding:
    """Take back actions that would change frames that do not need them: those of another head, or read otherwise."""
    alike = [other for other in others if other.code == finding.code]
    kept = tuple(action for action in finding.actions if action.drop or all(action in one.actions for one in alike))
    if kept == finding.actions:
        return finding
    remedy = f"{finding.remedy}; put these frames into a file of their own: an option would act on others too"
    return finding.model_copy(update={"actions": kept, "remedy": remedy})
