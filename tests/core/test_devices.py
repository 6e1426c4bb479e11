"""Where things compute: what is asked for is taken or refused, never replaced in silence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from matgraft.core import devices
from matgraft.core.devices import VISIBLE, choose_device, prediction_device, training_device
from matgraft.core.errors import OptionError

Matgraft = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(devices.ASKED, "")  # and taken away at the end
    monkeypatch.delenv(VISIBLE, raising=False)
    yield


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """Let torch be built for CUDA and see so many GPUs, of those that are not hidden."""

    def seen() -> bool:
        named = os.environ.get(VISIBLE)
        return gpus > 0 if named is None else any(one.isdigit() and int(one) < gpus for one in named.split(","))

    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "is_available", seen)


def test_models_predict_on_the_cpu_unless_a_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 1)
    assert training_device() == torch.device("cuda")
    assert prediction_device() == torch.device("cpu")
    choose_device("auto")
    assert prediction_device() == torch.device("cuda")


def test_the_cpu_hides_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, 2)
    choose_device("cpu")
    assert os.environ[VISIBLE] == ""
    assert training_device() == prediction_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("before", "name", "after"), [(None, "cuda:1", "1"), ("3,2", "cuda:1", "2"), ("3", "cuda", "3")]
)
def test_one_gpu_hides_the_others(monkeypatch: pytest.MonkeyPatch, before: str | None, name: str, after: str) -> None:
    pretend(monkeypatch, 4)
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    choose_device(name)
    assert os.environ[VISIBLE] == after
    assert training_device() == torch.device("cuda")


@pytest.mark.parametrize(
    ("before", "name", "said"),
    [
        (None, "cuda:4", "PyTorch finds no such GPU"),
        ("", "cuda", "PyTorch finds no such GPU with CUDA_VISIBLE_DEVICES="),
        ("3,2", "cuda:2", "shows 2 of the GPUs: 3,2"),
        (None, "gpu", "is not a device"),
        (None, "cuda:", "is not a device"),
        (None, "cuda:-1", "is not a device"),
        (None, "cpu:0", "is not a device"),
        (None, "", "is not a device"),
    ],
)
def test_what_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, before: str | None, name: str, said: str
) -> None:
    pretend(monkeypatch, 4)
    if before is not None:
        monkeypatch.setenv(VISIBLE, before)
    with pytest.raises(OptionError, match=said):
        choose_device(name)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built for CUDA")
def test_a_pytorch_for_the_cpu_is_told(matgraft: Matgraft) -> None:
    code, _, said = matgraft("tune", "no.extxyz", "--device", "cuda")
    assert code == 2
    assert "is built for the CPU alone" in said
    assert "--device cpu" in said
