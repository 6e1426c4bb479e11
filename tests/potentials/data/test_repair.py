"""Shear components of groups of frames are put in their places, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from matgraft.core.errors import OptionError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.repair import reorder_groups
from matgraft.potentials.data.sample import Sample

STRESS = np.array([[1.0, 6.0, 5.0], [6.0, 2.0, 4.0], [5.0, 4.0, 3.0]])  # yz 4, xz 5, xy 6


def frames() -> Dataset:
    """Return one frame of each of two types."""
    return Dataset(
        tuple(Sample(bulk("Si"), {"stress": STRESS, "energy": 1.0}, {"config_type": name}) for name in ("a", "b"))
    )


def test_only_the_named_group_is_reordered() -> None:
    first, second = reorder_groups(frames(), {"config_type=a": "xz,yz,xy"})
    assert (first.labels["stress"][1, 2], first.labels["stress"][0, 2], first.labels["stress"][0, 1]) == (5, 4, 6)
    np.testing.assert_array_equal(np.diag(first.labels["stress"]), [1, 2, 3])
    np.testing.assert_array_equal(second.labels["stress"], STRESS)
    assert first.labels["energy"] == 1.0


def test_a_group_without_frames_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"(?s)'config_type=c'.*allowed: config_type=a, config_type=b"):
        reorder_groups(frames(), {"config_type=c": "xz,yz,xy"})


def test_an_order_that_is_none_is_an_error() -> None:
    with pytest.raises(OptionError, match="does not name yz, xz and xy once each"):
        reorder_groups(frames(), {"config_type=a": "xz,yz"})
