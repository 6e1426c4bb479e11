"""A finished run, of frames or of a table: its verdict, its report, and the model that came out of it.

run = Run("runs/mine")
run.verdict.level           # "better than the foundation"
run.report                  # the page
atoms.calc = run.calculator()
run.predict(structures)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matgraft.core.errors import OptionError, RunError
from matgraft.core.findings import Finding
from matgraft.core.notebook import bullets, card
from matgraft.core.run_folder import kind_of, resume_commands
from matgraft.core.verdict import Verdict
from matgraft.verbs.predict import Predictions, Tuned, predict

if TYPE_CHECKING:
    import pandas as pd

    from matgraft.potentials.models.calculator import PotentialCalculator
    from matgraft.potentials.report.screen import TunedFacts

REPORT = "report.html"


class Run(Tuned):
    """A finished run.

    Parameters
    ----------
    folder
        That `matgraft.tune` or `matgraft tune` wrote.

    Attributes
    ----------
    folder, report
        Paths: of the run, and of its page.
    kind
        ``"frames"`` or ``"formulas"``.

    Raises
    ------
    RunError
        If the folder holds no run, or one that is not finished.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.kind = kind_of(self.folder)
        if self.kind not in ("frames", "formulas"):
            found = f"this is a run of kind {self.kind}" if self.kind else "this is not a run"
            raise RunError(found, where=str(folder), remedy="name the folder that `tune` wrote")
        if not (self.folder / "verdict.json").is_file():
            raise RunError("the run is not finished", where=str(folder), commands=resume_commands(self.folder))
        self.report = self.folder / REPORT

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """The verdict on each target of a table; of frames one, under the name ``potential``."""
        if self.kind == "formulas":
            from matgraft.formulas.scoring.target import VERDICTS

            return VERDICTS.read(self.folder).targets
        from matgraft.potentials.run_files import VERDICT

        return {"potential": VERDICT.read(self.folder)}

    @property
    def verdict(self) -> Verdict:
        """What to think of the model; of several targets the worst verdict."""
        return max(self.verdicts.values(), key=lambda one: (one.exit_code, _GRAVITY[one.tone]))

    @property
    def exit_code(self) -> int:
        """The exit code of `matgraft tune` on this run."""
        return self.facts.exit_code if self.kind == "frames" else self.verdict.exit_code

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the audit of the data found before the fit; looks that found nothing too."""
        if self.kind == "formulas":
            from matgraft.formulas.table.audit.audit import AUDIT as TABLE_AUDIT

            return TABLE_AUDIT.read(self.folder).findings
        from matgraft.potentials.run_files import AUDIT

        return AUDIT.read(self.folder).findings

    @cached_property
    def facts(self) -> TunedFacts:
        """All figures of a run on frames, as ``matgraft tune --json`` prints them.

        Raises
        ------
        OptionError
            If the run is on a table.
        """
        if self.kind == "formulas":
            raise OptionError("a run on a table has its figures in metrics.json", where=str(self.folder))
        from matgraft.potentials.report.screen import run_facts

        return run_facts(self.folder, self.report)

    @cached_property
    def model(self) -> Any:
        """The tuned model: a `Potential`, or a `PropertyModel`; what `matgraft.load` returns for the folder."""
        from matgraft.foundations import load

        return load(self.folder)

    def calculator(self, *, uncertainty: bool = False) -> PotentialCalculator:
        """Return an ASE calculator on the tuned potential.

        Parameters
        ----------
        uncertainty
            True for energy_std, energy_interval, forces_std, forces_interval and extrapolation beside the ordinary
            results.

        Raises
        ------
        OptionError
            If the run is on a table, or an uncertainty is wanted and none was fitted.
        """
        if self.kind == "formulas":
            raise OptionError(
                "this run predicts properties of formulas: it has no forces",
                where=str(self.folder),
                remedy="run.predict([...]) takes formulas",
            )
        calculator: PotentialCalculator = self.model.calculator(uncertainty=uncertainty)
        return calculator

    def predict(self, data: Any, **options: Any) -> Predictions | pd.DataFrame:
        """Predict structures or formulas with the tuned model; see `matgraft.predict`."""
        return predict(self, data, **options)

    def __repr__(self) -> str:
        """Return the folder and the verdict."""
        said = "; ".join(f"{name}: {one.level}" for name, one in self.verdicts.items())
        return f"Run({str(self.folder)!r}, {self.verdict.level if len(self.verdicts) == 1 else said})"

    def _repr_html_(self) -> str:
        verdicts = "".join(one._repr_html_() for one in self.verdicts.values())
        return verdicts + card(str(self.folder), "", bullets([f"report: {self.report}"]))


_GRAVITY = {"good": 0, "unknown": 1, "caution": 2, "bad": 3}
