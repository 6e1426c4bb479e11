"""What a model is tuned for: weights of the loss, and what the training frames must hold for it.

>>> recipe.loss = PURPOSES["phases"].weigh(recipe.loss, train)[0]      # loss.energy=100, if it was not set
>>> PURPOSES["phases"].unmet(coverage(train), train)
["two phases of one composition: no composition has frames of two phases (by tag 'phase')"]

A purpose sets ordinary keys of the recipe, and none that was set by hand. Its weights are a start, not a measurement:
they put the quantity first that the use rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from matgraft.core.verdict import Caution, Damage, Use
from matgraft.potentials.audit.coverage import Coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.tuning.loss import LossSettings, has_weight

PurposeName = Literal["md", "phases", "elastic", "surfaces"]


@dataclass(frozen=True)
class Purpose:
    """A use of a model.

    Attributes
    ----------
    name
        As it is typed.
    use
        In words.
    weights
        Weights of the loss by quantity, where the frames have the label.
    labels
        Labels that some frames must have.
    families
        Kinds of structures that the frames must show, with what they are there for.
    competing
        True if two phases of one composition must be there.
    """

    name: PurposeName
    use: str
    weights: Mapping[str, float]
    labels: tuple[str, ...]
    families: Mapping[str, str] = field(default_factory=dict)
    competing: bool = False

    def weigh(self, loss: LossSettings, dataset: Dataset) -> tuple[LossSettings, str]:
        """Return the loss with its weights, and a line that says them; those set by hand and absent labels stay.

        Parameters
        ----------
        dataset
            The frames to train on.
        """
        unset = {
            name: weight
            for name, weight in self.weights.items()
            if getattr(loss, name) is None and has_weight(dataset, name)
        }
        found = loss.model_copy(update=unset)
        said = [f"loss.{name}={value:g}" for name in self.weights if (value := getattr(found, name)) is not None]
        absent = [f"{name} has no label" for name in self.weights if getattr(found, name) is None]
        return found, f"for {self.use} (--for {self.name}): {', '.join([*said, *absent])}"

    def unmet(self, covered: Coverage, dataset: Dataset) -> list[str]:
        """Return the demands that the training frames do not meet, a few words each."""
        labels = [f"labels of {name}: no frame has one" for name in self.labels if not dataset.count(name)]
        families = [
            f"{family} structures, for {why}: no frame is one"
            for family, why in self.families.items()
            if not covered.families.get(family)
        ]
        lacks_phases = self.competing and not any(len(own) > 1 for own in covered.phases.values())
        phases = [f"two phases of one composition: no composition has frames of two (by {covered.phases_by})"]
        return [*labels, *families, *(phases if lacks_phases else [])]

    def caution(self, unmet: list[str]) -> Caution:
        """Say that the frames do not hold what the purpose needs."""
        return Caution(
            code="purpose-unmet",
            damage=Damage.DOUBT,
            text=f"The training frames do not hold what {self.use} need: {'; '.join(unmet)}.",
            remedy="label such frames and add them, or take the model for another use",
        )

    def not_fit(self, unmet: list[str]) -> Use:
        """Return the purpose as a use that the model is not fit for."""
        return Use(use=f"{self.use}, which it was tuned for", reason="; ".join(unmet))


PURPOSES: Mapping[PurposeName, Purpose] = {
    one.name: one
    for one in (
        Purpose(
            name="md",
            use="molecular dynamics",
            weights={"energy": 3.0, "forces": 1.0, "stress": 100.0},
            labels=("energy", "forces"),
            families={"hot": "the temperatures that are simulated"},
        ),
        Purpose(
            name="phases",
            use="relative energies of phases",
            weights={"energy": 100.0, "forces": 1.0, "stress": 100.0},
            labels=("energy",),
            families={"relaxed": "energies at 0 K"},
            competing=True,
        ),
        Purpose(
            name="elastic",
            use="elastic constants",
            weights={"energy": 10.0, "forces": 1.0, "stress": 1000.0},
            labels=("energy", "forces", "stress"),
            families={
                "sheared": "the shear constants",
                "compressed": "the bulk modulus",
                "expanded": "the bulk modulus",
                "relaxed": "the cell at rest",
            },
        ),
        Purpose(
            name="surfaces",
            use="surface energies",
            weights={"energy": 30.0, "forces": 1.0, "stress": 10.0},
            labels=("energy", "forces"),
            families={"surface": "what is asked for", "bulk": "what a surface energy is counted from"},
        ),
    )
}
