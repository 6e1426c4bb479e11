"""A model of several heads: the errors of each on its own frames, and one verdict that hears all of them.

    summary["heads"] = summarise_heads(test, predictions, groups)         # in metrics.json, one summary a head
    judge_heads(verdict(summary), {"PBE": verdict(...), ...}, ["PBE", "r2SCAN"])

A large head that gained can hide a small one that lost. So the whole is called better only where every head is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import frames_by_head
from matgraft.potentials.scoring.metrics import Predictions, summarise
from matgraft.potentials.scoring.verdict import Level, Verdict


def summarise_heads(
    dataset: Dataset, predictions: Mapping[str, Predictions], groups: Sequence[str], **options: Any
) -> dict[str, dict[str, Any]]:
    """Return head -> what `summarise` says of its frames.

    Parameters
    ----------
    dataset, predictions, groups, options
        As of `matgraft.potentials.scoring.metrics.summarise`; each frame predicted under its own head.
    """
    return {
        name: summarise(
            dataset[frames],
            {model: [each[i] for i in frames] for model, each in predictions.items()},
            [groups[i] for i in frames],
            **options,
        )
        for name, frames in frames_by_head(dataset).items()
    }


def judge_heads(whole: Verdict, by_head: Mapping[str, Verdict], names: Sequence[str]) -> Verdict:
    """Join the verdict on all frames with those on each head's.

    Parameters
    ----------
    whole
        On all frames, each under its own head.
    by_head
        On the heads that have frames to be judged by.
    names
        All heads.

    Returns
    -------
    Verdict
        Its level is that of the whole where all heads share it. It is ``"worse"`` where the whole or every head is,
        ``"worse for some heads"`` where some head is, whatever the whole gained, and ``"mixed"`` where heads differ
        otherwise. The headline then begins with the heads that became worse, and with each head's level.
    """
    levels = {name: one.level for name, one in by_head.items()}
    level = _level(whole.level, list(levels.values()))
    silent = [f"head {name} (no frame to judge it by)" for name in names if name not in by_head]
    return whole.model_copy(
        update={
            "level": level,
            "headline": _opening(levels, level) + whole.headline,
            "reasons_for": (*whole.reasons_for, *_of_heads(by_head, "reasons_for", whole)),
            "reasons_against": (*whole.reasons_against, *_of_heads(by_head, "reasons_against", whole)),
            "do_not_trust_for": (*whole.do_not_trust_for, *silent, *_of_heads(by_head, "do_not_trust_for", whole)),
        }
    )


def _opening(levels: Mapping[str, Level], level: Level) -> str:
    """Say which heads became worse, then what became of each; nothing where all share the level."""
    if set(levels.values()) == {level}:
        return ""
    worse = [name for name, one in levels.items() if one == "worse"]
    first = f"Worse than the foundation for head{'s' * (len(worse) > 1)} {', '.join(worse)}. " if worse else ""
    return f"{first}By head: {'; '.join(f'{name} {one}' for name, one in levels.items())}. "


def _of_heads(by_head: Mapping[str, Verdict], entry: str, whole: Verdict) -> list[str]:
    """Return what each head's verdict says that the whole's does not."""
    said = [(name, line) for name, one in by_head.items() for line in getattr(one, entry)]
    return [f"Head {name}: {line}" for name, line in said if line not in getattr(whole, entry)]


def _level(whole: Level, heads: Sequence[Level]) -> Level:
    if "worse" in (whole, *heads):
        return "worse" if whole == "worse" or set(heads) == {"worse"} else "worse for some heads"
    return whole if set(heads) <= {whole} or whole == "not compared" else "mixed"
