"""What the audit says of labelled sets that people have, by foundation: false alarms, and planted faults missed.

    python benchmarks/real_alarms.py
    python benchmarks/real_alarms.py --only "Si train" --kept FOLDER     # predictions are kept there for the next call
    python benchmarks/real_alarms.py --report

Right labels: the published frames of Si and Mo and each of their trajectories as a set of its own, the embedded frames,
the files of `frame_cases.CASES` whose labels are right, and phonon supercells. No finding may block them. Faults are
planted in some of these sets, in all frames, in scattered ones, and in whole trajectories. The faulty labels are
written into a file, which is read and audited as `matgraft audit FILE` does; options that are printed are typed, and
the labels that are read then are held against the right ones (*cured*). The foundation predicts each set once.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
from ase import Atoms, units
from ase.io import write
from audit_rules import Fault, another_order, offset, written
from common import HERE, RESULTS, Results, Row, circumstances, prepare, run, sentence, show, spread
from frame_cases import CASES, SHARED, unpacked

from matgraft.core.errors import MatgraftError
from matgraft.core.findings import Finding, blocking
from matgraft.core.options import word
from matgraft.core.provenance import file_hash
from matgraft.core.quantities import Array
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import encode_what_can_be, predict_samples
from matgraft.potentials.models.registry import load_potential
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.run.frames import Frames, look, look_at_card, look_first, read_parts, unasked

MODELS = SHARED.parent / "models"
BACKBONES = {
    "CHGNet": "chgnet",
    "TensorNet": f"matgl:{MODELS / 'TensorNet-MatPES-PBE-v2025.1-PES'}",
    "M3GNet": f"matgl:{MODELS / 'M3GNet-MatPES-PBE-v2025.1-PES'}",
    **{f"MACE {name}": f"mace:{MODELS / 'mace' / name}.model" for name in ("GeSbTe", "SPICE", "ANI-CC")},
}
"""What predicts. A MACE knows few elements: it is asked about sets of these alone."""

COMPARING = ("energy", "force", "stress", "theory-labels", "outlier-energy", "outlier-force")
"""How the codes begin of looks that hold labels against predictions."""

MOST = 64
"""Frames of a set in which faults are planted, evenly spread."""

LARGEST = 3000
"""Atoms of a set other than the published ones, above which its frames are thinned evenly."""

LONG = 14
"""Frames of a trajectory whose halves are told apart: of fewer nothing is."""

SMALL = 0.01
"""eV/Å of a force that might as well be zero."""

ROUNDS = 3
"""Times that printed options are typed."""

ORDER = 'shear={"config_type=AIMD-NVT": "xz,yz,xy", "config_type=Vacancy": "xz,yz,xy"}'
"""The shears of the Si frames of dynamics stand in another order (`common.put_right`)."""

Predictions = Sequence[Mapping[str, Array]]


# --- sets whose labels are right -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A file whose labels are right.

    Attributes
    ----------
    options
        What is typed to read it.
    planted
        True if faults are planted in it.
    """

    name: str
    path: Path
    options: tuple[str, ...] = ()
    planted: bool = False


SIGE = HERE.parent / "examples" / "data" / "sige"
PLANTED = ("hot_and_compressed", "acac_300K_train", "GeSbTe")
UNSOUND = ("e27_huge_force", "e37_dimers")
"""Files that may be read, of which some labels are wrong: a force of 2500 eV/Å, energies of dimers made up."""


def known_sets() -> list[Known]:
    """Return the files, those of frame_cases whose labels are right among them."""
    own = [
        *(Known(f"Si {part}", SHARED / "potentials" / f"Si_{part}.extxyz", (ORDER,)) for part in ("train", "test")),
        *(Known(f"Mo {part}", SHARED / "potentials" / f"Mo_{part}.extxyz") for part in ("train", "test")),
        *(Known(f"SiGe {part}", SIGE / f"{part}.extxyz") for part in ("frames", "test")),
        *(Known(f"Si phonons {name}", SHARED / "real" / "phonons" / f"Si-{name}_vaspruns.tar.lzma")
          for name in ("PBEsol", "LDA")),
    ]  # fmt: skip
    cases = [case for case in CASES if case.frames is not None and not case.blocks]
    cases = [case for case in cases if not any(name in case.file for name in UNSOUND)]
    others = [Known(_name(case.file), SHARED / case.file, case.options) for case in cases]
    planted = ("Si train", "Mo train", "SiGe frames", *PLANTED)
    return [Known(one.name, one.path, one.options, one.name in planted) for one in (*own, *others)]


