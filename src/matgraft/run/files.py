"""Facts written into a run folder, atomically: a killed run or a full disk leaves the old file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_facts(path: Path, facts: Any) -> None:
    """Write JSON."""
    write_text(path, json.dumps(facts, indent=2, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
