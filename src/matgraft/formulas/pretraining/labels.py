"""The list of labels that a pretraining saw, which lies beside its encoder (`matgraft.formulas.seen_labels`).

`matgraft pretrain` writes it. For an encoder that was pretrained before it did:

    python -m matgraft.formulas.pretraining.labels dft_properties.csv.gz MODEL_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from matgraft.core.errors import DataError
from matgraft.core.provenance import file_hash
from matgraft.formulas.formula import parse_formula
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.formulas.pretraining.tables import is_held_out, read_property_table
from matgraft.formulas.registry import load_encoder_folder
from matgraft.formulas.seen_labels import LABELS, LabelOrigin, SeenLabels


def labels_seen(path: Path | None, settings: PretrainSettings) -> SeenLabels:
    """Return the labels of a property table that a pretraining with these settings learns from; it may be none."""
    if path is None or not settings.weights.properties:
        return SeenLabels.made_of({})
    table = read_property_table(path, settings.exclude)
    table = table[table["target"].notna()]
    formulas = {text: parse_formula(text, is_spelled=True) for text in table["formula"].unique()}
    learned = {text: one for text, one in formulas.items() if not is_held_out(one.chemical_system, settings.validation)}
    return SeenLabels.made_of(
        {str(name): [learned[text] for text in part["formula"] if text in learned]
         for name, part in table.groupby("property", sort=True)},
        LabelOrigin(file_hash(path), str(settings.exclude), str(settings.validation)),
    )  # fmt: skip


def add_labels(path: Path, folder: Path) -> SeenLabels:
    """Write the list of an encoder that has none into its folder.

    Raises
    ------
    DataError
        If the encoder's card does not say that it was pretrained on this table.
    """
    card = load_encoder_folder(folder).card
    if file_hash(path) not in card.data_sha256.values():
        raise DataError(f"the encoder in {folder} was not pretrained on this table", where=str(path))
    labels = labels_seen(path, PretrainSettings.model_validate(card.recipe))
    labels.save(folder / LABELS)
    return labels


if __name__ == "__main__":
    found = add_labels(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(found.table.hashes):,} formulas with a label of {len(found.properties)} properties")
