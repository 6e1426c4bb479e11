"""Task prompts: learned tokens that ask the frozen encoder a question, before its first layer.

    asked = PromptedEncoder(encoder, ["gap", "energy"])
    answers = asked(numbers, fractions, classes, questions)       # (B, 21), a row a formula and question

Behind the gathering token and the elements stand one token of the material's class and a few of the property. They take
part in the attention of every layer, so the elements' own tokens become others by what is asked. One readout, the same
for all properties, reads the pooled formula and the place where the question stood, as a masked language model is read
at its mask. Nothing of the encoder learns.

    [gather] [Fe] [O]  [OXIDE]  [BANDGAP] x 2   -> layers -> pooled formula, mean of the property's tokens -> readout

A prompt has a vector a token and layer: the first enters before the first layer, each further one is added to what the
token has become before its own layer. Input vectors alone are prompt tuning (Lester et al. 2021), vectors for every
layer its deep form (Li and Liang 2021; Jia et al. 2022).

The answers are the quantiles of a distribution, in the property's standardised units after an offset and a slope of its
own; the middle one is the answer, and of a question for yes or no the logit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from matgraft.formulas.encoder_network import CompositionEncoder
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.quantiles import LEVELS
from matgraft.formulas.prompts.material_class import MATERIAL_CLASSES, material_class

TOKENS = 2
"""Of a property."""
HIDDEN = 128


class PromptedEncoder(nn.Module):
    """A frozen encoder, prompts, and one readout for all questions.

    Parameters
    ----------
    encoder
        Copied and frozen.
    questions
        Names, in the order of the indices that `forward` takes.
    covariates
        How many further numbers a question may depend on.
    seed
        Of the vectors that nothing has taught yet.
    own
        Tokens of the user's own classes. Each has a vector that begins at zero and is added to the token of the
        material's class: a few rows move it as far as they speak for it.
    """

    def __init__(
        self,
        encoder: CompositionEncoder,
        questions: Sequence[str],
        covariates: int = 0,
        seed: int = 0,
        own: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.names, self.own_names = tuple(questions), tuple(own)
        self.frozen = copy.deepcopy(encoder).requires_grad_(False).eval()
        layers, width, n = len(encoder.layers), encoder.elements.learned.embedding_dim, len(self.names)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.classes = nn.Parameter(_first_layer(len(MATERIAL_CLASSES), layers, 1, width))
            self.questions = nn.Parameter(_first_layer(n, layers, TOKENS, width))
            self.readout = _readout(encoder.width_of_features + max(1, len(encoder.property_names)) + width)
        if own:
            self.own = nn.Parameter(torch.zeros(len(own), layers, 1, width))
        self.covariates = nn.Parameter(torch.zeros(n, covariates, width))
        self.offset, self.slope = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.ones(n))

    def train(self, mode: bool = True) -> Self:
        """Switch the readout; the encoder stays as it predicts."""
        super().train(mode)
        self.frozen.eval()
        return self

    def learned(self) -> dict[str, nn.Parameter]:
        """Return everything but the encoder, by name."""
        return {name: one for name, one in self.named_parameters() if not name.startswith("frozen.")}

    def prompts(self, classes: Tensor, questions: Tensor, covariates: Tensor) -> Tensor:
        """Return (B, layers, 1 + TOKENS, width) of indices (B,), (B,): the class, then the question.

        Covariates (B, n) shift the question's tokens before the first layer, each along a vector of its own.
        """
        shift = torch.einsum("bc,bcw->bw", covariates, self.covariates[questions])
        first, *later = self.questions[questions].unbind(1)
        question = torch.stack([first + shift[:, None], *later], 1)
        kind = self.classes[classes % len(MATERIAL_CLASSES)]
        if self.own_names:
            none = self.own.new_zeros(1, *self.own.shape[1:])
            kind = kind + torch.cat([none, self.own])[classes // len(MATERIAL_CLASSES)]
        return torch.cat([kind, question], 2)

    def tokens(
        self,
        numbers: Tensor,
        fractions: Tensor,
        classes: Tensor,
        questions: Tensor,
        covariates: Tensor | None = None,
    ) -> Tensor:
        """Return (B, L + 2 + TOKENS, width): the gathering token, the elements, the class, the question."""
        if covariates is None:
            covariates = fractions.new_zeros(len(numbers), self.covariates.shape[1])
        return self.frozen.tokens(numbers, fractions, self.prompts(classes, questions, covariates))

    def forward(
        self,
        numbers: Tensor,
        fractions: Tensor,
        classes: Tensor,
        questions: Tensor,
        covariates: Tensor | None = None,
    ) -> Tensor:
        """Return answers (B, 21), ascending where training has made them so."""
        tokens = self.tokens(numbers, fractions, classes, questions, covariates)
        features = self.frozen.pooled(tokens, numbers, fractions)
        asked = tokens[:, -TOKENS:].mean(1)
        read = self.readout(torch.cat([features, self.frozen.head(features), asked], 1))
        slope = self.slope[questions].unsqueeze(1)
        upright = torch.where(slope < 0, read.flip(1), read)  # a falling map turns low quantiles into high ones
        return self.offset[questions].unsqueeze(1) + slope * upright


def class_indices(formulas: Sequence[Formula], own: Sequence[str] = ()) -> Tensor:
    """Return a number (n,) for the classes of each formula: of its material, stated or found, and of the user.

    The number is that of the material class, plus 12 times that of its own class counted from 1; a class that is not
    among `own` counts as none.
    """
    numbers = {name: i for i, name in enumerate(own, start=1)}
    each = [
        MATERIAL_CLASSES.index(material_class(one)) + len(MATERIAL_CLASSES) * numbers.get(one.own_class, 0)
        for one in formulas
    ]
    return torch.tensor(each, dtype=torch.long)


def _first_layer(count: int, layers: int, tokens: int, width: int) -> Tensor:
    """Return vectors as large as those of elements for the first layer, zeros for the others."""
    out = torch.zeros(count, layers, tokens, width)
    out[:, 0] = 0.3 * torch.randn(count, tokens, width)
    return out


def _readout(width: int) -> nn.Sequential:
    """Return a readout that begins near the standard normal distribution."""
    from scipy.special import ndtri

    last = nn.Linear(HIDDEN, len(LEVELS))
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.copy_(torch.from_numpy(ndtri(LEVELS)))
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HIDDEN), nn.GELU(), last)
