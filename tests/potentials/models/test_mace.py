"""MACE: the conformance suite on small models with random weights, heads, precision, pickles, files and a short fit."""

from __future__ import annotations

import copy
import functools
import json
import os
import runpy
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111

pytest.importorskip("matgraft.potentials.models.mace.potential", reason='needs pip install "matgraft[mace]"')

from mace.modules import blocks

from matgraft.core.errors import DataError, ExtraError, OptionError, RunError
from matgraft.core.files import whole
from matgraft.core.provenance import file_hash
from matgraft.core.registry import save_folder
from matgraft.core.training.strategy import Full, LoRA
from matgraft.foundations import BACKBONES, load, load_folder
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import export, lammps, torch_sim, verify_export
from matgraft.potentials.models.mace.potential import MACEPotential
from matgraft.potentials.models.mace.rebuilding import build_mace
from matgraft.potentials.models.mace.releases import FOUNDATIONS, cached_file
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.published import MACE, published
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.testing import PotentialConformance, crystals

FORCED_UNPICKLING = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")  # after the adapter's import
ELEMENTS = {8: -3.1, 12: -1.2, 14: -5.4, 32: -4.5, 42: -10.9}
"""Atomic numbers -> reference energies, eV."""

ARCHITECTURE: dict[str, Any] = {
    "r_max": 4.0,
    "num_bessel": 6,
    "num_polynomial_cutoff": 5,
    "max_ell": 2,
    "interaction_cls": "RealAgnosticResidualInteractionBlock",
    "interaction_cls_first": "RealAgnosticInteractionBlock",
    "num_interactions": 2,
    "num_elements": len(ELEMENTS),
    "hidden_irreps": "8x0e+8x1o",
    "edge_irreps": None,
    "MLP_irreps": "6x0e",
    "gate": "silu",
    "readout_cls": "NonLinearReadoutBlock",
    "atomic_energies": [list(ELEMENTS.values())],
    "atomic_inter_scale": [20.0],
    "atomic_inter_shift": [0.3],
    "avg_num_neighbors": 0.5,
    "atomic_numbers": list(ELEMENTS),
    "correlation": 2,
    "radial_MLP": [16, 16],
    "heads": ["Default"],
    "dtype": "float32",
}
TWO_HEADS: dict[str, Any] = {
    "heads": ["pbe", "r2scan"],
    "atomic_energies": [list(ELEMENTS.values()), [2 * energy for energy in ELEMENTS.values()]],
    "atomic_inter_scale": [20.0, 15.0],
    "atomic_inter_shift": [0.3, -0.2],
}
# As the foundations since MP-0b: density normalisation, a transformed radius, repulsion of nuclei at short distance.
LIKE_MPA: dict[str, Any] = {
    "interaction_cls": "RealAgnosticDensityResidualInteractionBlock",
    "interaction_cls_first": "RealAgnosticDensityInteractionBlock",
    "distance_transform": "Agnesi",
    "pair_repulsion": True,
}


def vendor(**changes: Any) -> Any:
    """Return a small ScaleShiftMACE with seeded random weights."""
    return copy.deepcopy(_built(json.dumps(ARCHITECTURE | changes)))


@functools.cache
def _built(architecture: str) -> Any:
    """Build once: e3nn takes more than a second for it, a copy a tenth."""
    module = build_mace(json.loads(architecture))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def potential(head: str = "", **changes: Any) -> MACEPotential:
    return MACEPotential(vendor(**changes), head=head, name="small")


def pickled(module: Any, path: Path) -> str:
    """Write a model as mace-torch does and return the hash that says it is trusted."""
    torch.save(module, path)
    return file_hash(path)[:16]


def test_a_model_built_anew_is_compared_on_every_element() -> None:
    numbers = [*ELEMENTS, 13, 29, 30, 47, 79]
    energies = [-1.0 - 0.1 * Z for Z in numbers]
    theirs = vendor(atomic_numbers=numbers, atomic_energies=[energies], num_elements=len(numbers))
    ours = MACEPotential(copy.deepcopy(theirs), name="ten")
    assert ours._difference_to(theirs)[0] < 1e-10
    theirs.atomic_energies_fn.atomic_energies[0, -1] += 5.0
    assert ours._difference_to(theirs)[0] == pytest.approx(2.5, abs=1e-6)  # the last cell is half gold


