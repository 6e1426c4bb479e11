"""What frames say of a condition, and which of them meet one: a temperature, a phase, a composition, a tag.

>>> values(dataset, "temperature")                # [300.0, 300.0, 1500.0, None, ...]
>>> by_value(dataset, "config_type")              # {"bulk": [0, 1], "surface": [2]}
>>> Condition.of("temperature>=1500").met_by(dataset).frames
(2,)

| name                | what a frame says                                                              |
| ------------------- | ------------------------------------------------------------------------------ |
| a tag of the frames | its value                                                                      |
| temperature         | K: a tag that is called so, or words such as ``md_300K`` in `TELLING_TAGS`     |
| phase               | what `matgraft.potentials.data.phases` tells                                   |
| pressure            | GPa: a tag ``pressure`` (``10``, ``100 kbar``), else minus a third of the trace |
|                     | of the stress label                                                            |
| x(Ge)               | the share of germanium among the atoms                                         |
| element             | each element that it has                                                       |
| composition         | its reduced formula                                                            |
| chemical-system     | its elements, as ``Ge-Si``                                                     |
| theory              | the functional of its labels, such as ``PBE+U``                                |

A frame that does not say it meets no condition, and is in no row.
"""

from __future__ import annotations

import operator
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from matgraft.core.errors import OptionError, nearest
from matgraft.core.quantities import STRESS
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.heads import functional_of
from matgraft.potentials.data.phases import phases_of, stated
from matgraft.potentials.data.sample import Sample

Value = str | float
TELLING_TAGS = ("config_type", "trajectory", "description")
"""Tags whose words tell what a frame is."""
MOST_VALUES = 12
"""Different numbers of a condition beyond which a table has ranges instead."""
RANGES = 5
MOST_NAMED = 20

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zÅ°/³^]*)\s*")
_CONDITION = re.compile(
    rf"(?:(?P<low>{_NUMBER})\s*(?P<from><=?)\s*)?(?P<name>[^<>=!]+?)\s*(?P<op><=|>=|==|!=|=|<|>)\s*(?P<value>[^<>=!].*)"
)
_SHARE = re.compile(r"x\((?P<element>[A-Z][a-z]?)\)")
_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TEMPERATURE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)[ _]?(?:K|[Kk]elvin)(?![A-Za-z0-9])")
# A lower-case t is as often a time.
_CALLED_TEMPERATURE = re.compile(
    r"((?i:((md|target|set|ionic)[ _-]?)?(temperature|temp)|tebeg)|T)(?i:[ _-]?[\[(]?K(elvin)?[\])]?)?"
)
_GPA: Mapping[str, float] = {
    "": 1.0, "GPa": 1.0, "MPa": 1e-3, "kPa": 1e-6, "Pa": 1e-9, "Mbar": 100.0, "kbar": 0.1, "kB": 0.1, "bar": 1e-4,
    "atm": 1.01325e-4, "eV/Å^3": 160.21766208, "eV/Å³": 160.21766208, "eV/A^3": 160.21766208,
}  # fmt: skip
"""Unit of a pressure -> GPa."""
FORMS = ("config_type=surface", "temperature>=1500", "0.2<x(Ge)<=0.5", "element=Ge")


def kelvins(tags: Mapping[str, str]) -> list[float]:
    """Return what tags that are called a temperature hold, and what `TELLING_TAGS` say in words."""
    return [kelvin for name, text in tags.items() for kelvin in _kelvins(name, text)]


def _kelvins(name: str, text: str) -> list[float]:
    called = _CALLED_TEMPERATURE.fullmatch(name) is not None
    said = [float(number) for number in _TEMPERATURE.findall(text)] if called or name in TELLING_TAGS else []
    if said or not called:
        return said
    try:
        value = float(text)
    except ValueError:
        return []
    return [value] if 0 <= value < np.inf else []


# --- what frames say -------------------------------------------------------------------------------------------------


def values(dataset: Dataset, name: str) -> list[Value | None]:
    """Return what each frame says under a name of the module's table, but for ``element``; None where it says nothing.

    Raises
    ------
    OptionError
        If the name is none.
    """
    tags = [dict(tags) for tags in dataset.samples.tags()]
    known = {tag for own in tags for tag in own}
    if name == "temperature":
        found = [_one(kelvins(own)) for own in tags]
        return [stated(own.get(name)) if one is None else one for own, one in zip(tags, found, strict=True)]
    if name == "pressure" and name in known:
        return [_in_gpa(own.get(name)) for own in tags]
    if name in known:
        return [stated(own.get(name)) for own in tags]
    if (share := _SHARE.fullmatch(name)) and share["element"] in chemical_symbols:
        Z = chemical_symbols.index(share["element"])
        return [float(np.mean(numbers == Z)) for numbers in dataset.samples.numbers()]
    if name == "phase":
        return list(phases_of(dataset).labels)
    if name in _COMPUTED:
        return [_COMPUTED[name](sample) for sample in dataset]
    names = known_names(dataset)
    raise OptionError(
        f"{name!r} is neither a tag of the frames nor a condition", allowed=names, remedy=nearest(name, names)
    )


