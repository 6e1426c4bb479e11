"""The buffers of OpenBLAS, taken before any work where the memory of this process is limited (``ulimit -v``).

numpy and scipy each bring an OpenBLAS, which takes a buffer at its first product of matrices. Where the system refuses
it, OpenBLAS asks again without end: the process hangs (`blas_memory_alloc` of OpenBLAS 0.3). So the room is looked for
first, and an error is raised where it is lacking.
"""

from __future__ import annotations

import mmap
import sys

BUFFER = 34 * 2**20
"""Bytes of one buffer on x86-64, measured: 33 MiB of numpy's, 32 MiB of scipy's."""
_COPIES = 2


def take_buffers() -> None:
    """Take the buffers while there is room for them; does nothing where the address space has no limit.

    Raises
    ------
    MemoryError
        If there is no room for them.
    """
    if sys.platform == "win32" or not _is_limited():
        return
    try:
        mmap.mmap(-1, _COPIES * BUFFER).close()
    except OSError as error:
        raise MemoryError from error
    import numpy as np
    from scipy.linalg.blas import dgemm

    one = np.ones((64, 64))
    dgemm(1.0, one @ one, one)


def _is_limited() -> bool:
    import resource

    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    return any(resource.getrlimit(kind)[0] != resource.RLIM_INFINITY for kind in kinds)
