"""The shift of the reference energies that a recipe asks for, and what is refused before any work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ase import Atoms

from matgraft.core.errors import DataError, OptionError
from matgraft.core.quantities import ENERGY
from matgraft.potentials.data.dataset import Dataset, concatenate
from matgraft.potentials.data.heads import FOUNDATION, head_names
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import Predictions
from matgraft.potentials.tuning.loss import weigh_groups
from matgraft.potentials.tuning.references import (
    References,
    ReferenceShift,
    given_references,
    isolated_references,
    keep_references,
    refit_or_keep,
    shift_heads,
)

SAME_EV = 1e-3
"""eV: energies of one isolated atom that differ by less are the same, printed with few digits."""


def refuse_idle_references(recipe: Recipe, foundation: Potential, train: Dataset, test: Dataset) -> None:
    """Raise for references that cannot be had, before the expensive work."""
    settings = recipe.references
    for key, mode in (("shift_eV", "given"), ("isolated_eV", "isolated")):
        if getattr(settings, key) and settings.mode != mode:
            raise OptionError(
                f"references.{key} is read with references.mode={mode} alone", options=[{"references.mode": mode}]
            )
    heads = head_names(train, recipe.heads.foundation) if recipe.heads_by else []
    if len(set(heads) - {FOUNDATION}) > 1 and settings.mode in ("given", "isolated"):
        raise OptionError(
            f"references.mode={settings.mode} is one shift, and each head has its own", allowed=["refit", "keep"]
        )
    if settings.mode == "given":
        given_references(settings.shift_eV, concatenate([train, test]))
    if settings.mode == "isolated":
        energies = isolated_energies(settings.isolated_eV, train, test)
        _of_isolated(foundation, energies, settings.isolated_eV)


def referenced(recipe: Recipe, train: Dataset, test: Dataset) -> tuple[str, ...]:
    """Return the elements whose reference energies are given, whatever frames are trained on."""
    settings = recipe.references
    if settings.mode == "isolated":
        return tuple(isolated_energies(settings.isolated_eV, train, test))
    return tuple(settings.shift_eV)


def isolated_energies(given: Mapping[str, float], train: Dataset, *others: Dataset) -> dict[str, float]:
    """Return the energy (eV) of an isolated atom of each element of the frames: as given, else of the frames' own atom.

    Raises
    ------
    OptionError
        If an element of the training frames has none, one is given for an element that no frame has, or a frame
        contradicts what is given.
    """
    whole = concatenate([train, *others])
    elements, found = whole.elements(), whole.provenance.isolated_atoms
    if idle := sorted(set(given) - set(elements) - set(found)):
        raise OptionError(
            f"references.isolated_eV: no frame has {', '.join(idle)}",
            remedy="leave them out",
            options=[{"references.isolated_eV": {symbol: given[symbol] for symbol in given if symbol not in idle}}],
        )
    _refuse_contradiction(given, found)
    known = {**found, **given}
    if lacking := [symbol for symbol in train.elements() if symbol not in known]:
        raise OptionError(
            f"references.mode=isolated: no frame is an isolated atom of {', '.join(lacking)} with an energy, and none "
            "is given",
            remedy="give the energies as references.isolated_eV, or a frame with one atom of each element, or fit the "
            "references on the frames",
            options=[_refit(given)],
        )
    return {symbol: known[symbol] for symbol in elements if symbol in known}


def _refuse_contradiction(given: Mapping[str, float], found: Mapping[str, float]) -> None:
    both = [symbol for symbol in given if symbol in found]
    apart = {symbol: found[symbol] for symbol in both if abs(given[symbol] - found[symbol]) > SAME_EV}
    if apart:
        said = "; ".join(
            f"{symbol} is given as {given[symbol]:.7g} eV, and a frame has {energy:.7g} eV"
            for symbol, energy in apart.items()
        )
        raise OptionError(
            f"energies of isolated atoms contradict each other: {said}",
            remedy="take the frames' energies, or leave these frames out with audit.drop",
            options=[{"references.isolated_eV": {**given, **apart}}],
        )


def _refit(given: Mapping[str, float]) -> dict[str, object]:
    return {"references.mode": "refit"} | ({"references.isolated_eV": {}} if given else {})


def references_for(
    recipe: Recipe, frames: Dataset, known: Predictions, parent: Potential, *others: Dataset
) -> References:
    """Return the reference shift of the recipe's mode, one for each head where there are several.

    Parameters
    ----------
    frames, known
        Those that it is found on, and the parent's predictions of them.
    others
        Further frames that it is added to.
    """
    settings = recipe.references
    train = weigh_groups(frames, recipe.loss.groups)

    def shift(part: Dataset, places: Sequence[int]) -> ReferenceShift:
        on_part = [known[i] for i in places]
        if settings.mode == "given":
            return given_references(settings.shift_eV, concatenate([frames, *others]))
        if settings.mode == "isolated":
            energies = isolated_energies(settings.isolated_eV, frames, *others)
            return isolated_references(energies, _of_isolated(parent, energies, settings.isolated_eV), part, on_part)
        return keep_references(part) if settings.mode == "keep" else refit_or_keep(part, on_part)

    if not recipe.heads_by:
        return shift(train, range(len(known)))
    return shift_heads(train, shift, head_names(frames, recipe.heads.foundation))


def _of_isolated(parent: Potential, elements: Collection[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return the foundation's energy (eV) of an isolated atom of each element."""
    atoms = [Sample(Atoms(symbol), {}, file=f"an isolated atom of {symbol},") for symbol in elements]
    try:
        found = predict_samples(parent, atoms, (ENERGY.name,))
    except DataError as error:
        raise OptionError(
            f"references.mode=isolated: {parent.card.name} gives no energy of an isolated atom ({error.found})",
            remedy="fit the references on the frames, or take another foundation",
            options=[_refit(given)],
        ) from error
    return {symbol: float(one[ENERGY.name]) for symbol, one in zip(elements, found, strict=True)}
