"""Words of MACE, CHGNet, MatGL and textbooks: each leads to a setting that exists, and errors name it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from matgraft.core.errors import OptionError
from matgraft.core.quantities import POTENTIAL_QUANTITIES
from matgraft.core.settings import keys_of, make_settings
from matgraft.core.vocabulary import CALLED, meant
from matgraft.formulas.predictor.settings import PredictorSettings
from matgraft.formulas.pretraining.settings import PretrainSettings
from matgraft.potentials.recipe import Recipe, make_recipe

KINDS = (Recipe, PredictorSettings, PretrainSettings)


def test_every_key_exists() -> None:
    known = {key for kind in KINDS for key in keys_of(kind)}
    assert set(CALLED) - {f"keys.{name}" for name in POTENTIAL_QUANTITIES} <= known


def test_no_word_is_a_key_of_ours() -> None:
    for kind in KINDS:
        assert not [key for key in keys_of(kind) if meant(key, keys_of(kind)) not in ("", key)]


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("lr=0.01", "fit.rate"),
        ("fit.lr=0.01", "fit.rate"),
        ("forces_weight=100", "loss.forces"),
        ("mag_loss_ratio=0.1", "loss.magmom"),
        ("max_num_epochs=3", "fit.epochs"),
        ("freeze=[embedding]", "strategy.stages"),
        ("replay_ratio=2", "replay.weight"),
        ("energy_key=REF_energy", "keys.energy"),
        ("Valid-Fraction=0.1", "split.validation"),
        ("swa_forces_weight=1", "fit.ema"),
        ("element_refs={Si: -0.1}", "references.shift_eV"),
        ("pt_head=true", "heads.foundation"),
        ("epochs=3", "fit.epochs"),
        ("--patience=3", "fit.patience"),
        ("alpha=4", "strategy.alpha"),
        ("rank=4", "strategy.rank"),
        ("stages=[readout]", "strategy.stages"),
        ("huber_delta=0.1", "loss.huber_delta"),
    ],
)
def test_a_recipe_names_its_own_word(word: str, key: str) -> None:
    with pytest.raises(OptionError, match="unknown key") as caught:
        make_recipe(None, [word], verb="tune", train="a.xyz")
    assert caught.value.remedy == f"did you mean {key!r}?"


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("alpha=0.1", "domain.strength"),
        ("domain.alpha=0.1", "domain.strength"),
        ("lr=1e-3", "network.rate"),
        ("epochs=9", "network.epochs"),
        ("prompt.lr=1", "prompt.rate"),
    ],
)
def test_settings_of_tables_name_theirs(word: str, key: str) -> None:
    with pytest.raises(OptionError, match="unknown key") as caught:
        make_settings(PredictorSettings, [], [word])
    assert caught.value.remedy == f"did you mean {key!r}?"


def test_a_name_that_several_sections_have_names_each() -> None:
    with pytest.raises(OptionError) as caught:
        make_recipe(None, ["size=8"], verb="tune", train="a.xyz")
    assert caught.value.remedy == "did you mean 'replay.size' or 'forgetting.size'?"


@pytest.mark.parametrize("word", ["lambda=1", "device=cpu", "scaling=std", "temperature=300", "mask_prob=0.15"])
def test_a_word_that_means_nothing_here_gets_no_suggestion(word: str) -> None:
    with pytest.raises(OptionError, match="unknown key") as caught:
        make_recipe(None, [word], verb="tune", train="a.xyz")
    assert not caught.value.remedy


def test_a_word_that_nobody_uses_gets_the_nearest_key() -> None:
    with pytest.raises(OptionError) as caught:
        make_recipe(None, ["fit.ratee=0.1"], verb="tune", train="a.xyz")
    assert caught.value.remedy == "did you mean 'rate'?"


REPOSITORY = Path(__file__).resolve().parents[2]
HARD_WORDS = (
    "said aloud|from cheap to dear|asks nothing of the network|from where it is whole|put right|handed over|"
    "a run brings its own|for too narrow|was broken off|what each part bought|torn or of another"
)
"""Turns of phrase that readers had to read twice; each has a plain form: "complete copy", "corrected", "stopped"."""
READ = ("docs/**/*.md", "src/matgraft/**/*.py", "README*.md")


def hard_words(text: str) -> list[str]:
    """Return the hard turns of phrase in a text, wherever its lines break."""
    return re.findall(HARD_WORDS, " ".join(text.split()))


def test_no_page_and_no_message_has_a_turn_of_phrase_that_was_made_plain() -> None:
    pages = [page for pattern in READ for page in sorted(REPOSITORY.glob(pattern)) if page.name != "results.md"]
    assert len(pages) > 300
    found = {page.name: words for page in pages if (words := hard_words(page.read_text("utf-8")))}
    assert not found


def test_a_hard_word_is_found_across_a_line() -> None:
    assert hard_words("copy it from where\nit is whole") == ["from where it is whole"]


def test_pages_for_users_say_replay_and_not_rehearse() -> None:
    others = ("results.md", "architecture.md", "coming-from.md")
    for page in sorted((REPOSITORY / "docs").rglob("*.md")):
        text = re.sub(r"\]\([^)]*\)", "", page.read_text("utf-8")).lower()
        assert page.name in others or "rehears" not in text, page.name
