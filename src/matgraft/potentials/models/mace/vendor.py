"""What is taken of the packages mace and e3nn; no other file imports them."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ase.calculators.calculator import Calculator

_FORCED_UNPICKLING = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextlib.contextmanager
def vendor_noise() -> Iterator[None]:
    """Keep to ourselves what mace and e3nn print and warn of when they are imported, built or opened."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


# On import mace makes torch.load unpickle by default, in the whole process. That is undone. mace.calculators needs it
# and does it again: it is imported only where the vendor's calculator, or its list of foundations, is asked for.
_before = os.environ.get(_FORCED_UNPICKLING)
with vendor_noise():
    from mace import modules
    from mace.data.neighborhood import get_neighborhood
    from mace.modules import blocks
    from mace.tools.scripts_utils import extract_config_mace_model
if _before is None:
    os.environ.pop(_FORCED_UNPICKLING, None)
o3 = blocks.o3  # under torch 2.6 and later e3nn 0.4.4 can be imported by way of mace alone
DENSE = blocks.nn._fc._Layer
"""A dense layer of e3nn."""
__all__ = [
    "DENSE",
    "blocks",
    "extract_config_mace_model",
    "get_neighborhood",
    "mace_calculator",
    "modules",
    "o3",
    "vendor_noise",
    "write_torchscript",
]


def mace_calculator(path: Path, dtype: str, head: str) -> Calculator:
    """Return mace-torch's own calculator on a file of it. From here on torch.load unpickles by default."""
    with vendor_noise():
        from mace.calculators import MACECalculator

        return MACECalculator(path, device="cpu", default_dtype=dtype, head=head)


def write_torchscript(model: Any, head: str, path: Path) -> None:
    """Write what pair_mace reads; from here on torch.load unpickles by default."""
    with vendor_noise():
        from e3nn.util import jit
        from mace.calculators import LAMMPS_MACE

        jit.compile(LAMMPS_MACE(model, head=head)).save(path)
