"""What may happen to a file: bits flip, it is cut off, emptied, deleted, another takes its place, a link does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

Change = Callable[[Path, Path, np.random.Generator], None]


def flip(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Flip one bit."""
    content = bytearray(file.read_bytes())
    place = int(rng.integers(8 * len(content)))
    content[place // 8] ^= 1 << place % 8
    file.write_bytes(content)


def cut(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Cut the file off, somewhere."""
    file.write_bytes(file.read_bytes()[: int(rng.integers(file.stat().st_size))])


def empty(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Leave no byte."""
    file.write_bytes(b"")


def delete(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Leave no file."""
    file.unlink()


def replace(file: Path, other: Path, rng: np.random.Generator) -> None:
    """Put another file in its place."""
    file.write_bytes(other.read_bytes())


def link(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Put a link to its very content in its place."""
    moved = file.rename(file.parents[1] / f"moved-{file.name}")
    file.symlink_to(moved)


def overwrite(file: Path, _: Path, rng: np.random.Generator) -> None:
    """Write random bytes over a stretch."""
    content = bytearray(file.read_bytes())
    start = int(rng.integers(len(content)))
    content[start : start + 64] = rng.bytes(len(content[start : start + 64]))
    file.write_bytes(content)


CHANGES: tuple[Change, ...] = (flip, cut, empty, delete, replace, link, overwrite)


@contextmanager
def changed(file: Path, other: Path, change: Change, seed: int = 0) -> Iterator[None]:
    """Change a file for the block; then it is as it was."""
    content = file.read_bytes()
    change(file, other, np.random.default_rng(seed))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        (file.parents[1] / f"moved-{file.name}").unlink(missing_ok=True)
        file.write_bytes(content)


def files_of(folder: Path) -> list[Path]:
    """Return all files but the manifests."""
    return sorted(one for one in folder.rglob("*") if one.is_file() and one.name != "manifest.txt")
