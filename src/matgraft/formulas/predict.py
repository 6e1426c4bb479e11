"""The predictors of a run folder, opened once: what they say of formulas.

model = PropertyModel.open(Path("runs/gaps"))    # or matgraft.load("runs/gaps")
model.predict(["Fe2O3", "Li0.5CoO2"])            # a table: formula, target, value, lower, upper, std, unlike, ...
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from matgraft.core.errors import DataError, OptionError, RunError, choose, nearest
from matgraft.core.manifest import below
from matgraft.core.model import ModelCard
from matgraft.core.registry import model_folder
from matgraft.core.run_folder import kind_of, resume_commands
from matgraft.formulas.encoder import CompositionBackbone
from matgraft.formulas.formula import Formula
from matgraft.formulas.learners.inputs import Array, Inputs
from matgraft.formulas.predictor.members import Tuned
from matgraft.formulas.predictor.prediction import Prediction
from matgraft.formulas.predictor.predictor import Predictor
from matgraft.formulas.predictor.store import PREDICTOR, TargetNames, load_predictor
from matgraft.formulas.prompts.material_class import material_class
from matgraft.formulas.prompts.text import Prompt, parse_plain, parse_prompt, property_tokens
from matgraft.formulas.registry import load_encoder_folder
from matgraft.formulas.report.rows import Spots, TableRow, prediction_columns
from matgraft.formulas.settings import SETTINGS, TableRun

if TYPE_CHECKING:
    import pandas as pd

INSTEAD = {
    "frames": ("this run reads structures, not formulas", "`matgraft evaluate` scores it on frames"),
    "pretraining": (
        "this run pretrained an encoder and predicts nothing",
        "`matgraft tune TABLE --target ... --from` this folder",
    ),
}
"""Kind of a run that is none on a table -> what it is, and what to do with it."""
IN_MEMORY = Path("the table given")
"""In errors, the place of a table that is no file."""


class TargetAnswers(Protocol):
    """What predicts a target: the predictor of a run, or what was taught by it."""

    def predict(self, formulas: Sequence[Formula], covariates: Array | None = None) -> Prediction:
        """Predict formulas; `covariates` are (n, k)."""
        ...


@dataclass(frozen=True, eq=False)
class PropertyModel:
    """The predictors of a finished run on a table, one a target; each is loaded when it is first asked.

    Attributes
    ----------
    folder
        Of the run.
    run
        What it was asked for.
    """

    folder: Path
    run: TableRun
    _loaded: dict[str, Predictor] = field(default_factory=dict)
    _stand_ins: dict[str, TargetAnswers] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a run folder.

        Raises
        ------
        DataError
            If the folder is no run; it says what it is.
        OptionError
            If the run is not on a table of formulas.
        RunError
            If it is not finished.
        """
        folder = Path(folder)
        kind = kind_of(folder)
        if kind is None:
            model_folder(folder)  # says what it is instead
        if kind != "formulas":
            what, remedy = INSTEAD.get(str(kind), INSTEAD["frames"])
            raise OptionError(what, where=str(folder), remedy=remedy)
        opened = cls(folder, SETTINGS.read(folder).run)
        if len(opened.names) < len(opened.targets):
            raise RunError(
                f"the run is not finished: {len(opened.names)} of {len(opened.targets)} targets have a predictor",
                where=str(folder),
                commands=resume_commands(folder),
            )
        return opened

    def __repr__(self) -> str:
        """Say what it predicts."""
        return f"PropertyModel({str(self.folder)!r}, strategy {self.run.settings.strategy}: {', '.join(self.targets)})"

    @property
    def targets(self) -> tuple[str, ...]:
        """What it predicts, in the order of the run."""
        return tuple(dict.fromkeys(self.run.targets))

    @property
    def card(self) -> ModelCard:
        """Card of the encoder that the run began with."""
        return self.backbone.card

    @cached_property
    def backbone(self) -> CompositionBackbone:
        """The encoder that the run began with."""
        return load_encoder_folder(self.folder)

    @cached_property
    def names(self) -> dict[str, TargetNames]:
        """By target, what its numbers are called."""
        return {target: PREDICTOR.read(folder) for target, folder in self._folders.items()}

    @cached_property
    def _folders(self) -> dict[str, Path]:
        files = below(self.folder / "predictors", PREDICTOR.name)
        return {PREDICTOR.read(file.parent).target: file.parent for file in files}

    def predictor(self, target: str) -> Predictor:
        """Return the predictor of a target."""
        if target not in self._loaded:
            self._loaded[target], _ = load_predictor(self._folders[target], self.backbone)
        return self._loaded[target]

    def stand_in(self, target: str, answers: TargetAnswers) -> None:
        """Have something else predict a target in `rows`."""
        self._stand_ins[target] = answers

    @property
    def tokens(self) -> dict[str, str]:
        """Of a run with prompts, what may be asked: token -> target; empty for others."""
        return property_tokens(self.run.targets) if self.run.settings.strategy == "prompt" else {}

    @property
    def own_classes(self) -> dict[str, str]:
        """Of a run with prompts, the user's own classes of all its targets: token -> word."""
        return {token: word for names in self.names.values() for token, word in names.prompt_classes.items()}

    def predict(self, formulas: Sequence[str] | pd.DataFrame, **covariates: float | str) -> pd.DataFrame:
        """Predict every target, or the one that a prompt asks for.

        Parameters
        ----------
        formulas
            As written; of a run with prompts, with or without the class before and the property behind. Or a table with
            a column of formulas, and the covariates beside it.
        covariates
            Values that all formulas share, such as ``temperature=300``.

        Returns
        -------
        DataFrame
            A row a formula and target: formula, target, value, lower, upper, std, distance, unlike, in_training,
            p_<class>.
        """
        import pandas as pd

        if not isinstance(formulas, pd.DataFrame):
            texts = formula_list(formulas)
            return pd.DataFrame(self.rows(texts, self.shared(covariates, len(texts))))
        self.shared(covariates, len(formulas))  # an error for one that is not read
        cells = as_cells(formulas.assign(**covariates))
        return pd.DataFrame(self.rows(texts_of(cells), cells, IN_MEMORY))

    def shared(self, covariates: Mapping[str, float | str], n: int) -> pd.DataFrame | None:
        """Return a table of n rows with covariates that all share; None where there are none.

        Raises
        ------
        OptionError
            If the run does not read one.
        """
        if not covariates:
            return None
        import pandas as pd

        known = list(dict.fromkeys(name for names in self.names.values() for name in names.code))
        for name in covariates:
            if name not in known:
                found = f"{name} is not a covariate of this run"
                raise OptionError(found, where=str(self.folder), allowed=known, remedy=nearest(name, known))
        return pd.DataFrame({name: [str(value)] * n for name, value in covariates.items()})

    def rows(
        self, formulas: Sequence[str], cells: pd.DataFrame | None = None, where: Path | None = None
    ) -> list[TableRow]:
        """Return predictions as rows; parameters as of `predict_formulas`."""
        if not formulas:
            raise DataError("there is no formula to predict", where=str(where or self.folder))
        lines = None if cells is None else cells.index
        asked = self.asked(formulas, None if cells is None else where or self.folder, lines)
        return [
            dict(zip(columns, row, strict=True))
            for columns in self.columns(asked, cells, where).values()
            for row in zip(*columns.values(), strict=True)
        ]

    def columns(
        self, asked: Sequence[Prompt], cells: pd.DataFrame | None = None, where: Path | None = None
    ) -> dict[str, Spots]:
        """Return the columns of the predictions of each target that something is asked of."""
        prompts, found = self.stated(asked, cells, where), dict[str, Spots]()
        for target, names in self.names.items():
            chosen = [i for i, prompt in enumerate(prompts) if prompt.property in (None, target)]
            if not chosen:
                continue
            covariates = covariates_of(names, cells, len(asked), where or self.folder)
            wanted = [prompts[i].formula for i in chosen]
            given = covariates if covariates is None else covariates[chosen]
            answers = self._stand_ins.get(target) or self.predictor(target)
            columns = prediction_columns(wanted, answers.predict(wanted, given), names.classes, {"target": target})
            if self.tokens:
                columns["material_class"] = [material_class(one) for one in wanted]
            if self.own_classes:
                columns["prompt_class"] = [one.own_class for one in wanted]
            found[target] = columns
        return found

    def embed(
        self, formulas: Sequence[str] | pd.DataFrame, target: str | None = None, *, fold: int = 0
    ) -> NDArray[np.float64]:
        """Return the features (n, width) of formulas by the encoder that was tuned on a target.

        Parameters
        ----------
        formulas
            As in `predict`: of a run with prompts a prompt asks for its target.
        target
            Where the run has several.
        fold
            An encoder was tuned on the rest of each inner fold; this one is asked.

        Raises
        ------
        OptionError
            If no encoder was tuned, or it is open which target is meant.
        """
        blocks = [
            (rows, network.features(inputs)) for rows, network, inputs in self._by_network(formulas, target, fold)
        ]
        found = np.zeros((sum(len(rows) for rows, _ in blocks), blocks[0][1].shape[1]))
        for rows, block in blocks:
            found[rows] = block
        return found

    def embed_elements(
        self, formulas: Sequence[str] | pd.DataFrame, target: str | None = None, *, fold: int = 0
    ) -> list[NDArray[np.float64]]:
        """Return of each formula a vector an element (n_elements, width), by atomic number; else as `embed`."""
        found: dict[int, NDArray[np.float64]] = {}
        for rows, network, inputs in self._by_network(formulas, target, fold):
            found |= dict(zip(rows, network.element_vectors(inputs), strict=True))
        return [found[i] for i in sorted(found)]

    def _by_network(
        self, formulas: Sequence[str] | pd.DataFrame, target: str | None, fold: int
    ) -> Iterator[tuple[list[int], Tuned, Inputs]]:
        """Yield rows with the network that is asked of them, target by target, and what it reads."""
        import pandas as pd

        cells = as_cells(formulas) if isinstance(formulas, pd.DataFrame) else None
        texts = formula_list(formulas) if cells is None else texts_of(cells)
        if not texts:
            raise DataError("there is no formula to embed", where=str(self.folder))
        if target is not None:
            choose(target, dict.fromkeys(self.targets), "target of the run")
        prompts = self.stated(self.asked(texts, None if cells is None else IN_MEMORY), cells, IN_MEMORY)
        named = [prompt.property or target or self._only_target() for prompt in prompts]
        for one in dict.fromkeys(named):
            rows = [i for i, name in enumerate(named) if name == one]
            networks = self.predictor(one).tuned
            if not networks:
                raise OptionError(
                    f"strategy {self.run.settings.strategy} tuned no encoder on {one!r}",
                    where=str(self.folder),
                    remedy=f"the features are those of {self.card.name}: name it, or tune with strategy full",
                )
            if not 0 <= fold < len(networks):
                raise OptionError(f"fold {fold} of {len(networks)}", allowed=[f"0 to {len(networks) - 1}"])
            beside = covariates_of(self.names[one], cells, len(texts), self.folder) if self.tokens else None
            given = beside if beside is None else beside[rows]
            yield rows, networks[fold], Inputs.of([prompts[i].formula for i in rows], self.backbone, given)

    def _only_target(self) -> str:
        if len(self.targets) > 1:
            what = "a prompt that asks for one, or target=" if self.tokens else "target="
            raise OptionError(
                f"the run has {len(self.targets)} targets, and an encoder for each",
                allowed=self.targets,
                remedy=f"say which by {what}",
            )
        return self.targets[0]

    def stated(
        self, prompts: Sequence[Prompt], cells: pd.DataFrame | None, where: Path | None = None
    ) -> Sequence[Prompt]:
        """Return prompts with the user's own classes that a column of the table says."""
        column = self.run.prompt_class
        if cells is None or column is None or column not in cells.columns:
            return prompts
        from matgraft.formulas.table.own_classes import with_own_classes

        formulas = [prompt.formula for prompt in prompts]
        classed = with_own_classes(formulas, cells[column], self.own_classes, where or self.folder)
        return [replace(prompt, formula=one) for prompt, one in zip(prompts, classed, strict=True)]

    def parse(self, text: str) -> Prompt:
        """Read one formula, of a run with prompts with what is asked of it."""
        return self.reader(text)

    @cached_property
    def reader(self) -> Callable[[str], Prompt]:
        """What `parse` does, with what the run says looked up once."""
        return partial(_parse, tokens=self.tokens, own=self.own_classes)

    def asked(
        self, formulas: Sequence[str], table: Path | None = None, lines: pd.Index | None = None
    ) -> Sequence[Prompt]:
        """Read what is asked; an error names the lines of a table."""
        if table is None:
            return [self.reader(text) for text in formulas]
        import pandas as pd

        from matgraft.formulas.table.parsing import parsed_column

        index = pd.RangeIndex(2, len(formulas) + 2) if lines is None else lines
        return parsed_column(pd.Series(list(formulas), index, name="formula"), table, self.reader, self.run.composition)


