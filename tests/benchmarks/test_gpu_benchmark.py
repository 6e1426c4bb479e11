"""The script for machines with a GPU: what it checks, on the CPU and on a toy; nothing of a vendor's is evaluated."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.io import write

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gpu

from devices.models import Toy

CPU = torch.device("cpu")


@pytest.fixture
def toy() -> Toy:
    return Toy()


def wrong(row: dict) -> list[str]:
    return [one["name"] for one in row["checks"] if not one["right"]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--out", str(tmp_path / "gpu.json")]) == gpu.NO_GPU
    assert "no GPU" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_foundation_is_held_against_the_cpu_and_timed(toy: Toy) -> None:
    row = gpu.measure(toy, gpu.labelled(toy, 1, 2), CPU, rounds=1)
    assert not wrong(row)
    assert {"energy", "forces", "stress", "gradient, relative"} <= {one["name"] for one in row["checks"]}
    assert min(row["ours_s"].values()) > 0
    (prediction, step) = gpu.lines(row | {"vendor_s": {"prediction": 1.0, "step": 2.0}})
    assert len(prediction) == len(step) == len(gpu.HEADER)


@pytest.mark.parametrize("quantity", gpu.ALLOWED)
def test_a_device_that_computes_something_else_is_told(toy: Toy, quantity: str) -> None:
    ours = gpu.Ours(toy, gpu.labelled(toy, 1, 1), CPU).predictions()
    other = [{name: value.copy() for name, value in one.items()} for one in ours]
    other[0][quantity] = other[0][quantity] + 20 * gpu.ALLOWED[quantity]
    assert [one.name for one in gpu.equal(ours, other) if not one.right] == [quantity]
    other[0][quantity] = other[0][quantity] * np.nan
    assert [one.name for one in gpu.equal(ours, other) if not one.right] == [quantity]


def test_reduced_precision_is_told(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    side = gpu.Ours(toy, gpu.labelled(toy, 1, 1), CPU)
    side.step()
    assert all(one.right for one in gpu.precision(side, toy, CPU))
    with torch.autocast("cpu", torch.bfloat16):
        found = [one.name for one in gpu.precision(side, toy, CPU) if not one.right]
    assert found == ["settings of reduced precision", "error of a product of float32 matrices, relative"]
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert [one.name for one in gpu.precision(side, toy, CPU) if not one.right] == ["settings of reduced precision"]
    side.model.double()
    assert "weights and gradients of another precision" in [
        one.name for one in gpu.precision(side, toy, CPU) if not one.right
    ]


def test_memory_within_a_fifth_is_right() -> None:
    assert [gpu._within("", ratio).right for ratio in (0.7, 0.81, 1.0, 1.19, 1.3, float("nan"))] == [
        *(False, True, True, True, False, False)
    ]


def test_commands_go_from_tune_to_export_and_their_predictions_are_compared(toy: Toy, tmp_path: Path) -> None:
    dataset, typed = gpu.labelled(toy, 1, 2), []

    def command(*words: str) -> int:
        typed.append(words)
        if words[0] == "predict":
            off = 0.01 if words[words.index("--device") + 1] == "cuda" else 0.0
            frames = [sample.content.copy() for sample in dataset]
            for atoms in frames:
                atoms.info["energy"], atoms.arrays["forces"] = -1.0, np.full((len(atoms), 3), off)
            write(words[words.index("--out") + 1], frames)
        return 0

    found = list(gpu.by_commands("toy", dataset, tmp_path, "cuda", command))
    assert [words[0] for words in typed] == ["tune", "evaluate", "predict", "predict", "export"]
    assert all("cuda" in words for words in typed[:3])
    assert [one.name for one in found if not one.right] == ["forces of the tuned model"]


def test_a_command_that_fails_ends_the_chain(toy: Toy, tmp_path: Path) -> None:
    found = list(gpu.by_commands("toy", gpu.labelled(toy, 1, 1), tmp_path, "cuda", lambda *words: 3))
    assert [(one.name, one.right) for one in found] == [("exit code of tune", False)]
