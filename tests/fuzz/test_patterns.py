"""Regular expressions: none takes the cube of the length of what a stranger wrote, or never ends."""

from __future__ import annotations

import importlib
import pkgutil
import re
from itertools import product
from time import process_time

import pytest

import matgraft
from matgraft.formulas.formula import FormulaError, parse_formula
from matgraft.potentials.active.sampling.settings import SampleSettings

LENGTH = 1500
ALLOWED_S = 0.1
"""Linear patterns take 0.0001 s, those that take the square 0.03 s, those that take the cube minutes."""
STARTS = ("", "a1", "300 K", "x=", "(1")
FILLS = (" ", "1", "a", "1.", ", ", "1 ", "a ")


def patterns() -> list[re.Pattern[str]]:
    """Return the patterns that modules hold."""
    found = {}
    for module in pkgutil.walk_packages(matgraft.__path__, "matgraft."):
        if module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            many = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else [value]
            for one in many:
                if isinstance(one, re.Pattern) and isinstance(one.pattern, str):
                    found[one.pattern] = one
    return list(found.values())


def test_no_pattern_takes_long_on_a_text_of_one_sign() -> None:
    every = patterns()
    assert len(every) > 150
    slow = []
    for pattern, start, fill in product(every, STARTS, FILLS):
        begun = process_time()
        pattern.fullmatch(start + fill * (LENGTH // len(fill)) + "\0")
        if process_time() - begun > ALLOWED_S:
            slow.append((pattern.pattern, start, fill))
    assert not slow


@pytest.mark.parametrize("text", ["300" + " " * 40_000 + "!", "300:" + " " * 40_000 + "K:", " " * 40_000])
def test_blanks_in_a_temperature(text: str) -> None:
    begun = process_time()
    with pytest.raises(ValueError, match="is not a temperature"):
        SampleSettings.model_validate({"temperature": text})
    assert process_time() - begun < 1


@pytest.mark.parametrize(("text", "ends"), [("300", (300, 300)), (" 300 K : 2000K ", (300, 2000)), ("1.5:2", (1.5, 2))])
def test_temperatures(text: str, ends: tuple[float, float]) -> None:
    (ramp,) = SampleSettings.model_validate({"temperature": text}).temperature
    assert (ramp.start_K, ramp.end_K) == ends


@pytest.mark.parametrize("text", ["300:", ":300", "300:400:500", "300 400", "-300", "3e2", "20000", "0"])
def test_what_is_no_temperature(text: str) -> None:
    with pytest.raises(ValueError, match=r"temperature|above 0"):
        SampleSettings.model_validate({"temperature": text})


@pytest.mark.parametrize(
    "text", ["Na" + "1" * 1990, "La1-" + "1" * 1900 + "Sr", "Na" + "1." * 900, "Na(1-" + "1" * 1900]
)
def test_digits_in_a_formula(text: str) -> None:
    begun = process_time()
    with pytest.raises(FormulaError):
        parse_formula(text)
    assert process_time() - begun < 2