def _parse(text: str, tokens: Mapping[str, str], own: Collection[str]) -> Prompt:
    return parse_prompt(text, tokens, own) if tokens else Prompt(parse_plain(text))


def predict_formulas(
    folder: Path, formulas: Sequence[str], cells: pd.DataFrame | None = None, where: Path | None = None
) -> list[TableRow]:
    """Predict with every target of a run.

    Parameters
    ----------
    formulas
        As written; of a run with prompts, with or without the class before and the property behind.
    cells
        A table whose columns hold the covariates, a row a formula.
    where
        The table's file, for errors.

    Returns
    -------
    list of dict
        A row a formula and target, or the target that it asks for: formula, target, value, lower, upper, std, distance,
        unlike, in_training, probabilities; of a run with prompts also material_class.

    Raises
    ------
    DataError
        If the folder is no run; it says what it is. If there is no formula.
    RunError
        If the run is not finished.
    """
    return PropertyModel.open(folder).rows(formulas, cells, where)


def formula_list(formulas: Sequence[str]) -> list[str]:
    """Return formulas as a list; one text alone is an error."""
    if isinstance(formulas, str):
        raise DataError(f"one text, {formulas!r}, where formulas are wanted", remedy=f"a list: [{formulas!r}]")
    return [str(one) for one in formulas]


def as_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in memory as one that was read: every cell is text."""
    import pandas as pd

    index = pd.RangeIndex(2, len(table) + 2)  # as of a file whose header is line 1
    return table.set_axis(index).astype(object).where(table.notna().to_numpy(), "").astype(str)


def texts_of(cells: pd.DataFrame) -> list[str]:
    """Return the formulas of a table in memory, as written."""
    from matgraft.formulas.table.names import formula_column

    return list(cells[formula_column(cells, None, IN_MEMORY)])


def covariates_of(names: TargetNames, cells: pd.DataFrame | None, n: int, where: Path) -> Array | None:
    """Return the covariates (n, k) that a predictor needs, of a table's cells; None where it needs none."""
    if not names.code:
        return None
    if cells is None or len(cells) != n:
        columns = ", ".join(names.code)
        raise OptionError(f"the predictor needs {columns} as well", remedy="a table with these columns")
    from matgraft.formulas.table.covariates import encode_covariates

    return encode_covariates(cells, names.code, where, names.fill)
