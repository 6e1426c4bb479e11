"""The benchmark of active learning: its cells, its two loops, and what it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest
from ase.io import read

from matgraft.potentials.active.labelling.engine import Engine
from matgraft.potentials.data.dataset import Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import active as benchmark


@pytest.fixture
def chosen(tmp_path: Path) -> argparse.Namespace:
    sizes = {"workers": 1, "ps": 0.1, "epochs": 2, "per_round": 4, "rounds": 2}
    return argparse.Namespace(work=tmp_path, command="pw.x", pseudo_dir=Path("/pseudo"), uses="", **sizes)


def test_cells_are_those_of_the_embedded_frames(chosen: argparse.Namespace, sige: Dataset) -> None:
    made = {Path(file).stem: read(file) for file in benchmark.structures(chosen.work)}
    formulas = {name: atoms.get_chemical_formula() for name, atoms in made.items()}
    assert formulas == {"Si8": "Si8", "Ge8": "Ge8", "Si4Ge4": "Ge4Si4", "mixed": "Ge4Si4"}
    names = sige.tag("trajectory")
    for name in ("Si8", "Ge8", "Si4Ge4"):
        unstrained = sige[names.index(f"{name.removesuffix('8')} strain") + 2].content  # the third has no strain
        assert made[name].cell[0, 0] == pytest.approx(unstrained.cell[0, 0], rel=1e-3)
        assert (made[name].symbols == unstrained.symbols).all()


def test_the_loops_differ_in_how_frames_are_chosen_alone(chosen: argparse.Namespace) -> None:
    loops = [benchmark.recipe(chosen, "CHGNet", method, 1) for method in benchmark.METHODS]
    assert loops[0].select.diversity == "farthest" and loops[1].select.diversity == "random"
    assert loops[0].model_copy(update={"select": loops[1].select}) == loops[1]
    assert loops[0].seed != benchmark.recipe(chosen, "CHGNet", "chosen", 2).seed
    engine = Engine.model_validate(loops[0].engine)
    assert engine.calculator == "espresso" and engine.parameters["kpts"] == [3, 3, 3]


def test_a_line_for_each_number_of_frames_and_method(capsys: pytest.CaptureFixture[str]) -> None:
    errors = {"meV/atom": 5.0, "eV/Å": 0.2, "frames": 9}
    rows = [
        {"model": "CHGNet", "method": method, "seed": seed, "round": step, "dft_frames": 16 * (step + 1),
         "sampled": errors, "embedded": {**errors, "eV/Å": 0.1 + 0.1 * seed}, "fit for": None}
        for method in benchmark.METHODS for seed in (0, 1) for step in (0, 1)
    ]  # fmt: skip
    benchmark.report(rows, as_markdown=True)
    lines = [line for line in capsys.readouterr().out.splitlines() if "CHGNet" in line]
    assert len(lines) == 4
    assert all("0.150 ± 0.050" in line and "| 2 " in line for line in lines)
