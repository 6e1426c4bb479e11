"""The contract of physical checks: a dummy check runs, is kept, is judged, breaks off, and hands structures over."""

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.io import read as read_frames

from matgraft.core.executor_settings import Lost
from matgraft.core.findings import Finding, Measure
from matgraft.core.frozen import Frozen
from matgraft.potentials.checks.physical import FOUNDATION, Case, PhysicalCheck, ReferenceChoice, Seen, compared
from matgraft.potentials.checks.references import Reference
from matgraft.potentials.checks.runner import Elsewhere, run_physical
from matgraft.potentials.checks.settings import CheckSettings, uses_of
from matgraft.potentials.checks.structures import Structure, crystal_of, kind_of_structure
from matgraft.potentials.checks.suite import chosen_checks
from matgraft.potentials.simulation.subject import Subject


class Height(Frozen):
    """What the dummy sees."""

    energy_eV: float


class Dummy(PhysicalCheck[Height]):
    """Energy of an atom below a gate."""

    code, title, observation = "dummy", "A dummy", Height
    gates_uses = frozenset({"relax"})
    seen: ClassVar[list[str]] = []

    def observe(self, subject, case):
        self.seen.append(subject.name)
        energy = float(subject.evaluate([case.own.atoms])[0]["energy"])
        if not np.isfinite(energy):
            raise FloatingPointError("the energy is not finite")
        return Height(energy_eV=energy)

    def judge(self, seen, case):
        measure = Measure(name="energy", unit="eV", value=seen.own.energy_eV, allowed=(None, 0.1), gate="a test's own")
        return self.finding(case, [measure], f"energy {seen.own.energy_eV:.3f} eV", remedy="another model")

    def to_label(self, seen, case):
        return [case.own.atoms]