def _name(file: str) -> str:
    path = Path(file)
    return path.name.split(".")[0] if path.suffix == ".extxyz" else "/".join(path.parts[-2:])


@dataclass(frozen=True)
class Opened:
    """A set as a user reads it."""

    known: Known
    recipe: Recipe
    frames: Dataset

    def subsets(self) -> Iterator[tuple[str, Dataset, list[int]]]:
        """Yield the whole, and each of its named trajectories if there are several, with their places in the whole.

        The runs of an archive are not named: most have one frame.
        """
        yield "", self.frames, list(range(len(self.frames)))
        names = self.frames.tag("trajectory")
        if len(set(names)) == 1 or ".tar" in self.known.path.name:
            return
        for name in sorted(set(names) - {""}):
            places = [i for i, own in enumerate(names) if own == name]
            yield name, self.frames[places], places


def opened(known: Known) -> Opened:
    """Read a set; of an archive, all of its runs."""
    with unpacked(known.path) as source:
        recipe = make_recipe(None, list(known.options), verb="audit", train=str(source))
        frames = read_parts(recipe)[0]
    share = LARGEST / sum(sample.n_atoms for sample in frames)
    whole = share > 1 or known.path.parent.name == "potentials"
    return Opened(known, recipe, frames if whole else spread(frames, int(share * len(frames))))


# --- predictions -----------------------------------------------------------------------------------------------------


@cache
def foundation_of(backbone: str) -> Potential:
    """Load a backbone, once."""
    name = BACKBONES[backbone]
    path = Path(name.removeprefix("mace:"))
    return load_potential(f"{name}@{file_hash(path)}" if name.startswith("mace:") else name)


def predicted(backbone: str, frames: Dataset, kept: Path | None = None) -> Predictions:
    """Return a backbone's predictions, empty for a frame that it cannot take; read back where they are kept."""
    if not backbone:
        return [{} for _ in frames]
    file = kept and kept / f"{backbone.replace(' ', '-')}-{frames.hash()[:20]}.npz"
    if file and file.is_file():
        return _read_predictions(file, len(frames))
    foundation = foundation_of(backbone)
    graphs, taken, _ = encode_what_can_be(foundation, frames.samples)
    known = predict_samples(foundation, frames[taken].samples, encoded=graphs) if taken else []
    made = dict(zip(taken, known, strict=True))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"{i}/{name}": value for i, own in made.items() for name, value in own.items()}
        np.savez_compressed(file, **arrays)
    return [made.get(i, {}) for i in range(len(frames))]


def _read_predictions(file: Path, n: int) -> Predictions:
    found: list[dict[str, Array]] = [{} for _ in range(n)]
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            i, name = key.split("/")
            found[int(i)][name] = arrays[key]
    return found


def judged(recipe: Recipe, backbone: str, frames: Dataset, predictions: Predictions) -> list[Finding]:
    """Audit frames as `matgraft audit` does; without a backbone by the first looks alone."""
    first = look_first(recipe, frames, frames[:0])
    if not backbone:
        return list(first)
    card = foundation_of(backbone).card
    first = (*first, *look_at_card(recipe, card, frames))
    if blocking(first, ()):
        return list(unasked(recipe, frames, first))
    return list(look(recipe, card, Frames(frames, frames[:0], predictions, [], (), None), first))


def failed(findings: Sequence[Finding], severity: str, about: tuple[str, ...] = ("",)) -> list[str]:
    """Return the codes that block (``error``) or warn, of those that begin with `about`."""
    found = {f.code for f in findings if f.outcome == "failed" and f.severity == severity and f.code.startswith(about)}
    return sorted(found)


