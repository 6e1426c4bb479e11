"""Structures without labels predicted by foundations, files of models and runs, one or several side by side.

predict_structures(["chgnet", "runs/x"], [Path("POSCAR"), Path("more.cif")], Path("predictions.extxyz"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matgraft.core.quantities import ENERGY
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.report.predictions import (
    PredictedStructure,
    StructurePredictions,
    disagreement_of,
    prefixes_of,
    refuse_other_file,
    values_of,
    write_structures,
)
from matgraft.potentials.run.correction import correction_note, refuse_corrections
from matgraft.potentials.run.evaluation import refuse_unfit
from matgraft.potentials.run.frames import large_frames, look_at_test, read_further, refuse_far_too_large
from matgraft.potentials.run.several import ask, load_models
from matgraft.potentials.run.side_by_side import refuse_names
from matgraft.potentials.scoring.frame_errors import Predictions
from matgraft.potentials.tuning.held_out import shift_held_out


def predict_structures(
    models: Sequence[str],
    files: Sequence[Path],
    out: Path | None = None,
    options: Sequence[str] = (),
    *,
    quiet: bool = False,
) -> StructurePredictions:
    """Predict structures with models.

    Parameters
    ----------
    models
        Names as `load_potential` takes them: foundations, files of vendors, runs (``runs/si#PBE``), exported folders.
    out
        File that the predictions are written to: extended XYZ or parquet.
    options
        ``key=value`` items of how files are read: ``elements=Cu,S``; ``audit.drop_test=[3]`` leaves structures out.

    Raises
    ------
    DataError
        If a file cannot be read, if atoms nearly coincide, or if no model can take any structure.
    OptionError
        If a model is unknown or named twice, an option is not read, or no file of such an ending is written.
    """
    if out is not None:
        refuse_other_file(out)
    refuse_names(models)
    recipe = make_recipe(None, options, verb="predict", train=[str(file) for file in files], want=())
    dataset = read_further(recipe, files, beside=False)
    loaded = load_models(models) if large_frames(dataset) else {}
    for one in loaded.values():
        refuse_far_too_large(one.cost, dataset, "test")
    refuse_unfit(look_at_test(recipe, dataset), ", ".join(map(str, files)))
    loaded = loaded or load_models(models)
    if len(loaded) > 1:
        refuse_corrections(loaded, recipe)
    answers = ask(loaded, dataset, recipe, quiet=quiet, uncertainties=True)
    if out is not None:
        write_structures(answers.frames, answers.predictions, out)
    several = len(answers.predictions) > 1
    return StructurePredictions(
        files=tuple(map(str, files)),
        notes=(*dataset.provenance.notes, *filter(None, (correction_note(one.card) for one in loaded.values()))),
        models={name: loaded[name].card.theory.describe() for name in answers.predictions},
        structures=tuple(_structures(answers.frames, answers.predictions)),
        left_out=answers.left_out,
        written=str(out) if out else "",
        prefixes=prefixes_of(list(answers.predictions)) if several else {},
    )


def _structures(frames: Dataset, predictions: Mapping[str, Predictions]) -> list[PredictedStructure]:
    energies = _on_one_scale(frames, list(predictions.values())) if len(predictions) > 1 else []
    found = []
    for i, sample in enumerate(frames):
        own = {name: each[i] for name, each in predictions.items()}
        apart = disagreement_of(list(own.values()), energies[i], sample.n_atoms) if energies else None
        found.append(
            PredictedStructure(
                file=sample.file,
                index=sample.index,
                formula=sample.content.get_chemical_formula(),
                n_atoms=sample.n_atoms,
                values={name: values_of(one) for name, one in own.items()},
                disagreement=apart,
            )
        )
    return found


def _on_one_scale(frames: Dataset, predictions: Sequence[Predictions]) -> list[list[float | None]]:
    """Return for each structure the energy (eV) of each model with the references of the first one.

    The shift of a structure is fitted on the others; None where these do not determine it.
    """
    first, *others = predictions
    pairs = zip(frames, first, strict=True)
    labelled = Dataset([sample.with_labels(energy=one[ENERGY.name]).weighing(1.0) for sample, one in pairs])
    alone = [str(i) for i in range(len(frames))]
    scales: list[list[float | None]] = [[float(one[ENERGY.name]) for one in first]]
    for each in others:
        after, _ = shift_held_out(labelled, each, alone)
        scales.append([float(one[ENERGY.name]) if one else None for one in after])
    return [list(own) for own in zip(*scales, strict=True)]
