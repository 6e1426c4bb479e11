"""What a prediction of formulas imports: nobody waits for a library that is not used."""

from __future__ import annotations

import subprocess
import sys

from .conftest import TunedRun

HEAVY = (
    "chgnet", "huggingface_hub", "lightning_fabric", "mace", "matgl", "matplotlib", "pandas", "parsl", "plotly",
    "pyarrow", "scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.special", "scipy.stats", "sklearn",
    "torch._dynamo", "torchmetrics", "matgraft.formulas.table.audit", "matgraft.formulas.table.reading",
)  # fmt: skip
"""None of these is needed to read a run, to ask its networks, and to print a table."""

WHOLE = """
import sys
import matgraft
print([name for name in ("torch", "pandas", "scipy", "pymatgen", *HEAVY) if name in sys.modules])
from matgraft import cli
sys.argv = ["matgraft", "predict", RUN, "NaCl"]
try:
    cli.run_command_line()
finally:
    print([name for name in HEAVY if name in sys.modules])
"""


def test_a_prediction_imports_what_it_uses(tuned: TunedRun) -> None:
    code = WHOLE.replace("HEAVY", repr(HEAVY)).replace("RUN", repr(str(tuned.folder)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *table, last = done.stdout.splitlines()
    assert any("NaCl" in line for line in table)
    assert (first, last) == ("[]", "[]")