class TestMACE(PotentialConformance):
    """Float32."""

    @classmethod
    def make(cls) -> Potential:
        return potential()


class TestMACEInFloat64(PotentialConformance):
    """Float64 stays float64: agreement far below what float32 resolves."""

    tolerance: ClassVar = {"energy": 1e-10, "forces": 1e-9, "stress": 1e-10}

    @classmethod
    def make(cls) -> Potential:
        return potential(dtype="float64", **LIKE_MPA)


class TestMACEOfTwoHeads(PotentialConformance):
    """The second of two heads."""

    @classmethod
    def make(cls) -> Potential:
        return potential("r2scan", **TWO_HEADS)


# ----------------------------------------------------------------------- parts


def test_the_models_of_these_tests_pull_as_hard_as_real_ones() -> None:
    for head, changes in (("", {}), ("", LIKE_MPA), ("r2scan", TWO_HEADS)):
        predicted = predict_samples(potential(head, **changes), [Sample(atoms, {}) for atoms in crystals()])
        assert all(0.1 < np.abs(one["forces"]).max() < 30 for one in predicted)
        assert all(0.01 < np.abs(one["stress"]).max() < 10 for one in predicted)


@pytest.mark.parametrize("changes", [{}, TWO_HEADS | LIKE_MPA], ids=["one head", "two heads, repulsion"])
def test_every_parameter_of_a_stage_can_learn(changes: dict[str, Any]) -> None:
    model = potential("r2scan" if "heads" in changes else "", **changes)
    names = {name: parameter for stage in model.stages() for name, parameter in stage.parameters().items()}
    assert set(names) == {name for name, _ in model.module.named_parameters()}
    batch = model.collate([model.encode(Sample(atoms, {})) for atoms in crystals()])
    predicted = model.forward(batch, ("energy", "forces", "stress"), create_graph=True)
    sum(value.square().sum() for value in predicted.values()).backward()  # type: ignore[union-attr]
    assert not [name for name, parameter in names.items() if parameter.grad is None or not parameter.grad.any()]


def test_stages_go_from_the_embedding_to_the_readouts() -> None:
    names = [stage.name for stage in potential().stages()]
    assert names == ["embedding", "interaction-1", "interaction-2", "readout"]
    assert BACKBONES["mace"].stages == ("embedding", "interaction-*", "readout")


def test_features_are_the_scalars_of_both_layers_and_the_repulsion() -> None:
    for changes, width in (({}, 16), (LIKE_MPA, 17)):
        model = potential(**changes)
        assert model.features(model.collate([model.encode(Sample(crystals()[0], {}))])).shape == (2, width)


def test_an_isolated_atom_has_its_reference_and_a_constant() -> None:
    atom = Atoms("Si", positions=[[0, 0, 0]])
    (alone,) = predict_samples(potential(), [Sample(atom, {})], ("energy", "forces"))
    assert np.isfinite(alone["energy"])
    np.testing.assert_array_equal(alone["forces"], 0)


def test_a_slab_is_left_as_it_is_and_equals_the_vendor(tmp_path: Path) -> None:
    slab = bulk("Si", "diamond", a=5.47, cubic=True)
    slab.rattle(0.1, seed=0)
    slab.center(vacuum=4.0, axis=2)
    slab.pbc = (True, True, False)
    before, model = slab.copy(), potential()
    (ours,) = predict_samples(model, [Sample(slab, {})])
    assert slab == before
    assert set(ours) == {"energy", "forces", "stress"}
    model.save(tmp_path / "mace.model")
    slab.calc = model.vendor_calculator(tmp_path / "mace.model")
    assert slab.get_potential_energy() == pytest.approx(float(ours["energy"]), abs=8e-5)
    np.testing.assert_allclose(ours["forces"], slab.get_forces(), atol=5e-5)


def test_an_unknown_element_is_named_with_its_frame() -> None:
    with pytest.raises(DataError, match=r"frames.xyz frame 7: small does not know Cu\nallowed: O, Mg, Si, Ge, Mo"):
        potential().encode(Sample(bulk("Cu"), {}, file="frames.xyz", index=7))


# ----------------------------------------------------------------------- heads


