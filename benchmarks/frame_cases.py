"""What is read of files that people have, what blocks and what is warned of, against what is true.

    python benchmarks/frame_cases.py
    python benchmarks/frame_cases.py --report

Files of ``../shared/data/cases/frames`` and outputs under ``../shared/data/real`` are audited against CHGNet, as a user
would: `matgraft audit FILE`. What blocks or is refused is answered with the options that are printed, until nothing
blocks or nothing more is offered. `CASES` says what is true of each file: from the README of the
cases, from the outputs' own lines, and from what another reader took from them.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from ase import units
from common import HERE, RESULTS, Results, Row, judge_cases, sentence, show

from matgraft.core.errors import MatgraftError
from matgraft.core.findings import Finding
from matgraft.core.options import shell, word
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run import audit_file

SHARED = HERE.parents[1] / "shared" / "data"
Ha, Ry, BOHR = units.Hartree, units.Rydberg, units.Bohr

ROUNDS = 4
"""Times that printed options are typed."""

CLOSE = {"energy": 1e-6, "force": 1e-3, "pressure": 2e-3}
"""How near to the true number a number must come, relative to it: outputs round, and constants differ by their year."""


@dataclass(frozen=True)
class Case:
    """What is true of a file.

    Attributes
    ----------
    file
        Below the shared folder; of an archive, every run in it.
    frames
        How many there are to learn from, isolated atoms left out; None where the file cannot be read as it stands.
    energy
        Of the first frame with one, eV.
    force
        The largest, eV/Å.
    pressure
        Of the first frame with a stress, GPa.
    blocks
        Codes of which one at least must block; none else may.
    before
        What version 298fc34 did, where that was wrong.
    """

    file: str
    frames: int | None = None
    energy: float | None = None
    force: float | None = None
    pressure: float | None = None
    blocks: tuple[str, ...] = ()
    before: str = ""
    options: tuple[str, ...] = ()


def _sige(name: str, frames: int, force: float | None = 13.28777, pressure: float | None = 8.7432, **more) -> Case:
    """Return a file made of the embedded frames of silicon and germanium."""
    return Case(f"cases/frames/{name}.extxyz", frames, more.pop("energy", -1111.84591992), force, pressure, **more)


CASES = (
    Case("cases/frames/a01_licl_rattled.extxyz", 8, before="blocked: kcal/mol/atom"),
    Case("cases/frames/a02_mpf_alkali.extxyz", 39, -49.15055874, before="blocked: kcal/mol/atom"),
    Case("cases/frames/d01_lammps.dump", before="energy 0.0, all hydrogen"),
    _sige("e01_crlf", 30),
    _sige("e02_bom", 30, before="refused"),
    _sige("e03_tail_blank", 30),
    _sige("e04_energy_only", 30, None, None, options=("want=[energy]",)),
    _sige("e05_forces_only", 30, 13.28777, None, energy=None, options=("want=[forces]",)),
    _sige("e06_stress_part", 30),
    _sige("e07_one_frame", 1, 1.77632, 2.8874, energy=-17862.29029066),
    _sige("e08_three_frames", 3, 2.88321, 0.6455, energy=-1111.6895746),
    _sige("e09_identical", 10, 1.77632, 2.8874, energy=-17862.29029066),
    _sige("e10_deuterium", 5, 1.64197, before="refused"),
    _sige("e11_actinide_cf", 6, 1.77632, blocks=("elements-unseen",)),
    _sige("e12_dummy_X", 6, 1.77632, blocks=("senseless",)),
    _sige("e13_stress_nan", 30, before="blocked: drop 15 good frames"),
    _sige("e14b_all_stress_zero", 30, 13.28777, None, before="zeros trained on"),
    _sige("e14c_all_energy_zero", 30, energy=None, options=("want=[forces]",), before="zeros trained on"),
    _sige("e15_hartree", 30, 0.25841, None, energy=-40.85958425, blocks=("energy-unit", "force-unit")),
    _sige("e16_stress_kbar6_vasp", 30, pressure=-87.4324 * 160.21766, blocks=("stress-unit", "stress-sign")),
    _sige("e17_REF_virials", 30),
    _sige("e18b_all_electron_heavy", 30, energy=-63511.84591992),
    _sige("e19_charges", 30, 4.63802, blocks=("duplicates", "mixed-states"), before="labels contradict, no tag named"),
    _sige("e20_move_mask", 6, 1.77632),
    _sige("e21_mace_weights", 30),
    _sige("e22_Z_column", 6, 1.77632),
    _sige("e23_slab_TTF_stress", 10, 2.33179, 2.623, before="frames without a cell"),
    _sige("e24_mol_no_lattice", 10, 2.33179, None),
    _sige(
        "e25_gradient_key",
        30,
        None,
        None,
        options=("keys.forces=gradient", "units.forces=-eV/Å"),
        before="forces left out",
    ),
    Case("cases/frames/e26_both_keys_differ.extxyz"),
    _sige("e27_huge_force", 30, 2500.65722),
    _sige("e28_mixed_columns", 30),
    _sige("e29_isolated_atoms", 30, energy=None, before="blocked"),
    _sige("e29c_isolated_atoms_sound", 30, energy=None, before="trained on"),
    Case("cases/frames/e32_truncated_line.extxyz"),
    _sige("e34_free_energy_differs", 30, energy=-1111.87712, before="refused: two keys"),
    Case("cases/frames/e35_plain_xyz_no_labels.xyz"),
    Case("cases/frames/e36_cp2k_pos.xyz", before="energies only"),
    _sige("e37_dimers", 44, pressure=None, energy=None),
    _sige("e38_positions_in_nm", 6, 1.77632, blocks=("outlier-distance",), before="killed after 100 s"),
    Case("cases/frames/j01_matpes_style.json", 12, -1111.84591992, 2.88321, 8.7432),
    Case("cases/frames/m01_lfs_pointer.model", before="traceback"),
    Case("cases/frames/n01_Cu2S.input.data", 9, blocks=("outlier-distance",), before="killed after 100 s"),
    Case("cases/frames/s01_train.xyz", 10, -1111.84591992, 2.33179, 8.7432, before="settings taken for a theory"),
    Case("cases/frames/v02_nelm_reached.OUTCAR.gz", 3, -23.96537837, 2.00822, -0.0118, before="converged"),
    Case("cases/frames/v03_nwrite0.OUTCAR.gz", 1, -57.48343729, 2.40261, -25.168, before="refused"),
    Case("cases/frames/v05_vdw_columns.OUTCAR.gz", 1, -33.36815582, 0.32125, 0.444, before="refused"),
    Case("cases/frames/v09_npt_shear.OUTCAR.gz", 10, -369.40258132, 0.15434, before="blocked: order of shears"),
    Case("cases/frames/v11_vasprun.xml.relax2.gz", 3, -10.83820748, None, -1.4675, before="not recognised"),
    Case("cases/frames/vasprun_v01_nelm_default.xml.gz", 19, -42.91231666, 3.41365, 0.8247, before="none converged"),
    Case("cases/frames/vasprun_v04_ti_aimd.xml.gz", 10, -253.15557734, 1.41738, -5.1184, before="blocked: kJ/mol/atom"),
    Case("cases/frames/vasprun_v06_pstress.xml.gz", 1, -20.24695937, None, -16.5996, before="-20.23985977 eV"),
    Case("cases/frames/vasprun_v08_feo_relax.xml.gz", 28, -20.66323714, 4.02621, 4.9208, before="blocked: -eV"),
    Case("cases/frames/vasprun_v13_broken.xml.gz", before="refused though an OUTCAR lay beside it"),
    Case("real/aims/Fe_spin.out.gz", 1, -34705.8342686694, options=("want=[energy]",)),
    Case("real/aims/GaAs_HSE06_SOC.out.gz", 1, -115078.90667808, options=("want=[energy]",)),
    Case("real/aims/H2O_md.out.gz", 5, -2078.47042902594),
    Case("real/aims/Si_relax.out.gz", 5, -15696.1246183849, None, 0.00570633 * 160.21766),
    Case("real/cp2k/H2O_md.out.gz", 11, -34.330396470966519 * Ha, options=("want=[energy]",)),
    Case("real/frames/3bpa_mixedT.extxyz", 100, -17660.57332279593),
    Case("real/frames/GeSbTe.extxyz", 60),
    Case("real/frames/acac_300K_train.extxyz", 150, -9391.049688086126),
    Case("real/frames/acac_600K_test.extxyz", 100, -9390.877673560653),
    Case("real/frames/hot_and_compressed.extxyz", 120, -57.58427939),
    Case("real/frames/mptrj_highest_stress.extxyz", 120, -676.27600446, None, 647.8509, before="blocked: forces"),
    Case("real/other/abacus.md/OUT.abacus/running_md.log", 5, -466.692851174, 2.0292534),
    Case("real/other/abacus.scf/OUT.ch4/running_scf.log", 1, -219.6499140427659),
    Case("real/other/cp2k/aimd_stress/cp2k.log", 1, -219.65547238, 1.55587807, -0.18367879),
    Case("real/other/cp2k/cp2k_normal_output/cp2k_output", 1, -48061.44846402, 0.7334729, -8.0661701),
    Case("real/other/gaussian/h2pbc.gaussianlog", 1, -1.06463933888 * Ha),
    Case("real/other/gaussian/methane.gaussianlog", 1, -40.5240137309 * Ha),
    Case("real/other/gaussian/noncoveraged.gaussianlog"),
    Case("real/other/lammps/traj.dump", before="energy 0.0, wrong elements"),
    Case("real/other/n2p2/input.data", 2, blocks=("duplicates",)),  # one molecule, shifted, of other labels
    Case("real/other/orca/orca.spout", 1, -513.113388868587 * Ha),
    Case("real/other/psi4/psi4.out", 1, -79.8685493165660603 * Ha),
    Case("real/other/pwmat/MOVEMENT_1", 2, -357682.8045),
    Case("real/other/qe.traj/oh-md.evp", 2),
    Case("real/other/qe.traj/si/si.evp", 2),
    Case("real/other/siesta/scf/siesta_output", 1, -219.164027, 0.64208337),
    Case("real/other/xyz/energy_hartree.xyz", 1, -0.5 * Ha, before="-0.5 eV"),
    Case("real/other/xyz/energy_kcal_mol.xyz", 1, -10 * units.kcal / units.mol, before="-10 eV"),
    Case("real/other/xyz/stress_gpa.xyz", 1, -3.0, None, -1.0, before="unit passed over"),
    Case("real/other/xyz/stress_kbar.xyz", 1, -3.0, None, -1.0, before="unit passed over"),
    Case("real/other/xyz/stresses_key.xyz", 1, -1.5),
    Case("real/other/xyz/virial_hartree.xyz", 1, -1.0 * Ha, before="-1 eV"),
    Case("real/other/xyz/unsupported_unit.xyz", before="unit passed over"),
    Case("real/other/xyz/xyz_unittest.xyz", 3, 2.397023),
    Case("real/phonons/Cu_QHA_vaspruns.tar.lzma", 11),
    Case("real/phonons/Si-PBE_vaspruns.tar.lzma", 111),
    Case("real/qe/Pt_noncollinear.out.gz", 1, -261.62984154 * Ry, None, 8.878),
    Case("real/qe/Si_md.out.gz", 50, -14.44793733 * Ry),
    Case("real/qe/TiO2_relax.out.gz", 6, -406.0017799 * Ry, None, 2.997),
    Case("real/vasp/AgAc_relax.OUTCAR.gz", 1, -6.97148118, None, 7.06),
    Case("real/vasp/AgAc_relax.vasprun.xml.gz", 3, -7.13733633, None, 1.1315),
    Case("real/vasp/dftu.OUTCAR.gz", 1, -0.91507, None, -0.1597),
    Case("real/vasp/dftu_two_U.OUTCAR.gz", 1, -130.40703524, options=("want=[energy]",)),
    Case("real/vasp/hle17.vasprun.xml.gz", 1, -7624.25250892, 3.67417, -5.355),
    Case("real/vasp/hybrid.vasprun.xml.gz", 1, -860.86587787, 0.97793),
)


# --- one file --------------------------------------------------------------------------------------------------------


def judged(case: Case) -> Row:
    """Return what is read and said of a file, and in what that departs from what is true."""
    begun = perf_counter()
    with unpacked(SHARED / case.file) as source:
        said = _audited(str(source), case.options)
        typed, last = _answered(str(source), case.options, said)
    row = said.row | {"typed": [shell(options) for options in typed], "open": last.blocks or bool(last.refused)}
    wrong = list(_departures(case, said))
    return {
        "file": case.file,
        **row,
        "wrong": wrong,
        "seconds": round(perf_counter() - begun, 1),
        "before": case.before,
    }


@dataclass(frozen=True)
class Said:
    """What `matgraft audit` says of a file."""

    row: Row
    findings: tuple[Finding, ...] = ()
    refused: MatgraftError | None = None

    @property
    def blocks(self) -> bool:
        """True if something blocks."""
        return any(one.blocks for one in self.findings)


def _audited(source: str, words: tuple[str, ...]) -> Said:
    try:
        recipe = make_recipe(None, list(words), verb="audit", train=source)
        dataset, findings = audit_file(recipe, quiet=True)
    except MatgraftError as error:
        return Said({"refused": str(error).splitlines()[0].replace(str(SHARED), "")}, refused=error)
    codes = {severity: sorted({f.code for f in findings if f.outcome == "failed" and f.severity == severity})
             for severity in ("error", "warning")}  # fmt: skip
    return Said(_read(dataset) | {"blocks": codes["error"], "warns": codes["warning"]}, tuple(findings))


def _answered(source: str, words: tuple[str, ...], said: Said) -> tuple[list[dict[str, object]], Said]:
    """Type what is printed, the first option of each finding that blocks or of the error, until nothing is printed."""
    typed: list[dict[str, object]] = []
    for _ in range(ROUNDS):
        offered = [one.actions[0].options for one in said.findings if one.blocks and one.actions]
        if said.refused is not None:
            offered = [dict(options) for options in said.refused.options[:1]]
        if not offered:
            break
        typed += offered
        said = _audited(source, (*words, *(word(key, value) for own in typed for key, value in own.items())))
    return typed, said


def _read(dataset: Dataset) -> Row:
    labels = {name: dataset.count(name) for name in ("energy", "forces", "stress")}
    first = {name: next((s.labels[name] for s in dataset if name in s.labels), None) for name in ("energy", "stress")}
    forces = [np.linalg.norm(s.labels["forces"], axis=1).max() for s in dataset if "forces" in s.labels]
    stress = first["stress"]
    return {
        "frames": len(dataset),
        **{f"n_{name}": count for name, count in labels.items()},
        "energy": None if first["energy"] is None else float(first["energy"]),
        "force": float(max(forces)) if forces else None,
        "pressure": None if stress is None else float(-np.trace(stress) / 3 / units.GPa),
    }


def _departures(case: Case, said: Said) -> Iterator[str]:
    """Say in what a file is read or judged otherwise than is true."""
    if case.frames is None:
        if said.refused is None:
            yield "read, though it cannot be"
        return
    if said.refused is not None:
        yield "refused"
        return
    if said.row["frames"] != case.frames:
        yield f"{said.row['frames']} frames, true are {case.frames}"
    for name, within in CLOSE.items():
        true, found = getattr(case, name), said.row[name]
        if true is not None and (found is None or abs(found - true) > within * max(abs(true), 0.1)):
            yield f"{name} {found}, true is {true:.8g}"
    blocks = said.row["blocks"]
    if case.blocks and not set(blocks) & set(case.blocks):
        yield f"not blocked by {' or '.join(case.blocks)}"
    if false := sorted(set(blocks) - set(_allowed(case))):
        yield f"blocked by {', '.join(false)}"


def _allowed(case: Case) -> tuple[str, ...]:
    """Return the codes that may block: a label whose unit is wrong is wrong in its sign and order too."""
    return (*case.blocks, "stress-shear") if "stress-unit" in case.blocks else case.blocks


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield the file itself; of an archive, a folder with what is in it."""
    if ".tar" not in path.name:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
        yield Path(folder)


