"""Files: whole or not there, and strict JSON whatever a model predicts."""

import ast
import gzip
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import save_file

from matgraft.core.files import to_json, whole, write_json, write_text
from matgraft.core.manifest import FILE

SOURCE = Path(__file__).resolve().parents[2] / "src" / "matgraft"


def strictly(text):
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_what_is_not_finite_is_a_word_that_reads_back_as_the_number():
    facts = {
        "rmse": math.nan, "ends": (0.5, math.inf), "deep": [{"low": -math.inf}], "numpy": np.float64("nan"),
        "whole": 3, "yes": True, "none": None, "text": "Å",
    }  # fmt: skip
    read = strictly(to_json(facts))
    assert read == {
        "rmse": "nan", "ends": [0.5, "inf"], "deep": [{"low": "-inf"}], "numpy": "nan",
        "whole": 3, "yes": True, "none": None, "text": "Å",
    }  # fmt: skip
    assert math.isnan(float(read["rmse"])) and float(read["ends"][1]) == math.inf


def test_pydantic_reads_the_words(tmp_path):
    class Row(BaseModel):
        errors: dict[str, float]

    write_json(tmp_path / "row.json", Row(errors={"loss": math.inf}).model_dump(mode="json"))
    text = (tmp_path / "row.json").read_text()
    assert Row.model_validate(strictly(text)).errors["loss"] == math.inf


def test_the_record_of_a_climb_with_a_diverged_rung_is_strict_and_reads_back(tmp_path):
    from matgraft.potentials.tuning.ladder import Climb, RungResult

    rungs = (RungResult(name="full", errors={"validation_loss": math.nan, "x": math.inf}), RungResult(name="lora"))
    record = Climb(max_minutes=5.0, rungs=rungs)
    write_json(tmp_path / "ladder.json", record.model_dump(mode="json"))
    text = (tmp_path / "ladder.json").read_text()
    strictly(text)
    again = Climb.model_validate_json(text)
    assert again.rungs[0].loss == math.inf and math.isnan(again.rungs[0].errors["validation_loss"])


def test_no_file_of_the_product_is_made_past_the_strict_writer():
    """`json.dumps` elsewhere makes hashes, options and the text inside a store: nothing that a model predicts."""
    allowed = {
        "core/files.py", "core/options.py", "core/training/flat.py", "potentials/sources.py",
        "potentials/models/pseudolabels.py", "potentials/data/reading/corrections.py",
        "potentials/data/store_format.py", "potentials/data/store_writing.py",
        "formulas/prompts/bank.py", "formulas/table/json_lines.py",
        "potentials/checks/physical.py", "potentials/models/fingerprint.py",
        "formulas/exports/folder.py",  # the text of the process that an export is compared by
    }  # fmt: skip
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text(encoding="utf-8"))
    }
    assert found <= allowed


@pytest.mark.parametrize("name", ["facts.json", "data.npz", "out.csv.gz"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="full"), whole(path) as part:
        assert part != path and part.parent == path.parent and part.suffixes[-1] == path.suffixes[-1]
        part.write_bytes(b"ne")
        raise OSError("disk full")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with whole(path) as part:
        part.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def _bank(folder):
    from matgraft.formulas.prompts.bank import BANKS, SHIPPED

    BANKS.read(SHIPPED).save(folder)


def _metric(folder):
    from matgraft.formulas.few_shot.metric import METRICS, SHIPPED

    METRICS.read(SHIPPED).save(folder)


def _encoder(folder):
    from matgraft import load

    load("composition").save(folder / "model.safetensors")


def _structures(folder):
    from ase.build import bulk

    from matgraft.potentials.data.dataset import Dataset
    from matgraft.potentials.data.sample import Sample
    from matgraft.potentials.exports.structures import keep

    keep(Dataset([Sample(bulk("Si", cubic=True), {})]), folder)


@pytest.mark.parametrize("save", [_bank, _metric, _encoder, _structures], ids=lambda save: save.__name__.strip("_"))
def test_what_is_saved_again_replaces_each_file_and_writes_into_none(tmp_path, save):
    """A file that is written in place has its old content for as long as it has its old number in the file system."""
    save(tmp_path)
    # Lines are added to a manifest.
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != FILE)
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in files}
    for path in files:  # keeps the old number from being given to another file
        (tmp_path.parent / f"{tmp_path.name}-{path.stat().st_ino}").hardlink_to(path)
    save(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != FILE) == files
    assert files and all(path.stat().st_ino != number for path, (number, _) in before.items())
    assert all(path.read_bytes() == content for path, (_, content) in before.items())


def test_a_packed_table_of_predictions_is_packed(tmp_path):
    from matgraft.formulas.report.rows import write_rows

    write_rows([{"formula": "NaCl", "value": 5.0}], tmp_path / "out.csv.gz")
    assert gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode() == "formula,value\nNaCl,5.0\n"


def test_no_file_of_the_product_is_written_past_the_atomic_writer():
    """Every call that writes a file is given the name that `whole` yields. The exceptions do the like themselves."""
    writers = (
        "write_bytes", "savez", "save_file", "to_parquet", "write_table", "write_atoms", "copyfile", "copytree", "dump",
    )  # fmt: skip
    allowed = {
        "potentials/exports/lammps.py": {"commands.write_text"},  # in a temporary folder, as are the next three
        "potentials/exports/torch_sim.py": {"write_atoms"},
        "potentials/models/matgl.py": {"plain.save"},
        "foundations.py": {"PropertyModel.open"},  # reads
        "formulas/table/workbook.py": {"packed.open"},  # reads, out of an archive
        "potentials/data/store_writing.py": {"part.open"},  # locked and removed by itself
        "potentials/active/labelling/wire.py": {"np.savez"},  # into memory
        "formulas/large/predict.py": {"writer.write_table"},  # of the name that `whole` yields
        "core/manifest.py": {"(folder / FILE).open"},  # lines are added to it
        "core/fetch.py": {"partial.open"},  # of which only the beginning is there, until its hash is right
        "core/parsl_workers.py": {"(folder / MANAGER_SAYS).open"},  # what a process says, as the next one
        "potentials/active/labelling/server.py": {"(self.folder / 'said.txt').open"},  # what a process says
    }
    found = set()
    for path in SOURCE.rglob("*.py"):
        name = str(path.relative_to(SOURCE))
        for call in (
            node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        ):
            function = ast.unparse(call.func)
            last, given = function.rpartition(".")[2], [ast.unparse(one) for one in call.args]
            past = (
                (last == "write_text" and "." in function and not function.startswith("part."))
                or (last in writers and "part" not in given and not function.startswith(("json.", "part.")))
                or (last == "to_csv" and given and given[0] != "part")
                or (last == "open" and any(one[1:2] in "wax" for one in given) and not function.startswith("part."))
                or function == "plain.save"
            )
            if past and function not in allowed.get(name, ()):
                found.add((name, call.lineno, function))
    assert not found


def test_what_is_written_is_readable_as_any_new_file_is_and_what_it_replaces_keeps_its_permissions(tmp_path):
    plain, tensors, shut = tmp_path / "plain", tmp_path / "w.safetensors", tmp_path / "shut.json"
    plain.touch()
    with whole(tensors) as part:
        save_file({"a": np.zeros(2)}, part)
    assert tensors.stat().st_mode == plain.stat().st_mode
    shut.touch(0o600)
    write_text(shut, "{}")
    assert shut.stat().st_mode & 0o777 == 0o600