def by_value(dataset: Dataset, name: str) -> dict[str, list[int]]:
    """Return the frames of each value, by position; of more than `MOST_VALUES` numbers, of `RANGES` ranges.

    A frame may be of several elements. One that says nothing is in no row.

    Raises
    ------
    OptionError
        If the name is none of the module's table.
    """
    if name == "element" and "element" not in {tag for own in dataset.samples.tags() for tag in own}:
        numbers = [set(own.tolist()) for own in dataset.samples.numbers()]
        return {
            symbol: [i for i, own in enumerate(numbers) if chemical_symbols.index(symbol) in own]
            for symbol in dataset.elements()
        }
    told = values(dataset, name)
    numbers_of = {value: _number(value) for value in dict.fromkeys(told) if value is not None}
    if len(numbers_of) > MOST_VALUES and all(one is not None for one in numbers_of.values()):
        return _in_ranges([None if value is None else numbers_of[value] for value in told])
    rows: dict[str, list[int]] = defaultdict(list)
    for value in sorted(numbers_of, key=lambda one: (numbers_of[one] is None, numbers_of[one] or 0.0, str(one))):
        rows[_text(value)] = []
    for i, own in enumerate(told):
        if own is not None:
            rows[_text(own)].append(i)
    return dict(rows)


def refuse_unsaid(dataset: Dataset, name: str, option: str) -> None:
    """Raise an OptionError if a name is none, or no frame says anything under it.

    Parameters
    ----------
    option
        What asks for it, for the message.
    """
    if not any(by_value(dataset, name).values()):
        raise OptionError(f"{option}={name}: no frame says its {name}", allowed=known_names(dataset))


def known_names(dataset: Dataset) -> list[str]:
    """Return the names that frames may be told apart by: of the module's table, then their tags."""
    return [*_BUILT_IN, *sorted({tag for own in dataset.samples.tags() for tag in own} - {*_BUILT_IN})]


def _in_ranges(numbers: list[float | None]) -> dict[str, list[int]]:
    """Return ranges of about as many frames each; each has its lower end, the last one both."""
    known = np.array([number for number in numbers if number is not None])
    ends = np.unique(np.quantile(known, np.linspace(0, 1, RANGES + 1)))
    rows: dict[str, list[int]] = {f"{low:.6g} to {high:.6g}": [] for low, high in pairwise(ends)}
    names = list(rows)
    for i, number in enumerate(numbers):
        if number is not None:
            k = int(np.searchsorted(ends, number, side="right")) - 1
            rows[names[min(k, len(names) - 1)]].append(i)
    return {name: frames for name, frames in rows.items() if frames}


def _pressure(sample: Sample) -> float | None:
    """Return the pressure of the stress label in GPa, positive where the cell is compressed."""
    stress = sample.labels.get(STRESS.name)
    if stress is None or not sample.components.get(STRESS.name, np.eye(3, dtype=bool)).diagonal().all():
        return None
    return float(-np.trace(stress) / 3 * STRESS.report_scale)


def _formula(sample: Sample) -> str:
    return str(sample.content.get_chemical_formula(empirical=True))


def _chemical_system(sample: Sample) -> str:
    return "-".join(sorted(set(sample.content.symbols)))


def _theory(sample: Sample) -> str | None:
    theory = sample.theory
    return functional_of(theory, corrected=any(theory.hubbard_u.values())) if theory is not None else None


_COMPUTED: Mapping[str, Callable[[Sample], Value | None]] = {
    "pressure": _pressure,
    "composition": _formula,
    "chemical-system": _chemical_system,
    "theory": _theory,
}
_BUILT_IN = ("temperature", "phase", "element", "x(ELEMENT)", *_COMPUTED)


def _one(found: list[float]) -> float | None:
    """Return the temperature that all words agree on; a ramp from one to another has none."""
    return found[0] if len(set(found)) == 1 else None


def _number(value: Value) -> float | None:
    """Return the number of a value such as ``1500``, ``"1500 K"`` or ``"-2.5GPa"``."""
    if isinstance(value, float):
        return value
    found = _QUANTITY.fullmatch(value)
    return float(found[1]) if found else None


def _in_gpa(text: str | None) -> Value | None:
    """Return a pressure in GPa; the word itself where it is no number, or has a unit that is none of a pressure."""
    found = _QUANTITY.fullmatch(text or "")
    return float(found[1]) * _GPA[found[2]] if found and found[2] in _GPA else stated(text)


def _number_under(name: str, value: Value) -> float | None:
    """Return the number of a value under a name: of a pressure in GPa, None where its unit is none of a pressure."""
    if name != "pressure" or isinstance(value, float):
        return _number(value)
    pressure = _in_gpa(value)
    return pressure if isinstance(pressure, float) else None


