"""What a training set must show for a stated use, and what of it is lacking.

    for lack in lacks_of(dataset, covered, Wanted(uses=("md", "defects"), temperature_K=(300, 1200))):
        print(lack.sentence)

The demands of a use that a model can be tuned for are those of `matgraft.potentials.tuning.purposes`; here are more of
them, and those of the other uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from pydantic import Field, computed_field, field_validator

from matgraft.core.frozen import Frozen
from matgraft.core.quantities import FORCES
from matgraft.core.statistics import MIN_UNITS
from matgraft.potentials.audit.coverage import SHEAR_STRAIN, VOLUME_STRAIN, Coverage
from matgraft.potentials.audit.robust import rms
from matgraft.potentials.checks.settings import USES, CheckedUse
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.tuning.purposes import PURPOSES

Kind = Literal[
    "energy",
    "forces",
    "stress",
    "bulk",
    "relaxed",
    "displaced",
    "compressed",
    "expanded",
    "sheared",
    "cold",
    "hot",
    "close",
    "vacancy",
    "interstitial",
    "surface",
    "phases",
    "molecule",
]
LABELS: tuple[Kind, ...] = ("energy", "forces", "stress")

ENOUGH = MIN_UNITS
"""Frames of a kind: of fewer no error is judged."""
SMALL_FORCE = (0.02, 0.5)
"""eV/Å, root mean square force of a frame whose atoms are displaced by little: above rounding, below 300 K."""
CLOSE = 0.8
"""Covalent distances: atoms that collide come nearer."""
COLLIDES_K = 1000.0
"""Temperature above which atoms are taken to collide: kT is then 2 % of the energy of a bond."""
NEAR_END = 0.1
"""Part of a temperature by which the frames may miss it."""
DEFAULT_USES: tuple[CheckedUse, ...] = ("relax", "phonons", "elastic", "md", "defects", "surfaces")


class Wanted(Frozen):
    """What a model shall be used for; temperatures are those of molecular dynamics."""

    uses: tuple[CheckedUse, ...] = DEFAULT_USES
    temperature_K: tuple[float, float] = (300.0, 300.0)

    @field_validator("temperature_K")
    @classmethod
    def _in_order(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1] <= 10_000:
            raise ValueError("temperatures are positive, at most 10000 K, the lowest first")
        return ends


@dataclass(frozen=True)
class Said:
    """How a kind is said.

    Attributes
    ----------
    is_one
        What a frame of the kind is or has: ``"is compressed by more than 3%"``.
    add
        What to add.
    """

    is_one: str
    add: str


SAID: Mapping[Kind, Said] = {
    "energy": Said("has an energy", "the label, from the same calculations"),
    "forces": Said("has forces", "the label, from the same calculations"),
    "stress": Said("has a stress", "the label, from the same calculations"),
    "bulk": Said("is a perfect or strained crystal", "crystals at and near their volume"),
    "relaxed": Said("is relaxed", "crystals that your DFT has relaxed"),
    "displaced": Said("has atoms that are displaced by little", "supercells with atoms displaced by 0.01 to 0.03 Å"),
    "compressed": Said(f"is compressed by more than {VOLUME_STRAIN:.0%}", "cells at 0.85 to 0.95 of the volume"),
    "expanded": Said(f"is expanded by more than {VOLUME_STRAIN:.0%}", "cells at 1.05 to 1.15 of the volume"),
    "sheared": Said(f"is sheared by more than {SHEAR_STRAIN:.0%}", "cells under independent strains of both senses"),
    "cold": Said("is of the lowest temperature", "supercells with displacements of that temperature"),
    "hot": Said("is of the highest temperature", "supercells with displacements of that temperature"),
    "close": Said("has atoms that collide", "dense supercells with strongly displaced atoms"),
    "vacancy": Said("has a vacancy", "supercells without an atom, each kind of site, as it is and rattled"),
    "interstitial": Said("is named an interstitial", "supercells with an atom in the largest voids"),
    "surface": Said("has a surface", "slabs of low-index facets, as cut and rattled"),
    "phases": Said("is of a second phase of its composition", "other prototypes of the same composition"),
    "molecule": Said("is a molecule", "the molecules, at rest and with stretched bonds; these are yours to name"),
}


class Lack(Frozen):
    """A kind of frames of which there are too few for a use.

    Attributes
    ----------
    use, kind
        What for, and what.
    why
        What it is there for, in words.
    found, needed
        Frames that there are, and that are enough.
    reached_K, wanted_K
        Of temperatures: where the frames end, None where none says its temperature; and where the use does.
    proposed
        Frames that were proposed.
    """

    use: CheckedUse
    kind: Kind
    why: str
    found: int
    needed: int
    reached_K: float | None = None
    wanted_K: float | None = None
    proposed: int = Field(0, ge=0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def sentence(self) -> str:
        """What is lacking, and what to add."""
        use, said = USES[self.use], SAID[self.kind]
        more = f" {self.needed - self.found}{' more' if self.found else ''}:"
        need = "" if self.kind in LABELS else more
        why = f", for {self.why}" if self.why else ""
        return f"{use[0].upper()}{use[1:]}: {self._there(said)}{why}. Add{need} {said.add}."

    def _there(self, said: Said) -> str:
        if self.wanted_K is not None and self.reached_K is not None:
            end = "hottest" if self.kind == "hot" else "coldest"
            return f"frames of {self.wanted_K:g} K are wanted, and the {end} is of {self.reached_K:g} K"
        at = "" if self.wanted_K is None else f" ({self.wanted_K:g} K)"
        if not self.found:
            return f"no frame {said.is_one}{at}"
        there = "1 frame" if self.found == 1 else f"{self.found} frames"
        return f"{there} of {self.needed} that are wanted, each of which {said.is_one}{at}"


class Gaps(Frozen):
    """What `matgraft coverage` says.

    Attributes
    ----------
    files
        What was read.
    wanted
        Uses, and the temperatures of dynamics.
    coverage
        What the frames hold.
    lacks
        What is lacking; empty where nothing is.
    n_proposed, out
        Frames that were proposed, and where they are; empty where they were not written.
    notes
        Of the reading, and of what could not be proposed.
    """

    files: tuple[str, ...]
    wanted: Wanted
    coverage: Coverage
    lacks: tuple[Lack, ...]
    n_proposed: int
    out: str = ""
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 where something is lacking."""
        return 1 if self.lacks else 0