def test_a_head_is_chosen_and_never_fallen_back_to(tmp_path: Path) -> None:
    file = tmp_path / "two.model"
    trusted = f"mace:{file}@{pickled(vendor(**TWO_HEADS), file)}"
    with pytest.raises(OptionError, match=r"2 heads and none is chosen\nallowed: #pbe, #r2scan"):
        load(trusted)
    with pytest.raises(OptionError, match="did you mean 'r2scan'"):
        load(f"{trusted}#r2scam")
    with pytest.raises(OptionError, match=r"head of two.model 'Default' is unknown"):
        load(f"{trusted}#Default")
    energies = [_energies(load(f"{trusted}#{head}")) for head in ("pbe", "r2scan")]
    assert np.abs(energies[0] - energies[1]).min() > 1


def test_the_other_heads_stay_in_the_file(tmp_path: Path) -> None:
    model = potential("r2scan", **TWO_HEADS)
    before = _energies(potential("pbe", **TWO_HEADS))
    model.references.data += 1.0
    model.save(tmp_path / "mace.model")
    other = MACEPotential.from_file(tmp_path / "mace.pt", head="pbe")
    np.testing.assert_allclose(_energies(other), before, atol=1e-5)
    assert MACEPotential.from_file(tmp_path / "mace.pt").head_name == "r2scan"


def test_options_that_a_backbone_does_not_have_are_refused() -> None:
    with pytest.raises(OptionError, match="head is not read"):
        load("chgnet:0.3.0#pbe")


# --------------------------------------------------------------------- pickles


def test_a_pickle_is_opened_by_its_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "my.model"
    digits = pickled(vendor(), file)
    with pytest.raises(OptionError, match=f"is a pickle(.|\n)*mace:{file}@{digits}"):
        load(f"mace:{file}")
    with pytest.raises(OptionError, match="another file than the one trusted"):
        load(f"mace:{file}@{'0' * 16}")
    with pytest.raises(OptionError, match="too short"):
        load(f"mace:{file}@{digits[:8]}")
    model = load(f"mace:{file}@{digits.upper()}")
    np.testing.assert_array_equal(_energies(model), _energies(potential()))
    assert model.card.weights_sha256 == file_hash(file)


# Forces of float32 are 1e-5 from those of float64, the vendor's as ours.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-5), ("float64", 1e-11)])
def test_what_is_opened_equals_the_vendor_on_that_very_file(tmp_path: Path, dtype: str, tolerance: float) -> None:
    file = tmp_path / "foundation.model"
    digits = pickled(vendor(dtype=dtype, **TWO_HEADS, **LIKE_MPA), file)
    model = load(f"mace:{file}@{digits}#r2scan")
    assert isinstance(model, MACEPotential)
    calculator = model.vendor_calculator(file)
    for atoms, ours in zip(
        crystals(), predict_samples(model, [Sample(atoms, {}) for atoms in crystals()]), strict=True
    ):
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(float(ours["energy"]), abs=tolerance * len(atoms))
        np.testing.assert_allclose(ours["forces"], atoms.get_forces(), atol=tolerance)
        np.testing.assert_allclose(ours["stress"], atoms.get_stress(voigt=False), atol=tolerance)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return Path.touch, (str(tmp_path / "owned"),)

    file = tmp_path / "evil.model"
    torch.save({"model": Evil()}, file)
    for name in (f"mace:{file}", f"mace:{file}@{file_hash(file)[:16]}", f"mace:{file}#pbe"):
        with pytest.raises(DataError, match="this is a p"):
            load(name)
    save_folder(potential(), tmp_path / "model")
    with whole(tmp_path / "model" / "mace.model") as part:
        part.write_bytes(file.read_bytes())
    export(tmp_path / "model", "native", tmp_path / "out")  # a run folder's own pickle is not opened, but written anew
    with whole(tmp_path / "model" / "mace.pt") as part:
        part.write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="not what mace opens"):
        load(tmp_path / "model")
    assert not (tmp_path / "owned").exists()


def test_the_adapter_leaves_torch_load_as_it_was() -> None:
    """Importing mace makes a bare torch.load unpickle; importing the adapter does not."""
    assert FORCED_UNPICKLING is None


