"""A bank of prompts on the screen."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape as plain
from rich.table import Table

from matgraft.formulas.prompts.bank import BankCard


def show_bank(screen: Console, card: BankCard) -> None:
    """Print each property's error on held-out chemical systems, by its prompt and by the encoder's own head."""
    shown = Table("property", "by prompt", "by the encoder's head")
    for name in card.questions:
        cells = (scores.get(name) for scores in (card.scores, card.head_scores))
        shown.add_row(plain(name), *("–" if one is None else f"{one:.3f}" for one in cells))
    screen.print(shown)
