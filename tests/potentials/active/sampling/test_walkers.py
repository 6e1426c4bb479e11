"""Walkers stop where the model does not know the frame, and keep frames that are not alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import all_changes
from ase.calculators.emt import EMT
from hypothesis import given
from hypothesis import strategies as st

from matgraft.potentials.active.sampling.sampled import Finished
from matgraft.potentials.active.sampling.settings import Ramp, SampleSettings
from matgraft.potentials.active.sampling.walkers import Walk, spacing_of
from matgraft.potentials.checks.structures import Structure

COPPER = Structure("Cu", bulk("Cu", cubic=True), "bulk", "")


class Sure(EMT):
    """EMT whose extrapolation is how far atoms are from a lattice, by a twentieth of the cell."""

    implemented_properties = [*EMT.implemented_properties, "extrapolation"]  # noqa: RUF012 - as ASE declares it

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = (), system_changes: Sequence[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        off = (atoms.positions / 1.805 + 0.5) % 1 - 0.5
        self.results["extrapolation"] = np.linalg.norm(off, axis=1) / 0.3


class Sticky(EMT):
    """Falls apart: forces pull neighbours into each other."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        self.results["forces"] = -20 * self.results["forces"]


class Refusing(EMT):
    def calculate(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no such element\nsecond line")


def walked(calculator: EMT, kelvin: float = 300, end: float | None = None, **given: Any) -> Finished:
    settings = SampleSettings.model_validate({"md": "nvt", "atoms": 32, "steps": 100, **given})
    ramp = Ramp(start_K=kelvin, end_K=end or kelvin)
    return Walk(calculator, "key", COPPER, settings, 3, ramp, 0.0, seed=1).run()


def test_a_walk_ends_at_the_gate_with_the_frame_outside_and_the_last_inside() -> None:
    found = walked(Sure(), 100, 3000, steps=400)
    assert found.walker is not None and found.walker.stopped == "gate" and found.walker.steps < 400
    *inside, outside = found.frames
    assert outside.extrapolation is not None and outside.extrapolation == found.walker.extrapolation > 1
    assert inside and all(one.extrapolation is not None and one.extrapolation <= 1 for one in inside)
    looks = [one.step for one in found.frames]
    assert looks[-1] == found.walker.steps and looks[-1] - looks[-2] == 5, "10 fs before: the last frame inside"
    assert found.walker.frames == len(found.frames) and outside.temperature_K == 100 + 2900 * looks[-1] / 400


def test_a_wider_gate_lets_it_go_on_and_a_model_without_one_goes_to_the_end() -> None:
    wide = walked(Sure(), 300, gate=9.0)
    assert wide.walker is not None and wide.walker.stopped == "end" and wide.walker.steps == 100
    alone = walked(EMT(), 300)
    assert alone.walker is not None and alone.walker.stopped == "end" and alone.walker.extrapolation is None
    assert alone.frames[0].extrapolation is None and "extrapolation" not in alone.frames[0].atoms().info
    assert [one.geometry for one in alone.frames] == [one.geometry for one in wide.frames], "a gate moves no atom"


def test_a_walk_ends_where_dynamics_breaks_and_the_broken_frame_is_no_frame_of_the_pool() -> None:
    found = walked(Sticky(), 900)
    assert found.walker is not None and found.walker.steps < 100
    assert found.walker.broke is not None or found.walker.reason is not None
    assert found.dropped or found.walker.broke is not None
    for one in found.frames:
        distances = one.geometry.atoms().get_all_distances(mic=True)
        assert distances[np.triu_indices(len(distances), 1)].min() > 0.6 * 2.64


def test_a_model_that_refuses_the_start_is_told() -> None:
    found = walked(Refusing())
    assert not found.frames and found.walker is not None and found.walker.steps == 0
    assert found.walker.broke is not None and found.walker.broke.said == "no such element"


def test_the_same_seed_walks_the_same_way_and_another_does_not() -> None:
    settings = SampleSettings(md="nvt", steps=20)
    first, again, other = (
        Walk(EMT(), "key", COPPER, settings, 0, Ramp(start_K=300, end_K=300), 0.0, seed).run().frames
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_frames_say_where_they_come_from() -> None:
    last = walked(Sure(), 300, gate=9.0).frames[-1].atoms().info
    assert last["origin"] == "md nvt 300 K" and last["config_type"] == "md" and last["structure"] == "Cu"
    assert (last["walker"], last["step"], last["temperature"]) == (3, 100, 300)
    assert last["trajectory"] == "walker 3 of Cu" and last["extrapolation"] > 0


def test_spacing_follows_the_memory_of_the_energy_and_not_its_trend() -> None:
    random, settings = np.random.default_rng(0), SampleSettings(frames=1000)
    noise = random.standard_normal(400)
    memory = np.array([noise[max(0, k - 20) : k + 1].sum() for k in range(400)])
    assert spacing_of(noise, 50.0, settings) <= 2 < 10 < spacing_of(memory, 50.0, settings)
    ramp = 100 * np.linspace(0, 1, 400)
    assert spacing_of(noise + ramp, 50.0, settings) <= 2
    assert spacing_of(noise, 10.0, settings) == 5, "never below half the time of the thermostat"
    assert spacing_of(noise, 10.0, SampleSettings(spacing_fs=70)) == 8
    assert spacing_of(noise, 50.0, SampleSettings(frames=20)) == 20


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.integers(1, 60))
def test_a_spacing_never_leaves_more_frames_than_are_asked_for(energies: list[float], most: int) -> None:
    spacing = spacing_of(np.array(energies), 10.0, SampleSettings(frames=most))
    assert spacing >= 1 and len(energies[::-1][::spacing]) <= max(most, 1)


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_walker_leaves_as_many_frames_as_it_may_with_that_at_the_gate(most: int) -> None:
    found = walked(Sure(), 100, 3000, steps=400, frames=most, spacing_fs=10)
    assert found.walker is not None and found.walker.stopped == "gate"
    assert len(found.frames) <= most and found.frames[-1].step == found.walker.steps
