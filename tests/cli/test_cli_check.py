"""`matgraft check` on calculators and structures, as it is typed; networks are checked in the benchmarks."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matgraft import check
from matgraft.core import devices
from matgraft.core.errors import DataError, OptionError
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.verdict import Outcome
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.run import CheckQuestion

conductor = importlib.import_module("matgraft.potentials.run.check")  # the room has a function of this name
CLI = Callable[..., tuple[int, str, str]]
MODULE = """
from ase.calculators.emt import EMT

def copper():
    return EMT()

def number():
    return 7

def broken():
    raise RuntimeError("no licence")

class Soft(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        for name in ("energy", "free_energy", "forces", "stress"):
            if name in self.results:
                self.results[name] = self.results[name] * 0.3 if name != "forces" else self.results[name] * -1

def wrong():
    return Soft()
"""
SMALL = CheckSettings(only=("relaxation",))
RELAX = ("--only", "relaxation")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_models.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    bulk("Cu", cubic=True).write("cu.vasp", format="vasp")


def test_a_calculator_by_its_import_path_is_judged_and_told(matgraft: CLI) -> None:
    code, out, _ = matgraft("check", "own_models:copper", "--structure", "cu.vasp", "--only", "relaxation", "--quiet")
    assert code == 0, out
    assert "fit for what was asked" in out and "relaxation" in out
    page = Path("checks/own_models-copper/report.html").read_text(encoding="utf-8")
    assert "cu.vasp" in page and "Allowed" in page
    assert str(Path.cwd()) not in sys.path


def test_workers_of_an_executor_find_what_this_machine_finds(matgraft: CLI) -> None:
    Path("executor.yaml").write_text("workers: 2\n")
    words = ("check", "own_models:copper", "--structure", "cu.vasp", "--only", "relaxation", "--json")
    here = json.loads(matgraft(*words, "--out", "here")[1])
    there = json.loads(matgraft(*words, "--out", "there", "--executor", "executor.yaml")[1])
    assert there["results"] == here["results"] and there["results"][0]["finding"]["outcome"] == "passed"


def test_a_model_without_a_name_goes_to_no_workers() -> None:
    question = CheckQuestion(structures=["cu.vasp"], executor=ExecutorSettings(workers=2))
    with pytest.raises(OptionError, match="a EMT cannot be sent to workers"):
        check(EMT(), question, SMALL, quiet=True)


def test_json_holds_all_and_a_second_call_computes_nothing(matgraft: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("check", "own_models:copper", "--structure", "cu.vasp", "--only", "relaxation", "--json")
    code, out, _ = matgraft(*words)
    facts = json.loads(out)
    assert code == facts["verdict"]["exit_code"] == 0
    assert [one["finding"]["code"] for one in facts["results"]] == ["relaxation"]
    monkeypatch.setattr("matgraft.potentials.checks.relaxation.RelaxationCheck.observe", None)  # would raise
    again = json.loads(matgraft(*words)[1])
    assert again["results"] == facts["results"]


def test_against_another_calculator_a_difference_is_doubt_and_against_ones_own_dft_a_failure(matgraft: CLI) -> None:
    question = CheckQuestion(structures=["cu.vasp"], references=None)
    assert check(EMT(), question, SMALL, quiet=True).verdict.outcome == Outcome.FIT
    Path("reference.yaml").write_text("source: made up\nstructures:\n  Cu: {a_A: 5.0}\n")
    code, out, _ = matgraft(
        *("check", "own_models:copper", "--structure", "cu.vasp", "--only", "relaxation", "--quiet"),
        *("--reference", "reference.yaml"),
    )
    assert code == 1 and "not fit for what was asked" in out
    assert out.count("Fm-3m") == 1  # what was found is told once
    assert "reference.yaml (made up)" in Path("checks/own_models-copper/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("own_models:number", "--structure", "cu.vasp"), 2, "makes a int, which is not an ASE calculator"),
        (("own_models:broken", "--structure", "cu.vasp"), 2, "raised RuntimeError: no licence"),
        (("own_models:coper", "--structure", "cu.vasp"), 2, "has no attribute 'coper'"),
        (("no_models:copper", "--structure", "cu.vasp"), 2, "No module named 'no_models'"),
        (("own_models:copper",), 2, "there is no structure to check own_models:copper on"),
        (("own_models:copper", "--structure", "cu.cif"), 3, "cu.cif"),
        (("chgnett", "--structure", "cu.vasp"), 2, "chgnet"),
        (("own_models:copper", "--structure", "cu.vasp", "--only", "relaxatoin"), 2, "did you mean 'relaxation'"),
        (("own_models:copper", "--structure", "cu.vasp", "--for", "phonon"), 2, "did you mean 'phonons'"),
        (("own_models:copper", "--structure", "cu.vasp", "--suite", "quik"), 2, "suite"),
        (
            ("own_models:copper", "--structure", "cu.vasp", "--suite", "full", "--for", "relax"),
            2,
            "not read with --for",
        ),
        (("own_models:copper", "--structure", "cu.vasp", "gates.latice=1"), 2, "did you mean 'lattice'"),
        (("own_models:copper", "--structure", "cu.vasp", "--reference", "none.yaml"), 3, "none.yaml"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_computed(
    matgraft: CLI, words: tuple[str, ...], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conductor, "run_physical", None)
    found, _, err = matgraft("check", *words)
    assert found == code and said in " ".join(err.split()), err


def test_structures_of_each_kind_and_labelled_frames(tmp_path: Path) -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    slab.info.clear()
    write("slab.extxyz", slab)
    write("water.xyz", molecule("H2O"))
    question = CheckQuestion(structures=["cu.vasp", "slab.extxyz", "water.xyz"], out=tmp_path / "out")
    checked = check(EMT(), question, SMALL, quiet=True)
    assert [one.kind for one in checked.structures] == ["bulk", "slab", "molecule"]
    frames = []
    for strain in (0.98, 1.0, 1.02):
        atoms = bulk("Cu", a=3.6 * strain, cubic=True)
        atoms.calc = EMT()
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces())
        frames.append(atoms)
    write("frames.extxyz", frames)
    checked = check(EMT(), CheckQuestion(frames=["frames.extxyz"], out=tmp_path / "two"), SMALL, quiet=True)
    (one,) = checked.structures
    assert one.formula == "Cu" and one.n_atoms == 4 and "frame 1" in one.source


def test_no_structure_and_no_model_are_errors_in_python() -> None:
    with pytest.raises(OptionError, match="no structure to check"):
        check(EMT(), quiet=True)
    with pytest.raises(DataError):
        check(EMT(), CheckQuestion(structures=["none.cif"]), quiet=True)


def test_a_calculator_that_does_not_know_the_element_could_not_be_judged(matgraft: CLI) -> None:
    bulk("Si").write("si.vasp", format="vasp")
    code, out, err = matgraft("check", "own_models:copper", "--structure", "si.vasp", *RELAX, "--quiet")
    assert code == 6, err
    assert "No EMT-potential for Si" in out


def test_a_folder_with_files_of_ones_own_is_left_as_it_is(matgraft: CLI) -> None:
    Path("mine").mkdir()
    bulk("Cu").write("mine/structures.extxyz")
    before = Path("mine/structures.extxyz").read_text()
    words = ("check", "own_models:copper", "--structure", "mine/structures.extxyz", *RELAX)
    code, _, err = matgraft(*words, "--out", "mine")
    assert code == 2 and "mine is not empty" in err
    assert Path("mine/structures.extxyz").read_text() == before
    assert matgraft(*words, "--out", "own_models.py")[0] == 2
    assert [matgraft(*words, "--quiet", "--out", "new")[0] for _ in range(2)] == [0, 0]


def test_references_that_are_compared_with_nothing_are_told(matgraft: CLI) -> None:
    Path("own.yaml").write_text("structures: {Cu: {a_A: 3.6, a: 3.6}, Silicon: {a_A: 5.4}}")
    words = ("check", "own_models:copper", "--structure", "cu.vasp", *RELAX, "--reference", "own.yaml")
    code, out, _ = matgraft(*words, "--json")
    assert code == 0
    assert json.loads(out)["notes"] == [
        "references of Cu: no check that was run compares with a (did you mean 'a_A'?)",
        "references: Silicon is neither a structure nor a formula that was looked at (cu.vasp)",
    ]
    assert "no check that was run compares with a" in matgraft(*words, "--quiet")[1]
    Path("own.yaml").write_text("structures: {Cu: {a_A: .nan}}")
    assert matgraft(*words)[0] == 2


def test_values_of_a_file_count_before_those_of_frames_by_whatever_name(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("own.yaml").write_text("structures: {Cu: {a_A: 3.6}}")
    held = {"cu.vasp": {"a_A": Reference(value=9.9, source="your frames")}}
    monkeypatch.setattr(conductor, "references_in", lambda *_: (held, ()))
    checked = check(EMT(), CheckQuestion(structures=["cu.vasp"], references="own.yaml"), SMALL, quiet=True)
    assert checked.references["cu.vasp"]["a_A"].value == 3.6
    assert checked.verdict.exit_code == 0


def test_compositions_and_kinds_that_are_left_out_are_counted() -> None:
    metals = [bulk(symbol, cubic=True) for symbol in ("Cu", "Ni", "Pd")]
    frames = [*metals, *(fcc111(symbol, (1, 1, 3), vacuum=6) for symbol in ("Cu", "Ni", "Pd"))]
    for one in frames:
        one.info = {}
        one.calc = SinglePointCalculator(one, energy=-1.0, forces=0 * one.positions)
    write("frames.extxyz", frames)
    found = check(EMT(), CheckQuestion(frames=["frames.extxyz"]), CheckSettings(only=("repulsion",)), quiet=True)
    assert len(found.structures) == 4
    assert next(one for one in found.notes if "left out" in one).startswith("2 further compositions or kinds")


@pytest.mark.parametrize("quantity", ["energy", "forces"])
def test_frames_may_lack_energies_or_forces_and_not_both(matgraft: CLI, quantity: str) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1)
    atoms.calc = EMT()
    values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    atoms.calc = SinglePointCalculator(atoms, **{quantity: values[quantity]})
    write("frames.extxyz", [atoms] * 2)
    words = ("check", "own_models:copper", "--frames", "frames.extxyz", "--only", "labels", "--json")
    code, out, err = matgraft(*words)
    assert code in (0, 6), err
    assert json.loads(out)["results"][0]["finding"]["outcome"] == (
        "passed" if quantity == "forces" else "not applicable"
    )
    atoms.calc = None
    write("frames.extxyz", atoms)
    code, _, err = matgraft(*words)
    assert code == 3 and "no frame has labels" in err and "--structure" in err


def test_partly_occupied_sites_are_no_structure(matgraft: CLI) -> None:
    atoms = bulk("Cu", cubic=True)
    write("mixed.cif", atoms)
    assert matgraft("check", "own_models:copper", "--structure", "mixed.cif", *RELAX, "--quiet")[0] == 0
    lines = Path("mixed.cif").read_text().splitlines()
    assert any("1.0000" in line and line.split()[0] == "Cu" for line in lines)
    mixed = [line.replace("1.0000", "0.7500") if line.split()[:1] == ["Cu"] else line for line in lines]
    Path("mixed.cif").write_text("\n".join(mixed) + "\n")
    code, _, err = matgraft("check", "own_models:copper", "--structure", "mixed.cif", *RELAX)
    assert code == 3 and "partly occupied (Cu 0.75)" in " ".join(err.split())


@pytest.mark.parametrize("verb", ["check", "sample"])
def test_a_device_is_not_chosen_for_a_calculator_of_ones_own(
    verb: str, matgraft: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (devices.ASKED, devices.VISIBLE):
        monkeypatch.setenv(name, "")  # and given back at the end
    words = [verb, "ase.calculators.emt:EMT", "--device", "cpu", "--out", tmp_path / "out" / "a.extxyz"]
    code, _, said = matgraft(*words)
    assert code == 2
    assert "--device is not read: ase.calculators.emt:EMT makes a calculator of your own" in said