def right(one: Opened, backbone: str, predictions: Predictions) -> Row:
    """Audit a set of right labels, and each of its trajectories."""
    blocks: dict[str, list[str]] = {}
    warns: Counter[str] = Counter()
    warned = 0
    for name, frames, places in one.subsets():
        findings = judged(one.recipe, backbone, frames, [predictions[i] for i in places])
        if codes := failed(findings, "error"):
            blocks[name or "all frames"] = codes
        told = failed(findings, "warning", COMPARING)
        warns.update(told)
        warned += bool(told)
    n = sum(1 for _ in one.subsets())
    return {
        "frames": len(one.frames),
        "sets": n,
        "blocks": blocks,
        "warned": warned,
        "warns": dict(sorted(warns.items())),
    }


# --- faults ----------------------------------------------------------------------------------------------------------


def _pressure(size: float) -> Fault:
    """Return a fault: enthalpies at so many GPa in place of energies."""
    return lambda s: {"energy": s.labels["energy"] + size * units.GPa * s.content.get_volume()}


def _virial(sample: Sample) -> dict[str, Array]:
    """Virials in eV, taken for stresses in eV/Å³."""
    return {"stress": -sample.labels["stress"] * sample.content.get_volume()}


def _filled(quantity: str, value: float) -> Fault:
    return lambda s: {quantity: np.full_like(s.labels[quantity], value)}


UNITS: dict[str, Fault] = {
    **{f"energy in {unit}": written("energy", unit) for unit in ("kcal/mol", "kJ/mol", "Hartree", "Ry", "meV")},
    **{f"energy in {unit}": written("energy", unit) for unit in ("eV/atom", "-eV")},
    **{f"forces in {unit}": written("forces", unit)
       for unit in ("Hartree/Bohr", "Ry/Bohr", "kcal/mol/Å", "meV/Å", "-eV/Å")},
    **{f"stress in {unit}": written("stress", unit) for unit in ("kBar", "GPa", "-eV/Å³")},
    "stress as a virial": _virial,
    "stress with shears in another order": another_order,
}  # fmt: skip
THEORIES: dict[str, Fault] = {f"energy {size:g} eV/atom higher": offset(size) for size in (0.5, 1, 5)}
ENTHALPIES: dict[str, Fault] = {f"energy as enthalpy at {size} GPa": _pressure(size) for size in (5, 50)}
ABSENT: dict[str, Fault] = {
    f"{quantity} {said}": _filled(quantity, value)
    for quantity in ("energy", "forces", "stress")
    for said, value in (("zero", 0.0), ("NaN", np.nan))
}
FAULTS = UNITS | THEORIES | ENTHALPIES | ABSENT


@dataclass(frozen=True)
class Layout:
    """Where a fault is.

    Attributes
    ----------
    share
        Part of the frames.
    whole
        True if it is in whole trajectories.
    tagged
        False if the file does not say which frame is of which trajectory.
    one
        True if the set is one trajectory, and the fault in its second half.
    """

    name: str
    share: float = 1.0
    whole: bool = False
    tagged: bool = True
    one: bool = False


ALL, TENTH = Layout("all"), Layout("tenth", 0.1)
TENTH_WHOLE = Layout("tenth, trajectories", 0.1, whole=True)
TWO = (
    *(Layout(f"{name}{how}{', untagged' * (not tagged)}", share, bool(how), tagged)
      for name, share in (("half", 0.5), ("tenth", 0.1))
      for how in ("", ", trajectories")
      for tagged in (True, False)),
    Layout("second half of one, untagged", 0.5, tagged=False, one=True),
)  # fmt: skip


def layouts(fault: str, frames: Dataset) -> list[Layout]:
    """Return where a fault is planted in a set; a constant in all frames is none."""
    if fault in ABSENT:
        found: tuple[Layout, ...] = (ALL, TENTH)
    else:
        found = TWO if fault in THEORIES else (ALL, TENTH, TENTH_WHOLE)
    counts = Counter(frames.tag("trajectory"))
    several, long = len(counts) > 3, max(counts.values()) >= LONG
    found = tuple(one for one in found if long or not one.one)
    return [one for one in found if several or not (one.whole or one.one or (one in TWO and one.tagged))]


