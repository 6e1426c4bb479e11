"""Small files written so that each is whole or is not there: a killed run or a full disk leaves the old one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, facts: Any) -> None:
    """Write JSON."""
    write_text(path, json.dumps(facts, indent=2, ensure_ascii=False))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
