"""All physical checks, and which of them a command runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matgraft.core.errors import OptionError, nearest
from matgraft.core.plugins import Extended
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

Checks = Sequence[type[PhysicalCheck[Any]]]
SUITE: Checks = (
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


OF_OTHERS: Extended[type[PhysicalCheck[Any]]] = Extended({}, "matgraft.checks", PhysicalCheck)
"""Checks that other packages add by entry points, each under its code; they run where `only` names them."""


def with_others(codes: Iterable[str], suite: Checks = SUITE) -> Checks:
    """Return the suite, and behind it those of the named checks that other packages add.

    Raises
    ------
    OptionError
        If one of these cannot be imported, or has another code than its name.
    """
    own = {check.code for check in suite}
    found = {code: OF_OTHERS[code] for code in codes if code not in own and code in OF_OTHERS}
    for name, check in found.items():
        if check.code != name:
            where = f"check {name} of {check.__module__}"
            raise OptionError(f"its code is {check.code!r}", where=where, remedy="its entry point must have this name")
    return (*suite, *found.values())


def chosen_checks(settings: CheckSettings, suite: Checks = SUITE) -> list[PhysicalCheck[Any]]:
    """Return the checks that are asked for: by code, by use, or by suite.

    Raises
    ------
    OptionError
        If there is no check of a code, or what another package adds under it is none.
    """
    codes = [*(check.code for check in suite), *OF_OTHERS]
    for code in settings.only:
        if code not in codes:
            raise OptionError(f"--only {code!r} is not a check", allowed=codes, remedy=nearest(code, codes))
    if settings.only:
        return [check() for check in with_others(settings.only, suite) if check.code in settings.only]
    if settings.uses:
        return [check() for check in suite if check.gates_uses & set(settings.uses)]
    most = SUITES.index(settings.suite)
    return [check() for check in suite if SUITES.index(check.suite) <= most]
