"""MatGL: the conformance suite on small models made here and on two published ones, its files, and adaptation."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111
from ase.neighborlist import neighbor_list

if importlib.util.find_spec("matgl") is None:
    pytest.skip('needs pip install "matgraft[matgl]"', allow_module_level=True)

from matgraft.core.errors import DataError, ExtraError, MatgraftError, OptionError, RunError
from matgraft.core.registry import save_folder
from matgraft.foundations import load, load_folder
from matgraft.potentials.data.dataset import Dataset
from matgraft.potentials.data.sample import Sample
from matgraft.potentials.exports import export, lammps, verify_export
from matgraft.potentials.exports.comparison import distorted_cell
from matgraft.potentials.models import matgl as adapter
from matgraft.potentials.models.bonds import find_bonds
from matgraft.potentials.models.matgl import MatGLPotential
from matgraft.potentials.models.potential import Potential
from matgraft.potentials.models.predict import predict_samples
from matgraft.potentials.models.references import read_added_references
from matgraft.potentials.tuning import adapt as adapting
from matgraft.potentials.tuning.adapt import adapt
from matgraft.potentials.tuning.heads import MultiHeadPotential
from matgraft.testing import PotentialConformance, crystals

MODELS = Path(__file__).resolve().parents[4] / "shared" / "models"
ELEMENTS = ("Si", "O", "Mo", "Ge", "Mg")  # not in the order of atomic numbers: references and species must not mix
SMALL: dict[str, dict[str, Any]] = {
    "TensorNet": {"units": 12, "nblocks": 2, "rbf_type": "SphericalBessel", "use_smooth": True},
    "M3GNet": {"units": 12, "nblocks": 2, "dim_node_embedding": 10, "dim_edge_embedding": 8, "use_smooth": True},
    "SO3Net": {"units": 8, "nblocks": 2, "dim_node_embedding": 8, "nmax": 4, "lmax": 2},
    "CHGNet": {
        "num_blocks": 3,
        "dim_atom_embedding": 12,
        "dim_bond_embedding": 10,
        "dim_angle_embedding": 8,
        "atom_conv_hidden_dims": (12,),
        "bond_conv_hidden_dims": (10,),
        "final_hidden_dims": (12,),
    },
}


def make_module(kind: str, *, std: float = 2.5, refs: bool = True, seed: int = 0, **arguments: Any) -> Any:
    """Return a vendor's potential with random weights and references."""
    torch.manual_seed(seed)
    # The published cutoff, 5 Å: sympy derives the vendor's basis for each cutoff anew, in seconds.
    extensive = {"is_intensive": False, "element_types": ELEMENTS, "cutoff": 5.0}
    network = adapter._CLASSES[kind](**{**extensive, **SMALL[kind], **arguments})
    energies = torch.tensor([-3.0, -1.5, 0.5, -2.0, -4.0]) if refs else None
    return adapter.VendorPotential(network, data_std=torch.tensor(std), element_refs=energies)


def make_potential(kind: str, **options: Any) -> MatGLPotential:
    return MatGLPotential(make_module(kind, **options), name=f"small {kind}")


def published(name: str) -> MatGLPotential:
    if not (MODELS / name).is_dir():
        pytest.skip("needs ../shared/models, which lies beside the project's own checkout only")
    return MatGLPotential.from_file(MODELS / name)


# Forces to 1e-5 too, ten times closer than the suite asks: bonds are measured in float64.
CLOSE = {"energy": 1e-5, "forces": 1e-5, "stress": 1e-5}
# The published widths sum 128 channels of squares in float32: two orientations of a crystal differ by 1.1e-5 eV/Å.
PUBLISHED = CLOSE | {"forces": 2e-5}


class TestTensorNet(PotentialConformance):
    """Two interactions, random weights."""

    tolerance = CLOSE

    @classmethod
    def make(cls) -> Potential:
        return make_potential("TensorNet")


class TestM3GNet(PotentialConformance):
    """Two blocks, random weights."""

    tolerance = CLOSE

    @classmethod
    def make(cls) -> Potential:
        return make_potential("M3GNet")


