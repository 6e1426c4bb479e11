"""A run builds the graph of a frame once, for the foundation's predictions and for the fit."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from matgraft.core.model import Encoded
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.data.splits.parts import Split
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.recipe import Recipe
from matgraft.potentials.run.fitting import adapt_by_recipe
from matgraft.potentials.run.frames import part_frames, predict_frames
from matgraft.potentials.run.references import references_for

FIT = {"fit": {"epochs": 1, "processes": 1, "max_minutes": 1.0}, "loss": {"forces": 0.0, "stress": 0.0}}
SPLIT = Split(by="random", reason="", train=(4, 1, 0), validation=(3, 2), test=(5,), groups=("",) * 6, seed=0)


def test_a_graph_is_built_once(
    chgnet: Potential, pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: Counter[int] = Counter()
    real = type(chgnet).encode

    def counted(self: Any, sample: Sample) -> Encoded:
        built[id(sample.content)] += 1
        return real(self, sample)

    monkeypatch.setattr(type(chgnet), "encode", counted)
    ladder = {"strategy": {"name": "ladder"}, "ladder": {"rungs": ["feature"]}}
    recipe = Recipe.model_validate({"train": "x", **ladder, **FIT})
    parts = part_frames(predict_frames(chgnet, pairs, pairs[:0], quiet=True), SPLIT)
    references = references_for(recipe, parts.train, parts.on_train, chgnet)
    adapt_by_recipe(recipe, chgnet, parts, references, tmp_path, False, True)
    assert sorted(built.values()) == [1] * len(pairs)
