"""What lies in the place of a file that was not fetched: a Git LFS pointer, a web page."""

from __future__ import annotations

BY_HAND = "download the file itself: the raw file on GitHub, `resolve` for `blob` in an address of Hugging Face"
"""What to do about what a server sent in place of a file."""

_POINTER = (
    "a Git LFS pointer: it stands in a repository for the file itself",
    "run `git lfs pull` in the repository, or download the file itself",
)
_PAGE = ("a web page (HTML) in place of the file", BY_HAND)
_BEGINS = {b"version https://git-lfs": _POINTER, b"<!doctype html": _PAGE, b"<html": _PAGE, b"<head": _PAGE}


def stand_in(start: bytes) -> tuple[str, str] | None:
    """Return what a file is that begins so, and what to do; None where it does not stand for another."""
    begins = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((found for mark, found in _BEGINS.items() if begins.startswith(mark)), None)
