"""Messages: what was sent comes out, and nothing else is taken for one."""

import io
import os
import pickle
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from matgraft.potentials.active.labelling.messages import Answer, Begin
from matgraft.potentials.active.labelling.wire import (
    SilenceError,
    WireError,
    arrays_of_npz,
    packed,
    receive,
    send_message,
)


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    yield reading, writing
    for one in (reading, writing):
        with suppress(OSError):
            os.close(one)


@given(arrays(np.float64, array_shapes(max_dims=2, max_side=20)), st.text(max_size=50))
def test_what_is_sent_comes_out(values, text):
    reading, writing = os.pipe()
    try:
        send_message(writing, Answer(failed=text), {"forces": values})
        facts, found = receive(reading, Answer, time.monotonic() + 5)
    finally:
        os.close(reading)
        os.close(writing)
    assert facts.failed == text
    np.testing.assert_array_equal(found["forces"], values)


@pytest.mark.parametrize("garbage", [b"hello world, this is not a message at all", b"mgl1" + b"\xff" * 40, b"\0" * 64])
def test_anything_else_is_no_message(pipe, garbage):
    os.write(pipe[1], garbage)
    os.close(pipe[1])
    with pytest.raises((WireError, EOFError)):
        receive(pipe[0], Answer, time.monotonic() + 5)


def test_a_message_of_another_kind_is_refused(pipe):
    send_message(pipe[1], Answer())
    with pytest.raises(WireError, match="not a Begin"):
        receive(pipe[0], Begin, time.monotonic() + 5)


def test_silence_ends_in_time(pipe):
    began = time.monotonic()
    with pytest.raises(SilenceError):
        receive(pipe[0], Answer, began + 0.1)
    assert time.monotonic() - began < 5


def test_a_closed_pipe_is_the_end(pipe):
    os.close(pipe[1])
    with pytest.raises(EOFError):
        receive(pipe[0], Answer)


def test_pickles_are_refused():
    content = packed({"x": np.zeros(3)})
    assert arrays_of_npz(content)["x"].shape == (3,)
    file = io.BytesIO()
    np.savez(file, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(WireError):
        arrays_of_npz(file.getvalue())
    with pytest.raises(WireError):
        arrays_of_npz(pickle.dumps({"x": 1}))