class Broken(EMT):
    """A calculator that finds no number."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        self.results["energy"] = np.nan


def emt(name="emt", make=EMT):
    return Subject(name, name, make, frozenset({"energy", "forces", "stress"}))


def case_of(*atoms) -> Case:
    structures = tuple(Structure(f"s{i}", one, kind_of_structure(one), "a test") for i, one in enumerate(atoms))
    return Case(structures, None, CheckSettings())


def run(subject, case, folder, foundation=None):
    return [one.finding for one in run_physical([Dummy()], subject, foundation, case, folder, processes=1)]


def test_a_check_passes_fails_with_structures_does_not_apply_and_breaks_off(tmp_path: Path) -> None:
    far = bulk("Cu", a=3.0)
    passed, failed, slab = run(emt(), case_of(bulk("Cu"), far, fcc111("Cu", (1, 1, 3), vacuum=8)), tmp_path)
    assert (passed.outcome, passed.about, passed.remedy) == ("passed", "s0", "")
    assert (failed.outcome, failed.severity, failed.remedy) == ("failed", "error", "another model")
    assert read_frames(tmp_path / failed.actions[0].structures).get_volume() == pytest.approx(far.get_volume())
    assert slab.outcome == "not applicable" and "slab" in slab.evidence
    (broken,) = run(emt("broken", Broken), case_of(bulk("Cu")), tmp_path)
    assert broken.outcome == "errored" and "FloatingPointError: the energy is not finite" in broken.evidence


def test_what_was_observed_is_free_the_second_time_and_the_foundation_is_observed_once(tmp_path: Path) -> None:
    Dummy.seen.clear()
    case = case_of(bulk("Cu"))
    first = run(emt("tuned"), case, tmp_path, emt("foundation"))
    assert sorted(Dummy.seen) == ["foundation", "tuned"]
    assert run(emt("tuned"), case, tmp_path, emt("foundation")) == first
    run(emt("other"), case, tmp_path, emt("foundation"))
    assert sorted(Dummy.seen) == ["foundation", "other", "tuned"]
    torn = next((tmp_path / "observations").glob("*.json"))
    torn.write_text("{")
    assert run(emt("tuned"), case, tmp_path, emt("foundation")) == first


def test_a_calculator_is_made_once_and_known_by_what_it_says() -> None:
    made = []
    subject = Subject.of_calculator("own", lambda: made.append(1) or EMT(), [bulk("Cu")])
    assert subject.calculator() is subject.calculator()
    subject.evaluate([bulk("Cu"), bulk("Al")])
    assert len(made) == 1
    assert subject.key == Subject.of_calculator("own", EMT, [bulk("Cu")]).key
    assert subject.key != Subject.of_calculator("own", Broken, [bulk("Cu")]).key


def test_several_processes_say_what_one_says(tmp_path: Path) -> None:
    case = case_of(bulk("Cu"), bulk("Cu", a=3.0), bulk("Al"))
    local = Subject("emt", "emt", lambda: EMT(), frozenset({"energy", "forces"}))  # cannot be pickled
    two = [one.finding for one in run_physical([Dummy()], local, None, case, tmp_path / "two", processes=2)]
    assert two == run(emt(), case, tmp_path / "one")


class Apart:
    """Workers that share nothing with this process but what can be pickled; the first task is lost."""

    workers = 2

    def __init__(self, lose: bool = False) -> None:
        self.lose = lose

    def run(self, function, tasks, done):
        function = pickle.loads(pickle.dumps(function))
        for i, task in reversed(list(enumerate(tasks))):
            lost = self.lose and i == 0
            done(i, Lost("killed") if lost else pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(task))))))


def load_emt(name: str, log: Path) -> Subject:
    with log.open("a") as file:
        file.write(f"{name}\n")
    return emt(name)


def test_workers_elsewhere_say_what_this_machine_says_and_load_each_model_once(tmp_path: Path) -> None:
    case, log = case_of(bulk("Cu"), bulk("Cu", a=3.0), bulk("Al")), tmp_path / "log"
    where = Elsewhere(Apart(), (partial(load_emt, "tuned", log), partial(load_emt, "first", log)))
    own, first = emt("tuned"), emt("first")
    found = run_physical([Dummy()], own, first, case, tmp_path / "two", elsewhere=where)
    assert found == run_physical([Dummy()], own, first, case, tmp_path / "one", processes=1)
    assert sorted(log.read_text().split()) == ["first", "tuned"]


def test_a_lost_worker_or_another_model_is_an_outcome_of_its_check_alone(tmp_path: Path) -> None:
    case, log = case_of(bulk("Cu"), bulk("Al")), tmp_path / "log"
    where = Elsewhere(Apart(lose=True), (partial(load_emt, "emt", log),))
    lost, well = run_physical([Dummy()], emt(), None, case, tmp_path / "lost", elsewhere=where)
    assert (lost.finding.outcome, lost.finding.evidence) == ("errored", "emt: killed")
    assert well.finding.outcome == "passed"
    where = Elsewhere(Apart(), (partial(load_emt, "changed", log),))
    (other,) = run_physical([Dummy()], emt(), None, case_of(bulk("Cu")), tmp_path / "other", elsewhere=where)
    assert other.finding.outcome == "errored" and "loaded another model" in other.finding.evidence


def test_a_value_is_held_against_dft_first_and_wider_against_the_foundation() -> None:
    case = Case((), None, CheckSettings.model_validate({"gates": {"foundation": 2.0}}))
    dft = Reference(value=100.0, source="reference.yaml")
    one = compared("x", "GPa", 150.0, ReferenceChoice(dft, 40.0), "foundation", case)
    assert one.reference_from == "reference.yaml" and one.allowed == (-100.0, 300.0)  # the gate is 2.0 of the reference
    two = compared("x", "GPa", 150.0, ReferenceChoice(None, 40.0), "foundation", case, relative=False)
    assert two.reference_from == FOUNDATION and two.allowed == (36.0, 44.0)
    assert compared("x", "GPa", 150.0, ReferenceChoice(None, None), "foundation", case).allowed is None


@pytest.mark.parametrize(("value", "passes"), [(1.0, True), (2.5, False), (float("nan"), False), (None, False)])
def test_a_number_that_is_none_lies_in_no_range(value: float | None, passes: bool) -> None:
    assert Measure(name="x", unit="", value=value, allowed=(0.0, 2.0)).passes is passes


def test_a_failure_against_the_foundation_alone_is_a_warning() -> None:
    measures = [Measure(name="x", unit="", value=3.0, allowed=(0, 2), reference=1.0, reference_from=FOUNDATION)]
    found: Finding = Dummy().finding(case_of(bulk("Cu")), measures, "far")
    assert (found.outcome, found.severity) == ("failed", "warning")
    assert Dummy().finding(case_of(), [Measure(name="x", unit="", value=3.0)], "alone").outcome == "not applicable"


def test_checks_are_chosen_by_code_use_or_suite() -> None:
    class Deep(Dummy):
        code, suite, gates_uses = "deep", "full", frozenset({"phonons"})

    both = (Dummy, Deep)
    assert [one.code for one in chosen_checks(CheckSettings(), both)] == ["dummy"]
    assert [one.code for one in chosen_checks(CheckSettings(suite="full"), both)] == ["dummy", "deep"]
    assert [one.code for one in chosen_checks(CheckSettings(uses=("phonons",)), both)] == ["deep"]
    with pytest.raises(Exception, match="did you mean 'dummy'"):
        chosen_checks(CheckSettings(only=("dumy",)), both)


def test_uses_are_typed_with_temperatures_of_dynamics() -> None:
    asked = CheckSettings.model_validate(uses_of(["relax,md:300-1200K", "phonons"]))
    assert (asked.uses, asked.temperature_K) == (("relax", "md", "phonons"), (300.0, 1200.0))
    assert CheckSettings.model_validate(uses_of(["md:600"])).temperature_K == (600.0, 600.0)
    for wrong in ("mdd", "relax:300K", "md:hot", "md:900-300K"):
        with pytest.raises(Exception, match="--for"):
            uses_of([wrong])


def test_kinds_follow_from_the_vacuum() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=8)
    found = [kind_of_structure(one) for one in (bulk("Cu"), slab, molecule("H2O"))]
    assert found == ["bulk", "slab", "molecule"]


def test_seen_holds_both() -> None:
    assert Seen(Height(energy_eV=1.0)).foundation is None


class Unreadable(EMT):
    """A calculator whose own files are missing."""

    def calculate(self, *args, **kwargs):
        raise FileNotFoundError("WAVECAR")


def test_a_calculator_that_lacks_a_file_breaks_off_and_the_others_go_on(tmp_path: Path) -> None:
    own = Subject("files", "files", Unreadable, frozenset({"energy", "forces"}))
    (broken,) = run(own, case_of(bulk("Cu")), tmp_path)
    assert (broken.outcome, broken.evidence) == ("errored", "files: FileNotFoundError: WAVECAR")


def test_a_foundation_that_breaks_off_is_told(tmp_path: Path) -> None:
    (found,) = run_physical([Dummy()], emt(), emt("bad", Broken), case_of(bulk("Cu")), tmp_path, processes=1)
    assert found.finding.outcome == "passed" and not found.foundation
    assert found.uncompared == "bad: FloatingPointError: the energy is not finite"
    knows = Subject("few", "few", EMT, frozenset({"energy", "forces"}), frozenset({"Al"}))
    (found,) = run_physical([Dummy()], emt(), knows, case_of(bulk("Cu")), tmp_path, processes=1)
    assert found.uncompared == "the model does not know Cu"


def test_structures_to_label_go_when_the_check_passes(tmp_path: Path) -> None:
    (failed,) = run(emt(), case_of(bulk("Cu", a=3.0)), tmp_path)
    file = tmp_path / failed.actions[0].structures
    assert file.is_file()
    run(emt(), case_of(bulk("Cu")), tmp_path)
    assert not file.exists()


class Holed(EMT):
    """Copper with a hole between two close atoms of a dimer: equal to EMT in every crystal."""

    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if len(self.atoms) == 2 and self.atoms.get_distance(0, 1) < 1.5:
            self.results["energy"] -= 20.0


def test_the_identity_of_a_calculator_is_what_it_says_at_short_distance_too() -> None:
    def key(make: type[EMT], atoms: Atoms) -> str:
        return Subject.of_calculator("own", make, [atoms]).key

    assert key(EMT, bulk("Cu")) == key(EMT, bulk("Cu")) != key(Holed, bulk("Cu"))
    assert key(EMT, bulk("Si")) == key(EMT, bulk("Si")) != key(EMT, bulk("Cu"))  # EMT knows no silicon: it raises
    assert key(Unreadable, bulk("Cu")) != key(EMT, bulk("Cu"))


class EnergyAlone(EMT):
    """A calculator without forces."""

    implemented_properties: ClassVar = ["energy"]


def test_a_calculator_without_forces_is_a_subject_and_no_check_of_forces_applies(tmp_path: Path) -> None:
    own = Subject.of_calculator("energies", EnergyAlone, [bulk("Cu")])
    assert set(own.evaluate([bulk("Cu")])[0]) == {"energy"}
    assert run(own, case_of(bulk("Cu")), tmp_path)[0].evidence == "the model predicts no forces"


@pytest.mark.parametrize(
    ("key", "known"), [("NaCl", True), ("ClNa", True), ("Na4Cl4", True), ("s0", True), ("KCl", False)]
)
def test_a_formula_may_have_its_elements_in_any_order(key: str, known: bool) -> None:
    case = case_of(bulk("NaCl", "rocksalt", a=5.64))
    own = replace(case, structure=case.structures[0], references={key: {"a_A": Reference(value=5.6, source="x")}})
    assert (own.reference("a_A") is not None) is known


def test_references_by_name_come_before_those_by_formula() -> None:
    case = case_of(bulk("Cu"))
    both = {"Cu": {"a_A": Reference(value=1.0, source="x")}, "s0": {"a_A": Reference(value=2.0, source="y")}}
    found = replace(case, structure=case.structures[0], references=both).reference("a_A")
    assert found is not None and found.value == 2.0


@pytest.mark.parametrize(
    ("crystal", "times", "atoms", "group"),
    [
        (bulk("Cu", cubic=True), (2, 2, 2), 4, "Fm-3m"),
        (bulk("Si", cubic=True), (2, 1, 1), 8, "Fd-3m"),
        (bulk("Mg", "hcp", a=3.2, c=5.2), (3, 3, 2), 2, "P6_3/mmc"),
        (bulk("CsCl", "cesiumchloride", a=4.1), (2, 2, 2), 2, "Pm-3m"),
    ],
)
def test_a_frame_of_a_simulation_becomes_the_crystal_that_it_is_near_to(crystal, times, atoms, group) -> None:
    hot = crystal.repeat(times)
    hot.positions += 0.04 * np.random.default_rng(0).standard_normal((len(hot), 3))
    found, said = crystal_of(hot)
    assert (len(found), said.split()[2]) == (atoms, group)
    assert found.get_volume() / len(found) == pytest.approx(crystal.get_volume() / len(crystal))
