"""How far a model may be off: every allowed range of the physical checks, each with its source.

A range is a setting: ``matgraft check runs/si gates.foundation=2``. Where a check has no value of the user's DFT to
compare with, it compares with the foundation, and allows `foundation` times as much: a tuned model is meant to differ
from its foundation.
"""

from __future__ import annotations

from pydantic import Field

from matgraft.core.frozen import Frozen


class Gates(Frozen):
    """Allowed ranges. Each is the largest difference that passes, unless its description says otherwise."""

    foundation: float = Field(
        3.0,
        gt=0,
        description="times as much is allowed where the foundation is the reference. Universal potentials are 15 to 20 "
        "% soft (Deng et al., npj Comput. Mater. 11, 9 (2025)), so agreement with one proves little",
    )
    # ------------------------------------------------------------------------------------------- relaxation
    lattice: float = Field(
        0.01,
        gt=0,
        description="part of a lattice length; functionals differ by 1 to 2 %, DFT codes by 0.1 % (Lejaeghere et al., "
        "Science 351, aad3000 (2016))",
    )
    volume: float = Field(0.03, gt=0, description="part of the volume: three times that of a length")
    angle_deg: float = Field(1.0, gt=0, description="degrees of a cell angle: 1 % of a length at right angles is 0.6")
    given_volume: float = Field(
        0.3,
        gt=0,
        description="part of the volume of the given structure: functionals with and without dispersion differ by as "
        "much in layered and molecular crystals, and by under 10 % elsewhere",
    )
    moved_A: float = Field(
        0.5,
        gt=0,
        description="Å that an atom moves within the cell: relaxation of surfaces and defects is some 0.1 to 0.3 Å; an "
        "atom that goes farther is on its way to another site",
    )
    closest: float = Field(
        0.6,
        gt=0,
        description="smallest distance that passes, as a part of the sum of two covalent radii: the triple bonds of N2 "
        "and CO have 0.77",
    )
    # ----------------------------------------------------------------------------------- equation of state
    bulk_modulus: float = Field(
        0.15,
        gt=0,
        description="part of the bulk modulus; most moduli by DFT lie within 15 % of experiment (de Jong et al., Sci. "
        "Data 2, 150009 (2015))",
    )
    bulk_derivative: float = Field(
        1.5, gt=0, description="of B0': most solids have 3 to 6, and fits of one set of energies differ by some 0.5"
    )
    stress_work: float = Field(
        0.05,
        gt=0,
        description="part of the energy between the scaled cells that the work of the stresses may be off: they are "
        "derivatives of each other, and the integral over eleven volumes is right within 0.01",
    )
    eos_rise_meV: float = Field(
        0.1,
        ge=0,
        description="meV/atom that the energy may fall on the way up: ten times the noise of single precision",
    )
    eos_residual: float = Field(
        0.03,
        gt=0,
        description="root mean square from a Birch-Murnaghan curve as a part of the energy's range: energies by DFT "
        "over 16 % of the volume lie within 0.01",
    )
    eos_volume: float = Field(
        0.02,
        gt=0,
        description="part of the volume between the minimum of the energy and that where stress is zero: 1 GPa of "
        "stress, where B0 is 50 GPa",
    )
    # ---------------------------------------------------------------------------------- elastic constants
    elastic: float = Field(
        0.15,
        gt=0,
        description="part of an elastic constant; most constants by DFT lie within 15 % of experiment (de Jong et al., "
        "Sci. Data 2, 150009 (2015))",
    )
    elastic_least_GPa: float = Field(
        5.0,
        gt=0,
        description="GPa of an elastic constant that pass in any case: constants by DFT are converged to some 1 to 5 "
        "GPa (de Jong et al., Sci. Data 2, 150009 (2015))",
    )
    elastic_strain: float = Field(
        0.15,
        gt=0,
        description="part of the largest elastic constant by which twice the strain may change any of them: a constant "
        "that hangs on the strain by more than it may differ from DFT cannot be compared",
    )
    born_GPa: float = Field(
        0.0,
        description="GPa, the smallest eigenvalue of the elastic tensor that passes; a crystal is stable where all are "
        "positive (Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014))",
    )
    # ------------------------------------------------------------------------------------------- phonons
    imaginary_THz: float = Field(
        0.3,
        ge=0,
        description="THz below zero that the lowest mode may lie: noise of 1e-5 eV/Å in the forces of cells that are "
        "displaced by 0.02 Å makes 0.07 THz in silicon and 0.3 THz of hydrogen",
    )
    frequency: float = Field(
        0.06,
        gt=0,
        description="part of a frequency; PBE lies some 3 to 5 % below experiment (He et al., Phys. Rev. B 89, 064305 "
        "(2014))",
    )

    repulsion_wall_eV: float = Field(
        5.0,
        gt=0,
        description="eV that two atoms must need to get into a hole of the energy: 20 kT at 2900 K",
    )
    repulsion_flat_eV: float = Field(
        0.5,
        gt=0,
        description="eV that half the sum of the covalent radii must lie above the bond. V2, the shortest bond by "
        "this measure, has some 1 eV (k = 4.33 mdyn/Å, harmonic)",
    )
    repulsion_bond: float = Field(
        0.57,
        gt=0,
        description="smallest distance of the bond of two atoms by the sum of their covalent radii; the shortest real "
        "ones are 0.58 (V2), 0.60 (Cr2) and 0.63 (Mo2)",
    )
    repulsion_depth_eV: float = Field(
        12.0,
        gt=0,
        description="eV that a bond may lie below two atoms farther apart: CO, the strongest bond of two atoms, has "
        "11.2 eV",
    )
    repulsion_push: float = Field(
        0.0, description="eV/Å, smallest force between two atoms closer than 0.8 of their bond: they push"
    )

    softness: float = Field(
        0.1,
        gt=0,
        description="from one, for the slope of predicted against labelled forces: half of what universal potentials "
        "are soft by (Deng et al. 2025). An interval over trajectories widens it, at most twice",
    )
    softness_tail: float = Field(
        0.15, gt=0, description="the same in the most strained tenth and in the tenth with the largest forces"
    )
    softness_stress: float = Field(
        0.25, gt=0, description="from one, for the slope of stress: what Pulay stress and few components leave open"
    )
    softness_energy: float = Field(
        0.25, gt=0, description="from one, for the slope of energies within a composition, which few frames determine"
    )
    force_error: float = Field(
        0.5,
        gt=0,
        description="root mean square error of forces over the root mean square of the forces, of each element: from "
        "here on a model explains less than three quarters of their variance",
    )
    force_at_rest_eV_per_A: float = Field(
        0.15,
        gt=0,
        description="eV/Å, root mean square error of forces where all labels are near zero: twice the mean error of "
        "CHGNet on its own data (0.077, Deng et al., Nat. Mach. Intell. 5, 1031 (2023))",
    )
    worse: float = Field(
        1.1, gt=0, description="times the foundation's error: a tenth more is more than the choice of frames makes"
    )
    energy_offset_eV: float = Field(
        0.05,
        gt=0,
        description="eV/atom between the mean of predicted and labelled energies, of a model that was fitted to the "
        "labels: kT at 580 K",
    )
    vacancy: float = Field(
        0.15,
        gt=0,
        description="part of the formation energy of a vacancy: some 0.2 to 0.5 eV, about what functionals differ by",
    )
    surface: float = Field(
        0.15,
        gt=0,
        description="part of a surface energy: functionals differ by 10 to 20 % (Patra et al., PNAS 114, E9188 (2017))",
    )
    of_many: float = Field(
        2.0,
        ge=1,
        description="times the range that one of three or more values of a kind may have, where their root mean square "
        "lies within it: of errors of that size one in twenty is larger",
    )
    phase_eV: float = Field(
        0.025,
        gt=0,
        description="eV/atom of the difference of two phases: semilocal functionals are known to some 0.024 eV/atom of "
        "reaction energies (Hautier et al., Phys. Rev. B 85, 155208 (2012))",
    )
    # dynamics and consistency: limits of their own, whatever DFT or foundation say
    drift_meV_per_atom_ps: float = Field(
        1.0,
        gt=0,
        description="1 meV/atom/ps, half of which is kinetic energy, heats a crystal by 4 K in a picosecond; the drift "
        "must lie beyond with 95 % confidence to fail",
    )
    energy_fluctuation: float = Field(
        0.2,
        gt=0,
        description="standard deviation of the total energy over that of the kinetic energy. A fifth is the rule of "
        "thumb for a timestep; a sound model at these timesteps has some 0.01",
    )
    verlet_order: float = Field(
        1.0,
        gt=0,
        description="difference from 2 of the power of the timestep with which the fluctuation of the energy grows: "
        "velocity Verlet is of second order where forces are the gradient of one smooth energy; noise and jumps have "
        "0. A short trajectory of a network that is rough on the scale of a step came out at 1.3",
    )
    force_gradient: float = Field(
        0.01,
        gt=0,
        description="part of the root mean square force by which forces may differ from central differences of the "
        "energy, beside what the energy's precision resolves: they are the same function, so only rounding is allowed",
    )
    stress_gradient: float = Field(
        0.01,
        gt=0,
        description="part of the root mean square stress by which it may differ from central differences of the energy "
        "beside what its precision resolves: they are the same function, so only rounding is allowed",
    )
    force_jump_eV_per_A: float = Field(
        0.003,
        gt=0,
        description="a jump of a force between neighbouring steps. Thirty times what single precision leaves undecided "
        "(1e-4 eV/Å), and a third of the usual 0.01 eV/Å to which forces are relaxed",
    )
    energy_jump_meV: float = Field(
        1.0,
        gt=0,
        description="a jump of the total energy between neighbouring steps, in meV. Single precision resolves some "
        "1e-3 meV an atom",
    )
    invariance_meV_per_atom: float = Field(
        0.1,
        gt=0,
        description="change of the energy where nothing may change it, such as by a rotation. A hundred times what "
        "single precision leaves undecided, a tenth of the usual accuracy of energies",
    )
    invariance_eV_per_A: float = Field(
        0.002,
        gt=0,
        description="root mean square change of forces where nothing may change them, and mean net force on an atom. "
        "Twenty times what single precision leaves undecided (1e-4 eV/Å)",
    )
    vacancy_eV: float = Field(
        0.0, description="eV, the smallest formation energy of vacancies that passes: below it the crystal falls apart"
    )
    surface_least: float = Field(
        0.0, description="J/m², the smallest surface energy that passes: below it the crystal cleaves by itself"
    )
    scan_eV: float = Field(
        0.1,
        gt=0,
        description="eV that the energy may fall as a bond is stretched beyond its minimum, or pressed: van der Waals "
        "wells of fragments are shallower",
    )
    bond_energy: float = Field(
        0.15,
        gt=0,
        description="part of the energy that it takes to stretch a bond to 2.5 times its length; semilocal functionals "
        "differ by 10 to 20 % on atomization energies (Kurth, Perdew and Blaha, Int. J. Quantum Chem. 75, 889 (1999))",
    )
    collapse: float = Field(
        0.5,
        gt=0,
        description="smallest distance in dynamics that passes, as a part of the sum of two covalent radii: the triple "
        "bonds of N2 and CO have 0.77, and thermal motion shortens a bond by some 15 %",
    )
    broken_off: float = Field(
        0.0,
        ge=0,
        description="trajectories that may break off: at temperatures that were asked for, none",
    )
    temperature: float = Field(
        0.1,
        gt=0,
        description="part of the temperature; the integrator's own error is some 1 to 3 % at these timesteps, and the "
        "uncertainty of the mean is allowed on top",
    )
    density: float = Field(
        0.03, gt=0, description="part of a density: three times what functionals differ by in a lattice length"
    )
    expansion: float = Field(
        0.1,
        gt=0,
        description="part of the given density by which a hot crystal may differ: solids expand by 2 to 8 % in volume "
        "up to their melting point",
    )
    overlap: float = Field(
        0.1,
        gt=0,
        description="part of the pairs that lie at other distances than in the frames of a trajectory; how far two "
        "halves of these frames differ is allowed on top",
    )
    displacement: float = Field(
        0.5,
        gt=0,
        description="part of the mean square displacement about a site: it goes with the inverse of the stiffness, so "
        "20 % of softening is 25 %; few picoseconds leave as much open",
    )
    bonds_changed: float = Field(
        0.0,
        ge=0,
        description="bonds of a molecule that may break or form in dynamics: at temperatures that were asked for, none",
    )


def source(name: str) -> str:
    """Return where the allowed range of a gate comes from."""
    return str(Gates.model_fields[name].description)
