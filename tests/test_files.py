"""Small files: whole or not there, and strict JSON whatever a model predicts."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from matgraft.files import to_json, write_json

SOURCE = Path(__file__).resolve().parents[1] / "src" / "matgraft"


def strictly(text):
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


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
    from matgraft.transfer.ladder import Record, RungResult

    rungs = (RungResult(name="full", errors={"validation_loss": math.nan, "x": math.inf}), RungResult(name="lora"))
    record = Record(max_minutes=5.0, rungs=rungs)
    write_json(tmp_path / "ladder.json", record.model_dump(mode="json"))
    text = (tmp_path / "ladder.json").read_text()
    strictly(text)
    again = Record.model_validate_json(text)
    assert again.rungs[0].loss == math.inf and math.isnan(again.rungs[0].errors["validation_loss"])


def test_no_file_of_the_product_is_made_past_the_strict_writer():
    """`json.dumps` elsewhere makes hashes, options and the text inside a store: nothing that a model predicts."""
    allowed = {"files.py", "options.py", "backbones/pseudolabels.py", "data/store.py"}
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text(encoding="utf-8"))
    }
    assert found <= allowed
