"""`sample`: a pool that readers read, whatever worked on it, and a command that goes on where it was killed."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.io import read as read_file

from matgraft.core.errors import DataError, OptionError, RunError
from matgraft.core.executor_settings import ExecutorSettings
from matgraft.core.registry import save_folder
from matgraft.potentials.active.sampling.sampled import Sampled
from matgraft.potentials.active.sampling.settings import SampleSettings
from matgraft.potentials.active.sampling.walkers import Walk
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.uncertainty import Uncertainty
from matgraft.potentials.run import SampleQuestion, sample
from matgraft.potentials.uncertainty.fit import fit_uncertainty

MODULE = """
from ase.calculators.emt import EMT

def copper():
    return EMT()
"""
COPPER = bulk("Cu", cubic=True)
MODEL = "own_sampled:copper"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_sampled.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "own_sampled", raising=False)


def sampled(out: str = "pool.extxyz", structures: Any = (COPPER,), workers: int = 1, **given: Any) -> Sampled:
    moving = {} if "md" in given else {"md": "nvt", "steps": 20, "atoms": 32}
    settings = SampleSettings.model_validate({**moving, **given})
    question = SampleQuestion(out, structures, ExecutorSettings(workers=workers))
    return sample(MODEL, question, settings, quiet=True)


def test_a_pool_is_read_back_with_its_origins() -> None:
    found = sampled(temperature="300,600", make="strain,vacancy", count=2)
    frames = read("pool.extxyz", want=())
    assert len(frames) == found.n_frames == sum(found.kinds.values()) == sum(found.origins.values())
    assert not frames.quantities(), "what a model predicts is not a label"
    assert found.kinds.keys() == {"md", "strain", "vacancy"} and set(frames.tag("config_type")) == {*found.kinds}
    assert {"md nvt 300 K", "md nvt 600 K", "vacancy Cu"} <= {*frames.tag("origin")}
    assert [one.stopped for one in found.walkers] == ["end", "end"] and not found.has_gate
    assert any("does not say how sure it is" in one for one in found.notes)
    assert not Path("pool.extxyz.parts").exists()


def test_a_calculator_and_its_name_make_the_same_pool() -> None:
    one = sampled("one.extxyz", make="rattle", count=2)
    settings = SampleSettings.model_validate({"md": "nvt", "steps": 20, "atoms": 32, "make": "rattle", "count": 2})
    two = sample(EMT(), SampleQuestion("two.extxyz", [COPPER]), settings, quiet=True)
    assert one.origins == two.origins and Path("one.extxyz").read_text() == Path("two.extxyz").read_text()


@pytest.mark.slow
def test_a_pool_does_not_hang_on_the_processes_that_made_it() -> None:
    sampled("one.extxyz", make="rattle", count=2)
    sampled("two.extxyz", make="rattle", count=2, workers=2)
    assert Path("one.extxyz").read_text() == Path("two.extxyz").read_text()


def test_a_command_that_was_killed_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    sampled("whole.extxyz", walkers=3)
    run, walked = Walk.run, []

    def killed(self: Walk) -> Any:
        if len(walked) == 2:
            raise KeyboardInterrupt
        walked.append(self.number)
        return run(self)

    monkeypatch.setattr(Walk, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        sampled(walkers=3)
    assert not Path("pool.extxyz").exists() and walked == [0, 1]
    (Path("pool.extxyz.parts") / "task-0000.json").write_text("torn")
    with pytest.raises(OptionError, match=r"other values of option walkers"):
        sampled(walkers=2)
    walked.clear()
    monkeypatch.setattr(Walk, "run", lambda self: walked.append(self.number) or run(self))
    sampled(walkers=3)
    assert walked == [0, 2], "a torn file is made anew"
    assert Path("pool.extxyz").read_text() == Path("whole.extxyz").read_text()


def test_walkers_differ_by_their_seeds() -> None:
    found = sampled(walkers=3)
    assert len({one.seed for one in found.walkers}) == 3
    again = sampled("again.extxyz", walkers=3, seed=1)
    assert {one.seed for one in found.walkers}.isdisjoint({one.seed for one in again.walkers})


def test_walkers_of_two_questions_under_one_seed_are_pushed_by_other_random_forces() -> None:
    moves = []
    for k, one in enumerate(({"temperature": "300"}, {"temperature": "330"}, {"md": "npt"})):
        sampled(f"{k}.extxyz", **{"md": "nvt", "atoms": 32, "steps": 20, **one})
        places = 4 * read_file(f"{k}.extxyz", index=-1).get_scaled_positions(wrap=False)
        moves.append((places - places.round()).ravel())
    for other in moves[1:]:
        assert abs(np.corrcoef(moves[0], other)[0, 1]) < 0.5


def test_pressure_is_for_bulk_and_what_is_left_out_is_told() -> None:
    slab = fcc111("Cu", (2, 2, 3), vacuum=8)
    settings = {"md": "npt", "pressure_GPa": "0,20", "steps": 10, "make": "strain", "volumes": [0.9], "strains": [0.01]}
    found = sampled(structures=[COPPER, slab], **settings)
    assert [(one.pressure_GPa, one.structure) for one in found.walkers] == [(0, "Cu4"), (20, "Cu4")]
    assert any("Cu12" in one and "bulk" in one for one in found.notes)
    assert "md npt 300 K 20 GPa" in found.origins
    with pytest.raises(OptionError, match="nothing that you asked for applies"):
        sampled("other.extxyz", [molecule("H2O")], **settings)


def test_implausible_frames_are_dropped_with_a_reason() -> None:
    found = sampled(md=None, make="interstitial", count=1)
    assert found.dropped.get("too close", 0) >= 1 and found.n_frames >= 1
    kept = [one.get_all_distances(mic=True) + 9 * np.eye(len(one)) for one in read_file("pool.extxyz", ":")]
    assert min(one.min() for one in kept) > 1.5
    with pytest.raises(RunError, match="no frame is left") as caught:
        sampled("none.extxyz", md=None, make="interstitial", count=1, plausible={"closest": 1.9})
    assert "two atoms nearly coincide" in str(caught.value) and not Path("none.extxyz.parts").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"md": None}, "nothing is asked for"),
        ({"md": None, "make": "strain", "temperature": 600}, "temperature is not read"),
        ({"out": "pool.h5"}, "a pool is extended XYZ"),
        ({"out": "there.extxyz"}, "is there already"),
        ({"out": "own_sampled.py/pool.extxyz"}, "is a file"),
        ({"structures": []}, "there is no structure"),
        ({"gate": 2}, "gate is not read"),
    ],
)
def test_wrong_questions_are_refused_before_anything_moves(given: dict[str, Any], said: str) -> None:
    Path("there.extxyz").write_text("mine")
    with pytest.raises(OptionError, match=said):
        sampled(**given)
    assert Path("there.extxyz").read_text() == "mine" and not list(Path().glob("*.parts"))


def test_files_that_hold_no_structure_and_unknown_models_are_refused() -> None:
    Path("empty.xyz").write_text("")
    with pytest.raises(DataError):
        sampled(structures=["empty.xyz"])
    with pytest.raises(OptionError, match="chgnot"):
        sample("chgnot", SampleQuestion("pool.extxyz", [COPPER]), SampleSettings(md="nvt"))


def test_elements_that_a_model_does_not_know_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    conductor = importlib.import_module("matgraft.potentials.run.sample")
    loaded = conductor.load_subject
    monkeypatch.setattr(conductor, "load_subject", lambda *asked: _knowing(loaded(*asked), "Cu"))
    with pytest.raises(OptionError, match="does not know Au"):
        sampled(structures=[bulk("Au")])
    with pytest.raises(OptionError, match="does not know Xe"):
        sampled(md=None, make="substitute", elements="Cu,Xe")


def _knowing(subject: Any, symbol: str) -> Any:
    return type(subject)(subject.name, subject.key, subject.make, subject.quantities, frozenset({symbol}))


def test_a_tuned_network_stops_its_walkers_at_its_own_gate(chgnet: Potential, sige: Dataset) -> None:
    """Told on cold frames, it does not know what 3000 K brings; a gate far away lets it go on."""
    model = copy.deepcopy(chgnet)
    save_folder(model, Path("model"))
    cold = sige[[i for i, name in enumerate(sige.tag("trajectory")) if name == "Si NVT 300 K"]]
    told = fit_uncertainty(model, cold[:3], cold[3:6])
    card = told.card.model_copy(update={"weights_sha256": model.card.weights_sha256})
    Uncertainty(card, told.known, told.energy_centre, told.energy_factor).save(Path("model"))
    asked = {"md": "nvt", "temperature": 3000, "steps": 15, "atoms": 8}
    for name, gate in (("near", 1.0), ("wide", 1e6)):
        settings = SampleSettings.model_validate({**asked, "gate": gate})
        question = SampleQuestion(f"{name}.extxyz", [bulk("Si", cubic=True)], ExecutorSettings(workers=1))
        found = sample("model", question, settings, quiet=True)
        (walker,), last = found.walkers, read_file(f"{name}.extxyz", "-1")
        assert found.has_gate and walker.stopped == ("gate" if name == "near" else "end")
        assert walker.extrapolation is not None and 1 < last.info["extrapolation"] <= walker.extrapolation + 1e-6
        assert last.info["energy_std"] > 0 and last.info["forces_std"] > 0
    assert not read("wide.extxyz", want=()).quantities()
