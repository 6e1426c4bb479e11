"""What holds of every physical check: its code, its section of the docs, its gates, the options that it offers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from matgraft.core.findings import Action, Finding
from matgraft.core.report.document import Cell, Pairs
from matgraft.core.settings import keys_of
from matgraft.potentials.checks import suite
from matgraft.potentials.checks.gates import Gates
from matgraft.potentials.checks.settings import SUITES, USES
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.physics import check_blocks

ROOM = Path(suite.__file__).parent
DOCS = Path(__file__).resolve().parents[3] / "docs" / "checks.md"


def test_codes_are_distinct_and_each_has_a_section_of_the_docs() -> None:
    codes = [check.code for check in suite.SUITE]
    sections = re.findall(r"^\n## ([a-z-]+)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(set(codes)) == len(codes)
    assert sorted(codes) == sorted(sections)


@pytest.mark.parametrize("check", suite.SUITE, ids=lambda check: check.code)
def test_a_check_stands_for_uses_and_belongs_to_a_suite(check: type) -> None:
    assert check.gates_uses and check.gates_uses <= set(USES)
    assert check.suite in SUITES and check.title and check.kinds


def test_options_that_checks_offer_are_keys_of_a_recipe() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in ROOM.glob("*.py"))
    offered = {
        key for inner in re.findall(r"Action\(settings=\{([^}]*)\}", text) for key in re.findall(r'"(.+?)":', inner)
    }
    assert offered >= {"loss.stress", "loss.energy", "strategy.name"}
    assert offered <= set(keys_of(Recipe))


def test_every_gate_is_read_by_a_check_and_has_its_reason() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in ROOM.glob("*.py") if file.name != "gates.py")
    assert [name for name in Gates.model_fields if not re.search(rf"\b{name}\b", text)] == []
    assert all(field.description for field in Gates.model_fields.values())


def test_the_page_shows_the_options_and_the_structures_of_a_finding() -> None:
    actions = (Action(settings={"loss.stress": 300.0}), Action(structures="to-label/elastic.extxyz"))
    found = Finding(code="elastic", title="Elastic constants", outcome="failed", evidence="soft", actions=actions)
    (pairs,) = [block for block in check_blocks(found) if isinstance(block, Pairs)]
    assert pairs.rows == [
        ("option", Cell("loss.stress=300.0", code=True)),
        ("structures to label", Cell("to-label/elastic.extxyz", code=True)),
    ]
