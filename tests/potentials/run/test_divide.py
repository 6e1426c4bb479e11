"""The parts of a run's frames, before any work."""

from __future__ import annotations

import pytest

from matgraft.core.errors import DataError
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.frames import divide


def test_a_split_whose_validation_frames_judge_nothing_is_refused(pairs: Dataset) -> None:
    """Before the foundation's predictions: the first frames have labels, and those for validation none."""
    recipe = Recipe.model_validate({"train": "pairs.xyz", "split": {"by": "random", "validation": 0.34}})
    held_out = set(divide(recipe, pairs, given_test=True).validation)
    bare = Dataset(tuple(Sample(s.content, {} if i in held_out else s.labels) for i, s in enumerate(pairs)))
    with pytest.raises(DataError, match="none of the 2 validation frames has a weight above 0 and a label for energy"):
        divide(recipe, bare, given_test=True)
