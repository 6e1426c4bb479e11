"""What a purpose sets, what it leaves alone, and what it says of frames that do not hold what it needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ase.build import fcc111

from matgraft.core.errors import OptionError
from matgraft.potentials.audit.coverage import coverage
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.recipe import make_recipe
from matgraft.potentials.run.conduct import fit_to_purpose, needs_of
from matgraft.potentials.tuning.loss import LossSettings
from matgraft.potentials.tuning.purposes import PURPOSES


def test_a_purpose_sets_the_weights_that_are_not_set(pairs: Dataset) -> None:
    recipe, train = fit_to_purpose(
        make_recipe(None, ["train=x", "purpose=elastic", "loss.forces=7"]), pairs, range(len(pairs))
    )
    assert (recipe.loss.energy, recipe.loss.forces, recipe.loss.stress) == (10, 7, 1000)
    assert train.provenance.notes[-1] == (
        "for elastic constants (--for elastic): loss.energy=10, loss.forces=7, loss.stress=1000"
    )
    again, told = fit_to_purpose(recipe, pairs, range(len(pairs)))  # a run that goes on says the same
    assert again == recipe and told.provenance.notes == train.provenance.notes


def test_a_label_that_no_frame_has_gets_no_weight(pairs: Dataset) -> None:
    bare = pairs.map(lambda sample: Sample(sample.content, {"energy": sample.labels["energy"]}, sample.tags))
    loss, line = PURPOSES["md"].weigh(LossSettings(), bare)
    assert (loss.energy, loss.forces, loss.stress) == (3, None, None) and "forces has no label" in line
    assert loss.weights(bare) == {"energy": 3}


def test_without_a_purpose_nothing_is_set(pairs: Dataset) -> None:
    recipe = make_recipe(None, ["train=x"])
    assert fit_to_purpose(recipe, pairs, range(len(pairs))) == (recipe, pairs)
    assert needs_of(recipe, coverage(pairs), pairs).cautions == ()


def test_the_frames_to_train_on_decide_and_not_those_held_out(pairs: Dataset) -> None:
    """Only frames that the split holds out have a stress, or are surfaces."""
    n = len(pairs) // 2
    bare = [Sample(one.content, {"energy": one.labels["energy"]}, one.tags) for one in pairs[range(n)]]
    slabs = [Sample(fcc111("Al", (1, 1, 3), vacuum=9.0, periodic=True), pairs[n].labels)] * n
    data = Dataset((*bare, *(Sample(one.content, {"energy": np.array(0.0), "stress": np.eye(3)}) for one in slabs)))
    recipe, told = fit_to_purpose(make_recipe(None, ["train=x", "purpose=surfaces"]), data, range(n))
    assert recipe.loss.weights(data[range(n)]) == {"energy": 30}
    assert "stress has no label" in told.provenance.notes[-1]
    assert "surface structures" in needs_of(recipe, coverage(data), data[range(n)]).cautions[0].text
    assert "surface structures" not in needs_of(recipe, coverage(data), data).cautions[0].text


@pytest.mark.parametrize("name", PURPOSES)
def test_a_purpose_orders_the_weights_as_its_use_asks(name: str) -> None:
    """Energies count most for phases, forces for dynamics, stresses for elastic constants."""
    weights = {one: purpose.weights for one, purpose in PURPOSES.items()}
    most = {"phases": "energy", "elastic": "stress"}.get(name)
    if most:
        assert weights[name][most] == max(own[most] for own in weights.values())  # type: ignore[index]
    assert weights["md"]["energy"] == min(own["energy"] for own in weights.values())


def test_unmet_demands_are_a_caution_and_a_use_that_is_not_fit(pairs: Dataset) -> None:
    recipe = make_recipe(None, ["train=x", "purpose=surfaces"])
    needs = needs_of(recipe, coverage(pairs), pairs)
    (said,) = needs.cautions
    assert said.code == "purpose-unmet" and "surface structures, for what is asked for: no frame is one" in said.text
    assert needs.missing[0].use == "surface energies, which it was tuned for"


def test_met_demands_say_nothing(pairs: Dataset) -> None:
    """Two phases of SiGe beside one another, with a frame at rest."""
    tagged = [
        s.with_tags(phase="ab"[i % 2]).with_labels(forces=s.labels["forces"] * (i > 0)) for i, s in enumerate(pairs)
    ]
    data = Dataset(tuple(tagged))
    recipe = make_recipe(None, ["train=x", "purpose=phases"])
    covered = coverage(data)
    assert covered.phases_by == "tag 'phase'" and any(len(own) == 2 for own in covered.phases.values())
    assert needs_of(recipe, covered, data).cautions == ()


def test_phases_that_do_not_compete_are_missing(pairs: Dataset) -> None:
    covered = coverage(pairs.map(lambda sample: sample.with_tags(phase="diamond")))
    (use,) = [one for one in covered.missing if one.use.startswith("relative stability of phases")]
    assert use.reason == "no composition has frames of two phases (by tag 'phase')"
    (lack,) = [one for one in PURPOSES["phases"].unmet(covered, pairs) if one.startswith("two phases")]
    assert "by tag 'phase'" in lack


def test_an_unknown_purpose_names_the_known_ones(matgraft: Callable[..., tuple[int, str, str]]) -> None:
    with pytest.raises(OptionError, match=r"purpose='fun'.*'md', 'phases', 'elastic' or 'surfaces'"):
        make_recipe(None, ["train=x", "purpose=fun"])
    code, _, err = matgraft("tune", "table.csv", "--target", "gap", "--for", "md")
    assert code == 2 and "--for" in err


def test_the_command_says_what_it_sets(matgraft: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = matgraft("tune", "nothing.extxyz", "--for", "phases", "loss.forces=2", "--strategy", "full")
    assert "--for phases (relative energies of phases) sets loss.energy=100, loss.stress=100 where frames" in out
