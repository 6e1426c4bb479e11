"""What a training set lacks for a use, and frames that fill it.

gaps = find_gaps(["frames.extxyz"], Wanted(uses=("md", "defects"), temperature_K=(300, 1200)), Path("proposed.extxyz"))
for lack in gaps.lacks:
print(lack.sentence)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ase.io import write as write_frames

from matgraft.core.errors import OptionError
from matgraft.core.files import whole
from matgraft.core.run_folder import refuse_no_folder, unused
from matgraft.core.targets import ending, is_stream
from matgraft.potentials.active.demands import Gaps, Wanted, lacks_of
from matgraft.potentials.active.proposals import propose_frames
from matgraft.potentials.active.sampling.makers import Material
from matgraft.potentials.active.sampling.prototypes import Bond
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.checks.structures import structures_in
from matgraft.potentials.data.isolated import without_isolated
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.recipe import make_recipe

POOL_ENDINGS = (".extxyz", ".xyz")


def find_gaps(
    files: Sequence[str | Path], wanted: Wanted, out: Path | None = None, options: Sequence[str] = (), seed: int = 0
) -> Gaps:
    """Say what frames lack for a use, and propose frames that fill it.

    Parameters
    ----------
    files
        Of frames, labelled or not.
    out
        Where proposed frames are written, new; they have no labels.
    options
        ``key=value`` items of how files are read.

    Raises
    ------
    OptionError
        If an option is not read, or `out` cannot be written.
    DataError
        If a file cannot be read, or holds no frame.
    """
    if out is not None:
        refuse_pool(out)
    recipe = make_recipe(None, options, verb="coverage", train=[str(file) for file in files], want=())
    frames = without_isolated(read([str(file) for file in files], **recipe.reading, audited=True))
    covered = coverage(frames)
    structures, left = structures_in(frames)
    bond = Bond.of([one.atoms for one in structures if one.kind == "bulk"])
    material = Material(elements=frames.elements(), bond=bond)
    lacks, proposed = propose_frames(lacks_of(frames, covered, wanted), structures, material, seed)
    notes = [*frames.provenance.notes]
    notes += [covered.left_out_in_words] * bool(covered.left_out)
    if lacks and left:
        notes.append(f"frames are proposed for the {len(structures)} most frequent compositions; {left} are left out")
    if lacks and not any(one.kind == "bulk" for one in structures):
        notes.append("no frame is a crystal: frames are proposed of crystals alone")
    if out is not None and proposed:
        with whole(out) as part:
            write_frames(part, [one.atoms() for one in proposed], format="extxyz")
    return Gaps(
        files=tuple(map(str, files)),
        wanted=wanted,
        coverage=covered,
        lacks=tuple(lacks),
        n_proposed=len(proposed),
        out=str(out) if out is not None and proposed else "",
        notes=tuple(notes),
    )


def refuse_pool(out: Path) -> None:
    """Raise an OptionError if no pool can be written to a path."""
    if ending(out, POOL_ENDINGS, stream=".extxyz") is None:
        raise OptionError(f"{out}: a pool is extended XYZ", options=[{"--out": out.with_suffix(".extxyz")}])
    if is_stream(out):
        return
    if out.exists():
        raise OptionError(f"{out} is there already", remedy="take another name", options=[{"--out": unused(out)}])
    refuse_no_folder(out.parent)