# --- all of them -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Judge every file that is there, and print the table."""
    results = Results(RESULTS / "frame_cases.json", keys=("file",), head=summary)
    judge_cases(__doc__ or "", results, SHARED, CASES, judged, report)


def summary(rows: list[Row]) -> Row:
    """Return how many files are read and judged rightly, and what stays open."""
    return {
        "files": len(rows),
        "right": sum(not row["wrong"] for row in rows),
        "blocked falsely": sum(any(one.startswith("blocked") for one in row["wrong"]) for row in rows),
        "blocked or refused, rightly": sum(
            bool(row.get("blocks") or row.get("refused")) for row in rows if not row["wrong"]
        ),
        "of these, cured by what is printed": sum(not row["open"] and bool(row["typed"]) for row in rows),
    }


def _number(row: Row, key: str, form: str) -> str:
    return format(row[key], form) if row.get(key) is not None else ""


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the table."""
    lines = [
        [
            row["file"].split("/", 1)[1],
            str(row.get("frames", "")),
            _number(row, "energy", ".5f"),
            _number(row, "force", ".3f"),
            _number(row, "pressure", ".3f"),
            ", ".join(row.get("blocks", ())) or ("refused" if "refused" in row else ""),
            ", ".join(row.get("warns", ())),
            " ".join(row["typed"])[:80],
            row["before"],
            "; ".join(row["wrong"]) or "right",
        ]
        for row in rows
    ]
    header = (
        "file",
        "frames",
        "energy, eV",
        "largest force",
        "pressure, GPa",
        "blocks",
        "warns",
        "typed",
        "before",
        "now",
    )
    show("files that people have", header, lines, as_markdown=as_markdown)
    print(sentence(summary(rows)))


if __name__ == "__main__":
    main()