def test_a_mace_without_scale_and_shift_is_one_with_scale_one(tmp_path: Path) -> None:
    from mace.modules import MACE

    plain = vendor(atomic_inter_scale=[1.0], atomic_inter_shift=[0.0])
    scaled = _energies(MACEPotential(copy.deepcopy(plain), name="scaled"))
    del plain.scale_shift
    plain.__class__ = MACE
    file = tmp_path / "plain.model"
    np.testing.assert_allclose(_energies(load(f"mace:{file}@{pickled(plain, file)}")), scaled, atol=1e-5)


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "linear.model"
    with pytest.raises(DataError, match="holds a Linear of torch; not what mace opens"):
        load(f"mace:{file}@{pickled(torch.nn.Linear(2, 1), file)}")
    with pytest.raises(DataError, match="holds a LinearReadoutBlock\nallowed: MACE, ScaleShiftMACE"):
        load(f"mace:{file}@{pickled(vendor().readouts[0], file)}")


@pytest.mark.parametrize("name", ["mace.modules.blocks.NonLinearReadoutBloc2", "my_own_mace.blocks.Readout"])
def test_classes_of_another_version_are_named_before_a_hash_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A file of a newer mace-torch, or of one that its author changed, as such a one writes it."""
    package, _, renamed = name.rpartition(".")
    file = tmp_path / "newer.model"
    changed = type(renamed, (blocks.NonLinearReadoutBlock,), {"__module__": package})
    newer = vendor()
    newer.readouts[-1].__class__ = changed
    with monkeypatch.context() as there:
        if package not in sys.modules:
            there.setitem(sys.modules, "my_own_mace", types.ModuleType("my_own_mace"))
            there.setitem(sys.modules, package, types.ModuleType(package))
        there.setattr(sys.modules[package], renamed, changed, raising=False)
        digits = pickled(newer, file)
    for typed in (f"mace:{file}", f"mace:{file}@{digits}"):
        with pytest.raises(DataError, match=f"cannot open it: it needs {name}") as refused:
            load(typed)
        assert "weights_only" not in str(refused.value)


def test_references_of_all_electrons_do_not_hide_that_a_model_is_rebuilt_right(tmp_path: Path) -> None:
    """SPICE has bromine at -70,046 eV: the vendor's sum in float32 is off by a meV an atom, and the network is not."""
    energies = [[-16.343, -199.32, -1037.6, -70046.0, -8103.2]]
    file = tmp_path / "heavy.model"
    model = load(f"mace:{file}@{pickled(vendor(atomic_energies=energies), file)}")
    assert float(model.references[41]) == pytest.approx(-8103.2, abs=1e-3)
    theirs = vendor(atomic_energies=energies)
    ours = MACEPotential(copy.deepcopy(theirs), name="heavy")
    assert ours._difference_to(theirs)[0] < 1e-8
    theirs.scale_shift.shift += 0.0001
    difference, allowed = ours._difference_to(theirs)
    assert difference == pytest.approx(0.0001, abs=1e-6) and allowed < difference
    theirs = vendor(atomic_energies=energies)
    theirs.atomic_energies_fn.atomic_energies[0, 3] += 1.0
    assert ours._difference_to(theirs)[0] > 0.05


