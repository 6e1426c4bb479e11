"""All physical checks, and which of them a command runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matgraft.core.errors import OptionError, nearest
from matgraft.potentials.checks.cutoff_smoothness import CutoffSmoothnessCheck
from matgraft.potentials.checks.elastic import ElasticCheck
from matgraft.potentials.checks.equation_of_state import EquationOfStateCheck
from matgraft.potentials.checks.extensivity import ExtensivityCheck
from matgraft.potentials.checks.finite_differences import FiniteDifferencesCheck
from matgraft.potentials.checks.labels import LabelsCheck
from matgraft.potentials.checks.molecule_scan import MoleculeScanCheck
from matgraft.potentials.checks.molecule_stability import MoleculeStabilityCheck
from matgraft.potentials.checks.npt import NptCheck
from matgraft.potentials.checks.nve import NveCheck
from matgraft.potentials.checks.nvt import NvtCheck
from matgraft.potentials.checks.own_frames import (
    ElasticFramesCheck,
    PhaseFramesCheck,
    SurfaceFramesCheck,
    VacancyFramesCheck,
)
from matgraft.potentials.checks.phases import PhasesCheck
from matgraft.potentials.checks.phonons import PhononsCheck
from matgraft.potentials.checks.physical import PhysicalCheck
from matgraft.potentials.checks.relaxation import RelaxationCheck
from matgraft.potentials.checks.repulsion import RepulsionCheck
from matgraft.potentials.checks.settings import SUITES, CheckSettings
from matgraft.potentials.checks.structure_in_motion import StructureInMotionCheck
from matgraft.potentials.checks.surface import SurfaceCheck
from matgraft.potentials.checks.vacancy import VacancyCheck

SUITE: tuple[type[PhysicalCheck[Any]], ...] = (
    RelaxationCheck,
    EquationOfStateCheck,
    ElasticCheck,
    PhononsCheck,
    RepulsionCheck,
    LabelsCheck,
    ElasticFramesCheck,
    VacancyFramesCheck,
    SurfaceFramesCheck,
    PhaseFramesCheck,
    FiniteDifferencesCheck,
    CutoffSmoothnessCheck,
    ExtensivityCheck,
    NveCheck,
    VacancyCheck,
    SurfaceCheck,
    PhasesCheck,
    MoleculeScanCheck,
    NvtCheck,
    NptCheck,
    StructureInMotionCheck,
    MoleculeStabilityCheck,
)
"""In the order of a report."""


def chosen_checks(
    settings: CheckSettings, suite: Sequence[type[PhysicalCheck[Any]]] = SUITE
) -> list[PhysicalCheck[Any]]:
    """Return the checks that are asked for: by code, by use, or by suite.

    Raises
    ------
    OptionError
        If there is no check of a code.
    """
    codes = [check.code for check in suite]
    for code in settings.only:
        if code not in codes:
            raise OptionError(f"--only {code!r} is no check", allowed=codes, remedy=nearest(code, codes))
    if settings.only:
        return [check() for check in suite if check.code in settings.only]
    if settings.uses:
        return [check() for check in suite if check.gates_uses & set(settings.uses)]
    most = SUITES.index(settings.suite)
    return [check() for check in suite if SUITES.index(check.suite) <= most]
