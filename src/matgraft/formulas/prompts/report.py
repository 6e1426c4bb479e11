"""A bank of prompts on the screen."""

from __future__ import annotations

from rich.console import Console

from matgraft.core.report.document import Column, Row, Table
from matgraft.core.report.screen import show_blocks
from matgraft.core.report.text import written
from matgraft.formulas.prompts.bank import BankCard


def show_bank(screen: Console, card: BankCard) -> None:
    """Print each property's error on held-out chemical systems, by its prompt and by the encoder's own head."""
    columns = [Column("Property", number=False), Column("By prompt"), Column("By the encoder's head")]
    by = (card.scores, card.head_scores)
    rows = [Row(name, *(written(scores.get(name), 3) for scores in by)) for name in card.questions]
    show_blocks(screen, [Table(columns, rows)])