@dataclass(frozen=True)
class Planted:
    """Frames of right labels, which of them are wrong in the file, and the file."""

    truth: Dataset
    predictions: Predictions
    wrong: np.ndarray
    path: Path
    options: tuple[str, ...] = ()


def plant(one: Opened, predictions: Predictions, fault: str, layout: Layout, path: Path) -> Planted:
    """Write a file with a fault, and no other label unless reading looks at it; all backbones get the same file."""
    rng = np.random.default_rng(crc32(f"{one.known.name} {fault} {layout.name}".encode()))
    places = np.arange(len(one.frames))
    names = np.array(one.frames.tag("trajectory"))
    if layout.one:
        longest = Counter(names.tolist()).most_common(1)[0][0]
        places = places[names == longest]
        wrong = np.arange(len(places)) >= len(places) / 2
    elif layout.whole:
        each = np.unique(names)
        wrong = np.isin(names, rng.choice(each, max(1, round(layout.share * len(each))), replace=False))
    else:
        wrong = np.isin(places, rng.choice(places, max(1, round(layout.share * len(places))), replace=False))
    truth = one.frames[places]
    samples = [s.with_labels(**FAULTS[fault](s)) if bad else s for s, bad in zip(truth, wrong, strict=True)]
    quantity = fault.split()[0]
    kept = tuple(samples[0].labels) if fault in ABSENT else (quantity,)
    write(path, [_as_atoms(sample, kept, layout.tagged) for sample in samples], format="extxyz")
    options = () if fault in ABSENT else (f"want=[{quantity}]",)
    return Planted(truth, [predictions[i] for i in places], wrong, path, options)


def _as_atoms(sample: Sample, kept: tuple[str, ...], tagged: bool) -> Atoms:
    given = sample.content
    atoms = Atoms(given.numbers, given.positions, cell=given.cell, pbc=given.pbc)
    labels = {name: sample.labels[name] for name in kept}
    if "forces" in labels:
        atoms.arrays["REF_forces"] = labels.pop("forces")
    atoms.info = {f"REF_{name}": value if value.ndim else float(value) for name, value in labels.items()}
    if tagged:
        atoms.info |= {name: sample.tags[name] for name in ("trajectory", "config_type") if name in sample.tags}
    return atoms


@dataclass(frozen=True)
class Read:
    """A file as it is read with some options, and what is said of it."""

    frames: Dataset
    findings: list[Finding]
    refused: MatgraftError | None = None

    @property
    def options(self) -> list[dict[str, object]]:
        """What is printed: the first option of each finding that blocks, or of the error."""
        if self.refused is not None:
            return [dict(options) for options in self.refused.options[:1]]
        return [one.actions[0].options for one in self.findings if one.blocks and one.actions]


def tried(planted: Planted, backbone: str, fault: str) -> str:
    """Say what becomes of a planted fault: what is said first, and what the options that are printed make of it."""
    quantity = fault.split()[0]
    words = list(planted.options)
    first = said = _audited(planted, backbone, words)
    for _ in range(ROUNDS):
        if not (options := said.options):
            break
        words += [word(key, value) for own in options for key, value in own.items()]
        said = _audited(planted, backbone, words)
    outcome = _outcome(first, planted, quantity)
    if len(words) == len(planted.options):
        return outcome
    sound = said.refused is None and not failed(said.findings, "error") and _restored(said, planted, quantity)
    return f"{outcome}, cured" if sound else f"{outcome}, not cured"


def _audited(planted: Planted, backbone: str, words: list[str]) -> Read:
    empty = planted.truth[:0]
    try:
        recipe = make_recipe(None, words, verb="audit", train=str(planted.path))
        frames = read_parts(recipe)[0]
    except MatgraftError as error:
        return Read(empty, [], error)
    predictions = [planted.predictions[sample.index] for sample in frames]
    return Read(frames, judged(recipe, backbone, frames, predictions))