def test_how_far_a_model_built_anew_may_be_off_follows_its_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Molecular networks give cells of their elements 1e4 eV an atom, where two sums in float32 are meV apart."""
    steep, anew = vendor(), vendor()
    monkeypatch.setattr(
        "matgraft.potentials.models.mace.potential.build_mace", lambda _: anew
    )  # e3nn takes a second for it
    steep.scale_shift.scale *= 1e6
    file = tmp_path / "steep.model"
    load(f"mace:{file}@{pickled(steep, file)}")
    ours = MACEPotential(copy.deepcopy(steep), name="steep")
    assert 1e-5 < ours._difference_to(steep)[1] < 10
    assert potential()._difference_to(vendor())[1] == 1e-5


def test_a_network_that_is_built_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.model"
    trusted = f"mace:{file}@{pickled(vendor(), file)}"
    other = vendor()
    other.interactions[0].avg_num_neighbors *= 1.001
    monkeypatch.setattr("matgraft.potentials.models.mace.potential.build_mace", lambda _: other)
    with pytest.raises(DataError, match=r"differ by [\d.e+]+ meV/atom; numbers of float32 allow 0\.0"):
        load(trusted)


@pytest.mark.parametrize("name", ["ANI-CC", "GeSbTe", "SPICE"])
def test_files_of_earlier_years_open(shared: Path, name: str) -> None:
    file = shared / "models" / "mace" / f"{name}.model"
    model = load(f"mace:{file}@{file_hash(file)[:16]}")
    assert model.card.elements[:1] == {"GeSbTe": ("Ge",)}.get(name, ("H",))
    if name == "GeSbTe":
        atoms = ase.io.read(shared / "data" / "real" / "frames" / "GeSbTe.extxyz", 0)
        (found,) = predict_samples(model, [Sample(atoms, {})], ("energy", "forces"))
        assert abs(float(found["energy"]) - atoms.get_potential_energy()) / len(atoms) < 0.01
        assert np.sqrt(np.mean((found["forces"] - atoms.get_forces()) ** 2)) < 0.1


# ----------------------------------------------------------------------- names


def test_the_names_are_those_of_mace_torch() -> None:
    from mace.calculators.foundations_models import mace_mp_urls, mace_off_urls

    names = [*mace_mp_urls, *(f"off-{name}" for name in mace_off_urls)]
    assert set(BACKBONES["mace"].releases) == set(FOUNDATIONS) == set(names)
    assert BACKBONES["mace"].releases[0] == "medium-mpa-0"  # mace-torch's own default


def test_a_missing_foundation_says_from_where_and_where_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in BACKBONES["mace"].releases:
        with pytest.raises(DataError, match="nothing is fetched") as refused:
            load(f"mace:{name}")
        assert str(tmp_path / "mace") in refused.value.where
        assert "https://" in refused.value.remedy
        assert refused.value.commands == (("matgraft", "fetch", f"mace:{name}"),)


def test_addresses_and_places_are_those_of_mace_torch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from mace.calculators import foundations_models as vendor_has
    from mace.tools.utils import get_cache_dir

    of_vendor = {**vendor_has.mace_mp_urls, **{f"off-{name}": url for name, url in vendor_has.mace_off_urls.items()}}
    assert {name: address for name, (address, _) in MACE.items()} == of_vendor
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert published("mace:small").file.parent == get_cache_dir()


def test_the_published_file_needs_no_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, address = cached_file("small")
    file.parent.mkdir()
    pickled(vendor(), file)
    with pytest.raises(OptionError, match="is a pickle"):
        load("mace:small")
    monkeypatch.setitem(MACE, "small", (address, file_hash(file)))
    assert load("mace:small").card.name == "mace:small"


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ExtraError, match=r"command: pip install 'matgraft\[mace\]'"):
        load("mace:small")


@pytest.mark.parametrize("release", ["small", "off-medium"])
def test_a_cached_foundation_is_the_file_that_mace_torch_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str
) -> None:
    from mace.calculators import mace_mp, mace_off

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, _ = cached_file(release)
    file.parent.mkdir()
    digits = pickled(vendor(), file)
    with pytest.raises(OptionError, match=f"mace:{release}@{digits}"):
        load(f"mace:{release}")
    model = load(f"mace:{release}@{digits}")
    theirs = {"small": mace_mp, "off-medium": mace_off}[release](release.split("-")[-1], return_raw_model=True)
    np.testing.assert_array_equal(_energies(model), _energies(MACEPotential(theirs, name="theirs")))
    assert model.card.name == f"mace:{release}"
    assert model.card.licence.startswith("ASL" if release.startswith("off") else "MIT")


# ----------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_folder_round_trips_and_guards_its_weights(tmp_path: Path, dtype: str) -> None:
    model = potential("r2scan", dtype=dtype, **TWO_HEADS, **LIKE_MPA)
    with torch.no_grad():
        model.module.readouts[0].linear.weight.add_(0.01)
        model.references[13] += 0.1 - 7000.0
    save_folder(model, tmp_path / "model")
    again = load_folder(tmp_path / "model")
    assert again.card == model.card
    assert (again.card.dtype, again.card.name) == (dtype, "mace.pt#r2scan")
    assert isinstance(again, MACEPotential)
    for name, tensor in model.module.state_dict().items():
        if not name.startswith("atomic_energies_fn"):  # what is read is the buffer of references
            np.testing.assert_array_equal(tensor.numpy(), again.module.state_dict()[name].numpy(), err_msg=name)
    verify_export(again, tmp_path / "model")
    if dtype == "float32":
        potential().save(tmp_path / "model" / "mace.model")
        with pytest.raises(DataError, match="not the ones that the card describes"):
            load(tmp_path)


def test_the_vendors_file_comes_back_as_it_went(tmp_path: Path) -> None:
    """Foundation -> ours -> the vendor's file -> ours: head, references, scale and precision intact."""
    first = potential("pbe", dtype="float64", **TWO_HEADS)
    first.references.data[13] -= 2.5
    first.save(tmp_path / "mace.model")
    trusted = f"mace:{tmp_path / 'mace.model'}@{file_hash(tmp_path / 'mace.model')}"
    again = load(f"{trusted}#pbe")
    assert again.card.dtype == "float64"
    np.testing.assert_allclose(_energies(again), _energies(first), rtol=1e-13)


