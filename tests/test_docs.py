"""The docs say what the code does: every recipe key and every audit code is explained, every link leads somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from pydantic import BaseModel

from matgraft.recipe import Recipe

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "benchmarks" / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
