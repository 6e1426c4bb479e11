"""What the machine does not give is a RunError with a sentence and what to do; other errors stay as they are."""

import errno
import os
import zipfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from pandas.errors import ParserError
from safetensors import SafetensorError
from torch.multiprocessing.spawn import ProcessRaisedException

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.failures import (
    DISK,
    FILES,
    GPU_MEMORY,
    LARGE,
    MACHINE,
    MEMORY,
    SHARED,
    THREADS,
    WORKER,
    failure_of,
    failures_told,
)
from matgraft.core.files import whole, write_text

TOLD = [
    (OSError(errno.ENOSPC, "No space left on device"), DISK),
    (OSError(errno.ENOSPC, "No space left on device", "/dev/shm/sem.abc"), SHARED),
    (OSError(errno.EFBIG, "File too large"), LARGE),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), MACHINE[errno.EDQUOT]),
    (OSError(errno.EROFS, "Read-only file system", "x"), MACHINE[errno.EROFS]),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), MEMORY),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), THREADS),
    (OSError(errno.EMFILE, "Too many open files"), FILES),
    (MemoryError(), MEMORY),
    (np._core._exceptions._ArrayMemoryError((10**9, 10**9), np.dtype(float)), MEMORY),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                  "to allocate 8000000000000 bytes. Error code 12 (Cannot allocate memory)"), MEMORY),
    (RuntimeError("std::bad_alloc"), MEMORY),
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139 GiB"), GPU_MEMORY),
    (RuntimeError("can't start new thread"), THREADS),
    (RuntimeError("unable to open shared memory object </torch_1_2> in read-write mode: No space left"), SHARED),
    (RuntimeError("received 0 items of ancdata"), FILES),
    (RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/0"), DISK),
    (ImportError("libtorch_cpu.so: failed to map segment from shared object"), MEMORY),
    (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), DISK),
    (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), LARGE),
    (OSError("Unable to synchronously create file (unable to truncate: errno = 28, error message = 'No space')"), DISK),
    (ParserError("Error tokenizing data. C error: Calling read(nbytes) on source failed."), MEMORY),
    (BrokenProcessPool("a child process terminated abruptly"), WORKER),
    (ProcessRaisedException("\n-- Process 0 terminated with this:\nTraceback ...\nMemoryError", 0, 1), MEMORY),
]  # fmt: skip


@pytest.mark.parametrize(("error", "told"), TOLD, ids=lambda one: repr(one)[:50])
def test_what_the_machine_does_not_give(error, told):
    failure = failure_of(error, [["matgraft", "tune", "--resume", "x"]])
    assert failure is not None and failure.exit_code == 5
    assert (failure.found, failure.remedy) == told and told.remedy
    assert "\n" not in failure.found and "Traceback" not in str(failure)
    hidden = DataError("not readable as tensors", remedy="fetch the file again")
    hidden.__cause__ = error
    assert failure_of(hidden).found == told.found


@pytest.mark.parametrize(
    "error",
    [
        OptionError("x"), DataError("the log says: No space left on device"), RunError("out of memory"), KeyError("x"),
        ValueError("line 3 of the output: std::bad_alloc"), RuntimeError("mat1 and mat2 cannot be multiplied"),
        ImportError("No module named 'mace'"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_not_of_the_machine(error):
    assert failure_of(error) is None


def test_a_data_error_by_a_file_that_is_not_there_stays_one():
    try:
        try:
            Path("/no/such/file").read_text()
        except OSError as error:
            raise DataError("there is no such file") from error
    except DataError as error:
        assert failure_of(error) is None
    try:
        raise PermissionError(errno.EACCES, "Permission denied", "locked.csv")
    except OSError as error:
        assert str(failure_of(error)).startswith("locked.csv: the system does not permit it")


def test_the_name_is_that_of_the_file_and_not_of_its_part(tmp_path):
    with pytest.raises(OSError, match="space") as told, whole(tmp_path / "out.csv") as part:
        raise OSError(errno.ENOSPC, "No space left on device", str(part))
    assert failure_of(told.value).where == str(tmp_path / "out.csv")
    with pytest.raises(OSError, match="space") as told, whole(tmp_path / "out.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert failure_of(told.value).where == str(tmp_path / "out.csv")


def test_a_circle_of_causes_ends():
    first, second = KeyError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert failure_of(first) is None


def test_a_block_tells_what_goes_on_with_it():
    with pytest.raises(RunError, match="command: go on"), failures_told(lambda: [["go", "on"]]):
        raise MemoryError
    with pytest.raises(ZeroDivisionError), failures_told(list):
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), failures_told(list):
        raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are set in a forked one")
def test_a_limit_on_the_size_of_files(tmp_path):
    """SIGXFSZ is ignored by Python: the write fails, and neither a part nor a half of the file is left."""
    import resource

    (tmp_path / "out.txt").write_text("old")
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_text(tmp_path / "out.txt", "x" * 5000)
        except OSError as error:
            os._exit(11 if failure_of(error).found == LARGE.found else 12)
        os._exit(13)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


def test_a_zip_that_cannot_be_written(tmp_path):
    with pytest.raises(OSError, match="full") as told, whole(tmp_path / "a.npz") as part, zipfile.ZipFile(part, "w"):
        raise OSError(errno.ENOSPC, "full")
    assert failure_of(told.value).found == DISK.found and not list(tmp_path.iterdir())
