"""A run folder from Python: the same as `matgraft tune`, with a report (about a minute).

python examples/03_recipe.py
"""

import tempfile
from pathlib import Path

from matgraft import make_recipe, tune

DATA = Path(__file__).parent / "data" / "sige"

recipe = make_recipe(
    None,
    ["strategy.name=feature", "fit.epochs=10", "split.validation=0.2", "forgetting.size=28"],
    train=str(DATA / "frames.extxyz"),
    test=str(DATA / "test.extxyz"),
)
with tempfile.TemporaryDirectory() as folder:
    report = tune(recipe, Path(folder) / "run")
    print(sorted(path.name for path in report.parent.iterdir()))
    print((report.parent / "metrics.json").read_text()[:400])
