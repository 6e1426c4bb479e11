"""Vectors of formulas: by a pretrained encoder, or by the one that a run tuned.

embed(["Fe2O3", "NaCl"])                                  # (2, 256), the shipped encoder
embed(["Fe2O3"], of="runs/gaps")                          # by the encoder that was tuned on the target of the run
embed(["[OXIDE] Fe2O3 [GAP]"], of="runs/two")             # a run with prompts: the formula as it is asked
embed(["Fe2O3"], of="runs/gaps", per="element")           # [(2, 128)]: a vector an element, O and Fe
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd
from numpy.typing import NDArray

from matgraft.core.errors import OptionError, choose
from matgraft.core.run_folder import kind_of
from matgraft.formulas.formula import Formula
from matgraft.formulas.predict import IN_MEMORY, PropertyModel, as_cells, formula_list
from matgraft.formulas.prompts.text import Prompt, parse_plain
from matgraft.formulas.registry import load_encoder
from matgraft.formulas.table.names import formula_column

Per = Literal["formula", "element"]


@overload
def embed(
    formulas: Sequence[str] | pd.DataFrame,
    of: str | Path = ...,
    *,
    per: Literal["formula"] = ...,
    target: str | None = ...,
    progress: str = ...,
) -> NDArray[Any]: ...
@overload
def embed(
    formulas: Sequence[str] | pd.DataFrame, of: str | Path = ..., *, per: Literal["element"], target: str | None = ...
) -> list[NDArray[Any]]: ...
def embed(
    formulas: Sequence[str] | pd.DataFrame,
    of: str | Path = "composition",
    *,
    per: Per = "formula",
    target: str | None = None,
    progress: str = "",
) -> NDArray[Any] | list[NDArray[Any]]:
    """Return vectors of formulas.

    Parameters
    ----------
    formulas
        As written, or a table with a column of formulas (and, of a run with prompts, its covariates).
    of
        Name or folder of an encoder, or a run on a table: the encoder that it tuned.
    per
        ``"formula"``: features (n, width). ``"element"``: a list of (n_elements, width), the elements by atomic number.
    target
        Of a run on several.
    progress
        Title of a progress bar on standard error, of a pretrained encoder; none if empty.

    Raises
    ------
    OptionError
        If a run tuned no encoder, or it is open which of its targets is meant.
    """
    choose(per, {"formula": None, "element": None}, "per")
    if is_table_run(of):
        model = PropertyModel.open(of)
        return model.embed(formulas, target) if per == "formula" else model.embed_elements(formulas, target)
    if target is not None:
        raise OptionError(f"target={target!r} is not read: {of} is not a run on a table", remedy="remove it")
    cells = as_cells(formulas) if isinstance(formulas, pd.DataFrame) else None
    texts = formula_list(formulas) if cells is None else list(cells[formula_column(cells, None, IN_MEMORY)])
    encoder, read = load_encoder(of), [parse_plain(text) for text in texts]
    return encoder.embed(read, progress) if per == "formula" else encoder.embed_elements(read)


def formula_read(asked: Formula | Prompt) -> Formula:
    """Return the formula that is asked about, with a prompt or without."""
    return asked.formula if isinstance(asked, Prompt) else asked


def is_table_run(of: str | Path) -> bool:
    """Say whether a name is the folder of a run on a table."""
    return Path(of).is_dir() and kind_of(Path(of)) == "formulas"
