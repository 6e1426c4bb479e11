"""A file of HDF5 can lead elsewhere: a store holds its numbers itself, all of them, as they are.

    refuse_foreign(file, columns_of(version), "frames.h5")     # before any column is read

HDF5 follows links into other files, gathers a dataset from several files, keeps the bytes of one in a file of any name,
loads filters as shared libraries, and answers zeros for whatever was never written: a file of 2 kB may say that it has
10^12 rows. No store that matgraft wrote has any of it, so nothing of it is read.

Source: HDF5 1.14, "Links", "Virtual Dataset", "External storage" and "Filter pipeline" of the reference manual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

import h5py
import numpy as np
from h5py import h5d, h5z

from matgraft.core.errors import DataError

_FILTERS = {h5z.FILTER_FLETCHER32: "Fletcher-32"}
"""Filters of a store: sums by which HDF5 sees that a piece is damaged."""


class StoreColumn(NamedTuple):
    """Shape and type of a row, and the version of stores that first had it."""

    shape: tuple[int, ...]
    kind: type
    since: int = 1


def refuse_foreign(file: h5py.File, columns: Mapping[str, StoreColumn], texts: tuple[str, ...], where: str) -> None:
    """Raise a `DataError` if a column or a text of a store is not there as numbers of the file itself.

    Parameters
    ----------
    columns, texts
        All that a reader asks the file for.

    Raises
    ------
    DataError
        With the name of what leads elsewhere, is of another type or shape, or is not in the file.
    KeyError
        If it is not there.
    """
    for name in (*columns, *texts):
        if wrong := next(_wrong(file, name, columns.get(name)), ""):
            raise DataError(
                f"{name} {wrong}",
                where=where,
                allowed=["stores as `matgraft pack` writes them"],
                remedy="pack the frames again, from the files that they came from",
            )


def _wrong(file: h5py.File, name: str, column: StoreColumn | None) -> Iterator[str]:
    """Yield what is wrong with a column, or with a text; what comes later asks the file for more."""
    parts = accumulate(name.split("/"), lambda path, part: f"{path}/{part}")
    for path in parts:
        kind = file.get(path, getclass=True, getlink=True)  # the link is looked at, not followed
        if kind is None:
            raise KeyError(path)
        if kind is not h5py.HardLink:
            yield "is a link that leads out of the file, or to another of its columns"
    if file.get(name, getclass=True) is not h5py.Dataset:
        yield "is not an array"
    array = file[name]
    how = array.id.get_create_plist()
    if how.get_layout() == h5d.VIRTUAL:
        yield "is gathered from other files (a virtual dataset)"
    if how.get_external_count():
        yield "has its numbers in another file (external storage)"
    filters = [how.get_filter(i)[0] for i in range(how.get_nfilters())]
    if unknown := [one for one in filters if one not in _FILTERS]:
        yield f"is packed by the filter {unknown[0]} of HDF5, which stores do not use"
    yield from _wrong_type(array, column) if column else _wrong_text(array)


def _wrong_type(array: h5py.Dataset, column: StoreColumn) -> Iterator[str]:
    if array.dtype != np.dtype(column.kind) or array.shape[1:] != column.shape or array.ndim != 1 + len(column.shape):
        shown = f"{np.dtype(column.kind)}, rows of shape {column.shape}"
        yield f"is of type {str(array.dtype)[:60]} and shape {array.shape}: a store has {shown}"
    # Not packed, so that what is there takes at least its own size. What was never written takes nothing.
    if array.id.get_storage_size() < array.nbytes:
        yield f"says that it has {array.nbytes:,} bytes: only {array.id.get_storage_size():,} of them are in the file"


def _wrong_text(array: h5py.Dataset) -> Iterator[str]:
    kind = h5py.check_string_dtype(array.dtype)
    if kind is None or kind.length is not None or array.shape != ():
        yield "is not text"