class TestCHGNet(PotentialConformance):
    """Three blocks, random weights."""

    tolerance = CLOSE

    @classmethod
    def make(cls) -> Potential:
        return make_potential("CHGNet")


class TestTensorNetMatPES(PotentialConformance):
    """Published weights."""

    tolerance = PUBLISHED

    @classmethod
    def make(cls) -> Potential:
        return published("TensorNet-MatPES-PBE-v2025.1-PES")


class TestM3GNetMatPES(PotentialConformance):
    """Published weights."""

    tolerance = PUBLISHED

    @classmethod
    def make(cls) -> Potential:
        return published("M3GNet-MatPES-PBE-v2025.1-PES")


# -------------------------------------------------------------------- networks


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("TensorNet", {}),
        ("TensorNet", {"equivariance_invariance_group": "SO(3)", "rbf_type": "Gaussian", "num_rbf": 6}),
        ("TensorNet", {"rbf_type": "ExpNorm", "num_rbf": 6, "activation_type": "tanh", "nblocks": 1}),
        ("M3GNet", {}),
        ("M3GNet", {"max_l": 4, "use_smooth": False}),
        ("M3GNet", {"max_l": 1, "threebody_cutoff": 3.0}),
        ("SO3Net", {}),
        ("SO3Net", {"lmax": 1, "rbf_learnable": True, "nblocks": 1}),
        ("CHGNet", {}),
        ("CHGNet", {"bond_update_hidden_dims": (6,), "normalization": "layer", "final_mlp_type": "gated"}),
        ("CHGNet", {"shared_bond_weights": None, "angle_update_hidden_dims": None}),
        ("CHGNet", {"threebody_cutoff": 0.0}),
    ],
)
def test_a_network_is_the_vendors_in_float64(kind: str, arguments: dict[str, Any]) -> None:
    """Without rounding the leaner evaluation and its gradient are the vendor's, whatever the options."""
    potential = make_potential(kind, **arguments)
    potential.module.double()
    for atoms in crystals():
        batch = potential.collate([potential.encode(Sample(atoms, {}))])
        batch = potential.differentiable(batch, ("forces",))
        ours = potential.head(potential.features(batch)).sum()
        graph = _vendor_graph(atoms, potential)
        theirs = potential.module.model(graph).sum() * potential.module.data_std  # type: ignore[operator, union-attr]
        assert float(ours.detach()) == pytest.approx(float(theirs.detach()), abs=1e-9)
        slopes = [torch.autograd.grad(energy, x)[0] for energy, x in ((ours, batch["positions"]), (theirs, graph.pos))]
        np.testing.assert_allclose(slopes[0].numpy(), slopes[1].numpy(), atol=1e-9)


def _vendor_graph(atoms: Atoms, potential: MatGLPotential) -> SimpleNamespace:
    centre, neighbour, images = find_bonds(atoms, float(potential.card.cutoff_A or 0))
    return SimpleNamespace(
        node_type=torch.tensor([ELEMENTS.index(symbol) for symbol in atoms.symbols]),
        pos=torch.tensor(atoms.positions, requires_grad=True),
        edge_index=torch.tensor(np.stack([centre, neighbour])),
        pbc_offset=torch.tensor(images),
        pbc_offshift=torch.tensor(images @ atoms.cell[:]),
    )


