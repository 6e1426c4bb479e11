"""The buffers of OpenBLAS: an error where there is no room for them, instead of a process that never ends."""

import os
from pathlib import Path

import pytest

from matgraft.core import buffers
from matgraft.core.buffers import BUFFER, take_buffers


def test_without_a_limit_nothing_is_looked_for(monkeypatch):
    monkeypatch.setattr(buffers, "_is_limited", lambda: False)
    monkeypatch.setattr("mmap.mmap", lambda *_: pytest.fail("looked for"))
    take_buffers()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits are set from what Linux says is in use")
@pytest.mark.parametrize(("room", "code"), [(BUFFER, 11), (40 * BUFFER, 10)])
def test_a_limit_on_the_address_space(room, code):
    import resource

    child = os.fork()
    if not child:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
        try:
            take_buffers()
        except MemoryError:
            os._exit(11)
        os._exit(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code
