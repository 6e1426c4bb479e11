"""What a stranger sees who types ``import matgraft``."""

from __future__ import annotations

import logging
import pydoc

import pytest

import matgraft
from matgraft.core.findings import Action, Finding
from matgraft.core.verdict import Caution, Damage, Outcome, Verdict

from .conftest import Toy


def test_tab_shows_the_verbs_and_help_is_readable() -> None:
    assert dir(matgraft) == sorted(matgraft.__all__)
    assert set(matgraft._HOMES) | {"__version__"} == set(matgraft.__all__)
    for name in matgraft._HOMES:
        assert getattr(matgraft, name).__doc__.strip(), name
        assert name in matgraft.__doc__ or name == "Predictions", name
    text = pydoc.render_doc(matgraft, renderer=pydoc.plaintext)
    assert "tune(" in text and "logging.basicConfig" in text


def test_the_library_is_silent_unless_asked() -> None:
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("matgraft").handlers)
    with pytest.raises(AttributeError, match="no attribute 'tun'"):
        _ = matgraft.tun


def test_a_model_says_what_it_is(run: matgraft.Run) -> None:
    assert repr(Toy()) == "Toy(toy: 2 elements, 71 parameters, not tuned)"
    assert repr(run.model).endswith("71 parameters, tuned from toy)")


def test_a_finding_and_a_verdict_are_one_line() -> None:
    failed = Finding(
        code="energy-unit", title="unit", outcome="failed", severity="error", evidence="27.2 times <b>",
        remedy="say the unit", actions=(Action(settings={"units.energy": "Hartree"}),),
    )  # fmt: skip
    assert repr(failed) == "energy-unit failed (error): 27.2 times <b> -> units.energy=Hartree" == str(failed)
    assert repr(failed.model_copy(update={"outcome": "passed"})) == "energy-unit passed: 27.2 times <b>"
    caution = Caution(code="few", damage=Damage.DOUBT, text="few <trajectories>")
    judged = Verdict(outcome=Outcome.BETTER, against="the foundation", headline="7 instead of 40", cautions=(caution,))
    assert repr(judged) == "Verdict(better than the foundation: 7 instead of 40 Caution: few <trajectories>)"
    page = judged._repr_html_()
    assert "few &lt;trajectories&gt;" in page and "<trajectories>" not in page and "#1a7f37" in page
