"""The docs say what the code does: every recipe key and every audit code is explained, every link leads somewhere.

Defaults, codes and names in the pages are the code's own; for numbers in sentences see test_docs_numbers.py.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

import matgraft
from matgraft import cli
from matgraft.core import errors
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.findings import Code
from matgraft.core.training.schedule import FitSettings
from matgraft.formulas.few_shot.episodes import EpisodeSettings
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.formulas.prompts.learning import BankSettings
from matgraft.formulas.table.audit.audit import CODES as TABLE_CODES
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.settings import ActiveRecipe
from matgraft.potentials.audit import cells, cheap, energy, forces, labels, states, stress, structures, theory
from matgraft.potentials.checks.settings import CheckSettings
from matgraft.potentials.data.reading.formats.registry import FORMATS
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.report.facts import RunFacts
from matgraft.potentials.report.run import run_document
from matgraft.potentials.tuning.ladder import Climb

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [
    *(
        REPOSITORY / name
        for name in ("README.md", "README.ja.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
    ),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]


def text_of(page: str) -> str:
    """Return a page by its name."""
    return next(path for path in PAGES if path.name == page and path.parent.name != "benchmarks").read_text(
        encoding="utf-8"
    )


def keys(model: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    """Return every key of a recipe, with dots."""
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += keys(kind, f"{prefix}{name}.") if nested else [prefix + name]  # type: ignore[arg-type]
    return found


def test_every_recipe_key_is_documented() -> None:
    text = (REPOSITORY / "docs" / "tuning.md").read_text(encoding="utf-8")
    assert not [key for key in keys() if f"`{key}`" not in text]


def test_the_page_of_options_is_what_the_code_says() -> None:
    script = runpy.run_path(str(REPOSITORY / "docs" / "make_options.py"))
    page = (REPOSITORY / "docs" / "options.md").read_text(encoding="utf-8")
    assert page == script["options_page"](), "python docs/make_options.py writes it anew"
    page = (REPOSITORY / "docs/limits.md").read_text(encoding="utf-8")
    assert page == script["limits_page"](), "python docs/make_options.py writes it anew"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_has_a_place_on_the_site() -> None:
    site = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    named = re.findall(r"[\w./-]+\.md", str(site["nav"]))
    own = {page.relative_to(REPOSITORY / "docs").as_posix() for page in (REPOSITORY / "docs").rglob("*.md")}
    assert own <= set(named)
    assert all((REPOSITORY / "docs" / name).exists() or (REPOSITORY / name).exists() for name in named)
    assert len(named) == len(set(named))


def test_the_site_has_what_its_pages_link_to() -> None:
    hooks = ast.parse((REPOSITORY / "docs" / "site_hooks.py").read_text(encoding="utf-8"))
    (elsewhere,) = [ast.literal_eval(one.value) for one in hooks.body if isinstance(one, ast.Assign)
                    and ast.unparse(one.targets[0]) == "ELSEWHERE"]  # fmt: skip
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            found = (page.parent / target).resolve().relative_to(REPOSITORY)
            assert found.parts[0] == "docs" or found.as_posix() in elsewhere, f"{page.name} links to {target}"


def test_every_kind_of_error_has_an_entry() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    page = text_of("troubleshooting.md")
    told = {kind.__name__: f"| {kind.exit_code} |" for kind in kinds if kind is not errors.MatgraftError}
    assert len(told) >= 6
    for name, code in told.items():
        assert f"## {name}\n" in page, name
        assert any(line.startswith(code) and f"`{name}`" in line for line in page.splitlines()), name


def test_the_python_page_has_every_name_of_the_package() -> None:
    named = re.findall(r"^::: matgraft\.([\w.]+)$", text_of("api.md"), re.MULTILINE)
    assert sorted(named) == sorted(f"{home}.{name}" for name, home in matgraft._HOMES.items())


def test_the_readme_is_short() -> None:
    text = re.sub(r"```.*?```", "", (REPOSITORY / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(text.split()) <= 900


DEFAULTS = {
    "tuning.md": (Recipe,),
    "sampling.md": (SampleSettings,),
    "clusters.md": (ExecutorSettings,),
    "formulas.md": (PredictorSettings,),
    "prompts.md": (PredictorSettings, BankSettings),
    "domain.md": (PredictorSettings,),
    "fewshot.md": (EpisodeSettings,),
    "pretraining.md": (PretrainSettings,),
}


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return the default of every key, with dots; those that are decided later (None) are left out."""
    found = {}
    for name, field in model.model_fields.items():
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        inner = (
            {f"{name}.{key}": getattr(value, key) for key in defaults(type(value))}
            if isinstance(value, BaseModel)
            else {}
        )
        found |= inner or {name: value}
    return {name: value for name, value in found.items() if value is not None}


