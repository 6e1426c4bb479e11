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


def source(name: str) -> str:
    """Return where the allowed range of a gate comes from."""
    return str(Gates.model_fields[name].description)
