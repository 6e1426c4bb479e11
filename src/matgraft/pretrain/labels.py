"""Make the list of labels that a pretraining saw, which ships with the encoder (`matgraft.backbones.seen_labels`).

python -m matgraft.pretrain.labels dft_properties.csv.gz
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from matgraft.backbones.seen_labels import FILE, SeenLabels
from matgraft.data.formula import parse_formula
from matgraft.pretrain.settings import PretrainSettings
from matgraft.pretrain.tables import is_held_out, read_property_table


def labels_seen(path: Path, exclude: str | None, validation: float) -> SeenLabels:
    """Return the labels of a property table that a pretraining with these settings learns from."""
    table = read_property_table(path, exclude)
    table = table[table["target"].notna()]
    formulas = {text: parse_formula(text) for text in table["formula"].unique()}
    learned = {text: one for text, one in formulas.items() if not is_held_out(one.chemical_system, validation)}
    return SeenLabels.made_of(
        {str(name): [learned[text] for text in part["formula"] if text in learned]
         for name, part in table.groupby("property", sort=True)}
    )  # fmt: skip


if __name__ == "__main__":
    source, settings = Path(sys.argv[1]), PretrainSettings()
    labels = labels_seen(source, settings.exclude, settings.validation)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    labels.save(FILE, {"table_sha256": digest, "exclude": settings.exclude, "validation": settings.validation})
    print(f"{FILE}: {len(labels.hashes):,} formulas, {FILE.stat().st_size / 2**20:.2f} MiB")
