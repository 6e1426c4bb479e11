"""Weight files: tensors and plain values only, whole or absent."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from matgraft.core.errors import DataError
from matgraft.core.weights import load_tensors, save_tensors

CONTENT = {"weights": [torch.arange(6.0).reshape(2, 3), torch.tensor(1.5, dtype=torch.float64)]}
PLAIN = {"step": 3, "note": "Å", "rows": [{"a": 1.0}], "nothing": None, "infinite": math.inf}


def as_bytes(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


WHOLE = as_bytes(CONTENT | PLAIN)


def test_round_trip(tmp_path: Path) -> None:
    save_tensors(CONTENT | PLAIN, tmp_path / "a.pt")
    again = load_tensors(tmp_path / "a.pt")
    for old, new in zip(CONTENT["weights"], again.pop("weights"), strict=True):
        assert new.dtype == old.dtype
        assert torch.equal(new, old)
    assert again == PLAIN
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pt"
    save_tensors({"step": 1}, file)

    def disk_full(_: object, stream: io.BufferedWriter) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save_tensors({"step": 2}, file)
    assert load_tensors(file) == {"step": 1}


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        load_tensors(tmp_path / "none.pt")
    with pytest.raises(DataError, match="there is no such file"):
        load_tensors(tmp_path)


def assert_refused(folder: Path, content: bytes) -> DataError:
    file = folder / "weights.pt"
    file.write_bytes(content)
    with pytest.raises(DataError) as error:
        load_tensors(file)
    assert error.value.where == str(file)
    return error.value


class Evil:
    """What a stranger's pickle may hold."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_is_unpickled(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "owned"
    content = as_bytes({"model": Evil(target)}, _use_new_zipfile_serialization=zipped)
    assert "does not unpickle" in assert_refused(tmp_path, content).remedy
    assert not target.exists()


@pytest.mark.parametrize("content", [[1, 2], 3, torch.zeros(2)])
def test_only_dictionaries(tmp_path: Path, content: object) -> None:
    assert f"holds a {type(content).__name__}" in assert_refused(tmp_path, as_bytes(content)).found


@settings(max_examples=40)
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_truncated_file(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    assert_refused(tmp_path_factory.mktemp("cut"), WHOLE[:cut])


HEADS = (
    b"",
    b"PK\x03\x04",
    b"\x80\x02",
    b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    b"\x80\x04",
    b"version https://git-lfs",
)


@settings(max_examples=60)
@given(head=st.sampled_from(HEADS), tail=st.binary(max_size=60))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, head: bytes, tail: bytes) -> None:
    assert_refused(tmp_path_factory.mktemp("bytes"), head + tail)


@settings(max_examples=40)
@given(place=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_one_wrong_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    file = tmp_path_factory.mktemp("flip") / "weights.pt"
    file.write_bytes(WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :])
    try:
        content = load_tensors(file)
    except DataError:
        return
    assert isinstance(content, dict)
