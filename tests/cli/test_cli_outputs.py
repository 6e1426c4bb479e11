"""A folder where a file is to be written, or a file where a folder is: an error before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., tuple[int, str, str]]
WRITE_FILES = (
    ("predict", "run", "Fe2O3", "-o"), ("crossval", "t.csv", "--target", "y", "-o"), ("embed", "t.csv", "-o"),
    ("fewshot", "t.csv", "t.csv", "-o"), ("fewshot", "t.csv", "t.csv", "--report"),
)  # fmt: skip
MAKE_FOLDERS = (
    ("pretrain", "corpus.txt", "weights.properties=0", "--out"), ("episodes", "t.csv", "--out"),
    ("prompts", "t.csv", "--out"), ("export", "run", "--to", "native", "-o"),
)  # fmt: skip


@pytest.mark.parametrize("words", WRITE_FILES)
@pytest.mark.parametrize(
    ("name", "said"), [("", "is a folder, and a file is to be written"), ("gone/out.csv", "there is no folder")]
)
def test_a_file_that_cannot_be_written(
    matgraft: Call, tmp_path: Path, words: tuple[str, ...], name: str, said: str
) -> None:
    """The tables and the run are not there: whatever is done with them comes later."""
    code, _, err = matgraft(*words, tmp_path / name)
    assert (code, said in err) == (2, True), err


@pytest.mark.parametrize("words", MAKE_FOLDERS)
def test_a_folder_that_cannot_be_made(matgraft: Call, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "notes.txt").touch()
    code, _, err = matgraft(*words, tmp_path / "notes.txt")
    assert (code, "is a file, and a folder is wanted" in err) == (2, True), err