@pytest.mark.parametrize("kind", SMALL)
def test_every_parameter_of_a_stage_can_learn(kind: str) -> None:
    """No stage names a parameter that a loss on energies, forces and stresses cannot reach, and none is left out."""
    potential = make_potential(kind)
    names = {name: parameter for stage in potential.stages() for name, parameter in stage.parameters().items()}
    batch = potential.collate([potential.encode(Sample(atoms, {})) for atoms in crystals()])
    predicted = potential.forward(batch, ("energy", "forces", "stress"), create_graph=True)
    sum(value.square().sum() for value in predicted.values()).backward()  # type: ignore[union-attr]
    reached = {name for name, p in potential.module.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == set(names)


@pytest.mark.parametrize("kind", SMALL)
def test_an_isolated_atom_has_an_energy_and_no_force(kind: str) -> None:
    potential = make_potential(kind)
    alone = Sample(Atoms("Si"), {})
    pair = Sample(Atoms("Si2", positions=[[0, 0, 0], [0, 0, 20]], cell=[9, 9, 40], pbc=True), {})
    one, two = predict_samples(potential, [alone, pair], ("energy", "forces"))
    np.testing.assert_allclose(two["energy"], 2 * one["energy"], atol=1e-6)
    assert not one["forces"].any()
    assert not two["forces"].any()


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_bonds_in_any_periodicity(pbc: tuple[bool, bool, bool]) -> None:
    """Bonds are those of ASE, of atoms outside the cell too."""
    rng = np.random.default_rng(0)
    cell = 4 * np.eye(3) + 0.8 * rng.standard_normal((3, 3))
    atoms = Atoms("Si6", positions=rng.uniform(-9, 14, (6, 3)), cell=cell, pbc=pbc)
    i, j, S = neighbor_list("ijS", atoms, 5.0)
    centre, neighbour, images = find_bonds(atoms, 5.0)
    assert sorted(zip(centre, neighbour, *images.T, strict=True)) == sorted(zip(i, j, *S.T, strict=True))


def test_unknown_elements_are_refused() -> None:
    with pytest.raises(DataError, match=r"frames.xyz frame 3: small M3GNet does not know Al, Fe"):
        make_potential("M3GNet").encode(Sample(Atoms("AlFe", [[0, 0, 0], [0, 0, 2.5]]), {}, file="frames.xyz", index=3))


# ----------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_folder_round_trips(kind: str, tmp_path: Path) -> None:
    """Weights, references, scale and precision come back, here and in the vendor's loader."""
    potential = make_potential(kind)
    potential.references[13] += 0.25
    with torch.no_grad():
        next(potential.head.parameters()).add_(0.01)
    save_folder(potential, tmp_path / "model")
    again = load_folder(tmp_path / "model")
    assert again.card == potential.card
    vendors = adapter.vendor_io.load_model(tmp_path / "model" / "matgl")
    assert torch.equal(again.references, potential.references)
    for name, tensor in potential.module.state_dict().items():
        for other in (again.module, vendors):
            assert other.state_dict()[name].dtype == tensor.dtype
            if name != "element_refs.property_offset":  # the vendor's place for what `references` holds
                np.testing.assert_array_equal(tensor.numpy(), other.state_dict()[name].numpy(), err_msg=name)
    assert vendors.element_refs.property_offset.tolist() == [-2.75, -1.5, 0.5, -2.0, -4.0]
    assert float(vendors.data_std) == 2.5
    assert sorted(path.name for path in (tmp_path / "model" / "matgl").iterdir()) == sorted(adapter.FILES)


def test_references_keep_float64_in_the_file(tmp_path: Path) -> None:
    """The vendor's loader sees what float32 carries, the rest lies beside it; files of older versions open too."""
    potential = make_potential("TensorNet")
    own = potential.module.element_refs.property_offset.tolist()[1:]  # type: ignore[union-attr, operator]
    potential.references[13] = -57164.123456789
    potential.save(tmp_path / "matgl")
    again = MatGLPotential.from_file(tmp_path / "matgl")
    assert again.references.dtype == torch.float64
    assert float(again.references[13]) == -57164.123456789
    vendors = adapter.vendor_io.load_model(tmp_path / "matgl")
    assert vendors.element_refs.property_offset.tolist() == [0, *own]
    assert read_added_references(tmp_path)["Si"] == -57164.123456789
    header = json.loads((tmp_path / "matgl" / "model.json").read_text())
    (tmp_path / "matgl" / "model.json").write_text(json.dumps(header | {"metadata": None}))
    state = torch.load(tmp_path / "matgl" / "state.pt", weights_only=True)
    for dtype, expected in ((torch.float64, -57164.123456789), (torch.float32, float(np.float32(-57164.123456789)))):
        older = torch.tensor([-57164.123456789, *own], dtype=torch.float64).to(dtype)
        torch.save(state | {"element_refs.property_offset": older}, tmp_path / "matgl" / "state.pt")
        assert float(MatGLPotential.from_file(tmp_path / "matgl").references[13]) == expected


def test_float64_is_kept(tmp_path: Path) -> None:
    module = make_module("TensorNet", refs=False).double()
    potential = MatGLPotential(module, name="double")
    potential.save(tmp_path / "matgl")
    again = MatGLPotential.from_file(tmp_path / "matgl")
    assert again.card.dtype == "float64"
    ours, theirs = (predict_samples(model, [Sample(crystals()[2], {})])[0] for model in (potential, again))
    np.testing.assert_array_equal(ours["forces"], theirs["forces"])


def test_changed_weights_are_noticed(tmp_path: Path) -> None:
    save_folder(make_potential("M3GNet"), tmp_path)
    make_potential("M3GNet", seed=1).save(tmp_path / "matgl")
    with pytest.raises(DataError, match="not the ones that the card describes"):
        load(tmp_path)


def test_a_folder_whose_references_numpy_1_wrote_opens(tmp_path: Path) -> None:
    """MatGL 4 does not read it itself. What matgraft saves of it, it does."""
    potential = make_potential("TensorNet")
    potential.save(tmp_path)
    arguments = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save(arguments | {"element_refs": arguments["element_refs"].double().numpy()}, tmp_path / "new.pt")
    with zipfile.ZipFile(tmp_path / "new.pt") as new, zipfile.ZipFile(tmp_path / "model.pt", "w") as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in (tmp_path / "model.pt").read_bytes()
    again = load(f"matgl:{tmp_path}")
    assert isinstance(again, MatGLPotential)
    torch.testing.assert_close(again.references, potential.references, rtol=0, atol=0)
    again.save(tmp_path / "saved")
    assert again.vendor_calculator(tmp_path / "saved").potential.element_refs.property_offset.shape == (5,)


def test_references_appear_where_the_vendor_had_none(tmp_path: Path) -> None:
    potential = make_potential("TensorNet", refs=False)
    potential.references[7] = 3.0
    potential.save(tmp_path / "matgl")
    vendors = adapter.vendor_io.load_model(tmp_path / "matgl")
    assert vendors.element_refs.property_offset.tolist() == [0, 3, 0, 0, 0]


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (str(self.target),)


@pytest.mark.parametrize("name", ["model.pt", "state.pt"])
def test_a_pickle_is_not_opened(tmp_path: Path, name: str) -> None:
    make_potential("TensorNet").save(tmp_path / "matgl")
    content = torch.load(tmp_path / "matgl" / name, weights_only=True)
    torch.save({**content, "more": Evil(tmp_path / "owned")}, tmp_path / "matgl" / name)
    with pytest.raises(DataError, match="does not unpickle"):
        load(f"matgl:{tmp_path / 'matgl'}")
    assert not (tmp_path / "owned").exists()


def test_no_name_in_a_file_is_imported(tmp_path: Path) -> None:
    make_potential("TensorNet").save(tmp_path)
    arguments = torch.load(tmp_path / "model.pt", weights_only=True)
    arguments["model"] |= {"@module": "subprocess", "@class": "Popen", "init_args": {"args": ["true"]}}
    torch.save(arguments, tmp_path / "model.pt")
    with pytest.raises(DataError, match="holds a Potential of Popen"):
        MatGLPotential.from_file(tmp_path)


@pytest.mark.parametrize(
    ("name", "reason"), [("QET", "charges are those of the whole frame"), ("MEGNet", "a property")]
)
def test_a_network_that_is_no_sum_over_atoms_says_why_it_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    make_potential("TensorNet").save(tmp_path)
    arguments = torch.load(tmp_path / "model.pt", weights_only=True)
    arguments["model"]["@class"] = name
    torch.save(arguments, tmp_path / "model.pt")
    with pytest.raises(DataError, match=f"holds a Potential of {name}, not a potential that can be tuned: .*{reason}"):
        load(f"matgl:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", None, r"model.json missing"),
        ("model.json", "{", "not readable as JSON"),
        ("model.json", "[1]", "not a potential"),
        ("model.json", json.dumps({"@class": "MEGNet"}), "holds a MEGNet of TensorNet"),
    ],
)
def test_damaged_folders(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    make_potential("TensorNet").save(tmp_path)
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        MatGLPotential.from_file(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    make_potential("TensorNet").save(tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    for wrong in (state | {"model.extra": torch.zeros(1)}, {k: v for k, v in state.items() if k != "data_std"}):
        torch.save(wrong, tmp_path / "state.pt")
        with pytest.raises(DataError, match="weights do not fit"):
            MatGLPotential.from_file(tmp_path)
    make_potential("TensorNet", units=8).save(tmp_path / "other")
    (tmp_path / "other" / "state.pt").replace(tmp_path / "state.pt")
    with pytest.raises(DataError, match="weights do not fit"):
        MatGLPotential.from_file(tmp_path)


@pytest.mark.parametrize(
    ("kind", "arguments", "named"),
    [
        ("TensorNet", {"is_intensive": True}, "is_intensive=True"),
        ("M3GNet", {"use_phi": True}, "use_phi=True"),
        ("SO3Net", {"is_intensive": True}, "is_intensive=True"),
        ("M3GNet", {"activation_type": "softexp"}, "activation_type=softexp"),
        ("CHGNet", {"pooling_operation": "mean"}, "pooling_operation=mean"),
    ],
)
def test_what_is_no_sum_over_atoms_is_refused(kind: str, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        make_potential(kind, **arguments)


def test_an_energy_a_frame_is_refused() -> None:
    module = make_module("TensorNet")
    module.data_mean.fill_(1.5)
    with pytest.raises(OptionError, match=r"data_mean=1\.5"):
        MatGLPotential(module, name="shifted")


# ----------------------------------------------------------------------- names


def test_a_name_without_a_network_says_from_where(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def offline(repository: str) -> dict[str, Path]:
        asked.append(repository)
        raise ConnectionError

    monkeypatch.setattr(adapter.vendor_io, "_download_from_hf_hub", offline)
    with pytest.raises(
        DataError, match=r"materialyze/TensorNet-PES-MatPES-PBE-2025\.2: neither in MatGL's cache"
    ) as error:
        load("matgl")
    assert "matgl:FOLDER" in error.value.remedy
    assert asked == ["materialyze/TensorNet-PES-MatPES-PBE-2025.2"]
    with pytest.raises(OptionError, match="neither a release nor a file"):
        load("matgl:no/such/folder")
    assert len(asked) == 1  # a path is never taken for a name


def test_a_name_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_potential("M3GNet").save(tmp_path)
    files = {name: tmp_path / name for name in adapter.FILES}
    monkeypatch.setattr(adapter.vendor_io, "_download_from_hf_hub", lambda repository: files)
    card = load("matgl:Mine").card
    assert card.name == "matgl:Mine"
    assert card.weights_from == "Hugging Face Hub, materialyze/Mine"


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matgl" else find(name))
    with pytest.raises(ExtraError, match=r"command: pip install 'matgraft\[matgl\]'"):
        load("matgl")


def test_a_python_without_a_wheel_is_told_with_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "chgnet" else find(name))
    with pytest.raises(ExtraError, match=r"remedy: installed here: .*matgl"):
        load("chgnet")
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    with pytest.raises(ExtraError, match=r"no wheel above Python 3\.12, and this is 3\.13: .*; installed"):
        load("chgnet")


def test_published_weights_are_known_by_their_hash() -> None:
    card = published("TensorNet-MatPES-PBE-v2025.1-PES").card
    assert card.name == "matgl:TensorNet-MatPES-PBE-v2025.1-PES"
    assert card.theory.functional == "PBE"
    assert card.weights_from.endswith("(written for version 1 of TensorNet, evaluated as version 2)")


# ------------------------------------------------------------------ adaptation


@pytest.mark.parametrize(
    ("kind", "strategy"),
    [
        *(("TensorNet", strategy) for strategy in ("full", "feature", "lora")),
        *((kind, strategy) for kind in ("M3GNet", "CHGNet") for strategy in ("feature",)),
    ],
)
def test_adaptation(kind: str, strategy: str, pairs: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lowers the error on its own frames, leaves the parent alone, and gives a file that the vendor opens."""
    # The trained weights, also where the start is better: the estimates along few directions are rough.
    fit = adapting.fit
    monkeypatch.setattr(adapting, "fit", lambda *given, **options: fit(*given, **{**options, "keep": "best"}))
    parent = make_potential(kind)
    before = copy.deepcopy(parent.module.state_dict())
    result = adapt(parent, pairs[:4], pairs[:4], strategy=strategy, epochs=12, rate=2e-3, processes=1)
    assert all((before[name] == tensor).all() for name, tensor in parent.module.state_dict().items())
    assert result.step_zero.max_energy_difference_eV_per_atom < 1e-5
    losses = [row["train_loss"] for row in result.fit.history[1:]]
    assert losses[-1] < losses[0]
    after = result.backbone.module.state_dict()
    stages = result.backbone.stages()
    changed = [s.name for s in stages if not all((before[name] == after[name]).all() for name in s.parameters())]
    assert changed == [s.name for s in stages][{"partial": -2, "feature": -1}.get(strategy, 0) :]
    save_folder(result.backbone, tmp_path / "run")
    assert max(export(tmp_path / "run", "ase", tmp_path / "out").difference.values()) < 1e-4
    assert "PESCalculator" in (tmp_path / "out" / "calculator.py").read_text()


def test_a_head_of_several_leaves_in_the_vendors_folder(pairs: Dataset, tmp_path: Path) -> None:
    parent = make_potential("TensorNet")
    frames = Dataset(tuple(s.with_tags(head="ab"[i % 2]) for i, s in enumerate(pairs)))
    tuned = adapt(parent, frames, frames, strategy="multihead", epochs=2, rate=5e-3, batch=3, processes=1)
    assert tuned.step_zero.max_energy_difference_eV_per_atom < 1e-5
    many = tuned.backbone
    assert isinstance(many, MultiHeadPotential)
    together = predict_samples(many, frames.samples)
    for head in many.names:
        save_folder(many.at(head), tmp_path / head)
        assert max(export(tmp_path / head, "native", tmp_path / f"out-{head}").difference.values()) < 1e-4
        mine = [i for i, sample in enumerate(frames) if sample.tags["head"] == head]
        for i, theirs in zip(mine, predict_samples(load(tmp_path / head), frames[mine].samples), strict=True):
            for name in ("energy", "forces"):
                np.testing.assert_allclose(theirs[name], together[i][name], atol=2e-5)
    assert not torch.equal(*(next(iter(readout.parameters())) for readout in many.module["readouts"]))


@pytest.mark.parametrize("kind", ["TensorNet", "M3GNet"])
def test_a_wrong_row_of_the_embedding_is_found(kind: str, tmp_path: Path) -> None:
    """In the native file, and in what LAMMPS opens: the row of germanium, the fourth element of the card."""
    model = make_potential(kind, std=100.0)
    wrong = copy.deepcopy(model)
    row = {"TensorNet": "model.tensor_embedding.emb", "M3GNet": "model.embedding.layer_node_embedding"}[kind]
    with torch.no_grad():
        wrong.module.get_submodule(row).weight[ELEMENTS.index("Ge")] += 1.0  # type: ignore[union-attr, operator, index]
    wrong.save(tmp_path / "matgl")
    with pytest.raises(RunError, match="does not give the model's predictions"):
        verify_export(model, tmp_path)
    file = replace(model.lammps_file(), write=wrong.lammps_file().write)
    with pytest.raises(RunError, match="does not give the model's predictions"):
        lammps.write_lammps(model, tmp_path, file)


def test_the_exported_script_runs(tmp_path: Path) -> None:
    save_folder(make_potential("TensorNet"), tmp_path / "run")
    export(tmp_path / "run", "ase", tmp_path / "out")
    scope: dict[str, Any] = {"__file__": str(tmp_path / "out" / "calculator.py")}
    exec((tmp_path / "out" / "calculator.py").read_text(), scope)
    atoms = crystals()[2]
    (ours,) = predict_samples(load(tmp_path / "run"), [Sample(atoms, {})])
    atoms.calc = scope["calculator"]()
    np.testing.assert_allclose(atoms.get_stress(voigt=False), ours["stress"], atol=1e-5)


@pytest.mark.parametrize("kind", ["TensorNet", "M3GNet"])
def test_lammps_gets_torchscript(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the tensors of pair_style matgl it gives the model's energies, forces and stresses to a millionth."""
    monkeypatch.setattr("matgraft.potentials.exports.lammps.find_lmp", lambda: None)
    model = make_potential(kind, std=1e4)  # random weights pull weakly: forces of some 0.1 eV/Å
    model.references.data[13] -= 0.5
    save_folder(model, tmp_path / "run")
    exported = export(tmp_path / "run", "lammps", tmp_path / "out")
    assert not exported.verified
    assert exported.reason == ("in.lammps run in LAMMPS: no lmp beside Python or on the PATH: LAMMPS is not installed")
    assert f"* not verified: {exported.reason}\n" in (tmp_path / "out" / "README.md").read_text()
    atoms = distorted_cell(model)
    theirs = model.lammps_file().evaluate(tmp_path / "out" / "matgl-lammps.pt", atoms)
    (ours,) = predict_samples(model, [Sample(atoms, {})])
    for name, value in theirs.items():
        assert np.abs(value - ours[name]).max() < 1e-4 * np.abs(ours[name]).max(), name
    assert "pair_coeff      * * matgl-lammps.pt O Mg Si Ge Mo " in (tmp_path / "out" / "in.lammps").read_text()


def test_what_matgl_does_not_export_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    save_folder(make_potential("CHGNet"), tmp_path / "run")
    with pytest.raises(OptionError, match=r"exports TensorNet and M3GNet to LAMMPS, not CHGNet\nallowed: --to native"):
        export(tmp_path / "run", "lammps", tmp_path / "out")
    with pytest.raises(OptionError, match="matgl has no export to torch-sim"):
        export(tmp_path / "run", "torch-sim", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_folder_is_a_deliberate_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MatgraftError, match="this is an empty folder; not what matgl opens"):
        load(f"matgl:{tmp_path / 'empty'}")


# --------------------------------------------------------------------- sheets


def slab() -> Atoms:
    """Return three layers with 12 Å of vacuum, periodic in the plane."""
    atoms = fcc111("Si", (1, 1, 3), a=4.6, vacuum=6.0)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_an_export_says_that_the_vendors_calculator_takes_a_sheet_for_a_molecule(tmp_path: Path) -> None:
    model = make_potential("TensorNet")
    save_folder(model, tmp_path / "model")
    exported = export(tmp_path / "model", "native", tmp_path / "out")
    assert [note for note in exported.notes if "pbc T T F or T F F" in note and "more than 5 Å of vacuum" in note]
    calculator = model.vendor_calculator(tmp_path / "out" / "matgl")
    (ours,) = predict_samples(model, [Sample(slab(), {})])
    found = []
    for pbc in ((1, 1, 0), (1, 1, 1)):
        atoms = slab()
        atoms.pbc = pbc
        atoms.calc = calculator
        found.append(
            (atoms.get_potential_energy() - float(ours["energy"]), atoms.get_stress(voigt=False) - ours["stress"])
        )
    assert abs(found[0][0]) > 1e-3 and np.abs(found[0][1]).max() > 1e-3  # else the note is outdated
    assert abs(found[1][0]) < 1e-5 and np.abs(found[1][1]).max() < 1e-5
