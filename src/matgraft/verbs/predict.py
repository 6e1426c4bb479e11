"""Predict structures with a potential, or formulas with a predictor.

for atoms in predict("runs/mine", structures): atoms.get_potential_energy()
predict("runs/melting", ["HfC", "TaC"])      # a pandas.DataFrame
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import UNCERTAINTIES, Array
from matgraft.verbs.given import Data, Given, parsed

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from matgraft.formulas.predict import PropertyModel
    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.models.potential import Potential
    from matgraft.potentials.recipe import Recipe


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Sequence["Atoms"]):
    """Predicted structures, in the order in which they were given: `ase.io.write` takes them.

    Each is an `ase.Atoms` with energy, forces and stress in a `SinglePointCalculator`. A model with an uncertainty adds
    ``info["energy_std"]`` and ``info["energy_interval"]`` (eV, of the cell), ``arrays["forces_std"]`` and
    ``arrays["forces_interval"]`` (n,) eV/Å, and ``arrays["extrapolation"]`` (n,).

    Attributes
    ----------
    model
        Name of what predicted.
    """

    structures: tuple[Atoms, ...]
    model: str

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.structures)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Atoms | Predictions:
        """Return a structure, or some of them."""
        if isinstance(index, slice):
            return Predictions(self.structures[index], self.model)
        return self.structures[index]

    @property
    def energies(self) -> Array:
        """Energies (n_structures,) in eV, of the whole cells."""
        return np.array([atoms.get_potential_energy() for atoms in self.structures])

    @property
    def forces(self) -> list[Array]:
        """Forces (n, 3) in eV/Å of each structure."""
        return [atoms.calc.results["forces"] for atoms in self.structures]

    @property
    def stresses(self) -> list[Array | None]:
        """Stress (6,) in eV/Å³ of each structure, in ASE's order and sign; None without a cell."""
        return [atoms.calc.results.get("stress") for atoms in self.structures]

    def __repr__(self) -> str:
        """Say how many structures, by which model, and which quantities."""
        first = self.structures[0] if self.structures else None
        sure = [name for name in UNCERTAINTIES if first and _has(first, name)]
        names = [*(sorted(first.calc.results) if first else ()), *sure]
        return f"Predictions({len(self)} structures by {self.model}: {', '.join(names)})"


def _has(atoms: Atoms, name: str) -> bool:
    return name in atoms.info or name in atoms.arrays


def predict(model: Any, data: Data, **options: Any) -> Predictions | pd.DataFrame:
    """Predict structures with a potential, or formulas with the predictor of a table.

    Parameters
    ----------
    model
        A run folder, a foundation by name (``"chgnet"``), or what `matgraft.load` and `matgraft.tune` return.
    data
        For a potential an `ase.Atoms`, a list of them, a `Dataset`, or files of structures. For a predictor a formula,
        a list of them, a `pandas.DataFrame` with a column of formulas, or a file of a table.
    options
        For files of structures how they are read, such as ``elements="Cu,S"``. For formulas covariates that all share,
        such as ``temperature=300``.

    Returns
    -------
    Predictions or pandas.DataFrame
        A sequence of `ase.Atoms`; of formulas a row a formula and target.

    Raises
    ------
    DataError
        If structures or formulas cannot be predicted; all that cannot are named.
    OptionError
        If the model is unknown, or an option is not read.
    """
    from matgraft.formulas.predict import PropertyModel

    loaded, name = loaded_model(model)
    if isinstance(loaded, PropertyModel):
        return _predict_formulas(loaded, data, options)
    return _predict_structures(loaded, name, parsed(data), options)


class Tuned(ABC):
    """What holds a tuned model in a folder: it is opened when it is asked for."""

    folder: Path

    @property
    @abstractmethod
    def model(self) -> Any:
        """The model."""