def _outcome(said: Read, planted: Planted, quantity: str) -> str:
    if said.refused is not None:
        return "refused"
    about = ("stress",) if quantity == "stress" else ("force", "outlier-force", "net-force", "non-finite", "duplicates")
    if quantity == "energy":
        about = ("energy", "theory-labels", "outlier-energy", "non-finite", "duplicates")
    if failed(said.findings, "error"):
        return "blocked"
    absent = {sample.index for sample in said.frames if quantity not in sample.labels}
    wrong = set(np.flatnonzero(planted.wrong).tolist())
    # a perfect crystal has no forces: there zeros are right
    small = SMALL if quantity == "forces" else 0.0
    spoilt = {i for i in wrong if np.abs(planted.truth[i].labels[quantity]).max() > small}
    if absent and spoilt <= absent <= wrong:
        return "left out"
    return "told" if failed(said.findings, "warning", about) else "missed"


def _restored(said: Read, planted: Planted, quantity: str) -> bool:
    """Say whether the labels that are read are right; energies may be off by one constant per atom."""
    off = []
    for sample in said.frames:
        truth = planted.truth[sample.index].labels[quantity]
        if quantity in sample.labels:
            scale = sample.n_atoms if quantity == "energy" else 1
            off.append(((sample.labels[quantity] - truth) / scale).ravel())
    rest = np.concatenate(off) if off else np.zeros(1)
    rest = rest - rest[0] if quantity == "energy" else rest
    return bool(np.abs(rest).max() < 1e-4)


def planted_faults(one: Opened, backbone: str, predictions: Predictions) -> Row:
    """Plant each fault in a set; return layout by layout what becomes of it. What reading settles asks no backbone."""
    faults = UNITS | THEORIES | ENTHALPIES if backbone else ABSENT
    n = len(one.frames)
    chosen = np.unique(np.linspace(0, n - 1, min(n, MOST)).astype(int)).tolist()
    fewer = Opened(one.known, one.recipe, one.frames[chosen])
    known = [predictions[i] for i in chosen]
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for fault in faults:
            if fault.split()[0] not in one.frames.quantities():
                continue
            found[fault] = {
                layout.name: tried(plant(fewer, known, fault, layout, Path(folder) / "frames.extxyz"), backbone, fault)
                for layout in layouts(fault, fewer.frames)
            }
    return {"frames": len(chosen), "faults": found}


# --- all of them -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Audit every set by every backbone that knows its elements, then with faults; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="sets whose name has this in it")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--kinds", nargs="+", choices=("right", "planted"), default=["right", "planted"])
    parser.add_argument("--kept", type=Path, help="a folder for predictions, to be read back by the next call")
    parser.add_argument("--again", action="store_true", help="audit anew what the results have already")
    parser.add_argument("--out", type=Path, default=RESULTS / "real_alarms.json")
    parser.add_argument("--report", action="store_true", help="print markdown of the results that are there")
    chosen = parser.parse_args()
    results = Results(chosen.out, keys=("kind", "set", "backbone"), head=summary)
    if not chosen.report:
        prepare()
        if not SHARED.is_dir():
            print(f"skipped: {SHARED} is not there")
            return
        for row in audited(chosen, results):
            results.put(row | circumstances())
    report(results.rows, chosen.report)


def audited(chosen: argparse.Namespace, results: Results) -> Iterator[Row]:
    """Yield the rows that are not there yet, or all of them; sets of the same frames and labels count once."""
    seen: set[str] = set()
    for known in known_sets():
        if chosen.only not in known.name:
            continue
        one = opened(known)
        if one.frames.hash() in seen:
            continue
        seen.add(one.frames.hash())
        backbones = [name for name in chosen.backbones if _knows(name, one.frames)]
        cases = [("right", name) for name in backbones] + known.planted * [
            ("planted", name) for name in ("", *backbones)
        ]
        for kind, backbone in cases:
            key = {"kind": kind, "set": known.name, "backbone": backbone}
            if kind in chosen.kinds and (chosen.again or results.find(**key) is None):
                predictions = predicted(backbone, one.frames, chosen.kept)
                yield key | (right if kind == "right" else planted_faults)(one, backbone, predictions)


