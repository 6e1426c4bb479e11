"""What is asked of a predictor, and which of it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from matgraft.core.errors import OptionError
from matgraft.core.frozen import Frozen
from matgraft.core.reads import Read, changed_keys, refuse_unread, unread
from matgraft.formulas.domain.member import DomainSettings
from matgraft.formulas.learners.network import NetworkSettings
from matgraft.formulas.learners.transform import Scale
from matgraft.formulas.predictor.members import FEWEST_FOR_NETWORK, members_of, strategies_with
from matgraft.formulas.prompts.member import PromptSettings


class PredictorSettings(Frozen):
    """How a predictor is made."""

    strategy: str = "auto"
    """auto, full, partial, feature, prompt, descriptors or domain (`members.STRATEGIES`)."""
    level: float = Field(0.9, gt=0.5, lt=0.98)
    """Part of the truths that an interval shall hold."""
    scale: Scale = "auto"
    """On which a target is learned (`matgraft.formulas.learners.transform`)."""
    inner_folds: int = Field(5, ge=2)
    network: NetworkSettings = NetworkSettings()
    prompt: PromptSettings = PromptSettings()
    domain: DomainSettings = DomainSettings()
    ordinal: bool = False
    """Classes have an order: the class taken is the middle one of the distribution, which is best for ranks."""
    seed: int = Field(0, ge=0, lt=2**31)


def refuse_idle(
    settings: PredictorSettings,
    with_target: bool = False,
    *,
    given: Sequence[str] = (),
    rows: Sequence[int] = (),
    n_classes: Sequence[int] = (),
    verb: str = "tune",
) -> None:
    """Raise an `OptionError` for settings that nothing reads, or a target that the strategy has no use for.

    Parameters
    ----------
    with_target
        Whether there is a table of a target domain.
    given
        Keys that the user named, beside those that are not at their default.
    rows, n_classes
        Of the tables, where they are known.
    verb
        For the error.
    """
    is_domain = settings.strategy == "domain"
    keys = [*given, *changed_keys(settings, PredictorSettings())]
    refuse_unread(verb, READS[verb], keys, _Asked(settings, tuple(rows), tuple(n_classes)), READS)
    if with_target and not is_domain:
        raise OptionError(f"a target is not read with strategy {settings.strategy!r}", allowed=["domain"])
    if is_domain and not with_target:
        raise OptionError(
            "strategy 'domain' needs a table of the target", remedy="`matgraft tune` takes one, by --adapt-to"
        )
    settings.domain.refuse_idle()


def what_is_read(
    settings: PredictorSettings, given: Sequence[str], rows: Sequence[int], n_classes: int
) -> tuple[PredictorSettings, set[str]]:
    """Return settings without those that nothing reads in their strategy, and which of the given keys these are.

    Parameters
    ----------
    given
        Keys that the user named, beside those that are not at their default.
    rows, n_classes
        Of the tables.
    """
    asked, default = _Asked(settings, tuple(rows), (n_classes,)), PredictorSettings()
    changed = list(changed_keys(settings, default))
    idle = set(unread(READS["crossval"], [*given, *changed], asked))
    content = settings.model_dump()
    for key in idle.intersection(changed):
        section, _, name = key.rpartition(".")
        place, usual = (content[section], getattr(default, section)) if section else (content, default)
        place[name] = getattr(usual, name)
    return PredictorSettings.model_validate(content), idle.intersection(given)


@dataclass(frozen=True)
class _Asked:
    """What is asked of a predictor; rows and classes of its tables where they are known."""

    settings: PredictorSettings
    rows: tuple[int, ...] = ()
    n_classes: tuple[int, ...] = ()

    @property
    def strategy(self) -> str:
        return self.settings.strategy

    @property
    def tunes(self) -> bool:
        """True if a table has the rows that the strategy fine-tunes from, or none is known."""
        if not self.rows:
            return True
        return any(member.kind == "network" for n in self.rows for member in members_of(self.strategy, n))

    def has(self, *, classes: bool) -> bool:
        """Say whether a target is of classes, or of values; True where none is known."""
        return not self.n_classes or any(bool(n) == classes for n in self.n_classes)


def _reads(without: str = "") -> tuple[Read, ...]:
    """Return what is read of `PredictorSettings`, where one strategy cannot be asked for."""

    def by(key: str, *strategies: str) -> Read:
        able = tuple(name for name in strategies if name != without)
        return Read(key, f"strategy {', '.join(able)}", lambda asked: asked.strategy in able, able)

    reads = (
        *(Read(f"{name}*") for name in PredictorSettings.model_fields),
        by("network.*", *strategies_with("network")),
        Read(
            "network.*",
            f"tables that strategy auto fine-tunes on, of {FEWEST_FOR_NETWORK} rows",
            lambda asked: asked.tunes,
        ),
        by("network.stages", "partial"),
        Read("network.loss", "targets of values", lambda asked: asked.has(classes=False)),
        by("prompt.*", "prompt"),
        by("domain.*", "domain"),
        Read("level", "targets of values", lambda asked: asked.has(classes=False)),
        Read("scale", "targets of values", lambda asked: asked.has(classes=False)),
        Read("ordinal", "targets of classes", lambda asked: asked.has(classes=True)),
    )
    return tuple(read for read in reads if not (without and read.key.startswith(without)))


READS = {"tune": _reads(), "crossval": _reads(without="domain")}
"""What each verb reads of `PredictorSettings`."""