def test_the_vendors_file_comes_back_with_the_references_beside_it(tmp_path: Path) -> None:
    """float32 does not carry 515,000 eV: what `save` left out of the pickle is read from the file beside it."""
    first = potential()
    first.references.data[13] = -515000.123456789
    first.save(tmp_path / "mace.model")
    again = load(f"mace:{tmp_path / 'mace.model'}@{file_hash(tmp_path / 'mace.model')}")
    assert float(again.references[13]) == -515000.123456789
    np.testing.assert_allclose(_energies(again), _energies(first), atol=1e-5)


def test_an_exported_calculator_names_the_head(tmp_path: Path) -> None:
    save_folder(potential("r2scan", **TWO_HEADS), tmp_path / "model")
    exported = export(tmp_path / "model", "ase", tmp_path / "out")
    assert exported.verified and len(exported.checks) == 2
    assert exported.difference["energy"] < 1e-5
    names = {file.name for file in (tmp_path / "out").iterdir()} - {"manifest.txt"}
    assert names == {"mace.model", "mace.pt", "card.json", "reference_energies.json", "calculator.py", "README.md"}
    assert "head='r2scan'" in (tmp_path / "out" / "calculator.py").read_text()


def test_lammps_gets_torchscript_of_the_chosen_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated with ghosts, as pair_style mace does. Without an lmp the export says that LAMMPS did not run it."""
    monkeypatch.setattr("matgraft.potentials.exports.lammps.find_lmp", lambda: None)
    model = potential("r2scan", dtype="float64", **TWO_HEADS, **LIKE_MPA)
    model.references.data[13] -= 0.5
    by_torchscript, by_lammps = lammps.write_lammps(model, tmp_path, model.lammps_file())
    assert by_torchscript.difference is not None
    assert set(by_torchscript.difference) == {"energy", "forces", "stress"}
    assert max(by_torchscript.difference.values()) < 1e-10
    assert by_lammps.difference is None and "LAMMPS is not installed" in by_lammps.reason
    text = (tmp_path / "in.lammps").read_text()
    assert "pair_style      mace\npair_coeff      * * mace-lammps.pt O Mg Si Ge Mo " in text
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.lammps", "mace-lammps.pt", "structure.data"]


def test_without_torch_sim_its_model_is_written_and_not_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matgraft.potentials.exports.torch_sim.installed", lambda: False)
    model = potential("r2scan", **TWO_HEADS)
    (check,) = torch_sim.write_torch_sim(model, tmp_path, model.torch_sim_source())
    assert check.text == "not verified: model.py run by torch-sim: torch-sim-atomistic is not installed"
    source = (tmp_path / "model.py").read_text()
    compile(source, "model.py", "exec")
    assert 'graph["head"] = torch.full((len(graph["ptr"]) - 1,), 1,' in source


class StandIn(torch.nn.Module):
    """What torch-sim's MaceModel is to model.py: a module that returns float32 energies of several structures."""

    def __init__(self, module: Any, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.device, self.dtype = device, dtype

    def forward(self, state: Any) -> dict[str, torch.Tensor]:
        return {"energy": torch.tensor([-3.0, -4.5]), "forces": torch.zeros(len(state.atomic_numbers), 3)}


def test_torch_sims_model_adds_references_in_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each structure of a batch, on a stand-in for torch-sim."""
    monkeypatch.setattr("matgraft.potentials.exports.torch_sim.installed", lambda: False)
    model = potential()
    model.references.data[13] = -515000.123456789
    model.save(tmp_path / model.native_file)
    torch_sim.write_torch_sim(model, tmp_path, model.torch_sim_source())
    for name in ("torch_sim", "torch_sim.models", "torch_sim.models.mace"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules["torch_sim.models.mace"], "MaceModel", StandIn, raising=False)
    tuned = runpy.run_path(str(tmp_path / "model.py"))["model"](torch.device("cpu"))
    state = types.SimpleNamespace(atomic_numbers=torch.tensor([14, 14, 14]), system_idx=torch.tensor([0, 1, 1]))
    energy = tuned(state)["energy"]
    assert energy.dtype == torch.float64
    assert energy.tolist() == [-3.0 - 515000.123456789, -4.5 - 2 * 515000.123456789]


def test_torch_sim_runs_the_chosen_head(tmp_path: Path) -> None:
    pytest.importorskip("torch_sim", reason="needs pip install torch-sim-atomistic")
    save_folder(potential("r2scan", **TWO_HEADS), tmp_path / "model")
    exported = export(tmp_path / "model", "torch-sim", tmp_path / "out")
    assert exported.verified and exported.difference["energy"] < 1e-5


def test_a_wrong_row_of_the_embedding_is_found(tmp_path: Path) -> None:
    """In the native file, and in what LAMMPS opens: the row of germanium, the fourth element of the card."""
    model = potential()
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        wrong.module.node_embedding.linear.weight.view(len(ELEMENTS), -1)[3] += 1.0
    wrong.save(tmp_path / "mace.model")
    with pytest.raises(RunError, match="does not give the model's predictions"):
        verify_export(model, tmp_path)
    file = replace(model.lammps_file(), write=wrong.lammps_file().write)
    with pytest.raises(RunError, match="does not give the model's predictions"):
        lammps.write_lammps(model, tmp_path, file)


def test_an_export_says_what_the_vendors_calculator_does_with_a_slab(tmp_path: Path) -> None:
    model = potential(dtype="float64")
    save_folder(model, tmp_path / "model")
    exported = export(tmp_path / "model", "native", tmp_path / "out")
    assert [note for note in exported.notes if "another volume" in note and "more than 4 Å of vacuum" in note]
    slab = fcc111("Si", (1, 1, 3), a=4.6, vacuum=6.0)
    slab.rattle(0.1, seed=1)
    (ours,) = predict_samples(model, [Sample(slab, {})])
    slab.calc = model.vendor_calculator(tmp_path / "out" / "mace.model")
    np.testing.assert_allclose(slab.get_forces(), ours["forces"], atol=1e-9)
    assert np.abs(slab.get_stress(voigt=False) - ours["stress"]).max() > 0.1 * np.abs(ours["stress"]).max()
    slab.pbc = True
    np.testing.assert_allclose(slab.get_stress(voigt=False), ours["stress"], atol=1e-9)


# ------------------------------------------------------------------------- fit


@pytest.mark.parametrize(
    ("strategy", "dtype"),
    [
        ("full", "float32"),
        ("lora", "float32"),
        ("full", "float64"),
        ("feature", "float64"),
    ],
)
def test_a_short_fit_learns_and_comes_back(pairs: Dataset, tmp_path: Path, strategy: str, dtype: str) -> None:
    parent = potential("r2scan", dtype=dtype, **TWO_HEADS)
    before = _energies(parent)
    tuned = adapt(parent, pairs[:4], pairs[4:], strategy=strategy, epochs=4, rate=1e-2, batch=2, processes=1)
    history = [row["train_loss"] for row in tuned.fit.history[1:]]
    assert history[-1] < history[0]
    assert tuned.step_zero.max_energy_difference_eV_per_atom < 1e-5
    assert next(tuned.backbone.module.parameters()).dtype == getattr(torch, dtype)
    np.testing.assert_array_equal(_energies(parent), before)
    tuned.backbone.save(tmp_path / "mace.model")
    assert verify_export(tuned.backbone, tmp_path)["forces"] < 1e-4


def test_a_head_of_several_leaves_in_the_vendors_file(pairs: Dataset, tmp_path: Path) -> None:
    """The chosen head of a foundation with two of its own is where both new heads start; scale and shift are its."""
    parent = potential("r2scan", **TWO_HEADS, **LIKE_MPA)
    frames = Dataset(tuple(s.with_tags(head="ab"[i % 2]) for i, s in enumerate(pairs)))
    tuned = adapt(parent, frames, frames, strategy="multihead", epochs=2, rate=1e-2, batch=3, processes=1)
    assert tuned.step_zero.max_energy_difference_eV_per_atom < 1e-5
    many = tuned.backbone
    assert isinstance(many, MultiHeadPotential)
    together = predict_samples(many, frames.samples)
    for head in many.names:
        plain = many.at(head)
        plain.save(tmp_path / "mace.model")
        assert verify_export(plain, tmp_path)["forces"] < 1e-4
        again = MACEPotential.from_file(tmp_path / "mace.pt")
        assert again.head_name == "r2scan"
        mine = [i for i, sample in enumerate(frames) if sample.tags["head"] == head]
        for i, theirs in zip(mine, predict_samples(again, frames[mine].samples), strict=True):
            assert float(theirs["energy"]) == pytest.approx(float(together[i]["energy"]), abs=2e-5)
            np.testing.assert_allclose(theirs["forces"], together[i]["forces"], atol=5e-5)
    weights = [dict(readout.named_parameters()) for readout in many.module["readouts"]]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def _energies(model: Any) -> np.ndarray:
    return np.array(
        [float(one["energy"]) for one in predict_samples(model, [Sample(atoms, {}) for atoms in crystals()])]
    )


# ------------------------------------------------------------------------ lora


@pytest.mark.parametrize("changes", [{}, {"interaction_cls": "RealAgnosticInteractionBlock"} | LIKE_MPA | TWO_HEADS])
def test_linear_layers_are_those_of_e3nn_and_torch(changes: dict[str, Any]) -> None:
    """Products with the elements and the contraction are no linear layers of the features alone."""
    model = potential("r2scan" if "heads" in changes else "", **changes)
    named = {name for group in LoRA().learning(model) for name in group.parameters}
    rest = {name for stage in model.stages() for name in stage.parameters()} - named
    assert {"linear_up", "linear", "conv_tp_weights", "linear_1", "linear_2"} <= {
        part for n in named for part in n.split(".")
    }
    assert all("contractions" in name or "skip_tp" in name or name.endswith("bias") for name in rest)


def test_an_equivariant_layer_is_updated_path_by_path() -> None:
    """Against e3nn's own view of the weight: 8x0e -> 8x0e and 8x1o -> 8x1o are two matrices."""
    model = potential()
    layer = model.module.products[0].linear
    before = [view.detach().clone() for view in layer.weight_views()]
    assert model.matrices(layer) == [tuple(view.shape) for view in before] == [(8, 8), (8, 8)]
    groups = LoRA(["products.0.linear.weight"], rank=2).prepare(model)
    with torch.no_grad():
        for parameter in groups[0].parameters.values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2))
    LoRA().finish(model)
    for view, old in zip(layer.weight_views(), before, strict=True):
        assert torch.linalg.matrix_rank(view.detach() - old, atol=1e-4) == 2


def test_the_optimizer_is_told_the_matrices_of_equivariant_layers() -> None:
    groups = Full().prepare(potential())
    shapes = {name: own for group in groups for name, own in group.matrices.items()}
    parameters = {name: own for group in groups for name, own in group.parameters.items()}
    assert shapes["products.0.linear.weight"] == [(8, 8), (8, 8)]
    for name, own in shapes.items():
        assert sum(rows * columns for rows, columns in own) == parameters[name].numel(), name


class TestMACETunedByLoRA(PotentialConformance):
    """A tuned model is as equivariant as its foundation, and the vendor opens it."""

    tolerance: ClassVar = {"energy": 1e-10, "forces": 1e-9, "stress": 1e-10}

    @classmethod
    def make(cls) -> Potential:
        model = potential(dtype="float64")
        random = torch.Generator().manual_seed(3)
        for group in LoRA(rank=2, alpha=2.0).prepare(model):
            for parameter in group.parameters.values():
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        finished = LoRA().finish(model)
        assert isinstance(finished, Potential)
        return finished
