"""The vendors' trainers by name, imported when they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from _race import Race
from common import Row


@dataclass(frozen=True)
class VendorTrainer:
    """A vendor's way to train.

    Attributes
    ----------
    run
        (foundation, race) -> row with ``minutes`` of each checkpoint, ``models`` by name, ``settings``.
    """

    backbone: str
    run: Callable[[str, Race], Row]


def _chgnet(frozen: bool, foundation: str, race: Race) -> Row:
    from _chgnet_trainer import run_chgnet

    return run_chgnet(frozen, foundation, race)


def _mace(foundation: str, race: Race) -> Row:
    from _mace_trainer import run_mace

    return run_mace(foundation, race)


def _matgl(foundation: str, race: Race) -> Row:
    from _matgl_trainer import run_matgl

    return run_matgl(foundation, race)


VENDORS = {
    "vendor-frozen": VendorTrainer("chgnet", partial(_chgnet, True)),
    "vendor-all": VendorTrainer("chgnet", partial(_chgnet, False)),
    "mace_run_train": VendorTrainer("mace", _mace),
    "mgl train": VendorTrainer("matgl", _matgl),
}
