"""CHGNet: the conformance suite, and its own files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from matgraft.core.errors import DataError, OptionError
from matgraft.core.registry import save_folder
from matgraft.foundations import load, load_folder
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.models.chgnet import CHGNetPotential
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.references import read_added_references
from matgraft.testing import PotentialConformance, crystals


class TestCHGNet(PotentialConformance):
    """The latest shipped weights."""

    @classmethod
    def make(cls) -> Potential:
        """Load 0.3.0."""
        return CHGNetPotential.shipped("0.3.0")


class TestCHGNetR2SCAN(PotentialConformance):
    """Weights of another level of theory, trained with another package version."""

    @classmethod
    def make(cls) -> Potential:
        """Load r2scan."""
        return CHGNetPotential.shipped("r2scan")


def test_the_first_release_is_the_vendors(tmp_path: Path) -> None:
    """0.2.0 has no norms and biased output layers: the bias reaches every bond of a frame with an angle, no others."""
    from chgnet.model import CHGNet, CHGNetCalculator

    potential = load("chgnet:0.2.0")
    assert isinstance(potential, CHGNetPotential)
    potential.save(tmp_path / "chgnet.pth.tar")
    assert CHGNetPotential.from_file(tmp_path / "chgnet.pth.tar").card.n_parameters == potential.card.n_parameters
    vendor = CHGNet.load(model_name="0.2.0", use_device="cpu", verbose=False)
    pair = Atoms("NaCl", positions=[[0, 0, 0], [0, 0, 2.6]], cell=[20, 20, 20], pbc=True)  # no angle
    frames = [*crystals(), pair]
    for calculator in (
        CHGNetCalculator(vendor, use_device="cpu"),
        potential.vendor_calculator(tmp_path / "chgnet.pth.tar"),
    ):
        for atoms, ours in zip(frames, predict_samples(potential, [Sample(one, {}) for one in frames]), strict=True):
            atoms.calc = calculator
            assert float(ours["energy"]) == pytest.approx(atoms.get_potential_energy(), abs=1e-5 * len(atoms))
            np.testing.assert_allclose(ours["forces"], atoms.get_forces(), atol=1e-4)
            np.testing.assert_allclose(ours["stress"], atoms.get_stress(voigt=False), atol=1e-5)
    names = {id(p) for stage in potential.stages() for p in stage.parameters().values()}
    assert {id(p) for p in potential.head.parameters()} <= names


def test_arguments_that_chgnet_does_not_know_are_a_deliberate_error(tmp_path: Path) -> None:
    potential = CHGNetPotential.shipped()
    potential.save(tmp_path / "a.pth.tar")
    content = torch.load(tmp_path / "a.pth.tar", weights_only=True)
    for wrong in ({"n_conv": 3}, {"non_linearity": "newer"}):
        content["model"]["model_args"] |= wrong
        torch.save(content, tmp_path / "a.pth.tar")
        with pytest.raises(DataError, match="cannot build it"):
            load(f"chgnet:{tmp_path / 'a.pth.tar'}")


def test_what_the_converter_cannot_take_is_an_error_of_the_frame_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chgnet.graph.graph import Graph

    def fail(*_: object, **__: object) -> None:
        raise ValueError("bonds without a partner")

    monkeypatch.setattr(Graph, "line_graph_adjacency_list", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="bonds without a partner"):
        load("chgnet").encode(Sample(bulk("Si"), {}, file="frames.xyz", index=7))
    assert list(tmp_path.iterdir()) == []


def test_an_isolated_atom_is_named_with_its_frame() -> None:
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 9.0]], cell=[20, 20, 20], pbc=True)
    with pytest.raises(DataError, match=r"frames.xyz frame 7: atom 0 has no neighbour within 6 Å"):
        load("chgnet").encode(Sample(atoms, {}, file="frames.xyz", index=7))


def test_atoms_beyond_plutonium_are_refused() -> None:
    atoms = bulk("Si", "diamond", a=5.4)
    atoms.numbers[0] = 95
    with pytest.raises(DataError, match=r"atomic numbers \[95\] are unknown"):
        load("chgnet").encode(Sample(atoms, {}))


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(OptionError, match="did you mean 'chgnet'"):
        load("chgnett")
    with pytest.raises(OptionError, match=r"allowed: chgnet:0.3.0, chgnet:r2scan, chgnet:0.2.0"):
        load("chgnet:0.4")


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "owned"),)

    file = tmp_path / "model.pth.tar"
    torch.save({"model": Evil()}, file)
    with pytest.raises(DataError, match="not what chgnet opens"):
        load(f"chgnet:{file}")
    assert not (tmp_path / "owned").exists()
    assert pickle.dumps(1)  # the file above was a real one: torch.save pickles


def test_another_architecture_is_refused() -> None:
    from chgnet.model import CHGNet

    with pytest.raises(OptionError, match="mlp_first=False"):
        CHGNetPotential(CHGNet(mlp_first=False), name="other")


def test_a_model_folder_round_trips_and_guards_its_weights(tmp_path: Path) -> None:
    potential = CHGNetPotential.shipped()
    with torch.no_grad():
        potential.head.layers[0].weight.add_(0.01)  # type: ignore[union-attr, operator, index]
    save_folder(potential, tmp_path / "model")
    again = load_folder(tmp_path / "model")
    assert again.card == potential.card
    for name, tensor in potential.module.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), again.module.state_dict()[name].numpy(), err_msg=name)
    CHGNetPotential.shipped().save(tmp_path / "model" / "chgnet.pth.tar")
    with pytest.raises(DataError, match="not the ones that the card describes"):
        load(tmp_path)


def test_references_keep_float64_in_the_file(tmp_path: Path) -> None:
    """The vendor's loader sees what float32 carries, the rest lies beside it; files of older versions open too."""
    from chgnet.model import CHGNet

    potential = CHGNetPotential.shipped()
    potential.references[13] = -57164.123456789
    save_folder(potential, tmp_path / "model")
    again = load_folder(tmp_path / "model")
    assert isinstance(again, CHGNetPotential)
    assert again.references.dtype == torch.float64
    assert float(again.references[13]) == -57164.123456789
    file = tmp_path / "model" / "chgnet.pth.tar"
    carried = CHGNet.from_file(str(file)).composition_model.fc.weight[0]
    assert float(carried[13]) == 0 and float(carried[31]) == float(potential.references[31])
    assert read_added_references(tmp_path / "model") == {"Si": -57164.123456789}
    content = torch.load(file, weights_only=True)
    del content["references"]  # older versions had them in the vendor's place, the oldest in float32
    table = content["model"]["state_dict"]["composition_model.fc.weight"]
    for dtype, expected in ((torch.float64, -57164.123456789), (torch.float32, float(np.float32(-57164.123456789)))):
        table[0, 13] = -57164.123456789
        content["model"]["state_dict"]["composition_model.fc.weight"] = table.to(dtype)
        torch.save(content, tmp_path / "older.pth.tar")
        older = CHGNetPotential.from_file(tmp_path / "older.pth.tar")
        assert older.references.dtype == torch.float64
        assert float(older.references[13]) == expected


def test_every_parameter_of_a_stage_can_learn() -> None:
    """No stage names a parameter that a loss on energies, forces and stresses cannot reach."""
    potential = CHGNetPotential.shipped()
    names = {name: parameter for stage in potential.stages() for name, parameter in stage.parameters().items()}
    batch = potential.collate([potential.encode(Sample(atoms, {})) for atoms in crystals()])
    predicted = potential.forward(batch, ("energy", "forces", "stress"), create_graph=True)
    sum(value.square().sum() for value in predicted.values()).backward()  # type: ignore[union-attr]
    assert not [name for name, parameter in names.items() if parameter.grad is None or not parameter.grad.any()]