@dataclass(frozen=True)
class Demand:
    """A kind of frames, and what they are there for."""

    kind: Kind
    why: str = ""


_OTHERS: Mapping[CheckedUse, tuple[Demand, ...]] = {
    "relax": (
        *(Demand("energy"), Demand("forces"), Demand("relaxed", "the minimum itself")),
        *(Demand("compressed", "cells off their minimum"), Demand("expanded", "cells off their minimum")),
    ),
    "phonons": (
        *(Demand("forces"), Demand("relaxed", "what phonons are displacements from")),
        Demand("displaced", "the force constants"),
    ),
    "md": (
        Demand("compressed", "fluctuations and pressure"),
        Demand("expanded", "thermal expansion"),
    ),
    "defects": (
        *(Demand("energy"), Demand("forces"), Demand("bulk", "what a defect's energy is counted from")),
        *(Demand("vacancy"), Demand("interstitial")),
    ),
    "molecules": (Demand("energy"), Demand("forces"), Demand("molecule")),
}


def demands_of(use: CheckedUse, temperature_K: tuple[float, float]) -> list[Demand]:
    """Return what a use needs."""
    found: list[Demand] = []
    purpose = next((one for one in PURPOSES.values() if one.name == use), None)
    if purpose is not None:
        kinds = set(get_args(Kind))
        found += [Demand(_kind(name)) for name in purpose.labels]
        families = {name: why for name, why in purpose.families.items() if name in kinds}
        found += [Demand(_kind(name), "" if name == "surface" else why) for name, why in families.items()]
        found += [Demand("phases", "their difference")] if purpose.competing else []
    found += _OTHERS.get(use, ())
    if use == "md":
        found.append(Demand("cold", "the temperatures that are simulated"))
        found += [Demand("close", "collisions at high temperature")] if temperature_K[1] > COLLIDES_K else []
    return found


def lacks_of(dataset: Dataset, covered: Coverage, wanted: Wanted) -> list[Lack]:
    """Return what is lacking, use by use."""
    counts = _Counts(dataset, covered)
    return [
        lack
        for use in wanted.uses
        for demand in demands_of(use, wanted.temperature_K)
        if (lack := counts.lack(use, demand, wanted)) is not None
    ]


def _kind(name: str) -> Kind:
    return next(kind for kind in get_args(Kind) if kind == name)


class _Counts:
    """Frames of each kind in a dataset."""

    def __init__(self, dataset: Dataset, covered: Coverage) -> None:
        self.dataset, self.covered = dataset, covered
        self.forces = [rms(np.linalg.norm(force, axis=1)) for force in _forces(dataset)]

    def lack(self, use: CheckedUse, demand: Demand, wanted: Wanted) -> Lack | None:
        """Return what is lacking of a kind; None where there is enough."""
        if demand.kind in ("cold", "hot"):
            return self._temperature(use, demand, wanted)
        needed = 1 if demand.kind in (*LABELS, "phases", "close") else ENOUGH
        found = self.count(demand.kind)
        if found >= needed:
            return None
        needed = ENOUGH if demand.kind in ("phases", "close") else needed
        return Lack(use=use, kind=demand.kind, why=demand.why, found=found, needed=needed)

    def count(self, kind: Kind) -> int:
        """Return how many frames are of a kind; of phases, how many compositions have several."""
        if kind in LABELS:
            return self.dataset.count(kind)
        if kind == "phases":
            return sum(len(own) > 1 for own in self.covered.phases.values())
        if kind == "close":
            return int(self.covered.closest_ratio is not None and self.covered.closest_ratio <= CLOSE)
        if kind == "displaced":
            low, high = SMALL_FORCE
            return sum(low < size < high for size in self.forces)
        return self.covered.families.get(kind, 0)

    def _temperature(self, use: CheckedUse, demand: Demand, wanted: Wanted) -> Lack | None:
        """Hold temperatures that tags name against those wanted; without any, the size of forces tells hot frames."""
        hot, span = demand.kind == "hot", self.covered.temperature_K
        end = wanted.temperature_K[1 if hot else 0]
        if span is not None:
            reached = span.high if hot else span.low
            short = reached < end * (1 - NEAR_END) if hot else reached > end * (1 + NEAR_END)
            if not short:
                return None
            ends = {"reached_K": reached, "wanted_K": end}
            return Lack(use=use, kind=demand.kind, why=demand.why, found=0, needed=2 * ENOUGH, **ends)
        found = self.count("hot") if hot else sum(size > 0 for size in self.forces)
        if found >= ENOUGH:
            return None
        return Lack(use=use, kind=demand.kind, why=demand.why, found=found, needed=2 * ENOUGH, wanted_K=end)


def _forces(dataset: Dataset) -> Iterator[np.ndarray]:
    return (sample.labels[FORCES.name] for sample in dataset if FORCES.name in sample.labels)
