"""Every option that the product prints is typed as printed, behind the command that printed it, and cures.

A file with a fault is audited; each line ``option: ...`` of the screen goes through a shell's parser onto the command;
the finding must be gone and no other may have come. The foundation is a toy, EMT, so that labels can be right exactly.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from matgraft.core.findings import Finding, Part
from matgraft.core.provenance import LevelOfTheory
from matgraft.core.quantities import Array
from matgraft.potentials.audit.audit import run_looks
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.run import conduct
from matgraft.potentials.run.frames import _refused

ODD = "größer [2], 'hot' \"phase\" $x"
Labels = dict[str, Array]
Call = Callable[..., tuple[int, str, str]]


def emt(atoms: Atoms) -> Labels:
    atoms = atoms.copy()
    atoms.calc = EMT()
    labels = {"energy": np.array(atoms.get_potential_energy()), "forces": atoms.get_forces()}
    return labels | ({"stress": atoms.get_stress(voigt=False)} if atoms.pbc.all() else {})


class Toy:
    """EMT in the place of a network; an atom without a neighbour is refused, as by CHGNet."""

    card = SimpleNamespace(elements=("Al", "Cu", "Ni"), name="EMT", theory=LevelOfTheory(functional="PBE"))


def predictions(parent: Toy, frames: Dataset, quiet: bool, part: Part = "train") -> tuple[list[Labels], Finding, None]:
    alone = {i: "an atom has no neighbour" for i, s in enumerate(frames) if "alone" in s.tags}
    known = [{} if i in alone else emt(s.content) for i, s in enumerate(frames)]
    whose = "training" if part == "train" else "test"
    return known, _refused(parent, frames, alone, part, whose), None  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "load_potential", lambda name: Toy())
    monkeypatch.setattr("matgraft.potentials.run.frames.foundation_predictions", predictions)


def frames(seed: int = 0) -> list[Atoms]:
    """Thirty strained and rattled cells with EMT's labels: ten trajectories of three frames, five in either half."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(30):
        atoms = bulk("Cu", cubic=True).repeat((2, 1, 1 + i % 2))
        atoms.symbols[: 2 * (i % 3)] = "Al"
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + 0.03 * rng.standard_normal((3, 3))), scale_atoms=True)
        atoms.positions += 0.05 * (1 + i % 4) * rng.standard_normal(atoms.positions.shape)
        atoms.info |= {"config_type": f"set {i // 10}", "trajectory": f"t{i // 3}"}
        label(atoms, emt(atoms))
        made.append(atoms)
    return made


def label(atoms: Atoms, labels: Mapping[str, Array]) -> None:
    atoms.calc = SinglePointCalculator(atoms, **labels)


def change(atoms: Atoms, **changes: Callable[[Array], Array]) -> None:
    label(atoms, atoms.calc.results | {name: how(atoms.calc.results[name]) for name, how in changes.items()})


def swapped(stress: Array) -> Array:
    """A stress whose yz and xz stand in each other's place."""
    other = stress.copy()
    other[[0, 2, 1, 2], [2, 0, 2, 1]] = stress[[1, 2, 0, 2], [2, 1, 2, 0]]
    return other


def every(how: Callable[[Atoms], None]) -> Callable[[list[Atoms]], None]:
    return lambda made: [how(atoms) for atoms in made] and None


def some(how: Callable[[Atoms], object], of: Sequence[int] = (10, 17)) -> Callable[[list[Atoms]], None]:
    def act(made: list[Atoms]) -> None:
        for i in of:
            how(made[i])

    return act


def copies(change_label: float) -> Callable[[list[Atoms]], None]:
    def act(made: list[Atoms]) -> None:
        for i in (3, 4):
            other = made[i][::-1]
            results = made[i].calc.results
            energy = results["energy"] + change_label * len(other)
            label(other, results | {"energy": energy, "forces": results["forces"][::-1]})
            made.insert(20, other)

    return act


def relabelled(how: Callable[[Atoms], object]) -> Callable[[Atoms], None]:
    def act(atoms: Atoms) -> None:
        how(atoms)
        label(atoms, emt(atoms))

    return act


def collide(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0] + [0.9, 0, 0]


def unlabelled(atoms: Atoms) -> None:
    atoms.calc = None


