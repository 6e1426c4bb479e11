"""A model of several heads: the errors of each on its own frames, and one verdict that hears all of them.

    scores = summarise_heads(test, predictions, groups, part="test")            # scores.heads: one a head
    judge_heads(verdict(scores), {"PBE": verdict(...), ...}, ["PBE", "r2SCAN"])

A large head that gained can hide a small one that lost. So the whole is called better only where every head is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matgraft.core.verdict import Caution, Damage, Outcome, Reason, Use, Verdict
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.scoring.scores import Change, Scores, changes, summarise

BETTER = {Outcome.BETTER, Outcome.RESERVED}


def summarise_heads(
    dataset: Dataset,
    predictions: Mapping[str, Predictions],
    groups: Sequence[str],
    *,
    part: str,
    by: Sequence[str] = (),
    phases: str = "",
) -> dict[str, Scores]:
    """Return head -> what `summarise` says of its frames; each frame is predicted under its own head."""
    return {
        name: summarise(
            dataset[frames],
            {model: [each[i] for i in frames] for model, each in predictions.items()},
            [groups[i] for i in frames],
            part=part,
            by=by,
            phases=phases,
        )
        for name, frames in frames_by_head(dataset).items()
    }


def change_heads(dataset: Dataset, before: Predictions, after: Predictions) -> dict[str, tuple[Change, ...]]:
    """Return head -> what `changes` says of its frames."""
    return {
        name: changes(dataset[frames], [before[i] for i in frames], [after[i] for i in frames])
        for name, frames in frames_by_head(dataset).items()
    }


def judge_heads(whole: Verdict, by_head: Mapping[str, Verdict], names: Sequence[str]) -> Verdict:
    """Join the verdict on all frames with those on each head's; a model of one head has the verdict on all frames.

    Parameters
    ----------
    whole
        On all frames, each under its own head.
    by_head
        On the heads that have frames to be judged by.
    names
        All heads; none where the model has one.

    Returns
    -------
    Verdict
        Its outcome is that of the whole where all heads share it. It is worse where the whole or every head is, worse
        for some heads where some head is, whatever the whole gained, and mixed where heads differ otherwise. Where a
        head's outcome is not that of the whole, the headline begins with the heads that became worse, and with each
        head's level.
    """
    outcome = _outcome(whole.outcome, [one.outcome for one in by_head.values()])
    silent = [Use(use=f"head {name}", reason="no frame to judge it by") for name in names if name not in by_head]
    own = list(by_head.items())
    reasons = [_reason(name, one) for name, each in own for one in each.reasons if one not in whole.reasons]
    fit = [_use(name, one) for name, each in own for one in each.fit_for if one not in whole.fit_for]
    unfit = [_use(name, one) for name, each in own for one in each.not_fit_for if one not in whole.not_fit_for]
    own_cautions = [(name, one) for name, each in own for one in each.cautions if one not in whole.cautions]
    grave = [_caution(name, one) for name, one in own_cautions if one.damage >= Damage.HARM]
    return Verdict(
        outcome=outcome,
        against=whole.against,
        headline=_headline(whole, by_head),
        reasons=(*whole.reasons, *reasons),
        cautions=(*whole.cautions, *grave),
        fit_for=(*whole.fit_for, *fit),
        not_fit_for=(*whole.not_fit_for, *silent, *unfit),
        chosen=whole.chosen,
    )


def _reason(head: str, reason: Reason) -> Reason:
    return reason.model_copy(update={"about": f"head {head}", "text": f"Head {head}: {reason.text}"})


def _use(head: str, use: Use) -> Use:
    return use.model_copy(update={"use": f"head {head}: {use.use}"})


def _caution(head: str, caution: Caution) -> Caution:
    return caution.model_copy(update={"text": f"Head {head}: {caution.text}"})


def _headline(whole: Verdict, by_head: Mapping[str, Verdict]) -> str:
    """Say which heads became worse, what became of each, then of all; the last alone where all share the outcome."""
    if all(one.outcome is whole.outcome for one in by_head.values()):
        return whole.headline
    worse = [name for name, one in by_head.items() if one.outcome is Outcome.WORSE]
    first = f"Worse than the foundation for head{'s' * (len(worse) > 1)} {', '.join(worse)}. " if worse else ""
    levels = "; ".join(f"{name} {one.level}" for name, one in by_head.items())
    return f"{first}By head: {levels}. All frames together: {whole.headline}"


def _outcome(whole: Outcome, heads: Sequence[Outcome]) -> Outcome:
    if Outcome.WORSE in (whole, *heads):
        alone = whole is Outcome.WORSE or set(heads) == {Outcome.WORSE}
        return Outcome.WORSE if alone else Outcome.WORSE_FOR_SOME
    if {whole, *heads} <= BETTER:
        return Outcome.RESERVED if Outcome.RESERVED in (whole, *heads) else Outcome.BETTER
    return whole if set(heads) <= {whole} or whole is Outcome.NOT_COMPARED else Outcome.MIXED
