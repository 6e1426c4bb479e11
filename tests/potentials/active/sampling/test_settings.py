"""What is typed of a sampling, and what is refused."""

from __future__ import annotations

import pytest
from ase.build import bulk, molecule
from pydantic import ValidationError

from matgraft.core.errors import OptionError
from matgraft.potentials.active.sampling.settings import MAKERS, Ramp, SampleSettings


@pytest.mark.parametrize(
    ("typed", "ramps"),
    [
        ("300", [(300, 300)]),
        (300, [(300, 300)]),
        ("300:2000", [(300, 2000)]),
        ("2000K:300 K", [(2000, 300)]),
        ("300,600, 900.5", [(300, 300), (600, 600), (900.5, 900.5)]),
        ("300,300:900", [(300, 300), (300, 900)]),
        ([300, "600:900"], [(300, 300), (600, 900)]),
    ],
)
def test_temperatures_are_read(typed: object, ramps: list[tuple[float, float]]) -> None:
    found = SampleSettings.model_validate({"temperature": typed}).temperature
    assert [(one.start_K, one.end_K) for one in found] == ramps


@pytest.mark.parametrize(
    "typed", ["", "0", "-300", "300:", ":300", "300:600:900", "hot", "nan", "1e9", "300-900", "0:300", True, None, []]
)
def test_what_is_no_temperature_is_refused(typed: object) -> None:
    with pytest.raises(ValidationError):
        SampleSettings.model_validate({"temperature": typed})


@pytest.mark.parametrize(
    "wrong",
    [
        {"md": "nve"},
        {"make": "vacancies"},
        {"elements": "Xx"},
        {"ps": 1, "steps": 10},
        {"pressure_GPa": "inf"},
        {"pressure_GPa": []},
        {"volumes": [0.0]},
        {"strains": [-0.1]},
        {"rattle_A": [float("nan")]},
        {"walkers": 0},
        {"steps": 10**9},
        {"unknown": 1},
    ],
)
def test_values_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SampleSettings.model_validate(wrong)


def test_several_values_are_parted_by_commas_and_come_once() -> None:
    found = SampleSettings.model_validate(
        {"make": "strain, rattle,strain", "pressure_GPa": "0,10", "elements": "Si,Ge"}
    )
    assert (found.make, found.pressure_GPa, found.elements) == (("strain", "rattle"), (0.0, 10.0), ("Si", "Ge"))
    assert SampleSettings.model_validate(found.model_dump()) == found
    assert SampleSettings.model_validate_json(found.model_dump_json()) == found


def test_a_ramp_says_itself() -> None:
    assert Ramp(start_K=300, end_K=2000).text == "300:2000 K" and Ramp(start_K=600, end_K=600).text == "600 K"


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"make": "strain", "temperature": 600}, "temperature"),
        ({"md": "nvt", "pressure_GPa": 10}, "pressure_GPa"),
        ({"md": "nvt", "volumes": [0.9]}, "volumes"),
        ({"md": "nvt", "count": 3}, "count"),
        ({"make": "vacancy", "elements": "Si"}, "elements"),
        ({"make": "vacancy", "gate": 2}, "gate"),
    ],
)
def test_what_nothing_reads_is_refused(given: dict[str, object], key: str) -> None:
    with pytest.raises(OptionError, match=f"{key} is not read"):
        SampleSettings.model_validate(given).refuse_unread()


def test_what_is_read_is_taken() -> None:
    everything = {
        "md": "npt",
        "temperature": 600,
        "pressure_GPa": 1,
        "make": MAKERS,
        "count": 3,
        "seed": 4,
        "atoms": 10,
    }
    SampleSettings.model_validate({**everything, "plausible": {"closest": 0.5}}).refuse_unread()


def test_the_length_follows_from_the_lightest_atom() -> None:
    settings = SampleSettings(md="nvt", ps=1.0)
    assert settings.length(bulk("Si")) == 500 and settings.length(molecule("H2O")) == 2000
    assert SampleSettings(steps=7).length(bulk("Si")) == 7


@pytest.mark.parametrize("key", ["ps", "spacing_fs"])
def test_an_endless_time_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        SampleSettings.model_validate({"md": "nvt", key: float("inf")})
