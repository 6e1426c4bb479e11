"""The members a predictor is made of: trees or a closed form on features, the encoder fine-tuned, or asked by prompts.

A member without the encoder is a baseline at the same time: what descriptors and trees give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from matgraft.core.errors import choose
from matgraft.formulas.domain.member import METHODS, TargetDomain, fit_toward
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.forest import Forest, Trees
from matgraft.formulas.learners.inputs import Array, Inputs, OnBlocks, Part
from matgraft.formulas.learners.network import FittedNetwork, NetworkSettings, fit_network
from matgraft.formulas.prompts.member import PromptedNetwork, PromptFit, PromptSettings, fit_prompts
from matgraft.formulas.prompts.text import parse_plain, parse_stated

Model = Callable[[Inputs], Array]
"""What a fit returns: (n, 99) quantiles or (n, n_classes) probabilities of formulas."""
Tuned = FittedNetwork | PromptedNetwork
"""What is kept as weights instead of being fitted again."""
Shared = dict[tuple[str, ...], Forest]
"""Forests of one part and seed, by the features that they read."""


@dataclass(frozen=True)
class Member:
    """One way to predict.

    Attributes
    ----------
    name
        For reports.
    kind
        ``trees``, ``boosted`` (which move the trees of the same features), ``closed-form``, ``network`` or ``prompts``.
    blocks
        Names of the features it reads; covariates are always added. A network reads the formulas themselves.
    strategy
        Of a network: ``full`` or ``partial``.
    toward
        How a network is carried over to a domain without labels (`matgraft.formulas.domain.member`); empty for the
        others.
    """

    name: str
    kind: Literal["trees", "boosted", "closed-form", "network", "prompts"]
    blocks: tuple[str, ...] = ()
    strategy: str = ""
    toward: str = ""

    @property
    def pretrained(self) -> bool:
        """True if it reads the encoder."""
        return not self.refits or bool({"properties", "embedding"} & set(self.blocks))

    @property
    def refits(self) -> bool:
        """True if it is fitted again on all rows; else the fits of the inner folds are averaged."""
        return self.kind not in ("network", "prompts")

    def fit(self, train: Part, held: Part, tools: Tools, seed: int, shared: Shared | None = None) -> Any:
        """Fit on one part; `held` is what the fit will be judged on, and does not touch it.

        `shared` keeps what members with the same features have in common of the same part and seed.
        """
        inputs, labels = train
        if self.toward and tools.target is not None:
            return fit_toward(self.toward, tools.target, train, held, tools.backbone, tools.network, seed)
        if self.kind == "network":
            return fit_network(tools.backbone, train, held, self.strategy, tools.network, seed)
        if self.kind == "prompts":
            return fit_prompts(tools.backbone, {"": train}, {"": held}, tools.prompt, seed).of("")
        names = (*self.blocks, "covariates")
        x = inputs.matrix(names)
        if self.kind == "closed-form":
            from matgraft.formulas.learners.closed_form import ClosedForm  # brings scikit-learn: a second

            return OnBlocks(ClosedForm(x, labels, seed), names)
        trees, shared = Trees(seed=seed, threads=tools.threads), {} if shared is None else shared
        forest = shared.get(names) or Forest(x, labels, trees)
        shared[names] = forest
        return OnBlocks(forest.moved(x, labels, trees) if self.kind == "boosted" else forest, names)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], backbone: CompositionBackbone, n_classes: int, asked: str
    ) -> Tuned:
        """Return what the arrays of a fit describe; of prompts, what answers the target `asked`."""
        if self.kind == "prompts":
            return PromptFit.from_arrays(arrays, backbone).of(asked)
        return FittedNetwork.from_arrays(arrays, backbone, n_classes)


@dataclass(frozen=True)
class Tools:
    """What fits need beside data."""

    backbone: CompositionBackbone
    network: NetworkSettings
    threads: int = 1
    prompt: PromptSettings = field(default_factory=PromptSettings)
    target: TargetDomain | None = None


FRACTIONS = Member("trees on fractions", "trees", ("fractions",))
PLAIN = ("magpie", "fractions", "valence")
DESCRIPTORS = Member("trees on descriptors", "trees", PLAIN)
BOOSTED = Member("boosted trees on descriptors", "boosted", PLAIN)
PROPERTIES = Member("trees on descriptors and predicted properties", "trees", (*PLAIN, "properties"))
BOOSTED_PROPERTIES = Member("boosted trees on descriptors and predicted properties", "boosted", (*PLAIN, "properties"))
PROPERTIES_ALONE = Member("trees on predicted properties", "trees", ("properties",))
CLOSED_PROPERTIES = Member("closed form on predicted properties", "closed-form", ("properties",))
CLOSED_FORM = Member("closed form on the encoder", "closed-form", ("embedding", "properties"))
FULL = Member("encoder, every stage tuned", "network", strategy="full")
PARTIAL = Member("encoder, last stages tuned", "network", strategy="partial")
PROMPT = Member("encoder frozen, asked by prompts", "prompts")
TOWARD_TARGET = {
    method: Member(f"encoder tuned on the source, {said}", "network", strategy="full", toward=method)
    for method, said in zip(
        METHODS,
        ("nothing else", "domains aligned by gradient reversal", "domains aligned by CORAL", "domains aligned by MMD",
         "its rows weighted"),
        strict=True,
    )
}  # fmt: skip
"""By method; a source-only network is what ``full`` fits, and has a name of its own beside the others."""

STRATEGIES: dict[str, tuple[Member, ...]] = {
    "auto": (
        FRACTIONS,
        DESCRIPTORS,
        BOOSTED,
        PROPERTIES,
        BOOSTED_PROPERTIES,
        PROPERTIES_ALONE,
        CLOSED_PROPERTIES,
        CLOSED_FORM,
        FULL,
    ),
    "full": (FULL,),
    "partial": (PARTIAL,),
    "feature": (CLOSED_PROPERTIES, CLOSED_FORM),
    "prompt": (PROMPT,),
    "descriptors": (FRACTIONS, DESCRIPTORS, BOOSTED),
    "domain": tuple(TOWARD_TARGET.values()),
}
"""Members by strategy; several are weighed by the stack, but of ``domain`` one is chosen."""
BY_NAME = {member.name: member for members in STRATEGIES.values() for member in members}
OF_POTENTIALS = {
    "lora": "partial trains the last stages alone; lora is for potentials",
    "gradual": "partial trains the last stages alone; gradual is for potentials",
    "replay": "feature leaves the encoder as it is; replay is for potentials",
    "multihead": "`matgraft tune` learns several --target from one table; multihead is for potentials",
    "compare": "`matgraft compare` lines up strategies on the same folds",
    "ladder": "auto compares strategies of formulas; ladder does those of potentials",
}
"""The nearest that works, by strategies that only potentials have."""
FEWEST_FOR_NETWORK = 500
"""Rows from which on ``auto`` fine-tunes. At 256 it buys nothing, at two thirds and more of the time: measured gaps
0.412 eV with and without, formation energies 0.150 eV/atom."""
FEWEST_BOOSTED = 200
"""Rows from which on boosted trees of values are a member; the classifier of the trees has boosted ones of its own."""


def strategies_with(kind: str) -> list[str]:
    """Return the strategies that have a member of a kind."""
    return [name for name, members in STRATEGIES.items() if any(member.kind == kind for member in members)]


def members_of(strategy: str, n: int, n_classes: int = 0) -> tuple[Member, ...]:
    """Return the members of a strategy for n rows, of values or of so many classes.

    Raises
    ------
    OptionError
        If there is no such strategy.
    """
    chosen = choose(strategy, STRATEGIES, "strategy", OF_POTENTIALS)
    idle = {"network"} if strategy == "auto" and n < FEWEST_FOR_NETWORK else set()
    if n_classes or n < FEWEST_BOOSTED:
        idle.add("boosted")
    return tuple(member for member in chosen if member.kind not in idle)


def formula_reader(strategy: str) -> Callable[[str], Formula]:
    """Return how a strategy reads formulas to learn from: with prompts the class of the material may stand before."""
    return parse_stated if strategy == "prompt" else parse_plain
