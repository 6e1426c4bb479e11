"""What every contender of `time_to_accuracy` is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common import Parts


@dataclass(frozen=True)
class Race:
    """Frames, minutes of training, and where to write; threads and epochs are the vendor's (None: what fits)."""

    parts: Parts
    minutes: float
    seed: int
    folder: Path
    threads: int
    epochs: int | None = None