def _units_agree(one: Value, other: Value) -> bool:
    """Say whether two numbers have one unit, or one of them has none: 1T and 1H are two phases, 300 is 300 K."""
    units = [found[2] for text in (one, other) if (found := _QUANTITY.fullmatch(str(text)))]
    return "" in units or len(set(units)) == 1


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value


# --- conditions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Met:
    """Which frames meet a condition.

    Attributes
    ----------
    frames
        Positions of those that do.
    silent
        Positions of those that do not say whether they do.
    """

    frames: tuple[int, ...]
    silent: tuple[int, ...]


@dataclass(frozen=True)
class Condition:
    """One value of a condition, or a range.

    Attributes
    ----------
    text
        As it was typed.
    name
        Of the module's table.
    bounds
        Operator and number of each end of a range; empty for one value.
    value
        What is asked for where it is no range.
    negated
        True for every other value.
    """

    text: str
    name: str
    bounds: tuple[tuple[str, float], ...] = ()
    value: str = ""
    negated: bool = False

    @classmethod
    def of(cls, text: str) -> Condition:
        """Read a condition such as ``temperature=1500``, ``x(Ge)>0.5`` or ``300<temperature<=900``.

        Raises
        ------
        OptionError
            If it is none.
        """
        found = _CONDITION.fullmatch(text.strip())
        if found is None or (found["low"] and found["op"] not in ("<", "<=")):
            raise OptionError(f"{text!r} is not a condition", allowed=FORMS)
        op, value = found["op"], found["value"].strip()
        if op not in _OPERATORS:
            return cls(text.strip(), found["name"], (), value, op == "!=")
        number = _number_under(found["name"], value)
        if number is None:
            raise OptionError(f"{text!r}: {value!r} is not a number", allowed=FORMS)
        if not found["low"]:
            return cls(text.strip(), found["name"], ((op, number),))
        quantity = _QUANTITY.fullmatch(value)
        low = _number_under(
            found["name"], f"{found['low']} {quantity[2] if quantity else ''}"
        )  # one unit for both ends
        bounds = ((found["from"].replace("<", ">"), float(found["low"]) if low is None else low), (op, number))
        return cls(text.strip(), found["name"], bounds)

    def met_by(self, dataset: Dataset) -> Met:
        """Say which frames meet it.

        Raises
        ------
        OptionError
            If its name is none, or no frame meets it: with the values that there are.
        """
        if self.name == "element" and not any("element" in tags for tags in dataset.samples.tags()):
            return self._as_share(dataset.elements()).met_by(dataset)
        told = values(dataset, self.name)
        frames = tuple(i for i, value in enumerate(told) if value is not None and self._is_met(value))
        if not frames:
            raise self._unmet(dataset, told)
        return Met(frames, tuple(i for i, value in enumerate(told) if value is None or self._is_no_number(value)))

    def _as_share(self, known: Sequence[str]) -> Condition:
        if self.bounds:
            raise OptionError(f"{self.text!r}: an element is there or not", allowed=["element=Ge", "x(Ge)>0.5"])
        if self.value not in known:
            raise OptionError(f"no frame has the element {self.value!r}", allowed=known)
        return Condition(self.text, f"x({self.value})", (("<=" if self.negated else ">", 0.0),))

    def _is_no_number(self, value: Value) -> bool:
        return bool(self.bounds) and _number_under(self.name, value) is None

    def _is_met(self, value: Value) -> bool:
        number = _number_under(self.name, value)
        if self.bounds:
            return number is not None and all(_OPERATORS[op](number, end) for op, end in self.bounds)
        return self._names(value, number) != self.negated

    def _names(self, value: Value, number: float | None) -> bool:
        """Say whether this is the value: 1500 is 1500.0 and 1500 K, and Ge2Si2 is SiGe."""
        asked = _number_under(self.name, self.value)
        if asked is not None and number is not None and _units_agree(self.value, value):
            return bool(np.isclose(asked, number, rtol=1e-6, atol=1e-9))
        return self._canonical() == value

    def _canonical(self) -> str:
        if self.name == "chemical-system":
            return "-".join(sorted(self.value.split("-")))
        if self.name == "composition":
            try:
                return str(Atoms(self.value).get_chemical_formula(empirical=True))
            except (KeyError, ValueError):
                pass
        return self.value

    def _unmet(self, dataset: Dataset, told: list[Value | None]) -> OptionError:
        known = list(by_value(dataset, self.name))
        numbers = [number for value in told if value is not None and (number := _number(value)) is not None]
        if len({*told} - {None}) > MOST_VALUES and numbers:
            known = [f"numbers from {min(numbers):g} to {max(numbers):g}"]
        more = [f"{len(known) - MOST_NAMED} more"] if len(known) > MOST_NAMED else []
        return OptionError(
            f"no frame has {self.text}",
            allowed=[f"{self.name}: {', '.join([*known[:MOST_NAMED], *more]) or 'no frame says it'}"],
            remedy=nearest(self.value, known) if self.value else "",
        )
