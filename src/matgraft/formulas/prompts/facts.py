"""What a run's prompts have become, as plain data for reports: where each started, and how alike they are now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import ConfigDict, Field
from torch import Tensor

from matgraft.core.frozen import Frozen
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.learners.inputs import Array
from matgraft.formulas.prompts.bank import BANKS
from matgraft.formulas.prompts.member import PromptFit, PromptSettings


class PromptStart(Frozen):
    """Where the prompt of a question started.

    Attributes
    ----------
    asked
        The class that it asks for, of several; ``"class"`` in files.
    nearest
        The bank's prompt that most fits started from; None where it began at random.
    similarity
        Correlation of its answers with the labels, the mean over these fits.
    fits
        How many these are.
    """

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    target: str
    asked: str | None = Field(None, alias="class")
    nearest: str | None = None
    similarity: float | None = None
    fits: int | None = Field(None, exclude_if=lambda value: value is None)


class Alike(Frozen):
    """Cosine similarities of a run's prompts and of the bank's that they started from, the mean over fits.

    Attributes
    ----------
    matrix
        (n, n), in the order of the names.
    """

    names: tuple[str, ...]
    matrix: list[list[float]]


class PromptFacts(Frozen):
    """What a run's prompts have become.

    Attributes
    ----------
    tokens
        By token in brackets, the target that it asks for.
    bank
        Name of the bank that the prompts started from; None where they began at random.
    starts
        A row a question.
    trained
        Numbers that learned in one fit.
    stored_MB
        Of all fits.
    own_classes
        Rows of each of the user's own classes, by token, over all targets.
    """

    tokens: dict[str, str]
    bank: str | None
    starts: tuple[PromptStart, ...]
    alike: Alike
    trained: int
    stored_MB: float  # noqa: N815 - as it stands in files
    own_classes: dict[str, int] = Field(default_factory=dict)


def prompt_facts(
    fits: Sequence[PromptFit],
    backbone: CompositionBackbone,
    settings: PromptSettings,
    tokens: Mapping[str, str],
    classes: Mapping[str, Sequence[str]],
    own_classes: Mapping[str, int] | None = None,
) -> PromptFacts:
    """Describe fits of the same targets.

    Parameters
    ----------
    tokens
        Of the targets, token -> name.
    classes
        By target, the names of its classes; empty for values.
    own_classes
        Rows of each of the user's own classes.
    """
    bank = BANKS.choose(settings.bank, backbone)
    names = list(bank.card.questions) if bank else []
    starts = [row for target in tokens.values() for row in _starts(target, classes[target], fits, names)]
    used = list(dict.fromkeys(row.nearest for row in starts if row.nearest))
    token_of = {target: f"[{token}]" for token, target in tokens.items()}
    titles = [f"{token_of[row.target]} {row.asked or ''}".strip() for row in starts]
    known = bank.weights["questions"][[names.index(name) for name in used]] if bank and used else None
    alike = np.mean([_cosines(fit.module.questions.detach(), known) for fit in fits], 0)
    learned = [tensor for name, tensor in fits[0].module.learned().items() if name != "classes" or bank is None]
    arrays = [array for fit in fits for array in fit.arrays().values()]
    return PromptFacts(
        tokens={f"[{token}]": name for token, name in tokens.items()},
        bank=bank and bank.name,
        starts=tuple(starts),
        alike=Alike(names=(*titles, *used), matrix=alike.round(4).tolist()),
        trained=sum(tensor.numel() for tensor in learned),
        stored_MB=round(sum(array.nbytes for array in arrays) / 1e6, 3),
        own_classes=dict(own_classes or {}),
    )


def _starts(
    target: str, classes: Sequence[str], fits: Sequence[PromptFit], names: Sequence[str]
) -> Iterator[PromptStart]:
    """Yield a row a question: the bank's prompt that most fits started from."""
    for k in range(fits[0].asked[target].n_questions):
        asked = classes[k] if len(classes) > 2 else None
        chosen = [fit.asked[target].starts[k] for fit in fits if fit.asked[target].starts]
        if not chosen:
            yield PromptStart(target=target, asked=asked)
            continue
        most, count = Counter(start.nearest for start in chosen).most_common(1)[0]
        near = float(np.mean([start.similarity for start in chosen if start.nearest == most]))
        yield PromptStart(target=target, asked=asked, nearest=names[most], similarity=round(near, 4), fits=count)


def _cosines(questions: Tensor, known: Tensor | None) -> Array:
    """Return the cosine similarities of prompts, each one vector of all its tokens and layers."""
    joined = questions.numpy() if known is None else np.concatenate([questions.numpy(), known.numpy()])
    flat = joined.reshape(len(joined), -1).astype(float)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit @ unit.T