def default_rows(page: str) -> Iterator[tuple[str, str]]:
    """Yield (key, default) of the tables whose second column is called default; cells of several keys are parted."""
    inside = False
    for line in text_of(page).splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        inside = (cells[2:3] == ["default"]) or (inside and len(cells) > 3)
        names = re.findall(r"`([\w.]+)`", cells[1]) if inside and len(cells) > 3 else []
        said = [part.strip(" `") for part in cells[2].split(",")] if names else []
        yield from zip(names, said, strict=True) if len(names) == len(said) else ()


@pytest.mark.parametrize("page", DEFAULTS)
def test_defaults_are_those_of_the_code(page: str) -> None:
    known = {key: value for model in DEFAULTS[page] for key, value in defaults(model).items()}
    rows = [(key, said) for key, said in default_rows(page) if key in known and said]
    assert len(rows) >= 4
    wrong = {key: (said, known[key]) for key, said in rows if said != str(known[key]) and not says(said, known[key])}
    assert not wrong


def says(said: str, value: object) -> bool:
    """Say whether a text is a value's: a number in any notation, or nothing."""
    if not isinstance(value, int | float):
        return said in ("[]", "none") and not value
    try:
        return float(said) == value
    except ValueError:
        return False


def test_the_audits_table_has_every_code_with_its_severity() -> None:
    modules = (cells, cheap, energy, forces, labels, states, stress, structures, theory)
    codes = {value for module in modules for value in vars(module).values() if isinstance(value, Code)}
    rows = {
        code: parts[2].strip()
        for line in text_of("audit.md").splitlines()
        if line.startswith("| `") and len(parts := line.split("|")) == 5
        for code in re.findall(r"`([\w-]+)`", parts[1])
    }
    assert rows.keys() == {code.code for code in codes} | {"not-encodable"}
    other = {
        "theory-labels": "error if two",
        "duplicates": "error if labels",
        "net-force": "error in most",
        "outlier-distance": "error if most",
        "mixed-states": "error if one",
        "cheap-label": "error if another",
    }
    assert not [code.code for code in codes if not rows[code.code].startswith(other.get(code.code, code.severity))]
    assert not [code for code in rows if f"## {code}" not in text_of("audit.md").splitlines()]


def test_the_page_of_the_tables_audit_has_every_code_with_its_severity() -> None:
    page = text_of("table-audit.md")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (error|warning|info)", page, re.MULTILINE))
    assert rows.keys() == TABLE_CODES.keys()
    assert [f"## {code}" for code in rows if f"## {code}" not in page.splitlines()] == []
    assert {code for code, severity in rows.items() if severity == "info"} == {"heavy-zeros", "duplicates"}


def test_the_page_of_the_house_has_the_order_that_the_linter_holds_and_every_room() -> None:
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    page = " ".join(text_of("architecture.md").split())
    for contract in (one for one in contracts if one["type"] == "layers"):
        (container,) = contract["containers"]
        folder = REPOSITORY / "src" / Path(*container.split("."))
        layers = [[room.strip(" ()") for room in layer.split("|")] for layer in contract["layers"]]
        there = [
            [room for room in layer if (folder / room).is_dir() or (folder / f"{room}.py").is_file()]
            for layer in layers
        ]
        order = " -> ".join(", ".join(layer) for layer in there if layer)
        assert order.removeprefix("__main__ -> ") in page
    named = {part for word in re.findall(r"`([\w./]+)`", page) for part in word.removesuffix(".py").split("/")}
    assert not {room for layer in there for room in layer} - named


