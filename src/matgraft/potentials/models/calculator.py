"""An ASE calculator on a potential: for relaxations, dynamics and phonons as with any other.

    atoms.calc = PotentialCalculator(load("runs/silicon"))
    atoms.get_potential_energy()    # eV

    atoms.calc = load("runs/silicon").calculator(uncertainty=True)
    atoms.calc.results["forces_std"], atoms.calc.results["extrapolation"]      # beside the forces, in the same call

It runs matgraft's own network, as training and scoring do; `matgraft export --to ase` writes a calculator that needs
the vendor's package alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes

from matgraft.core.errors import DataError
from matgraft.core.quantities import ENERGY, FORCES, MAGMOM, STRESS, UNCERTAINTIES, Array, full_to_voigt
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.network import AtomicNetwork
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.uncertainty import Uncertainty


class StructureError(DataError, CalculationFailed):
    """A structure that the model cannot take: an error of matgraft, and one that users of ASE's calculators expect."""


class PotentialCalculator(Calculator):
    """Energies (eV), forces (eV/Å), stress (eV/Å³, ASE's order of six) and, where the model has them, moments (µB).

    Parameters
    ----------
    potential
        The model; it is put in evaluation mode by each prediction.
    uncertainty
        Of this model. With it `results` hold energy_std and energy_interval (eV, of the cell), forces_std and
        forces_interval (n,) eV/Å and extrapolation (n,) as well, those that could be calibrated.

    Raises
    ------
    StructureError
        On a structure that the model cannot take: it makes no sense, an unknown element, no neighbours. It is a
        `DataError`, and ASE's `CalculatorError` as well.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress", "magmoms"]  # noqa: RUF012 - as ASE declares it
    name = "matgraft"

    def __init__(self, potential: AtomicNetwork, uncertainty: Uncertainty | None = None) -> None:
        # ASE's trajectories and databases keep the parameters: they say which model it was.
        super().__init__(model=potential.card.name, weights_sha256=potential.card.weights_sha256)
        self.potential, self.uncertainty = potential, uncertainty
        lacks = () if MAGMOM.name in potential.quantities else ("magmoms",)
        known = [name for name in self.implemented_properties if name not in lacks]
        self.implemented_properties = [*known, *(uncertainty.quantities if uncertainty else ())]

    def __repr__(self) -> str:
        """Say whose calculator it is, and whether it tells how sure it is."""
        sure = f", with {', '.join(self.uncertainty.quantities)}" if self.uncertainty else ""
        return f"PotentialCalculator({self.potential!r}{sure})"

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predict one structure; all quantities of the model at once, since forces cost no more than energies do."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        try:
            found = predict_samples(
                self.potential, [Sample(self.atoms, {}, file="atoms")], uncertainty=self.uncertainty
            )[0]
        except DataError as error:
            raise StructureError(error.found, where="atoms", allowed=error.allowed, remedy=error.remedy) from error
        energy = float(found[ENERGY.name])
        results: dict[str, float | Array] = {"energy": energy, "free_energy": energy, "forces": found[FORCES.name]}
        if STRESS.name in found:
            results["stress"] = full_to_voigt(found[STRESS.name])
        if MAGMOM.name in found:
            results["magmoms"] = found[MAGMOM.name]
        for name in UNCERTAINTIES.keys() & found.keys():
            results[name] = found[name] if found[name].ndim else float(found[name])
        self.results = results
