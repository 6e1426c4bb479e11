"""What a run's prompts have become, as plain data for reports: where each started, and how alike they are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.prompts.bank import BANKS
from matgraft.formulas.prompts.member import PromptFit, PromptSettings


def prompt_facts(
    fits: Sequence[PromptFit],
    backbone: CompositionBackbone,
    settings: PromptSettings,
    tokens: Mapping[str, str],
    classes: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Describe fits of the same targets.

    Parameters
    ----------
    tokens
        Of the targets, token -> name.
    classes
        By target, the names of its classes; empty for values.

    Returns
    -------
    dict
        ``tokens``; ``bank`` (name, or None); ``starts`` (a row a question: target, of several classes the class,
        nearest, similarity, and how many fits chose it); ``alike`` (names, and a matrix of cosine similarities of the
        run's prompts and of the bank's that they started from, the mean over fits); ``trained`` (numbers that learned
        in one fit); ``stored_MB`` of all fits.
    """
    bank = BANKS.choose(settings.bank, backbone)
    names = list(bank.card.questions) if bank else []
    starts = [row for target in tokens.values() for row in _starts(target, classes[target], fits, names)]
    used = list(dict.fromkeys(row["nearest"] for row in starts if row["nearest"]))
    token_of = {target: f"[{token}]" for token, target in tokens.items()}
    titles = [f"{token_of[row['target']]} {row['class'] or ''}".strip() for row in starts]
    known = bank.weights["questions"][[names.index(name) for name in used]] if bank and used else None
    alike = np.mean([_cosines(fit.module.questions.detach(), known) for fit in fits], 0)
    learned = [tensor for name, tensor in fits[0].module.learned().items() if name != "classes" or bank is None]
    arrays = [array for fit in fits for array in fit.arrays().values()]
    return {
        "tokens": {f"[{token}]": name for token, name in tokens.items()},
        "bank": bank and bank.name,
        "starts": starts,
        "alike": {"names": [*titles, *used], "matrix": alike.round(4).tolist()},
        "trained": sum(tensor.numel() for tensor in learned),
        "stored_MB": round(sum(array.nbytes for array in arrays) / 1e6, 3),
    }


def _starts(
    target: str, classes: Sequence[str], fits: Sequence[PromptFit], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row a question: the bank's prompt that most fits started from."""
    rows = []
    for k in range(fits[0].asked[target].n_questions):
        asked = classes[k] if len(classes) > 2 else None
        row: dict[str, Any] = {"target": target, "class": asked, "nearest": None, "similarity": None}
        chosen = [fit.asked[target].starts[k] for fit in fits if fit.asked[target].starts]
        if chosen:
            most, count = Counter(start.nearest for start in chosen).most_common(1)[0]
            near = [start.similarity for start in chosen if start.nearest == most]
            row |= {"nearest": names[most], "similarity": round(float(np.mean(near)), 4), "fits": count}
        rows.append(row)
    return rows


def _cosines(questions: Tensor, known: Tensor | None) -> Array:
    """Return the cosine similarities of prompts, each one vector of all its tokens and layers."""
    joined = questions.numpy() if known is None else np.concatenate([questions.numpy(), known.numpy()])
    flat = joined.reshape(len(joined), -1).astype(float)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit @ unit.T
