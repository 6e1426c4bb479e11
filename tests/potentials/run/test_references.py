"""Reference energies as a recipe asks for them: given, by isolated atoms among the frames, in MACE's words."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from matgraft.core.errors import DataError, OptionError
from matgraft.core.options import shell
from matgraft.core.provenance import Provenance
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.recipe import Recipe, make_recipe
from matgraft.potentials.run import references
from matgraft.potentials.run.frames import whole_split
from matgraft.potentials.run.references import referenced, references_for, refuse_idle_references

LONE = {"O": -1.5, "Si": -4.0, "Ge": -3.0}
"""The foundation's energies of isolated atoms, eV."""
OURS = {"Si": -0.8, "Ge": -0.7}
REFIT, GIVEN = {"references.mode": "refit"}, {"references.isolated_eV": OURS}
FOUNDATION: Any = SimpleNamespace(card=SimpleNamespace(name="toy"))


@pytest.fixture(autouse=True)
def _foundation(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(_: object, samples: list[Sample], __: object) -> list[dict[str, Any]]:
        return [{"energy": np.array(LONE[str(one.content.symbols)])} for one in samples]

    monkeypatch.setattr(references, "predict_samples", predict)


def frames(*formulas: str, atoms: Mapping[str, float] | None = None) -> Dataset:
    samples = [Sample(Atoms(one), {"energy": np.array(-2.0)}) for one in formulas]
    return Dataset(samples, Provenance(isolated_atoms=dict(atoms or {})))


def recipe(*options: str, file: Path | None = None) -> Recipe:
    return make_recipe(file, ["train=x", *options], verb="tune")


def shift_of(asked: Recipe, train: Dataset, test: Dataset | None = None) -> dict[str, float]:
    test = train[:0] if test is None else test
    refuse_idle_references(asked, FOUNDATION, train, test)
    known = [{"energy": np.array(-2.0)}] * len(train)
    found = references_for(asked, train, known, FOUNDATION, train, test)
    assert found.mode == "isolated"
    return dict(found.shift_eV)


@pytest.mark.parametrize(
    "typed", ["{Si: -0.8, Ge: -0.7}", "{14: -0.8, 32: -0.7}", "{Si:-0.8,Ge:-0.7}", "{14:-0.8,Ge:-.7}"]
)
def test_given_energies_do_what_those_of_frames_do(typed: str) -> None:
    """With such frames, without them, and half from each; the foundation's lone atoms are at -4 and -3 eV."""
    given, by_frames = recipe(f"references.isolated_eV={typed}"), recipe("references.mode=isolated")
    expected = pytest.approx({"Si": 3.2, "Ge": 2.3})
    assert shift_of(given, frames("Si2", "SiGe")) == expected
    assert shift_of(given, frames("Si2", "SiGe", atoms=OURS)) == expected
    assert shift_of(by_frames, frames("Si2", "SiGe", atoms=OURS)) == expected
    half = recipe("references.isolated_eV={Ge: -0.7}")
    assert shift_of(half, frames("Si2", "SiGe", atoms={"Si": -0.8})) == expected
    assert Recipe.model_validate(given.model_dump(mode="json")) == given


def test_an_element_of_the_test_frames_alone_has_its_energy_too() -> None:
    given = recipe("references.isolated_eV={Si: -0.8, O: -1}")
    assert shift_of(given, frames("Si2"), frames("SiO2")) == pytest.approx({"O": 0.5, "Si": 3.2})
    assert shift_of(recipe("references.isolated_eV={Si: -0.8}"), frames("Si2"), frames("SiO2")) == {"Si": 3.2}


@pytest.mark.parametrize(
    ("options", "atoms", "said", "offered"),
    [
        (["isolated_eV={Si: -0.8}"], {}, "isolated atom of Ge with an energy", REFIT | {"references.isolated_eV": {}}),
        (["mode=isolated"], {}, "isolated atom of Si, Ge with an energy", REFIT),
        (["isolated_eV={Si: -0.8, Ge: -0.7, O: 1}"], {}, "no frame has O", GIVEN),
        (["isolated_eV={Si: -0.81, Ge: -0.7}"], OURS, "-0.81 eV, and a frame has -0.8 eV", GIVEN),
        (["isolated_eV={Si: -0.8}", "mode=refit"], {}, "mode=isolated alone", {"references.mode": "isolated"}),
        (["shift_eV={Si: -0.8}"], {}, "mode=given alone", {"references.mode": "given"}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_any_work(
    options: list[str], atoms: dict[str, float], said: str, offered: dict[str, object]
) -> None:
    asked = recipe(*(f"references.{one}" for one in options))
    with pytest.raises(OptionError, match=said) as raised:
        refuse_idle_references(asked, FOUNDATION, frames("Si2", "SiGe", atoms=atoms), frames())
    assert raised.value.options == (offered,)


def test_energies_printed_with_few_digits_are_no_contradiction() -> None:
    given = recipe("references.isolated_eV={Si: -0.8, Ge: -0.7}")
    assert shift_of(given, frames("SiGe", atoms={"Si": -0.80043, "Ge": -0.7})) == pytest.approx({"Si": 3.2, "Ge": 2.3})


def test_a_foundation_that_knows_no_lone_atom_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError("atom 0 has no neighbour within 6 Å")

    monkeypatch.setattr(references, "predict_samples", refuse)
    with pytest.raises(
        OptionError, match=r"toy gives no energy of an isolated atom \(atom 0 has no neighbour"
    ) as raised:
        refuse_idle_references(recipe("references.mode=isolated"), FOUNDATION, frames("Si2", atoms=OURS), frames())
    assert raised.value.options == (REFIT,)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("E0s={14: -0.8, 32: -0.7}", GIVEN),
        ("E0s={14:-0.8,32:-0.7}", GIVEN),
        ("E0s='{14:-0.8, 32: -0.7}'", GIVEN),
        ("e0s={Si: -0.8, Ge: -0.7}", GIVEN),
        ("references.E0s=IsolatedAtom", {"references.mode": "isolated"}),
        ("E0s=average", {"references.mode": "refit"}),
        ("E0s=foundation", {"references.mode": "keep"}),
    ],
)
def test_the_words_of_mace_are_known(typed: str, meant: dict[str, object], tmp_path: Path) -> None:
    """On the command line and in a file; what is offered is typed behind it, and is a recipe."""
    key, _, value = typed.partition("=")
    file = tmp_path / "mine.yaml"
    file.write_text(f"{key}: {value}\n" if "." not in key else f"references: {{E0s: {value}}}\n")
    for given, options in ((None, [typed]), (file, [])):
        with pytest.raises(OptionError, match="did you mean 'references'") as raised:
            recipe(*options, file=given)
        (offered,) = raised.value.options
        assert offered == {key: None} | meant
        references = recipe(*options, *shlex.split(shell(offered)), file=given).references
        assert (references.mode, references.isolated_eV) == (
            meant.get("references.mode", "isolated"),
            meant.get("references.isolated_eV", {}),
        )


def test_energies_in_a_file_of_maces(tmp_path: Path) -> None:
    (tmp_path / "e0s.json").write_text('{"14": -0.8, "32": -0.7}')
    with pytest.raises(OptionError) as raised:
        recipe(f"E0s={tmp_path / 'e0s.json'}")
    (offered,) = raised.value.options
    assert recipe(*shlex.split(shell(offered))).references.isolated_eV == OURS


def test_another_verb_says_which_one_reads_them() -> None:
    with pytest.raises(OptionError, match="`matgraft tune` reads") as raised:
        make_recipe(None, ["train=x", "E0s=average"], verb="audit")
    assert not raised.value.options


@pytest.mark.parametrize(
    ("typed", "said"),
    [("{Sj: 1}", "'Sj' is not an element"), ("{Si: 1, 14: 2}", "two energies"), ("{Si: x}", "valid number")],
)
def test_what_is_no_energy_of_an_element(typed: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        recipe(f"references.isolated_eV={typed}")


def test_an_element_with_an_energy_is_no_untrained_reference() -> None:
    asked, train, test = recipe("references.isolated_eV={Si: -0.8, O: -1}"), frames("Si2", "Si3", "Si4"), frames("SiO2")
    parts = Split(by="random", reason="", train=(0, 1), validation=(2,), test=(), groups=("",) * 3, seed=0)
    for known, codes in (((), ["untrained-elements"]), (referenced(asked, train, test), [])):
        whole = whole_split(parts, train, test, by_head=False, referenced=known)
        assert [caution.code for caution in whole.warnings if caution.code == "untrained-elements"] == codes
