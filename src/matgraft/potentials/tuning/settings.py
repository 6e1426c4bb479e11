"""What a fine-tuning minimises and how, and what was computed of its frames before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from matgraft.core.errors import OptionError, nearest
from matgraft.core.model import Encoded
from matgraft.core.quantities import Array
from matgraft.core.training.schedule import FitSettings
from matgraft.core.vocabulary import keys_called
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.references import References
from matgraft.potentials.tuning.replay import ReplaySettings


@dataclass(frozen=True)
class TuneSettings:
    """Settings of a fine-tuning. What is None in them follows from strategy and data.

    Attributes
    ----------
    loss, fit, replay
        See `LossSettings`, `FitSettings` and `ReplaySettings`.
    heads
        A readout and reference energies for each value of the frames' tag ``head``, as strategy `multihead` always has.
    foundation_head
        Whether the foundation has a head of its own beside them, kept by what is rehearsed. None: where the frames have
        one head.
    references
        Shift of the elements' energies, or of each head's. None: refitted on the foundation's residuals over the
        training frames, and kept where no frame has an energy.
    """

    loss: LossSettings = field(default_factory=LossSettings)
    fit: FitSettings = field(default_factory=FitSettings)
    replay: ReplaySettings = field(default_factory=ReplaySettings)
    heads: bool = False
    foundation_head: bool | None = None
    references: References | None = None

    def updated(self, **options: Any) -> TuneSettings:
        """Return the settings with other values: of their own fields, or of those of `fit`.

        Raises
        ------
        OptionError
            If neither has a field of that name.
        """
        own = {one.name for one in fields(self)}
        for name in options:
            if name not in (known := [*own, *FitSettings.model_fields]):
                called = [key.removeprefix("fit.") for key in keys_called(name) if key.startswith("fit.")]
                remedy = f"did you mean {called[0]!r}?" if called else nearest(name, known)
                raise OptionError(f"unknown option {name!r}", remedy=remedy)
        changed = replace(self, **{name: value for name, value in options.items() if name in own})
        fit = {name: value for name, value in options.items() if name not in own}
        return replace(changed, fit=FitSettings(**{**changed.fit.model_dump(), **fit}))


@dataclass(frozen=True)
class Precomputed:
    """What was computed of the frames before, so that a fit need not compute it again.

    Attributes
    ----------
    on_train, on_validation
        The foundation's predictions.
    train_graphs, validation_graphs
        The frames as `Potential.encode` gives them.
    """

    on_train: Sequence[Mapping[str, Array]] | None = None
    on_validation: Sequence[Mapping[str, Array]] | None = None
    train_graphs: Sequence[Encoded] | None = None
    validation_graphs: Sequence[Encoded] | None = None
