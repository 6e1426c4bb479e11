"""The table of predictions: rows, units, nulls, and its way to the disk and back."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from ase import Atoms

from matgraft.core.errors import DataError, RunError
from matgraft.core.quantities import Quantity, voigt_to_full
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.scoring.table import predictions_table, read_predictions, write_predictions

FORCES = np.arange(6.0).reshape(2, 3)
VOIGT = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


@pytest.fixture
def parts():
    full = Sample(
        Atoms("SiO"),
        {"energy": np.array(-7.5), "forces": FORCES, "stress": voigt_to_full(VOIGT)},
        {"trajectory": "run-1", "config_type": "AIMD"},
        file="a.extxyz",
        index=12,
    )
    bare = Sample(Atoms("Si"), {"energy": np.array(-3.0)}, file="b.extxyz")
    predictions = [
        {"energy": np.array(-7.0), "forces": FORCES + 1, "stress": voigt_to_full(VOIGT + 1)},
        {"energy": np.array(-3.5), "forces": np.zeros((1, 3))},
    ]
    return {"test": (Dataset((full, bare)), {"tuned": predictions, "untuned": predictions})}


def test_one_row_a_part_model_and_frame(parts):
    table = predictions_table(parts | {"validation": (parts["test"][0][:1], {"tuned": parts["test"][1]["tuned"][:1]})})
    assert list(zip(table["part"], table["model"], table["frame"], strict=True)) == [
        ("test", "tuned", 0),
        ("test", "tuned", 1),
        ("test", "untuned", 0),
        ("test", "untuned", 1),
        ("validation", "tuned", 0),
    ]
    assert list(table.columns) == [
        *("part", "model", "frame", "file", "index", "trajectory", "config_type", "formula", "n_atoms"),
        *("energy_label", "energy", "forces_label", "forces", "stress_label", "stress", "magmom_label", "magmom"),
    ]


def check_first_rows(table):
    full, bare = table.iloc[0], table.iloc[1]
    assert (full["file"], full["index"], full["trajectory"], full["config_type"]) == ("a.extxyz", 12, "run-1", "AIMD")
    assert (full["formula"], full["n_atoms"], full["energy_label"], full["energy"]) == ("OSi", 2, -7.5, -7.0)
    np.testing.assert_array_equal(full["forces_label"], [0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(full["forces"], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal(full["stress_label"], VOIGT)
    np.testing.assert_array_equal(full["stress"], VOIGT + 1)
    np.testing.assert_array_equal(bare["forces"], [0, 0, 0])
    for absent in ("trajectory", "config_type", "forces_label", "stress_label", "stress"):
        assert pd.isna(bare[absent])


def test_values_and_nulls_survive_the_disk(parts, tmp_path):
    table = predictions_table(parts)
    check_first_rows(table)
    write_predictions(table, tmp_path / "predictions.parquet")
    check_first_rows(read_predictions(tmp_path / "predictions.parquet"))
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_a_column_without_a_value_keeps_its_type(tmp_path):
    dataset = Dataset((Sample(Atoms("Si"), {"energy": np.array(1.0)}),))
    table = predictions_table({"test": (dataset, {"tuned": [{}]})})
    write_predictions(table, tmp_path / "p.parquet")
    stored = pq.read_table(tmp_path / "p.parquet")
    assert str(stored.schema.field("stress").type) == "list<element: double>"
    assert str(stored.schema.field("energy").type) == "double"
    assert stored["energy"].null_count == stored["stress"].null_count == 1


def test_a_target_of_formulas(tmp_path):
    gap = {"gap": Quantity("gap", "sample", (), "eV", "eV")}
    table = predictions_table({"test": (Dataset((Sample("Fe2O3", {}),)), {"tuned": [{"gap": np.array(2.0)}]})}, gap)
    write_predictions(table, tmp_path / "p.parquet", gap)
    row = read_predictions(tmp_path / "p.parquet").iloc[0]
    assert (row["formula"], row["gap"]) == ("Fe2O3", 2.0)
    assert pd.isna(row["gap_label"])
    assert pd.isna(row["n_atoms"])


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(parts, tmp_path, monkeypatch):
    path = tmp_path / "predictions.parquet"
    table = predictions_table(parts)
    write_predictions(table, path)
    before = path.read_bytes()

    def fill_the_disk(_table, target, **_options):
        target.write_bytes(b"half a table")
        raise OSError("no space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        write_predictions(table.iloc[:1], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_table_is_a_run_error(tmp_path):
    (tmp_path / "p.parquet").write_text("no parquet")
    for name in ("p.parquet", "absent.parquet"):
        with pytest.raises(RunError, match="predictions cannot be read"):
            read_predictions(tmp_path / name)


def test_every_frame_needs_its_prediction(parts):
    dataset, models = parts["test"]
    with pytest.raises(DataError, match="1 predictions of 'tuned' for the 2 frames of 'test'"):
        predictions_table({"test": (dataset, {"tuned": models["tuned"][:1]})})
