"""What frames lack for a use is found, said, and filled by what is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read as read_file
from ase.io import write

from matgraft.core.errors import DataError, OptionError
from matgraft.potentials.active.demands import ENOUGH, Gaps, Kind, Lack, Wanted, demands_of
from matgraft.potentials.active.proposals import MAKE
from matgraft.potentials.active.sampling.makers import Material
from matgraft.potentials.checks.settings import USES, CheckedUse
from matgraft.potentials.checks.structures import structures_given
from matgraft.potentials.data.reading.read import read
from matgraft.potentials.run import find_gaps

COPPER = bulk("Cu", cubic=True)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def labelled(frames: Sequence[Atoms]) -> list[Atoms]:
    made = []
    for atoms in frames:
        atoms = atoms.copy()
        atoms.calc = EMT()
        stress = atoms.get_stress() if atoms.pbc.all() else None
        known = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": stress}
        atoms.calc = SinglePointCalculator(atoms, **{name: value for name, value in known.items() if value is not None})
        made.append(atoms)
    return made


def moved(kelvin: float, n: int = 6, width: float = 0.0) -> list[Atoms]:
    """Frames of one crystal with a temperature in a tag."""
    frames = []
    for i in range(n):
        atoms = COPPER.copy()
        atoms.positions += width * np.random.default_rng(i).standard_normal((4, 3))
        atoms.info["temperature"] = kelvin
        frames.append(atoms)
    return frames


def gaps(frames: Sequence[Atoms], *uses: CheckedUse, name: str = "frames.extxyz", **given: Any) -> Gaps:
    write(name, labelled(frames))
    temperatures = given.pop("temperature_K", (300.0, 300.0))
    return find_gaps([name], Wanted(uses=uses, temperature_K=temperatures), **given)


def kinds(found: Gaps) -> set[Kind]:
    return {one.kind for one in found.lacks}


def test_what_is_proposed_fills_what_is_lacking() -> None:
    uses: tuple[CheckedUse, ...] = ("elastic", "defects", "surfaces", "phonons", "relax")
    poor = moved(300)
    found = gaps(poor, *uses, out=Path("proposed.extxyz"))
    assert kinds(found) == {"sheared", "compressed", "expanded", "vacancy", "interstitial", "surface", "displaced"}
    assert all(one.proposed == one.needed == ENOUGH for one in found.lacks) and found.exit_code == 1
    proposed = read_file("proposed.extxyz", ":")
    assert len(proposed) == found.n_proposed == len(kinds(found)) * ENOUGH, "each kind once, whatever uses lack it"
    assert not read("proposed.extxyz", want=()).quantities()
    filled = gaps([*poor, *proposed], *uses, name="filled.extxyz")
    assert not filled.lacks and filled.exit_code == 0 and filled.out == ""


def test_strains_of_a_proposal_have_both_senses() -> None:
    gaps(moved(300), "elastic", out=Path("proposed.extxyz"))
    volumes = [one.get_volume() / len(one) / 11.8 for one in read_file("proposed.extxyz", ":")]
    assert min(volumes) < 0.9 and max(volumes) > 1.1
    origins = {one.info["origin"] for one in read_file("proposed.extxyz", ":")}
    assert {"strain xx +0.02", "strain xx -0.02"} <= origins


def test_temperatures_are_held_against_those_that_are_wanted() -> None:
    frames = [*moved(300), *moved(600, width=0.05)]
    assert not {"hot", "cold"} & kinds(gaps(frames, "md", temperature_K=(300.0, 600.0)))
    found = gaps(frames, "md", temperature_K=(100.0, 1200.0), name="other.extxyz", out=Path("proposed.extxyz"))
    told = {one.kind: one for one in found.lacks if one.kind in ("hot", "cold")}
    assert (told["hot"].reached_K, told["hot"].wanted_K) == (600, 1200)
    assert "frames of 1200 K are wanted, and the hottest is of 600 K" in told["hot"].sentence
    assert "frames of 100 K are wanted, and the coldest is of 300 K" in told["cold"].sentence
    assert any("1200 K" in one.info["origin"] for one in read_file("proposed.extxyz", ":"))
    assert "close" in kinds(found), "atoms collide above 1000 K"


def test_without_tags_the_size_of_forces_tells_hot_frames() -> None:
    cold, hot = moved(0, width=0.001), moved(0, width=0.2)
    for atoms in (*cold, *hot):
        del atoms.info["temperature"]
    assert "hot" in kinds(gaps(cold, "md"))
    assert not {"hot", "cold"} & kinds(gaps(hot, "md", name="hot.extxyz"))


def test_labels_that_no_frame_has_are_lacking_and_nothing_is_proposed_for_them() -> None:
    write("bare.extxyz", moved(300))
    found = find_gaps(["bare.extxyz"], Wanted(uses=("elastic",)))
    labels = {one.kind: one for one in found.lacks if one.kind in ("energy", "forces", "stress")}
    assert labels.keys() == {"energy", "forces", "stress"} and not any(one.proposed for one in labels.values())
    assert labels["stress"].sentence == "Elasticity: no frame has a stress. Add the label, from the same calculations."


def test_a_second_phase_is_proposed_of_the_same_composition() -> None:
    found = gaps(moved(300), "phases", out=Path("proposed.extxyz"))
    assert "phases" in kinds(found)
    made = [one for one in read_file("proposed.extxyz", ":") if one.info["config_type"] == "prototype"]
    assert len(made) == ENOUGH and {one.info["origin"] for one in made} > {"prototype bcc Cu"}
    assert "prototype fcc Cu" not in {one.info["origin"] for one in made}, "the phase that is there"
    assert all(set(one.symbols) == {"Cu"} for one in made)


def test_of_molecules_nothing_is_proposed_and_it_is_said() -> None:
    water = [molecule("H2O", vacuum=6) for _ in range(6)]
    found = gaps(water, "defects", out=Path("proposed.extxyz"))
    assert not found.n_proposed and not Path("proposed.extxyz").exists() and found.out == ""
    assert any("no frame is a crystal" in one for one in found.notes)
    assert "molecule" in kinds(gaps(moved(300), "molecules", name="copper.extxyz"))


def test_the_same_seed_proposes_the_same_frames_and_another_does_not() -> None:
    texts = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        gaps(moved(300), "defects", out=Path(f"{name}.extxyz"), seed=seed)
        texts.append(Path(f"{name}.extxyz").read_text())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("use", USES)
def test_every_use_has_demands_and_every_demand_a_sentence(use: CheckedUse) -> None:
    demands = demands_of(use, (300, 2000))
    assert demands and len({one.kind for one in demands}) == len(demands)
    for one in demands:
        for found in (0, 1, 3):
            said = Lack(use=use, kind=one.kind, why=one.why, found=found, needed=ENOUGH).sentence
            assert said.startswith(USES[use].capitalize()[:4]) and said.endswith(".") and ", for ." not in said
    assert all(one.kind in MAKE or one.kind in ("energy", "forces", "stress", "molecule") for one in demands)


def test_what_cannot_be_written_or_read_is_refused_first() -> None:
    Path("there.extxyz").write_text("mine")
    for out, said in (("there.extxyz", "is there already"), ("proposed.h5", "extended XYZ")):
        with pytest.raises(OptionError, match=said):
            find_gaps(["none.extxyz"], Wanted(), Path(out))
    with pytest.raises(DataError):
        find_gaps(["none.extxyz"], Wanted())
    with pytest.raises(OptionError, match="not read by `matgraft coverage`"):
        find_gaps(["none.extxyz"], Wanted(), None, ["fit.rate=1e-3"])


def test_a_prototype_of_ab_is_proposed_once_whatever_the_order_of_its_elements() -> None:
    crystal = bulk("SiC", "zincblende", a=4.36, cubic=True)
    (structure,) = structures_given([crystal])
    lack = Lack(use="phases", kind="phases", why="", found=0, needed=5)
    made = MAKE["phases"](structure, lack, Material(elements=("Si", "C")), np.random.default_rng(0))
    names = [one.origin for _, one in made]
    assert names == [f"prototype {n} CSi" for n in ("rocksalt", "cesiumchloride", "wurtzite") for _ in (0, 1)], (
        "zincblende is the phase that is there"
    )


def test_the_phase_that_is_there_is_no_proposal_for_a_second_one() -> None:
    lack = Lack(use="phases", kind="phases", why="", found=0, needed=5)
    for crystal, own in ((bulk("Cu", cubic=True), "fcc"), (bulk("Si") * (2, 1, 1), "diamond"), (bulk("Mg"), "hcp")):
        (structure,) = structures_given([crystal])
        made = MAKE["phases"](structure, lack, Material(elements=("Cu",)), np.random.default_rng(0))
        names = {one.origin.split()[1] for _, one in made}
        assert names == {"fcc", "bcc", "sc", "hcp", "diamond"} - {own}