def test_the_picture_of_the_house_is_drawn_from_the_imports() -> None:
    script = runpy.run_path(str(REPOSITORY / "docs" / "make_house.py"))
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert page == script["page"](page, script["picture"](script["rooms"]())), "python docs/make_house.py draws it anew"


def test_the_results_are_what_the_benchmarks_print_and_no_figure_is_typed() -> None:
    script = runpy.run_path(str(REPOSITORY / "docs" / "make_results.py"))
    for page, text in script["pages"]().items():
        assert page.read_text(encoding="utf-8") == text, f"python docs/make_results.py writes {page.name} anew"


def test_the_report_has_the_sections_of_its_page() -> None:
    climbed = RunFacts(matgraft_version="", run="", folder="", ladder=Climb(max_minutes=1.0))
    shown = [section.title for section in run_document(climbed).sections if "page" in section.forms]
    rows = re.findall(r"^\| ([A-Z][\w ]+) \| ", text_of("report.md"), re.MULTILINE)
    assert rows == ["Verdict", *shown[1:]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_of_code_that_a_page_names_are_there(page: Path) -> None:
    named = set(re.findall(r"`((?:\w+/)+\w+\.py)`", page.read_text(encoding="utf-8")))
    folders = (REPOSITORY, REPOSITORY / "src" / "matgraft")
    assert not [name for name in named if not any((folder / name).is_file() for folder in folders)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_names_of_python_that_a_page_gives_are_there(page: Path) -> None:
    for module, names in re.findall(r"^from (matgraft[\w.]*) import ([\w, ]+)$", page.read_text("utf-8"), re.MULTILINE):
        for name in names.split(", "):
            assert hasattr(importlib.import_module(module), name), f"{page.name}: {module} has no {name}"
    for name in re.findall(r"`(matgraft(?:\.\w+)+)`", page.read_text("utf-8")):
        pkgutil.resolve_name(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_that_a_page_types_have_their_options(page: Path) -> None:
    verbs = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    typed = re.findall(r"^matgraft +([^#\n]+)", blocks, re.MULTILINE)
    typed += re.findall(r"(?:^ {4}|`)matgraft +([^`#\n]+)", text, re.MULTILINE)
    for line in typed:
        verb, *words = line.split()
        assert verb in verbs, f"{page.name}: matgraft {line}"
        known = {option for parameter in verbs[verb].params for option in parameter.opts}
        said = {word for word in words if re.fullmatch(r"--?[a-z][a-z-]*", word)}
        assert said <= known, f"{page.name}: matgraft {line}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "options.md"], ids=lambda page: page.name)
def test_the_keys_that_a_page_gives_a_value_are_read(page: Path) -> None:
    models = {ActiveRecipe, CheckSettings, *(model for group in DEFAULTS.values() for model in group)}
    known = {key for model in models for key in keys(model)} | {
        f"{section}.{name}"
        for section in ("units", "delta.units")
        for name in ("energy", "forces", "stress", "virial", "length")
    }
    said = set(re.findall(r"(?<![\w.-])([a-z]+(?:\.[a-z_]+)+)=(?!=)", page.read_text(encoding="utf-8")))
    inside = {f"fit.{name}" for name in FitSettings.model_fields}  # of episodes, banks and pretraining too
    assert not {key for key in said - known - inside if not key.startswith("keys.")}


def test_every_format_has_a_section_in_the_docs() -> None:
    sections = {line.removeprefix("## ") for line in text_of("formats.md").splitlines() if line.startswith("## ")}
    assert sections == {form.title for form in FORMATS}
