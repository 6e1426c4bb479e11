"""Make the silicon-germanium data set: sample 8-atom diamond cells, label them by DFT, check the labels.

Three verbs; `--pseudo-dir` is where the pseudopotentials named in `PSEUDOPOTENTIALS` lie:

    python make_frames.py --pseudo-dir DIR label       # writes frames.extxyz and test.extxyz
    python make_frames.py --pseudo-dir DIR converge    # cutoffs, k mesh, stress against energy differences
    python make_frames.py summarise                    # counts, ranges, and what CHGNet 0.3.0 makes of the labels

Configurations come from Langevin dynamics with CHGNet 0.3.0, from strain, and from random displacements; energies,
forces and stresses from Quantum ESPRESSO's `pw.x` (PBE). Labelling is restartable: a frame that already stands in an
output file is skipped, sampled trajectories are kept in `--work`, and every write replaces the file at once.

| label  | unit         | what it is                                                                                |
| ------ | ------------ | ----------------------------------------------------------------------------------------- |
| energy | eV, total    | the free energy E - TS of the smeared electrons (the line with `!`); forces belong to it  |
| forces | eV/Å         | minus the gradient of that energy                                                         |
| stress | eV/Å³, 3 x 3 | ASE's sign: positive under tension, so a compressed cell has a negative one               |
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixCom
from ase.io import read, write
from ase.md.langevin import Langevin
from numpy.typing import NDArray

HERE = Path(__file__).parent
PSEUDOPOTENTIALS = {"Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF", "Ge": "Ge.pbe-kjpaw.UPF"}
LATTICE_CONSTANT = {"Si": 5.47, "Ge": 5.76}  # Å, near the PBE minimum; mixtures follow Vegard's rule
TIMESTEP, FRICTION = 2 * units.fs, 0.02 / units.fs  # a velocity is forgotten after 50 fs
EQUILIBRATION, SPACING = 200, 80  # steps: 0.4 ps, then a snapshot every 160 fs (Si's optical phonon: 65 fs)


@dataclass(frozen=True)
class Settings:
    """What `pw.x` is asked for: cutoffs and smearing width in Ry, mesh divisions, mesh offset in half divisions."""

    wave_cutoff: float = 28.0
    density_cutoff: float = 140.0
    mesh: tuple[int, int, int] = (3, 3, 3)
    offset: tuple[int, int, int] = (0, 0, 0)
    width: float = 0.01


@dataclass(frozen=True)
class Plan:
    """One trajectory: its title, how it is sampled, its number of Si atoms of eight, and its temperature in K."""

    title: str
    kind: Literal["NVT", "strain", "rattle"]
    silicon: int
    temperature: int = 0
    ordered: bool = True
    count: int = 10


PLANS = (
    Plan("Si strain", "strain", 8),
    Plan("Ge strain", "strain", 0),
    Plan("Si4Ge4 strain", "strain", 4),
    Plan("Si NVT 300 K", "NVT", 8, 300),
    Plan("Si NVT 1500 K", "NVT", 8, 1500),
    Plan("Ge NVT 900 K", "NVT", 0, 900),
    Plan("Si4Ge4 NVT 300 K", "NVT", 4, 300),
    Plan("Si4Ge4 disordered NVT 900 K", "NVT", 4, 900, ordered=False),
    Plan("Si6Ge2 NVT 1500 K", "NVT", 6, 1500, ordered=False),
    Plan("Si2Ge6 rattle", "rattle", 2, ordered=False, count=6),
)
TEST_PLANS = (Plan("Si5Ge3 NVT 600 K", "NVT", 5, 600, ordered=False),)

VOLUME_STRAINS = (-0.08, -0.04, 0.0, 0.04, 0.08)  # relative change of the volume
SHEARS = ((0.04, 0.0, 0.0), (0.08, 0.0, 0.0), (-0.04, -0.04, -0.04))  # strain components yz, xz, xy
DISPLACEMENTS = (0.10, 0.12, 0.15, 0.18, 0.21, 0.25)  # Å, standard deviation a Cartesian component

Array = NDArray[np.float64]


# --- configurations -------------------------------------------------------------------------------


def diamond(plan: Plan, rng: np.random.Generator) -> Atoms:
    """Return the unstrained cell. Ordered Si4Ge4 is zincblende; a disordered cell draws its sites from `rng`."""
    share = plan.silicon / 8
    atoms = bulk("Si", "diamond", a=share * LATTICE_CONSTANT["Si"] + (1 - share) * LATTICE_CONSTANT["Ge"], cubic=True)
    sites = np.concatenate([np.arange(0, 8, 2), np.arange(1, 8, 2)])  # the two face-centred sublattices in turn
    sites = sites if plan.ordered else rng.permutation(sites)
    symbols = np.full(8, "Ge")
    symbols[sites[: plan.silicon]] = "Si"
    atoms.set_chemical_symbols(list(symbols))
    return atoms


def deform(atoms: Atoms, strain: Array) -> Atoms:
    """Return a copy whose cell vectors are multiplied by 1 + `strain` (3, 3); the atoms follow."""
    copy = atoms.copy()
    copy.set_cell(copy.cell @ (np.eye(3) + strain), scale_atoms=True)
    return copy


def change_volume(atoms: Atoms, change: float) -> Atoms:
    """Return a copy with the volume times 1 + `change`."""
    return deform(atoms, ((1 + change) ** (1 / 3) - 1) * np.eye(3))


def shear(atoms: Atoms, yz: float, xz: float, xy: float) -> Atoms:
    """Return a copy under a symmetric shear, given as components of the strain tensor."""
    return deform(atoms, np.array([[0.0, xy, xz], [xy, 0.0, yz], [xz, yz, 0.0]]))


def strain_series(plan: Plan, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield cells under volumetric and shear strain, the atoms at ideal sites."""
    atoms = diamond(plan, rng)
    yield from (change_volume(atoms, change) for change in VOLUME_STRAINS)
    yield from (shear(atoms, *components) for components in SHEARS)