def _knows(backbone: str, frames: Dataset) -> bool:
    """Say whether a backbone is asked about frames: one of few elements only where it knows all of them."""
    return not backbone.startswith("MACE") or set(frames.elements()) <= set(foundation_of(backbone).card.elements)


def summary(rows: list[Row]) -> Row:
    """Return how many sets of right labels are blocked, and where."""
    found = [row for row in rows if row["kind"] == "right"]
    return {
        "right sets": sum(row["sets"] for row in found),
        "of these blocked": sum(len(row["blocks"]) for row in found),
        "of these warned of": sum(row["warned"] for row in found),
        "blocked": [f"{row['set']}, {name}, {row['backbone']}: {', '.join(codes)}"
                    for row in found for name, codes in row["blocks"].items()],
    }  # fmt: skip


KINDS = {
    "unit of the energy": "energy in",
    "enthalpy": "energy as",
    "theory, 0.5 eV/atom": "energy 0.5",
    "theory, 1 eV/atom": "energy 1",
    "theory, 5 eV/atom": "energy 5",
    "unit or sign of the forces": "forces in",
    "unit or sign of the stress": ("stress in", "stress as"),
    "order of the shears": "stress with",
    "zero": ("energy zero", "forces zero", "stress zero"),
    "NaN": ("energy NaN", "forces NaN", "stress NaN"),
}
"""Kinds of faults -> how their names begin."""

OUTCOMES = ("blocked", "refused", "told", "left out", "missed")


def report(rows: list[Row], as_markdown: bool) -> None:
    """Print the tables: right labels by set and backbone, and what becomes of each kind of fault."""
    names = [name for name in BACKBONES if any(row["backbone"] == name for row in rows)]
    found = [row for row in rows if row["kind"] == "right"]
    header = ("sets of right labels: blocked/warned of/all", *names)
    sets = list(dict.fromkeys(row["set"] for row in found))
    lines = [[name, *(_right_cell([r for r in found if (r["set"], r["backbone"]) == (name, one)]) for one in names)]
             for name in sets]  # fmt: skip
    lines.append(["all", *(_right_cell([row for row in found if row["backbone"] == one]) for one in names)])
    show("right labels", header, lines, as_markdown=as_markdown)
    planted = [row for row in rows if row["kind"] == "planted"]
    header = ("faults of", "of the frames", *names)
    lines = [
        [kind, layout, *(_fault_cell(planted, (one, ""), begins, layout) for one in names)]
        for kind, begins in KINDS.items()
        for layout in dict.fromkeys(layout for row in planted for fault, own in row["faults"].items()
                                    if fault.startswith(begins) for layout in own)
    ]  # fmt: skip
    show("planted faults", header, lines, as_markdown=as_markdown)
    print(sentence(summary(rows)))


def _right_cell(rows: list[Row]) -> str:
    if not rows:
        return "–"
    return "/".join(
        str(sum(each)) for each in zip(*((len(r["blocks"]), r["warned"], r["sets"]) for r in rows), strict=True)
    )


def _fault_cell(rows: list[Row], backbones: tuple[str, ...], begins: str | tuple[str, ...], layout: str) -> str:
    """Count what became of faults, and how many of those with an option to type were cured."""
    found = [own[layout] for row in rows if row["backbone"] in backbones
             for fault, own in row["faults"].items() if fault.startswith(begins) and layout in own]  # fmt: skip
    counts = Counter(said.split(",")[0] for said in found)
    cured, typed = sum(said.endswith(", cured") for said in found), sum("cured" in said for said in found)
    said = ", ".join(f"{counts[one]} {one}" for one in OUTCOMES if counts[one])
    return f"{said} of {len(found)}" + (f"; {cured} of {typed} cured" if typed else "") if found else "–"


if __name__ == "__main__":
    run(main)