def loaded_model(model: Any) -> tuple[Any, str]:
    """Return a model that can predict, and its name.

    Raises
    ------
    OptionError
        If it is an encoder, which predicts nothing by itself.
    """
    from matgraft.formulas.predict import PropertyModel
    from matgraft.foundations import load
    from matgraft.potentials.models.potential import Potential

    if isinstance(model, Tuned):
        loaded, name = model.model, str(model.folder)
    elif isinstance(model, (str, Path)):
        loaded, name = load(model), str(model)
    else:
        loaded, name = model, str(getattr(model, "folder", None) or getattr(getattr(model, "card", None), "name", ""))
    if not isinstance(loaded, (Potential, PropertyModel)):
        what = name or type(model).__name__
        raise OptionError(
            f"{what} predicts neither structures nor properties",
            allowed=["a run folder", "a foundation potential such as chgnet", "what matgraft.load returns"],
            remedy="an encoder of formulas is tuned on a table first" if name else "",
        )
    return loaded, name


def _predict_formulas(model: PropertyModel, data: Data, options: Mapping[str, float | str]) -> pd.DataFrame:
    import pandas as pd

    from matgraft.formulas.queries import read_queries
    from matgraft.formulas.table.formula_table import ColumnNames

    given = parsed(data)
    if given.table is not None:
        return model.predict(given.table, **options)
    if not given.words:
        raise DataError(
            "structures were given, and the model reads formulas",
            where=str(model.folder),
            remedy="[atoms.get_chemical_formula() for atoms in structures]",
        )
    if not given.is_table:
        return model.predict(list(given.words), **options)
    path = Path(given.words[0])
    queries = read_queries(model, path, ColumnNames())
    model.shared(options, len(queries.formulas))  # an error for one that is not read
    cells = queries.cells.assign(**{name: str(value) for name, value in options.items()})
    return pd.DataFrame(model.rows(queries.formulas, cells, path))


def _predict_structures(model: Potential, name: str, given: Given, options: Mapping[str, object]) -> Predictions:
    from matgraft.potentials.recipe import make_recipe
    from matgraft.potentials.report.predictions import predicted
    from matgraft.potentials.run.evaluation import refuse_unfit
    from matgraft.potentials.run.frames import look_at_test
    from matgraft.potentials.run.several import ask

    if given.table is not None:
        raise DataError("a table was given, and the model reads structures", where=name)
    if given.in_memory and options:
        raise OptionError(f"{', '.join(options)}: not read, as the structures are in memory", remedy="remove it")
    recipe = make_recipe(None, (), verb="predict", train=given.words or "structures", want=(), **options)
    dataset = _dataset(given, recipe)
    refuse_unfit(look_at_test(recipe, dataset), ", ".join(given.words) or "the structures given")
    answers = ask({name: model}, dataset, recipe, quiet=True, uncertainties=True)
    if answers.left_out:
        raise DataError(
            f"{name} cannot predict {len(answers.left_out[0].frames)} of {len(dataset)} structures",
            causes=[DataError(answers.left_out[0].evidence)],
            remedy="leave these structures out: " + ", ".join(map(str, answers.left_out[0].frames)),
        )
    own = given.atoms or [None] * len(dataset)
    answered = zip(dataset, answers.predictions[name], own, strict=True)
    return Predictions(tuple(predicted(sample, {name: values}, like) for sample, values, like in answered), name)


def _dataset(given: Given, recipe: Recipe) -> Dataset:
    """Return structures without labels, each with its place."""
    from matgraft.potentials.data.cells import with_clear_cell
    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.data.reading.raw import clean_atoms
    from matgraft.potentials.data.sample import Sample
    from matgraft.potentials.run.frames import read_further

    if given.dataset is not None:
        return given.dataset
    if not given.in_memory:
        return read_further(recipe, [Path(word) for word in given.words], beside=False)
    place = "the structures given"
    return Dataset(
        tuple(
            Sample(with_clear_cell(clean_atoms(atoms), f"{place}, number {i}"), {}, file=place, index=i)
            for i, atoms in enumerate(given.atoms)
        )
    )