def rattle_series(plan: Plan, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield cells of growing random displacement, each with its own random strain of up to 3 %."""
    ideal = diamond(plan, rng)
    for displacement in DISPLACEMENTS[: plan.count]:
        strain = rng.uniform(-0.03, 0.03, (3, 3))
        atoms = deform(ideal, (strain + strain.T) / 2)
        atoms.positions += rng.normal(scale=displacement, size=(8, 3))
        yield atoms


def run_dynamics(plan: Plan, rng: np.random.Generator) -> Iterator[Atoms]:
    """Yield snapshots of Langevin dynamics with CHGNet, `SPACING` steps apart."""
    atoms = diamond(plan, rng)
    atoms.positions += rng.normal(scale=0.03, size=(8, 3))
    atoms.calc = chgnet_calculator()
    atoms.set_constraint(FixCom())  # with `fixcm=False`: ASE's own way samples small cells wrongly
    # Twice the temperature at nearly ideal sites: half of it goes into the springs.
    widths = np.sqrt(2 * units.kB * plan.temperature * atoms.get_masses())
    atoms.set_momenta(widths[:, None] * rng.normal(size=(8, 3)))
    dynamics = Langevin(atoms, TIMESTEP, temperature_K=plan.temperature, friction=FRICTION, rng=rng, fixcm=False)
    dynamics.run(EQUILIBRATION)
    for _ in range(plan.count):
        dynamics.run(SPACING)
        yield Atoms(atoms.symbols, positions=atoms.positions, cell=atoms.cell, pbc=True)


def chgnet_calculator() -> Calculator:
    """Return CHGNet 0.3.0 as an ASE calculator on the CPU."""
    from chgnet.model import CHGNet, CHGNetCalculator

    model = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
    return CHGNetCalculator(model, use_device="cpu")


def sample(plan: Plan, seed: int, work: Path) -> list[Atoms]:
    """Return the plan's unlabelled frames; those of an interrupted run are read back from `work`."""
    path = work / f"{plan.title.replace(' ', '_')}-seed{seed}.extxyz"
    if not path.exists():
        number = (*PLANS, *TEST_PLANS).index(plan)
        maker = {"NVT": run_dynamics, "strain": strain_series, "rattle": rattle_series}[plan.kind]
        frames = list(maker(plan, np.random.default_rng([seed, number])))
        for index, atoms in enumerate(frames):
            atoms.info |= {"trajectory": plan.title, "frame": index, "config_type": plan.kind}
            atoms.info |= {"temperature": plan.temperature} if plan.temperature else {}
        replace_frames(path, frames)
    return read_frames(path)  # from the file in any case, so that DFT sees the rounded positions


# --- labels ---------------------------------------------------------------------------------------


def label(atoms: Atoms, settings: Settings, options: argparse.Namespace, folder: Path) -> Atoms:
    """Return a copy that carries the energy, forces and stress `pw.x` finds. An unfinished run is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    input_path, output_path = folder / "pw.in", folder / "pw.out"
    write_input(input_path, atoms, settings, options.pseudo_dir)
    with output_path.open("w") as output:
        command = [options.command, "-in", input_path.name]
        subprocess.run(command, cwd=folder, stdout=output, check=True, timeout=options.timeout)
    text = output_path.read_text()
    if "convergence has been achieved" not in text or "JOB DONE" not in text:
        raise RuntimeError(f"pw.x did not converge: see {output_path}")
    finished = read(output_path, index=0, format="espresso-out")
    assert isinstance(finished, Atoms)
    return carry(atoms, finished.calc.results)


def carry(atoms: Atoms, results: dict[str, Any]) -> Atoms:
    """Return a copy of `atoms` with the energy, forces and stress among `results`."""
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **{name: results[name] for name in ("energy", "forces", "stress")})
    return copy


def write_input(path: Path, atoms: Atoms, settings: Settings, pseudo_dir: Path) -> None:
    """Write the input of a self-consistent calculation with forces and stress."""
    control = {"calculation": "scf", "tprnfor": True, "tstress": True, "disk_io": "none", "outdir": "."}
    system = {
        "ecutwfc": settings.wave_cutoff,
        "ecutrho": settings.density_cutoff,
        "occupations": "smearing",
        "smearing": "gaussian",
        "degauss": settings.width,
        "nosym": True,  # the same mesh for strained, sheared and disordered cells
    }
    data: dict[str, Any] = {
        "control": control | {"pseudo_dir": str(pseudo_dir)},
        "system": system,
        "electrons": {"conv_thr": 5e-9},
    }
    mesh: dict[str, Any] = {"kpts": settings.mesh, "koffset": settings.offset}
    write(path, atoms, format="espresso-in", input_data=data, pseudopotentials=PSEUDOPOTENTIALS, **mesh)


def label_all(path: Path, plans: tuple[Plan, ...], options: argparse.Namespace) -> None:
    """Label every frame of `plans` that does not stand in `path` yet, and append it there."""
    for plan in plans:
        done = {(atoms.info["trajectory"], atoms.info["frame"]) for atoms in read_frames(path)}
        if len([title for title, _ in done if title == plan.title]) == expected_count(plan):
            continue
        for atoms in sample(plan, options.seed, options.work):
            if (plan.title, atoms.info["frame"]) in done:
                continue
            start = time.perf_counter()
            labelled = label(atoms, Settings(), options, options.work / "pw")
            replace_frames(path, [*read_frames(path), labelled])
            print(f"{describe(labelled)}  {time.perf_counter() - start:.0f} s", flush=True)


def expected_count(plan: Plan) -> int:
    """Return how many frames a plan makes."""
    return len(VOLUME_STRAINS) + len(SHEARS) if plan.kind == "strain" else plan.count


def describe(atoms: Atoms) -> str:
    """One line about a labelled frame: energy in eV, largest and net force in eV/Å, mean stress in GPa."""
    forces, pressure = atoms.get_forces(), np.mean(atoms.get_stress()[:3]) / units.GPa
    largest, net = np.abs(forces).max(), np.abs(forces.sum(axis=0)).max()
    name = f"{atoms.info['trajectory']:28s} {atoms.info['frame']:2d}"
    return f"{name} E {atoms.get_potential_energy():.5f} F {largest:.3f} net {net:.1e} tr S/3 {pressure:+.2f}"


def read_frames(path: Path) -> list[Atoms]:
    """Return all frames of a file, none if it does not exist."""
    return list(read(path, index=":")) if path.exists() else []


def replace_frames(path: Path, frames: list[Atoms]) -> None:
    """Write all frames beside `path`, then put the file in its place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    write(temporary, frames, format="extxyz")
    temporary.replace(path)


# --- checks ---------------------------------------------------------------------------------------


def converge(options: argparse.Namespace) -> None:
    """Print how far a strained, rattled cell moves under tighter settings, and a stress against energy differences."""
    rng = np.random.default_rng(options.seed)
    ideal = diamond(Plan("Si4Ge4", "strain", 4), rng)
    strained = deform(ideal, np.array([[0.03, 0.02, 0.0], [0.02, -0.02, 0.01], [0.0, 0.01, 0.04]]))
    strained.positions += rng.normal(scale=0.12, size=(8, 3))
    folder = options.work / "converge"
    used = [label(atoms, Settings(), options, folder) for atoms in (strained, ideal)]
    others = {
        "60/360 Ry": Settings(wave_cutoff=60, density_cutoff=360),
        "5x5x5 mesh": Settings(mesh=(5, 5, 5)),
        "2x2x2 shifted mesh": Settings(mesh=(2, 2, 2), offset=(1, 1, 1)),
    }
    for name, settings in others.items():
        pair = [label(atoms, settings, options, folder) for atoms in (strained, ideal)]
        gap = 1000 * (energy_above(*pair) - energy_above(*used))
        print(f"{name:20s} {compare(pair[0], used[0])}, above ideal {gap:+.2f} meV/atom", flush=True)
    compare_stress(options, folder)


def energy_above(atoms: Atoms, ideal: Atoms) -> float:
    """Return by how much the energy of `atoms` lies above that of `ideal`, in eV/atom."""
    return float(atoms.get_potential_energy() - ideal.get_potential_energy()) / len(atoms)


def compare(frame: Atoms, used: Atoms) -> str:
    """Return differences of energy, forces and stress between two calculations of one frame."""
    energy = 1000 * (frame.get_potential_energy() - used.get_potential_energy()) / len(frame)
    forces = root_mean_square(frame.get_forces() - used.get_forces())
    stress = root_mean_square(frame.get_stress() - used.get_stress()) / units.GPa
    return f"energy {energy:+.2f} meV/atom, forces {1000 * forces:.1f} meV/Å, stress {stress:.3f} GPa"


def compare_stress(options: argparse.Namespace, folder: Path, step: float = 0.005) -> None:
    """Print the mean stress of compressed Si beside dE/dV from central differences (both in GPa)."""
    compressed = change_volume(diamond(PLANS[0], np.random.default_rng(0)), -0.04)
    sides = [label(change_volume(compressed, sign * step), Settings(), options, folder) for sign in (1, -1)]
    slope = np.diff([side.get_potential_energy() for side in sides[::-1]])[0]
    slope /= sides[0].get_volume() - sides[1].get_volume()
    stress = np.mean(label(compressed, Settings(), options, folder).get_stress()[:3])
    print(f"Si at -4 % volume: mean stress {stress / units.GPa:+.3f} GPa, dE/dV {slope / units.GPa:+.3f} GPa")


def summarise() -> None:
    """Print counts and ranges of both files, and the residuals of CHGNet after a shift of energy per element."""
    files = {name: read_frames(HERE / f"{name}.extxyz") for name in ("frames", "test")}
    shift: Array | None = None
    for name, frames in files.items():
        energies = np.array([atoms.get_potential_energy() / len(atoms) for atoms in frames])
        forces = np.concatenate([atoms.get_forces() for atoms in frames])
        nets = [np.abs(atoms.get_forces().sum(axis=0)).max() for atoms in frames]
        print(f"{name}: {len(frames)} frames, energy {energies.min():.3f} to {energies.max():.3f} eV/atom")
        print(f"  largest force component {np.abs(forces).max():.3f} eV/Å, largest net force {max(nets):.1e} eV/Å")
        shift = print_residuals(frames, shift)


def print_residuals(frames: list[Atoms], shift: Array | None) -> Array:
    """Print CHGNet's root-mean-square errors; `shift` (eV per Si, per Ge) is fitted where it is not given."""
    pairs = list(zip(frames, predict(frames), strict=True))
    counts = np.array([[atoms.symbols.count("Si"), atoms.symbols.count("Ge")] for atoms in frames], dtype=float)
    gaps = np.array([a.get_potential_energy() - p.get_potential_energy() for a, p in pairs])
    if shift is None:  # per atom, so that each frame counts alike
        shift = np.linalg.lstsq(counts / counts.sum(1, keepdims=True), gaps / counts.sum(1), rcond=None)[0]
    energy = root_mean_square((gaps - counts @ shift) / counts.sum(1))
    forces = root_mean_square(np.concatenate([a.get_forces() - p.get_forces() for a, p in pairs]))
    stress = root_mean_square(np.array([a.get_stress(voigt=False) - p.get_stress(voigt=False) for a, p in pairs]))
    print(f"  CHGNet 0.3.0 after shifts of {shift.round(3)} eV per Si, Ge: energy {1000 * energy:.1f} meV/atom,")
    print(f"  forces {forces:.3f} eV/Å, stress {stress / units.GPa:.2f} GPa")
    return shift


def predict(frames: list[Atoms]) -> Iterator[Atoms]:
    """Yield copies that carry CHGNet's results."""
    calculator = chgnet_calculator()
    for atoms in frames:
        calculator.calculate(atoms)
        yield carry(atoms, calculator.results)


def root_mean_square(values: Array) -> float:
    """Return the root of the mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    """Read the command line and do as it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["label", "converge", "summarise"])
    folder = os.environ.get("ESPRESSO_PSEUDO")
    parser.add_argument("--pseudo-dir", type=Path, default=folder, help="where the UPF files lie")
    parser.add_argument("--command", default="pw.x", help="the pw.x program")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds a calculation may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "sige", help="scratch folder, kept")
    options = parser.parse_args()
    if options.verb == "summarise":
        summarise()
        return
    if options.pseudo_dir is None:
        titles = ", ".join(PSEUDOPOTENTIALS.values())
        parser.error(f"--pseudo-dir (or ESPRESSO_PSEUDO) must name the folder with {titles}")
    if options.verb == "converge":
        converge(options)
        return
    label_all(HERE / "frames.extxyz", PLANS, options)
    label_all(HERE / "test.extxyz", TEST_PLANS, options)


if __name__ == "__main__":
    main()