# ruff: noqa: E501
CURED: dict[str, list[Callable[[list[Atoms]], None]]] = {
    "non-finite": [some(lambda a: change(a, forces=lambda f: np.where(f == f.max(), np.nan, f)))],
    "senseless": [some(lambda a: a.cell.__setitem__(2, a.cell[2] / 100)), some(lambda a: a.positions.__setitem__(0, 1e9))],
    "label-missing": [some(unlabelled)],
    "elements-unseen": [some(relabelled(lambda a: a.symbols.__setitem__(0, "Ag")))],
    "energy-unit": [every(lambda a: change(a, energy=lambda e: e / 27.211386)), every(lambda a: change(a, energy=lambda e: -e))],
    "energy-per-atom": [every(lambda a: change(a, energy=lambda e: e / len(a)))],
    "force-unit": [every(lambda a: change(a, forces=lambda f: -f)), every(lambda a: change(a, forces=lambda f: f / 51.42))],
    "stress-unit": [every(lambda a: change(a, stress=lambda s: s * 160.21766)), every(lambda a: change(a, stress=lambda s: -s * a.cell.volume))],
    "stress-sign": [every(lambda a: change(a, stress=lambda s: -s))],
    "stress-shear": [
        every(lambda a: change(a, stress=swapped)),
        lambda made: [(a.info.update(config_type=ODD), change(a, stress=swapped)) for a in made[15:]] and None,
    ],
    "theory-labels": [lambda made: [change(a, energy=lambda e, a=a: e + 0.9 * len(a)) for a in made[10:20]] and None],
    "duplicates": [copies(0.0), copies(0.1)],
    "unconverged": [some(lambda a: a.info.update(converged=False))],
    "net-force": [some(lambda a: change(a, forces=lambda f: f + 0.2))],
    "outlier-energy": [some(lambda a: change(a, energy=lambda e: e + 5 * len(a)))],
    "outlier-force": [some(lambda a: change(a, forces=lambda f: f + 90.0 * np.eye(len(f), 3) - 90.0 * np.eye(len(f), 3)[::-1]))],
    "outlier-distance": [some(relabelled(collide))],
    "outlier-volume": [some(relabelled(lambda a: a.set_cell(a.cell[:] * 1.3, scale_atoms=True)))],
    "mixed-states": [lambda made: [a.info.update(charge=i // 15) for i, a in enumerate(made)] and None],
    "not-encodable": [some(lambda a: a.info.update(alone=True))],
}  # fmt: skip
"""Code -> ways to plant its fault in thirty right frames."""

BY_FILE = ("theory-stated", "theory-foundation")
"""Codes whose fault lies in files beside each other."""

OF_DIFFERENCES = ("cheap-label",)
"""Codes on labels of a cheap method; their option is tried in test_delta.py."""

IN_WORDS: dict[str, Callable[[list[Atoms]], None]] = {
    "force-order": some(lambda a: change(a, forces=lambda f: np.roll(f, 1, axis=0)), (9, 13, 19)),
    "no-cell": some(relabelled(lambda a: (a.set_cell(np.zeros((3, 3))), a.set_pbc(False)))),
}
"""Codes that no option cures."""


def audited(call: Call, *words: object) -> tuple[dict[str, list[str]], str]:
    """Run the audit; return the options printed under each code that failed, and the whole screen."""
    code, out, err = call("audit", *words, "--quiet")
    assert code in (0, 1), err
    options: dict[str, list[str]] = {}
    name = ""
    for line in out.splitlines():
        first, _, rest = line.strip().partition(" ")
        if first in ("error", "warning", "info") and not line.startswith(" "):
            name = rest.split()[0]
            options[name] = []
        elif first == "option:":
            options[name].append(rest)
    return options, out


def must_cure(call: Call, code: str, *words: object) -> None:
    before, said = audited(call, *words)
    assert code in before, said
    assert before[code], f"{code} prints no option\n{said}"
    for option in before[code]:
        after, said = audited(call, *words, *shlex.split(option))
        assert code not in after, f"{option} does not cure\n{said}"
        assert set(after) <= set(before), f"{option} brings {set(after) - set(before)}\n{said}"


def test_every_look_has_a_case() -> None:
    codes = {finding.code for finding in run_looks(_clean(), None)} | {"not-encodable"}
    assert codes == {*CURED, *BY_FILE, *OF_DIFFERENCES, *IN_WORDS}


def _clean() -> Dataset:
    return Dataset(tuple(Sample(atoms, atoms.calc.results) for atoms in frames()))


def test_nothing_is_found_in_right_frames(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / "right.extxyz", frames())
    assert audited(matgraft, tmp_path / "right.extxyz")[0] == {}


@pytest.mark.parametrize(("code", "number"), [(code, i) for code, ways in CURED.items() for i in range(len(ways))])
def test_what_is_printed_cures(code: str, number: int, matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED[code][number](made)
    write(tmp_path / "my frames.extxyz", made)
    must_cure(matgraft, code, tmp_path / "my frames.extxyz")


@pytest.mark.parametrize("code", ["non-finite", "duplicates", "unconverged", "not-encodable"])
def test_frames_keep_their_numbers_where_some_are_left_out(code: str, matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED[code][0](made)
    write(tmp_path / "a.extxyz", made)
    must_cure(matgraft, code, tmp_path / "a.extxyz", "audit.drop=[0,1,2]")
    options, _ = audited(matgraft, tmp_path / "a.extxyz", "audit.drop=[0,1,2]")
    for option in options[code]:
        (word,) = shlex.split(option)
        assert word.startswith("audit.drop=[0-2,"), "what was left out stays out"


@pytest.mark.parametrize("code", ["non-finite", "duplicates", "net-force"])
def test_frames_of_several_files_are_named_by_file(code: str, matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED[code][0](made)
    write(tmp_path / "a b.extxyz", made[:12])
    write(tmp_path / "c'd.extxyz", made[12:])
    files = f'train=[{tmp_path / "a b.extxyz"}, "{tmp_path / chr(99)}\'d.extxyz"]'
    must_cure(matgraft, code, files)
    must_cure(matgraft, code, files, 'audit.drop={"a b.extxyz": [0]}')
    number, _, err = matgraft("audit", files, "audit.drop=[5]", "--quiet")
    assert number == 2 and "option: 'audit.drop={" in err


@pytest.mark.parametrize("code", IN_WORDS)
def test_what_no_option_cures_is_said_in_words(code: str, matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    IN_WORDS[code](made)
    write(tmp_path / "a.extxyz", made)
    options, said = audited(matgraft, tmp_path / "a.extxyz")
    assert options.get(code) == [], said


def test_levels_of_theory(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    for name, part, functional in (("a", made[:18], "PBE"), ("b", made[18:], "SCAN")):
        write(tmp_path / f"{name}.extxyz", part)
        (tmp_path / f"{name}.yaml").write_text(f"code: VASP\nfunctional: {functional}\n")
    files = f"train=[{tmp_path / 'a.extxyz'}, {tmp_path / 'b.extxyz'}]"
    must_cure(matgraft, "theory-stated", files)
    assert len(audited(matgraft, files)[0]["theory-stated"]) == 2, "a head each, or one level kept"


def test_frames_of_another_functional_than_the_foundation(matgraft: Call, tmp_path: Path) -> None:
    write(tmp_path / "scan.extxyz", frames())
    (tmp_path / "scan.yaml").write_text("code: VASP\nmetagga: R2SCAN\n")
    must_cure(matgraft, "theory-foundation", tmp_path / "scan.extxyz")
    found, said = audited(matgraft, tmp_path / "scan.extxyz")
    assert found == {"theory-foundation": ["strategy.name=multihead"]}
    assert "All 30 frames by R2SCAN; EMT knows PBE" in " ".join(said.split())


def test_a_test_file_is_put_right_by_an_option_of_its_own(matgraft: Call, tmp_path: Path) -> None:
    train, test = frames(), frames(1)[:10]
    test[3].info["alone"] = True
    write(tmp_path / "train.extxyz", train)
    write(tmp_path / "test.extxyz", test)
    words = (tmp_path / "train.extxyz", f"test={tmp_path / 'test.extxyz'}")
    options, _ = audited(matgraft, *words)
    assert options == {"not-encodable": ["'audit.drop_test=[3]'"]}
    must_cure(matgraft, "not-encodable", *words)
    assert matgraft("audit", *words, "audit.allow=[not-encodable]", "--quiet")[0] == 1
    assert matgraft("audit", words[0], "audit.drop_test=[3]", "--quiet")[0] == 2


def test_an_option_by_group_holds_where_only_one_part_has_the_group(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED["stress-shear"][1](made)
    write(tmp_path / "train.extxyz", made)
    write(tmp_path / "test.extxyz", frames(1)[:10])
    must_cure(matgraft, "stress-shear", tmp_path / "train.extxyz", f"test={tmp_path / 'test.extxyz'}")
    number, _, err = matgraft(
        "audit", tmp_path / "train.extxyz", f"test={tmp_path / 'test.extxyz'}", "shear={config_type=none: 'xz,yz,xy'}"
    )
    assert number == 2 and "config_type=none" in err


def test_an_option_keeps_what_is_said_under_its_name(matgraft: Call, tmp_path: Path) -> None:
    """Two orders one after the other, of all frames and of groups; a virial in the place of a stress."""
    made = frames()
    every(lambda a: change(a, stress=swapped))(made)
    write(tmp_path / "a.extxyz", made)
    must_cure(matgraft, "stress-shear", tmp_path / "a.extxyz", "shear=xy,yz,xz")
    made = frames()
    for i, atoms in enumerate(made):
        atoms.info["config_type"] = f"half {i // 15}"
        change(atoms, stress=swapped)
    write(tmp_path / "b.extxyz", made)
    must_cure(matgraft, "stress-shear", tmp_path / "b.extxyz", 'shear={"config_type=half 0": "xz,yz,xy"}')
    made = frames()
    every(lambda a: change(a, stress=lambda s: -s * a.cell.volume))(made)
    write(tmp_path / "c.extxyz", made)
    must_cure(matgraft, "stress-unit", tmp_path / "c.extxyz", "units.stress=eV/A^3")


def test_the_last_line_agrees_with_the_exit_code(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED["non-finite"][0](made)
    write(tmp_path / "a.extxyz", made)
    code, out, _ = matgraft("audit", tmp_path / "a.extxyz", "--quiet")
    assert (code, "; non-finite blocks training" in out) == (1, True)
    code, out, _ = matgraft("audit", tmp_path / "a.extxyz", "audit.allow=[non-finite]", "--quiet")
    assert (code, "; nothing blocks training; allowed by you: non-finite" in out) == (0, True)
    code, out, _ = matgraft("audit", tmp_path / "a.extxyz", "audit.allow=[non-finite]", "--json")
    said = json.loads(out)
    assert (code, said["blocking"], said["allowed"]) == (0, [], ["non-finite"])
    assert said["failed"] == sum(one["outcome"] == "failed" for one in said["findings"])
    code, _, err = matgraft("audit", tmp_path / "a.extxyz", "audit.allow=[nonfinite]", "--quiet")
    assert (code, "audit.allow names ['nonfinite']" in err) == (2, True)


def test_nothing_is_offered_that_leaves_no_frame(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    every(lambda a: change(a, forces=lambda f: np.where(f == f.max(), np.nan, f)))(made)
    write(tmp_path / "a.extxyz", made)
    options, _ = audited(matgraft, tmp_path / "a.extxyz")
    assert options["non-finite"] == []


def test_an_option_that_is_too_long_to_type_goes_through_a_file(
    matgraft: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve bytes are the bound here; numbers of thirty frames are longer than that as those of 30,000 are."""
    made = frames()
    some(lambda a: change(a, forces=lambda f: np.where(f == f.max(), np.nan, f)), (4, 10, 17))(made)
    write(tmp_path / "a.extxyz", made)
    monkeypatch.setattr("matgraft.core.options.LONGEST", 12)
    options, said = audited(matgraft, tmp_path / "a.extxyz")
    assert options["non-finite"] == []
    assert "too long to type: audit.drop takes more than 12 bytes" in said and "audit.drop=@FILE" in said
    _, out, _ = matgraft("audit", tmp_path / "a.extxyz", "--json")
    (found,) = [one for one in json.loads(out)["findings"] if one["code"] == "non-finite"]
    (tmp_path / "my numbers").write_text(json.dumps(found["actions"][0]["settings"]["audit.drop"]))
    after, _ = audited(matgraft, tmp_path / "a.extxyz", f"audit.drop=@{tmp_path / 'my numbers'}")
    assert "non-finite" not in after


def test_bash_hands_every_option_over_as_it_was_meant(matgraft: Call, tmp_path: Path) -> None:
    made = frames()
    CURED["stress-shear"][1](made)
    CURED["unconverged"][0](made)
    write(tmp_path / "a.extxyz", made)
    for option in _options(matgraft, tmp_path / "a.extxyz"):
        done = subprocess.run(["bash", "-fc", f"printf '%s\\n' {option}"], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == shlex.split(option)


def _options(call: Call, file: Path) -> Iterator[str]:
    found, _ = audited(call, file)
    assert len(found) >= 2
    for options in found.values():
        yield from options
