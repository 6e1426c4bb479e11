"""The encoder tuned toward another domain: its features draw nearer, its rows are weighted, and the target is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from matgraft.core.errors import OptionError
from matgraft.formulas.domain.alignment import ALIGNMENTS, MaximumMeanDiscrepancy
from matgraft.formulas.domain.member import DomainSettings, TargetDomain
from matgraft.formulas.learners.inputs import Inputs, Labels
from matgraft.formulas.learners.network import FittedNetwork, NetworkSettings
from matgraft.formulas.predictor.members import TOWARD_TARGET, Tools

LOOP = NetworkSettings(epochs=1, fewest_steps=40, batch=20, rate=3e-3)


@pytest.fixture(scope="module")
def domains(small, table):
    """Oxides and sulfides with their values, and halides without."""
    formulas, y = table
    is_source = np.array([bool({8, 16} & set(one.numbers)) for one in formulas])
    source = Inputs.of([one for one, mine in zip(formulas, is_source, strict=True) if mine], small)
    target = Inputs.of([one for one, mine in zip(formulas, is_source, strict=True) if not mine], small)
    return source, Labels(y[is_source], np.ones(is_source.sum())), target


def tune(small, domains, method: str, loop: NetworkSettings = LOOP, **options) -> FittedNetwork:
    source, labels, target = domains
    tools = Tools(small, loop, target=TargetDomain(target, DomainSettings(**options)))
    return TOWARD_TARGET[method].fit((source, labels), (source, labels), tools, 0)


def distance(network: FittedNetwork, domains) -> float:
    features = [torch.from_numpy(network.features(part)) for part in (domains[0], domains[2])]
    return float(MaximumMeanDiscrepancy.distance(*features))


@pytest.fixture(scope="module")
def source_only(small, domains):
    return tune(small, domains, "source")


@pytest.mark.parametrize("method", ALIGNMENTS)
def test_an_alignment_brings_the_domains_nearer(small, domains, source_only, method):
    aligned = tune(small, domains, method, strength=1.0)
    assert distance(aligned, domains) < 0.8 * distance(source_only, domains)
    assert not aligned.module.training


@pytest.mark.parametrize("method", ["reversal", "coral", "weights"])
def test_what_the_target_holds_matters_and_seeds_repeat(small, domains, method):
    quick = NetworkSettings(epochs=1, fewest_steps=3, batch=20)
    source, labels, target = domains
    one, again = (tune(small, domains, method, quick)(source) for _ in range(2))
    other = tune(small, (source, labels, target.take(np.arange(12))), method, quick)(source)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_source_only_asks_nothing_of_the_target(small, domains):
    quick = NetworkSettings(epochs=1, fewest_steps=3, batch=20)
    source, labels, target = domains
    one, other = (tune(small, (source, labels, part), "source", quick) for part in (target, target.take(np.arange(12))))
    assert np.array_equal(one(source), other(source))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "weights", "strength": 0.3}, "domain.strength is not read with 'weights'"),
        ({"method": "weights", "ramp": 5.0}, "domain.ramp is not read with 'weights'"),
        ({"method": "source", "ramp": 5.0, "strength": 0.3}, "domain.strength and domain.ramp are not read"),
        ({"method": "source", "rows": 60}, "compared with nothing"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options, said):
    with pytest.raises(OptionError, match=said):
        DomainSettings(**options).refuse_idle()


def test_the_curves_hold_the_loss_between_the_domains(small, domains):
    """A classifier begins with the log loss of one that cannot tell, CORAL with its strength; source-only has none."""
    quick = NetworkSettings(epochs=1, fewest_steps=6, batch=20)
    reversal = tune(small, domains, "reversal", quick).curves
    assert len(reversal["domain_loss"]) == len(reversal["validation_loss"]) == 3
    assert reversal["domain_loss"][0] == pytest.approx(np.log(2), abs=0.1)
    coral = tune(small, domains, "coral", quick, ramp=0.0, strength=2.0).curves
    assert coral["domain_loss"][0] == pytest.approx(2.0, rel=0.5)
    assert "domain_loss" not in tune(small, domains, "source", quick).curves
