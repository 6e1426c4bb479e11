"""`matgraft sample` as it is typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk

CLI = Callable[..., tuple[int, str, str]]
MODULE = """
from ase.calculators.emt import EMT

class Sure(EMT):
    implemented_properties = [*EMT.implemented_properties, "extrapolation"]

    def calculate(self, atoms=None, *args, **kwargs):
        super().calculate(atoms, *args, **kwargs)
        self.results["extrapolation"] = abs((atoms.positions / 1.805 + 0.5) % 1 - 0.5).max(axis=1) * 5

def copper():
    return Sure()
"""
WORDS = ("sample", "own_walked:copper", "--structure", "cu.vasp", "-o", "pool.extxyz", "--workers", 1)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_walked.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "own_walked", raising=False)
    bulk("Cu", cubic=True).write("cu.vasp", format="vasp")


def test_walkers_are_told_with_where_they_ended(matgraft: CLI) -> None:
    walks = ("--md", "nvt", "--temperature", "100:3000", "--steps", 300, "atoms=32", "--make", "strain", "--quiet")
    code, out, _ = matgraft(*WORDS, *walks)
    assert code == 0, out
    for word in ("100:3000", "gate", "strain", "frames without labels"):  # a narrow screen breaks cells at blanks
        assert word in out, out
    code, out, _ = matgraft(*WORDS, *walks)
    assert code == 2 and Path("pool.extxyz").is_file()


def test_json_holds_what_the_screen_says(matgraft: CLI) -> None:
    code, out, _ = matgraft(*WORDS, "--make", "rattle,vacancy", "count=2", "rattle_A=[0.1]", "--seed", 4, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["kinds"] == {"rattle": 2, "vacancy": 3} and facts["n_frames"] == 5
    assert facts["has_gate"] and facts["pool"] == "pool.extxyz" and facts["walkers"] == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ((), "nothing is asked for"),
        (("--md", "nve"), "md='nve'"),
        (("--md", "nvt", "--temperature", "warm"), "is not a temperature"),
        (("--make", "strain", "--temperature", "600"), "temperature is not read"),
        (("--md", "nvt", "gates=2"), "did you mean 'gate'"),
        (("--md", "nvt", "--ps", 1, "--steps", 3), "give one of them"),
    ],
)
def test_what_cannot_be_is_refused(matgraft: CLI, typed: tuple[object, ...], said: str) -> None:
    code, _, err = matgraft(*WORDS, *typed)
    assert code == 2 and said in " ".join(err.split())
    assert not Path("pool.extxyz").exists()


def test_coverage_says_what_is_lacking_and_writes_proposals(matgraft: CLI) -> None:
    bulk("Cu", cubic=True).write("frames.extxyz")
    code, out, _ = matgraft("coverage", "frames.extxyz", "--for", "md:300-1200K,defects", "-o", "proposed.extxyz")
    said = " ".join(out.split())
    assert (
        code == 1 and "molecular dynamics at 300 to 1200 K" in said and "Point defects: no frame has a vacancy." in said
    )
    assert "Add 5: supercells without an atom" in said and Path("proposed.extxyz").is_file()
    code, out, _ = matgraft("coverage", "frames.extxyz", "--for", "molecules", "--json")
    facts = json.loads(out)
    assert code == 1 and {one["kind"] for one in facts["lacks"]} == {"energy", "forces", "molecule"}
    assert all(one["sentence"] for one in facts["lacks"]) and facts["out"] == ""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--for", "magic"), "is no use"),
        (("--for", "md:hot"), "the temperatures cannot be read"),
        (("--for", "defects:300K"), "only md takes temperatures"),
        (("-o", "no/where.extxyz"), "there is no folder"),
    ],
)
def test_coverage_refuses_what_it_cannot_read(matgraft: CLI, typed: tuple[str, ...], said: str) -> None:
    code, _, err = matgraft("coverage", "frames.extxyz", *typed)
    assert code == 2 and said in " ".join(err.split())
    assert matgraft("coverage", "keys.energy=e")[0] == 2
