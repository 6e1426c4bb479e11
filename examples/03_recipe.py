"""A run folder from Python: the same as `matgraft tune`, with a verdict and a report (about a minute).

python examples/03_recipe.py
"""

import tempfile
from pathlib import Path

from ase.io import read

from matgraft import tune

DATA = Path(__file__).parent / "data" / "sige"

frames = read(DATA / "frames.extxyz", ":")  # a list of ase.Atoms
with tempfile.TemporaryDirectory() as folder:
    run = tune(
        frames,
        Path(folder) / "run",
        test=DATA / "test.extxyz",
        foundation="chgnet",
        strategy="feature",
        theory=str(DATA / "frames.yaml"),
        **{"fit.epochs": 10, "split.validation": 0.2, "forgetting.size": 28},
    )
    print(run.verdict)
    print(sorted(path.name for path in run.folder.iterdir()))

    atoms = frames[0].copy()
    atoms.calc = run.calculator()
    print(f"{atoms.get_potential_energy():.3f} eV")
