"""Formulas need no package of structures: every verb of theirs works where chgnet and pymatgen cannot be imported."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from matgraft.formulas import elements

from .conftest import TunedRun

REPOSITORY = Path(__file__).parents[2]
BLOCKED = ("chgnet", "pymatgen", "phonopy", "parsl", "mace", "matgl", "h5py")
CODE = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from matgraft import cli
from matgraft.cli.ending import ended

for words in VERBS:
    sys.argv = ["matgraft", *words]
    code = ended(lambda: cli.app(standalone_mode=False))
    print("VERB", words[0], code, flush=True)
"""


def verbs(run: TunedRun, out: Path) -> list[list[str]]:
    table, encoder = run.folder.parent / "train.csv", str(run.encoder)
    quick = ["network.epochs=1", "network.fewest_steps=1", "inner_folds=2"]
    few = out / "few.csv"
    few.write_text("formula,kind\n" + "".join(f"{m}O,oxide\n{m}Cl,salt\n" for m in ("Na", "K", "Li", "Rb")))
    asked = out / "asked.csv"
    asked.write_text("formula\nMgO\nKCl\n")
    return [
        ["predict", str(run.folder), "NaCl", "Fe2O3"],
        ["evaluate", str(run.folder), str(run.folder.parent / "test.csv")],
        ["audit", str(table), "--target", "gap", "--allow", "few-rows"],
        ["suggest", str(run.folder), "MgO", "CaS", "ZnF4", "AlCl3", "--count", "2", "--maximise"],
        ["report", str(run.folder)],
        ["embed", str(table), "--from", encoder, "-o", str(out / "embedded.csv")],
        [
            "tune",
            str(table),
            "--strategy",
            "full",
            "--target",
            "gap",
            "--from",
            encoder,
            "-o",
            str(out / "run"),
            *quick,
        ],
        ["crossval", str(table), "--target", "gap", "--strategy", "descriptors", "--folds", "2", "inner_folds=2"],
        ["fewshot", str(few), str(asked), "--from", encoder],
        ["export", str(run.folder), "--to", "sklearn", "-o", str(out / "exported")],
        ["--version"],
    ]


@pytest.mark.slow  # eleven verbs, one after another
def test_every_verb_of_formulas_works_without_them(tuned: TunedRun, tmp_path: Path) -> None:
    words = verbs(tuned, tmp_path)
    code = CODE.replace("BLOCKED", repr(BLOCKED)).replace("VERBS", repr(words))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    ends = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("VERB")]
    assert [verb for verb, _ in ends] == [one[0] for one in words], done.stderr
    good = {("tune", "6"), ("evaluate", "6")}  # of so few rows nothing can be judged
    bad = [one for one in ends if one[1] not in ("None", "0") and tuple(one) not in good]
    assert not bad, done.stdout + done.stderr
    assert "No module named" not in done.stderr


def test_the_list_of_what_formulas_need_is_all_but_these() -> None:
    named = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    packages = {re.match(r"[\w-]+", one)[0] for one in named}  # type: ignore[index]
    text = (REPOSITORY / "docs" / "formulas.md").read_text().split("pip install --no-deps .")[1].split("\n\n")[0]
    listed = set(text.replace("\\", " ").split()) - {"pip", "install"}
    assert listed == packages - set(BLOCKED)


def test_the_table_of_elements_is_what_pymatgen_has() -> None:
    made = runpy.run_path(str(REPOSITORY / "docs" / "make_elements.py"))
    assert elements.FILE.read_text(encoding="utf-8") == made["text"](), "python docs/make_elements.py writes it anew"


def test_what_is_known_of_elements() -> None:
    facts = elements.element_facts()
    assert [one.symbol for one in facts[:3]] == ["H", "He", "Li"]
    assert len(facts) == elements.N_ELEMENTS
    iron = facts[25]
    assert (iron.symbol, iron.X, iron.group, iron.outer, iron.common_oxidation_states) == (
        *("Fe", 1.83, 8, (2, 6, 6, 0)),
        (2, 3),
    )
